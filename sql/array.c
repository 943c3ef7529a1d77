/* array.c - a one-dimensional array parameter as PostgreSQL's array text (PostgreSQL 15 §8.15.6), and its rows (§8.16.6).
 *
 * Every text of an array is quoted, so a text that says NULL, is empty or has braces needs no thought. Of a row only what has to be: a
 * field's quotes are escaped once more by the array. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "sql/array.h"

static void begin_element(struct db_array *a);
static void begin_field(struct db_row *row);
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
	char text[INT_TEXT_SIZE];
	size_t len = text_of_int(number, text);
	begin_element(a);
	add(a, text, len);
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

void db_row_text(struct db_row *row, const char *text)
{
	begin_field(row);
	if (!text)
		return;
	if (*text && !text[strcspn(text, "\"\\(), \t\n\v\f\r")])
		add(&row->fields, text, strlen(text));
	else
		add_quoted(&row->fields, text);
}

void db_row_int(struct db_row *row, int64_t number)
{
	char text[INT_TEXT_SIZE];
	size_t len = text_of_int(number, text);
	begin_field(row);
	add(&row->fields, text, len);
}

void db_row_bool(struct db_row *row, bool value)
{
	db_row_text(row, value ? "t" : "f");
}

void db_array_row(struct db_array *a, struct db_row *row)
{
	add(&row->fields, ")", 2); /* with its NUL */
	db_array_text(a, row->fields.data);
	row->fields.len = row->fields.count = 0;
}

void db_row_free(struct db_row *row)
{
	db_array_free(&row->fields);
}

static void begin_field(struct db_row *row)
{
	add(&row->fields, row->fields.count++ ? "," : "(", 1);
}

static void begin_element(struct db_array *a)
{
	add(a, a->count++ ? "," : "{", 1);
}

static void make_room(struct db_array *a, size_t len)
{
	if (a->size - a->len >= len)
		return;
	a->size = 2 * a->size + len + 64;
	a->data = memory_resize(a->data, a->size, 1);
}

/* Byte by byte: JSON has something to escape every few of them. */
static void add_quoted(struct db_array *a, const char *text)
{
	make_room(a, 2 * strlen(text) + 2);
	char *at = a->data + a->len;
	*at++ = '"';
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			*at++ = '\\';
		*at++ = *text;
	}
	*at++ = '"';
	a->len = (size_t)(at - a->data);
}

static void add(struct db_array *a, const char *bytes, size_t len)
{
	make_room(a, len);
	memcpy(a->data + a->len, bytes, len);
	a->len += len;
}
