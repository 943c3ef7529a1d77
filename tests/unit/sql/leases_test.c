/* leases_test.c - who is dead, by the rules of lease_bury.sql, and who may have what the dead held: against a real PostgreSQL, on which each
 * worker is a session of its own. */
#include <check.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "sql/db.h"
#include "sql/migrate.h"
#include "sql/statements.h"
#include "tests/servers.h"
#include "tests/suite.h"

#define OVERDUE "0" /* milliseconds: everybody is */
#define PATIENT "4000"
#define LEASE "5000"
#define WAIT_MS 20000

static struct test_postgres postgres;
static PGconn *ann, *bob; /* workers of the same names; Ann was there first */
static char answer[4096];

static const char *ask(const char *sql)
{
	return test_postgres_ask(&postgres, sql);
}

/* Its rows, a line each. */
static const char *run(PGconn *conn, const struct db_statement *statement, int count, const char *const params[])
{
	PGresult *r = PQexecParams(conn, statement->text, count, NULL, params, NULL, NULL, 0);

	answer[0] = '\0';
	ck_assert_msg(PQresultStatus(r) == PGRES_TUPLES_OK || PQresultStatus(r) == PGRES_COMMAND_OK, "%s",
		PQerrorMessage(conn));
	for (int row = 0; row < PQntuples(r); row++)
		for (int column = 0; column < PQnfields(r); column++)
			snprintf(answer + strlen(answer), sizeof(answer) - strlen(answer), "%s%s",
				PQgetvalue(r, row, column), column + 1 < PQnfields(r) ? " " : "\n");
	PQclear(r);
	return answer;
}

static PGconn *come(void)
{
	PGconn *conn = PQconnectdb(postgres.url);
	ck_assert_int_eq(PQstatus(conn), CONNECTION_OK);
	return conn;
}

static const char *renew(PGconn *conn, const char *worker)
{
	return run(conn, &SQL_lease_renew, 3, (const char *const[]){ worker, "n", LEASE });
}

static const char *take(PGconn *conn, const char *worker, const char *count)
{
	return run(conn, &SQL_lease_take, 4, (const char *const[]){ worker, "n", LEASE, count });
}

static const char *bury(PGconn *conn, const char *worker, const char *heard, const char *overdue)
{
	return run(conn, &SQL_lease_bury, 5, (const char *const[]){ worker, heard, overdue, LEASE, "f" });
}

/* By one that has never lost a session. */
static const char *bury_as_new(PGconn *conn, const char *worker, const char *heard)
{
	return run(conn, &SQL_lease_bury, 5, (const char *const[]){ worker, heard, OVERDUE, LEASE, "t" });
}

static const char *held_by(const char *worker)
{
	static char sql[256];

	snprintf(sql, sizeof(sql),
		"select coalesce(string_agg(name, ' ' order by name), '') from leases where holder = '%s' and name "
		"like 'feed/%%'",
		worker);
	return ask(sql);
}

/* Its session is over, and the server has seen it. */
static void leave(PGconn **conn)
{
	char sql[128];

	snprintf(sql, sizeof(sql), "select exists (select from pg_stat_activity where pid = %d)", PQbackendPID(*conn));
	PQfinish(*conn);
	*conn = NULL;
	for (int ms = 0; strcmp(ask(sql), "t") == 0; ms++) {
		ck_assert_int_lt(ms, WAIT_MS);
		ask("select pg_sleep(0.001)");
	}
}

static void start_server(void)
{
	test_postgres_start(&postgres);
	if (migrate_run(postgres.url))
		exit(1); /* it has said why */
}

static void end_server(void)
{
	test_postgres_end(&postgres);
}

static void setup(void)
{
	ask("delete from leases where name like 'worker/%'; update leases set holder = null, epoch = 0, expires_at = "
	    "null");
	ann = come();
	bob = come();
	renew(ann, "ann");
	renew(bob, "bob");
	ck_assert_str_eq(take(bob, "bob", "2"), "feed/00 1\nfeed/01 1\n");
}

