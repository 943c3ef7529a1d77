/* changes.c - the operations that change vehicles, their grants, their desired state and their notices: a stage each, a
 * statement each.
 *
 * Every statement takes arrays of vehicle, subject, admin, body and address, and answers with a row for each: its number, the
 * outcome, the body, and whether it is new. */
#include "gateway/operations/changes.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/memory.h"
#include "commands/codec.h"
#include "gateway/api_internal.h"
#include "gateway/operations/grant_params.h"
#include "gateway/operations/notice_params.h"
#include "gateway/operations/verdict.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "sql/statements.h"

static void run(struct api_call *call);
static bool check_vehicle(struct api_call *call);
static bool check_nothing(struct api_call *call);
static bool check_grant(struct api_call *call);
static bool check_subject(struct api_call *call);
static bool check_block(struct api_call *call);
static bool check_unblock(struct api_call *call);
static bool check_patch(struct api_call *call);
static bool check_notice(struct api_call *call);
static bool check_notice_name(struct api_call *call);

#define OPERATION(id, name, ...)                                                                                       \
	static const char *const params_##id[] = { __VA_ARGS__, NULL };                                                \
	const struct api_operation API_##id = { name, SCOPE_COMMANDS_WRITE, params_##id, run };
OPERATION(VEHICLE_PUT, "vehicle.put", "vehicle_id", "display_name", "msisdn", "iccid", "fleet_id", "tags",
	"vehicle_protocol")
OPERATION(VEHICLE_DELETE, "vehicle.delete", "vehicle_id")
OPERATION(GRANT_PUT, "grant.put", "vehicle_id", "subject", "role", "expires_at")
OPERATION(GRANT_DELETE, "grant.delete", "vehicle_id", "subject")
OPERATION(VEHICLE_TRANSFER, "vehicle.transfer", "vehicle_id", "subject")
OPERATION(VEHICLE_BLOCK, "vehicle.block", "vehicle_id")
OPERATION(VEHICLE_UNBLOCK, "vehicle.unblock", "vehicle_id")
OPERATION(STATE_PATCH, "state.patch", "vehicle_id", "patch", "if_match")
OPERATION(NOTICE_PUT, "notice.put", "vehicle_id", "name", "payload", "content_type", "expires_in_seconds")
OPERATION(NOTICE_DELETE, "notice.delete", "vehicle_id", "name")

enum {
	REGISTERS = 1,	   /* its vehicles may be new, and name a fleet */
	MOVES_NOTICES = 2, /* its vehicles may have others to show afterwards */
	TELLS_VERSION = 4, /* a fifth column: of the desired state */
};

static const struct {
	const struct api_operation *operation;
	const struct db_statement *statement;
	bool (*check)(struct api_call *);
	unsigned besides;
} kinds[CHANGES_STAGES] = {
	{ &API_VEHICLE_PUT, &SQL_vehicle_put, check_vehicle, REGISTERS | MOVES_NOTICES },
	{ &API_VEHICLE_DELETE, &SQL_vehicle_retire, check_nothing, 0 },
	{ &API_GRANT_PUT, &SQL_grant_put, check_grant, 0 },
	{ &API_GRANT_DELETE, &SQL_grant_end, check_subject, 0 },
	{ &API_VEHICLE_TRANSFER, &SQL_vehicle_transfer, check_subject, 0 },
	{ &API_STATE_PATCH, &SQL_state_patch, check_patch, TELLS_VERSION },
	{ &API_NOTICE_PUT, &SQL_notice_put, check_notice, MOVES_NOTICES },
	{ &API_NOTICE_DELETE, &SQL_notice_delete, check_notice_name, MOVES_NOTICES },
	{ &API_VEHICLE_BLOCK, &SQL_vehicle_shut, check_block, 0 },
	{ &API_VEHICLE_UNBLOCK, &SQL_vehicle_shut, check_unblock, 0 },
};

static const struct verdict verdicts[] = {
	{ "done", NULL, "" },
	{ "not_found", &FAULT_VEHICLE_NOT_FOUND, "" },
	{ "forbidden", &FAULT_FORBIDDEN, "your role does not allow this" },
	{ "last_owner", &FAULT_FORBIDDEN, "the last owner can be removed by an administrator alone" },
	{ "too_many_grants", &FAULT_INVALID_PARAMS, "a vehicle has at most 1000 grants" },
	{ "not_theirs", &FAULT_FORBIDDEN, "an owner is named by an owner, for no longer than they are one themselves" },
	{ "no_grant", &FAULT_GRANT_NOT_FOUND, "" },
	{ "no_fleet", &FAULT_FLEET_NOT_FOUND, "" },
	{ "invalid", &FAULT_INVALID_VEHICLE, "there is no such fleet" },
	{ "changed", &FAULT_PRECONDITION_FAILED, "" },
	{ "too_large", &FAULT_TOO_LARGE, "the desired state would be larger than 64 KiB" },
	{ "no_notice", &FAULT_NOTICE_NOT_FOUND, "" },
	{ "too_many_notices", &FAULT_INVALID_PARAMS, "there are 64 notices already" },
	{ 0 },
};

