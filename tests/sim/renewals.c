/* renewals.c - what each worker's last renewal brought, and until when all leases hold. */
#include "tests/sim/renewals.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/rfc3339.h"
#include "gateway/lease.h"
#include "sql/statements.h"
#include "sql/unit.h"
#include "tests/sim/postgres.h"
#include "tests/sim/world.h"

#define WORKERS_MAX 16
#define WORKER_SIZE 48
#define MARGIN_US 1000 /* as memo.c has it */

/* A worker whose last renewal found all as it was. */
struct renewal {
	char worker[WORKER_SIZE]; /* "": free */
	PGresult *renewed, *counted;
	int64_t paid_us, renewed_us; /* the server knows of, and the last */
	unsigned owed;
};

/* Others' leases, as the database has them. */
struct holding {
	char worker[WORKER_SIZE];
	int64_t until_us;
};

static struct renewal renewals[WORKERS_MAX];
static struct holding holdings[WORKERS_MAX];
static size_t holding_count;
static bool are_holdings_known;

static const struct db_statement *const changes[] = { &SQL_lease_take, &SQL_lease_release, &SQL_worker_end };

bool renewals_is(const struct db_unit *unit)
{
	return unit->step_count == 2 && unit->steps[0].statement == &SQL_lease_renew &&
	       unit->steps[1].statement == &SQL_lease_workers;
}

static struct renewal *find(const char *worker)
{
	for (size_t i = 0; i < WORKERS_MAX; i++)
		if (strcmp(renewals[i].worker, worker) == 0)
			return &renewals[i];
	return NULL;
}

static int64_t end_of(const struct renewal *r)
{
	return r->renewed_us + LEASE_MS * INT64_C(1000);
}

static void forget(struct renewal *r)
{
	for (size_t i = 0; i < holding_count; i++)
		if (strcmp(holdings[i].worker, r->worker) == 0)
			holdings[i].until_us = end_of(r);
	PQclear(r->renewed);
	PQclear(r->counted);
	*r = (struct renewal){ 0 };
}

static void forget_all(void)
{
	for (size_t i = 0; i < WORKERS_MAX; i++)
		if (renewals[i].worker[0])
			forget(&renewals[i]);
	are_holdings_known = false;
}

/* Until when. */

static void read_holdings(void)
{
	char since[RFC3339_SIZE];

	rfc3339_write(world_us() - MARGIN_US, since);
	PGresult *rows = postgres_ask("select holder, (extract(epoch from min(expires_at)) * 1000000)::bigint from "
				      "leases where holder is not "
				      "null and expires_at > $1::timestamptz and (name like 'worker/%' or name like "
				      "'feed/%') group by holder limit 16",
		1, (const char *const[]){ since });
	holding_count = (size_t)PQntuples(rows);
	for (size_t i = 0; i < holding_count; i++) {
		snprintf(holdings[i].worker, WORKER_SIZE, "%s", PQgetvalue(rows, (int)i, 0));
		holdings[i].until_us = strtoll(PQgetvalue(rows, (int)i, 1), NULL, 10);
	}
	PQclear(rows);
	are_holdings_known = true;
}

/* Whether a lease runs out by then. */
static bool does_any_end(int64_t by_us)
{
	for (size_t i = 0; i < holding_count; i++) {
		const struct renewal *r = find(holdings[i].worker);
		int64_t until_us = r ? end_of(r) : holdings[i].until_us;
		if (until_us <= by_us + MARGIN_US)
			return true;
	}
	return holding_count == WORKERS_MAX;
}

/* Answering. */

static void count_epoch(PGresult *renewed)
{
	char epoch[24];
	int len = snprintf(epoch, sizeof(epoch), "%" PRId64, (int64_t)strtoll(PQgetvalue(renewed, 0, 1), NULL, 10) + 1);
	PQsetvalue(renewed, 0, 1, epoch, len);
}

