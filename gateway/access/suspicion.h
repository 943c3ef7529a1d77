/* suspicion.h - counts what a single one does too often, for the whole process: once in a window the count is full, and an alert
 * is due. A table of fixed size under a mutex; who is counted least makes room. */
#ifndef KEYFOB_GATEWAY_ACCESS_SUSPICION_H
#define KEYFOB_GATEWAY_ACCESS_SUSPICION_H

#include <stdbool.h>
#include <stdint.h>

enum suspicion {
	SUSPICION_SUBJECT, /* refusals of a subject */
	SUSPICION_ADDRESS, /* refusals of whoever asks from an address, and tokens that are none */
	SUSPICION_FORGERY, /* responses of a vehicle to what it was not asked */
	SUSPICION_RATE,	   /* commands for a vehicle */
	SUSPICION_CONNECT, /* connects of others under a vehicle's client id */
};

/* One more, of `key`. True once in a window (it begins with the first that is counted; milliseconds): `limit` is reached.
 * `limit` 0: never. Any thread; `now_ms` is the monotonic clock. */
bool suspicion_note(enum suspicion, const char *key, int limit, int64_t window_ms, int64_t now_ms);

#endif
