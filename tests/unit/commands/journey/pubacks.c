/* pubacks.c - a PUBACK and the answer that comes with it, before it or behind it, and a verdict that is recorded late or twice. */
#include "tests/unit/commands/journey/ground.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql/statements.h"

START_TEST(answer_overtakes_the_puback)
{
	struct accept a = draft();
	send_out(&a);
	int mid = w.published[0].mid;
	answer(a.id, "\"status\":\"succeeded\"");
	ck_assert_str_eq(statuses(), "succeeded/out");
	ck_assert_str_eq(events(), "accepted sent succeeded");
	dispatch_on_puback(w.dispatch, mid, 0);
	pump_until(nothing_in_hand);
	ck_assert_str_eq(statuses(), "succeeded/out");
	ck_assert_str_eq(ask("select count(*) from events"), "3");
	ck_assert_str_eq(steps(), "accepted reachability claimed answer published puback");
}
END_TEST

static bool turned;

static void on_turn(struct loop_soon *soon)
{
	(void)soon;
	turned = true;
}

static bool is_turned(void)
{
	return turned;
}

START_TEST(answer_takes_the_puback_along)
{
	struct accept a = draft();
	struct loop_soon turn;
	send_out(&a);
	dispatch_on_puback(w.dispatch, w.published[0].mid, 0);
	loop_soon_init(&turn, on_turn);
	loop_soon_call(w.loop, &turn);
	pump_until(is_turned);
	answer(a.id, "\"status\":\"succeeded\"");
	ck_assert_str_eq(events(), "accepted sent succeeded");
	ck_assert_str_eq(ask("select count(distinct xid) from events"), "2");
	ck_assert_str_eq(steps(), "accepted reachability claimed published puback answer");
}
END_TEST

/* Both come while another transaction is under way, and then leave together, as one change: told with one time. */
static void assert_taken_along(bool puback_first)
{
	struct accept first = draft(), second = draft();
	struct receipt receipt;

	send_out(&first);
	ask("begin; select from vehicle_heads for update");
	done = false;
	ck_assert_ptr_null(accept_submit(w.accept, &second));
	let_patience_end();
	ck_assert(!done);
	if (!puback_first)
		receive_answer(first.id, &receipt);
	dispatch_on_puback(w.dispatch, w.published[0].mid, 0);
	let_patience_end();
	if (puback_first)
		receive_answer(first.id, &receipt);
	ask("commit");
	pump_until(is_done);
	free(second.command);
	done = false;
	pump_until(is_done);
	char sql[256];
	snprintf(sql, sizeof(sql),
		"select string_agg(data->>'status', ' ' order by seq) || count(distinct at) from events where "
		"data->>'id' = '%s'",
		first.id);
	ck_assert_str_eq(ask(sql), "accepted sent succeeded2");
	snprintf(sql, sizeof(sql),
		"select string_agg(s->>'step', ' ') from commands c, jsonb_array_elements(timeline) s where c.id = "
		"'%s'",
		first.id);
	ck_assert_str_eq(ask(sql), "accepted reachability claimed published puback answer");
}

START_TEST(answer_takes_along_a_puback_that_waits_for_a_transaction)
{
	assert_taken_along(true);
}
END_TEST

START_TEST(puback_waits_for_an_answer_that_waits_for_a_transaction)
{
	assert_taken_along(false);
}
END_TEST

/* The vehicle is away, and back: what was disproved is claimed again, and is attempt 1 again. */
static void offer_again(void)
{
	come_back_in_another_session();
	pump_until(two_published);
	pump_until(is_idle);
	ck_assert_ptr_nonnull(strstr(w.published[1].payload, "\"attempt\":1}"));
	ck_assert_str_eq(statuses(), "waiting/claimed");
}

static bool unit_done;

static void on_unit(struct db_unit *unit, void *context, const struct fault *fault)
{
	(void)unit;
	(void)context;
	ck_assert_ptr_null(fault);
	unit_done = true;
}

static bool is_unit_done(void)
{
	return unit_done;
}

static void add_one(struct db_unit *unit, const char *text)
{
	struct db_array array = { 0 };
	db_array_text(&array, text);
	db_param_array(unit, &array);
}

/* Records what became of a publish, as its worker does that did not hear whether it was recorded. */
static void record(const char *id, int number, const char *verdict, const char *timeline)
{
	struct db_array attempts = { 0 }, numbers = { 0 };
	struct db_unit *unit = db_unit_new(w.writer, on_unit, NULL);

	db_unit_add(unit, &SQL_puback);
	add_one(unit, VEHICLE);
	add_one(unit, id);
	db_array_int(&attempts, 1);
	db_param_array(unit, &attempts);
	add_one(unit, verdict);
	add_one(unit, timeline);
	add_one(unit, "w1");
	db_array_int(&numbers, number);
	db_param_array(unit, &numbers);
	unit_done = false;
	db_unit_submit(unit);
	pump_until(is_unit_done);
}

START_TEST(a_verdict_that_is_recorded_twice_does_not_end_the_next_claim)
{
	struct accept a = draft();
	char recorded[512];

	send_out(&a);
	ask("update vehicle_heads set reachable = false");
	puback(0x10);
	snprintf(recorded, sizeof(recorded), "%s",
		ask("select jsonb_build_array(timeline->-2, timeline->-1) from commands"));
	ck_assert_ptr_nonnull(strstr(recorded, "published"));
	offer_again();
	record(a.id, 0, "nobody", recorded);
	ck_assert_str_eq(statuses(), "waiting/claimed");
	puback(0);
	ck_assert_str_eq(statuses(), "sent/out");
	record(a.id, 1, "puback", ask("select jsonb_build_array(timeline->-2, timeline->-1) from commands"));
	ck_assert_str_eq(steps(), "accepted reachability claimed published puback claimed published puback");
}
END_TEST

