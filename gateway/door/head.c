/* head.c - reads a request's head line by line, and refuses what is not plainly one thing. */
#include "gateway/door/head.h"

#include <string.h>
#include <strings.h>

static const char WEBSOCKET_BEGINNING[] = "GET /v1/ws";

/* One line of the head, without its CR LF. */
struct line {
	const char *text;
	size_t len;
};

struct field {
	struct line name, value;
};

/* What may be there once, or not at all. */
struct tally {
	size_t hosts, lengths, encodings;
};

static const char *check_request_line(const struct line *line, bool *ret_host_needed);
static const char *check_field(const struct line *line, struct tally *tally);
static bool is_digits(const struct line *value);

/* The line at `*at`, which moves behind it; false when none ends there. */
static bool line_take(const char **at, const char *end, struct line *ret, bool *ret_bare)
{
	const char *lf = memchr(*at, '\n', (size_t)(end - *at));

	if (!lf)
		return false;
	*ret_bare = lf == *at || lf[-1] != '\r';
	*ret = (struct line){ .text = *at, .len = (size_t)(lf - *at) - !*ret_bare };
	*at = lf + 1;
	return true;
}

const char *head_check(const char *text, size_t len)
{
	const char *at = text, *end = text + len, *wrong = NULL;
	struct tally tally = { 0 };
	bool host_needed = false, bare = false, first = true;
	struct line line;

	for (;;) {
		if (!line_take(&at, end, &line, &bare))
			return "the head does not end";
		if (bare)
			return "a line ends with a bare LF";
		if (line.len == 0 && !first)
			break;
		wrong = first ? check_request_line(&line, &host_needed) : check_field(&line, &tally);
		if (wrong)
			return wrong;
		first = false;
	}
	if (tally.lengths + tally.encodings > 1)
		return "the body's length is given twice";
	if (tally.hosts > 1)
		return "there are two Hosts";
	return tally.hosts == 0 && host_needed ? "there is no Host" : NULL;
}

static bool is_token(const struct line *text)
{
	static const char others[] = "!#$%&'*+-.^_`|~";

	for (size_t i = 0; i < text->len; i++) {
		char c = text->text[i];
		bool fine = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
			    (c != '\0' && strchr(others, c));
		if (!fine)
			return false;
	}
	return text->len > 0;
}

/* Everything but controls; a tab where `tabs` allows it. */
static bool is_printable(const struct line *text, bool tabs)
{
	for (size_t i = 0; i < text->len; i++) {
		unsigned char c = (unsigned char)text->text[i];
		if ((c < 0x20 && !(tabs && c == '\t')) || c == 0x7f)
			return false;
	}
	return true;
}

/* METHOD SP target SP HTTP/1.x: a second reader must find the same three. */
static const char *check_request_line(const struct line *line, bool *ret_host_needed)
{
	const char *space = memchr(line->text, ' ', line->len), *last = memrchr(line->text, ' ', line->len);

	if (!space || space == last)
		return "the request line has not three parts";
	struct line method = { line->text, (size_t)(space - line->text) };
	struct line target = { space + 1, (size_t)(last - space) - 1 };
	struct line version = { last + 1, line->len - (size_t)(last - line->text) - 1 };
	if (!is_token(&method) || target.len == 0 || memchr(target.text, ' ', target.len) ||
		!is_printable(&target, false))
		return "the request line cannot be read";
	if (version.len != 8 || memcmp(version.text, "HTTP/1.", 7) != 0)
		return "the version is not HTTP/1.1";
	*ret_host_needed = version.text[7] != '0';
	return NULL;
}

static bool field_read(const struct line *line, struct field *ret)
{
	const char *colon = memchr(line->text, ':', line->len);

	if (!colon)
		return false;
	ret->name = (struct line){ line->text, (size_t)(colon - line->text) };
	ret->value = (struct line){ colon + 1, line->len - ret->name.len - 1 };
	for (; ret->value.len > 0 && strchr(" \t", ret->value.text[0]); ret->value.len--)
		ret->value.text++;
	while (ret->value.len > 0 && strchr(" \t", ret->value.text[ret->value.len - 1]))
		ret->value.len--;
	return true;
}

static bool is_called(const struct field *field, const char *name)
{
	return field->name.len == strlen(name) && strncasecmp(field->name.text, name, field->name.len) == 0;
}

/* The name must be a token, so neither a folded line nor a space before the colon passes. */
static const char *check_field(const struct line *line, struct tally *tally)
{
	struct field field;

	if (!field_read(line, &field) || !is_token(&field.name) || !is_printable(&field.value, true))
		return "a header field cannot be read";
	if (is_called(&field, "content-length") && !is_digits(&field.value))
		return "Content-Length is no number";
	if (is_called(&field, "transfer-encoding") &&
		(field.value.len != 7 || strncasecmp(field.value.text, "chunked", 7) != 0))
		return "the only Transfer-Encoding is chunked";
	tally->hosts += is_called(&field, "host");
	tally->lengths += is_called(&field, "content-length");
	tally->encodings += is_called(&field, "transfer-encoding");
	return NULL;
}

static bool is_digits(const struct line *value)
{
	for (size_t i = 0; i < value->len; i++) {
		if (value->text[i] < '0' || value->text[i] > '9')
			return false;
	}
	return value->len > 0 && value->len < 16;
}

/* For the door. */

bool head_is_whole(const char *text, size_t len)
{
	return memmem(text, len, "\r\n\r\n", 4) != NULL || memmem(text, len, "\n\n", 2) != NULL;
}

bool head_may_ask_websocket(const char *text, size_t len)
{
	size_t n = sizeof(WEBSOCKET_BEGINNING) - 1;

	if (memcmp(text, WEBSOCKET_BEGINNING, len < n ? len : n) != 0)
		return false;
	return len <= n || text[n] == ' ' || text[n] == '?';
}

bool head_asks_websocket(const char *text, size_t len)
{
	const char *at = text, *end = text + len;
	bool upgrade = false, key = false, version = false, body = false, bare;
	struct line line = { 0 };
	struct field field;

	if (len <= sizeof(WEBSOCKET_BEGINNING) - 1 || !head_may_ask_websocket(text, len) || head_check(text, len))
		return false;
	line_take(&at, end, &line, &bare);
	version = memcmp(line.text + line.len - 8, "HTTP/1.1", 8) == 0;
	while (line_take(&at, end, &line, &bare) && line.len > 0 && field_read(&line, &field)) {
		if (is_called(&field, "upgrade"))
			upgrade = field.value.len == 9 && strncasecmp(field.value.text, "websocket", 9) == 0;
		key |= is_called(&field, "sec-websocket-key");
		body |= is_called(&field, "content-length") || is_called(&field, "transfer-encoding");
	}
	return version && upgrade && key && !body;
}
