/* head.c - reads a request's head line by line, and refuses what is not plainly one thing. */
#include "gateway/door/head.h"

#include <string.h>
#include <strings.h>

#define FIELDS_MAX 100 /* as many as h2o takes */

static const char WEBSOCKET_PATH[] = "/v1/ws";

/* One line of the head, without its CR LF. */
struct line {
	const char *text;
	size_t len;
};

struct field {
	struct line name, value;
};

/* What may be there once, or not at all; and how much of everything. */
struct tally {
	size_t lines, hosts, lengths, encodings;
	bool is_old; /* HTTP/1.0: without Host, and without an encoding (RFC 9112 §6.1) */
};

static const char *check_line(const struct line *line, struct tally *tally);
static const char *check_request_line(const struct line *line, bool *ret_old);
static const char *check_tally(const struct tally *tally);
static const char *check_beginning(const char *text, size_t len);
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

const char *head_check(const char *text, size_t len, struct head *ret)
{
	const char *at = text, *end = text + len, *wrong = NULL;
	struct tally tally = { 0 };
	struct line line;
	bool bare;

	*ret = (struct head){ 0 };
	while (!wrong && line_take(&at, end, &line, &bare)) {
		if (!bare && line.len == 0 && at == text + 2)
			continue; /* RFC 9112 §2.2: some send an empty line behind a body */
		if (!bare && line.len == 0 && tally.lines > 0) {
			*ret = (struct head){ .len = (size_t)(at - text), .is_chunked = tally.encodings > 0 };
			return check_tally(&tally);
		}
		wrong = bare ? "a line ends with a bare LF" : check_line(&line, &tally);
	}
	return wrong ? wrong : check_beginning(at, (size_t)(end - at));
}

static const char *check_line(const struct line *line, struct tally *tally)
{
	if (tally->lines++ == 0)
		return check_request_line(line, &tally->is_old);
	return tally->lines > FIELDS_MAX + 1 ? "there are more than 100 fields" : check_field(line, tally);
}

static const char *check_tally(const struct tally *tally)
{
	if (tally->lengths + tally->encodings > 1)
		return "the body's length is given twice";
	if (tally->encodings > 0 && tally->is_old)
		return "HTTP/1.0 has no Transfer-Encoding";
	if (tally->hosts > 1)
		return "there are two Hosts";
	return tally->hosts == 0 && !tally->is_old ? "there is no Host" : NULL;
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

/* Of a line that has not ended: whoever speaks another protocol, TLS above all, is told so at once. */
static const char *check_beginning(const char *text, size_t len)
{
	struct line line = { text, len > 0 && text[len - 1] == '\r' ? len - 1 : len };

	return is_printable(&line, true) ? NULL : "the head has a control character";
}

/* How much of a target comes before its path: nothing, or scheme and authority. `*ret_scheme` is the scheme's part of it. */
static size_t prefix_of(const char *target, size_t len, size_t *ret_scheme)
{
	static const char *const schemes[] = { "http://", "https://" };

	*ret_scheme = 0;
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		size_t at = strlen(schemes[i]);
		if (len < at || strncasecmp(target, schemes[i], at) != 0)
			continue;
		*ret_scheme = at;
		while (at < len && !strchr("/? ", target[at]))
			at++;
		return at;
	}
	return 0;
}

/* RFC 9110 §4.2.1: a URI that names no host is none. */
static bool names_no_host(const struct line *target)
{
	size_t scheme, prefix = prefix_of(target->text, target->len, &scheme);

	return prefix > 0 && prefix == scheme;
}

