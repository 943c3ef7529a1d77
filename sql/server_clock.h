/* server_clock.h - what the server's clock says now, by ours, which only runs on: a wall clock that jumps moves nothing.
 *
 * An answer to "what time is it" was given at some moment between question and answer: the shorter that took, the better is it known. */
#ifndef KEYFOB_SQL_SERVER_CLOCK_H
#define KEYFOB_SQL_SERVER_CLOCK_H

#include <stdint.h>

struct server_clock {
	int64_t offset_us; /* the server's clock minus our monotonic one */
	int64_t trip_us;   /* how long the question took that the offset comes from */
	unsigned answers;  /* of a new connection: 0 when it begins to ask */
};

/* An answer for a new connection, which asks several times and believes the quickest: ids are made by this clock, and those of two workers
 * are to rise together. The times of question and answer are by our monotonic clock. */
void server_clock_begin(struct server_clock *, int64_t asked_us, int64_t answered_us, int64_t server_us);
/* A later one: our clock stands still while its machine is suspended, and the server's may be set. What stood in a queue for long says less
 * than the older answer, unless it disproves that. */
void server_clock_hear(struct server_clock *, int64_t asked_us, int64_t answered_us, int64_t server_us);

#endif
