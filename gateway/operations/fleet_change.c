/* fleet_change.c - the transaction of a fleet's change, and who is told of it. */
#include "gateway/operations/fleet_change.h"

#include <jansson.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "notifier/hub.h"
#include "sql/db.h"
#include "sql/statements.h"

enum { LOCKED, CHANGED, WATCHED };		   /* the transaction's statements */
enum { OUTCOME, REPLY, IS_NEW, CHANGES, VERSION }; /* columns of fleet_*.sql */

static void on_committed(struct db_unit *unit, void *context, const struct fault *fault);

void fleet_change_run(struct fleet_change *c, const char *subject, const char *address, bool admin, const char *body)
{
	struct db_unit *unit = db_unit_new(c->writer, on_committed, c);

	db_unit_add(unit, &SQL_fleet_lock);
	db_param_text(unit, c->fleet_id);
	db_unit_add(unit, c->statement);
	db_param_text(unit, c->fleet_id);
	if (subject) {
		db_param_text(unit, subject);
		db_param_bool(unit, admin);
		db_param_text(unit, body);
		db_param_text(unit, address);
	}
	db_unit_add(unit, &SQL_fleet_tell);
	db_unit_submit(unit);
}

static void tell(const struct fleet_change *c, const struct db_unit *unit, const json_t *changes)
{
	size_t i;
	const json_t *change;

	json_array_foreach (changes, i, change) {
		char *data = memory_need(json_dumps(change, JSON_COMPACT));
		hub_tell_access(
			c->hub, c->fleet_id, db_int(unit, CHANGED, 0, VERSION), data, db_text(unit, WATCHED, 0, 0));
		free(data);
	}
}

/* A statement that failed is our mistake. */
static const struct fault *fault_of(const struct fleet_change *c, const struct db_unit *unit, const struct fault *fault)
{
	if (fault != &FAULT_STATEMENT)
		return fault;
	log_warn("fleet", "a change failed", LOG_TEXT("fleet", c->fleet_id),
		LOG_TEXT("request_id", c->request_id ? c->request_id : ""),
		LOG_TEXT("sqlstate", db_unit_sqlstate(unit)), LOG_TEXT("detail", db_unit_message(unit)));
	return &FAULT_INTERNAL;
}

static void on_committed(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct fleet_change *c = context;

	if (fault) {
		c->on_done(c, fault_of(c, unit, fault));
		return;
	}
	const char *text = db_text(unit, CHANGED, 0, CHANGES);
	json_auto_t *changes = text ? memory_need(json_loads(text, 0, NULL)) : NULL;
	c->outcome = db_text(unit, CHANGED, 0, OUTCOME);
	c->reply = db_text(unit, CHANGED, 0, REPLY);
	c->is_new = db_bool(unit, CHANGED, 0, IS_NEW);
	c->has_ended_rights = json_array_size(changes) > 0 && !c->is_new;
	tell(c, unit, changes);
	c->on_done(c, NULL);
}
