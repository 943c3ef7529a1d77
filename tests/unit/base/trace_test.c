/* trace_test.c - W3C Trace Context: what is one, what is carried on, and which traces are recorded. */
#include <check.h>
#include <string.h>

#include "base/trace.h"
#include "tests/suite.h"

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SPAN "b7ad6b7169203331"
#define COMMAND "0192f3c8-5a0f-7b21-8c44-1d2e3f405162"

static bool reads(const char *text, char ret[TRACEPARENT_SIZE])
{
	return traceparent_read(text, strlen(text), ret);
}

START_TEST(reads_what_the_standard_calls_one)
{
	char t[TRACEPARENT_SIZE];

	ck_assert(reads("00-" TRACE "-" SPAN "-01", t));
	ck_assert_str_eq(t, "00-" TRACE "-" SPAN "-01");
	ck_assert(reads("00-" TRACE "-" SPAN "-ff", t));
	ck_assert_str_eq(t, "00-" TRACE "-" SPAN "-03"); /* flags that are not known are not carried */
	ck_assert(reads("cc-" TRACE "-" SPAN "-01-what-the-future-brings", t));
	ck_assert_str_eq(t, "00-" TRACE "-" SPAN "-01");
	ck_assert(reads("cc-" TRACE "-" SPAN "-00", t));
}
END_TEST

START_TEST(refuses_everything_else)
{
	static const char *const none[] = { "", "00", "00-" TRACE "-" SPAN, "00-" TRACE "-" SPAN "-0",
		"00-" TRACE "-" SPAN "-01-", "00-" TRACE "-" SPAN "-01-more", "cc-" TRACE "-" SPAN "-01.more",
		"ff-" TRACE "-" SPAN "-01", "00-00000000000000000000000000000000-" SPAN "-01",
		"00-" TRACE "-0000000000000000-01", "00-0AF7651916CD43DD8448EB211C80319C-" SPAN "-01",
		"00-" TRACE "_" SPAN "-01", "00-" TRACE "-" SPAN "-0x", "0x-" TRACE "-" SPAN "-01",
		"00-" TRACE "x-b7ad6b7169203-01" };
	char t[TRACEPARENT_SIZE];

	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		ck_assert_msg(!reads(none[i], t), "%s", none[i]);
	ck_assert(!traceparent_read("00-" TRACE "-" SPAN "\0-01", TRACEPARENT_SIZE - 1, t));
}
END_TEST

START_TEST(carries_a_state_of_bounded_length)
{
	char state[TRACESTATE_MAX + 2];

	memset(state, 'a', sizeof(state));
	state[TRACESTATE_MAX] = '\0';
	ck_assert(tracestate_is_fine(state));
	state[TRACESTATE_MAX] = 'a';
	state[TRACESTATE_MAX + 1] = '\0';
	ck_assert(!tracestate_is_fine(state));
	ck_assert(tracestate_is_fine("rojo=00f067aa0ba902b7, congo=t61rcWkgMzE"));
	ck_assert(!tracestate_is_fine(""));
	ck_assert(!tracestate_is_fine("a=\n"));
	ck_assert(!tracestate_is_fine("a=\tb")); /* MQTT carries no control character */
	ck_assert(!tracestate_is_fine("a=\xc3\xa4"));
}
END_TEST

START_TEST(a_spans_id_is_the_same_for_everybody_and_no_other_has_it)
{
	char a[SPAN_ID_SIZE], b[SPAN_ID_SIZE], t[TRACEPARENT_SIZE], id[TRACE_ID_SIZE];

	trace_span_id(COMMAND, "execute", 1, a);
	trace_span_id(COMMAND, "execute", 1, b);
	ck_assert_str_eq(a, b);
	trace_span_id(COMMAND, "execute", 2, b);
	ck_assert_str_ne(a, b);
	trace_span_id(COMMAND, "publish", 1, b);
	ck_assert_str_ne(a, b);
	trace_span_id("0192f3c8-5a0f-7b21-8c44-1d2e3f405163", "execute", 1, b);
	ck_assert_str_ne(a, b);
	traceparent_continue("00-" TRACE "-" SPAN "-01", a, t);
	traceparent_span_id(t, b);
	ck_assert_str_eq(a, b);
	traceparent_trace_id(t, id);
	ck_assert_str_eq(id, TRACE);
}
END_TEST

