/* resync_test.c - when it is asked who is there, and by whom, on a virtual clock. */
#include "gateway/resync.h"

#include <check.h>
#include <stdlib.h>

#include "base/loop.h"
#include "base/mqtt/link.h"
#include "state/reachability.h"
#include "tests/suite.h"

static struct loop *loop;
static struct resync *resync;
static bool line_is_up;
static unsigned begun, asked;

/* The database has the question, when the test says so. */
static void (*answer)(void *owner, const char *text);
static void *answer_owner;

void reachability_resync_begin(struct reachability *r, void (*on_question)(void *owner, const char *text), void *owner)
{
	(void)r;
	begun++;
	answer = on_question;
	answer_owner = owner;
}

static bool is_link_up(void *owner)
{
	(void)owner;
	return line_is_up;
}

static int publish(void *owner, const struct mqtt_publish *m)
{
	(void)owner;
	ck_assert_str_eq(m->topic, "$aws/events/keyfob/resync");
	ck_assert_str_eq(m->payload, "who");
	ck_assert_uint_eq(m->len, 3);
	return (int)++asked;
}

static void set_up(void)
{
	loop = loop_new_virtual(0);
	loop_advance(loop, 60000);
	resync = resync_new(loop,
		&(struct resync_options){
			.prefix = "$aws/events", .namespace = "keyfob", .is_link_up = is_link_up, .publish = publish });
	begun = asked = 0;
	line_is_up = true;
}

static void tear_down(void)
{
	resync_stop(resync);
	free(resync);
	loop_free(loop);
}

static void assert_asks(bool session_present)
{
	unsigned begun_before = begun, asked_before = asked;

	resync_on_subscribed(resync, session_present);
	ck_assert_uint_eq(begun, begun_before + 1);
	answer(answer_owner, "who");
	ck_assert_uint_eq(asked, asked_before + 1);
}

START_TEST(who_reads_the_feed_asks)
{
	resync_on_lease(resync, true);
	assert_asks(true);
	ck_assert(resync_is_end(resync, &(struct mqtt_message){ .topic = "$aws/events/keyfob/resynced" }));
	ck_assert(!resync_is_end(resync, &(struct mqtt_message){ .topic = "$aws/events/keyfob/resync" }));
}
END_TEST

START_TEST(it_is_asked_when_the_link_is_up)
{
	line_is_up = false;
	resync_on_lease(resync, true);
	resync_on_subscribed(resync, true);
	ck_assert_uint_eq(begun, 0);
	line_is_up = true;
	resync_on_link_up(resync);
	ck_assert_uint_eq(begun, 1);
	resync_on_link_up(resync); /* once */
	ck_assert_uint_eq(begun, 1);
}
END_TEST

START_TEST(a_line_that_flaps_asks_every_ten_seconds)
{
	resync_on_lease(resync, true);
	assert_asks(true);
	for (int i = 0; i < 9; i++) {
		resync_on_subscribed(resync, true);
		loop_advance(loop, 1000);
	}
	ck_assert_uint_eq(begun, 1);
	loop_advance(loop, 1000);
	ck_assert_uint_eq(begun, 2);
	loop_advance(loop, 60000);
	ck_assert_uint_eq(begun, 2);
}
END_TEST

START_TEST(where_the_session_is_gone_it_is_asked_at_once)
{
	resync_on_lease(resync, true);
	assert_asks(true);
	assert_asks(false);
}
END_TEST

START_TEST(it_begins_again_where_database_or_broker_have_gone)
{
	resync_on_lease(resync, true);
	resync_on_subscribed(resync, true);
	answer(answer_owner, NULL);
	loop_advance(loop, 999);
	ck_assert_uint_eq(begun, 1);
	loop_advance(loop, 1);
	ck_assert_uint_eq(begun, 2);
	line_is_up = false;
	answer(answer_owner, "who");
	loop_advance(loop, 60000);
	ck_assert_uint_eq(begun, 2);
	line_is_up = true;
	resync_on_link_up(resync);
	ck_assert_uint_eq(begun, 3);
	ck_assert_uint_eq(asked, 0);
}
END_TEST

