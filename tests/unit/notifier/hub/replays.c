/* replays.c - who resumes: what was missed comes in order, as fast as there is room for it, and ends with the right to it. */
#include "tests/unit/notifier/hub/ground.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

static void events(int count)
{
	char sql[128];
	snprintf(sql, sizeof(sql), "select event_add('CAR1', 'state.reported', '{}') from generate_series(1, %d)",
		count);
	ask(sql);
}

START_TEST(thousands_that_were_missed_come_in_order_and_live_ones_behind_them)
{
	events(3000);
	struct app *app = resume(0, "olga", NULL, 7, 0);

	ck_assert(app->recovered);
	happen(1, "CAR1");
	happen(0, "CAR1");
	until_seq(app, 3002);
	happen(1, "CAR1");
	until_seq(app, 3003);
	ck_assert(!app->subscriber.replaying);
	ck_assert(!app->ended);
}
END_TEST

/* More comes live than is kept for it: the rest is read again. */
START_TEST(slow_app_gets_its_replay_as_it_has_room)
{
	events(1200);
	struct app *app = resume(0, "olga", NULL, 0, 90);

	ck_assert(app->recovered);
	until_full(app);
	ck_assert_int_eq(app->last, 90);
	for (int i = 0; i < 300; i++)
		happen((size_t)i % WORKERS, "CAR1");
	ck_assert_int_eq(app->last, 90);
	while (app->last < 1500 - 90) {
		take_all(app);
		until_full(app);
	}
	take_all(app);
	until_seq(app, 1500);
	happen(1, "CAR1");
	until_seq(app, 1501);
}
END_TEST

static size_t allocated(void)
{
	struct mallinfo2 m = mallinfo2();
	return m.uordblks + m.hblkhd;
}

/* Of large events a page has few, and as little is kept of what comes live: they are as large as a command with its result. */
START_TEST(slow_app_keeps_no_more_of_large_events)
{
	ask("select event_add('CAR1', 'state.reported', json_build_object('x', repeat('x', 131072))) from "
	    "generate_series(1, 100)");
	static char large[131072] = "\"";
	memset(large + 1, 'x', sizeof(large) - 3);
	large[sizeof(large) - 2] = '"';
	size_t before = allocated();
	struct app *app = resume(0, "olga", NULL, 0, 1);

	ck_assert(app->recovered);
	until_full(app);
	write_events(1, "CAR1", "state.reported", large, NULL, 60);
	pump_until(all_quiet);
	ck_assert_uint_lt(allocated() - before, 4 << 20);
	while (app->last < 159) {
		take_all(app);
		until_full(app);
	}
	take_all(app);
	until_seq(app, 160);
	ck_assert_str_eq(ask("select count(*) from events_page('CAR1', 0, '-infinity', 500)"), "8");
	ck_assert_str_eq(ask("select count(*) from events_page('CAR1', 150, '-infinity', 3)"), "3");
}
END_TEST

START_TEST(epoch_counts_only_where_it_is_given)
{
	char epoch[80];

	events(3);
	snprintf(epoch, sizeof(epoch), "%s", ask("select history_epoch(false)"));
	ck_assert(resume(0, "olga", NULL, 1, 0)->recovered);
	ck_assert(resume(1, "olga", epoch, 1, 0)->recovered);
	ck_assert(!resume(2, "olga", "another", 1, 0)->recovered);
	ck_assert(!resume(3, "olga", NULL, 4, 0)->recovered);
	until_seq(&apps[0], 3);
	until_seq(&apps[1], 3);
}
END_TEST

START_TEST(log_that_is_shortened_below_a_replay_ends_it)
{
	events(1200);
	struct app *app = resume(0, "olga", NULL, 0, 90);

	ck_assert(app->recovered);
	until_full(app);
	ask("delete from events where seq <= 700");
	while (!app->ended) {
		take_all(app);
		uv_run(loop_uv(loop), UV_RUN_NOWAIT);
	}
	assert_seen(app, "end:overloaded");
	ck_assert_int_eq(app->last, 500);
}
END_TEST

START_TEST(grant_that_ends_amid_a_replay_ends_it)
{
	events(1200);
	struct app *app = resume(0, "dan", NULL, 0, 90);

	until_full(app);
	ask("delete from grants where subject = 'dan'");
	make(1, "CAR1", "access.changed", "{\"subject\":\"dan\",\"role\":null,\"expires_at\":null}", NULL);
	until_seen(app, "end:");
	assert_seen(app, "end:forbidden");
	ck_assert_int_eq(app->last, 90);
}
END_TEST

void add_replays(Suite *suite)
{
	TCase *tc = case_new(suite, "replays");

	tcase_add_test(tc, thousands_that_were_missed_come_in_order_and_live_ones_behind_them);
	tcase_add_test(tc, slow_app_gets_its_replay_as_it_has_room);
	tcase_add_test(tc, slow_app_keeps_no_more_of_large_events);
	tcase_add_test(tc, epoch_counts_only_where_it_is_given);
	tcase_add_test(tc, log_that_is_shortened_below_a_replay_ends_it);
	tcase_add_test(tc, grant_that_ends_amid_a_replay_ends_it);
}
