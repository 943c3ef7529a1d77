/* reads.c - the operations that only look: a row each in a table, a statement each in sql/queries/read_*.sql.
 *
 * Every statement takes the subject, whether it is admin, and database.synchronous, then the operation's own
 * parameters; it answers with the subject's rank (no row or 0: it is not to be seen), a body and a cursor. */
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "commands/lifecycle.h"
#include "gateway/api_internal.h"
#include "gateway/catalog.h"
#include "gateway/config.h"
#include "gateway/operations/vehicle_filter.h"
#include "sql/db.h"
#include "sql/statements.h"

#define LIMIT_MAX 200
#define LIMIT_DEFAULT 50
#define SEQ_DIGITS_MAX 18
#define MINUTES_DEFAULT 60
#define MINUTES_MAX 1440
#define NO_ID "00000000-0000-0000-0000-000000000000"

enum need {
	NEED_VEHICLE,
	NEED_FLEET,
	NEED_ALL_VEHICLES,
	NEED_ID,
	NEED_LIMIT,
	NEED_CURSOR,
	NEED_CURSOR_ID,
	NEED_CURSOR_NUMBER,
	NEED_CURSOR_MOMENT,
	NEED_STATUS,
	NEED_TARGET_STATUS,
	NEED_DELIVERY,
	NEED_DELIVERY_STATUS,
	NEED_FILTER,
	NEED_AFTER,
	NEED_SUBJECT,
	NEED_NULL,
	NEED_SCOPES,
	NEED_MINUTES,
	NEED_PRICES,
	NEED_CURRENCY,
	NEED_ADDRESS,
	NEED_END
};

struct read {
	const struct api_operation *operation;
	const struct db_statement *statement;
	int rank;		     /* the least that may read it */
	const struct fault *hidden;  /* when there is no row, or its rank is 0 */
	const struct fault *missing; /* when there is no body */
	enum need needs[6];	     /* after the subject, whether it is admin, and database.synchronous */
};

static void run(struct api_call *call);

#define OPERATION(id, name, scopes, ...)                                                                               \
	static const char *const params_##id[] = { __VA_ARGS__, NULL };                                                \
	const struct api_operation API_##id = { name, scopes, params_##id, run };
OPERATION(VEHICLE_GET, "vehicle.get", SCOPE_VEHICLES_READ, "vehicle_id")
OPERATION(VEHICLE_LIST, "vehicle.list", SCOPE_VEHICLES_READ, "filter", "limit", "cursor")
OPERATION(COMMAND_GET, "command.get", SCOPE_VEHICLES_READ | SCOPE_COMMANDS_WRITE, "vehicle_id", "id")
OPERATION(COMMAND_LIST, "command.list", SCOPE_VEHICLES_READ | SCOPE_COMMANDS_WRITE, "vehicle_id", "status", "limit",
	"cursor")
OPERATION(EVENT_LIST, "event.list", SCOPE_VEHICLES_READ, "vehicle_id", "after", "limit", "cursor")
OPERATION(GRANT_LIST, "grant.list", SCOPE_VEHICLES_READ, "vehicle_id", "limit", "cursor")
OPERATION(GRANT_GET, "grant.get", SCOPE_VEHICLES_READ, "vehicle_id", "subject")
OPERATION(WAKEUP_LIST, "wakeup.list", SCOPE_VEHICLES_READ, "vehicle_id", "limit", "cursor")
OPERATION(AUDIT_LIST, "audit.list", SCOPE_VEHICLES_READ, "vehicle_id", "limit", "cursor")
OPERATION(SUBJECT_GET, "subject.get", SCOPE_ADMIN, "subject", "limit", "cursor")
OPERATION(FLEET_LIST, "fleet.list", SCOPE_VEHICLES_READ, "limit", "cursor")
OPERATION(FLEET_GET, "fleet.get", SCOPE_VEHICLES_READ, "fleet_id")
OPERATION(FLEET_GRANT_LIST, "fleet.grant.list", SCOPE_VEHICLES_READ, "fleet_id", "limit", "cursor")
OPERATION(FLEET_GRANT_GET, "fleet.grant.get", SCOPE_VEHICLES_READ, "fleet_id", "subject")
OPERATION(BATCH_LIST, "batch.list", SCOPE_VEHICLES_READ | SCOPE_COMMANDS_WRITE, "fleet_id", "limit", "cursor")
OPERATION(BATCH_GET, "batch.get", SCOPE_VEHICLES_READ | SCOPE_COMMANDS_WRITE, "id")
OPERATION(
	BATCH_COMMANDS, "batch.commands", SCOPE_VEHICLES_READ | SCOPE_COMMANDS_WRITE, "id", "status", "limit", "cursor")
