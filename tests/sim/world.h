/* world.h - the clock that everything in a simulated run shares, what is running under it, and the record of what happened.
 *
 * The world has a virtual loop, and each node one of its own, so that a node can be stopped or thrown away without the rest
 * hearing of it. world_run() moves all of them from one due moment to the next. */
#ifndef KEYFOB_TESTS_SIM_WORLD_H
#define KEYFOB_TESTS_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct loop;

#define WORLD_BEGIN_US INT64_C(1767225600000000) /* 2026-01-01T00:00:00Z: where every run begins */

/* `trace` gets a line for each thing that happens; NULL: only its digest is kept. `slowness` is how much less happens than in a run of
 * minutes: what apps, vehicles and faults do of themselves takes so many times as long. */
void world_begin(FILE *trace, int64_t slowness);
int64_t world_slow(int64_t ms); /* so long in this world */
struct loop *world_loop(void);
int64_t world_ms(void); /* since the beginning */
int64_t world_us(void); /* wall clock, microseconds since 1970 */
void world_run(int64_t ms);

/* A line of the trace. */
void world_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Something that must not be: the run has failed. It goes on, so that more may be seen. */
void world_fail(const char *rule, const char *format, ...) __attribute__((format(printf, 2, 3)));
unsigned world_failures(void);
uint64_t world_digest(void); /* of all lines so far */

#endif
