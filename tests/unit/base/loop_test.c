/* loop_test.c - timers, deferred calls and clocks, on the virtual and on the real loop. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/loop.h"
#include "tests/suite.h"

#define BEGAN_US INT64_C(1769846950123456)

static struct loop *loop;
static char story[256]; /* what ran, in order */

static void tell(char what)
{
	size_t len = strlen(story);
	ck_assert_uint_lt(len + 1, sizeof story);
	story[len] = what;
}

struct alarm_clock {
	struct loop_timer timer;
	char name;
	int64_t rang_ms;
};

struct chore {
	struct loop_soon soon;
	char name;
};

static void on_due(struct loop_timer *timer)
{
	struct alarm_clock *clock = container_of(timer, struct alarm_clock, timer);
	clock->rang_ms = loop_monotonic_ms(timer->loop);
	tell(clock->name);
}

static void run_chore(struct loop_soon *soon)
{
	tell(container_of(soon, struct chore, soon)->name);
}

static struct alarm_clock clock_named(char name)
{
	struct alarm_clock clock = { .name = name };
	loop_timer_init(loop, &clock.timer, on_due);
	return clock;
}

static void set_up_virtual(void)
{
	memset(story, 0, sizeof story);
	loop = loop_new_virtual(BEGAN_US);
}

static void set_up_real(void)
{
	memset(story, 0, sizeof story);
	loop = loop_new();
}

static void tear_down(void)
{
	loop_free(loop);
}

/* virtual */

START_TEST(runs_timers_in_the_order_of_their_due_times)
{
	struct alarm_clock a = clock_named('a'), b = clock_named('b'), c = clock_named('c');
	loop_timer_start(&a.timer, 30);
	loop_timer_start(&b.timer, 10);
	loop_timer_start(&c.timer, 30);
	loop_advance(loop, 9);
	ck_assert_str_eq(story, "");
	loop_advance(loop, 1);
	ck_assert_str_eq(story, "b");
	loop_advance(loop, 100);
	ck_assert_str_eq(story, "bac");
	ck_assert_int_eq(a.rang_ms, 30);
	ck_assert_int_eq(loop_monotonic_ms(loop), 110);
}
END_TEST

START_TEST(moves_a_started_timer)
{
	struct alarm_clock a = clock_named('a'), b = clock_named('b');
	loop_timer_start(&a.timer, 10);
	loop_timer_start(&b.timer, 20);
	loop_timer_start(&a.timer, 40);
	loop_advance(loop, 30);
	ck_assert_str_eq(story, "b");
	loop_timer_start(&a.timer, -5);
	loop_advance(loop, 0);
	ck_assert_str_eq(story, "ba");
	ck_assert(!loop_timer_is_started(&a.timer));
}
END_TEST

START_TEST(never_runs_a_stopped_timer)
{
	struct alarm_clock a = clock_named('a');
	loop_timer_start(&a.timer, 10);
	ck_assert(loop_timer_is_started(&a.timer));
	loop_timer_stop(&a.timer);
	loop_timer_stop(&a.timer);
	loop_advance(loop, 100);
	ck_assert_str_eq(story, "");
}
END_TEST

static void on_due_restart(struct loop_timer *timer)
{
	tell('r');
	loop_timer_start(timer, 10);
}

START_TEST(lets_a_timer_start_itself_again)
{
	struct loop_timer timer;
	loop_timer_init(loop, &timer, on_due_restart);
	loop_timer_start(&timer, 10);
	loop_advance(loop, 35);
	ck_assert_str_eq(story, "rrr");
	loop_timer_stop(&timer);
}
END_TEST

static struct chore washing = { .name = 'w' };

static void on_due_ask(struct loop_timer *timer)
{
	tell('(');
	loop_soon_call(timer->loop, &washing.soon);
	loop_soon_call(timer->loop, &washing.soon);
	tell(')');
}

START_TEST(defers_a_call_until_the_asking_one_is_over)
{
	struct loop_timer timer;
	struct alarm_clock after = clock_named('z');
	loop_soon_init(&washing.soon, run_chore);
	loop_timer_init(loop, &timer, on_due_ask);
	loop_timer_start(&timer, 10);
	loop_timer_start(&after.timer, 10);
	loop_advance(loop, 10);
	ck_assert_str_eq(story, "()wz");
}
END_TEST

static void run_ask(struct loop_soon *soon)
{
	run_chore(soon);
	loop_soon_call(loop, &washing.soon);
}

static struct chore gathering = { .name = 'l' }, asking = { .name = 'a' };

