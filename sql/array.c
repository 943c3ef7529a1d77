/* array.c - a one-dimensional array parameter as PostgreSQL's array text (PostgreSQL 15 §8.15.6).
 *
 * Every text is quoted, so a text that says NULL, is empty or has braces needs no thought. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "sql/array.h"

static void begin_element(struct db_array *a);
static void add_quoted(struct db_array *a, const char *text);
static void add(struct db_array *a, const char *bytes, size_t len);

void db_array_text(struct db_array *a, const char *text)
{
	begin_element(a);
	if (text)
		add_quoted(a, text);
	else
		add(a, "NULL", 4);
}

void db_array_int(struct db_array *a, int64_t number)
{
	char text[24];
	int len = snprintf(text, sizeof text, "%" PRId64, number);
	begin_element(a);
	add(a, text, (size_t)len);
}

void db_array_bool(struct db_array *a, bool value)
{
	begin_element(a);
	add(a, value ? "t" : "f", 1);
}

void db_array_free(struct db_array *a)
{
	free(a->data);
	*a = (struct db_array){ 0 };
}

char *db_array_take(struct db_array *a)
{
	if (!a->count)
		add(a, "{", 1);
	add(a, "}", 2); /* with its NUL */
	char *text = a->data;
	*a = (struct db_array){ 0 };
	return text;
}

static void begin_element(struct db_array *a)
{
	add(a, a->count++ ? "," : "{", 1);
}

static void add_quoted(struct db_array *a, const char *text)
{
	add(a, "\"", 1);
	for (;;) {
		size_t plain = strcspn(text, "\"\\");
		add(a, text, plain);
		text += plain;
		if (!*text)
			break;
		add(a, "\\", 1);
		add(a, text++, 1);
	}
	add(a, "\"", 1);
}

static void add(struct db_array *a, const char *bytes, size_t len)
{
	if (a->size - a->len < len) {
		a->size = 2 * a->size + len + 64;
		a->data = memory_resize(a->data, a->size, 1);
	}
	memcpy(a->data + a->len, bytes, len);
	a->len += len;
}
