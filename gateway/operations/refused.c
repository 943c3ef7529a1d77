/* refused.c - an item of the batch for each refusal, and a statement for a round of them. */
#include "gateway/operations/refused.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/json.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "gateway/access/suspicion.h"
#include "gateway/api_internal.h"
#include "gateway/config.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "sql/statements.h"

/* Changes, as the statements call them. What is not here is a read, and is called as its operation is. */
static const struct kind {
	const struct api_operation *operation;
	const char *action;
	const char *prefix, *param; /* the object: a text, and behind it the parameter, where there is one */
} kinds[] = {
	{ &API_COMMAND_SEND, "command.send", "", "vehicle_id" },
	{ &API_COMMAND_CANCEL, "command.cancel", "", "vehicle_id" },
	{ &API_VEHICLE_PUT, "vehicle.put", "", "vehicle_id" },
	{ &API_VEHICLE_DELETE, "vehicle.retire", "", "vehicle_id" },
	{ &API_VEHICLE_TRANSFER, "vehicle.transfer", "", "vehicle_id" },
	{ &API_VEHICLE_BLOCK, "vehicle.block", "", "vehicle_id" },
	{ &API_VEHICLE_UNBLOCK, "vehicle.unblock", "", "vehicle_id" },
	{ &API_GRANT_PUT, "grant.put", "", "vehicle_id" },
	{ &API_GRANT_DELETE, "grant.end", "", "vehicle_id" },
	{ &API_STATE_PATCH, "state.patch", "", "vehicle_id" },
	{ &API_NOTICE_PUT, "notice.put", "", "vehicle_id" },
	{ &API_NOTICE_DELETE, "notice.delete", "", "vehicle_id" },
	{ &API_FLEET_PUT, "fleet.put", "fleet/", "fleet_id" },
	{ &API_FLEET_DELETE, "fleet.delete", "fleet/", "fleet_id" },
	{ &API_FLEET_GRANT_PUT, "grant.put", "fleet/", "fleet_id" },
	{ &API_FLEET_GRANT_DELETE, "grant.end", "fleet/", "fleet_id" },
	{ &API_FLEET_NOTICE_PUT, "fleet.notice.put", "fleet/", "fleet_id" },
	{ &API_FLEET_NOTICE_DELETE, "fleet.notice.delete", "fleet/", "fleet_id" },
	{ &API_ALL_NOTICE_PUT, "fleet.notice.put", "fleet/*", NULL },
	{ &API_ALL_NOTICE_DELETE, "fleet.notice.delete", "fleet/*", NULL },
	{ &API_BATCH_CREATE, "batch.create", "fleet/", "fleet_id" },
	{ &API_BATCH_CANCEL, "batch.cancel", "", NULL }, /* its fleet is not known */
	{ &API_WEBHOOK_CREATE, "webhook.create", "", NULL },
	{ &API_WEBHOOK_PUT, "webhook.put", "webhook/", "id" },
	{ &API_WEBHOOK_DELETE, "webhook.delete", "webhook/", "id" },
	{ &API_WEBHOOK_ROTATE, "webhook.rotate", "webhook/", "id" },
	{ &API_WEBHOOK_REDELIVER, "webhook.redeliver", "webhook/", "id" },
	{ &API_SUBJECT_ERASE, "subject.erase", "", NULL },
};

struct refused {
	struct batch *batch;
	struct batch_stage stage;
};

struct refusal {
	struct batch_item item;
	const char *action;
	char subject[SUBJECT_SIZE], address[INET6_ADDRSTRLEN], object[OBJECT_SIZE];
	char *detail;
};

static void write_round(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count);

struct refused *refused_new(void)
{
	struct refused *r = memory_new(sizeof(*r));
	r->stage = (struct batch_stage){ .name = "refused", .owner = r, .write = write_round };
	return r;
}

struct batch_stage *refused_stage(struct refused *r)
{
	return &r->stage;
}

void refused_attach(struct refused *r, struct batch *batch)
{
	r->batch = batch;
}

static const struct kind *kind_of(const struct api_operation *operation)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (kinds[i].operation == operation)
			return &kinds[i];
	}
	return NULL;
}

static struct refusal *refusal_of(struct batch_item *item)
{
	return container_of(item, struct refusal, item);
}

/* What a read is of: the first of these that it names, by an operation that begins so. */
static const struct read_object {
	const char *param, *prefix, *operations;
} read_objects[] = {
	{ "vehicle_id", "", "" },
	{ "fleet_id", "fleet/", "" },
	{ "id", "webhook/", "webhook." },
	{ "id", "batch/", "batch." },
};