static void ask_for_a_last_call(void)
{
	loop_soon_init(&washing.soon, run_chore);
	loop_soon_init(&gathering.soon, run_chore);
	loop_soon_init(&asking.soon, run_ask);
	loop_last_call(loop, &gathering.soon);
	loop_last_call(loop, &gathering.soon);
	loop_soon_call(loop, &asking.soon);
}

START_TEST(runs_a_last_call_behind_all_others_of_the_turn)
{
	ask_for_a_last_call();
	ck_assert_int_eq(loop_next_ms(loop), 0);
	loop_advance(loop, 0);
	ck_assert_str_eq(story, "awl");
	ask_for_a_last_call();
	loop_soon_cancel(&gathering.soon);
	loop_advance(loop, 0);
	ck_assert_str_eq(story, "awlaw");
}
END_TEST

static struct chore ironing = { .name = 'i' };

static void run_cancel(struct loop_soon *soon)
{
	run_chore(soon);
	loop_soon_cancel(&ironing.soon);
}

START_TEST(never_runs_a_cancelled_call)
{
	struct chore first = { .name = 'f' };
	loop_soon_init(&first.soon, run_cancel);
	loop_soon_init(&ironing.soon, run_chore);
	loop_soon_call(loop, &first.soon);
	loop_soon_call(loop, &ironing.soon);
	loop_advance(loop, 0);
	ck_assert_str_eq(story, "f");
}
END_TEST

START_TEST(jumps_the_wall_clock_alone)
{
	loop_advance(loop, 2);
	ck_assert_int_eq(loop_unix_us(loop), BEGAN_US + 2000);
	loop_jump_wall_clock(loop, -3600000000);
	ck_assert_int_eq(loop_unix_us(loop), BEGAN_US + 2000 - 3600000000);
	ck_assert_int_eq(loop_monotonic_us(loop), 2000);
	ck_assert_ptr_null(loop_uv(loop));
}
END_TEST

START_TEST(stands_still_while_time_passes)
{
	struct alarm_clock a = clock_named('a');
	struct chore chore = { .name = 'c' };
	ck_assert_int_eq(loop_next_ms(loop), INT64_MAX);
	loop_timer_start(&a.timer, 30);
	ck_assert_int_eq(loop_next_ms(loop), 30);
	loop_stall(loop, 100);
	ck_assert_str_eq(story, "");
	ck_assert_int_eq(loop_next_ms(loop), 0);
	ck_assert_int_eq(loop_unix_us(loop), BEGAN_US + 100000);
	loop_advance(loop, 1);
	ck_assert_str_eq(story, "a");
	ck_assert_int_eq(a.rang_ms, 100);
	loop_soon_init(&chore.soon, run_chore);
	loop_soon_call(loop, &chore.soon);
	ck_assert_int_eq(loop_next_ms(loop), 0);
	loop_advance(loop, 0);
	ck_assert_str_eq(story, "ac");
}
END_TEST

START_TEST(knows_when_it_has_stood_still)
{
	struct alarm_clock a = clock_named('a'), b = clock_named('b');

	loop_stall(loop, 5000);
	ck_assert_int_eq(loop_stood_still_ms(loop), 0); /* nothing was due */
	loop_timer_start(&a.timer, 100);
	loop_timer_start(&b.timer, 1000);
	loop_stall(loop, 1099);
	ck_assert_int_eq(loop_stood_still_ms(loop), 0);
	loop_stall(loop, 1);
	ck_assert_int_eq(loop_stood_still_ms(loop), 6100);
	loop_stall(loop, 1);
	ck_assert_int_eq(loop_stood_still_ms(loop), 6101);
	loop_advance(loop, 3000);
	ck_assert_str_eq(story, "ab");
	ck_assert_int_eq(loop_stood_still_ms(loop), 6101);
}
END_TEST

START_TEST(forgets_what_is_asked_for_when_it_is_freed)
{
	struct loop *short_lived = loop_new_virtual(0);
	struct loop_timer timer;
	struct chore chore = { .name = 'c' };
	loop_timer_init(short_lived, &timer, on_due);
	loop_timer_start(&timer, 10);
	loop_soon_init(&chore.soon, run_chore);
	loop_soon_call(short_lived, &chore.soon);
	loop_free(short_lived);
	ck_assert(!loop_timer_is_started(&timer));
	loop_timer_stop(&timer);
	loop_soon_cancel(&chore.soon);
	loop_free(NULL);
}
END_TEST

/* Many timers, started, moved and stopped at random, against the simplest model. */

#define MANY 400

static struct alarm_clock many[MANY];
static int64_t model_due_ms[MANY]; /* -1: stopped */

