/* trying.c - when it is tried again, and by whom: intervals, attempts, the budget, the next provider. */
#include "tests/unit/notifier/wake/ground.h"

static void take_and_pass(size_t n, const char *interval)
{
	until_submitted(n, 0);
	tell(&w.first, SMS_TAKEN, NULL, NULL); /* without a name no receipt is awaited */
	until_answer("select phase from absences", "ready");
	pass(interval);
}

START_TEST(gaps_grow_and_attempts_end)
{
	begin();
	send_as(3600, true, "on_reconnect");
	take_and_pass(1, "0 seconds");
	ck_assert_str_eq(ask("select due_at - spent_at from absences"), "00:00:30");
	pass("30 seconds");
	take_and_pass(2, "30 seconds");
	ck_assert_str_eq(ask("select due_at - spent_at from absences"), "00:01:00");
	pass("30 seconds");
	take_and_pass(3, "120 seconds");
	until_answer("select phase || coalesce(due_at::text, ' idle') from absences", "ready idle");
	send_command(); /* the same absence */
	until_answer("select phase || coalesce(due_at::text, ' idle') from absences", "ready idle");
	ck_assert_uint_eq(w.first.count, 3);
	ck_assert_str_eq(statuses(), "first:submitted:1 first:submitted:2 first:submitted:3");
	ck_assert_uint_eq(w.published, 1); /* one probe an absence */
}
END_TEST

START_TEST(another_absence_is_another_count_but_not_another_interval)
{
	w.options.max_attempts = 1;
	begin();
	send_command();
	until_submitted(1, 0);
	tell(&w.first, SMS_TAKEN, NULL, NULL);
	until_answer("select status from wakeups", "submitted");
	comes();
	until_answer("select status from wakeups", "answered");
	ask("update commands set status = 'succeeded', finished_at = now(), due_at = null where status = 'sent'");
	goes();
	send_command();
	until_answer("select phase || (due_at > now() + interval '20 seconds') from absences", "readytrue");
	ck_assert_uint_eq(w.first.count, 1);
	pass("30 seconds");
	until_submitted(2, 0);
}
END_TEST

START_TEST(the_budget_refuses_and_frees)
{
	w.options.daily_budget = 2;
	begin();
	ask("insert into wakeups (vehicle_id, id, status, provider, attempt, created_at) select '" VEHICLE
	    "', gen_random_uuid(), 'answered', 'first', 1, now() - i from unnest(array[interval '1 hour', interval '23 "
	    "hours']) i");
	send_as(604800, true, "on_reconnect");
	until_answer("select refused from absences", "BUDGET");
	ck_assert_uint_eq(w.first.count, 0);
	ck_assert_str_eq(ask("select due_at between now() + interval '50 minutes' and now() + interval '61 minutes' "
			     "from absences"),
		"t");
	ck_assert_str_eq(ask("select concat(data->>'status', data->>'reason', data->>'provider' is null) from events "
			     "where type = 'wakeup.updated'"),
		"refusedBUDGETt");
	ck_assert_str_eq(ask("select s->'detail'->>'reason' from commands, jsonb_array_elements(timeline) s where "
			     "s->>'step' = 'wakeup'"),
		"BUDGET");
	send_command();
	ck_assert_str_eq(ask("select count(*) from wakeups where status = 'refused'"), "1");
	ck_assert_str_eq(ask("select count(*) from commands where timeline @> '[{\"step\":\"wakeup\"}]'"), "2");
	pass("1 hour");
	until_submitted(1, 0);
	ck_assert_str_eq(ask("select coalesce(refused, '') from absences"), "");
}
END_TEST

START_TEST(a_failover_counts_in_the_budget_alone)
{
	w.options.daily_budget = 1;
	begin();
	send_command();
	until_submitted(1, 0);
	tell(&w.first, SMS_FAILED, NULL, "DOWN");
	until_answer("select refused from absences", "BUDGET");
	ck_assert_uint_eq(w.second.count, 0);
	ck_assert_str_eq(statuses(), "first:failed:1:DOWN refused:1:BUDGET");
}
END_TEST

START_TEST(the_next_provider_when_one_fails)
{
	begin();
	send_command();
	until_submitted(1, 0);
	tell(&w.first, SMS_REFUSED, NULL, "INVALID_ADDRESS");
	until_submitted(1, 1);
	tell(&w.second, SMS_TAKEN, "s1", NULL); /* it gives no receipts: none is awaited */
	until_answer("select phase || attempt || (due_at > now() + interval '20 seconds') from absences", "ready1true");
	ck_assert_str_eq(statuses(), "first:failed:1:INVALID_ADDRESS second:submitted:1");
}
END_TEST

START_TEST(the_next_provider_when_no_receipt_comes)
{
	begin();
	send_command();
	until_submitted(1, 0);
	tell(&w.first, SMS_TAKEN, "m1", NULL);
	until_answer("select phase || (due_at > now() + interval '15 seconds') from absences", "receipttrue");
	pass("20 seconds");
	until_submitted(1, 1);
	ck_assert_str_eq(statuses(), "first:submitted:1 second:spent:1");
	/* it comes late: told, and nothing else */
	ck_assert_ptr_null(receive("m1", true, NULL));
	ck_assert_str_eq(statuses(), "first:delivered:1 second:spent:1");
	ck_assert_str_eq(phase(), "submitting");
}
END_TEST