/* False: the parameter is no id, so that nothing is meant. */
static bool write_object(struct refusal *r, const struct kind *kind, const json_t *params)
{
	const char *id = kind->param ? json_text_at(params, kind->param) : "";

	if (kind->param && (!id || !topic_level_is_safe(id)))
		return false;
	snprintf(r->object, sizeof(r->object), "%s%s", kind->prefix, id);
	return true;
}

/* The parameters were not looked at yet: of them it takes what is short and plain, and whom a grant is about. */
static char *detail_of(const struct api_call *call, const struct kind *kind, const char *why)
{
	static const char *const names[] = { "name", "id", "delivery_id", "role" };
	json_auto_t *detail = memory_need(json_pack("{s:s}", "refused", why));
	const json_t *subject = json_object_get(call->params, "subject");

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = json_text_at(call->params, names[i]);
		if (value && topic_level_is_safe(value) && !(kind->param && strcmp(kind->param, names[i]) == 0))
			json_object_set_new(detail, names[i], json_string(value));
	}
	if (json_is_string(subject) && json_string_length(subject) < SUBJECT_SIZE &&
		strlen(json_string_value(subject)) == json_string_length(subject))
		json_object_set_new(detail, "subject", json_string(json_string_value(subject)));
	return memory_need(json_dumps(detail, JSON_COMPACT));
}

static void on_item_done(struct batch_item *item, const struct fault *fault)
{
	struct refusal *r = refusal_of(item);

	if (fault)
		log_warn("audit", "a refusal could not be written down", LOG_TEXT("action", r->action),
			LOG_TEXT("object", r->object), LOG_TEXT("fault", fault->name));
	free(r->detail);
	free(r);
}

/* `r` with its object and detail: takes it. */
static void submit(struct refused *refused, struct refusal *r, const struct caller *caller, const char *action)
{
	r->action = action;
	snprintf(r->subject, sizeof(r->subject), "%s", caller->subject);
	snprintf(r->address, sizeof(r->address), "%s", caller->address);
	r->item = (struct batch_item){ .stage = &refused->stage, .vehicle_id = r->object, .on_done = on_item_done };
	list_init(&r->item.node);
	const struct fault *fault = batch_submit(refused->batch, &r->item);
	if (fault)
		on_item_done(&r->item, fault);
}

static void note_change(struct refused *refused, const struct api_call *call, const struct kind *kind, const char *why)
{
	struct refusal *r = memory_new(sizeof(*r));

	if (!write_object(r, kind, call->params)) {
		free(r);
		return;
	}
	r->detail = detail_of(call, kind, why);
	submit(refused, r, &call->caller, kind->action);
}

static bool write_read_object(const struct api_call *call, char ret[OBJECT_SIZE])
{
	ret[0] = '\0';
	for (size_t i = 0; i < sizeof(read_objects) / sizeof(read_objects[0]); i++) {
		const struct read_object *o = &read_objects[i];
		const char *id = json_text_at(call->params, o->param);
		if (!id || strncmp(call->operation->name, o->operations, strlen(o->operations)) != 0)
			continue;
		snprintf(ret, OBJECT_SIZE, "%s%s", o->prefix, id);
		return topic_level_is_safe(id);
	}
	return true;
}

void refused_note(struct refused *refused, const struct api_call *call, const char *why)
{
	const struct kind *kind = kind_of(call->operation);
	char object[OBJECT_SIZE];

	if (kind)
		note_change(refused, call, kind, why);
	else if (write_read_object(call, object))
		refused_note_read(call->api, &call->caller, call->operation->name, object, why);
}

void refused_note_read(
	struct api *api, const struct caller *caller, const char *action, const char *object, const char *why)
{
	if (!suspicion_is_new(SUSPICION_READ, caller->subject, *object ? object : action,
		    api->config->detection.window_ms, loop_monotonic_ms(api->loop)))
		return;
	struct refusal *r = memory_new(sizeof(*r));
	json_auto_t *detail = memory_need(json_pack("{s:s}", "refused", why));
	snprintf(r->object, sizeof(r->object), "%s", object);
	r->detail = memory_need(json_dumps(detail, JSON_COMPACT));
	submit(api->refused, r, caller, action);
}

static void write_round(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	struct db_array subjects = { 0 }, addresses = { 0 }, actions = { 0 }, objects = { 0 }, details = { 0 };

	(void)stage;
	(void)cut;
	for (size_t i = 0; i < count; i++) {
		const struct refusal *r = refusal_of(items[i]);
		db_array_text(&subjects, r->subject);
		db_array_text(&addresses, r->address);
		db_array_text(&actions, r->action);
		db_array_text(&objects, r->object);
		db_array_text(&details, r->detail);
	}
	db_unit_add(unit, &SQL_audit_refused);
	db_param_array(unit, &subjects);
	db_param_array(unit, &addresses);
	db_param_array(unit, &actions);
	db_param_array(unit, &objects);
	db_param_array(unit, &details);
}