OPERATION(NOTICE_LIST, "notice.list", SCOPE_VEHICLES_READ, "vehicle_id", "limit", "cursor")
OPERATION(FLEET_NOTICE_LIST, "fleet.notice.list", SCOPE_VEHICLES_READ, "fleet_id", "limit", "cursor")
OPERATION(ALL_NOTICE_LIST, "all.notice.list", SCOPE_VEHICLES_READ, "limit", "cursor")
OPERATION(WEBHOOK_LIST, "webhook.list", SCOPE_VEHICLES_READ, "limit", "cursor")
OPERATION(WEBHOOK_GET, "webhook.get", SCOPE_VEHICLES_READ, "id")
OPERATION(WEBHOOK_DELIVERIES, "webhook.deliveries", SCOPE_VEHICLES_READ, "id", "status", "limit", "cursor")
OPERATION(WEBHOOK_DELIVERY_GET, "webhook.delivery.get", SCOPE_VEHICLES_READ, "id", "delivery_id")
OPERATION(NODE_LIST, "node.list", SCOPE_ADMIN, "limit", "cursor")
OPERATION(ALERT_LIST, "alert.list", SCOPE_VEHICLES_READ, "limit", "cursor")
OPERATION(FLEET_ALERT_LIST, "fleet.alert.list", SCOPE_VEHICLES_READ, "fleet_id", "limit", "cursor")
OPERATION(ALL_WAKEUP_LIST, "all.wakeup.list", SCOPE_VEHICLES_READ, "limit", "cursor")
OPERATION(FLEET_WAKEUP_LIST, "fleet.wakeup.list", SCOPE_VEHICLES_READ, "fleet_id", "limit", "cursor")
OPERATION(BLOCK_LIST, "block.list", SCOPE_VEHICLES_READ, "limit", "cursor")
OPERATION(FLEET_BLOCK_LIST, "fleet.block.list", SCOPE_VEHICLES_READ, "fleet_id", "limit", "cursor")
OPERATION(STATS_GET, "stats.get", SCOPE_VEHICLES_READ, "minutes")
OPERATION(FLEET_STATS_GET, "fleet.stats.get", SCOPE_VEHICLES_READ, "fleet_id", "minutes")
OPERATION(ME, "me", 0, "")