START_TEST(the_next_provider_when_it_was_not_delivered)
{
	begin();
	send_command();
	until_submitted(1, 0);
	tell(&w.first, SMS_TAKEN, "m1", NULL);
	until_answer("select phase from absences", "receipt");
	ck_assert_ptr_null(receive("m1", false, "UNDELIVERABLE"));
	until_submitted(1, 1);
	ck_assert_str_eq(statuses(), "first:failed:1:UNDELIVERABLE second:spent:1");
}
END_TEST

START_TEST(delivered_ends_the_attempt)
{
	begin();
	send_command();
	until_submitted(1, 0);
	tell(&w.first, SMS_TAKEN, "m1", NULL);
	ck_assert_ptr_null(receive("m1", true, NULL)); /* perhaps before the outcome is recorded */
	ck_assert_ptr_null(receive("m1", true, NULL)); /* twice */
	ck_assert_ptr_null(receive("m1", false, "EXPIRED"));
	ck_assert_str_eq(statuses(), "first:delivered:1");
	ck_assert_str_eq(ask("select phase || attempt from absences"), "ready1");
	ck_assert_str_eq(
		ask("select string_agg(data->>'status', ' ' order by seq) from events where type = 'wakeup.updated'"),
		"submitted delivered");
	ck_assert_ptr_eq(receive("m2", true, NULL), &FAULT_NOT_FOUND);
}
END_TEST

START_TEST(all_fail_and_it_is_tried_again_later_as_the_same_attempt)
{
	w.options.max_attempts = 1;
	begin();
	send_command();
	until_submitted(1, 0);
	tell(&w.first, SMS_FAILED, NULL, "THROTTLED");
	until_submitted(1, 1);
	tell(&w.second, SMS_REFUSED, NULL, "INVALID_ADDRESS");
	until_answer("select phase || attempt || rounds || provider from absences", "ready010");
	pass("30 seconds");
	until_submitted(2, 1);
	ck_assert_str_eq(ask("select string_agg(attempt::text, '' order by created_at) from wakeups"), "111");
	tell(&w.first, SMS_REFUSED, NULL, "INVALID_ADDRESS");
	until_submitted(2, 2);
	tell(&w.second, SMS_REFUSED, NULL, "INVALID_ADDRESS");
	until_answer("select phase || attempt || rounds from absences", "ready12"); /* nobody will ever take it */
	pass("60 seconds");
	until_answer("select due_at is null from absences", "t");
	ck_assert_uint_eq(w.first.count, 2);
}
END_TEST

/* The last SMS's centre gives it up long after the attempts are over: whoever is sent after that is told of them, and not of that SMS. */
START_TEST(a_late_receipt_hides_no_refusal)
{
	w.options.max_attempts = 1;
	begin();
	send_as(3600, true, "on_reconnect");
	until_submitted(1, 0);
	tell(&w.first, SMS_TAKEN, "m1", NULL);
	until_answer("select phase from absences", "receipt");
	pass("20 seconds");
	until_submitted(1, 1);
	tell(&w.second, SMS_TAKEN, NULL, NULL);
	until_answer("select phase from absences", "ready");
	pass("30 seconds");
	until_answer("select refused from absences", "ATTEMPTS");
	ck_assert_ptr_null(receive("m1", false, "EXPIRED"));
	send_command();
	ck_assert_str_eq(
		ask("select string_agg(s->'detail'->>'reason', ' ') from commands, jsonb_array_elements(timeline) s "
		    "where s->>'step' = 'wakeup' and accepted_seq = (select max(accepted_seq) from commands)"),
		"ATTEMPTS");
	ck_assert_str_eq(ask("select s->'detail'->>'reason' from commands, jsonb_array_elements(timeline) with "
			     "ordinality as t(s, n) "
			     "where s->>'step' = 'wakeup' order by accepted_seq, n desc limit 1"),
		"EXPIRED"); /* who waited for that SMS hears of it */
}
END_TEST

void add_trying(Suite *suite)
{
	TCase *tc = case_new(suite, "trying");

	tcase_add_test(tc, gaps_grow_and_attempts_end);
	tcase_add_test(tc, another_absence_is_another_count_but_not_another_interval);
	tcase_add_test(tc, a_late_receipt_hides_no_refusal);
	tcase_add_test(tc, the_budget_refuses_and_frees);
	tcase_add_test(tc, a_failover_counts_in_the_budget_alone);
	tcase_add_test(tc, the_next_provider_when_one_fails);
	tcase_add_test(tc, the_next_provider_when_no_receipt_comes);
	tcase_add_test(tc, the_next_provider_when_it_was_not_delivered);
	tcase_add_test(tc, delivered_ends_the_attempt);
	tcase_add_test(tc, all_fail_and_it_is_tried_again_later_as_the_same_attempt);
}
