/* ways.c - the way is lost and found again: sessions that end, hosts that are dead or silent, servers that go and come. */
#include "tests/unit/sql/db/ground.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void terminate(const char *pid)
{
	char sql[128];
	snprintf(sql, sizeof sql, "select pg_terminate_backend(%s)", pid);
	test_postgres_ask(&pg, sql);
}

START_TEST(killed_in_flight)
{
	struct heard self, doomed[10], at_once;
	connect_to(pg.url, 0);
	hold_lock();
	self = ask(&SELF, NULL);
	submit(&doomed[0], &WAIT, "42");
	for (int i = 1; i < 10; i++)
		submit(&doomed[i], &ADD, "doomed");
	uv_run(loop_uv(loop), UV_RUN_ONCE);
	terminate(self.value);
	await(!db_is_up(db));
	submit(&at_once, &COUNT, "%");
	await(at_once.times && doomed[9].times);
	for (int i = 0; i < 10; i++)
		ck_assert_ptr_eq(doomed[i].fault, i < 8 ? &FAULT_STORAGE_UNKNOWN : &FAULT_STORAGE_UNAVAILABLE);
	ck_assert_ptr_eq(at_once.fault, &FAULT_STORAGE_UNAVAILABLE);
	await(ups == 2);
	ck_assert_int_eq(downs, 1);
	ck_assert_str_eq(ask(&COUNT, "%").value, "0");
	release_lock();
}
END_TEST

START_TEST(killed_while_idle)
{
	connect_to(pg.url, 0);
	terminate(ask(&SELF, NULL).value);
	await(ups == 2 && downs == 1);
	ck_assert_ptr_null(ask(&SELF, NULL).fault);
}
END_TEST

START_TEST(schema_that_is_too_old)
{
	struct db_options options = { .url = pg.url, .queue_max = 10, .schema = 2, .on_up = on_up, .on_down = on_down };

	test_postgres_ask(&pg, "drop table if exists schema_migrations");
	db = db_new(loop, &options);
	db_start(db);
	/* Long enough for a second attempt. */
	for (int i = 0; i < 30; i++)
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	ck_assert_int_eq(ups, 0);
	test_postgres_ask(
		&pg, "create table schema_migrations (version int); insert into schema_migrations values (1)");
	for (int i = 0; i < 30; i++)
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	ck_assert_int_eq(ups, 0);
	test_postgres_ask(&pg, "insert into schema_migrations values (3)");
	await(ups == 1);
	ck_assert_int_eq(downs, 0);
	test_postgres_ask(&pg, "drop table schema_migrations");
}
END_TEST

START_TEST(second_host_when_the_first_is_dead)
{
	char url[160];
	snprintf(url, sizeof url, "postgresql://keyfob@127.0.0.1:%d,localhost:%d/postgres?application_name=mine",
		test_free_port(), pg.port);
	connect_to(url, 0);
	ck_assert_str_eq(ask(&SETTING, "application_name").value, "mine");
}
END_TEST

START_TEST(local_socket)
{
	char url[160];
	snprintf(url, sizeof url, "postgresql:///postgres?host=%s&port=%d&user=keyfob", pg.dir, pg.port);
	connect_to(url, 0);
}
END_TEST

START_TEST(name_that_is_nobodys)
{
	char url[160];
	snprintf(url, sizeof url, "host=nobody.invalid,127.0.0.1 port=%d user=keyfob dbname=postgres", pg.port);
	connect_to(url, 0);
}
END_TEST

/* It takes the connection and then says nothing: five seconds, no more. */
START_TEST(silent_host)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char url[160];
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, size) | listen(fd, 5) |
				 getsockname(fd, (struct sockaddr *)&address, &size),
		0);
	snprintf(url, sizeof url, "postgresql://keyfob@127.0.0.1:%d,127.0.0.1:%d/postgres", ntohs(address.sin_port),
		pg.port);
	int64_t began_ms = loop_monotonic_ms(loop);
	connect_to(url, 0);
	ck_assert_int_ge(loop_monotonic_ms(loop) - began_ms, 5000);
	ck_assert_int_lt(loop_monotonic_ms(loop) - began_ms, 9000);
	close(fd);
}
END_TEST

static struct test_postgres other;

#define WAITING_COMMITS "select count(*) from pg_stat_activity where wait_event = 'SyncRep'"

/* With a standby that is not there a commit hangs; the unit is unknown after its time, and the link is down. When the wait is broken
 * off by hand it is up again; a unit to which that happens in time succeeds with a warning: unknown too. The server's checkpointer
 * says when commits begin to wait. */