#define VEHICLE &FAULT_VEHICLE_NOT_FOUND
#define FLEET &FAULT_FLEET_NOT_FOUND
#define BATCH &FAULT_BATCH_NOT_FOUND
#define WEBHOOK &FAULT_WEBHOOK_NOT_FOUND
static const struct read reads[] = {
	{ &API_VEHICLE_GET, &SQL_read_vehicle, 1, VEHICLE, &FAULT_INTERNAL, { NEED_VEHICLE, NEED_END } },
	{ &API_VEHICLE_LIST, &SQL_read_vehicles, 0, VEHICLE, &FAULT_INTERNAL,
		{ NEED_LIMIT, NEED_CURSOR, NEED_FILTER, NEED_END } },
	{ &API_COMMAND_GET, &SQL_read_command, 1, VEHICLE, &FAULT_COMMAND_NOT_FOUND,
		{ NEED_VEHICLE, NEED_ID, NEED_END } },
	{ &API_COMMAND_LIST, &SQL_read_commands, 1, VEHICLE, &FAULT_INTERNAL,
		{ NEED_VEHICLE, NEED_LIMIT, NEED_CURSOR_ID, NEED_STATUS, NEED_END } },
	{ &API_EVENT_LIST, &SQL_read_events, 1, VEHICLE, &FAULT_INTERNAL,
		{ NEED_VEHICLE, NEED_LIMIT, NEED_AFTER, NEED_END } },
	{ &API_GRANT_LIST, &SQL_read_grants, 3, VEHICLE, &FAULT_INTERNAL,
		{ NEED_VEHICLE, NEED_LIMIT, NEED_CURSOR, NEED_NULL, NEED_END } },
	{ &API_GRANT_GET, &SQL_read_grants, 3, VEHICLE, &FAULT_GRANT_NOT_FOUND,
		{ NEED_VEHICLE, NEED_LIMIT, NEED_NULL, NEED_SUBJECT, NEED_END } },
	{ &API_WAKEUP_LIST, &SQL_read_wakeups, 1, VEHICLE, &FAULT_INTERNAL,
		{ NEED_VEHICLE, NEED_LIMIT, NEED_CURSOR_ID, NEED_END } },
	{ &API_AUDIT_LIST, &SQL_read_audit, 3, VEHICLE, &FAULT_INTERNAL,
		{ NEED_VEHICLE, NEED_LIMIT, NEED_CURSOR_NUMBER, NEED_END } },
	{ &API_SUBJECT_GET, &SQL_read_subject, 3, &FAULT_FORBIDDEN, &FAULT_INTERNAL,
		{ NEED_SUBJECT, NEED_LIMIT, NEED_CURSOR, NEED_ADDRESS, NEED_END } },
	{ &API_FLEET_LIST, &SQL_read_fleets, 0, FLEET, &FAULT_INTERNAL, { NEED_LIMIT, NEED_CURSOR, NEED_END } },
	{ &API_FLEET_GET, &SQL_read_fleet, 1, FLEET, &FAULT_INTERNAL, { NEED_FLEET, NEED_END } },
	{ &API_FLEET_GRANT_LIST, &SQL_read_fleet_grants, 3, FLEET, &FAULT_INTERNAL,
		{ NEED_FLEET, NEED_LIMIT, NEED_CURSOR, NEED_NULL, NEED_END } },
	{ &API_FLEET_GRANT_GET, &SQL_read_fleet_grants, 3, FLEET, &FAULT_GRANT_NOT_FOUND,
		{ NEED_FLEET, NEED_LIMIT, NEED_NULL, NEED_SUBJECT, NEED_END } },
	{ &API_BATCH_LIST, &SQL_read_batches, 1, FLEET, &FAULT_INTERNAL,
		{ NEED_FLEET, NEED_LIMIT, NEED_CURSOR_ID, NEED_END } },
	{ &API_BATCH_GET, &SQL_read_batch, 1, BATCH, &FAULT_INTERNAL, { NEED_ID, NEED_END } },
	{ &API_BATCH_COMMANDS, &SQL_read_batch_commands, 1, BATCH, &FAULT_INTERNAL,
		{ NEED_ID, NEED_LIMIT, NEED_CURSOR, NEED_TARGET_STATUS, NEED_END } },
	{ &API_NOTICE_LIST, &SQL_read_notices, 1, VEHICLE, &FAULT_INTERNAL,
		{ NEED_VEHICLE, NEED_LIMIT, NEED_CURSOR, NEED_END } },
	{ &API_FLEET_NOTICE_LIST, &SQL_read_fleet_notices, 1, FLEET, &FAULT_INTERNAL,
		{ NEED_FLEET, NEED_LIMIT, NEED_CURSOR, NEED_END } },
	{ &API_ALL_NOTICE_LIST, &SQL_read_fleet_notices, 3, &FAULT_FORBIDDEN, &FAULT_INTERNAL,
		{ NEED_ALL_VEHICLES, NEED_LIMIT, NEED_CURSOR, NEED_END } },
	{ &API_WEBHOOK_LIST, &SQL_read_webhooks, 1, WEBHOOK, &FAULT_INTERNAL,
		{ NEED_LIMIT, NEED_CURSOR_ID, NEED_END } },
	{ &API_WEBHOOK_GET, &SQL_read_webhook, 1, WEBHOOK, &FAULT_INTERNAL, { NEED_ID, NEED_END } },
	{ &API_WEBHOOK_DELIVERIES, &SQL_read_webhook_deliveries, 1, WEBHOOK, &FAULT_INTERNAL,
		{ NEED_ID, NEED_LIMIT, NEED_CURSOR_ID, NEED_DELIVERY_STATUS, NEED_END } },
	{ &API_WEBHOOK_DELIVERY_GET, &SQL_read_webhook_delivery, 1, WEBHOOK, &FAULT_DELIVERY_NOT_FOUND,
		{ NEED_ID, NEED_DELIVERY, NEED_END } },
	{ &API_NODE_LIST, &SQL_read_nodes, 3, &FAULT_FORBIDDEN, &FAULT_INTERNAL,
		{ NEED_LIMIT, NEED_CURSOR, NEED_END } },
	{ &API_ALERT_LIST, &SQL_read_fleet_alerts, 3, &FAULT_FORBIDDEN, &FAULT_INTERNAL,
		{ NEED_ALL_VEHICLES, NEED_LIMIT, NEED_CURSOR_MOMENT, NEED_END } },
	{ &API_FLEET_ALERT_LIST, &SQL_read_fleet_alerts, 3, FLEET, &FAULT_INTERNAL,
		{ NEED_FLEET, NEED_LIMIT, NEED_CURSOR_MOMENT, NEED_END } },
	{ &API_ALL_WAKEUP_LIST, &SQL_read_fleet_wakeups, 3, &FAULT_FORBIDDEN, &FAULT_INTERNAL,
		{ NEED_ALL_VEHICLES, NEED_LIMIT, NEED_CURSOR_ID, NEED_END } },
	{ &API_FLEET_WAKEUP_LIST, &SQL_read_fleet_wakeups, 3, FLEET, &FAULT_INTERNAL,
		{ NEED_FLEET, NEED_LIMIT, NEED_CURSOR_ID, NEED_END } },
	{ &API_BLOCK_LIST, &SQL_read_fleet_blocks, 3, &FAULT_FORBIDDEN, &FAULT_INTERNAL,
		{ NEED_ALL_VEHICLES, NEED_LIMIT, NEED_CURSOR, NEED_END } },
	{ &API_FLEET_BLOCK_LIST, &SQL_read_fleet_blocks, 3, FLEET, &FAULT_INTERNAL,
		{ NEED_FLEET, NEED_LIMIT, NEED_CURSOR, NEED_END } },
	{ &API_STATS_GET, &SQL_read_fleet_stats, 3, &FAULT_FORBIDDEN, &FAULT_INTERNAL,
		{ NEED_ALL_VEHICLES, NEED_MINUTES, NEED_PRICES, NEED_CURRENCY, NEED_END } },
	{ &API_FLEET_STATS_GET, &SQL_read_fleet_stats, 3, FLEET, &FAULT_INTERNAL,
		{ NEED_FLEET, NEED_MINUTES, NEED_PRICES, NEED_CURRENCY, NEED_END } },
	{ &API_ME, &SQL_read_me, 0, VEHICLE, &FAULT_INTERNAL, { NEED_SCOPES, NEED_END } },
};
#undef VEHICLE
#undef FLEET
#undef BATCH
#undef WEBHOOK

