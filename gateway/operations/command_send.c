/* command_send.c - the operation command.send: checks a request against the catalogue, accepts it, and waits if asked to.
 *
 *   request ─ catalogue ─┬─ the vehicle's rate ─┬─ accept ─┬─ (no wait) ─ the command
 *                        └─ fault               └─ 429     ├─ watch ─┬─ final or timed_out ─┐
 *                                                          │         └─ time is up ─────────┴─ may they still see it ─┬─ the command
 *                                                          │                                                          └─ what was accepted
 *                                                          ├─ an earlier command ─ read again ─ watch
 *                                                          └─ fault */
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/json.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/trace.h"
#include "commands/accept.h"
#include "commands/lifecycle.h"
#include "gateway/api_internal.h"
#include "gateway/config.h"
#include "gateway/detection.h"
#include "gateway/operations/command_draft.h"
#include "notifier/hub.h"
#include "sql/db.h"
#include "sql/statements.h"

#define WAIT_MAX_S 60

struct send {
	struct api_call *call;
	struct accept accept;
	struct command_draft draft;
	bool watching;
	struct hub_watch watch;
	struct loop_timer timer;
	struct list node; /* of api->waiting, while the timer runs */
	int64_t wait_s;
	char *latest; /* the command as the last event showed it */
	bool heard;   /* of an event, since the command was asked for again */
};

static void run(struct api_call *call);
static bool read_request(struct send *s);
static bool take_token(struct send *s);
static void give_token_back(struct send *s);
static void submit(struct send *s);
static void on_accepted(struct accept *accept, const struct fault *fault);
static void read_again(struct send *s);
static void on_read(struct db_unit *unit, void *context, const struct fault *fault);
static void await(struct send *s);
static void on_command(struct hub_watch *watch, const char *command);
static void on_time_up(struct loop_timer *timer);
static void look_again(struct send *s);
static void on_looked_again(struct db_unit *unit, void *context, const struct fault *fault);
static void stop(struct send *s);
static void finish(struct send *s);
static void send_free(void *state);

static const char *const params[] = { "vehicle_id", "name", "params", "sealed_params", "ttl_seconds", "timeout_seconds",
	"wake", "idempotency_key", "wait", "traceparent", "tracestate", NULL };
const struct api_operation API_COMMAND_SEND = { "command.send", SCOPE_COMMANDS_WRITE, params, run };

static void run(struct api_call *call)
{
	struct send *s = memory_new(sizeof(*s));

	s->call = call;
	call->state = s;
	call->free_state = send_free;
	loop_timer_init(call->api->loop, &s->timer, on_time_up);
	list_init(&s->node);
	if (read_request(s) && take_token(s))
		submit(s);
}

static bool read_request(struct send *s)
{
	struct api_call *call = s->call;

	if (!api_param_vehicle(call, &s->accept.vehicle_id) ||
		!api_param_int(call, "wait", 0, 0, WAIT_MAX_S, &s->wait_s) || !command_draft_read(call, &s->draft))
		return false;
	s->accept.subject = call->caller.subject;
	s->accept.address = call->caller.address;
	s->accept.admin = api_caller_is_admin(call);
	s->accept.name = s->draft.name;
	s->accept.needs = s->draft.needs;
	s->accept.params = s->draft.params;
	s->accept.sealed_params = s->draft.sealed_params;
	s->accept.ttl_s = s->draft.ttl_s;
	s->accept.timeout_s = s->draft.timeout_s;
	s->accept.wake = s->draft.wake;
	s->accept.redelivery = s->draft.redelivery;
	s->accept.supersedes = s->draft.supersedes;
	s->accept.catalog = s->draft.catalog;
	s->accept.traceparent = s->draft.traceparent[0] ? s->draft.traceparent : NULL;
	s->accept.tracestate = s->draft.tracestate;
	s->accept.key = s->draft.key;
	s->accept.fingerprint = s->draft.key ? s->draft.fingerprint : NULL;
	return true;
}

