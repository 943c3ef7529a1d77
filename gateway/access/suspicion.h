/* suspicion.h - counts what a single one does too often, for the whole process: once in a window the count is full, and an alert
 * is due. A table of fixed size; who is counted least of his set makes room. */
#ifndef KEYFOB_GATEWAY_ACCESS_SUSPICION_H
#define KEYFOB_GATEWAY_ACCESS_SUSPICION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SUSPICION_TRAIL 32

enum suspicion {
	SUSPICION_SUBJECT, /* refusals of a subject */
	SUSPICION_ADDRESS, /* refusals of whoever asks from an address, and tokens that are none */
	SUSPICION_FORGERY, /* responses of a vehicle to what it was not asked */
	SUSPICION_RATE,	   /* commands for a vehicle */
	SUSPICION_SENDER,  /* commands of a subject */
	SUSPICION_CONNECT, /* connects of others under a vehicle's client id */
	SUSPICION_READ,	   /* what a subject was refused to read */
};

/* One more, of `key`. True once in a window (it begins with the first that is counted; milliseconds): `limit` is reached.
 * `limit` 0: never. Any thread; `now_ms` is the monotonic clock. */
bool suspicion_note(enum suspicion, const char *key, int limit, int64_t window_ms, int64_t now_ms);

#define OBJECT_SIZE 80 /* of an object as the audit table has it: a vehicle's id, or a kind and an id */

/* Vehicles, or other objects of the audit table, that somebody tried in a window: each once, the last that there is room for. */
struct suspicion_trail {
	char ids[SUSPICION_TRAIL][OBJECT_SIZE];
	size_t count;
};

/* Likewise, and remembers with the key the object that it was about (NULL: none). Where the limit is reached, those of the window are
 * added to `trail`. */
bool suspicion_note_object(enum suspicion, const char *key, const char *object, int limit, int64_t window_ms,
	int64_t now_ms, struct suspicion_trail *trail);

/* Whether `key` comes to the object for the first time in its window, where that has room for one more: true at most
 * SUSPICION_TRAIL times in a window, however much is tried. */
bool suspicion_is_new(enum suspicion, const char *key, const char *object, int64_t window_ms, int64_t now_ms);

#endif