/* Another's question has a whole fleet named, and is answered to nobody. */
START_TEST(who_reads_the_feed_no_more_asks_no_more)
{
	resync_on_lease(resync, true);
	resync_on_subscribed(resync, true);
	resync_on_lease(resync, false);
	answer(answer_owner, "who"); /* of what was asked before */
	ck_assert_uint_eq(asked, 0);
	answer(answer_owner, NULL);
	loop_advance(loop, 60000);
	ck_assert_uint_eq(begun, 1);

	resync_on_lease(resync, true);
	assert_asks(false);
	resync_on_subscribed(resync, true); /* due in ten seconds */
	resync_on_lease(resync, false);
	loop_advance(loop, 60000);
	ck_assert_uint_eq(begun, 2);
}
END_TEST

/* The question, or the end of the answer, was lost. */
START_TEST(what_nobody_answers_is_asked_again_a_minute_later_three_times_in_all)
{
	resync_on_lease(resync, true);
	for (unsigned connection = 1; connection <= 2; connection++) {
		assert_asks(false);
		loop_advance(loop, 59999);
		ck_assert_uint_eq(begun, 3 * connection - 2);
		for (unsigned more = 1; more <= 2; more++) {
			loop_advance(loop, more == 1 ? 1 : 60000);
			ck_assert_uint_eq(begun, 3 * connection - 2 + more);
			answer(answer_owner, "who");
		}
		loop_advance(loop, 600000);
		ck_assert_uint_eq(asked, 3 * connection);
	}
}
END_TEST

START_TEST(what_is_answered_is_not_asked_again)
{
	resync_on_lease(resync, true);
	assert_asks(true);
	resync_on_answer(resync);
	loop_advance(loop, 600000);
	ck_assert_uint_eq(begun, 1);
}
END_TEST

/* The answer is of a connection before. */
START_TEST(what_a_new_connection_has_to_ask_is_asked_all_the_same)
{
	resync_on_lease(resync, true);
	assert_asks(true);
	resync_on_subscribed(resync, true); /* due in ten seconds */
	resync_on_answer(resync);
	loop_advance(loop, 10000);
	ck_assert_uint_eq(begun, 2);
	resync_on_subscribed(resync, true);
	answer(answer_owner, "who"); /* of what was asked before */
	resync_on_answer(resync);
	loop_advance(loop, 10000);
	ck_assert_uint_eq(begun, 3);
}
END_TEST

START_TEST(a_worker_that_ends_asks_no_more)
{
	resync_on_lease(resync, true);
	resync_on_subscribed(resync, true);
	resync_stop(resync);
	answer(answer_owner, "who");
	answer(answer_owner, NULL);
	resync_on_link_up(resync);
	loop_advance(loop, 60000);
	ck_assert_uint_eq(begun, 1);
	ck_assert_uint_eq(asked, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("gateway/resync");
	TCase *tc = tcase_create("resync");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, who_reads_the_feed_asks);
	tcase_add_test(tc, it_is_asked_when_the_link_is_up);
	tcase_add_test(tc, a_line_that_flaps_asks_every_ten_seconds);
	tcase_add_test(tc, where_the_session_is_gone_it_is_asked_at_once);
	tcase_add_test(tc, it_begins_again_where_database_or_broker_have_gone);
	tcase_add_test(tc, who_reads_the_feed_no_more_asks_no_more);
	tcase_add_test(tc, what_nobody_answers_is_asked_again_a_minute_later_three_times_in_all);
	tcase_add_test(tc, what_is_answered_is_not_asked_again);
	tcase_add_test(tc, what_a_new_connection_has_to_ask_is_asked_all_the_same);
	tcase_add_test(tc, a_worker_that_ends_asks_no_more);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
