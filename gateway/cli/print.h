/* print.h - text for a terminal: colours where there are eyes, and nothing in it that a stranger could steer. */
#ifndef KEYFOB_GATEWAY_CLI_PRINT_H
#define KEYFOB_GATEWAY_CLI_PRINT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct text;

enum colour { COLOUR_NONE, COLOUR_GREEN, COLOUR_RED, COLOUR_YELLOW, COLOUR_DIM, COLOUR_BOLD, COLOUR_COUNT };

/* Text that came from elsewhere; control characters become "?". */
void print_plain(FILE *, const char *);
/* On standard output; colours only on a terminal and without NO_COLOR. */
void print_coloured(enum colour, const char *);
/* What `print_plain` writes, in columns. */
size_t print_width(const char *);
/* -o json: indented, and a newline. */
void print_json(const json_t *);

/* RFC 3339 → "2026-01-31 08:09:10.123", local time; the text itself when it is none, "-" for NULL. */
#define LOCAL_TIME_SIZE 32
const char *local_time(const char *rfc3339, char out[LOCAL_TIME_SIZE]);
/* "08:09:10.123" alone. */
const char *local_clock(const char *rfc3339, char out[LOCAL_TIME_SIZE]);
/* An object as `door=all minutes=5`, anything else as JSON. */
void text_add_values(struct text *, const json_t *);
/* Microseconds from one RFC 3339 time to another; 0 when either is none. */
int64_t us_between(const char *from, const char *to);

#endif
