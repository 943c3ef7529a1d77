/* memo.c - a table of what looks and what writes nothing that is looked for, and the answers since the last write. */
#include "tests/sim/memo.h"

#include <libpq-fe.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/memory.h"
#include "sql/statements.h"
#include "sql/unit.h"
#include "tests/sim/database.h"
#include "tests/sim/world.h"

/* What is due is found by its time: such a look is remembered only while it finds nothing. */
static const struct {
	const struct db_statement *statement;
	bool by_time;
} looks[] = {
	{ &SQL_heads, false },
	{ &SQL_retained_due, true },
	{ &SQL_due_absences, true },
	{ &SQL_due_commands, true },
	{ &SQL_due_timers, true },
	{ &SQL_revocations_look, true },
	{ &SQL_grants_expired, true },
	{ &SQL_erasures_step, false },
	{ &SQL_batch_renew, true },
	{ &SQL_batch_take, true },
	{ &SQL_notices_expire, true },
	{ &SQL_notices_expired, true },
	{ &SQL_notice_spreads_look, true },
	{ &SQL_webhooks_follow, false },
	{ &SQL_webhooks_untold, false },
	{ &SQL_frozen_end, false },
};

/* These change leases, of which no look above depends that has found nothing. */
static const struct db_statement *const quiet[] = { &SQL_lease_renew, &SQL_lease_workers, &SQL_lease_check,
	&SQL_lease_subscribed, &SQL_lease_take, &SQL_lease_release };

/* When the next of what is looked for is due, microseconds since 1970. */
static const char *const HORIZON = "select (extract(epoch from least((select min(due_at) from absences), (select "
				   "min(due_at) from commands), (select min(due_at) from timers),"
				   " (select min(expires_at) from grants), (select min(expires_at) from notices), "
				   "(select min(expires_at) from retained))) * 1000000)::bigint";

struct memory {
	char *key;
	PGresult **results; /* a step's each */
	size_t count;
	bool by_time;
	UT_hash_handle hh;
};

static struct memory *memories;
static bool is_off;
static int64_t horizon_us; /* 0: not known */

void memo_use(bool yes)
{
	is_off = !yes;
}

static int look_of(const struct db_statement *statement)
{
	for (size_t i = 0; i < sizeof(looks) / sizeof(*looks); i++)
		if (looks[i].statement == statement)
			return (int)i;
	return -1;
}

static bool is_quiet(const struct db_statement *statement)
{
	for (size_t i = 0; i < sizeof(quiet) / sizeof(*quiet); i++)
		if (quiet[i] == statement)
			return true;
	return look_of(statement) >= 0;
}

bool memo_is_look(const struct db_unit *unit)
{
	for (size_t i = 0; i < unit->step_count; i++)
		if (look_of(unit->steps[i].statement) < 0)
			return false;
	return true;
}

static char *key_of(const struct db_unit *unit)
{
	struct text key = { 0 };

	for (size_t i = 0; i < unit->step_count; i++)
		text_addf(&key, "%s;", unit->steps[i].statement->name);
	for (size_t i = 0; i < unit->param_count; i++)
		text_addf(&key, "%s;", unit->params[i] ? unit->params[i] : "null");
	return text_take(&key);
}

static void forget_all(void)
{
	for (struct memory *m = memories, *next; m; m = next) {
		next = m->hh.next;
		HASH_DEL(memories, m);
		for (size_t i = 0; i < m->count; i++)
			PQclear(m->results[i]);
		free(m->results);
		free(m->key);
		free(m);
	}
	horizon_us = 0;
}

static int64_t horizon(void)
{
	if (horizon_us == 0) {
		PGresult *rows = database_ask(HORIZON);
		horizon_us = PQgetisnull(rows, 0, 0) ? INT64_MAX : strtoll(PQgetvalue(rows, 0, 0), NULL, 10);
		PQclear(rows);
	}
	return horizon_us;
}

static struct memory *find(const struct db_unit *unit)
{
	struct memory *m;
	char *key = key_of(unit);

	HASH_FIND_STR(memories, key, m);
	free(key);
	return m;
}

/* A microsecond's margin for each transaction of this instant. */
static bool is_nothing_due(void)
{
	return horizon() > world_us() + 1000;
}

bool memo_answer(struct db_unit *unit)
{
	const struct memory *m = is_off ? NULL : find(unit);

	if (!m || (m->by_time && !is_nothing_due()))
		return false;
	for (size_t i = 0; i < m->count; i++)
		unit_take_result(unit, PQcopyResult(m->results[i], PG_COPYRES_TUPLES));
	return true;
}

static void keep(const struct db_unit *unit)
{
	struct memory *m;
	bool by_time = false;

	for (size_t i = 0; i < unit->step_count; i++) {
		bool is_by_time = looks[look_of(unit->steps[i].statement)].by_time;
		if (is_by_time && PQntuples(unit->steps[i].result) > 0)
			return;
		by_time = by_time || is_by_time;
	}
	if (find(unit) || (by_time && !is_nothing_due()))
		return;
	m = memory_new(sizeof(*m));
	m->key = key_of(unit);
	m->by_time = by_time;
	m->count = unit->step_count;
	m->results = memory_new(m->count * sizeof(PGresult *));
	for (size_t i = 0; i < m->count; i++)
		m->results[i] = PQcopyResult(unit->steps[i].result, PG_COPYRES_TUPLES);
	HASH_ADD_KEYPTR(hh, memories, m->key, strlen(m->key), m);
}

void memo_note(const struct db_unit *unit)
{
	bool wrote = false;

	if (unit->sqlstate[0] || is_off)
		return;
	for (size_t i = 0; i < unit->step_count; i++)
		wrote = wrote || !is_quiet(unit->steps[i].statement);
	if (wrote)
		forget_all();
	else if (memo_is_look(unit))
		keep(unit);
}