static void shuffle(int steps)
{
	for (int step = 0; step < steps; step++) {
		int i = rand() % MANY, delay_ms = rand() % 1000;
		loop_timer_start(&many[i].timer, delay_ms);
		model_due_ms[i] = loop_monotonic_ms(loop) + delay_ms;
		if (rand() % 4 != 0)
			continue;
		loop_timer_stop(&many[i].timer);
		model_due_ms[i] = -1;
	}
}

static void on_due_quietly(struct loop_timer *timer)
{
	container_of(timer, struct alarm_clock, timer)->rang_ms = loop_monotonic_ms(timer->loop);
}

static void check_against_model(int64_t now_ms)
{
	for (int i = 0; i < MANY; i++) {
		bool should_be_started = model_due_ms[i] > now_ms;
		ck_assert_int_eq(loop_timer_is_started(&many[i].timer), should_be_started);
		if (model_due_ms[i] >= 0 && !should_be_started)
			ck_assert_int_eq(many[i].rang_ms, model_due_ms[i]);
	}
}

START_TEST(agrees_with_the_simplest_model)
{
	unsigned seed = (unsigned)_i * 7919 + 1;
	printf("seed %u\n", seed);
	srand(seed);
	for (int i = 0; i < MANY; i++) {
		loop_timer_init(loop, &many[i].timer, on_due_quietly);
		model_due_ms[i] = -1;
	}
	for (int round = 0; round < 40; round++) {
		shuffle(100);
		loop_advance(loop, rand() % 200);
		check_against_model(loop_monotonic_ms(loop));
	}
}
END_TEST

/* real */

static void on_due_stop(struct loop_timer *timer)
{
	on_due(timer);
	loop_stop(timer->loop);
}

START_TEST(is_never_early)
{
	struct alarm_clock a = clock_named('a'), b = clock_named('b');
	int64_t began_us = loop_monotonic_us(loop);
	loop_timer_init(loop, &b.timer, on_due_stop);
	loop_timer_start(&b.timer, 12);
	loop_timer_start(&a.timer, 3);
	loop_run(loop);
	ck_assert_str_eq(story, "ab");
	ck_assert_int_ge(a.rang_ms * 1000, began_us + 3000);
	ck_assert_int_ge(b.rang_ms * 1000, began_us + 12000);
}
END_TEST

START_TEST(rings_for_the_next_timer_when_the_first_was_stopped)
{
	struct alarm_clock a = clock_named('a'), b = clock_named('b');
	loop_timer_init(loop, &b.timer, on_due_stop);
	loop_timer_start(&a.timer, 1);
	loop_timer_start(&b.timer, 5);
	loop_timer_stop(&a.timer);
	loop_run(loop);
	ck_assert_str_eq(story, "b");
}
END_TEST

static void run_stop(struct loop_soon *soon)
{
	run_chore(soon);
	loop_stop(loop);
}

static void run_last_and_stop(struct loop_soon *soon)
{
	run_chore(soon);
	loop_stop(loop);
}

START_TEST(runs_a_last_call_before_it_blocks)
{
	ask_for_a_last_call();
	loop_soon_cancel(&gathering.soon);
	loop_soon_init(&gathering.soon, run_last_and_stop);
	loop_last_call(loop, &gathering.soon);
	loop_run(loop);
	ck_assert_str_eq(story, "awl");
}
END_TEST

static void run_again(struct loop_soon *soon)
{
	run_chore(soon);
	if (strlen(story) < 20)
		loop_soon_call(loop, soon);
}

/* Nobody may keep the last calls, or the sockets, waiting for ever. */
START_TEST(runs_a_last_call_after_a_few_rounds_of_others)
{
	struct chore restless = { .name = 'r' };
	loop_soon_init(&restless.soon, run_again);
	loop_soon_init(&gathering.soon, run_last_and_stop);
	loop_soon_call(loop, &restless.soon);
	loop_last_call(loop, &gathering.soon);
	loop_run(loop);
	ck_assert_ptr_nonnull(strchr(story, 'l'));
	ck_assert_str_ne(strchr(story, 'l'), "l");
}
END_TEST

START_TEST(runs_a_deferred_call_before_it_blocks)
{
	struct chore chore = { .name = 'c' };
	loop_soon_init(&chore.soon, run_stop);
	loop_soon_call(loop, &chore.soon);
	loop_run(loop); /* nothing else would ever wake it */
	ck_assert_str_eq(story, "c");
}
END_TEST

static void on_due_at_once_again(struct loop_timer *timer)
{
	loop_timer_start(timer, 0);
}

