/* dispatch.h - from the claim to the PUBACK: publishes what this worker claimed, and records what became of it.
 *
 * Its settle stage ends every transaction: of the vehicles concerned, those that are away have only waiting
 * commands, and of those that are there the oldest unsent command is claimed. Its puback and failure stages record verdicts.
 * A publish stays in hand until its verdict is recorded, whatever the database does meanwhile. A good PUBACK waits a few
 * milliseconds for the vehicle's answer, which takes it along: one change of the command instead of two. */
#ifndef KEYFOB_COMMANDS_DISPATCH_H
#define KEYFOB_COMMANDS_DISPATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct batch;
struct batch_stage;
struct command_ports;
struct db;
struct dispatch;
struct flight;
struct loop;

/* One command that was claimed, by a transaction that is committed. Its texts are read before the call returns. */
struct claim {
	const char *vehicle_id, *id, *name;
	const char *params, *sealed_params;   /* JSON text, text; either may be NULL */
	const char *issued_at, *expires_at;   /* RFC 3339 */
	const char *traceparent, *tracestate; /* NULL: none */
	const char *session;		      /* whom it was claimed for */
	const char *worker;		      /* by whom it is to be published */
	const char *protocol;		      /* which the vehicle speaks: codec_of() */
	int attempt, number;		      /* the latter of the claim itself: no other of its vehicle has it */
	int64_t expires_us;
};

struct dispatch_options {
	struct db *db;
	const char *worker; /* borrowed for life, like the ports */
	const struct command_ports *ports;
	bool records;	 /* journeys are recorded: what the vehicle does of one is part of its attempt's span */
	int patience_ms; /* how long a good PUBACK waits for the answer; 0: 5 */
};

/* making */
struct dispatch *dispatch_new(struct loop *, const struct dispatch_options *);
void dispatch_free(struct dispatch *);
/* Good PUBACKs whose answer took its time, or came elsewhere. */
struct batch_stage *dispatch_puback_stage(struct dispatch *);
/* All other verdicts, after the answers: an answer proves what a verdict doubts. */
struct batch_stage *dispatch_failure_stage(struct dispatch *);
struct batch_stage *dispatch_settle_stage(struct dispatch *);
void dispatch_attach(struct dispatch *, struct batch *);

/* asking */
size_t dispatch_in_hand(const struct dispatch *);
bool dispatch_has(const struct dispatch *, const char *command_id);
/* For whom to claim a new command of this vehicle: this worker, or a sibling; NULL: it could not be published now. */
const char *dispatch_publisher(const struct dispatch *, const char *vehicle_id);

/* changing */
/* Sees to a claim of this worker's transaction: publishes it, or hands it to whom it was made for. */
void dispatch_take(struct dispatch *, const struct claim *);
/* Publishes a claim, whoever made it. */
void dispatch_publish(struct dispatch *, const struct claim *);
/* Its answer is here, and waits for a transaction: so does a good PUBACK of this command, until dispatch_carried() or, where
 * the transaction was over before the PUBACK came, dispatch_answered(). */
void dispatch_await(struct dispatch *, const char *command_id);
/* A publish of this command with a good PUBACK that no transaction has yet, to be written along with its answer: then dispatch_carried()
 * says whether it was, and frees it. NULL: none. */
struct flight *dispatch_carry(struct dispatch *, const char *command_id);
/* The steps of the timeline, a JSON array; borrowed. */
const char *dispatch_steps(const struct flight *);
void dispatch_carried(struct flight *, bool written);
void dispatch_answered(struct dispatch *, const char *command_id);
/* A vehicle has answered: measures how long that took, where the publish was one of this worker's last ones. */
void dispatch_measure(struct dispatch *, const char *command_id);

/* what the send link tells */
void dispatch_on_puback(struct dispatch *, int mid, int reason);
/* The link is gone: whether what was published and not acknowledged has arrived, nobody knows. */
void dispatch_on_link_down(struct dispatch *);

#endif
