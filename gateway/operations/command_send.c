/* command_send.c - the operation command.send: checks a request against the catalogue, accepts it, and waits if asked to.
 *
 *   request ─ catalogue ─┬─ the vehicle's rate ─┬─ accept ─┬─ (no wait) ─ the command
 *                        └─ fault               └─ 429     ├─ watch ─┬─ final or timed_out ─ the command, settled
 *                                                          │         └─ time is up ──────── the command as it stands
 *                                                          └─ fault */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/memory.h"
#include "commands/accept.h"
#include "commands/lifecycle.h"
#include "gateway/api_internal.h"
#include "gateway/catalog.h"
#include "gateway/config.h"
#include "gateway/detection.h"
#include "notifier/hub.h"
#include "sql/db.h"
#include "sql/statements.h"

#define TTL_MAX_S 604800
#define TIMEOUT_MAX_S 86400
#define SEALED_MAX (32 * 1024)
#define KEY_MAX 255
#define WAIT_MAX_S 60

struct send {
	struct api_call *call;
	struct accept accept;
	const struct catalog_command *known;
	char *params, *catalog, *supersedes;
	char fingerprint[65];
	bool watching;
	struct hub_watch watch;
	struct loop_timer timer;
	struct list node; /* of api->waiting, while the timer runs */
	int64_t wait_s;
	char *latest; /* the command as the last event showed it */
};

static void run(struct api_call *call);
static bool read_request(struct send *s);
static bool read_params(struct send *s);
static bool read_key(struct send *s);
static void write_fingerprint(struct send *s);
static void write_catalog(struct send *s);
static bool take_token(struct send *s);
static void give_token_back(struct send *s);
static void submit(struct send *s);
static void on_accepted(struct accept *accept, const struct fault *fault);
static void on_command(struct hub_watch *watch, const char *command);
static void on_time_up(struct loop_timer *timer);
static void finish(struct send *s);
static void send_free(void *state);

static const char *const params[] = { "vehicle_id", "name", "params", "sealed_params", "ttl_seconds", "timeout_seconds",
	"wake", "idempotency_key", "wait", "traceparent", NULL };
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

/* Reading. Each of these ends the call when it returns false. */

static bool read_known(struct send *s)
{
	struct api_call *call = s->call;

	if (!api_param_text(call, "name", &s->accept.name))
		return false;
	if (!s->accept.name) {
		api_call_fail(call, &FAULT_INVALID_PARAMS, "name is required");
		return false;
	}
	s->known = catalog_find(call->api->catalog, s->accept.name);
	if (!s->known)
		api_call_fail(call, &FAULT_UNKNOWN_COMMAND, "the catalogue has no command %.64s", s->accept.name);
	return s->known;
}

static bool read_times(struct send *s)
{
	struct api_call *call = s->call;
	int64_t ttl, timeout, max_ttl = s->known->max_ttl_seconds < TTL_MAX_S ? s->known->max_ttl_seconds : TTL_MAX_S;

	if (!api_param_int(call, "ttl_seconds", s->known->ttl_seconds, 1, max_ttl, &ttl) ||
		!api_param_int(call, "timeout_seconds", s->known->timeout_seconds, 1, TIMEOUT_MAX_S, &timeout) ||
		!api_param_int(call, "wait", 0, 0, WAIT_MAX_S, &s->wait_s))
		return false;
	s->accept.ttl_s = (int)ttl;
	s->accept.timeout_s = (int)timeout;
	return api_param_bool(call, "wake", s->known->wake, &s->accept.wake);
}

static bool has_stepped_up(const struct send *s)
{
	struct api_call *call = s->call;
	int64_t age_us = loop_unix_us(call->api->loop) - call->caller.auth_time_us;

	if (s->known->step_up_seconds == 0 || age_us <= (int64_t)s->known->step_up_seconds * 1000000)
		return true;
	api_call_fail(call, &FAULT_STEP_UP_REQUIRED, "max_age=%d", s->known->step_up_seconds);
	return false;
}

static bool read_request(struct send *s)
{
	struct api_call *call = s->call;

	s->accept.subject = call->caller.subject;
	s->accept.address = call->caller.address;
	s->accept.admin = api_caller_is_admin(call);
	if (!api_param_vehicle(call, &s->accept.vehicle_id) || !read_known(s) || !read_params(s) || !read_times(s) ||
		!read_key(s) || !api_param_text(call, "traceparent", &s->accept.traceparent) || !has_stepped_up(s))
		return false;
	s->accept.needs = (int)s->known->role + 1;
	s->accept.redelivery = catalog_redelivery_name(s->known->redelivery);
	write_catalog(s);
	return true;
}

