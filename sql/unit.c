/* unit.c - a unit of statements: filled by its caller, put on the wire, read by its caller. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/failpoint.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/memory.h"
#include "sql/array.h"
#include "sql/unit.h"

/* libpq's own limit for one statement. */
#define PARAMS_MAX 65535
#define CHECK_VIOLATION "23514"
#define DAY_US (24 * 3600 * INT64_C(1000000))
#define OPEN_DAYS 8 /* a command lives for seven at most; whoever made its id may have been ahead by as much */

/* Without statistics a join with unnest() becomes a hash join over the whole table, and locks rows in an order of
 * its own; a nested loop is the only plan that is both fast and free of deadlocks. A plan that was made while a table was
 * empty reads it whole for as long as the connection lives, unless it may not; and compiling a plan takes longer than
 * any of ours runs. */
const struct db_statement UNIT_SETTINGS = {
	.name = "keyfob_settings",
	.text = "select set_config(name, value, false) from (values ('plan_cache_mode', 'force_generic_plan'),"
		" ('enable_hashjoin', 'off'), ('enable_mergejoin', 'off'), ('enable_seqscan', 'off'), ('jit', 'off'),"
		" ('statement_timeout', '30s'), ('synchronous_commit', 'on'), ('timezone', 'UTC')) as setting (name, "
		"value)",
};

static struct unit_step *add_step(struct db_unit *unit, enum unit_step_kind kind, const struct db_statement *statement);
static void add_param(struct db_unit *unit, char *text);
static bool send_step(const struct db_unit *unit, const struct unit_step *step, PGconn *conn);
static void stop_after(const struct unit_step *step, PGconn *conn);
static const PGresult *result_of(const struct db_unit *unit, size_t statement);

/* Filling. */

struct db_unit *db_unit_new(struct db *db, db_done *on_done, void *context)
{
	struct db_unit *unit = memory_new(sizeof *unit);
	list_init(&unit->node);
	unit->db = db;
	unit->on_done = on_done;
	unit->context = context;
	return unit;
}

size_t db_unit_add(struct db_unit *unit, const struct db_statement *statement)
{
	add_step(unit, STEP_RUN, statement);
	return unit->step_count - 1;
}

size_t db_unit_size(const struct db_unit *unit)
{
	return unit->step_count;
}

void unit_add_prepare(struct db_unit *unit, const struct db_statement *statement)
{
	add_step(unit, STEP_PREPARE, statement);
}

static struct unit_step *add_step(struct db_unit *unit, enum unit_step_kind kind, const struct db_statement *statement)
{
	assert(unit->state == UNIT_FILLING);
	if (unit->step_count == unit->step_size) {
		unit->step_size = 2 * unit->step_size + 8;
		unit->steps = memory_resize(unit->steps, unit->step_size, sizeof *unit->steps);
	}
	struct unit_step *step = &unit->steps[unit->step_count++];
	*step = (struct unit_step){ .kind = kind, .statement = statement, .first_param = unit->param_count };
	return step;
}

void db_param_text(struct db_unit *unit, const char *text)
{
	add_param(unit, text ? memory_need(strdup(text)) : NULL);
}

void db_param_int(struct db_unit *unit, int64_t number)
{
	char text[INT_TEXT_SIZE];
	text_of_int(number, text);
	db_param_text(unit, text);
}

void db_param_bool(struct db_unit *unit, bool value)
{
	db_param_text(unit, value ? "t" : "f");
}

void db_param_open_ids(struct db_unit *unit)
{
	int64_t now_us = db_now_us(unit->db);
	char id[UUID_TEXT_SIZE];

	uuid7_floor(now_us - OPEN_DAYS * DAY_US, id);
	db_param_text(unit, id);
	uuid7_floor(now_us + OPEN_DAYS * DAY_US, id);
	db_param_text(unit, id);
}

void db_param_array(struct db_unit *unit, struct db_array *a)
{
	add_param(unit, db_array_take(a));
}

static void add_param(struct db_unit *unit, char *text)
{
	assert(unit->state == UNIT_FILLING && unit->step_count);
	if (unit->param_count == unit->param_size) {
		unit->param_size = 2 * unit->param_size + 16;
		unit->params = memory_resize(unit->params, unit->param_size, sizeof *unit->params);
	}
	unit->params[unit->param_count++] = text;
	size_t count = ++unit->steps[unit->step_count - 1].param_count;
	assert(count <= PARAMS_MAX);
	(void)count;
}

/* On the wire. */

bool unit_send(const struct db_unit *unit, PGconn *conn)
{
	for (size_t i = 0; i < unit->step_count; i++) {
		if (!send_step(unit, &unit->steps[i], conn))
			return false;
		stop_after(&unit->steps[i], conn);
	}
	return PQpipelineSync(conn);
}

