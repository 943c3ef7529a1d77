/* reachability.h - whether a vehicle can be reached: from lifecycle events, verified absences, messages and PUBACKs.
 *
 * docs/reachability.md has the rules; sql/queries/lifecycle_apply.sql applies them under the head's lock. */
#ifndef KEYFOB_STATE_REACHABILITY_H
#define KEYFOB_STATE_REACHABILITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct batch;
struct batch_fence;
struct batch_stage;
struct db;
struct lifecycle_source;
struct loop;
struct mqtt_message;
struct reachability;
struct receipt;

struct reachability_options { /* borrowed for life */
	struct db *writer, *reader;
	const struct lifecycle_source *source;
	const char *worker;
	int64_t verify_delay_ms, return_delay_ms;
};

#define REACHABILITY_STAGES 5

struct reachability *reachability_new(struct loop *, const struct reachability_options *);
void reachability_free(struct reachability *);
/* Its stages, in the order in which they run in a transaction. */
void reachability_stages(struct reachability *, struct batch_stage *ret[REACHABILITY_STAGES]);
void reachability_attach(struct reachability *, struct batch *);
/* Looks for verifications that are due, whoever began them, until reachability_stop(). */
void reachability_start(struct reachability *);
void reachability_stop(struct reachability *);

/* One message of the lifecycle feed. */
void reachability_receive(
	struct reachability *, const struct batch_fence *, const struct mqtt_message *, struct receipt *);
/* PUBACK 0x10: nobody had subscribed, as far as this session ("" for none) goes. */
void reachability_disprove(struct reachability *, const char *vehicle_id, const char *session);
/* A message came from this vehicle. `is_late`: perhaps before its feed was read, and the vehicle may have gone since. */
void reachability_prove(
	struct reachability *, const struct batch_fence *, const char *vehicle_id, bool is_late, struct receipt *);
/* The broker is to be asked to name everybody who is there: `on_question` gets the text to ask with (borrowed for the call; NULL: the
 * database did not answer), which the broker repeats when it has. Who was not named in between is verified, in no less than
 * return_delay_ms. The end of another question says nothing (false). An end that the database refuses again and again is acknowledged, and the
 * question asked once more a minute later. */
void reachability_resync_begin(struct reachability *, void (*on_question)(void *owner, const char *text), void *owner);
bool reachability_resync_end(
	struct reachability *, const struct batch_fence *, const struct mqtt_message *, struct receipt *);

#endif