static bool read_params(struct send *s)
{
	struct api_call *call = s->call;
	const json_t *given = json_object_get(call->params, "params");
	json_auto_t *checked = NULL;

	if (!api_param_text(call, "sealed_params", &s->accept.sealed_params))
		return false;
	if (s->accept.sealed_params) {
		if (!given && strlen(s->accept.sealed_params) <= SEALED_MAX)
			return true;
		api_call_fail(
			call, &FAULT_INVALID_PARAMS, "sealed_params stands in place of params and has at most 32 KiB");
		return false;
	}
	const struct fault *fault = catalog_check_params(s->known, given, &checked, call->detail, sizeof(call->detail));
	if (fault) {
		char detail[sizeof(call->detail)];
		memcpy(detail, call->detail, sizeof(detail));
		api_call_fail(call, fault, "%s", detail);
		return false;
	}
	s->accept.params = s->params = json_canonical(checked);
	return true;
}

static bool read_key(struct send *s)
{
	if (!api_param_text(s->call, "idempotency_key", &s->accept.key))
		return false;
	if (!s->accept.key)
		return true;
	size_t len = strlen(s->accept.key);
	if (len < 1 || len > KEY_MAX) {
		api_call_fail(s->call, &FAULT_INVALID_PARAMS, "the idempotency key has 1 to %d bytes", KEY_MAX);
		return false;
	}
	s->call->retriable_by_key = true;
	write_fingerprint(s);
	return true;
}

/* Of what makes a request this request: the vehicle and the JSON value, not how it is sent or waited for. */
static void write_fingerprint(struct send *s)
{
	json_auto_t *value = memory_need(json_copy(s->call->params));
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	json_object_del(value, "idempotency_key");
	json_object_del(value, "wait");
	json_object_del(value, "traceparent");
	char *text = json_canonical(value);
	EVP_Digest(text, strlen(text), digest, &len, EVP_sha256(), NULL);
	free(text);
	for (unsigned i = 0; i < 32; i++)
		snprintf(s->fingerprint + 2 * i, 3, "%02x", digest[i]);
	s->accept.fingerprint = s->fingerprint;
}

/* What the catalogue says of the command today is stored with it. */
static void write_catalog(struct send *s)
{
	const struct catalog_command *k = s->known;
	struct text names = { 0 };
	json_auto_t *said = memory_need(json_pack("{s:s, s:s, s:s, s:i, s:i, s:b}", "title", k->title ? k->title : "",
		"role", catalog_role_name(k->role), "redelivery", catalog_redelivery_name(k->redelivery), "ttl_seconds",
		k->ttl_seconds, "timeout_seconds", k->timeout_seconds, "wake", k->wake));

	for (size_t i = 0; i < k->supersedes.count; i++)
		text_addf(&names, "%s%s", i ? "," : "", k->supersedes.items[i]);
	s->accept.supersedes = s->supersedes = text_take(&names);
	s->accept.catalog = s->catalog = json_canonical(said);
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

static bool is_settled(const char *command, char ret_id[37])
{
	json_auto_t *c = json_loads(command, 0, NULL);
	const char *id = json_text_at(c, "id"), *status = json_text_at(c, "status");

	snprintf(ret_id, 37, "%s", id ? id : "");
	enum command_status s = status ? status_of(status) : STATUS_COUNT;
	return status_is_final(s) || s == STATUS_TIMED_OUT;
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
	call->settled = is_settled(accept->command, call->resource_id);
	if (accept->replayed || !s->latest) {
		free(s->latest);
		s->latest = accept->command;
		accept->command = NULL;
	}
	memcpy(s->watch.command_id, call->resource_id, sizeof(s->watch.command_id));
	if (s->wait_s == 0 || call->settled || call->api->draining) {
		finish(s);
		return;
	}
	loop_timer_start(&s->timer, s->wait_s * 1000);
	list_append(&call->api->waiting, &s->node);
}

/* Waiting. Events of the accept itself come before on_accepted. */

static void on_command(struct hub_watch *watch, const char *command)
{
	struct send *s = container_of(watch, struct send, watch);
	char id[37];

	free(s->latest);
	s->latest = memory_need(strdup(command));
	s->call->settled = is_settled(command, id);
	if (s->call->settled && loop_timer_is_started(&s->timer))
		finish(s);
}

static void on_time_up(struct loop_timer *timer)
{
	finish(container_of(timer, struct send, timer));
}

void command_send_drain(struct api *api)
{
	while (!list_is_empty(&api->waiting))
		finish(container_of(api->waiting.next, struct send, node));
}

static void finish(struct send *s)
{
	char *body = s->latest;

	s->latest = NULL;
	loop_timer_stop(&s->timer);
	list_remove(&s->node);
	if (s->watching)
		hub_unwatch(s->call->api->hub, &s->watch);
	s->watching = false;
	api_call_reply(s->call, body, strlen(body));
}

static void send_free(void *state)
{
	struct send *s = state;

	loop_timer_stop(&s->timer);
	list_remove(&s->node);
	if (s->watching)
		hub_unwatch(s->call->api->hub, &s->watch);
	free(s->params);
	free(s->catalog);
	free(s->supersedes);
	free(s->latest);
	free(s->accept.command);
	free(s);
}