struct changes {
	struct batch *batch;
	struct batch_stage stages[CHANGES_STAGES];
	bool synchronous;
};

/* One change under way; the call's state. */
struct change {
	struct api_call *call;
	struct batch_item item;
	const char *vehicle_id;
	char *body, *reply;
	const struct verdict *verdict;
	bool is_new;
	int64_t version; /* of the desired state; -1: not told */
};

static void hold_fleets(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count);
static bool may_be_new(const struct batch_item *item, const char **ret_asker);
static void write_round(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count);
static void read_round(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count, size_t first);
static void on_item_done(struct batch_item *item, const struct fault *fault);

struct changes *changes_new(bool synchronous)
{
	struct changes *c = memory_new(sizeof(*c));
	c->synchronous = synchronous;
	for (size_t i = 0; i < CHANGES_STAGES; i++)
		c->stages[i] = (struct batch_stage){ .name = kinds[i].operation->name,
			.owner = c,
			.may_be_new = kinds[i].besides & REGISTERS ? may_be_new : NULL,
			.begin = kinds[i].besides & REGISTERS ? hold_fleets : NULL,
			.write = write_round,
			.read = read_round };
	return c;
}

void changes_free(struct changes *c)
{
	free(c);
}

void changes_stages(struct changes *c, struct batch_stage *ret[CHANGES_STAGES])
{
	for (size_t i = 0; i < CHANGES_STAGES; i++)
		ret[i] = &c->stages[i];
}

void changes_attach(struct changes *c, struct batch *batch)
{
	c->batch = batch;
}

static void change_free(void *state)
{
	struct change *c = state;
	free(c->body);
	free(c->reply);
	free(c);
}

static size_t kind_of(const struct api_operation *operation)
{
	size_t i = 0;
	while (kinds[i].operation != operation)
		i++;
	return i;
}

static void run(struct api_call *call)
{
	struct changes *changes = call->api->changes;
	size_t kind = kind_of(call->operation);
	struct change *c = memory_new(sizeof(*c));

	c->call = call;
	call->state = c;
	call->free_state = change_free;
	if (!kinds[kind].check(call))
		return;
	c->vehicle_id = json_text_at(call->params, "vehicle_id");
	c->body = json_canonical(call->params);
	c->item = (struct batch_item){
		.stage = &changes->stages[kind], .vehicle_id = c->vehicle_id, .on_done = on_item_done
	};
	list_init(&c->item.node);
	const struct fault *fault = batch_submit(changes->batch, &c->item);
	if (fault)
		api_call_fail(call, fault, "%s", "");
}

/* What a caller may write. */

static bool refuse(struct api_call *call, const struct fault *fault, const char *why)
{
	api_call_fail(call, fault, "%s", why);
	return false;
}

static bool check_nothing(struct api_call *call)
{
	const char *vehicle_id;
	return api_param_vehicle(call, &vehicle_id);
}

static bool is_digits(const char *text, size_t min, size_t max)
{
	size_t len = strspn(text, "0123456789");
	return text[len] == '\0' && len >= min && len <= max;
}

/* A NUL inside is no text to PostgreSQL: it would refuse the whole transaction. */
static bool is_text_of(const json_t *value, size_t max)
{
	return json_is_string(value) && json_string_length(value) <= max &&
	       strlen(json_string_value(value)) == json_string_length(value);
}

static bool are_tags(const json_t *tags)
{
	size_t i;
	json_t *tag;

	if (!tags || json_is_null(tags))
		return true;
	if (!json_is_array(tags) || json_array_size(tags) > 64)
		return false;
	json_array_foreach (tags, i, tag) {
		if (!is_text_of(tag, 64))
			return false;
	}
	return true;
}

static bool check_vehicle(struct api_call *call)
{
	const char *id = json_text_at(call->params, "vehicle_id"), *name, *msisdn, *iccid, *fleet, *protocol;

	if (!id || !api_may_name(call, id))
		return refuse(call, &FAULT_INVALID_VEHICLE,
			"vehicle_id has 1 to 64 of A-Z a-z 0-9 . _ : - and is not the gateway's");
	if (!api_param_text(call, "display_name", &name) || !api_param_text(call, "msisdn", &msisdn) ||
		!api_param_text(call, "iccid", &iccid) || !api_param_text(call, "fleet_id", &fleet) ||
		!api_param_text(call, "vehicle_protocol", &protocol))
		return false;
	if (msisdn && (msisdn[0] != '+' || !is_digits(msisdn + 1, 5, 15)))
		return refuse(call, &FAULT_INVALID_VEHICLE, "msisdn is E.164: + and 5 to 15 digits");
	if (iccid && !is_digits(iccid, 18, 22))
		return refuse(call, &FAULT_INVALID_VEHICLE, "iccid has 18 to 22 digits");
	if (name && strlen(name) > 256)
		return refuse(call, &FAULT_INVALID_VEHICLE, "display_name has at most 256 bytes");
	if (protocol && !codec_of(protocol))
		return refuse(call, &FAULT_INVALID_VEHICLE, "vehicle_protocol is keyfob or aws-commands");
	return are_tags(json_object_get(call->params, "tags"))
		       ? true
		       : refuse(call, &FAULT_INVALID_VEHICLE, "tags is a list of at most 64 texts");
}