START_TEST(commit_without_its_standby)
{
	struct heard hanging, broken_off;
	char cancel[128], name[24];
	int tries = 0;
	test_postgres_start(&other);
	test_postgres_ask(&other, SCHEMA);
	connect_to(other.url, 1000);
	snprintf(cancel, sizeof cancel, "select pg_cancel_backend(%s)", ask(&SELF, NULL).value);
	test_postgres_ask(&other, "alter system set synchronous_standby_names = 'nobody'");
	test_postgres_ask(&other, "select pg_reload_conf()");
	do {
		snprintf(name, sizeof name, "hanging %d", tries++);
		hanging = ask(&ADD, name);
	} while (!hanging.fault);
	ck_assert_ptr_eq(hanging.fault, &FAULT_STORAGE_UNKNOWN);
	ck_assert_int_eq(downs, 1);
	ck_assert_ptr_eq(ask(&COUNT, "%").fault, &FAULT_STORAGE_UNAVAILABLE);
	while (ups == 1) {
		test_postgres_ask(&other, cancel);
		turn_and_nap();
	}
	submit(&broken_off, &ADD, "broken off");
	while (!broken_off.times) {
		if (!strcmp(test_postgres_ask(&other, WAITING_COMMITS), "1"))
			test_postgres_ask(&other, cancel);
		turn_and_nap();
	}
	ck_assert_ptr_eq(broken_off.fault, &FAULT_STORAGE_UNKNOWN);
	ck_assert_int_eq(atoi(ask(&COUNT, "%").value), tries + 1);
	ck_assert_int_eq(downs, 1);
	test_postgres_end(&other);
}
END_TEST

START_TEST(server_goes_and_comes)
{
	struct heard heard;
	test_postgres_start(&other);
	test_postgres_ask(&other, SCHEMA);
	connect_to(other.url, 0);
	test_postgres_halt(&other, SIGQUIT);
	submit(&heard, &COUNT, "%");
	await(heard.times && downs == 1);
	ck_assert(heard.fault == &FAULT_STORAGE_UNAVAILABLE || heard.fault == &FAULT_STORAGE_UNKNOWN);
	ck_assert_ptr_eq(ask(&COUNT, "%").fault, &FAULT_STORAGE_UNAVAILABLE);
	test_postgres_resume(&other);
	await(ups == 2);
	ck_assert_ptr_null(ask(&COUNT, "%").fault);
	test_postgres_end(&other);
}
END_TEST

/* It keeps the connection and says nothing more, and another takes the writes by now: there we are soon, whatever was under way. */
START_TEST(frozen_server_is_left)
{
	struct heard lost;
	char url[160], port[16];
	test_postgres_start(&other);
	snprintf(url, sizeof url, "postgresql://keyfob@127.0.0.1:%d,127.0.0.1:%d/postgres", other.port, pg.port);
	snprintf(port, sizeof port, "%d", pg.port);
	test_postgres_ask(&other, SCHEMA);
	connect_to(url, 30000);
	int64_t began_ms = loop_monotonic_ms(loop);
	int session = atoi(ask(&SELF, NULL).value);
	kill(other.pid, SIGSTOP);
	kill(session, SIGSTOP);
	submit(&lost, &ADD, "lost");
	await(ups == 2);
	ck_assert_ptr_eq(lost.fault, &FAULT_STORAGE_UNKNOWN);
	ck_assert_int_eq(downs, 1);
	ck_assert_str_eq(ask(&SETTING, "port").value, port);
	ck_assert_int_lt(loop_monotonic_ms(loop) - began_ms, 10000);
	kill(session, SIGCONT);
	kill(other.pid, SIGCONT);
	test_postgres_end(&other);
}
END_TEST

START_TEST(the_host_that_takes_writes)
{
	char url[160], port[16];
	test_postgres_start(&other);
	test_postgres_ask(&other, SCHEMA);
	test_postgres_ask(&other, "alter system set default_transaction_read_only = on");
	test_postgres_ask(&other, "select pg_reload_conf()");
	while (strcmp(test_postgres_ask(&other, "show default_transaction_read_only"), "on") != 0)
		;
	snprintf(url, sizeof url, "postgresql://keyfob@127.0.0.1:%d,127.0.0.1:%d/postgres?target_session_attrs=any",
		other.port, pg.port);
	snprintf(port, sizeof port, "%d", pg.port);
	connect_to(url, 0);
	ck_assert_str_eq(ask(&SETTING, "port").value, port);
	test_postgres_end(&other);
}
END_TEST

void add_ways(Suite *suite)
{
	TCase *tc = case_new(suite, "ways");

	tcase_add_test(tc, killed_in_flight);
	tcase_add_test(tc, killed_while_idle);
	tcase_add_test(tc, schema_that_is_too_old);
	tcase_add_test(tc, commit_without_its_standby);
	tcase_add_test(tc, second_host_when_the_first_is_dead);
	tcase_add_test(tc, local_socket);
	tcase_add_test(tc, name_that_is_nobodys);
	tcase_add_test(tc, silent_host);
	tcase_add_test(tc, server_goes_and_comes);
	tcase_add_test(tc, frozen_server_is_left);
	tcase_add_test(tc, the_host_that_takes_writes);
}
