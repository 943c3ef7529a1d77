/* api.h - what callers may ask, once for REST and WebSocket alike.
 *
 * An operation takes a caller and JSON parameters and ends with JSON or a fault. REST routes and JSON-RPC methods
 * are tables that name operations; neither knows how one works, and an operation does not know who asked. */
#ifndef KEYFOB_GATEWAY_API_H
#define KEYFOB_GATEWAY_API_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "base/loop.h"
#include "gateway/access/rates.h"
#include "gateway/access/token.h"

struct api; /* a worker's: made in gateway/worker.c, lives as long as the worker */
struct api_call;
struct hub;
struct verifier;

struct api_operation {
	const char *name;	   /* "command.send": the JSON-RPC method, where it is one */
	unsigned scope;		   /* SCOPE_… bits, any of which suffices (admin always may); 0: any valid token */
	const char *const *params; /* every parameter it knows, NULL-terminated; others are UNKNOWN_FIELD */
	void (*run)(struct api_call *);
};

/* One request. Made by the transport, which sets nothing but what api_call_new() takes, and reads the reply in on_done. */
struct api_call {
	struct api *api;
	const struct api_operation *operation;
	struct caller caller; /* copied */
	char request_id[37];
	json_t *params;			    /* an object; owned */
	void *transport;		    /* the asker's */
	void (*on_done)(struct api_call *); /* from the loop, once; NULL after api_call_cancel() */

	/* the reply, complete when on_done runs; owned by the call */
	const struct fault *fault; /* NULL: `body` is the result */
	char detail[256];	   /* of the fault: for the developer; empty: there is no more to say than its title */
	int retry_after_s;	   /* of the fault; 0: none */
	const char *missing_scope; /* when the fault is FORBIDDEN: of the token; NULL: it is no scope that is missing */
	struct rate_verdict rate;  /* of the vehicle's bucket, when the fault is RATE_LIMITED */
	bool retriable_by_key;	   /* an unknown outcome that an idempotency key makes safe to retry */
	char *body;		   /* JSON text */
	size_t body_len;
	bool replayed;		 /* command.send, batch.create: Idempotency-Replayed */
	bool settled;		 /* command.send with wait: the command is final or timed_out */
	bool created;		 /* vehicle.put, fleet.put, grant.put, notice.put: it did not exist before */
	int64_t desired_version; /* vehicle.get, state.patch: for If-Match; -1: none */
	char next_cursor[256];	 /* lists: empty when there is no more; a grant's is its subject */
	char resource_id[80];	 /* command.send, batch.create, webhook.create: the id of what was made, for Location */
	char trace_id[33];	 /* command.send: for the log; "": none */

	void *state; /* the operation's own; freed with `free_state` */
	void (*free_state)(void *);
	bool running;
};

/* A caller whose token is of a key that is perhaps being fetched, and who waits for it. Embedded in its owner, zeroed but for on_over. */
struct keys_wait {
	void (*on_over)(struct keys_wait *); /* from the loop */
	struct api *api;
	struct loop_timer look;
	int64_t until_ms; /* monotonic */
	unsigned fetches;
};

/* Every operation, by name. */
extern const struct api_operation
	API_COMMAND_SEND; /* vehicle_id name params sealed_params ttl_seconds timeout_seconds wake idempotency_key wait(seconds) traceparent tracestate */
extern const struct api_operation API_COMMAND_GET;	   /* vehicle_id id; with its timeline */
extern const struct api_operation API_COMMAND_LIST;	   /* vehicle_id status limit cursor */
extern const struct api_operation API_COMMAND_CANCEL;	   /* vehicle_id id */
extern const struct api_operation API_VEHICLE_GET;	   /* vehicle_id */
extern const struct api_operation API_VEHICLE_LIST;	   /* filter limit cursor */
extern const struct api_operation API_VEHICLE_PUT;	   /* vehicle_id, and what PUT takes of it */
extern const struct api_operation API_VEHICLE_DELETE;	   /* vehicle_id */
extern const struct api_operation API_EVENT_LIST;	   /* vehicle_id after limit cursor */
extern const struct api_operation API_GRANT_LIST;	   /* vehicle_id limit cursor */
extern const struct api_operation API_GRANT_GET;	   /* vehicle_id subject */
extern const struct api_operation API_GRANT_PUT;	   /* vehicle_id subject role expires_at */
extern const struct api_operation API_GRANT_DELETE;	   /* vehicle_id subject */
extern const struct api_operation API_VEHICLE_TRANSFER;	   /* vehicle_id subject */
extern const struct api_operation API_STATE_PATCH;	   /* vehicle_id patch if_match */
extern const struct api_operation API_NOTICE_LIST;	   /* vehicle_id limit cursor */
extern const struct api_operation API_NOTICE_PUT;	   /* vehicle_id name payload content_type expires_in_seconds */
extern const struct api_operation API_NOTICE_DELETE;	   /* vehicle_id name */
extern const struct api_operation API_AUDIT_LIST;	   /* vehicle_id limit cursor */
extern const struct api_operation API_FLEET_LIST;	   /* limit cursor */
extern const struct api_operation API_FLEET_GET;	   /* fleet_id */
extern const struct api_operation API_FLEET_PUT;	   /* fleet_id title */
extern const struct api_operation API_FLEET_DELETE;	   /* fleet_id */
extern const struct api_operation API_FLEET_GRANT_LIST;	   /* fleet_id limit cursor */
extern const struct api_operation API_FLEET_GRANT_GET;	   /* fleet_id subject */
extern const struct api_operation API_FLEET_GRANT_PUT;	   /* fleet_id subject role expires_at */
extern const struct api_operation API_FLEET_GRANT_DELETE;  /* fleet_id subject */
extern const struct api_operation API_FLEET_NOTICE_LIST;   /* fleet_id limit cursor */
extern const struct api_operation API_FLEET_NOTICE_PUT;	   /* fleet_id name payload content_type expires_in_seconds */
extern const struct api_operation API_FLEET_NOTICE_DELETE; /* fleet_id name */
extern const struct api_operation API_ALL_NOTICE_LIST;	   /* limit cursor; those for all vehicles */
extern const struct api_operation API_ALL_NOTICE_PUT;	   /* name payload content_type expires_in_seconds */
extern const struct api_operation API_ALL_NOTICE_DELETE;   /* name */
extern const struct api_operation
	API_BATCH_CREATE; /* fleet_id name params ttl_seconds timeout_seconds wake vehicles filter rate max_failures idempotency_key traceparent */
