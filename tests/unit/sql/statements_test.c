/* statements_test.c - the schema and the statements as they are shipped: each statement fits the schema. */
#include <check.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "sql/migrate.h"
#include "sql/statements.h"
#include "sql/unit.h"
#include "tests/servers.h"
#include "tests/suite.h"

START_TEST(every_statement_prepares)
{
	struct test_postgres pg;
	test_postgres_start(&pg);
	ck_assert_int_eq(migrate_run(pg.url), 0);
	ck_assert_int_eq(migrate_run(pg.url), 0);
	ck_assert_int_eq(migrate_new_epoch(pg.url), 0);
	PGconn *conn = PQconnectdb(pg.url);
	ck_assert_int_eq(PQstatus(conn), CONNECTION_OK);
	ck_assert_uint_gt(SQL_COUNT, 100);
	for (size_t i = 0; i < SQL_COUNT; i++) {
		PGresult *result = PQprepare(conn, SQL_ALL[i]->name, SQL_ALL[i]->text, 0, NULL);
		ck_assert_msg(PQresultStatus(result) == PGRES_COMMAND_OK, "%s: %s", SQL_ALL[i]->name,
			PQresultErrorMessage(result));
		PQclear(result);
	}
	PQfinish(conn);
	test_postgres_end(&pg);
}
END_TEST

/* Plans are made on whatever there is and kept: a whole fleet that goes at once, long after that, must not have each that is due compared with
 * each vehicle of the batch. */
#define BATCH 300