START_TEST(is_not_starved_by_a_timer_that_is_always_due)
{
	struct loop_timer busy;
	struct chore chore = { .name = 'c' };
	loop_timer_init(loop, &busy, on_due_at_once_again);
	loop_timer_start(&busy, 0);
	loop_soon_init(&chore.soon, run_stop);
	loop_soon_call(loop, &chore.soon);
	loop_run(loop);
	ck_assert_str_eq(story, "c");
	loop_timer_stop(&busy);
}
END_TEST

static void on_closed(uv_handle_t *handle)
{
	tell('x');
	loop_soon_call(loop, handle->data);
}

static void on_due_close(struct loop_timer *timer)
{
	(void)timer;
	tell('d');
	uv_close((uv_handle_t *)loop_uv(loop)->data, on_closed);
}

static void on_connection(uv_stream_t *stream, int status)
{
	(void)stream;
	ck_abort_msg("nobody connects, but status %d came", status);
}

START_TEST(hears_the_last_handle_after_the_stop)
{
	uv_tcp_t listener;
	struct sockaddr_in anywhere;
	struct loop_timer timer;
	struct chore last = { .name = 'l' };
	uv_ip4_addr("127.0.0.1", 0, &anywhere);
	uv_tcp_init(loop_uv(loop), &listener);
	ck_assert_int_eq(uv_tcp_bind(&listener, (const struct sockaddr *)&anywhere, 0), 0);
	ck_assert_int_eq(uv_listen((uv_stream_t *)&listener, 1, on_connection), 0);
	loop_uv(loop)->data = &listener;
	listener.data = &last.soon;
	loop_soon_init(&last.soon, run_chore);
	loop_timer_init(loop, &timer, on_due_close);
	loop_timer_start(&timer, 2);
	loop_stop(loop);
	loop_run(loop);
	ck_assert_str_eq(story, "dxl");
}
END_TEST

static void *stop_from_elsewhere(void *argument)
{
	loop_stop(argument);
	return NULL;
}

START_TEST(is_stopped_by_another_thread_and_runs_again)
{
	for (int i = 0; i < 3; i++) {
		pthread_t thread;
		ck_assert_int_eq(pthread_create(&thread, NULL, stop_from_elsewhere, loop), 0);
		loop_run(loop);
		pthread_join(thread, NULL);
	}
}
END_TEST

START_TEST(does_not_wait_for_timers_once_stopped)
{
	struct alarm_clock late = clock_named('l');
	loop_timer_start(&late.timer, INT64_MAX);
	loop_stop(loop);
	loop_run(loop);
	ck_assert_str_eq(story, "");
	ck_assert(loop_timer_is_started(&late.timer));
	loop_timer_stop(&late.timer);
}
END_TEST

static TCase *virtual_tests(void)
{
	TCase *tests = tcase_create("virtual");
	tcase_add_checked_fixture(tests, set_up_virtual, tear_down);
	tcase_add_test(tests, runs_timers_in_the_order_of_their_due_times);
	tcase_add_test(tests, moves_a_started_timer);
	tcase_add_test(tests, never_runs_a_stopped_timer);
	tcase_add_test(tests, lets_a_timer_start_itself_again);
	tcase_add_test(tests, defers_a_call_until_the_asking_one_is_over);
	tcase_add_test(tests, runs_a_last_call_behind_all_others_of_the_turn);
	tcase_add_test(tests, never_runs_a_cancelled_call);
	tcase_add_test(tests, jumps_the_wall_clock_alone);
	tcase_add_test(tests, stands_still_while_time_passes);
	tcase_add_test(tests, knows_when_it_has_stood_still);
	tcase_add_test(tests, forgets_what_is_asked_for_when_it_is_freed);
	tcase_add_loop_test(tests, agrees_with_the_simplest_model, 0, 8);
	return tests;
}

static TCase *real_tests(void)
{
	TCase *tests = tcase_create("real");
	tcase_add_checked_fixture(tests, set_up_real, tear_down);
	tcase_add_test(tests, is_never_early);
	tcase_add_test(tests, rings_for_the_next_timer_when_the_first_was_stopped);
	tcase_add_test(tests, runs_a_deferred_call_before_it_blocks);
	tcase_add_test(tests, runs_a_last_call_before_it_blocks);
	tcase_add_test(tests, runs_a_last_call_after_a_few_rounds_of_others);
	tcase_add_test(tests, is_not_starved_by_a_timer_that_is_always_due);
	tcase_add_test(tests, hears_the_last_handle_after_the_stop);
	tcase_add_test(tests, is_stopped_by_another_thread_and_runs_again);
	tcase_add_test(tests, does_not_wait_for_timers_once_stopped);
	return tests;
}

int main(void)
{
	Suite *suite = suite_create("loop");
	suite_add_tcase(suite, virtual_tests());
	suite_add_tcase(suite, real_tests());
	return suite_run(suite);
}