static const struct read *read_of(const struct api_operation *operation)
{
	size_t i = 0;
	while (reads[i].operation != operation)
		i++;
	return &reads[i];
}

static char *scopes_json(const struct api_call *call)
{
	struct text out = { 0 };
	const char *comma = "";

	text_add(&out, "[");
	for (unsigned bit = 1; bit <= SCOPE_ADMIN; bit <<= 1) {
		if (!(call->caller.scopes & bit))
			continue;
		text_addf(&out, "%s\"%s\"", comma, token_scope_name(bit));
		comma = ",";
	}
	text_add(&out, "]");
	return text_take(&out);
}

/* An id that is no UUID is none's. */
static bool add_id(struct api_call *call, struct db_unit *unit, const char *name)
{
	const char *id;
	if (!api_param_text(call, name, &id))
		return false;
	db_param_text(unit, id && uuid_is_text(id) ? id : NO_ID);
	return true;
}

static bool refuse_cursor(struct api_call *call)
{
	api_call_fail(call, &FAULT_INVALID_QUERY, "cursor is none that a list has given");
	return false;
}

static bool add_cursor_id(struct api_call *call, struct db_unit *unit)
{
	const char *cursor;
	if (!api_param_text(call, "cursor", &cursor))
		return false;
	if (cursor && !uuid_is_text(cursor))
		return refuse_cursor(call);
	db_param_text(unit, cursor);
	return true;
}

