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
#include "tests/sim/postgres.h"
#include "tests/sim/renewals.h"
#include "tests/sim/world.h"

enum { NEVER = 8, EVERY = 15 }; /* beside the features: nothing that a run makes, and all */

static bool has_made_some(const PGresult *result);
static bool is_true(const PGresult *result);
static bool has_taken_some(const PGresult *result);

/* What is due is found by its time: such a look is remembered only while it finds nothing. What only a feature brings (`of`) that is not in
 * the run is absent (memo_look() sees to it), so no write changes the answer. `has_written`: some looks do at once what they find, and say so. */
static const struct {
	const struct db_statement *statement;
	bool by_time;
	unsigned of;
	bool (*has_written)(const PGresult *result);
} looks[] = {
	{ &SQL_heads, false, 0, NULL },
	{ &SQL_retained_due, true, MEMO_TWIN, NULL },
	{ &SQL_due_absences, true, 0, NULL },
	{ &SQL_due_commands, true, 0, NULL },
	{ &SQL_due_timers, true, 0, NULL },
	{ &SQL_revocations_look, true, MEMO_GRANTS, NULL },
	{ &SQL_grants_expired, true, MEMO_GRANTS, NULL },
	{ &SQL_erasures_step, false, NEVER, NULL },
	{ &SQL_batch_renew, true, NEVER, NULL },
	{ &SQL_batch_take, true, NEVER, NULL },
	{ &SQL_notices_expire, true, MEMO_TWIN, NULL },
	{ &SQL_notices_expired, true, MEMO_TWIN, NULL },
	{ &SQL_notice_spreads_look, true, NEVER, NULL },
	{ &SQL_webhooks_follow, false, MEMO_WEBHOOKS, has_made_some },
	{ &SQL_webhooks_untold, false, MEMO_WEBHOOKS, NULL },
	{ &SQL_webhooks_sweep, false, MEMO_WEBHOOKS, is_true },
	{ &SQL_webhooks_resume, false, MEMO_WEBHOOKS, is_true },
	{ &SQL_webhooks_take, true, MEMO_WEBHOOKS, has_taken_some },
	{ &SQL_frozen_end, false, NEVER, NULL },
};

/* A row is one that a look above would find, or one day. */
static const char *const ABSENT = "select name from (select 'retained' from retained union all select 'revocation' "
				  "from revocations union all select "
				  "'grant' from grants where expires_at is not null union all select 'erasure' from "
				  "erasures union all select 'batch' "
				  "from batches union all select 'notice' from notices union all select 'spread' from "
				  "notice_spreads union all select "
				  "'webhook' from webhooks) as made (name) where name <> all ($1::text[]) limit 1";

static const struct {
	enum memo_feature feature;
	const char *names;
} made_by[] = {
	{ MEMO_GRANTS, "grant,revocation," },
	{ MEMO_WEBHOOKS, "webhook," },
	{ MEMO_TWIN, "retained,notice," },
};

/* These write nothing, or what no look above reads: leases (a look that has found nothing depends on none), interest, and what is swept
 * long after it was over. `of_leases`: they read or change who holds what; `but`: what they write only this feature's looks read. */
static const struct {
	const struct db_statement *statement;
	bool of_leases;
	unsigned but;
} quiet[] = {
	{ &SQL_lease_renew, true, 0 },
	{ &SQL_lease_workers, true, 0 },
	{ &SQL_lease_check, true, 0 },
	{ &SQL_lease_subscribed, true, 0 },
	{ &SQL_lease_take, true, 0 },
	{ &SQL_lease_release, true, 0 },
	{ &SQL_lease_sole, true, 0 },
	{ &SQL_worker_end, true, 0 },
	{ &SQL_sweep, true, 0 },
	{ &SQL_partitions, false, 0 },
	{ &SQL_partitions_drop, false, 0 },
	{ &SQL_interest_drop, false, 0 },
	{ &SQL_read_command, false, 0 },
	{ &SQL_subscribe, false, 0 },
	{ &SQL_events_resume, false, 0 },
	{ &SQL_events_after, false, 0 },
	{ &SQL_webhooks_settle, false, MEMO_WEBHOOKS },
	{ &SQL_retained_published, false, MEMO_TWIN },
	{ &SQL_retained_mark, false, MEMO_TWIN },
};

