/* waking.c - who is woken and who is not: one SMS for all that waits, switches, numbers, and what ends it. */
#include "tests/unit/notifier/wake/ground.h"

#include <libpq-fe.h>
#include <stdio.h>

START_TEST(one_sms_for_all_that_waits)
{
	begin();
	send_command();
	send_as(300, true, "on_reconnect");
	until_submitted(1, 0);
	for (int i = 0; i < 10; i++)
		send_command();
	ck_assert_str_eq(w.first.sms[0].msisdn, MSISDN);
	ck_assert_str_eq(w.first.sms[0].text, "WAKE " VEHICLE);
	ck_assert_int_ge(w.first.sms[0].validity_s, 290); /* the longest of those that waited */
	ck_assert_int_le(w.first.sms[0].validity_s, 300);
	ck_assert_str_eq(ask("select id from wakeups"), w.first.sms[0].id);
	ck_assert_str_eq(phase(), "submitting");
	tell(&w.first, SMS_TAKEN, "m1", NULL);
	until_answer("select status from wakeups", "submitted");
	ck_assert_str_eq(phase(), "receipt");
	ck_assert_uint_eq(w.first.count, 1);
	ck_assert_str_eq(ask("select count(*) from commands where timeline @> "
			     "'[{\"step\":\"wakeup\",\"detail\":{\"status\":\"submitted\"}}]'"),
		"12");
	ck_assert_str_eq(ask("select string_agg(concat_ws(' ', data->>'status', data->>'provider', data->>'attempt', "
			     "data->>'reason', "
			     "(data->>'id' = (select id::text from wakeups))::text), ',') from events where type = "
			     "'wakeup.updated'"),
		"submitted first 1 true");
}
END_TEST

START_TEST(joins_read_what_was_decided)
{
	begin();
	send_command();
	until_submitted(1, 0);
	tell(&w.first, SMS_TAKEN, "m1", NULL);
	until_answer("select status from wakeups", "submitted");
	send_command();
	ck_assert_str_eq(ask("select s->'detail'->>'status' from commands, jsonb_array_elements(timeline) s "
			     "where s->>'step' = 'wakeup' order by accepted_seq desc limit 1"),
		"submitted");
	ck_assert_uint_eq(w.first.count, 1);
}
END_TEST

START_TEST(what_waited_before_there_were_providers_is_found)
{
	ask("insert into commands (vehicle_id, id, name, issued_by, wake, redelivery, catalog, accepted_seq, "
	    "timeout_seconds, "
	    "created_at, expires_at, updated_at, due_at) select '" VEHICLE
	    "', uuid7_floor(now()), 'doors.unlock', 'alice', true, "
	    "'on_reconnect', '{}', 1, 20, now(), now() + interval '1 hour', now(), now() + interval '1 hour';"
	    "update commands set status = 'waiting'");
	begin();
	until_submitted(1, 0);
	ck_assert_uint_eq(w.published, 1);
}
END_TEST

START_TEST(validity_is_bounded_by_the_setting)
{
	w.options.validity_ms = 45000;
	begin();
	send_command();
	until_submitted(1, 0);
	ck_assert_int_eq(w.first.sms[0].validity_s, 45);
}
END_TEST

START_TEST(only_what_wants_waking_wakes)
{
	begin();
	send_as(120, false, "on_reconnect");
	ck_assert_str_eq(ask("select count(*) from absences"), "0");
	ck_assert_str_eq(ask("select status from commands"), "waiting");
	ck_assert_uint_eq(w.published, 0);
}
END_TEST

START_TEST(without_providers_it_waits)
{
	w.options.provider_count = 0;
	begin();
	w.closed_providers = 2;
	send_command();
	ck_assert_str_eq(ask("select count(*) from absences"), "0");
	ck_assert_str_eq(ask("select status from commands"), "waiting");
}
END_TEST

/* And nothing is due before something changes. */
static void until_refused(const char *reason)
{
	char answer[64];

	snprintf(answer, sizeof(answer), "ready%s idle", reason);
	until_answer("select phase || coalesce(refused, '') || coalesce(due_at::text, ' idle') from absences", answer);
}

START_TEST(switched_off_and_on_again)
{
	atomic_store(&w.enabled, false);
	begin();
	send_command();
	until_refused("DISABLED");
	ck_assert_str_eq(statuses(), "refused:1:DISABLED");
	ck_assert_uint_eq(w.first.count, 0);
	atomic_store(&w.enabled, true);
	until_submitted(1, 0);
}
END_TEST

