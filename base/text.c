/* text.c - a growing buffer of text, and the one place that writes JSON strings. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"

static size_t plain_length(const char *);
static size_t sequence_length(const unsigned char *);
static size_t add_escaped(struct text *, const unsigned char *);

static void make_room(struct text *t, size_t more)
{
	size_t need = t->len + more + 1;
	if (need <= t->size)
		return;
	size_t size = t->size ? t->size : 128;
	while (size < need)
		size *= 2;
	t->data = memory_resize(t->data, size, 1);
	t->size = size;
}

void text_add_bytes(struct text *t, const char *bytes, size_t len)
{
	make_room(t, len);
	if (len > 0)
		memcpy(t->data + t->len, bytes, len);
	t->len += len;
	t->data[t->len] = '\0';
}

void text_add(struct text *t, const char *more)
{
	text_add_bytes(t, more, strlen(more));
}

/* From the last digit on; of the least number there is no opposite, but of each of its digits. */
size_t text_of_int(int64_t value, char out[INT_TEXT_SIZE])
{
	char digits[INT_TEXT_SIZE], *at = digits + sizeof digits;
	bool is_negative = value < 0;
	*--at = '\0';
	do {
		int digit = (int)(value % 10);
		*--at = (char)('0' + (digit < 0 ? -digit : digit));
		value /= 10;
	} while (value);
	if (is_negative)
		*--at = '-';
	size_t size = (size_t)(digits + sizeof digits - at);
	memcpy(out, at, size);
	return size - 1;
}

/* Mostly it fits at once; if not, the first try has told the length. */
void text_addf(struct text *t, const char *format, ...)
{
	va_list args, again;
	make_room(t, 64);
	va_start(args, format);
	va_copy(again, args);
	int len = vsnprintf(t->data + t->len, t->size - t->len, format, args);
	assert(len >= 0);
	if ((size_t)len >= t->size - t->len) {
		make_room(t, (size_t)len);
		vsnprintf(t->data + t->len, t->size - t->len, format, again);
	}
	t->len += (size_t)len;
	va_end(again);
	va_end(args);
}

void text_add_json_string(struct text *t, const char *s)
{
	if (!s) {
		text_add(t, "null");
		return;
	}
	text_add_bytes(t, "\"", 1);
	while (*s) {
		size_t plain = plain_length(s);
		text_add_bytes(t, s, plain);
		s += plain;
		if (*s)
			s += add_escaped(t, (const unsigned char *)s);
	}
	text_add_bytes(t, "\"", 1);
}

/* Control characters are escaped, those of U+0080 to U+009F too: a terminal that shows a log may obey them. */
static bool is_plain(const unsigned char *s, size_t length)
{
	if (length == 1)
		return *s >= 0x20 && *s != '"' && *s != '\\' && *s != 0x7f;
	return length > 1 && !(s[0] == 0xc2 && s[1] < 0xa0);
}

static size_t plain_length(const char *s)
{
	size_t total = 0, length;
	while (s[total]) {
		const unsigned char *at = (const unsigned char *)s + total;
		length = sequence_length(at);
		if (!is_plain(at, length))
			break;
		total += length;
	}
	return total;
}

static char short_escape(unsigned char c)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	const char *at = strchr(from, c);
	return at ? to[at - from] : '\0';
}

/* Returns how much of `s` it has written. A byte that is no UTF-8 becomes U+FFFD. */
static size_t add_escaped(struct text *t, const unsigned char *s)
{
	size_t length = sequence_length(s);
	if (length == 1 && short_escape(*s))
		text_addf(t, "\\%c", short_escape(*s));
	else if (length >= 1)
		text_addf(t, "\\u%04x", length == 1 ? s[0] : s[1]); /* C2 80 to C2 9F are U+0080 to U+009F */
	else
		text_add(t, "\\ufffd");
	return length ? length : 1;
}

/* Unicode 15, table 3-7: what a sequence may begin with, what may follow, how long it is. */
static const struct sequence {
	unsigned char first_low, first_high, second_low, second_high, length;
} sequences[] = {
	{ 0xc2, 0xdf, 0x80, 0xbf, 2 },
	{ 0xe0, 0xe0, 0xa0, 0xbf, 3 },
	{ 0xe1, 0xec, 0x80, 0xbf, 3 },
	{ 0xed, 0xed, 0x80, 0x9f, 3 },
	{ 0xee, 0xef, 0x80, 0xbf, 3 },
	{ 0xf0, 0xf0, 0x90, 0xbf, 4 },
	{ 0xf1, 0xf3, 0x80, 0xbf, 4 },
	{ 0xf4, 0xf4, 0x80, 0x8f, 4 },
};

/* The NUL at the end is no continuation, so nothing behind it is read. */
static bool is_sequence(const struct sequence *q, const unsigned char *s)
{
	if (s[0] < q->first_low || s[0] > q->first_high || s[1] < q->second_low || s[1] > q->second_high)
		return false;
	for (size_t i = 2; i < q->length; i++)
		if ((s[i] & 0xc0) != 0x80)
			return false;
	return true;
}

/* 0: not UTF-8. */
static size_t sequence_length(const unsigned char *s)
{
	if (*s < 0x80)
		return 1;
	for (size_t i = 0; i < sizeof sequences / sizeof *sequences; i++)
		if (is_sequence(&sequences[i], s))
			return sequences[i].length;
	return 0;
}

size_t text_whole(const char *utf8, size_t len)
{
	while (len > 0 && ((unsigned char)utf8[len] & 0xc0) == 0x80)
		len--;
	return len;
}

char *text_take(struct text *t)
{
	make_room(t, 0);
	char *data = t->data;
	data[t->len] = '\0';
	*t = (struct text){ 0 };
	return data;
}

void text_free(struct text *t)
{
	free(t->data);
	*t = (struct text){ 0 };
}