static bool add_text(struct api_call *call, struct db_unit *unit, const char *name)
{
	const char *text;
	if (!api_param_text(call, name, &text))
		return false;
	db_param_text(unit, text);
	return true;
}

static bool add_int(
	struct api_call *call, struct db_unit *unit, const char *name, int64_t absent, int64_t min, int64_t max)
{
	int64_t value;
	if (!api_param_int(call, name, absent, min, max, &value))
		return false;
	db_param_int(unit, value);
	return true;
}

static bool is_number(const char *text)
{
	size_t digits = strspn(text, "0123456789");
	return digits >= 1 && digits <= SEQ_DIGITS_MAX && !text[digits];
}

static bool add_cursor_number(struct api_call *call, struct db_unit *unit)
{
	const char *cursor;
	if (!api_param_text(call, "cursor", &cursor))
		return false;
	if (cursor && !is_number(cursor))
		return refuse_cursor(call);
	db_param_text(unit, cursor);
	return true;
}

/* Microseconds, a point, a vehicle. */
static bool is_moment(const char *text)
{
	size_t digits = strspn(text, "0123456789");
	return digits >= 1 && digits <= SEQ_DIGITS_MAX && text[digits] == '.' && topic_level_is_safe(text + digits + 1);
}

static bool add_cursor_moment(struct api_call *call, struct db_unit *unit)
{
	const char *cursor;
	if (!api_param_text(call, "cursor", &cursor))
		return false;
	if (cursor && !is_moment(cursor))
		return refuse_cursor(call);
	db_param_text(unit, cursor);
	return true;
}

/* The event log's cursor is the seq of the last event seen; it counts before `after`. */
static bool add_after(struct api_call *call, struct db_unit *unit)
{
	const json_t *cursor = json_object_get(call->params, "cursor");
	if (!cursor || json_is_null(cursor))
		return add_int(call, unit, "after", 0, 0, INT64_MAX);
	return add_cursor_number(call, unit);
}

static bool add_subject(struct api_call *call, struct db_unit *unit)
{
	const char *subject;
	if (!api_param_text(call, "subject", &subject))
		return false;
	if (!subject) {
		api_call_fail(call, &FAULT_INVALID_PARAMS, "subject is missing");
		return false;
	}
	db_param_text(unit, subject);
	return true;
}