/* The rate at which one vehicle gets commands, whoever sends them. */

static void on_looked_up(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct send *s = context;
	bool seen = !fault && db_rows(unit, 0) > 0 && db_int(unit, 0, 0, 0) > 0;

	if (fault) {
		api_call_fail(s->call, &FAULT_STORAGE_UNAVAILABLE, "%s", "");
	} else if (!seen) {
		api_call_fail(s->call, &FAULT_VEHICLE_NOT_FOUND, "%s", "");
	} else {
		s->call->retry_after_s = s->call->rate.retry_after_s;
		api_call_fail(s->call, &FAULT_RATE_LIMITED, "too many commands for this vehicle");
	}
}

/* Who may not see a vehicle must not learn from a 429 that it exists. */
static void look_up(struct send *s)
{
	struct api_call *call = s->call;
	struct db_unit *unit = db_unit_new(call->api->reader, on_looked_up, s);

	db_unit_add(unit, &SQL_read_vehicle);
	db_param_text(unit, call->caller.subject);
	db_param_bool(unit, s->accept.admin);
	db_param_bool(unit, call->api->config->database.synchronous);
	db_param_text(unit, s->accept.vehicle_id);
	db_unit_submit(unit);
}

/* False: the call ends, or is looking up with what. */
static bool take_token(struct send *s)
{
	if (api_may_ask(s->call->api, RATE_VEHICLE, s->accept.vehicle_id, &s->call->rate))
		return true;
	look_up(s);
	return false;
}

/* Else who may not send to a vehicle could use up what its owner may. */
static void give_token_back(struct send *s)
{
	api_give_back(s->call->api, RATE_VEHICLE, s->accept.vehicle_id, &s->call->rate);
}

/* Accepting. */

static void submit(struct send *s)
{
	struct api *api = s->call->api;

	if (s->wait_s > 0) {
		s->watch.on_command = on_command;
		s->watching = true;
		hub_watch(api->hub, &s->watch, s->accept.vehicle_id);
	}
	s->accept.on_done = on_accepted;
	const struct fault *fault = accept_submit(api->accept, &s->accept);
	if (fault) {
		give_token_back(s);
		api_call_fail(s->call, fault, "%s", "");
		return;
	}
	memcpy(s->watch.command_id, s->accept.id, sizeof(s->watch.command_id));
}

static void keep(struct send *s, const char *command, const char *id, const char *trace)
{
	char traceparent[TRACEPARENT_SIZE];

	free(s->latest);
	s->latest = memory_need(strdup(command));
	snprintf(s->call->resource_id, sizeof(s->call->resource_id), "%s", id);
	if (trace && traceparent_read(trace, strlen(trace), traceparent))
		traceparent_trace_id(traceparent, s->call->trace_id);
}

/* `command` is what the caller will see, if nothing newer comes. */
static void show(struct send *s, const char *command)
{
	char id[UUID_TEXT_SIZE] = "", trace[TRACEPARENT_SIZE] = "", name[32];
	enum command_status status = STATUS_COUNT;

	json_peek(command, "id", id, sizeof(id));
	json_peek(command, "traceparent", trace, sizeof(trace));
	if (json_peek(command, "status", name, sizeof(name)))
		status = status_of(name);
	keep(s, command, id, trace);
	s->call->settled = status_is_final(status) || status == STATUS_TIMED_OUT;
}

/* Nothing of a command that was just made need be read from its text: it is accepted, whatever was settled after that. */
static void show_made(struct send *s)
{
	keep(s, s->accept.command, s->accept.id, s->accept.traceparent);
}

static bool is_to_wait(const struct send *s)
{
	return s->wait_s > 0 && !s->call->settled && !s->call->api->draining;
}

