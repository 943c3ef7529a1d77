/* accept.h - makes a command durable: the promise that its 202 gives. */
#ifndef KEYFOB_COMMANDS_ACCEPT_H
#define KEYFOB_COMMANDS_ACCEPT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ids.h"
#include "base/trace.h"
#include "sql/batch.h"

struct accept_flow;
struct db;
struct dispatch;

/* One command to accept. Owned by the caller until `on_done`; its texts are borrowed so long. */
struct accept {
	/* the draft */
	const char *vehicle_id, *subject, *name;
	const char *address; /* for the audit table; NULL: unknown */
	bool admin;	     /* keyfob:admin: no grant is needed */
	int needs;	     /* the rank of role that the catalogue demands: 1 viewer … 3 owner */
	const char *params;  /* JSON text, or NULL with sealed_params */
	const char *sealed_params;
	int ttl_s, timeout_s;
	bool wake;
	const char *redelivery;	       /* "on_reconnect" or "never" */
	const char *supersedes;	       /* names, comma-separated; may be empty */
	const char *catalog;	       /* JSON text: what the catalogue says of it */
	const char *traceparent;       /* of the caller; NULL: none */
	const char *tracestate;	       /* along with it; NULL: none */
	const char *key, *fingerprint; /* idempotency; both or neither */
	const char *batch_id; /* NULL: none. Its target of this vehicle is noted as fed, in the same transaction */
	const struct batch_fence *fence; /* NULL: none */
	/* NULL: it is durable, or an earlier one of the same key is. VEHICLE_NOT_FOUND, FORBIDDEN, QUEUE_FULL,
	 * IDEMPOTENCY_KEY_REUSED, or a storage fault. */
	void (*on_done)(struct accept *, const struct fault *);

	/* the outcome */
	char id[UUID_TEXT_SIZE]; /* a new command's; the command's own is in `command` */
	char *command;		 /* JSON text; the caller frees it */
	bool replayed;
	const struct fault *verdict;  /* the flow's: what the statement said */
	const char *publisher;	      /* the flow's: who publishes it if it is claimed at once */
	struct batch_item item;	      /* the flow's */
	char trace[TRACEPARENT_SIZE]; /* the flow's: where it samples, what `traceparent` is from then on */
	int64_t began_us;
};

/* `dispatch` publishes what was claimed as it was accepted. */
struct accept_flow *accept_new(struct loop *, struct db *, struct dispatch *dispatch, int queue_max);
void accept_free(struct accept_flow *);
struct batch_stage *accept_stage(struct accept_flow *);
void accept_attach(struct accept_flow *, struct batch *);
/* Journeys are recorded as it says: a command without a trace begins one. Borrowed. Without it what callers give is carried, no more. */
void accept_sample(struct accept_flow *, const struct trace_sampler *);
/* Gives the draft its id and submits it; on_done always runs, from the loop, unless this returns a fault. */
const struct fault *accept_submit(struct accept_flow *, struct accept *);

#endif