/* When the next of what is looked for is due, microseconds since 1970. */
static const char *const HORIZON =
	"select (extract(epoch from least((select min(due_at) from absences), (select min(due_at) from commands), "
	"(select "
	"min(due_at) from timers), (select min(at) from revocations), (select min(expires_at) from grants), (select "
	"min(expires_at) from retained where payload <> ''), (select min(expires_at) from notices))) * "
	"1000000)::bigint";
static const char *const HORIZON_OF_WEBHOOKS =
	"select (extract(epoch from min(greatest(l.due_at, w.held_until))) * 1000000)::bigint from webhook_lines l "
	"join "
	"webhooks w on w.id = l.webhook_id where l.due_at is not null and w.disabled_at is null";

struct memory {
	char *key;
	PGresult **results; /* a step's each */
	size_t count;
	unsigned of; /* features */
	bool by_time, absent;
	UT_hash_handle hh;
};

struct horizon {
	const char *sql;
	int64_t us; /* 0: not known */
};

static struct memory *memories;
static bool is_off;
static unsigned expected; /* features */
static struct horizon of_webhooks = { HORIZON_OF_WEBHOOKS, 0 }, of_all_else = { HORIZON, 0 };

void memo_expect(enum memo_feature feature)
{
	expected |= feature;
}

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

static int quiet_of(const struct db_statement *statement)
{
	for (size_t i = 0; i < sizeof(quiet) / sizeof(*quiet); i++)
		if (quiet[i].statement == statement)
			return (int)i;
	return -1;
}

static bool is_absent(int look)
{
	return looks[look].of != 0 && !(looks[look].of & expected);
}

/* What a look says of itself. */

static bool has_made_some(const PGresult *result)
{
	return strtoll(PQgetvalue(result, 0, 0), NULL, 10) > 0;
}

static bool is_true(const PGresult *result)
{
	return PQgetvalue(result, 0, 0)[0] == 't';
}

static bool has_taken_some(const PGresult *result)
{
	return PQntuples(result) > 0;
}

/* The features whose looks may find another answer by it; EVERY: any look may. */
static unsigned written_of(const struct unit_step *step)
{
	int look = look_of(step->statement), still = quiet_of(step->statement);

	if (look >= 0)
		return looks[look].has_written && looks[look].has_written(step->result) ? looks[look].of : 0;
	return still >= 0 ? quiet[still].but : EVERY;
}

bool memo_is_look(const struct db_unit *unit)
{
	for (size_t i = 0; i < unit->step_count; i++)
		if (look_of(unit->steps[i].statement) < 0)
			return false;
	return true;
}

/* Who asks for due commands makes no difference while nothing is due. */
static char *key_of(const struct db_unit *unit)
{
	struct text key = { 0 };

	for (size_t i = 0; i < unit->step_count; i++) {
		const struct unit_step *step = &unit->steps[i];
		text_addf(&key, "%s;", step->statement->name);
		if (step->statement == &SQL_due_commands)
			continue;
		for (size_t p = step->first_param; p < step->first_param + step->param_count; p++)
			text_addf(&key, "%s;", unit->params[p] ? unit->params[p] : "null");
	}
	return text_take(&key);
}

/* A transaction has written. */
static void forget(unsigned of)
{
	for (struct memory *m = memories, *next; m; m = next) {
		next = m->hh.next;
		if (m->absent || (of != EVERY && !(m->of & of)))
			continue;
		HASH_DEL(memories, m);
		for (size_t i = 0; i < m->count; i++)
			PQclear(m->results[i]);
		free(m->results);
		free(m->key);
		free(m);
	}
	of_webhooks.us = 0;
	if (of != MEMO_WEBHOOKS)
		of_all_else.us = 0;
}

