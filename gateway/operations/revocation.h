/* revocation.h - grants whose time is over end, what was sent by rights that ended is taken back, and who was erased is taken out of
 * what is kept.
 *
 * A grant on a vehicle ends under its head's lock, and its subject's unsent commands with it. A grant on a fleet ends
 * alone: who reads it at that moment may still accept a command of that subject, so its vehicles are looked at until
 * everybody who may have read it is over, and once more what comes back unsent from a claim (docs/access.md). */
#ifndef KEYFOB_GATEWAY_OPERATIONS_REVOCATION_H
#define KEYFOB_GATEWAY_OPERATIONS_REVOCATION_H

#include <stdbool.h>

struct batch;
struct batch_stage;
struct db;
struct hub;
struct loop;
struct revocation;

#define REVOCATION_STAGES 2

/* making; all is borrowed */
struct revocation *revocation_new(struct loop *, struct db *writer, struct db *reader, struct hub *);
void revocation_free(struct revocation *); /* no look may be under way */
void revocation_stages(struct revocation *, struct batch_stage *ret[REVOCATION_STAGES]);
void revocation_attach(struct revocation *, struct batch *);

bool revocation_is_quiet(const struct revocation *);

/* changing */
void revocation_start(struct revocation *); /* from now on it looks twice a second */
void revocation_stop(struct revocation *);
void revocation_look(
	struct revocation *); /* now: rights were ended here. Does nothing before the start or after the stop */

#endif
