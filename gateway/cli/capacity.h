/* capacity.h - what a fleet needs, by what was measured: the arithmetic of `keyfob capacity` and of docs/capacity.md. */
#ifndef KEYFOB_GATEWAY_CLI_CAPACITY_H
#define KEYFOB_GATEWAY_CLI_CAPACITY_H

#include <stdbool.h>
#include <stddef.h>

/* What a fleet does and what machines there are; capacity.tbl.h says what each is. */
struct fleet {
#define ASSUMED(name, otherwise, least, sentence) double name;
#include "gateway/cli/capacity.tbl.h"
};

struct assumption {
	const char *name, *sentence;
	size_t offset; /* in struct fleet, of a double */
	double otherwise, least;
};
/* End with a row without a name. */
extern const struct assumption CAPACITY_ASSUMPTIONS[];

/* CPU in us and WAL in bytes of one thing that is done; or the bytes that one thing takes, the others 0. */
struct cost {
	const char *what;
	double database_us, node_us, broker_us, wal_bytes, bytes;
};
extern const struct cost CAPACITY_COSTS[];

/* A line of the answer. */
struct figure {
	const char *part; /* what stands above it and those that follow; NULL: the same as before */
	const char *key;  /* in JSON, its unit with it */
	const char *name, *unit;
	double value;
	int digits; /* behind the point */
};

#define FIGURES_MAX 48

void fleet_assume(struct fleet *);
/* `word` is name=number, with k or M behind it. False: there is no such assumption, or the number is none or too small. */
bool fleet_take(struct fleet *, const char *word);
double fleet_value(const struct fleet *, const struct assumption *);
size_t fleet_figures(const struct fleet *, struct figure ret[FIGURES_MAX]);

#endif
