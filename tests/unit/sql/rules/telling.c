/* telling.c - durable before told: nobody hears of what a crash could undo. */
#include "tests/unit/sql/workers.h"

#include <stdlib.h>

START_TEST(nothing_is_told_before_the_commit)
{
	struct accept a;

	ask("update vehicle_heads set reachable = true, session = 's1', subscribed = true, since = now() where "
	    "vehicle_id = '" CAR "'");
	watch(1);
	pump_until(is_ready);
	int64_t seq = app.seq;
	stop_commits();
	submit(0, &a, CAR, NULL);
	wait_for_a_commit();
	let_everything_be_heard();
	ck_assert_uint_eq(done, 0);
	ck_assert_uint_eq(workers[0].published + workers[1].published, 0);
	ck_assert_uint_eq(workers[0].forwarded, 0);
	ck_assert_int_eq(app.seq, seq);
	ck_assert_str_eq(ask("select count(*) from commands"), "0");
	let_commit();
	wait_for_done(1);
	ck_assert_ptr_null(faults[0]);
	pump_until(one_published);
	wait_for_the_head();
	ck_assert_int_gt(app.seq, seq);
	free(a.command);
}
END_TEST

/* The same where the app sits at the worker that writes: without a hop there is no broker to be slower than the commit. */
START_TEST(own_subscribers_wait_for_the_commit)
{
	struct accept a;
	struct receipt receipt;

	watch(0);
	pump_until(is_ready);
	int64_t seq = app.seq;
	stop_commits();
	hear_subscribed(0, CAR, &receipt);
	wait_for_a_commit();
	submit(0, &a, CAR, NULL); /* gathers while the first is in flight */
	let_everything_be_heard();
	ck_assert(!is_settled());
	ck_assert_uint_eq(done, 0);
	ck_assert_int_eq(app.seq, seq);
	let_commit();
	pump_until(is_settled);
	wait_for_done(1);
	pump_until(one_published);
	wait_for_the_head();
	free(a.command);
}
END_TEST

void add_telling(Suite *suite)
{
	TCase *tc = case_new(suite, "durable before told");

	tcase_add_test(tc, nothing_is_told_before_the_commit);
	tcase_add_test(tc, own_subscribers_wait_for_the_commit);
}