bool renewals_answer(struct db_unit *unit, int64_t at_us)
{
	struct renewal *r = find(unit->params[0]);

	if (!r)
		return false;
	if (does_any_end(at_us)) {
		renewals_pay();
		forget_all();
		return false;
	}
	count_epoch(r->renewed);
	r->renewed_us = at_us;
	r->owed++;
	unit_take_result(unit, PQcopyResult(r->renewed, PG_COPYRES_TUPLES));
	unit_take_result(unit, PQcopyResult(r->counted, PG_COPYRES_TUPLES));
	return true;
}

/* What was held and had not run out, as its statement has it; all of that was answered. */
static const char *const PAY =
	"update leases l set expires_at = o.until, epoch = l.epoch + case when l.name like 'worker/%' then o.owed else "
	"0 end"
	" from unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::int[]) as o (worker, paid, until, owed)"
	" where l.name = 'worker/' || o.worker or (l.holder = o.worker and l.name like 'feed/%' and l.expires_at > "
	"o.paid)";

static void add_to(struct text *array, const char *value)
{
	text_addf(array, "%s%s", array->len ? "," : "{", value);
}

static void add_time(struct text *array, int64_t us)
{
	char time[RFC3339_SIZE];

	rfc3339_write(us, time);
	add_to(array, time);
}

static void pay(void)
{
	struct text arrays[4] = { 0 };
	char *params[4], owed[16];
	int count = 0;

	for (size_t i = 0; i < WORKERS_MAX; i++) {
		struct renewal *r = &renewals[i];
		if (r->owed == 0)
			continue;
		add_to(&arrays[0], r->worker);
		add_time(&arrays[1], r->paid_us);
		add_time(&arrays[2], end_of(r));
		snprintf(owed, sizeof(owed), "%u", r->owed);
		add_to(&arrays[3], owed);
		count += PQntuples(r->renewed);
		r->paid_us = r->renewed_us;
		r->owed = 0;
	}
	for (size_t i = 0; i < 4; i++) {
		text_add(&arrays[i], "}");
		params[i] = text_take(&arrays[i]);
	}
	PGresult *rows = postgres_ask(PAY, 4, (const char *const *)params);
	if (atoi(PQcmdTuples(rows)) != count)
		world_fail("memo", "%d leases were renewed, and %s are there", count, PQcmdTuples(rows));
	PQclear(rows);
	for (size_t i = 0; i < 4; i++)
		free(params[i]);
}

void renewals_pay(void)
{
	bool is_owed = false;

	for (size_t i = 0; i < WORKERS_MAX; i++)
		is_owed = is_owed || renewals[i].owed > 0;
	if (is_owed)
		pay();
}

/* Learning. */

/* One that came in time has changed nothing that others are told. */
static void keep(const struct db_unit *unit, bool is_whole)
{
	const PGresult *renewed = unit->steps[0].result;
	struct renewal *r = find(unit->params[0]);

	if (PQgetvalue(renewed, 0, 2)[0] == 't' || (are_holdings_known && does_any_end(world_us()))) {
		forget_all();
		return;
	}
	if (r)
		forget(r);
	else
		r = find("");
	if (!is_whole || !r)
		return;
	snprintf(r->worker, WORKER_SIZE, "%s", unit->params[0]);
	r->renewed = PQcopyResult(renewed, PG_COPYRES_TUPLES);
	r->counted = PQcopyResult(unit->steps[1].result, PG_COPYRES_TUPLES);
	r->paid_us = r->renewed_us = world_us();
	if (!are_holdings_known)
		read_holdings();
}

void renewals_note(const struct db_unit *unit, bool is_whole)
{
	for (size_t i = 0; i < unit->step_count; i++)
		for (size_t k = 0; k < sizeof(changes) / sizeof(*changes); k++)
			if (unit->steps[i].statement == changes[k])
				forget_all();
	if (renewals_is(unit) && !unit->sqlstate[0])
		keep(unit, is_whole);
}
