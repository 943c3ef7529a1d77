/* chunks.c - follows a chunked body from one line to the next. */
#include "gateway/door/chunks.h"

#include <stdbool.h>
#include <string.h>

#define LINE_MAX_BYTES 256 /* a size with its extensions */
#define DIGITS_MAX 8	   /* of a size */

/* How many bytes of `text` are the part that is due, 0 while it has not come whole. */
typedef size_t step(struct chunks *, const char *text, size_t len, const char **ret_wrong);
static step pass_size, pass_data, pass_end;

static step *const steps[CHUNKS_OVER] = {
	[CHUNK_SIZE] = pass_size,
	[CHUNK_DATA] = pass_data,
	[CHUNK_END] = pass_end,
};

size_t chunks_pass(struct chunks *chunks, const char *text, size_t len, const char **ret_wrong)
{
	size_t at = 0, passed = 1;

	*ret_wrong = NULL;
	for (; passed > 0 && at < len && chunks->part != CHUNKS_OVER; at += passed) {
		passed = steps[chunks->part](chunks, text + at, len - at, ret_wrong);
		if (*ret_wrong)
			return at;
	}
	return at;
}

static int hex_value(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c + ('a' - 'A') : c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* The digits that a line begins with; how many. */
static size_t read_size(const char *text, size_t len, uint32_t *ret)
{
	size_t digits = 0;

	*ret = 0;
	for (; digits < len && digits <= DIGITS_MAX && hex_value(text[digits]) >= 0; digits++)
		*ret = *ret << 4 | (uint32_t)hex_value(text[digits]);
	return digits;
}

static bool is_printable(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

/* What comes after the last chunk but an empty line is trailers, which some would take for fields of the head. */
static size_t pass_last(struct chunks *chunks, const char *text, size_t len, size_t line, const char **ret_wrong)
{
	size_t rest = len - line < 2 ? len - line : 2;

	if (memcmp(text + line, "\r\n", rest) != 0)
		*ret_wrong = "the body has trailers";
	if (*ret_wrong || rest < 2)
		return 0;
	chunks->part = CHUNKS_OVER;
	return line + 2;
}

/* Size, extensions (which mean nothing here), CR LF. */
static size_t pass_size(struct chunks *chunks, const char *text, size_t len, const char **ret_wrong)
{
	const char *lf = memchr(text, '\n', len < LINE_MAX_BYTES ? len : LINE_MAX_BYTES);

	if (!lf) {
		*ret_wrong = len < LINE_MAX_BYTES ? NULL : "the head of a chunk is too long";
		return 0;
	}
	size_t line = (size_t)(lf - text) + 1, end = line - 2;
	size_t digits = line < 2 || lf[-1] != '\r' ? 0 : read_size(text, end, &chunks->left);
	if (digits == 0 || digits > DIGITS_MAX || (digits < end && text[digits] != ';') || !is_printable(text, end)) {
		*ret_wrong = "the size of a chunk cannot be read";
		return 0;
	}
	if (chunks->left == 0)
		return pass_last(chunks, text, len, line, ret_wrong);
	chunks->part = CHUNK_DATA;
	return line;
}

static size_t pass_data(struct chunks *chunks, const char *text, size_t len, const char **ret_wrong)
{
	size_t n = len < chunks->left ? len : chunks->left;

	(void)text, (void)ret_wrong;
	chunks->left -= (uint32_t)n;
	if (chunks->left == 0)
		chunks->part = CHUNK_END;
	return n;
}

static size_t pass_end(struct chunks *chunks, const char *text, size_t len, const char **ret_wrong)
{
	if (memcmp(text, "\r\n", len < 2 ? len : 2) != 0) {
		*ret_wrong = "a chunk does not end where it says";
		return 0;
	}
	if (len < 2)
		return 0;
	chunks->part = CHUNK_SIZE;
	return 2;
}
