/* sweep_test.c - what is over is removed in parts, however much it is: no statement outlives its time. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql/migrate.h"
#include "sql/statements.h"
#include "tests/servers.h"
#include "tests/suite.h"

#define PART "1000"

static struct test_postgres postgres;

static const char *ask(const char *sql)
{
	return test_postgres_ask(&postgres, sql);
}

/* On a connection as the node's are (sql/unit.c). */
static const char *with_sweep(const char *then)
{
	static char sql[8192];

	snprintf(sql, sizeof(sql),
		"set enable_hashjoin = off; set enable_mergejoin = off; set enable_seqscan = off; set jit = off;"
		"set plan_cache_mode = force_generic_plan; prepare sweep (bigint, int) as %s; %s",
		SQL_sweep.text, then);
	return ask(sql);
}

/* Of each kind more than a part, and beside it what must stay. */
static const char left_over[] =
	"insert into idempotency (subject, key, fingerprint, vehicle_id, command_id, created_at)"
	" select 's', n::text, '', 'V', gen_random_uuid(), now() - interval '25 hours' from generate_series(1, 3500) n;"
	"insert into idempotency (subject, key, fingerprint, vehicle_id, command_id) values ('s', 'young', '', 'V', "
	"gen_random_uuid());"
	"insert into wakeups (vehicle_id, id, status, attempt, reason, created_at)"
	" select 'V', gen_random_uuid(), 'refused', 1, 'BUDGET', now() - interval '26 hours' from generate_series(1, "
	"1500) n;"
	"insert into wakeups (vehicle_id, id, status, attempt, reason) values ('V', gen_random_uuid(), 'refused', 1, "
	"'BUDGET');"
	"insert into batches (id, fleet_id, state, name, ttl_seconds, timeout_seconds, wake, redelivery, supersedes, "
	"catalog, issued_by,"
	" admin, needs, rate, total, finished_at) select ('00000000-0000-7000-8000-00000000000' || n)::uuid, 'F', "
	"'completed', 'x', 1, 1,"
	" false, 'on_reconnect', '', '{}', 's', true, 0, 1, 1, case n when 3 then now() else now() - interval '26 "
	"hours' end"
	" from generate_series(1, 3) n;"
	"insert into batch_targets (batch_id, vehicle_id) select id, v::text from batches, generate_series(1, 1200) v;"
	"insert into retained (vehicle_id, kind, name, payload, version, published, changed_at)"
	" select 'V', 'notice', n::text, '', 1, 1, now() - interval '2 days' from generate_series(1, 1001) n;"
	"insert into retained (vehicle_id, kind, payload, version, published, changed_at)"
	" values ('V', 'desired', '', 1, 1, now() - interval '2 days');"
	"insert into leases (name, holder, expires_at) values ('worker/dead', 'dead', now() - interval '1 hour'),"
	" ('worker/alive', 'alive', now() + interval '1 hour')";

static const char counts[] = "select concat_ws(' ', (select count(*) from idempotency), (select count(*) from "
			     "wakeups), (select count(*) from "
			     "batch_targets), (select count(*) from batches), (select count(*) from retained), "
			     "(select count(*) from leases where name like 'worker/%'))";

#define COUNTED 6

static void count(int ret[COUNTED])
{
	ck_assert_int_eq(sscanf(ask(counts), "%d %d %d %d %d %d", &ret[0], &ret[1], &ret[2], &ret[3], &ret[4], &ret[5]),
		COUNTED);
}

START_TEST(what_is_over_goes_in_parts)
{
	int before[COUNTED], after[COUNTED], parts = 0;
	bool more = true;

	ask(left_over);
	for (; more; parts++) {
		ck_assert_int_lt(parts, 10);
		count(before);
		more = strcmp(with_sweep("execute sweep(0, " PART ")"), "t") == 0;
		count(after);
		for (int i = 0; i < COUNTED; i++)
			ck_assert_msg(before[i] - after[i] <= atoi(PART), "%d of kind %d in part %d",
				before[i] - after[i], i, parts);
	}
	ck_assert_int_ge(parts, 4);
	ck_assert_str_eq(ask(counts), "1 1 1200 1 1 1");
	ck_assert_str_eq(ask("select string_agg(key, ' ') from idempotency"), "young");
	ck_assert_str_eq(ask("select kind from retained"), "desired");
}
END_TEST

/* The part is found by an index, and not by looking at all that there is. */
START_TEST(a_part_of_many_costs_no_more_than_one_of_few)
{
	ck_assert_str_eq(
		with_sweep("create function pg_temp.plan() returns json language plpgsql as $f$ declare plan json;"
			   "begin execute 'explain (format json) execute sweep(0, " PART
			   ")' into plan; return plan; end $f$;"
			   "select pg_temp.plan()::text ~ 'idempotency_age'"),
		"t");
}
END_TEST

static void start_server(void)
{
	test_postgres_start(&postgres);
	ck_assert_int_eq(migrate_run(postgres.url), 0);
}

static void end_server(void)
{
	test_postgres_end(&postgres);
}

int main(void)
{
	Suite *suite = suite_create("sql/sweep");
	TCase *tests = tcase_create("sweep");

	tcase_set_timeout(tests, 60);
	tcase_add_unchecked_fixture(tests, start_server, end_server);
	tcase_add_test(tests, what_is_over_goes_in_parts);
	tcase_add_test(tests, a_part_of_many_costs_no_more_than_one_of_few);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