static void teardown(void)
{
	PQfinish(ann);
	PQfinish(bob);
}

START_TEST(who_has_a_session_is_alive)
{
	ck_assert_str_eq(bury(ann, "ann", "{bob}", OVERDUE), "");
	take(ann, "ann", "35");
	ck_assert_str_eq(held_by("bob"), "feed/00 feed/01");
}
END_TEST

START_TEST(who_is_heard_to_be_gone_and_has_no_session_is_dead_at_once)
{
	PGconn *cid = come();

	renew(ann, "ann");
	renew(cid, "cid");
	renew(bob, "bob");
	leave(&bob);
	ck_assert_str_eq(bury(ann, "ann", "{}", PATIENT), "");
	ck_assert_str_eq(bury(ann, "ann", "{bob,nobody}", PATIENT), "bob t\nnobody f\n");
	ck_assert_str_eq(bury(cid, "cid", "{bob}", PATIENT), "bob f\n"); /* and has to take some, too */
	ck_assert_str_eq(run(cid, &SQL_lease_workers, 1, (const char *const[]){ "cid" }), "2 35 35 1\n");
	ck_assert_str_eq(take(cid, "cid", "2"), "feed/00 2\nfeed/01 2\n");
	PQfinish(cid);
}
END_TEST

START_TEST(who_has_no_session_and_does_not_come_back_is_dead)
{
	leave(&bob);
	ck_assert_str_eq(bury(ann, "ann", "{}", PATIENT), "");
	ck_assert_str_eq(bury(ann, "ann", "{}", OVERDUE), "bob t\n");
	ck_assert_str_eq(bury(ann, "ann", "{}", OVERDUE), "");
	ck_assert_str_eq(take(ann, "ann", "2"), "feed/00 2\nfeed/01 2\n");
}
END_TEST

/* It has lost its connection, and made another. */
START_TEST(who_is_back_by_another_session_is_alive)
{
	leave(&bob);
	bob = come();
	renew(bob, "bob");
	ck_assert_str_eq(bury(ann, "ann", "{bob}", OVERDUE), "");
}
END_TEST

/* Taken for dead, it comes back: it has what nobody took meanwhile, and hears that it was gone. */
START_TEST(who_comes_back_too_late_has_what_is_left)
{
	leave(&bob);
	bury(ann, "ann", "{bob}", PATIENT);
	take(ann, "ann", "1");
	bob = come();
	ck_assert_str_eq(renew(bob, "bob"), "worker/bob 2 t\nfeed/01 1 f\n");
	ck_assert_str_eq(held_by("ann"), "feed/00");
	take(ann, "ann", "35");
	ck_assert_str_eq(held_by("bob"), "feed/01");
	PGresult *r = PQexec(bob, "select fence('{feed/01}', '{1}', 'bob'), fence('{feed/00}', '{1}', 'bob')");
	ck_assert_str_eq(PQresultErrorField(r, PG_DIAG_SQLSTATE), "KF001");
	PQclear(r);
}
END_TEST

/* Whatever ended its own session may have ended Bob's: a server that was started anew, another that took over. */
START_TEST(who_came_later_cannot_tell)
{
	leave(&bob);
	leave(&ann);
	ann = come();
	ck_assert_str_eq(bury(ann, "ann", "{bob}", OVERDUE), "");
}
END_TEST

/* As the only node does, when it was killed and is started anew. */
START_TEST(who_is_new_can_tell)
{
	leave(&bob);
	leave(&ann);
	ann = come();
	ck_assert_str_eq(bury_as_new(ann, "ann", "{}"), "bob t\n");
}
END_TEST

/* Bob's session was with another that took the writes before, or with this one before it was started anew. */
START_TEST(who_is_new_cannot_tell_of_another_server)
{
	ask("update leases set session_server = session_server - interval '1 second' where name = 'worker/bob'");
	leave(&bob);
	ck_assert_str_eq(bury_as_new(ann, "ann", "{}"), "bob t\n"); /* who was there all along can */
	ask("update leases set expires_at = clock_timestamp() + interval '5 s' where name = 'worker/bob'");
	leave(&ann);
	ann = come();
	ck_assert_str_eq(bury_as_new(ann, "ann", "{}"), "");
}
END_TEST

