/* deadlines.c - what time does: commands expire or time out, and answers come late. */
#include "tests/unit/commands/journey/ground.h"

#include <stdlib.h>
#include <string.h>

#include "base/metrics.h"

START_TEST(expires_undelivered)
{
	struct accept a = draft();
	a.ttl_s = 1;
	ask("update vehicle_heads set reachable = false");
	accept_now(&a);
	free(a.command);
	deadline_start(w.deadline);
	pump_until(one_is_over);
	ck_assert_str_eq(statuses(), "expired/none");
	ck_assert_str_eq(ask("select reason->>'code' from commands"), "EXPIRED");
}
END_TEST

START_TEST(times_out_and_keeps_a_late_answer)
{
	struct accept a = draft();
	a.timeout_s = 1;
	send_out(&a);
	puback(0);
	deadline_start(w.deadline);
	pump_until(one_is_over);
	ck_assert_str_eq(statuses(), "timed_out/out");
	answer(a.id, "\"status\":\"succeeded\"");
	ck_assert_str_eq(statuses(), "succeeded/out");
	ck_assert_str_eq(ask("select late from commands"), "t");
}
END_TEST

/* What is dated after the expiry, where nothing of the vehicle's is dated before, may have been done after it. */

static bool has_expired(void)
{
	return strcmp(ask("select expires_at < clock_timestamp() from commands"), "t") == 0;
}

static const struct {
	const char *in_time, *late; /* what it says before the expiry and after it; NULL: nothing */
	const char *flags;	    /* of its answers in the timeline */
} DATES[] = {
	{ NULL, "\"status\":\"succeeded\"", "true" },
	{ NULL, "\"status\":\"failed\",\"reason\":{\"code\":\"DOOR_OPEN\"}", "true" },
	{ NULL, "\"status\":\"rejected\",\"reason\":{\"code\":\"EXPIRED\"}", "null" },
	{ "\"status\":\"in_progress\"", "\"status\":\"succeeded\"", "null null" },
	{ "\"status\":\"succeeded\"", "\"status\":\"succeeded\"", "null" }, /* said again */
};

START_TEST(a_result_dated_after_expiry_is_flagged_and_counted)
{
	int64_t counted = metric_value(METRIC_ANSWERS_AFTER_EXPIRY);
	struct accept a = draft();

	a.ttl_s = 1;
	send_out(&a);
	puback(0);
	if (DATES[_i].in_time)
		answer(a.id, DATES[_i].in_time);
	pump_until(has_expired);
	answer(a.id, DATES[_i].late);
	assert_told("commands/accepted", a.id);
	ck_assert_str_eq(ask("select string_agg(coalesce(s #>> '{detail,after_expiry}', 'null'), ' ') "
			     "from commands, jsonb_array_elements(timeline) s where s ->> 'step' = 'answer'"),
		DATES[_i].flags);
	ck_assert_int_eq(
		metric_value(METRIC_ANSWERS_AFTER_EXPIRY) - counted, strcmp(DATES[_i].flags, "true") == 0 ? 1 : 0);
}
END_TEST

/* The first word comes after the expiry: so does the last. */
START_TEST(progress_after_expiry_excuses_nothing)
{
	int64_t counted = metric_value(METRIC_ANSWERS_AFTER_EXPIRY);
	struct accept a = draft();

	a.ttl_s = 1;
	send_out(&a);
	puback(0);
	pump_until(has_expired);
	answer(a.id, "\"status\":\"in_progress\"");
	answer(a.id, "\"status\":\"succeeded\"");
	ck_assert_str_eq(ask("select timeline -> -1 #>> '{detail,after_expiry}' from commands"), "true");
	ck_assert_int_eq(metric_value(METRIC_ANSWERS_AFTER_EXPIRY) - counted, 1);
}
END_TEST

void add_deadlines(Suite *suite)
{
	TCase *tc = case_new(suite, "deadlines", begin);

	tcase_add_test(tc, expires_undelivered);
	tcase_add_test(tc, times_out_and_keeps_a_late_answer);
	tcase_add_loop_test(
		tc, a_result_dated_after_expiry_is_flagged_and_counted, 0, sizeof(DATES) / sizeof(DATES[0]));
	tcase_add_test(tc, progress_after_expiry_excuses_nothing);
}