/* METHOD SP target SP HTTP/1.x: a second reader must find the same three. */
static const char *check_request_line(const struct line *line, bool *ret_old)
{
	const char *space = memchr(line->text, ' ', line->len), *last = memrchr(line->text, ' ', line->len);

	if (!space || space == last)
		return "the request line has not three parts";
	struct line method = { line->text, (size_t)(space - line->text) };
	struct line target = { space + 1, (size_t)(last - space) - 1 };
	struct line version = { last + 1, line->len - (size_t)(last - line->text) - 1 };
	if (!is_token(&method) || target.len == 0 || memchr(target.text, ' ', target.len) ||
		!is_printable(&target, false) || names_no_host(&target))
		return "the request line cannot be read";
	if (version.len != 8 || memcmp(version.text, "HTTP/1.", 7) != 0 || version.text[7] < '0' ||
		version.text[7] > '9')
		return "the version is not HTTP/1.1";
	*ret_old = version.text[7] == '0';
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

/* The last character of an authority makes room for the path that it was sent without. */
size_t head_to_origin_form(char *text, size_t len)
{
	const char *space = memchr(text, ' ', len);
	char *target = text + (space - text) + 1;
	size_t scheme, before = prefix_of(target, len - (size_t)(target - text), &scheme);

	if (before > 0 && target[before] != '/')
		target[--before] = '/';
	memmove(target, target + before, len - (size_t)(target - text) - before);
	return before;
}

/* For the door. */

bool head_is_whole(const char *text, size_t len)
{
	return memmem(text, len, "\r\n\r\n", 4) != NULL || memmem(text, len, "\n\n", 2) != NULL;
}

/* Whether the shorter of both begins the longer. */
static bool agree(const char *a, size_t a_len, const char *b, size_t b_len)
{
	return strncasecmp(a, b, a_len < b_len ? a_len : b_len) == 0;
}

/* A scheme that is still coming may be anyone's. */
static bool may_have_prefix(const char *target, size_t len)
{
	return len < strlen("https://") &&
	       (agree(target, len, "http://", strlen("http://")) || agree(target, len, "https://", strlen("https://")));
}

bool head_may_ask_websocket(const char *text, size_t len)
{
	size_t n = strlen(WEBSOCKET_PATH), scheme;

	if (memcmp(text, "GET ", len < 4 ? len : 4) != 0)
		return false;
	if (len <= 4 || may_have_prefix(text + 4, len - 4))
		return true;
	const char *path = text + 4 + prefix_of(text + 4, len - 4, &scheme);
	size_t rest = len - (size_t)(path - text);
	if (memcmp(path, WEBSOCKET_PATH, rest < n ? rest : n) != 0)
		return false;
	return rest <= n || path[n] == ' ' || path[n] == '?';
}

/* Whether a list has that item. */
static bool has_item(const struct line *list, const char *item)
{
	const char *end = list->text + list->len;

	for (const char *at = list->text; at < end;) {
		const char *comma = memchr(at, ',', (size_t)(end - at)), *last = comma ? comma : end;
		while (at < last && strchr(" \t", *at))
			at++;
		size_t len = (size_t)(last - at);
		while (len > 0 && strchr(" \t", at[len - 1]))
			len--;
		if (len == strlen(item) && strncasecmp(at, item, len) == 0)
			return true;
		at = comma ? comma + 1 : end;
	}
	return false;
}

bool head_asks_websocket(const char *text, size_t len)
{
	const char *at = text, *end = text + len;
	bool upgrade = false, body = false, bare;
	struct head head;
	struct line line = { 0 };
	struct field field;

	if (!head_may_ask_websocket(text, len) || head_check(text, len, &head) || head.len == 0)
		return false;
	line_take(&at, end, &line, &bare);
	if (memcmp(line.text + line.len - 8, "HTTP/1.0", 8) == 0) /* RFC 9110 §7.8: there Upgrade means nothing */
		return false;
	while (line_take(&at, end, &line, &bare) && line.len > 0 && field_read(&line, &field)) {
		upgrade |= is_called(&field, "upgrade") && has_item(&field.value, "websocket");
		body |= is_called(&field, "content-length") || is_called(&field, "transfer-encoding");
	}
	return upgrade && !body;
}
