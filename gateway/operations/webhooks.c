/* webhooks.c - the operations that make, change and end webhooks, and have a delivery sent once more. What is sent, and how, is
 * notifier/webhook's.
 *
 *   request ─ checked ─ one transaction ─ answered */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/http_url.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/memory.h"
#include "gateway/api_internal.h"
#include "gateway/config.h"
#include "gateway/operations/verdict.h"
#include "notifier/webhook/seal.h"
#include "notifier/webhook/signature.h"
#include "sql/db.h"
#include "sql/statements.h"

#define URL_MAX 2048
#define DESCRIPTION_MAX 256
#define TARGETS_MAX 200
#define OVERLAP_S_MAX (30 * 24 * 3600)

static void run_create(struct api_call *call);
static void run_put(struct api_call *call);
static void run_delete(struct api_call *call);
static void run_rotate(struct api_call *call);
static void run_redeliver(struct api_call *call);

#define OPERATION(id, name, run, ...)                                                                                  \
	static const char *const params_##id[] = { __VA_ARGS__, NULL };                                                \
	const struct api_operation API_##id = { name, SCOPE_VEHICLES_READ, params_##id, run };
OPERATION(WEBHOOK_CREATE, "webhook.create", run_create, "url", "description", "vehicle_ids", "fleet_ids", "types",
	"enabled")
OPERATION(
	WEBHOOK_PUT, "webhook.put", run_put, "id", "url", "description", "vehicle_ids", "fleet_ids", "types", "enabled")
OPERATION(WEBHOOK_DELETE, "webhook.delete", run_delete, "id")
OPERATION(WEBHOOK_ROTATE, "webhook.rotate", run_rotate, "id", "overlap_seconds")
OPERATION(WEBHOOK_REDELIVER, "webhook.redeliver", run_redeliver, "id", "delivery_id")

static const char *const types[] = { "command.updated", "connectivity.changed", "state.reported", "state.desired",
	"wakeup.updated", "notice.published", "notice.withdrawn", "access.changed", "vehicle.moved", "vehicle.blocked",
	"vehicle.unblocked", "vehicle.retired", "security.alert", "webhook.disabled", NULL };

static const struct verdict verdicts[] = {
	{ "done", NULL, "" },
	{ "no_webhook", &FAULT_WEBHOOK_NOT_FOUND, "" },
	{ "no_delivery", &FAULT_DELIVERY_NOT_FOUND, "" },
	{ "no_vehicle", &FAULT_VEHICLE_NOT_FOUND, "" },
	{ "no_fleet", &FAULT_FLEET_NOT_FOUND, "" },
	{ "forbidden", &FAULT_FORBIDDEN, "all vehicles are watched by an administrator alone" },
	{ "too_many", &FAULT_INVALID_PARAMS, "there are as many webhooks as webhooks.per_subject allows" },
	{ 0 },
};

static void on_answered(struct db_unit *unit, void *context, const struct fault *fault);

/* Reading. Each of these ends the call when it returns false. */

static bool refuse(struct api_call *call, const char *why)
{
	api_call_fail(call, &FAULT_INVALID_PARAMS, "%s", why);
	return false;
}

static bool check_url(struct api_call *call)
{
	const char *url;

	if (!api_param_text(call, "url", &url))
		return false;
	if (!url || !*url || strlen(url) > URL_MAX)
		return refuse(call, "url has 1 to 2048 bytes");
	for (const char *c = url; *c; c++)
		if (*c <= ' ' || *c > '~')
			return refuse(call, "url is of printable ASCII characters, others percent-encoded");
	const char *flaw = http_url_flaw(url, call->api->config->webhooks.anywhere);
	return flaw ? refuse(call, flaw) : true;
}

static bool is_type(const char *text)
{
	for (const char *const *type = types; *type; type++)
		if (strcmp(text, *type) == 0)
			return true;
	return false;
}

static bool is_fleet(const char *text)
{
	return strcmp(text, "*") == 0 || topic_level_is_safe(text);
}

/* A list of texts each of which fits; absent is as good as empty. */
static bool check_list(
	struct api_call *call, const char *name, bool (*fits)(const char *), const char *what, size_t *ret_count)
{
	const json_t *list = json_object_get(call->params, name), *item;
	size_t i;
	bool fine = json_array_size(list) <= TARGETS_MAX;

	*ret_count += json_array_size(list);
	if (!list || json_is_null(list))
		return true;
	json_array_foreach (list, i, item) {
		const char *text = json_string_value(item);
		fine = fine && text && strlen(text) == json_string_length(item) && fits(text);
	}
	if (fine && json_is_array(list))
		return true;
	api_call_fail(call, &FAULT_INVALID_PARAMS, "%s is a list of at most %d %s", name, TARGETS_MAX, what);
	return false;
}

static bool check_body(struct api_call *call)
{
	const char *description;
	bool enabled;
	size_t targets = 0, chosen = 0;

	if (!check_url(call) || !api_param_text(call, "description", &description) ||
		!api_param_bool(call, "enabled", true, &enabled) ||
		!check_list(call, "vehicle_ids", topic_level_is_safe, "vehicles", &targets) ||
		!check_list(call, "fleet_ids", is_fleet, "fleets", &targets) ||
		!check_list(call, "types", is_type, "types of events", &chosen))
		return false;
	if (description && strlen(description) > DESCRIPTION_MAX)
		return refuse(call, "description has at most 256 bytes");
	return targets == 0 ? refuse(call, "vehicle_ids or fleet_ids name what is to be heard of") : true;
}