/* What a batch's target may be besides what its command is. */
static bool is_target_status(const char *status)
{
	return strcmp(status, "pending") == 0 || strcmp(status, "skipped") == 0 || strcmp(status, "refused") == 0;
}

static bool add_status(struct api_call *call, struct db_unit *unit, bool of_target)
{
	const char *status;
	if (!api_param_text(call, "status", &status))
		return false;
	if (status && status_of(status) == STATUS_COUNT && !(of_target && is_target_status(status))) {
		api_call_fail(call, &FAULT_INVALID_QUERY, "status: there is no %.32s", status);
		return false;
	}
	db_param_text(unit, status);
	return true;
}

static bool add_delivery_status(struct api_call *call, struct db_unit *unit)
{
	static const char *const known[] = { "pending", "delivered", "failed", "dropped" };
	const char *status;
	if (!api_param_text(call, "status", &status))
		return false;
	bool is_known = !status;
	for (size_t i = 0; status && i < sizeof(known) / sizeof(known[0]); i++)
		is_known = is_known || strcmp(status, known[i]) == 0;
	if (!is_known) {
		api_call_fail(call, &FAULT_INVALID_QUERY, "status: there is no %.32s", status);
		return false;
	}
	db_param_text(unit, status);
	return true;
}

static bool add_filter(struct api_call *call, struct db_unit *unit)
{
	const char *filter;
	char why[200];
	if (!api_param_text(call, "filter", &filter))
		return false;
	char *terms = filter ? vehicle_filter_read(filter, why, sizeof(why)) : NULL;
	if (filter && !terms) {
		api_call_fail(call, &FAULT_INVALID_QUERY, "%s", why);
		return false;
	}
	db_param_text(unit, terms);
	free(terms);
	return true;
}

static bool add_vehicle(struct api_call *call, struct db_unit *unit)
{
	const char *vehicle_id;
	if (!api_param_vehicle(call, &vehicle_id))
		return false;
	db_param_text(unit, vehicle_id);
	return true;
}

static bool add_fleet(struct api_call *call, struct db_unit *unit)
{
	const char *fleet_id;
	if (!api_param_fleet(call, &fleet_id))
		return false;
	db_param_text(unit, fleet_id);
	return true;
}

static bool add_scopes(struct api_call *call, struct db_unit *unit)
{
	char *scopes = scopes_json(call);
	db_param_text(unit, scopes);
	free(scopes);
	return true;
}

/* Of the providers that have one. */
static bool add_prices(struct api_call *call, struct db_unit *unit)
{
	const struct config *config = call->api->config;
	json_auto_t *prices = memory_need(json_pack("{s:s*, s:s*, s:s*}", "smpp", config->wake.smpp.price, "http",
		config->wake.http.price, "sns", config->wake.sns.price));
	char *text = memory_need(json_dumps(prices, JSON_COMPACT));
	db_param_text(unit, text);
	free(text);
	return true;
}

static bool add_constant(struct db_unit *unit, const char *text)
{
	db_param_text(unit, text);
	return true;
}