/* A server whose process died over something ends all sessions, and goes on; what it counts begins anew. */
START_TEST(who_is_new_cannot_tell_of_a_server_that_recovered)
{
	leave(&bob);
	leave(&ann);
	ask("select pg_stat_reset_shared('bgwriter')");
	ann = come();
	ck_assert_str_eq(bury_as_new(ann, "ann", "{}"), "");
}
END_TEST

START_TEST(another_session_with_the_same_process_number_is_another)
{
	char sql[160];
	PGconn *cid = come();

	snprintf(sql, sizeof(sql), "update leases set session_pid = %d where name = 'worker/bob'", PQbackendPID(cid));
	ask(sql);
	ck_assert_str_eq(bury(ann, "ann", "{bob}", PATIENT), "bob t\n");
	PQfinish(cid);
}
END_TEST

/* Of another role's session it is shown that it is there, and not since when. */
START_TEST(who_works_by_another_role_is_alive_while_its_process_is_there)
{
	char url[128];

	ask("create role stranger login; grant select, update on leases to stranger");
	snprintf(url, sizeof(url), "postgresql://stranger@127.0.0.1:%d/postgres", postgres.port);
	PGconn *cid = PQconnectdb(url);
	ck_assert_int_eq(PQstatus(cid), CONNECTION_OK);
	renew(bob, "bob");
	ck_assert_str_eq(bury(cid, "cid", "{bob}", OVERDUE), "");
	leave(&bob);
	ck_assert_str_eq(bury(cid, "cid", "{bob}", OVERDUE), "bob t\n");
	PQfinish(cid);
}
END_TEST

START_TEST(who_does_not_say_its_session_is_left_alone)
{
	ask("update leases set session_pid = null, session_began = null where name = 'worker/bob'");
	leave(&bob);
	ck_assert_str_eq(bury(ann, "ann", "{bob}", OVERDUE), "");
}
END_TEST

START_TEST(a_lease_in_hand_is_not_waited_for)
{
	PGconn *cid = come();

	leave(&bob);
	PQclear(PQexec(cid, "begin; select from leases where name = 'worker/bob' for update"));
	ck_assert_str_eq(bury(ann, "ann", "{bob}", OVERDUE), "");
	PQclear(PQexec(cid, "rollback"));
	ck_assert_str_eq(bury(ann, "ann", "{bob}", OVERDUE), "bob t\n");
	PQfinish(cid);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("leases");
	TCase *tc = tcase_create("who is dead");

	tcase_add_unchecked_fixture(tc, start_server, end_server);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, who_has_a_session_is_alive);
	tcase_add_test(tc, who_is_heard_to_be_gone_and_has_no_session_is_dead_at_once);
	tcase_add_test(tc, who_has_no_session_and_does_not_come_back_is_dead);
	tcase_add_test(tc, who_is_back_by_another_session_is_alive);
	tcase_add_test(tc, who_comes_back_too_late_has_what_is_left);
	tcase_add_test(tc, who_came_later_cannot_tell);
	tcase_add_test(tc, who_is_new_can_tell);
	tcase_add_test(tc, who_is_new_cannot_tell_of_another_server);
	tcase_add_test(tc, who_is_new_cannot_tell_of_a_server_that_recovered);
	tcase_add_test(tc, another_session_with_the_same_process_number_is_another);
	tcase_add_test(tc, who_works_by_another_role_is_alive_while_its_process_is_there);
	tcase_add_test(tc, who_does_not_say_its_session_is_left_alone);
	tcase_add_test(tc, a_lease_in_hand_is_not_waited_for);
	suite_add_tcase(suite, tc);
	return suite_run_here(suite);
}
