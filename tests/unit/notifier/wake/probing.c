/* probing.c - the probe that goes before the SMS, and whom the broker may not know yet. */
#include "tests/unit/notifier/wake/ground.h"

START_TEST(probe_goes_first_and_counts_nowhere)
{
	begin();
	send_as(120, true, "never");
	until_submitted(1, 0);
	ck_assert_uint_eq(w.published, 1);
	ck_assert_str_eq(ask("select status || '/' || flight || ' ' || attempts from commands"), "waiting/none 0");
	ck_assert_str_eq(ask("select string_agg(s->>'step' || coalesce(' ' || (s->'detail'->>'probe'), ''), ',') from "
			     "commands, jsonb_array_elements(timeline) s"),
		"accepted,reachability,reachability,claimed true,published,puback");
}
END_TEST

START_TEST(who_was_there_all_along_gets_it)
{
	w.puback = 0;
	begin();
	send_command();
	send_command();
	until_answer("select phase from absences", "ready");
	ck_assert_str_eq(ask("select string_agg(status || '/' || flight, ' ' order by accepted_seq) from commands"),
		"waiting/out waiting/none");
	ck_assert_uint_eq(w.published, 1);
	comes(); /* its answer proves that it is there */
	until_answer("select count(*) from commands where status = 'sent'", "2");
	ck_assert_uint_eq(w.first.count, 0);
	ck_assert_str_eq(ask("select count(*) from wakeups"), "0");
	ck_assert_str_eq(ask("select count(*) from absences"), "0");
}
END_TEST

START_TEST(a_probe_that_nobody_answers_is_followed_by_the_sms)
{
	w.puback = 0;
	begin();
	send_command();
	until_answer("select phase from absences", "ready");
	ck_assert_uint_eq(w.first.count, 0);
	pass("2 seconds");
	until_submitted(1, 0);
	ck_assert_uint_eq(w.published, 1);
}
END_TEST

START_TEST(no_probe_where_the_broker_does_not_say_it)
{
	w.hears_nobody = false;
	begin();
	send_command();
	until_submitted(1, 0);
	ck_assert_uint_eq(w.published, 0);
}
END_TEST

/* The vehicle is believed to be there; what is published to it finds nobody. */
static void find_nobody(void)
{
	ask("update vehicle_heads set reachable = true, linked = true, subscribed = true, session = 's1'");
	w.puback = NOT_PUBACKED;
	send_command();
	until_answer("select flight from commands", "claimed");
	w.disproves = true;
	dispatch_on_puback(w.dispatch, w.mid, 0x10);
}

START_TEST(no_second_probe_after_a_publish_that_found_nobody)
{
	begin();
	find_nobody();
	until_submitted(1, 0);
	ck_assert_uint_eq(w.published, 1);
	w.puback = 0x10;
}
END_TEST

/* A broker that was restarted knows nobody yet. */
START_TEST(who_may_be_returning_is_not_woken_yet)
{
	begin();
	w.lost_ms = w.back_ms = 5000;
	find_nobody();
	until_answer("select status from commands", "waiting");
	ck_assert_str_eq(phase(), "ready");
	ck_assert_str_eq(ask("select round(extract(epoch from due_at - began_at)) from absences"), "55");
	touch();
	ck_assert_uint_eq(w.first.count, 0);
	ask("update absences set due_at = now()"); /* its time is over */
	until_submitted(1, 0);
	w.puback = 0x10;
}
END_TEST

/* The transaction that takes note of it may run long after the broker's return was looked up. */
START_TEST(who_is_not_there_in_the_moment_of_the_return_is_not_woken_yet)
{
	begin();
	w.lost_ms = 1;
	find_nobody();
	until_answer("select status from commands", "waiting");
	ck_assert_str_eq(ask("select due_at - began_at > interval '50 seconds' from absences"), "t");
	w.puback = 0x10;
}
END_TEST

START_TEST(who_went_after_the_broker_was_lost_is_probed_and_not_woken_yet)
{
	begin();
	w.lost_ms = 40000;
	w.back_ms = 30000;
	ask("update vehicle_heads set since = now() - interval '35 seconds'");
	send_command();
	until_answer("select phase from absences", "ready");
	ck_assert_uint_eq(w.published, 1);
	ck_assert_str_eq(ask("select due_at - began_at > interval '25 seconds' from absences"), "t");
	touch();
	ck_assert_uint_eq(w.first.count, 0);
}
END_TEST

START_TEST(who_slept_before_the_broker_was_lost_is_woken)
{
	begin();
	w.lost_ms = 6000;
	w.back_ms = 5000;
	ask("update vehicle_heads set since = now() - interval '7 seconds'");
	send_command();
	until_submitted(1, 0);
}
END_TEST

START_TEST(no_sms_without_a_broker)
{
	w.broker_is_up = false;
	begin();
	send_command();
	until_answer("select count(*) from timers where kind = 'offer'", "1");
	ck_assert_str_eq(phase(), "probe");
	ask("update absences set due_at = now()");
	touch();
	touch();
	ck_assert_uint_eq(w.first.count, 0);
	w.broker_is_up = true;
	touch(); /* the offer's timer does this */
	until_submitted(1, 0);
	ck_assert_uint_eq(w.published, 1);
}
END_TEST

void add_probing(Suite *suite)
{
	TCase *tc = case_new(suite, "probing");

	tcase_add_test(tc, probe_goes_first_and_counts_nowhere);
	tcase_add_test(tc, who_was_there_all_along_gets_it);
	tcase_add_test(tc, a_probe_that_nobody_answers_is_followed_by_the_sms);
	tcase_add_test(tc, no_probe_where_the_broker_does_not_say_it);
	tcase_add_test(tc, no_second_probe_after_a_publish_that_found_nobody);
	tcase_add_test(tc, who_may_be_returning_is_not_woken_yet);
	tcase_add_test(tc, who_is_not_there_in_the_moment_of_the_return_is_not_woken_yet);
	tcase_add_test(tc, who_went_after_the_broker_was_lost_is_probed_and_not_woken_yet);
	tcase_add_test(tc, who_slept_before_the_broker_was_lost_is_woken);
	tcase_add_test(tc, no_sms_without_a_broker);
}
