/* rfc3339.h - times as text, UTC with microseconds: 2026-01-31T08:09:10.123456Z. */
#ifndef KEYFOB_BASE_RFC3339_H
#define KEYFOB_BASE_RFC3339_H

#include <stdbool.h>
#include <stdint.h>

#define RFC3339_SIZE 28

void rfc3339_write(int64_t unix_us, char out[RFC3339_SIZE]);
/* Any RFC 3339 date-time (offsets, 0 to 9 digits of fraction); false when it is none. */
bool rfc3339_read(const char *text, int64_t *ret_unix_us);

#endif
