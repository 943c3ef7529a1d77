/* version.h - the versionNumber of lifecycle events: a number that rises with every connect, for ever.
 *
 * It is the larger of the last one + 1 and the wall clock in microseconds. The last one is kept in a file, so
 * that it rises also when the clock was set back while the broker was down. */
#ifndef KEYFOB_STATE_BROKER_VERSION_H
#define KEYFOB_STATE_BROKER_VERSION_H

#include <stdbool.h>
#include <stdint.h>

struct version {
	const char *file; /* borrowed; NULL: the clock alone */
	int64_t last;
	int64_t saved;	  /* what the file says */
	int64_t saved_at; /* unix microseconds of the last attempt */
	bool is_failing;  /* to save; said once */
};

/* making */
/* Reads the file; one that is missing or spoilt counts as empty, the second with a warning. */
void version_init(struct version *, const char *file);

/* changing */
int64_t version_next(struct version *);
/* Writes the file if the number rose since; at most once a second unless `now`. */
void version_save(struct version *, bool now);

#endif
