/* api_internal.h - what operations work with: a worker's flows and snapshots. Transports see api.h alone. */
#ifndef KEYFOB_GATEWAY_API_INTERNAL_H
#define KEYFOB_GATEWAY_API_INTERNAL_H

#include "base/list.h"
#include "gateway/api.h"

struct accept_flow;
struct alerts;
struct batch;
struct cancel_flow;
struct catalog;
struct config;
struct db;
struct changes;
struct wake;
struct refused;
struct revocation;

/* problem_log.c: how many of this second's problems are in the log, and how many are not. */
struct problem_log {
	struct loop_timer second;
	int written, unwritten;
};

/* Filled by gateway/worker.c; everything is borrowed for the worker's life, the catalogue until SIGHUP brings another. */
struct api {
	struct loop *loop;
	const struct config *config;
	const struct catalog *catalog;
	struct verifier *verifier;
	struct hub *hub;
	struct batch *batch;
	struct db *writer, *reader;
	struct accept_flow *accept;
	struct cancel_flow *cancel;
	struct changes *changes;
	struct wake *wake;
	struct revocation *revocation;
	struct alerts *alerts;
	/* Tells those whom a vehicle concerns what was noticed (alerts_raise); NULL: nobody is told. */
	void (*raise)(struct alerts *, const char *vehicle_id, const char *data);
	void (*raise_fleet)(struct hub *, const char *fleet_id, const char *data); /* likewise (hub_tell_alert) */
	struct refused *refused;
	/* Writes down that a call, or a subscription, was refused (refused_note, refused_note_read); NULL: nobody does. */
	void (*note_refused)(struct refused *, const struct api_call *, const char *why);
	void (*note_refused_read)(
		struct api *, const struct caller *, const char *action, const char *object, const char *why);
	char epoch[64];	     /* of the database's history; "" until it is known */
	struct list waiting; /* command.send calls that wait for an outcome */
	struct problem_log problems;
	unsigned keys_waits; /* callers that wait for their issuer's keys */
	bool draining;
};

/* The node shuts down: what waits for an outcome is answered as it stands. */
void command_send_drain(struct api *);

/* For operations. */

/* The parameter as text, integer, boolean; `absent` when it is not there. A parameter of another type ends the call with
 * INVALID_PARAMS and returns false. */
bool api_param_text(struct api_call *, const char *name, const char **ret); /* NULL when absent */
bool api_param_int(struct api_call *, const char *name, int64_t absent, int64_t min, int64_t max, int64_t *ret);
bool api_param_bool(struct api_call *, const char *name, bool absent, bool *ret);
/* Ends the call with what its token does not allow, or hides what it wanted to read; `why` is for the audit table (refused_note). */
void api_call_refuse(struct api_call *, const char *why, const struct fault *, const char *detail_format, ...)
	__attribute__((format(printf, 4, 5)));
/* The vehicle_id; one that cannot be an id is VEHICLE_NOT_FOUND: false, and the call has ended. */
bool api_param_vehicle(struct api_call *, const char **ret);
/* The fleet_id likewise; FLEET_NOT_FOUND. */
bool api_param_fleet(struct api_call *, const char **ret);
bool api_caller_is_admin(const struct api_call *);
/* Whether a new vehicle or fleet may have this id: the gateway's own begin with the namespace and '-'. */
bool api_may_name(const struct api_call *, const char *id);

#endif