static bool is_recorded(enum trace_sampler_kind kind, double ratio, const char *given)
{
	const struct trace_sampler sampler = { kind, ratio };
	char t[TRACEPARENT_SIZE];

	trace_begin(&sampler, given, COMMAND, t);
	ck_assert_uint_eq(strlen(t), TRACEPARENT_SIZE - 1);
	return traceparent_is_sampled(t);
}

START_TEST(records_as_the_sampler_says)
{
	static const char yes[] = "00-" TRACE "-" SPAN "-01", no[] = "00-" TRACE "-" SPAN "-00";
	static const struct {
		enum trace_sampler_kind kind;
		double ratio;
		bool none, yes, no; /* of what the caller gives */
	} rows[] = {
		{ TRACE_ALWAYS_ON, 0, true, true, true },
		{ TRACE_ALWAYS_OFF, 1, false, false, false },
		{ TRACE_RATIO, 1, true, true, true },
		{ TRACE_RATIO, 0, false, false, false },
		{ TRACE_PARENT_ALWAYS_ON, 0, true, true, false },
		{ TRACE_PARENT_ALWAYS_OFF, 1, false, true, false },
		{ TRACE_PARENT_RATIO, 1, true, true, false },
		{ TRACE_PARENT_RATIO, 0, false, true, false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ck_assert_msg(is_recorded(rows[i].kind, rows[i].ratio, NULL) == rows[i].none, "row %zu, none", i);
		ck_assert_msg(is_recorded(rows[i].kind, rows[i].ratio, yes) == rows[i].yes, "row %zu, yes", i);
		ck_assert_msg(is_recorded(rows[i].kind, rows[i].ratio, no) == rows[i].no, "row %zu, no", i);
	}
}
END_TEST

/* The last 56 bits of the trace id are a place between 0 and 1; what lies above 1 - ratio is recorded. */
START_TEST(a_ratio_is_of_the_trace_ids)
{
	int recorded = 0;

	ck_assert(is_recorded(TRACE_RATIO, 0.25, "00-00000000000000001200000000000000-" SPAN "-00") == false);
	ck_assert(is_recorded(TRACE_RATIO, 0.25, "00-000000000000000000bfffffffffffff-" SPAN "-00") == false);
	ck_assert(is_recorded(TRACE_RATIO, 0.25, "00-000000000000000000c0000000000000-" SPAN "-00") == true);
	for (int i = 0; i < 4000; i++)
		recorded += is_recorded(TRACE_RATIO, 0.25, NULL);
	ck_assert_int_ge(recorded, 800); /* seven deviations from a thousand */
	ck_assert_int_le(recorded, 1200);
}
END_TEST

START_TEST(a_trace_begins_with_the_commands_own_span)
{
	const struct trace_sampler sampler = { TRACE_ALWAYS_ON, 1 };
	char t[TRACEPARENT_SIZE], other[TRACEPARENT_SIZE], root[SPAN_ID_SIZE], parent[SPAN_ID_SIZE];

	trace_span_id(COMMAND, TRACE_STEP_COMMAND, 0, root);
	trace_begin(&sampler, NULL, COMMAND, t);
	traceparent_span_id(t, parent);
	ck_assert_str_eq(parent, root);
	trace_begin(&sampler, "no trace", COMMAND, other);
	ck_assert(traceparent_read(other, strlen(other), other));
	ck_assert_str_ne(other, t);
	trace_begin(&sampler, "00-" TRACE "-" SPAN "-00", COMMAND, t);
	ck_assert_str_eq(t, "00-" TRACE "-" SPAN "-01");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("trace");
	TCase *tests = tcase_create("trace");
	tcase_add_test(tests, reads_what_the_standard_calls_one);
	tcase_add_test(tests, refuses_everything_else);
	tcase_add_test(tests, carries_a_state_of_bounded_length);
	tcase_add_test(tests, a_spans_id_is_the_same_for_everybody_and_no_other_has_it);
	tcase_add_test(tests, records_as_the_sampler_says);
	tcase_add_test(tests, a_ratio_is_of_the_trace_ids);
	tcase_add_test(tests, a_trace_begins_with_the_commands_own_span);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