static void on_accepted(struct accept *accept, const struct fault *fault)
{
	struct send *s = container_of(accept, struct send, accept);
	struct api_call *call = s->call;

	if (fault ? fault->executed == EXECUTED_NO : accept->replayed)
		give_token_back(s); /* no command was made */
	if (fault) {
		if (fault == &FAULT_QUEUE_FULL)
			call->retry_after_s = 10;
		api_call_fail(call, fault, "%s", "");
		return;
	}
	if (!accept->replayed)
		detection_command(call->api, accept->vehicle_id, accept->subject);
	call->replayed = accept->replayed;
	if (accept->replayed)
		show(s, accept->command);
	else if (!s->latest)
		show_made(s);
	memcpy(s->watch.command_id, call->resource_id, sizeof(s->watch.command_id));
	if (accept->replayed && is_to_wait(s))
		read_again(s);
	else
		await(s);
}

/* An earlier command was not watched while its transaction was read: what settled it meanwhile was not heard. From here on
 * it is, and what was before is in the table. */
static void read_again(struct send *s)
{
	struct db_array vehicles = { 0 }, ids = { 0 };
	struct db_unit *unit = db_unit_new(s->call->api->reader, on_read, s);

	db_array_text(&vehicles, s->accept.vehicle_id);
	db_array_text(&ids, s->call->resource_id);
	db_unit_add(unit, &SQL_command_read);
	db_param_array(unit, &vehicles);
	db_param_array(unit, &ids);
	s->heard = false;
	db_unit_submit(unit);
}

/* Whatever was heard since the question is no older than the answer, or will be followed. */
static void on_read(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct send *s = context;
	const char *command = fault ? NULL : db_text(unit, 0, 0, 1);

	if (command && !s->heard)
		show(s, command);
	await(s);
}

/* Waiting. Events of the accept itself come before on_accepted. */

static void await(struct send *s)
{
	if (!is_to_wait(s)) {
		finish(s);
		return;
	}
	loop_timer_start(&s->timer, s->wait_s * 1000);
	list_append(&s->call->api->waiting, &s->node);
}

static void on_command(struct hub_watch *watch, const char *command)
{
	struct send *s = container_of(watch, struct send, watch);

	s->heard = true;
	show(s, command);
	if (s->call->settled && loop_timer_is_started(&s->timer))
		look_again(s);
}

static void on_time_up(struct loop_timer *timer)
{
	look_again(container_of(timer, struct send, timer));
}

void command_send_drain(struct api *api)
{
	while (!list_is_empty(&api->waiting))
		look_again(container_of(api->waiting.next, struct send, node));
}

/* The right may have ended while the caller waited, as it may between two reads. */
static void look_again(struct send *s)
{
	struct api_call *call = s->call;
	struct db_unit *unit = db_unit_new(call->api->reader, on_looked_again, s);

	stop(s);
	db_unit_add(unit, &SQL_read_command);
	db_param_text(unit, call->caller.subject);
	db_param_bool(unit, s->accept.admin);
	db_param_bool(unit, call->api->config->database.synchronous);
	db_param_text(unit, s->accept.vehicle_id);
	db_param_text(unit, call->resource_id);
	db_unit_submit(unit);
}

/* Who may not see it any more, or where that cannot be told, hears that it was accepted, which is true, and no more. */
static void on_looked_again(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct send *s = context;
	bool seen = !fault && db_rows(unit, 0) > 0 && db_int(unit, 0, 0, 0) > 0 && db_text(unit, 0, 0, 1);

	if (!seen)
		show(s, s->accept.command);
	finish(s);
}

static void stop(struct send *s)
{
	loop_timer_stop(&s->timer);
	list_remove(&s->node);
	if (s->watching)
		hub_unwatch(s->call->api->hub, &s->watch);
	s->watching = false;
}

static void finish(struct send *s)
{
	char *body = s->latest;

	s->latest = NULL;
	stop(s);
	api_call_reply(s->call, body, strlen(body));
}

static void send_free(void *state)
{
	struct send *s = state;

	stop(s);
	command_draft_done(&s->draft);
	free(s->latest);
	free(s->accept.command);
	free(s);
}
