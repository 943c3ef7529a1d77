/* batches.c - the operations that begin and end batches: one command to many vehicles of a fleet. What becomes of a batch is
 * commands/fleet_batch.c's.
 *
 *   request ─ catalogue ─ targets ─ one transaction: key, rights, targets found, batch and lease ─ 202 */
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/json.h"
#include "base/memory.h"
#include "gateway/api_internal.h"
#include "gateway/operations/command_draft.h"
#include "gateway/operations/vehicle_filter.h"
#include "gateway/operations/verdict.h"
#include "sql/db.h"
#include "sql/statements.h"

#define TARGETS_MAX 100000
#define RATE_MAX 10000
#define RATE_DEFAULT 100
#define FAILURES_MAX 1000000

static void run_create(struct api_call *call);
static void run_cancel(struct api_call *call);

static const char *const params_create[] = { "fleet_id", "name", "params", "ttl_seconds", "timeout_seconds", "wake",
	"vehicles", "filter", "rate", "max_failures", "idempotency_key", "traceparent", NULL };
const struct api_operation API_BATCH_CREATE = { "batch.create", SCOPE_COMMANDS_WRITE, params_create, run_create };
static const char *const params_cancel[] = { "id", NULL };
const struct api_operation API_BATCH_CANCEL = { "batch.cancel", SCOPE_COMMANDS_WRITE, params_cancel, run_cancel };

static const struct verdict verdicts[] = {
	{ "done", NULL, "" },
	{ "replayed", NULL, "" },
	{ "reused", &FAULT_IDEMPOTENCY_KEY_REUSED, "" },
	{ "no_fleet", &FAULT_FLEET_NOT_FOUND, "" },
	{ "forbidden", &FAULT_FORBIDDEN, "your role does not allow this" },
	{ "no_batch", &FAULT_BATCH_NOT_FOUND, "" },
	{ "over", &FAULT_BATCH_ALREADY_FINAL, "" },
	{ 0 },
};

/* One request under way; the call's state. */
struct creation {
	struct command_draft draft;
	char *filter;			 /* JSON text; NULL: none */
	int64_t rate, failures, percent; /* -1: not given */
};

static void on_answered(struct db_unit *unit, void *context, const struct fault *fault);

static void creation_free(void *state)
{
	struct creation *c = state;
	command_draft_done(&c->draft);
	free(c->filter);
	free(c);
}

/* Reading. Each of these ends the call when it returns false. */

static bool refuse(struct api_call *call, const char *why)
{
	api_call_fail(call, &FAULT_INVALID_PARAMS, "%s", why);
	return false;
}

/* The vehicles by name are looked at again, in the fleet. */
static bool check_vehicles(struct api_call *call)
{
	const json_t *vehicles = json_object_get(call->params, "vehicles"), *vehicle;
	size_t i;

	if (!vehicles)
		return true;
	if (!json_is_array(vehicles) || json_array_size(vehicles) == 0)
		return refuse(call, "vehicles is a list of vehicle_ids");
	json_array_foreach (vehicles, i, vehicle) {
		if (!json_is_string(vehicle) || strlen(json_string_value(vehicle)) != json_string_length(vehicle) ||
			!topic_level_is_safe(json_string_value(vehicle)))
			return refuse(call, "vehicles is a list of vehicle_ids");
	}
	return true;
}

static bool read_filter(struct api_call *call, struct creation *c)
{
	const char *filter;
	char why[200];

	if (!api_param_text(call, "filter", &filter))
		return false;
	if (!filter)
		return true;
	if (json_object_get(call->params, "vehicles"))
		return refuse(call, "vehicles and filter exclude each other");
	c->filter = vehicle_filter_read(filter, why, sizeof(why));
	return c->filter ? true : refuse(call, why);
}

/* A number of vehicles, or a percentage of them: 5 or "5%". */
static bool read_failures(struct api_call *call, struct creation *c)
{
	const json_t *value = json_object_get(call->params, "max_failures");
	const char *text = json_string_value(value);
	char *end;

	c->failures = c->percent = -1;
	if (!text)
		return api_param_int(call, "max_failures", -1, 0, FAILURES_MAX, &c->failures);
	c->percent = strtol(text, &end, 10);
	if (strspn(text, "0123456789") == (size_t)(end - text) && end > text && end - text <= 3 &&
		strcmp(end, "%") == 0 && c->percent <= 100)
		return true;
	return refuse(call, "max_failures is a number, or a percentage as in \"5%\"");
}

static void set_unless(json_t *object, const char *key, int64_t absent, int64_t value)
{
	if (value != absent)
		json_object_set_new(object, key, json_integer(value));
}

