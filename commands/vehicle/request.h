/* request.h - one request as the vehicle received it, and until when it may be done.
 *
 * Whoever read it owns it. Two clocks bound it: the wall clock by its `expires_at`, and, since a vehicle's wall clock
 * may be wrong, the monotonic one by the life that the broker said was left at receipt. */
#ifndef KEYFOB_COMMANDS_VEHICLE_REQUEST_H
#define KEYFOB_COMMANDS_VEHICLE_REQUEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/loop.h"
#include "base/trace.h"

struct mqtt_message;
struct work;

enum request_state {
	REQUEST_WAITING, /* in the queue: work.waiting */
	REQUEST_ACTING,	 /* done, its answer is not due yet: work.acting */
	REQUEST_TOLD,	 /* answered, the answer is not accepted yet: work.told */
	REQUEST_SETTLED, /* accepted, or never to be answered; remembered: work.settled */
};

struct request {
	struct list node; /* in the list that its state names */
	enum request_state state;
	struct work *work;

	char *id;
	char *name;			    /* NULL once it is done, as `params` */
	json_t *params;			    /* NULL also when they are sealed or absent */
	char *response_topic;		    /* NULL: the vehicle's own feed */
	char *correlation;		    /* NULL: the id */
	char traceparent[TRACEPARENT_SIZE]; /* of this vehicle's own span; "": the request bears none */
	char *tracestate;		    /* as it came; NULL: none */
	int64_t expires_at_us;		    /* wall clock */
	int64_t deadline_ms;		    /* monotonic */

	char *answer;	    /* the response's text, the same each time that it is sent */
	const char *status; /* … and its status */
	int times_told;
	int progress_unsettled; /* in_progress answers that neither accepted nor rejected has followed yet */
	struct loop_timer resend;
};

/* NULL when it is no request: no JSON object, no id or name of at most 128 bytes, no expires_at. The caller owns it. */
struct request *request_read(const struct mqtt_message *, const struct loop *);
void request_free(struct request *);

/* It may not be done any more: by one of the clocks its life is over. */
bool request_is_stale(const struct request *, const struct loop *);
/* By neither clock could it be done, if it came again: it need not be remembered. */
bool request_is_forgettable(const struct request *, const struct loop *);
/* What is needed to do it is needed no longer. */
void request_drop_order(struct request *);

#endif
