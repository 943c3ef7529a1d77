/* http.h - sends commands over REST, one request after the other on a connection. */
#ifndef KEYFOB_BENCH_HTTP_H
#define KEYFOB_BENCH_HTTP_H

#include <stddef.h>

#include "tests/bench/connection.h"

/* The first line of a file, without its end. The caller frees it. */
char *token_read(const char *file);

/* A POST of a command that any vehicle takes; `prefer` (may be NULL) is a Prefer header's value. */
void http_add_send(struct text *out, const char *token, const char *vehicle_id, const char *prefer);
/* Whether `in` holds a whole answer: its length, status and body (borrowed). 0: not yet. */
size_t http_answer(const struct text *in, int *ret_status, const char **ret_body);

#endif
