/* tracing_test.c - from a timeline to spans; and an exporter whose collector does not answer. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/json.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/trace.h"
#include "gateway/config_lists.h"
#include "gateway/tracing/exporter.h"
#include "gateway/tracing/journey.h"
#include "tests/http_peer.h"
#include "tests/suite.h"

#define ID "0192f3c8-5a0f-7b21-8c44-1d2e3f405162"
#define TRACEPARENT "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
#define DAY "2024-11-04T12:00:"

static json_t *spans;

static void take(void *owner, char *span)
{
	json_array_append_new(owner, memory_need(json_loads(span, 0, NULL)));
	free(span);
}

static void tell(const char *more, const char *timeline)
{
	struct text text = { 0 };

	text_addf(&text,
		"{\"id\":\"" ID
		"\",\"vehicle_id\":\"V\",\"name\":\"doors.unlock\",\"attempts\":1,\"traceparent\":\"" TRACEPARENT
		"\",\"created_at\":\"" DAY "00.000000Z\",\"updated_at\":\"" DAY "20.000000Z\",%s}",
		more);
	json_auto_t *command = memory_need(json_loads(text.data, 0, NULL));
	json_auto_t *steps = memory_need(json_loads(timeline, 0, NULL));
	text_free(&text);
	json_decref(spans);
	spans = json_array();
	journey_tell(command, steps, take, spans);
}

static const json_t *span_at(const char *name, size_t which)
{
	size_t i;
	json_t *span;

	json_array_foreach (spans, i, span) {
		if (strcmp(json_text_at(span, "name"), name) == 0 && which-- == 0)
			return span;
	}
	return NULL;
}

static size_t count(const char *name)
{
	size_t n = 0;

	while (span_at(name, n))
		n++;
	return n;
}

/* Milliseconds from the beginning of DAY's minute. */
static int64_t ms_at(const json_t *span, const char *key)
{
	return (strtoll(json_text_at(span, key), NULL, 10) / 1000000) % 60000;
}

static void expect_times(const char *name, size_t which, int64_t begin_ms, int64_t end_ms)
{
	const json_t *span = span_at(name, which);

	ck_assert_msg(span != NULL, "there is no %s %zu", name, which);
	ck_assert_msg(ms_at(span, "startTimeUnixNano") == begin_ms && ms_at(span, "endTimeUnixNano") == end_ms,
		"%s %zu: from %lld to %lld", name, which, (long long)ms_at(span, "startTimeUnixNano"),
		(long long)ms_at(span, "endTimeUnixNano"));
}

#define STEP(time, name, detail) "{\"time\":\"" DAY time "Z\",\"step\":\"" name "\",\"detail\":{" detail "}}"

/* It was probed, then woken by SMS, then published once more under the same number. */
START_TEST(a_sleeping_vehicle)
{
	tell("\"status\":\"succeeded\",\"finished_at\":\"" DAY "09.500000Z\",\"reason\":null",
		"[" STEP("00.000000", "accepted", "") "," STEP(
			"00.000001", "reachability", "\"state\":\"disconnected\"") "," STEP("01.000000", "claimed",
			"\"attempt\":1,\"probe\":true,\"worker\":\"w\"") "," STEP("01.100000", "published",
			"\"attempt\":1") "," STEP("01.200000", "puback", "\"reason_code\":16") "," STEP("02.000000",
			"wakeup", "\"status\":\"submitted\",\"attempt\":1,\"provider\":\"smpp\"") "," STEP("08.000000",
			"wakeup", "\"status\":\"answered\",\"attempt\":1,\"provider\":\"smpp\"") "," STEP("08.500000",
			"claimed", "\"attempt\":1,\"worker\":\"w\"") "," STEP("08.600000", "published",
			"\"attempt\":1") "," STEP("08.700000", "puback", "\"reason_code\":0") "," STEP("09.000000",
			"answer",
			"\"status\":\"in_progress\"") "," STEP("09.400000", "answer", "\"status\":\"succeeded\"") "]");
	expect_times("wait", 0, 0, 1000);
	expect_times("wait", 1, 1200, 8500);
	expect_times("wakeup", 0, 2000, 8000);
	ck_assert_str_eq(
		json_text_at(span_at("wakeup", 0), "parentSpanId"), json_text_at(span_at("wait", 1), "spanId"));
	expect_times("publish", 0, 1000, 1200);
	expect_times("publish", 1, 8500, 8700);
	ck_assert_str_ne(json_text_at(span_at("publish", 0), "spanId"), json_text_at(span_at("publish", 1), "spanId"));
	ck_assert_uint_eq(count("execute"), 1); /* nobody was there the first time */
	expect_times("execute", 0, 8600, 9400);
	ck_assert_uint_eq(json_array_size(json_object_get(span_at("execute", 0), "events")), 1);
	expect_times("answer", 0, 9400, 9500);
	ck_assert_uint_eq(json_array_size(spans), 11);
	json_decref(spans);
	spans = NULL;
}
END_TEST

