/* table.h - rows of cells, printed with aligned columns once all are known. */
#ifndef KEYFOB_GATEWAY_CLI_TABLE_H
#define KEYFOB_GATEWAY_CLI_TABLE_H

#include <stdbool.h>

#include "gateway/cli/print.h"

struct table;

/* `columns` in each row; `indent` spaces before it. */
struct table *table_new(int columns, int indent);
void table_free(struct table *);
/* The next cell, row by row. The text is copied; NULL is "-". */
void table_add(struct table *, enum colour, const char *);
void table_addf(struct table *, enum colour, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Numbers stand to the right. */
void table_align_right(struct table *, int column);
/* Prints it on standard output. */
void table_print(const struct table *);

#endif