/* It was never handed over, so its attempt is no attempt, and the next claim has the same number of it. */
START_TEST(a_release_that_is_recorded_twice_does_not_end_the_next_claim)
{
	struct accept a = draft();

	accept_now(&a);
	free(a.command);
	record(a.id, 0, "release", "[]");
	ck_assert_str_eq(statuses(), "accepted/none");
	ask("select command_apply('w1', array['" VEHICLE "'], (select array_agg(id) from commands), array['claim'],"
	    " array[null::json], array[null::json], array[null::text], array['[]'::jsonb])");
	ck_assert_str_eq(ask("select claim_worker || ' ' || claim_attempt from vehicle_heads"), "w1 1");
	record(a.id, 0, "release", "[]");
	ck_assert_str_eq(statuses(), "accepted/claimed");
	record(a.id, 1, "release", "[]");
	ck_assert_str_eq(statuses(), "accepted/none");
}
END_TEST

static bool is_connected(void)
{
	return db_is_up(w.writer);
}

static bool is_disconnected(void)
{
	return !is_connected();
}

/* A claim that another worker's transaction made for this one. */
static void take_over(const struct accept *a, int attempt, int number)
{
	dispatch_publish(w.dispatch, &(struct claim){ .worker = "w1",
					     .vehicle_id = VEHICLE,
					     .id = a->id,
					     .name = a->name,
					     .params = a->params,
					     .issued_at = "2026-01-01T00:00:00.000000Z",
					     .expires_at = "2026-01-01T00:00:30.000000Z",
					     .expires_us = loop_unix_us(w.loop) + 30000000,
					     .attempt = attempt,
					     .number = number,
					     .session = "s1",
					     .protocol = "keyfob" });
}

static void run_on(PGconn *conn, const char *sql)
{
	PGresult *result = PQexec(conn, sql);
	ck_assert_msg(PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK, "%s: %s",
		sql, PQerrorMessage(conn));
	PQclear(result);
}

/* It was recorded, and nobody heard of it: that the command is claimed again says so. */
START_TEST(a_verdict_that_waits_is_moot_when_the_command_is_claimed_again)
{
	struct accept a = draft();

	send_out(&a);
	PGconn *other = PQconnectdb(postgres.url);
	run_on(other, "begin; select from vehicle_heads for update");
	dispatch_on_puback(w.dispatch, w.published[0].mid, 0x10);
	let_patience_end();
	ask("select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock'");
	pump_until(is_disconnected);
	run_on(other,
		"select command_apply(case e when 'claim' then 'w1' end, array['" VEHICLE
		"'], (select array_agg(id) from "
		"commands), array[e], array[null::json], array[null::json], array[null::text], array['[]'::jsonb])"
		" from unnest(array['release', 'claim']) e; commit");
	PQfinish(other);
	ck_assert_str_eq(statuses(), "accepted/claimed");
	take_over(&a, 1, 1);
	ck_assert_uint_eq(w.published_count, 2);
	pump_until(is_connected);
	for (int i = 0; i < 10; i++) /* longer than a verdict waits to be recorded once more */
		let_patience_end();
	pump_until(is_idle);
	ck_assert_uint_eq(dispatch_in_hand(w.dispatch), 1);
	ck_assert_str_eq(statuses(), "accepted/claimed");
	puback(0);
	ck_assert_str_eq(statuses(), "sent/out");
	ck_assert_uint_eq(w.published_count, 2);
}
END_TEST

/* The PUBACK is with the answer's transaction. */
START_TEST(a_claim_that_comes_amid_the_answer_is_another)
{
	struct accept a = draft();
	struct receipt receipt;

	send_out(&a);
	ask("begin; select from vehicle_heads for update");
	done = false;
	dispatch_on_puback(w.dispatch, w.published[0].mid, 0);
	receive_answer(a.id, &receipt);
	let_patience_end();
	take_over(&a, 2, 1);
	ask("commit");
	pump_until(is_done);
	ck_assert_str_eq(statuses(), "succeeded/out");
	ck_assert_uint_eq(dispatch_in_hand(w.dispatch), 1);
	dispatch_on_puback(w.dispatch, w.published[1].mid, 0);
	pump_until(nothing_in_hand);
	ck_assert_str_eq(statuses(), "succeeded/out");
}
END_TEST

void add_pubacks(Suite *suite)
{
	TCase *tc = case_new(suite, "pubacks", begin);

	tcase_add_test(tc, answer_overtakes_the_puback);
	tcase_add_test(tc, answer_takes_along_a_puback_that_waits_for_a_transaction);
	tcase_add_test(tc, puback_waits_for_an_answer_that_waits_for_a_transaction);
	tcase_add_test(tc, a_verdict_that_is_recorded_twice_does_not_end_the_next_claim);
	tcase_add_test(tc, a_release_that_is_recorded_twice_does_not_end_the_next_claim);
	tcase_add_test(tc, a_verdict_that_waits_is_moot_when_the_command_is_claimed_again);
	tcase_add_test(tc, a_claim_that_comes_amid_the_answer_is_another);
	TCase *patient = case_new(suite, "patient", begin_patient);

	tcase_add_test(patient, answer_takes_the_puback_along);
}
