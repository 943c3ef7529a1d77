/* slots.c - the slot that is spent before the SMS, and how it ends: nobody knows, too late, or the vehicle answers. */
#include "tests/unit/notifier/wake/ground.h"

#include <signal.h>

START_TEST(unknown_counts_as_sent)
{
	begin();
	send_command();
	until_submitted(1, 0);
	tell(&w.first, SMS_UNKNOWN, NULL, "NO_ANSWER");
	until_answer("select phase || attempt from absences", "ready1");
	ck_assert_str_eq(statuses(), "first:submitted:1:NO_ANSWER");
	ck_assert_uint_eq(w.second.count, 0);
}
END_TEST

START_TEST(the_slot_is_spent_before_the_submit_and_a_crash_counts_as_sent)
{
	begin();
	send_command();
	until_submitted(1, 0); /* the row was committed before the provider saw it; its worker is dead from here on */
	ck_assert_str_eq(statuses(), "first:spent:1");
	ck_assert_str_eq(ask("select due_at between now() + interval '20 seconds' and now() + interval '30 seconds' "
			     "from absences"),
		"t");
	ask("update absences set due_at = now()");
	until_answer("select phase || attempt from absences", "ready1");
	ck_assert_str_eq(statuses(), "first:submitted:1:UNKNOWN");
	ck_assert_str_eq(ask("select due_at > now() + interval '20 seconds' from absences"),
		"t"); /* no second SMS in that window */
	ck_assert_uint_eq(w.second.count, 0);
	/* it was not dead after all: what it says changes nothing, but receipts are found by it */
	tell(&w.first, SMS_TAKEN, "m1", NULL);
	until_answer("select message_id from wakeups", "m1");
	ck_assert_str_eq(ask("select phase || attempt from absences"), "ready1");
	ck_assert_ptr_null(receive("m1", true, NULL));
	ck_assert_str_eq(ask("select status from wakeups"), "delivered");
}
END_TEST

START_TEST(a_worker_that_was_frozen_does_not_submit)
{
	begin();
	w.freezes = true;
	send_command();
	until_submitted(0, 1);
	ck_assert_str_eq(statuses(), "first:failed:1:LATE second:spent:1");
}
END_TEST

START_TEST(nothing_goes_out_after_the_last_expiry)
{
	w.broker_is_up = false;
	begin();
	send_command();
	send_as(120, false, "on_reconnect"); /* has longer to live, but does not want it woken */
	ask("update commands set expires_at = now() + interval '900 milliseconds' where wake; update absences set "
	    "phase = 'ready', due_at = now()");
	w.broker_is_up = true;
	until_answer("select phase || coalesce(due_at::text, ' idle') from absences", "ready idle");
	ck_assert_uint_eq(w.first.count, 0);
	ck_assert_str_eq(ask("select count(*) from wakeups"), "0");
}
END_TEST

START_TEST(what_is_cancelled_wakes_nobody)
{
	begin();
	w.broker_is_up = false;
	send_command();
	ask("update commands set status = 'canceled', finished_at = now(), due_at = null");
	w.broker_is_up = true;
	ask("update absences set phase = 'ready', due_at = now()");
	until_answer("select due_at is null from absences", "t");
	ck_assert_uint_eq(w.first.count, 0);
}
END_TEST

START_TEST(the_vehicle_answers)
{
	begin();
	send_command();
	until_submitted(1, 0);
	tell(&w.first, SMS_TAKEN, "m1", NULL);
	until_answer("select status from wakeups", "submitted");
	w.puback = 0;
	comes();
	until_answer("select status from commands", "sent");
	ck_assert_str_eq(statuses(), "first:answered:1");
	ck_assert_str_eq(ask("select count(*) from absences"), "0");
	ck_assert_str_eq(ask("select string_agg(data->>'status', ' ' order by seq) from events"),
		"accepted waiting submitted answered sent");
	ck_assert_str_eq(ask("select string_agg(s->>'step', ' ') from commands, jsonb_array_elements(timeline) s"),
		"accepted reachability reachability claimed published puback wakeup wakeup claimed published puback");
	ck_assert_ptr_null(receive("m1", true, NULL));
	ck_assert_str_eq(statuses(), "first:answered:1");
}
END_TEST

START_TEST(what_may_have_reached_it_is_answered)
{
	begin();
	send_command();
	until_submitted(1, 0);
	tell(&w.first, SMS_TAKEN, "m1", NULL);
	until_answer("select phase from absences", "receipt");
	ask("update absences set due_at = now()"); /* no receipt */
	until_submitted(1, 1);
	tell(&w.second, SMS_REFUSED, NULL, "INVALID_ADDRESS");
	until_answer("select phase from absences", "ready");
	w.puback = 0;
	comes();
	ck_assert_str_eq(statuses(), "first:answered:1 second:failed:1:INVALID_ADDRESS");
}
END_TEST

START_TEST(it_answers_before_the_provider_does)
{
	begin();
	send_command();
	until_submitted(1, 0);
	w.puback = 0;
	comes();
	until_answer("select status from commands", "sent");
	tell(&w.first, SMS_TAKEN, "m1", NULL);
	until_answer("select message_id from wakeups", "m1");
	ck_assert_str_eq(statuses(), "first:answered:1");
	ck_assert_str_eq(
		ask("select string_agg(data->>'status', ' ' order by seq) from events where type = 'wakeup.updated'"),
		"submitted answered");
}
END_TEST

static bool is_lost(void)
{
	return !db_is_up(w.writer) && !db_is_up(w.reader);
}

static bool is_back(void)
{
	return db_is_up(w.writer) && db_is_up(w.reader);
}

START_TEST(what_the_provider_said_outlives_a_crash_of_the_database)
{
	begin();
	send_command();
	until_submitted(1, 0);
	test_postgres_halt(&postgres, SIGQUIT);
	pump_until(is_lost);
	tell(&w.first, SMS_TAKEN, "m1", NULL);
	test_postgres_resume(&postgres);
	pump_until(is_back);
	until_answer("select status || message_id from wakeups", "submittedm1");
	ck_assert_str_eq(phase(), "receipt");
	ck_assert_uint_eq(w.first.count, 1);
	ck_assert_uint_eq(w.second.count, 0);
}
END_TEST

void add_slots(Suite *suite)
{
	TCase *tc = case_new(suite, "slots");

	tcase_add_test(tc, unknown_counts_as_sent);
	tcase_add_test(tc, the_slot_is_spent_before_the_submit_and_a_crash_counts_as_sent);
	tcase_add_test(tc, a_worker_that_was_frozen_does_not_submit);
	tcase_add_test(tc, nothing_goes_out_after_the_last_expiry);
	tcase_add_test(tc, what_is_cancelled_wakes_nobody);
	tcase_add_test(tc, the_vehicle_answers);
	tcase_add_test(tc, what_may_have_reached_it_is_answered);
	tcase_add_test(tc, it_answers_before_the_provider_does);
	tcase_add_test(tc, what_the_provider_said_outlives_a_crash_of_the_database);
}