/* What batch_create() reads. */
static char *body_of(const struct api_call *call, const struct creation *c)
{
	const struct command_draft *d = &c->draft;
	json_auto_t *body = memory_need(json_pack(
		"{s:O, s:s, s:o, s:i, s:i, s:b, s:s, s:s, s:o, s:s*, s:i, s:I, s:i, s:O*, s:o*}", "fleet_id",
		json_object_get(call->params, "fleet_id"), "name", d->name, "params", json_loads(d->params, 0, NULL),
		"ttl_seconds", d->ttl_s, "timeout_seconds", d->timeout_s, "wake", d->wake, "redelivery", d->redelivery,
		"supersedes", d->supersedes, "catalog", json_loads(d->catalog, 0, NULL), "traceparent",
		d->traceparent[0] ? d->traceparent : NULL, "needs", d->needs, "rate", (json_int_t)c->rate, "most",
		TARGETS_MAX, "vehicles", json_object_get(call->params, "vehicles"), "filter",
		c->filter ? json_loads(c->filter, 0, NULL) : NULL));

	set_unless(body, "max_failures", -1, c->failures);
	set_unless(body, "max_failures_percent", -1, c->percent);
	return json_canonical(body);
}

static void run_create(struct api_call *call)
{
	struct creation *c = memory_new(sizeof(*c));
	const char *fleet_id;
	char id[UUID_TEXT_SIZE];

	call->state = c;
	call->free_state = creation_free;
	if (!api_param_fleet(call, &fleet_id) || !command_draft_read(call, &c->draft) || !check_vehicles(call) ||
		!read_filter(call, c) || !read_failures(call, c) ||
		!api_param_int(call, "rate", RATE_DEFAULT, 1, RATE_MAX, &c->rate))
		return;
	struct db_unit *unit = db_unit_new(call->api->reader, on_answered, call);
	char *body = body_of(call, c);
	uuid7_make(db_now_us(call->api->reader), id);
	db_unit_add(unit, &SQL_batch_create);
	db_param_text(unit, call->caller.subject);
	db_param_bool(unit, api_caller_is_admin(call));
	db_param_text(unit, id);
	db_param_text(unit, body);
	db_param_text(unit, c->draft.key);
	db_param_text(unit, c->draft.key ? c->draft.fingerprint : NULL);
	db_param_text(unit, call->caller.address);
	free(body);
	db_unit_submit(unit);
}

static void run_cancel(struct api_call *call)
{
	const char *id;

	if (!api_param_text(call, "id", &id))
		return;
	if (!id || !uuid_is_text(id)) {
		api_call_fail(call, &FAULT_BATCH_NOT_FOUND, "%s", "");
		return;
	}
	struct db_unit *unit = db_unit_new(call->api->reader, on_answered, call);
	db_unit_add(unit, &SQL_batch_cancel);
	db_param_text(unit, call->caller.subject);
	db_param_bool(unit, api_caller_is_admin(call));
	db_param_text(unit, id);
	db_param_text(unit, call->caller.address);
	db_unit_submit(unit);
}

/* Answered. */

/* Two mistakes of the caller's are found amid the work, and undo it. Any other statement that failed is our mistake. */
static void fail(struct api_call *call, const struct db_unit *unit, const struct fault *fault)
{
	const char *state = fault == &FAULT_STATEMENT ? db_unit_sqlstate(unit) : "";

	if (strcmp(state, "KF002") == 0) {
		api_call_fail(call, &FAULT_INVALID_PARAMS, "vehicles: %s is not in this fleet", db_unit_message(unit));
	} else if (strcmp(state, "KF003") == 0) {
		api_call_fail(call, &FAULT_INVALID_PARAMS, "a batch has at most %d vehicles", TARGETS_MAX);
	} else {
		unit_fail_call(unit, call, fault);
	}
}

static void on_answered(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct api_call *call = context;

	if (fault) {
		fail(call, unit, fault);
		return;
	}
	const struct verdict *verdict = verdict_in(verdicts, db_text(unit, 0, 0, 0));
	if (!verdict_let_pass(verdict, call))
		return;
	const char *body = db_text(unit, 0, 0, 1);
	json_auto_t *batch = memory_need(json_loads(body, 0, NULL));
	snprintf(call->resource_id, sizeof(call->resource_id), "%s", json_text_at(batch, "id"));
	call->replayed = strcmp(verdict->outcome, "replayed") == 0;
	char *reply = memory_need(strdup(body));
	api_call_reply(call, reply, strlen(reply));
}