static const struct {
	const struct db_statement *statement;
	const char *parameters; /* %1$s: the vehicles */
} calls[] = {
	{ &SQL_verify_apply, "'{%1$s}'" },
	{ &SQL_quiet_apply, "'{%1$s}'" },
	{ &SQL_timers_drop, "'offer', '{%1$s}'" },
	{ &SQL_disproof_apply, "'{%1$s}', array_fill('s'::text, array[300])" },
	{ &SQL_lifecycle_apply,
		"'{%1$s}', array_fill('connected'::text, array[300]), array_fill('t'::text, array[300]), "
		"array_fill(9::bigint, array[300]), array_fill(9::bigint, array[300]), null, 1, null" },
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

static void run(PGconn *conn, const char *sql)
{
	PGresult *r = PQexec(conn, sql);
	ck_assert_msg(PQresultStatus(r) == PGRES_COMMAND_OK || PQresultStatus(r) == PGRES_TUPLES_OK, "%s",
		PQresultErrorMessage(r));
	PQclear(r);
}

static void assert_compares_nothing(PGconn *conn, const char *name, const char *parameters)
{
	char vehicles[8 * BATCH] = "V1", values[9 * BATCH], sql[10 * BATCH];
	for (int i = 2; i <= BATCH; i++)
		snprintf(vehicles + strlen(vehicles), sizeof(vehicles) - strlen(vehicles), ",V%d", i);
	snprintf(values, sizeof(values), parameters, vehicles);
	snprintf(sql, sizeof(sql), "explain (analyze, timing off, summary off) execute %s(%s)", name, values);
	PGresult *r = PQexec(conn, sql);
	ck_assert_msg(PQresultStatus(r) == PGRES_TUPLES_OK, "%s", PQresultErrorMessage(r));
	for (int row = 0; row < PQntuples(r); row++)
		ck_assert_msg(!strstr(PQgetvalue(r, row, 0), "Rows Removed by Join Filter"), "%s: %s", name,
			PQgetvalue(r, row, 0));
	PQclear(r);
}

static void make_plans(PGconn *conn)
{
	for (size_t i = 0; i < CALLS; i++) {
		PQclear(PQprepare(conn, calls[i].statement->name, calls[i].statement->text, 0, NULL));
		assert_compares_nothing(conn, calls[i].statement->name, calls[i].parameters);
	}
}

static void use_plans(PGconn *conn)
{
	run(conn, "insert into vehicles (vehicle_id) select 'V' || n from generate_series(1, 3000) n on conflict do "
		  "nothing");
	run(conn, "insert into vehicle_heads (vehicle_id) select vehicle_id from vehicles on conflict do nothing");
	run(conn, "update vehicle_heads set session = 's', subscribed = true, reachable = true, verifying = true, "
		  "leaving = 'LOST', "
		  "unstable_until = now() - interval '1 minute'");
	run(conn, "insert into timers (kind, vehicle_id, due_at) select kind, vehicle_id, now() - interval '1 minute' "
		  "from vehicles cross join unnest('{verify,quiet,offer}'::text[]) kind "
		  "on conflict (kind, vehicle_id) do update set due_at = excluded.due_at");
	for (size_t i = 0; i < CALLS; i++) {
		run(conn, "savepoint before");
		assert_compares_nothing(conn, calls[i].statement->name, calls[i].parameters);
		run(conn, "rollback to before");
	}
}

START_TEST(a_fleet_that_goes_is_looked_up_by_key)
{
	struct test_postgres pg;
	test_postgres_start(&pg);
	ck_assert_int_eq(migrate_run(pg.url), 0);
	PGconn *conn = PQconnectdb(pg.url);
	run(conn, UNIT_SETTINGS.text);
	run(conn, "begin");
	make_plans(conn); /* of a new installation */
	use_plans(conn);
	run(conn, "rollback; begin; deallocate all");
	run(conn, "insert into vehicles (vehicle_id) select 'V' || n from generate_series(1, 3000) n");
	run(conn, "insert into vehicle_heads (vehicle_id) select vehicle_id from vehicles; analyze vehicle_heads");
	make_plans(conn); /* while nobody was there */
	use_plans(conn);
	PQfinish(conn);
	test_postgres_end(&pg);
}
END_TEST

static void assert_plan_lacks(PGconn *conn, const char *call, const char *words)
{
	char sql[200];
	snprintf(sql, sizeof(sql), "explain (analyze, timing off, summary off) execute %s", call);
	PGresult *r = PQexec(conn, sql);
	ck_assert_msg(PQresultStatus(r) == PGRES_TUPLES_OK, "%s", PQresultErrorMessage(r));
	for (int row = 0; row < PQntuples(r); row++)
		ck_assert_msg(!strstr(PQgetvalue(r, row, 0), words), "%s: %s", call, PQgetvalue(r, row, 0));
	PQclear(r);
}

/* All that a broker has lost is published again, some at a time: each look must read no more than it takes, and the plan may be of a time when
 * hardly anything was kept. */
START_TEST(what_the_broker_lost_is_read_in_parts)
{
	struct test_postgres pg;
	test_postgres_start(&pg);
	ck_assert_int_eq(migrate_run(pg.url), 0);
	PGconn *conn = PQconnectdb(pg.url);
	run(conn, UNIT_SETTINGS.text);
	run(conn, "insert into vehicles (vehicle_id) select 'V' || n from generate_series(1, 3000) n");
	run(conn,
		"insert into retained (vehicle_id, kind, payload, version) values ('V1', 'desired', '{}', 1); analyze "
		"retained");
	PQclear(PQprepare(conn, SQL_retained_due.name, SQL_retained_due.text, 0, NULL));
	PQclear(PQexec(conn, "execute retained_due(128)"));
	run(conn, "insert into retained (vehicle_id, kind, name, payload, version) select vehicle_id, 'notice', 'n', "
		  "'{}', 1 "
		  "from vehicles");
	assert_plan_lacks(conn, "retained_due(128)", "(actual rows=3001");
	PQfinish(conn);
	test_postgres_end(&pg);
}
END_TEST

/* Each worker looks twice a second, also while a whole fleet has timers that are not due for minutes. */
START_TEST(timers_that_are_not_due_are_not_read)
{
	struct test_postgres pg;
	test_postgres_start(&pg);
	ck_assert_int_eq(migrate_run(pg.url), 0);
	PGconn *conn = PQconnectdb(pg.url);
	run(conn, UNIT_SETTINGS.text);
	PQclear(PQprepare(conn, SQL_due_timers.name, SQL_due_timers.text, 0, NULL));
	PQclear(PQexec(conn, "execute due_timers('verify', 256, 0)"));
	run(conn, "insert into timers (kind, vehicle_id, due_at) select 'verify', 'V' || n, now() + interval '1 hour' "
		  "from "
		  "generate_series(1, 3000) n");
	assert_plan_lacks(conn, "due_timers('verify', 256, 0)", "Rows Removed by Filter");
	PQfinish(conn);
	test_postgres_end(&pg);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sql/statements");
	TCase *tcase = tcase_create("shipped");
	tcase_set_timeout(tcase, 30);
	tcase_add_test(tcase, every_statement_prepares);
	tcase_add_test(tcase, a_fleet_that_goes_is_looked_up_by_key);
	tcase_add_test(tcase, what_the_broker_lost_is_read_in_parts);
	tcase_add_test(tcase, timers_that_are_not_due_are_not_read);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