static int64_t horizon(unsigned of)
{
	struct horizon *h = of & MEMO_WEBHOOKS ? &of_webhooks : &of_all_else;

	if (h->us == 0) {
		PGresult *rows = postgres_ask(h->sql, 0, NULL);
		h->us = PQgetisnull(rows, 0, 0) ? INT64_MAX : strtoll(PQgetvalue(rows, 0, 0), NULL, 10);
		PQclear(rows);
	}
	return h->us;
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
static bool is_nothing_due(unsigned of)
{
	return horizon(of) > world_us() + 1000;
}

/* What is due is a living worker's or not. */
static bool is_of_leases(const struct db_statement *statement)
{
	int i = quiet_of(statement);

	if (i >= 0)
		return quiet[i].of_leases;
	return look_of(statement) < 0 || (statement == &SQL_due_commands && !is_nothing_due(0));
}

/* Sessions that stand still are told by the server's own time: on a busy machine one that waits for its next step would be among them. So
 * they are asked for once, whatever memo_use() says. Whose session is over is never asked: here all nodes share the server's sessions, so none
 * is, and a dead node's lease runs out. */
static bool is_asked_anew(const struct db_unit *unit)
{
	return is_off && unit->steps[0].statement != &SQL_frozen_end;
}

bool memo_answer(struct db_unit *unit, int64_t at_us)
{
	if (unit->steps[0].statement == &SQL_lease_bury) {
		unit_take_result(unit, PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK));
		return true;
	}
	if (!is_off && renewals_is(unit))
		return renewals_answer(unit, at_us);

	const struct memory *m = is_asked_anew(unit) || !memo_is_look(unit) ? NULL : find(unit);

	if (!m || (m->by_time && !m->absent && !is_nothing_due(m->of)))
		return false;
	for (size_t i = 0; i < m->count; i++)
		unit_take_result(unit, PQcopyResult(m->results[i], PG_COPYRES_TUPLES));
	return true;
}

static void keep(const struct db_unit *unit)
{
	struct memory *m;
	bool by_time = false, absent = true;
	unsigned of = 0;

	for (size_t i = 0; i < unit->step_count; i++) {
		int look = look_of(unit->steps[i].statement);
		if (looks[look].by_time && PQntuples(unit->steps[i].result) > 0)
			return;
		by_time = by_time || looks[look].by_time;
		absent = absent && is_absent(look);
		of |= looks[look].of;
	}
	if (find(unit) || (by_time && !absent && !is_nothing_due(of)))
		return;
	m = memory_new(sizeof(*m));
	m->key = key_of(unit);
	m->of = of;
	m->by_time = by_time;
	m->absent = absent;
	m->count = unit->step_count;
	m->results = memory_new(m->count * sizeof(PGresult *));
	for (size_t i = 0; i < m->count; i++)
		m->results[i] = PQcopyResult(unit->steps[i].result, PG_COPYRES_TUPLES);
	HASH_ADD_KEYPTR(hh, memories, m->key, strlen(m->key), m);
}

void memo_before_run(const struct db_unit *unit)
{
	bool of_leases = false;

	for (size_t i = 0; i < unit->step_count && !is_off; i++)
		of_leases = of_leases || is_of_leases(unit->steps[i].statement);
	if (of_leases)
		renewals_pay();
}

void memo_note(const struct db_unit *unit, bool is_whole)
{
	unsigned written = 0;

	if (is_asked_anew(unit))
		return;
	renewals_note(unit, is_whole);
	if (unit->sqlstate[0])
		return;
	for (size_t i = 0; i < unit->step_count; i++)
		written |= written_of(&unit->steps[i]);
	if (written)
		forget(written);
	else if (memo_is_look(unit))
		keep(unit);
}

void memo_look(void)
{
	char names[96] = "{";

	for (size_t i = 0; i < sizeof(made_by) / sizeof(*made_by); i++)
		if (made_by[i].feature & expected)
			strcat(names, made_by[i].names);
	strcpy(names + strlen(names) - (names[1] != '\0'), "}");
	PGresult *rows = postgres_ask(ABSENT, 1, (const char *const[]){ names });
	if (PQntuples(rows) > 0)
		world_fail("memo", "a %s has come about, and tests/sim/memo.c takes it that there is none",
			PQgetvalue(rows, 0, 0));
	PQclear(rows);
}
