/* vehicle.h - simulated vehicles: each is asleep, away or connected, does each command once (unless it is one that cannot tell), says
 * so until that is accepted, and wakes when its SMS comes. */
#ifndef KEYFOB_TESTS_SIM_VEHICLE_H
#define KEYFOB_TESTS_SIM_VEHICLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vehicle;

/* `are_trusting`: most keep their sessions at the broker, for a while, and where one goes on they do not subscribe anew. */
void vehicles_begin(size_t count, bool are_trusting);
size_t vehicles_count(void);
const char *vehicle_id(size_t index);
/* Where things are wanted of it (tests/sim/twin.h): the limit that it was told last; INT64_MAX, or since when it listens. */
int64_t vehicle_limit(size_t index);
int64_t vehicle_up_since_ms(size_t index);
/* Its SMS has come. */
void vehicle_wake(const char *vehicle_id);
/* The line breaks, or the vehicle loses its memory of what it has done and accepted. */
void vehicle_break(size_t index);
/* From now on every vehicle stays connected, answers at once and sleeps no more: the run ends. */
void vehicles_calm(void);
/* Then each ends its session, has one more, and stays in the next: after VEHICLES_REST_MS. */
#define VEHICLES_REST_MS 100000
void vehicles_rest(void);

#endif