static bool check_subject(struct api_call *call)
{
	return check_nothing(call) && grant_check_subject(call);
}

static bool check_grant(struct api_call *call)
{
	return check_nothing(call) && grant_check(call, GRANT_ON_VEHICLE);
}

/* One statement does both: the body says which. */

static bool check_block(struct api_call *call)
{
	return check_nothing(call) && json_object_set_new(call->params, "blocked", json_true()) == 0;
}

static bool check_unblock(struct api_call *call)
{
	return check_nothing(call) && json_object_set_new(call->params, "blocked", json_false()) == 0;
}

/* RFC 7396 knows patches that are no objects; they would make the state something else. */
static bool check_patch(struct api_call *call)
{
	if (!check_nothing(call))
		return false;
	return json_is_object(json_object_get(call->params, "patch"))
		       ? true
		       : refuse(call, &FAULT_MALFORMED_REQUEST, "the patch is no JSON object");
}

static bool check_notice_name(struct api_call *call)
{
	return check_nothing(call) && notice_check_name(call);
}

static bool check_notice(struct api_call *call)
{
	return check_nothing(call) && notice_check(call);
}

/* Into the transaction. */

static struct change *change_of(struct batch_item *item)
{
	return container_of(item, struct change, item);
}

static void add_asker(
	const struct change *c, struct db_array *vehicles, struct db_array *subjects, struct db_array *admins)
{
	db_array_text(vehicles, c->vehicle_id);
	db_array_text(subjects, c->call->caller.subject);
	db_array_bool(admins, api_caller_is_admin(c->call));
}

static size_t stage_index(const struct batch_stage *stage)
{
	const struct changes *c = stage->owner;
	return (size_t)(stage - c->stages);
}

/* The fleets that vehicles name stay until the commit, so that none is gone by the time a vehicle is put into it. */
static void hold_fleets(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	struct db_array fleets = { 0 };

	(void)stage;
	(void)cut;
	for (size_t i = 0; i < count; i++) {
		const char *fleet = json_text_at(change_of(items[i])->call->params, "fleet_id");
		if (fleet)
			db_array_text(&fleets, fleet);
	}
	db_unit_add(unit, &SQL_fleets_hold);
	db_param_array(unit, &fleets);
}

/* A new vehicle gets its head where the asker could register any. */
static bool may_be_new(const struct batch_item *item, const char **ret_asker)
{
	const struct api_call *call = container_of(item, struct change, item)->call;

	*ret_asker = api_caller_is_admin(call) ? NULL : call->caller.subject;
	return true;
}

static void write_round(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	const struct changes *changes = stage->owner;
	size_t kind = stage_index(stage);
	struct db_array vehicles = { 0 }, subjects = { 0 }, admins = { 0 }, bodies = { 0 }, addresses = { 0 },
			settled = { 0 };

	(void)cut;
	for (size_t i = 0; i < count; i++) {
		const struct change *c = change_of(items[i]);
		add_asker(c, &vehicles, &subjects, &admins);
		db_array_text(&bodies, c->body);
		db_array_text(&addresses, c->call->caller.address);
		db_array_text(&settled, c->vehicle_id);
	}
	db_unit_add(unit, kinds[kind].statement);
	db_param_array(unit, &vehicles);
	db_param_array(unit, &subjects);
	db_param_array(unit, &admins);
	db_param_array(unit, &bodies);
	db_param_bool(unit, changes->synchronous);
	db_param_array(unit, &addresses);
	if (kinds[kind].besides & MOVES_NOTICES) { /* a statement of its own: it sees what the first has done */
		db_unit_add(unit, &SQL_notices_settle);
		db_param_array(unit, &settled);
	}
	db_array_free(&settled);
}

static void read_round(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count, size_t first)
{
	size_t kind = stage_index(stage);

	(void)cut;
	for (size_t i = 0; i < count; i++) {
		struct change *c = change_of(items[i]);
		const char *outcome = db_text(unit, first, i, 1), *reply = db_text(unit, first, i, 2);
		c->verdict = verdict_in(verdicts, outcome);
		c->reply = memory_need(strdup(reply ? reply : "{}"));
		c->is_new = db_bool(unit, first, i, 3);
		c->version = kinds[kind].besides & TELLS_VERSION ? db_int(unit, first, i, 4) : -1;
	}
}

static void on_item_done(struct batch_item *item, const struct fault *fault)
{
	struct change *c = change_of(item);

	if (fault) {
		api_call_fail(c->call, fault, "%s", "");
	} else if (verdict_let_pass(c->verdict, c->call)) {
		char *reply = c->reply;
		c->reply = NULL;
		c->call->created = c->is_new;
		c->call->desired_version = c->version;
		api_call_reply(c->call, reply, strlen(reply));
	}
}