START_TEST(a_lost_publish_is_repeated)
{
	char id[SPAN_ID_SIZE];

	tell("\"status\":\"timed_out\",\"finished_at\":null,\"reason\":{\"code\":\"NO_RESPONSE\"}",
		"[" STEP("00.000000", "accepted", "") "," STEP("00.000001", "claimed", "\"attempt\":1") "," STEP(
			"00.100000", "published", "\"attempt\":1") "," STEP("05.000000", "claimed",
			"\"attempt\":2") "," STEP("05.100000", "published", "\"attempt\":2") "," STEP("05.200000",
			"puback", "\"reason_code\":0") "," STEP("20.000000", "timer", "\"what\":\"time_out\"") "]");
	expect_times("execute", 0, 100, 5100);
	expect_times("execute", 1, 5100, 20000);
	trace_span_id(ID, TRACE_STEP_EXECUTE, 2, id);
	ck_assert_str_eq(json_text_at(span_at("execute", 1), "spanId"), id);
	ck_assert_uint_eq(count("puback"), 1);
	ck_assert_uint_eq(count("wait"), 0);
	ck_assert_uint_eq(count("answer"), 0);
	const json_t *status = json_object_get(span_at("command doors.unlock", 0), "status");
	ck_assert_int_eq(json_integer_value(json_object_get(status, "code")), 2);
	ck_assert_str_eq(json_text_at(status, "message"), "NO_RESPONSE");
	json_decref(spans);
	spans = NULL;
}
END_TEST

/* The others were told when its time was out. */
START_TEST(a_late_answer_comes_alone)
{
	tell("\"status\":\"succeeded\",\"late\":true,\"finished_at\":\"" DAY "20.000000Z\"",
		"[" STEP("00.000000", "accepted", "") "," STEP(
			"19.000000", "answer", "\"status\":\"succeeded\",\"traceparent\":\"junk\"") "]");
	ck_assert_uint_eq(json_array_size(spans), 1);
	expect_times("answer", 0, 19000, 20000);
	ck_assert_ptr_null(json_object_get(span_at("answer", 0), "links"));
	json_decref(spans);
	spans = NULL;
}
END_TEST

/* A claim that was given back has nothing to tell, and waiting goes on. */
START_TEST(a_claim_that_was_released)
{
	tell("\"status\":\"canceled\",\"finished_at\":\"" DAY "07.000000Z\"",
		"[" STEP("00.000000", "accepted", "") "," STEP("03.000000", "claimed", "\"attempt\":1") "," STEP(
			"07.000000", "canceled", "\"by\":\"x\"") "]");
	expect_times("wait", 0, 0, 3000);
	expect_times("wait", 1, 3000, 7000);
	ck_assert_uint_eq(count("publish"), 0);
	ck_assert_ptr_null(json_object_get(span_at("command doors.unlock", 0), "status"));
	json_decref(spans);
	spans = NULL;
}
END_TEST

/* The exporter. */

static struct loop *loop;
static struct http_peer peer;
static struct exporter *exporter;

static bool has_heard(void)
{
	return http_peer_has_heard(&peer);
}

static bool is_quiet(void)
{
	return exporter_is_quiet(exporter);
}

static void pump_until(bool (*reached)(void))
{
	uint64_t until = uv_hrtime() + 20000000000ull;

	while (!reached()) {
		ck_assert_msg(uv_hrtime() < until, "what the test waits for did not happen in 20 s");
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	}
}

START_TEST(what_does_not_fit_is_counted_and_nothing_waits)
{
	static const struct pair headers[] = { { "X-Tenant", "cars" } };
	static const struct pairs given = { headers, 1 }, none = { 0 };
	char url[64];
	int64_t dropped = metric_value(METRIC_SPANS_DROPPED);

	loop = loop_new();
	http_peer_start(&peer, loop);
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/v1/traces", peer.port);
	exporter = exporter_new(loop, &(struct exporter_options){ .url = url,
					      .headers = &given,
					      .timeout_ms = 20000,
					      .delay_ms = 60000,
					      .node = "n",
					      .resource = &none });
	for (int i = 0; i < 512; i++)
		exporter_add(exporter, memory_need(strdup("{\"name\":\"a\"}")));
	pump_until(has_heard); /* a batch is full: it does not wait for the delay; and is not answered */
	ck_assert_ptr_nonnull(strstr(peer.heard.data, "\r\nX-Tenant: cars\r\n"));
	ck_assert_ptr_nonnull(
		strstr(peer.heard.data, "{\"key\":\"service.name\",\"value\":{\"stringValue\":\"keyfob\"}}"));
	for (int i = 0; i < 2048; i++)
		exporter_add(exporter, memory_need(strdup("{\"name\":\"b\"}")));
	ck_assert_int_eq(metric_value(METRIC_SPANS_DROPPED), dropped);
	for (int i = 0; i < 3; i++)
		exporter_add(exporter, memory_need(strdup("{\"name\":\"c\"}")));
	ck_assert_int_eq(metric_value(METRIC_SPANS_DROPPED), dropped + 3);
	exporter_stop(exporter);
	http_peer_stop(&peer); /* which ends the call */
	pump_until(is_quiet);
	ck_assert_int_eq(metric_value(METRIC_SPANS_DROPPED), dropped + 3 + 512 + 2048);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tracing");
	TCase *tests = tcase_create("tracing");
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, a_sleeping_vehicle);
	tcase_add_test(tests, a_lost_publish_is_repeated);
	tcase_add_test(tests, a_late_answer_comes_alone);
	tcase_add_test(tests, a_claim_that_was_released);
	tcase_add_test(tests, what_does_not_fit_is_counted_and_nothing_waits);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