/* A statement's name is a failpoint: the database has run it then, and waits for more. */
static void stop_after(const struct unit_step *step, PGconn *conn)
{
	if (step->kind != STEP_RUN || !FAILPOINT_IS_ARMED(step->statement->name))
		return;
	PQsendFlushRequest(conn);
	PQflush(conn);
	FAILPOINT(step->statement->name);
}

static bool send_step(const struct db_unit *unit, const struct unit_step *step, PGconn *conn)
{
	const struct db_statement *statement = step->statement;
	if (step->kind == STEP_PREPARE)
		return PQsendPrepare(conn, statement->name, statement->text, 0, NULL);
	const char *const *params = step->param_count ? (const char *const *)unit->params + step->first_param : NULL;
	return PQsendQueryPrepared(conn, statement->name, (int)step->param_count, params, NULL, NULL, 0);
}

void unit_take_result(struct db_unit *unit, PGresult *result)
{
	assert(unit->read < unit->step_count);
	unit->steps[unit->read++].result = result;
}

/* What a unit's own words may bring about: a value that cannot be (22), one that breaks a rule of the schema (23), and what our statements
 * raise by codes of their own. All else, known or new, says more of the server than of the unit. That no partition takes a
 * row has the class of a broken rule; it names a table, and no rule. */
static bool is_own(const PGresult *result, const char *sqlstate)
{
	if (strncmp(sqlstate, "22", 2) == 0 || strncmp(sqlstate, "KF", 2) == 0)
		return true;
	if (strncmp(sqlstate, "23", 2) != 0)
		return false;
	return strcmp(sqlstate, CHECK_VIOLATION) != 0 || PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME) ||
	       !PQresultErrorField(result, PG_DIAG_TABLE_NAME);
}

/* The server keeps its word on what a prepared statement returns by refusing it for ever. */
static bool is_outdated(const PGresult *result)
{
	const char *function = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);
	return function && strcmp(function, "RevalidateCachedQuery") == 0;
}

void unit_take_error(struct db_unit *unit, const PGresult *result)
{
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	if (unit->sqlstate[0])
		return;
	snprintf(unit->sqlstate, sizeof unit->sqlstate, "%s", sqlstate ? sqlstate : "XX000");
	unit->verdict = is_own(result, unit->sqlstate) ? &FAULT_STATEMENT : &FAULT_STORAGE_UNAVAILABLE;
	unit->is_outdated = is_outdated(result);
	unit->message = memory_need(strdup(message ? message : ""));
	unit->refused_step = unit->read;
}

/* Reading, from inside on_done. */

size_t db_rows(const struct db_unit *unit, size_t statement)
{
	return (size_t)PQntuples(result_of(unit, statement));
}

size_t db_affected(const struct db_unit *unit, size_t statement)
{
	/* PQcmdTuples() takes a PGresult that it does not change. */
	return strtoul(PQcmdTuples((PGresult *)(uintptr_t)result_of(unit, statement)), NULL, 10);
}

const char *db_text(const struct db_unit *unit, size_t statement, size_t row, int column)
{
	const PGresult *result = result_of(unit, statement);
	assert(row < (size_t)PQntuples(result) && column >= 0 && column < PQnfields(result));
	return PQgetisnull(result, (int)row, column) ? NULL : PQgetvalue(result, (int)row, column);
}

int64_t db_int(const struct db_unit *unit, size_t statement, size_t row, int column)
{
	const char *text = db_text(unit, statement, row, column);
	return text ? strtoll(text, NULL, 10) : 0;
}

bool db_bool(const struct db_unit *unit, size_t statement, size_t row, int column)
{
	const char *text = db_text(unit, statement, row, column);
	return text && text[0] == 't';
}

static const PGresult *result_of(const struct db_unit *unit, size_t statement)
{
	assert(statement < unit->read && unit->steps[statement].result);
	return unit->steps[statement].result;
}

const char *db_unit_sqlstate(const struct db_unit *unit)
{
	return unit->sqlstate;
}

const char *db_unit_message(const struct db_unit *unit)
{
	return unit->message ? unit->message : "";
}

void db_unit_free(struct db_unit *unit)
{
	if (!unit)
		return;
	list_remove(&unit->node);
	for (size_t i = 0; i < unit->step_count; i++)
		PQclear(unit->steps[i].result);
	for (size_t i = 0; i < unit->param_count; i++)
		free(unit->params[i]);
	free(unit->steps);
	free(unit->params);
	free(unit->message);
	free(unit);
}
