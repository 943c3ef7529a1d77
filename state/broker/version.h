/* version.h - the clock of lifecycle events, which never goes back: their versionNumber rises with every connect, for ever, and
 * their timestamps do not fall.
 *
 * It is the wall clock in microseconds, and where that was set back the last that was given out. A file says what has not been
 * given out yet: so it holds also when the clock is set back while the broker is down, however that ended. */
#ifndef KEYFOB_STATE_BROKER_VERSION_H
#define KEYFOB_STATE_BROKER_VERSION_H

#include <stdbool.h>
#include <stdint.h>

struct version {
	const char *file; /* borrowed; NULL: the clock alone */
	int64_t last;
	int64_t reserved; /* what the file says: nothing above it was given out */
	int64_t tried_at; /* monotonic microseconds of the last attempt to write */
	bool is_failing;  /* to write; said once */
};

/* making */
/* Reads the file; one that is missing or spoilt counts as empty, the second with a warning. */
void version_init(struct version *, const char *file);
/* Gives back what was reserved. */
void version_done(struct version *);

/* changing; writes the file where it gives out what was not reserved, which is once a second at most */
int64_t version_next(struct version *); /* greater than all before */
int64_t version_now(struct version *);	/* not less */

#endif
