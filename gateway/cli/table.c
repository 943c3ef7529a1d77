/* table.c - measures every column, then prints. */
#include "gateway/cli/table.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"

#define COLUMNS_MAX 8

struct cell {
	char *text;
	enum colour colour;
};

struct table {
	int columns, indent;
	bool right[COLUMNS_MAX];
	size_t count;
	struct cell *cells;
};

struct table *table_new(int columns, int indent)
{
	assert(columns <= COLUMNS_MAX);
	struct table *t = memory_new(sizeof(*t));
	t->columns = columns;
	t->indent = indent;
	return t;
}

void table_free(struct table *t)
{
	for (size_t i = 0; t && i < t->count; i++)
		free(t->cells[i].text);
	if (t)
		free(t->cells);
	free(t);
}

static void cell_add(struct table *t, enum colour colour, char *text)
{
	t->cells = memory_resize(t->cells, t->count + 1, sizeof(*t->cells));
	t->cells[t->count++] = (struct cell){ text, colour };
}

void table_add(struct table *t, enum colour colour, const char *text)
{
	cell_add(t, colour, memory_need(strdup(text ? text : "-")));
}

void table_addf(struct table *t, enum colour colour, const char *format, ...)
{
	char *text = NULL;
	va_list args;
	va_start(args, format);
	int len = vasprintf(&text, format, args);
	va_end(args);
	cell_add(t, colour, memory_need(len < 0 ? NULL : text));
}

void table_align_right(struct table *t, int column)
{
	t->right[column] = true;
}

static void measure(const struct table *t, int widths[COLUMNS_MAX])
{
	memset(widths, 0, COLUMNS_MAX * sizeof(*widths));
	for (size_t i = 0; i < t->count; i++) {
		int *width = &widths[i % (size_t)t->columns], own = (int)print_width(t->cells[i].text);
		*width = own > *width ? own : *width;
	}
}

/* `gap` spaces are owed before the cell; returns what is owed after it. An empty cell only adds to them, so that
 * no line ends with a space. */
static int cell_print(const struct table *t, const struct cell *cell, int column, int width, int gap)
{
	int own = (int)print_width(cell->text), pad = width - own;
	if (own == 0)
		return gap + width;
	printf("%*s", gap + (t->right[column] ? pad : 0), "");
	print_coloured(cell->colour, cell->text);
	return t->right[column] ? 0 : pad;
}

static void row_print(const struct table *t, const struct cell *row, const int widths[COLUMNS_MAX])
{
	int gap = t->indent;
	for (int column = 0; column < t->columns; column++)
		gap = 2 + cell_print(t, &row[column], column, widths[column], gap);
	putchar('\n');
}

void table_print(const struct table *t)
{
	int widths[COLUMNS_MAX];
	measure(t, widths);
	for (size_t i = 0; i + (size_t)t->columns <= t->count; i += (size_t)t->columns)
		row_print(t, &t->cells[i], widths);
}