static bool add_need(struct api_call *call, struct db_unit *unit, enum need need)
{
	switch (need) {
	case NEED_VEHICLE:
		return add_vehicle(call, unit);
	case NEED_FLEET:
		return add_fleet(call, unit);
	case NEED_ALL_VEHICLES:
		return add_constant(unit, "*");
	case NEED_ID:
		return add_id(call, unit, "id");
	case NEED_DELIVERY:
		return add_id(call, unit, "delivery_id");
	case NEED_LIMIT:
		return add_int(call, unit, "limit", LIMIT_DEFAULT, 1, LIMIT_MAX);
	case NEED_CURSOR:
		return add_text(call, unit, "cursor");
	case NEED_CURSOR_ID:
		return add_cursor_id(call, unit);
	case NEED_CURSOR_NUMBER:
		return add_cursor_number(call, unit);
	case NEED_CURSOR_MOMENT:
		return add_cursor_moment(call, unit);
	case NEED_STATUS:
	case NEED_TARGET_STATUS:
		return add_status(call, unit, need == NEED_TARGET_STATUS);
	case NEED_DELIVERY_STATUS:
		return add_delivery_status(call, unit);
	case NEED_FILTER:
		return add_filter(call, unit);
	case NEED_AFTER:
		return add_after(call, unit);
	case NEED_SUBJECT:
		return add_subject(call, unit);
	case NEED_SCOPES:
		return add_scopes(call, unit);
	case NEED_MINUTES:
		return add_int(call, unit, "minutes", MINUTES_DEFAULT, 1, MINUTES_MAX);
	case NEED_PRICES:
		return add_prices(call, unit);
	case NEED_CURRENCY:
		return add_constant(unit, call->api->config->wake.currency);
	case NEED_ADDRESS:
		return add_constant(unit, call->caller.address);
	case NEED_NULL:
	case NEED_END:
		break;
	}
	return add_constant(unit, NULL);
}

/* A read that was lost changed nothing: it is never unknown. A statement that failed is our mistake. */
static const struct fault *fault_of_read(
	const struct api_call *call, const struct db_unit *unit, const struct fault *fault)
{
	if (fault == &FAULT_STORAGE_UNKNOWN)
		return &FAULT_STORAGE_UNAVAILABLE;
	if (fault != &FAULT_STATEMENT)
		return fault;
	log_warn("api", "a read failed", LOG_TEXT("operation", call->operation->name),
		LOG_TEXT("request_id", call->request_id), LOG_TEXT("sqlstate", db_unit_sqlstate(unit)),
		LOG_TEXT("detail", db_unit_message(unit)));
	return &FAULT_INTERNAL;
}

static void on_read(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct api_call *call = context;
	const struct read *read = read_of(call->operation);
	bool found = !fault && db_rows(unit, 0) > 0;
	int rank = found ? (int)db_int(unit, 0, 0, 0) : 0;

	if (fault) {
		api_call_fail(call, fault_of_read(call, unit, fault), "%s", "");
	} else if (rank == 0) {
		api_call_refuse(call, read->hidden->name, read->hidden, "%s", "");
	} else if (rank < read->rank) {
		api_call_refuse(call, FAULT_FORBIDDEN.name, &FAULT_FORBIDDEN, "%s", "your role does not allow this");
	} else if (!db_text(unit, 0, 0, 1)) {
		api_call_fail(call, read->missing, "%s", "");
	} else {
		const char *cursor = db_text(unit, 0, 0, 2);
		snprintf(call->next_cursor, sizeof(call->next_cursor), "%s", cursor ? cursor : "");
		if (call->operation == &API_VEHICLE_GET) /* it has a fourth column */
			call->desired_version = db_int(unit, 0, 0, 3);
		char *body = memory_need(strdup(db_text(unit, 0, 0, 1)));
		api_call_reply(call, body, strlen(body));
	}
}

static void run(struct api_call *call)
{
	const struct read *read = read_of(call->operation);
	struct db_unit *unit = db_unit_new(call->api->reader, on_read, call);

	db_unit_add(unit, read->statement);
	db_param_text(unit, call->caller.subject);
	db_param_bool(unit, api_caller_is_admin(call));
	db_param_bool(unit, call->api->config->database.synchronous);
	for (size_t i = 0; read->needs[i] != NEED_END; i++) {
		if (!add_need(call, unit, read->needs[i])) {
			db_unit_free(unit);
			return;
		}
	}
	db_unit_submit(unit);
}

/* The catalogue needs no database. */

static void run_catalog(struct api_call *call)
{
	char *body = memory_need(strdup(catalog_json(call->api->catalog)));
	api_call_reply(call, body, strlen(body));
}

static const char *const params_catalog[] = { NULL };
const struct api_operation API_CATALOG_GET = { "catalog.get", 0, params_catalog, run_catalog };