/* Somebody has it in hand at that moment: it is looked at again. */
START_TEST(switched_on_again_while_it_is_locked)
{
	atomic_store(&w.enabled, false);
	begin();
	send_command();
	until_refused("DISABLED");
	PGconn *other = PQconnectdb(postgres.url);
	PQclear(PQexec(other, "begin; select from absences for update"));
	atomic_store(&w.enabled, true);
	until_answer("select exists (select from pg_stat_activity where query like '%absences x where x.refused%' and "
		     "pid <> pg_backend_pid() and state = 'idle')",
		"t");
	ck_assert_uint_eq(w.first.count, 0);
	PQclear(PQexec(other, "commit"));
	PQfinish(other);
	until_submitted(1, 0);
}
END_TEST

START_TEST(no_number_no_sms)
{
	ask("update vehicles set msisdn = null");
	begin();
	send_command();
	until_refused("NO_MSISDN");
	ck_assert_str_eq(ask("select count(*) from wakeups"), "0");
	ck_assert_str_eq(ask("select s->'detail'->>'reason' from commands, jsonb_array_elements(timeline) s where "
			     "s->>'step' = 'wakeup'"),
		"NO_MSISDN");
	ask("update vehicles set msisdn = '" MSISDN "'");
	touch(); /* vehicle.put does this */
	until_submitted(1, 0);
}
END_TEST

START_TEST(unstable_vehicles_are_left_alone)
{
	ask("create or replace function is_unstable(h vehicle_heads) returns boolean language sql stable as $$ select "
	    "true $$");
	begin();
	send_command();
	until_answer("select refused from absences", "UNSTABLE");
	ck_assert_str_eq(statuses(), "refused:1:UNSTABLE");
	ask("create or replace function is_unstable(h vehicle_heads) returns boolean language sql stable as $$ select "
	    "false $$");
	pass("15 seconds");
	until_submitted(1, 0);
}
END_TEST

START_TEST(a_retired_vehicle_is_forgotten)
{
	begin();
	send_command();
	until_submitted(1, 0);
	ask("update vehicles set retired_at = now()");
	touch();
	ck_assert_str_eq(ask("select count(*) from absences"), "0");
	ck_assert_str_eq(statuses(), "first:spent:1");
}
END_TEST

static bool both_providers_closed(void)
{
	return w.closed_providers == 2;
}

static void on_rested(void *owner)
{
	(void)owner;
	w.rests++;
}

static bool has_rested(void)
{
	return w.rests == 1;
}

/* Another node may have the one session that an account allows. */
START_TEST(who_rests_leaves_what_is_due_until_it_starts_again)
{
	w.options.on_rested = on_rested;
	begin();
	wake_rest(w.wake);
	pump_until(has_rested);
	ck_assert_uint_eq(w.closed_providers, 2);
	send_command();
	until_answer("select phase from absences", "ready");
	touch();
	ck_assert_str_eq(ask("select due_at <= now() from absences"), "t");
	ck_assert_str_eq(ask("select count(*) from wakeups"), "0");
	w.closed_providers = 0;
	start();
	until_submitted(1, 0);
}
END_TEST

START_TEST(draining_closes_the_providers_in_order_and_keeps_what_they_say)
{
	begin();
	send_command();
	until_submitted(1, 0);
	wake_stop(w.wake);
	pump_until(both_providers_closed);
	pump_until(is_quiet);
	ck_assert_uint_eq(w.second.closed_after, 0);
	ck_assert_uint_eq(w.first.closed_after, 1);
	ck_assert_str_eq(statuses(), "first:submitted:1:CLOSED");
}
END_TEST

void add_waking(Suite *suite)
{
	TCase *tc = case_new(suite, "waking");

	tcase_add_test(tc, one_sms_for_all_that_waits);
	tcase_add_test(tc, joins_read_what_was_decided);
	tcase_add_test(tc, what_waited_before_there_were_providers_is_found);
	tcase_add_test(tc, validity_is_bounded_by_the_setting);
	tcase_add_test(tc, only_what_wants_waking_wakes);
	tcase_add_test(tc, without_providers_it_waits);
	tcase_add_test(tc, switched_off_and_on_again);
	tcase_add_test(tc, switched_on_again_while_it_is_locked);
	tcase_add_test(tc, no_number_no_sms);
	tcase_add_test(tc, unstable_vehicles_are_left_alone);
	tcase_add_test(tc, a_retired_vehicle_is_forgotten);
	tcase_add_test(tc, who_rests_leaves_what_is_due_until_it_starts_again);
	tcase_add_test(tc, draining_closes_the_providers_in_order_and_keeps_what_they_say);
}
