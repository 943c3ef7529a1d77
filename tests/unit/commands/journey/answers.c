/* answers.c - what a vehicle answers, by either protocol, and what the database or the answer itself may have against it. */
#include "tests/unit/commands/journey/ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands/topic.h"

START_TEST(goes_out_and_comes_back)
{
	struct accept a = draft();
	ck_assert_ptr_null(accept_now(&a));
	ck_assert_ptr_nonnull(strstr(a.command, "\"status\" : \"accepted\""));
	free(a.command);
	pump_until(one_published);
	ck_assert_str_eq(w.published[0].topic, "vehicles/" VEHICLE "/commands/request");
	ck_assert_ptr_nonnull(strstr(w.published[0].payload, "\"attempt\":1}"));
	ck_assert_str_eq(statuses(), "accepted/claimed");
	puback(0);
	ck_assert_str_eq(statuses(), "sent/out");
	answer(a.id, "\"status\":\"succeeded\",\"result\":{\"doors\":\"open\"}");
	ck_assert_str_eq(statuses(), "succeeded/out");
	assert_told("commands/accepted", a.id);
	ck_assert_str_eq(events(), "accepted sent succeeded");
	ck_assert_str_eq(ask("select string_agg(seq::text, ' ' order by seq) from events"), "1 2 3");
	ck_assert_str_eq(steps(), "accepted reachability claimed published puback answer");
	ck_assert_str_eq(ask("select count(claim_id) from vehicle_heads"), "0");
}
END_TEST

/* The same journey by the other protocol. */
START_TEST(aws_vehicle_hears_and_says_what_it_knows)
{
	char response[TOPIC_SIZE], request[TOPIC_SIZE];
	ask("update vehicles set protocol = 'aws-commands'");
	struct accept a = draft();
	send_out(&a);
	topic_execution(VEHICLE, a.id, "request/json", request);
	topic_execution(VEHICLE, a.id, "response/json", response);
	ck_assert_str_eq(w.published[0].topic, request);
	ck_assert_str_eq(w.published[0].payload, "{\"door\":\"all\"}");
	puback(0);
	answer_on(response, "{\"status\":\"IN_PROGRESS\",\"statusReason\":{\"reasonCode\":\"A\"}}");
	ck_assert_str_eq(statuses(), "in_progress/out");
	assert_told("response/accepted/json", a.id);
	answer_on(response, "{\"status\":\"SUCCEEDED\",\"result\":{\"doors\":{\"s\":\"open\"}}}");
	ck_assert_str_eq(statuses(), "succeeded/out");
	ck_assert_str_eq(ask("select result::text from commands"), "{\"doors\":\"open\"}");
	answer_on(response, "{\"status\":\"FAILED\"}");
	assert_told("response/rejected/json", "\"error\":\"TerminalStateReached\"");
}
END_TEST

/* Else the answer could come before anybody hears it. */
START_TEST(aws_vehicle_waits_for_its_own_feed)
{
	ask("update vehicles set protocol = 'aws-commands'");
	ask("update leases set subscribed = name <> 'feed/aws-commands' where name like 'feed/%'");
	struct accept a = draft();
	accept_now(&a);
	free(a.command);
	pump_until(is_idle);
	ck_assert_str_eq(ask("select string_agg(kind, ' ') from timers"), "offer");
	ck_assert_uint_eq(w.published_count, 0);
	ask("update leases set subscribed = name = 'feed/aws-commands' where name like 'feed/%'");
	deadline_start(w.deadline);
	pump_until(one_published);
	puback(0);
	ck_assert_str_eq(statuses(), "sent/out");
}
END_TEST

START_TEST(repeated_and_late_answers)
{
	struct accept a = draft();
	send_out(&a);
	puback(0);
	answer(a.id, "\"status\":\"failed\",\"reason\":{\"code\":\"DOOR_OPEN\"}");
	answer(a.id, "\"status\":\"failed\",\"reason\":{\"code\":\"DOOR_OPEN\"}");
	assert_told("commands/accepted", a.id);
	answer(a.id, "\"status\":\"succeeded\"");
	assert_told("commands/rejected", "TERMINAL_STATE");
	ck_assert_str_eq(ask("select count(*) from events"), "3");
	answer("0192f3c8-0000-7000-8000-000000000000", "\"status\":\"succeeded\"");
	assert_told("commands/rejected", "UNKNOWN_REQUEST");
	answer(a.id, "\"status\":\"done\"");
	assert_told("commands/rejected", "MALFORMED");
}
END_TEST

START_TEST(progress_starts_the_timeout_anew)
{
	struct accept a = draft();
	send_out(&a);
	puback(0);
	ask("select pg_sleep(0.05)");
	const char *before = strdup(ask("select due_at from commands"));
	answer(a.id, "\"status\":\"in_progress\"");
	ck_assert_str_eq(statuses(), "in_progress/out");
	ck_assert_str_ne(ask("select due_at from commands"), before);
	free((char *)(uintptr_t)before);
	answer(a.id, "\"status\":\"in_progress\"");
	answer(a.id, "\"status\":\"succeeded\"");
	ck_assert_str_eq(statuses(), "succeeded/out");
}
END_TEST

