/* life.h - what a vehicle says of itself where its broker tells nobody who comes and goes: birth and will, by the rules of
 * docs/vehicles.md. */
#ifndef KEYFOB_COMMANDS_VEHICLE_LIFE_H
#define KEYFOB_COMMANDS_VEHICLE_LIFE_H

#include <stdint.h>

struct loop;

#define LIFE_SESSION_BYTES 16
#define LIFE_TEXT_SIZE 160

/* Of one connection. Zero-initialise; it belongs to its vehicle. */
struct life {
	char session[2 * LIFE_SESSION_BYTES + 1];
	int64_t version;
};

/* Before each connect: a session that was never used, and a higher version, which is the clock's milliseconds where that has not been set back. */
void life_begin(struct life *, const struct loop *);
/* `type` is "birth" or "will". */
void life_write(const struct life *, const char *type, char out[LIFE_TEXT_SIZE]);

#endif
