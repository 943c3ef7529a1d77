/* guests.h - how many public connections the process has, overall and by address.
 *
 * All workers share it (relaxed atomics). Addresses are counted in a table of fixed size under a random seed: two
 * that meet in a slot share its allowance, and nobody outside can choose to meet another. IPv6 counts by /64. */
#ifndef KEYFOB_GATEWAY_GUESTS_H
#define KEYFOB_GATEWAY_GUESTS_H

#include <stdbool.h>
#include <stddef.h>

/* `peer` is a numeric address. False: there is no room for it, and it is not counted. */
bool guests_enter(const char *peer, size_t max, size_t max_per_address);
/* One more without asking: of one that was let in before, and leaves twice. */
void guests_stay(const char *peer);
/* Once for each that entered or stayed, with the same `peer`. */
void guests_leave(const char *peer);
size_t guests_count(void);

#endif