/* It may say so without end. */
START_TEST(a_timeline_has_an_end)
{
	char payload[2048], topic[TOPIC_SIZE], code[1200];
	struct accept a = draft();

	send_out(&a);
	puback(0);
	ask("update commands set timeline = (select jsonb_agg(step('answer') -> 0) from generate_series(1, 199))");
	memset(code, 'x', sizeof(code) - 1);
	code[sizeof(code) - 1] = '\0';
	topic_response(VEHICLE, topic);
	snprintf(payload, sizeof(payload),
		"{\"request_id\":\"%s\",\"status\":\"in_progress\",\"reason\":{\"code\":\"%s\"}}", a.id, code);
	answer_on(topic, payload);
	ck_assert_str_eq(ask("select jsonb_array_length(timeline) || coalesce(timeline -> -1 #>> '{detail,reason}', ' "
			     "none ') || "
			     "length(reason ->> 'code') from commands"),
		"200 none 1199");
	answer(a.id, "\"status\":\"in_progress\"");
	ck_assert_str_eq(ask("select jsonb_array_length(timeline) from commands"), "200");
	answer(a.id, "\"status\":\"succeeded\"");
	ck_assert_str_eq(ask("select timeline -> 200 #>> '{detail,status}' from commands"), "succeeded");
}
END_TEST

/* What the server cannot do just now it can do later: the answer is not acknowledged, and the vehicle is told nothing. */

static const char *const TROUBLES[] = { "57014", "53100", "XX000", "0A000", "40001", "42501", "P0001" };

static void break_commands(const char *sqlstate)
{
	char sql[512];

	snprintf(sql, sizeof(sql),
		"create function trouble() returns trigger language plpgsql as $$ begin raise 'trouble' using errcode "
		"= '%s'; "
		"end $$; create trigger trouble before update on commands for each row execute function trouble()",
		sqlstate);
	ask(sql);
}

static void mend_commands(void)
{
	ask("drop trigger trouble on commands; drop function trouble");
}

/* What becomes of an answer. */
static const struct fault *fault_of_answer(const char *id)
{
	struct receipt receipt;

	done = false;
	receive_answer(id, &receipt);
	pump_until(is_done);
	return got;
}

START_TEST(an_answer_outlives_the_servers_trouble)
{
	struct accept a = draft();

	send_out(&a);
	puback(0);
	break_commands(TROUBLES[_i]);
	const struct fault *fault = fault_of_answer(a.id);
	mend_commands();
	ck_assert_msg(
		fault == &FAULT_STORAGE_UNAVAILABLE, "%s: %s", TROUBLES[_i], fault ? fault->name : "acknowledged");
	ck_assert_uint_eq(w.published_count, 1);
	ck_assert_str_eq(statuses(), "sent/out");
	answer(a.id, "\"status\":\"succeeded\"");
	ck_assert_str_eq(statuses(), "succeeded/out");
	assert_told("commands/accepted", a.id);
}
END_TEST

/* The partitions that are missing will be made. */
START_TEST(an_answer_outlives_the_want_of_a_partition)
{
	struct accept a = draft();

	send_out(&a);
	puback(0);
	ask("do $$ declare part regclass; begin for part in select inhrelid::regclass from pg_inherits where inhparent "
	    "= "
	    "'events'::regclass loop execute format('drop table %s', part); end loop; end $$");
	const struct fault *fault = fault_of_answer(a.id);
	ask("select partitions_make()");
	ck_assert_msg(fault == &FAULT_STORAGE_UNAVAILABLE, "%s", fault ? fault->name : "acknowledged");
	ck_assert_uint_eq(w.published_count, 1);
	answer(a.id, "\"status\":\"succeeded\"");
	ck_assert_str_eq(statuses(), "succeeded/out");
}
END_TEST

/* What cannot be in the database, in whatever state it is, is the answer's own mistake: told, and acknowledged. */
START_TEST(an_answers_own_mistake_is_told)
{
	static const char *const mistakes[] = { "22P05", "23514" };
	struct accept a = draft();

	send_out(&a);
	puback(0);
	break_commands(mistakes[_i]);
	const struct fault *fault = fault_of_answer(a.id);
	mend_commands();
	ck_assert_ptr_null(fault);
	assert_told("commands/rejected", "MALFORMED");
}
END_TEST

/* The last word says nothing of a result: it keeps what was said on the way. */
START_TEST(an_answer_after_progress_with_a_result_may_be_repeated)
{
	struct accept a = draft();
	send_out(&a);
	puback(0);
	answer(a.id, "\"status\":\"in_progress\",\"result\":{\"percent\":50}");
	answer(a.id, "\"status\":\"succeeded\"");
	ck_assert_str_eq(ask("select result from commands"), "{\"percent\":50}");
	answer(a.id, "\"status\":\"succeeded\"");
	assert_told("commands/accepted", a.id);
	answer(a.id, "\"status\":\"succeeded\",\"result\":{\"percent\":100}");
	assert_told("commands/rejected", "TERMINAL_STATE");
}
END_TEST

void add_answers(Suite *suite)
{
	TCase *tc = case_new(suite, "answers", begin);

	tcase_add_test(tc, goes_out_and_comes_back);
	tcase_add_test(tc, aws_vehicle_hears_and_says_what_it_knows);
	tcase_add_test(tc, aws_vehicle_waits_for_its_own_feed);
	tcase_add_test(tc, repeated_and_late_answers);
	tcase_add_test(tc, progress_starts_the_timeout_anew);
	tcase_add_test(tc, a_timeline_has_an_end);
	tcase_add_loop_test(tc, an_answer_outlives_the_servers_trouble, 0, sizeof(TROUBLES) / sizeof(TROUBLES[0]));
	tcase_add_test(tc, an_answer_outlives_the_want_of_a_partition);
	tcase_add_loop_test(tc, an_answers_own_mistake_is_told, 0, 2);
	tcase_add_test(tc, an_answer_after_progress_with_a_result_may_be_repeated);
}
