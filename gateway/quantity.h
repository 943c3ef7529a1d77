/* quantity.h - amounts as people write them: 64KiB, 500ms, 90d, 50/s. */
#ifndef KEYFOB_GATEWAY_QUANTITY_H
#define KEYFOB_GATEWAY_QUANTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A unit and how many of the smallest it is; tables end with a NULL name. */
struct unit {
	const char *name;
	int64_t factor;
};

extern const struct unit UNITS_NONE[];
extern const struct unit UNITS_SIZE[];	   /* bytes: B, KiB, MiB, GiB; without a unit bytes too */
extern const struct unit UNITS_DURATION[]; /* milliseconds: ms, s, m, h, d; 0 needs no unit */

/* A whole number, not negative, and its unit, nothing between or around. False: it is no such thing, or too great. */
bool quantity_read(const char *text, const struct unit *units, int64_t *ret);
/* The shortest way to write it: 90000 ms is "90s". */
void quantity_write(int64_t amount, const struct unit *units, char *out, size_t size);
/* "50/s" or "100/m", in whole or decimal numbers; "0": none. */
bool rate_read(const char *text, double *ret_per_second);

#endif
