/* waiting.c - answers that do not come in time, silence, and the end that waits for them. */
#include "tests/unit/sql/db/ground.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* Sessions that a witness made. */
#define WITNESSES                                                                                                      \
	"select count(*) from pg_stat_activity where query like 'select exists (select from pg_stat_get_activity%'"

START_TEST(no_answer_in_time)
{
	struct heard stuck[10], behind, after;
	connect_to(pg.url, 300);
	hold_lock();
	submit(&stuck[0], &WAIT, "42");
	for (int i = 1; i < 10; i++)
		submit(&stuck[i], &COUNT, "%");
	await(stuck[9].times);
	for (int i = 0; i < 10; i++)
		ck_assert_ptr_eq(stuck[i].fault, i < 8 ? &FAULT_STORAGE_UNKNOWN : &FAULT_STORAGE_UNAVAILABLE);
	ck_assert_uint_eq(db_in_flight(db), 0);
	/* Behind what is stuck nothing is taken, and that is said at once; when it moves, so does all. */
	ck_assert_int_eq(downs, 1);
	behind = ask(&COUNT, "%");
	ck_assert_ptr_eq(behind.fault, &FAULT_STORAGE_UNAVAILABLE);
	release_lock();
	await(ups == 2);
	submit(&after, &COUNT, "%");
	await(after.times);
	ck_assert_ptr_null(after.fault);
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(stuck[i].times, 1);
	ck_assert_int_eq(downs, 1);
}
END_TEST

/* A second without a word is silence, however long its units may take; the witness finds our session there, and we stay. */
START_TEST(silence_is_told_and_ends)
{
	struct heard stuck, self;
	connect_to(pg.url, 20000);
	self = ask(&SELF, NULL);
	hold_lock();
	submit(&stuck, &WAIT, "42");
	await(silences == 1);
	ck_assert(db_is_silent(db) && db_is_up(db));
	/* Until the witness has come, seen, and gone. */
	while (!strcmp(test_postgres_ask(&pg, WITNESSES), "0"))
		turn_and_nap();
	while (strcmp(test_postgres_ask(&pg, WITNESSES), "0") != 0)
		turn_and_nap();
	release_lock();
	await(stuck.times);
	ck_assert_ptr_null(stuck.fault);
	ck_assert_int_eq(silences, 2);
	ck_assert(!db_is_silent(db));
	ck_assert_str_eq(ask(&SELF, NULL).value, self.value);
	ck_assert_int_eq(downs, 0);
}
END_TEST

/* What the server says to us is read here, and so gets lost. */
static bool steal_answer(void)
{
	char bytes[4096];
	bool stolen = false;
	for (int fd = 3; fd < 256; fd++) {
		struct sockaddr_in peer;
		socklen_t size = sizeof peer;
		if (getpeername(fd, (struct sockaddr *)&peer, &size) < 0 || peer.sin_family != AF_INET ||
			ntohs(peer.sin_port) != pg.port)
			continue;
		while (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
			stolen = true;
	}
	return stolen;
}

START_TEST(a_lost_answer_is_not_waited_for)
{
	struct heard lost;
	char has_answered[128];
	connect_to(pg.url, 20000);
	snprintf(has_answered, sizeof has_answered, "select state like 'idle%%' from pg_stat_activity where pid = %s",
		ask(&SELF, NULL).value);
	hold_lock();
	submit(&lost, &WAIT, "42");
	await(silences == 1);
	/* from here on nothing is read but by steal_answer() */
	test_postgres_ask(
		&pg, "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted");
	while (strcmp(test_postgres_ask(&pg, has_answered), "t") != 0)
		continue;
	ck_assert(steal_answer());
	await(lost.times);
	ck_assert_ptr_eq(lost.fault, &FAULT_STORAGE_UNKNOWN);
	await(ups == 2);
	ck_assert_ptr_null(ask(&SELF, NULL).fault);
	ck_assert_int_eq(downs, 1);
	close_locker();
}
END_TEST

START_TEST(closing_waits_for_answers)
{
	struct heard stuck, waiting[10];
	connect_to(pg.url, 300);
	hold_lock();
	submit(&stuck, &WAIT, "42");
	for (int i = 0; i < 10; i++)
		submit(&waiting[i], &COUNT, "%");
	db_close(db, on_closed);
	struct heard late;
	submit(&late, &COUNT, "%");
	await(closes == 1);
	ck_assert_ptr_eq(late.fault, &FAULT_STORAGE_UNAVAILABLE);
	ck_assert_ptr_eq(stuck.fault, &FAULT_STORAGE_UNKNOWN);
	ck_assert_ptr_eq(waiting[9].fault, &FAULT_STORAGE_UNAVAILABLE);
	ck_assert_int_eq(downs, 0);
	closes = 0;
	db = NULL;
	release_lock();
}
END_TEST

START_TEST(closing_at_any_moment)
{
	db = link_to(pg.url, 0, 10);
	db_close(db, on_closed);
	await(closes == 1);
	/* While connecting, after every number of turns until it is up. */
	for (int turns = 0; !ups; turns++) {
		closes = 0;
		db = link_to(pg.url, 0, 10);
		db_start(db);
		for (int i = 0; i < turns; i++)
			uv_run(loop_uv(loop), UV_RUN_ONCE);
		db_close(db, on_closed);
		ck_assert_int_eq(closes, 0);
		await(closes == 1);
	}
	db = NULL;
}
END_TEST

void add_waiting(Suite *suite)
{
	TCase *tc = case_new(suite, "waiting");

	tcase_add_test(tc, no_answer_in_time);
	tcase_add_test(tc, silence_is_told_and_ends);
	tcase_add_test(tc, a_lost_answer_is_not_waited_for);
	tcase_add_test(tc, closing_waits_for_answers);
	tcase_add_test(tc, closing_at_any_moment);
}