/* An id that is no UUID is none's. */
static bool read_id(struct api_call *call, const char *name, const struct fault *missing, const char **ret)
{
	if (!api_param_text(call, name, ret))
		return false;
	if (*ret && uuid_is_text(*ret))
		return true;
	api_call_fail(call, missing, "%s", "");
	return false;
}

static bool read_webhook(struct api_call *call, const char **ret)
{
	return read_id(call, "id", &FAULT_WEBHOOK_NOT_FOUND, ret);
}

/* Asking. */

static struct db_unit *unit_of(struct api_call *call, const struct db_statement *statement)
{
	struct db_unit *unit = db_unit_new(call->api->writer, on_answered, call);

	db_unit_add(unit, statement);
	db_param_text(unit, call->caller.subject);
	db_param_bool(unit, api_caller_is_admin(call));
	return unit;
}

static struct seals seals_of(const struct api_call *call)
{
	struct seals seals;

	seals_init(&seals, call->api->config->webhooks.key, call->api->config->webhooks.old_key);
	return seals;
}

/* A fresh secret as it is stored. The caller frees it. */
static char *make_secret(const struct api_call *call, const char *webhook_id)
{
	struct seals seals = seals_of(call);
	char secret[WEBHOOK_SECRET_SIZE];

	webhook_secret_make(secret);
	return seals_close(&seals, webhook_id, secret);
}

static void put(struct api_call *call, const char *id, bool is_new)
{
	struct db_unit *unit = unit_of(call, &SQL_webhook_put);
	char *body = json_canonical(call->params), *secret = is_new ? make_secret(call, id) : NULL;

	db_param_text(unit, id);
	db_param_bool(unit, is_new);
	db_param_text(unit, body);
	db_param_text(unit, secret);
	db_param_int(unit, call->api->config->webhooks.per_subject);
	db_param_text(unit, call->caller.address);
	db_unit_submit(unit);
	free(body);
	free(secret);
}

static void run_create(struct api_call *call)
{
	char id[UUID_TEXT_SIZE];

	if (!check_body(call))
		return;
	uuid7_make(db_now_us(call->api->writer), id);
	put(call, id, true);
}

static void run_put(struct api_call *call)
{
	const char *id;

	if (read_webhook(call, &id) && check_body(call))
		put(call, id, false);
}

static void run_delete(struct api_call *call)
{
	const char *id;

	if (!read_webhook(call, &id))
		return;
	struct db_unit *unit = unit_of(call, &SQL_webhook_delete);
	db_param_text(unit, id);
	db_param_text(unit, call->caller.address);
	db_unit_submit(unit);
}

static void run_rotate(struct api_call *call)
{
	int64_t seconds, absent = call->api->config->webhooks.secret_overlap_ms / 1000;
	const char *id;

	if (!read_webhook(call, &id) || !api_param_int(call, "overlap_seconds", absent, 0, OVERLAP_S_MAX, &seconds))
		return;
	char *secret = make_secret(call, id);
	struct db_unit *unit = unit_of(call, &SQL_webhook_rotate);
	db_param_text(unit, id);
	db_param_text(unit, secret);
	db_param_int(unit, seconds * 1000);
	db_param_text(unit, call->caller.address);
	db_unit_submit(unit);
	free(secret);
}

static void run_redeliver(struct api_call *call)
{
	const char *id, *delivery_id;

	if (!read_webhook(call, &id) || !read_id(call, "delivery_id", &FAULT_DELIVERY_NOT_FOUND, &delivery_id))
		return;
	struct db_unit *unit = unit_of(call, &SQL_webhook_redeliver);
	db_param_text(unit, id);
	db_param_text(unit, delivery_id);
	db_param_text(unit, call->caller.address);
	db_unit_submit(unit);
}

/* The one answer that shows it: it was sealed by this call. */
static char *with_open_secret(const struct api_call *call, json_t *made)
{
	struct seals seals = seals_of(call);
	char *opened = memory_need(seals_open(&seals, json_text_at(made, "id"), json_text_at(made, "secret")));

	json_object_set_new(made, "secret", json_string(opened));
	free(opened);
	return memory_need(json_dumps(made, JSON_COMPACT));
}

static void on_answered(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct api_call *call = context;

	if (fault) {
		unit_fail_call(unit, call, fault);
		return;
	}
	if (!verdict_let_pass(verdict_in(verdicts, db_text(unit, 0, 0, 0)), call))
		return;
	const char *body = db_text(unit, 0, 0, 1);
	json_auto_t *made = body ? memory_need(json_loads(body, 0, NULL)) : NULL;
	if (made)
		snprintf(call->resource_id, sizeof(call->resource_id), "%s", json_text_at(made, "id"));
	char *reply = json_object_get(made, "secret") ? with_open_secret(call, made)
						      : memory_need(strdup(body ? body : "{}"));
	api_call_reply(call, reply, strlen(reply));
}