extern const struct api_operation API_BATCH_LIST;			  /* fleet_id limit cursor */
extern const struct api_operation API_BATCH_GET;			  /* id */
extern const struct api_operation API_BATCH_COMMANDS;			  /* id status limit cursor */
extern const struct api_operation API_BATCH_CANCEL;			  /* id */
extern const struct api_operation API_VEHICLE_BLOCK, API_VEHICLE_UNBLOCK; /* vehicle_id */
extern const struct api_operation API_SUBJECT_GET;   /* subject limit cursor: all that is kept of it */
extern const struct api_operation API_SUBJECT_ERASE; /* subject */
extern const struct api_operation API_WAKEUP_LIST;   /* vehicle_id limit cursor */
extern const struct api_operation
	API_SMS_RECEIPT; /* provider message_id delivered reason; by a hook, which has no caller */
extern const struct api_operation API_WEBHOOK_LIST;	    /* limit cursor */
extern const struct api_operation API_WEBHOOK_CREATE;	    /* url description vehicle_ids fleet_ids types enabled */
extern const struct api_operation API_WEBHOOK_GET;	    /* id */
extern const struct api_operation API_WEBHOOK_PUT;	    /* id url description vehicle_ids fleet_ids types enabled */
extern const struct api_operation API_WEBHOOK_DELETE;	    /* id */
extern const struct api_operation API_WEBHOOK_ROTATE;	    /* id overlap_seconds */
extern const struct api_operation API_WEBHOOK_DELIVERIES;   /* id status limit cursor */
extern const struct api_operation API_WEBHOOK_DELIVERY_GET; /* id delivery_id */
extern const struct api_operation API_WEBHOOK_REDELIVER;    /* id delivery_id */
extern const struct api_operation API_NODE_LIST;	    /* limit cursor */
extern const struct api_operation API_ALERT_LIST, API_ALL_WAKEUP_LIST,
	API_BLOCK_LIST; /* limit cursor; of all vehicles */
extern const struct api_operation API_FLEET_ALERT_LIST, API_FLEET_WAKEUP_LIST,
	API_FLEET_BLOCK_LIST;			       /* fleet_id limit cursor */
extern const struct api_operation API_STATS_GET;       /* minutes */
extern const struct api_operation API_FLEET_STATS_GET; /* fleet_id minutes */
extern const struct api_operation API_CATALOG_GET;
extern const struct api_operation API_ME;

/* `params` is eaten (an object). `request_id` NULL: one is made. Checks the scope and unknown parameters before the operation runs. */
struct api_call *api_call_new(struct api *, const struct api_operation *, const struct caller *, json_t *params,
	const char *request_id, void *transport, void (*on_done)(struct api_call *));
void api_call_start(struct api_call *);
/* The asker is gone: on_done will not run; the work itself is not taken back. Frees it, now or when it is done. */
void api_call_cancel(struct api_call *);
void api_call_free(struct api_call *); /* after on_done */

/* For operations: ends the call; on_done runs from the loop. */
void api_call_fail(struct api_call *, const struct fault *, const char *detail_format, ...)
	__attribute__((format(printf, 3, 4)));
void api_call_reply(struct api_call *, char *body, size_t len); /* eats the malloc'd text */

/* The RFC 9457 problem object of a fault; the caller owns it. REST's body, JSON-RPC's `error.data`. Without a detail of its own it
 * has the title's. */
json_t *api_problem(const struct fault *, const char *detail, const char *request_id, bool retriable_by_key);

/* For the transports: somebody was told this problem. `method` is HTTP's or JSON-RPC's, `route` as in the table of routes; "" where
 * there was none. */
void api_log_problem(struct api *, const struct fault *, const char *request_id, const char *method, const char *route);

/* asking, for the transports */
struct hub *api_hub(struct api *);
/* Checks a bearer token (not NUL-terminated) that came from `address`. NULL: `ret` is filled. With a `wait` (NULL: at once) it may be
 * KEYS_AWAITED: on_over will run, and then the token is to be shown once more, with the same one. */
const struct fault *api_authenticate(struct api *, const char *token, size_t len, const char *address,
	struct keys_wait *wait, struct caller *ret, char *ret_why, size_t why_size);
/* The caller is gone, if it waited at all. */
void keys_wait_cancel(struct keys_wait *);
bool api_is_draining(const struct api *);
/* Milliseconds until the caller's token is refused by itself (TOKEN_LEEWAY_US); negative: it would be. */
int64_t api_caller_left_ms(const struct api *, const struct caller *);

/* Takes a token of the bucket that `limits` gives to that key; false: FAULT_RATE_LIMITED. Transports ask for the address and
 * the subject, before the call; command.send for the vehicle. */
bool api_may_ask(struct api *, enum rate, const char *key, struct rate_verdict *ret);
/* Puts back what it took. */
void api_give_back(struct api *, enum rate, const char *key, const struct rate_verdict *);

#endif
