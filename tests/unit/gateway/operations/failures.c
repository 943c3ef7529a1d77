/* failures.c - without a database, and one that goes away amid it. */
#include "tests/unit/gateway/operations/ground.h"

#include <libpq-fe.h>
#include <signal.h>
#include <string.h>
#include <uv.h>

START_TEST(without_database)
{
	static const struct {
		const struct api_operation *operation;
		const char *params;
	} rows[] = { { &API_VEHICLE_GET, "{\"vehicle_id\":\"CAR1\"}" }, { &API_ME, "{}" },
		{ &API_GRANT_DELETE, "{\"vehicle_id\":\"CAR1\",\"subject\":\"dan\"}" } };

	test_postgres_halt(&postgres, SIGQUIT);
	pump_until(both_down);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ck_assert_str_eq(try_as("admin", rows[i].operation, rows[i].params), "storage-unavailable");
		ck_assert_int_eq(call->fault->executed, EXECUTED_NO);
		ck_assert_int_gt(call->retry_after_s, 0);
	}
	test_postgres_resume(&postgres);
	pump_until(both_up);
	assert_ok("admin", API_VEHICLE_GET, "{\"vehicle_id\":\"CAR1\"}");
}
END_TEST

/* Whoever holds this lock keeps every reader of vehicles waiting. */
static PGconn *lock_vehicles(void)
{
	PGconn *conn = PQconnectdb(postgres.url);
	ck_assert_int_eq(PQstatus(conn), CONNECTION_OK);
	PQclear(PQexec(conn, "begin"));
	PQclear(PQexec(conn, "lock table vehicles in access exclusive mode"));
	return conn;
}

static bool is_held_up(void)
{
	return strcmp(ask("select count(*) from pg_locks where not granted"), "1") == 0;
}

/* A read that was lost under way has changed nothing, whatever became of it. */
START_TEST(read_lost_under_way)
{
	PGconn *lock = lock_vehicles();

	call = start(&API_VEHICLE_GET, "admin", SCOPE_ADMIN, "{\"vehicle_id\":\"CAR1\"}");
	uint64_t until = uv_hrtime() + WAIT_NS;
	while (!is_held_up()) {
		ck_assert_uint_lt(uv_hrtime(), until);
		uv_run(loop_uv(w.loop), UV_RUN_NOWAIT);
		uv_sleep(1);
	}
	test_postgres_halt(&postgres, SIGQUIT);
	pump_until(is_answered);
	ck_assert_str_eq(verdict_of(call), "storage-unavailable");
	ck_assert_int_eq(call->fault->executed, EXECUTED_NO);
	PQfinish(lock);
	test_postgres_resume(&postgres);
	pump_until(both_up);
}
END_TEST

void add_failures(Suite *suite)
{
	TCase *tc = case_new(suite, "failures");

	tcase_add_test(tc, without_database);
	tcase_add_test(tc, read_lost_under_way);
}
