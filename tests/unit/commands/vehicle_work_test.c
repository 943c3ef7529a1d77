/* vehicle_work_test.c - one vehicle's requests: in order, each once, none after its expiry, told until accepted. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/loop.h"
#include "base/mqtt/link.h"
#include "base/rfc3339.h"
#include "commands/vehicle/car.h"
#include "commands/vehicle/work.h"
#include "tests/suite.h"

#define NOW_US INT64_C(1769846950123456)
#define TOLD_MAX 64

static struct loop *loop;
static struct car car;
static struct work work;
static struct work_manner manner;
static struct work_port port;
static bool is_online;

/* what it published, oldest first */
static struct {
	char topic[128], correlation[64];
	json_t *body;
} told[TOLD_MAX];
static size_t told_count;

static bool publish(void *owner, const struct mqtt_publish *message)
{
	ck_assert_ptr_eq(owner, &work);
	if (!is_online)
		return false;
	ck_assert_uint_lt(told_count, TOLD_MAX);
	ck_assert_int_eq(message->qos, 1);
	snprintf(told[told_count].topic, sizeof(told[0].topic), "%s", message->topic);
	snprintf(told[told_count].correlation, sizeof(told[0].correlation), "%s", message->correlation);
	told[told_count++].body = json_read(message->payload, message->len);
	return true;
}

static void set_up(void)
{
	loop = loop_new_virtual(NOW_US);
	json_auto_t *factory_state = car_factory_state();
	car_init(&car, factory_state, NOW_US);
	manner = (struct work_manner){ .latency_ms = 50 };
	port = (struct work_port){
		.vehicle_id = "WKF1",
		.own_feed_topic = "vehicles/WKF1/commands/response/07",
		.loop = loop,
		.car = &car,
		.publish = publish,
		.owner = &work,
	};
	is_online = true;
	work_init(&work, &port, &manner);
}

static void tear_down(void)
{
	work_done(&work);
	car_done(&car);
	for (size_t i = 0; i < told_count; i++)
		json_decref(told[i].body);
	told_count = 0;
	loop_free(loop);
}

static void receive_text(const char *text, uint32_t expiry_seconds)
{
	work_receive(&work,
		&(struct mqtt_message){ .payload = text, .len = strlen(text), .expiry_seconds = expiry_seconds });
}

/* A request that was issued just now by the node's clock, which runs `clock_ahead_ms` before the vehicle's. */
static void receive_from(
	const char *id, const char *name, int64_t ttl_ms, uint32_t expiry_seconds, int64_t clock_ahead_ms)
{
	char issued[RFC3339_SIZE], expires[RFC3339_SIZE], text[512];
	int64_t node_us = loop_unix_us(loop) + clock_ahead_ms * 1000;
	rfc3339_write(node_us, issued);
	rfc3339_write(node_us + ttl_ms * 1000, expires);
	snprintf(text, sizeof(text),
		"{\"request_id\":\"%s\",\"response_topic\":\"vehicles/WKF1/commands/response/09\",\"name\":\"%s\","
		"\"params\":{},\"issued_at\":\"%s\",\"expires_at\":\"%s\",\"attempt\":1}",
		id, name, issued, expires);
	receive_text(text, expiry_seconds);
}

static void receive(const char *id, const char *name)
{
	receive_from(id, name, 30000, 30, 0);
}

static void settle(const char *id, bool is_accepted)
{
	char text[128];
	snprintf(text, sizeof(text), "{\"request_id\":\"%s\",\"code\":\"TERMINAL_STATE\"}", id);
	work_settle(&work, &(struct mqtt_message){ .payload = text, .len = strlen(text) }, is_accepted);
}

static void assert_told(size_t index, const char *id, const char *status)
{
	ck_assert_uint_lt(index, told_count);
	ck_assert_str_eq(json_text_at(told[index].body, "request_id"), id);
	ck_assert_str_eq(json_text_at(told[index].body, "status"), status);
}

static const char *reason_code(size_t index)
{
	return json_text_at(json_object_get(told[index].body, "reason"), "code");
}

START_TEST(a_request_is_done_and_answered_after_the_latency)
{
	receive("a", "doors.unlock");
	loop_advance(loop, 49);
	ck_assert_uint_eq(told_count, 0);
	loop_advance(loop, 1);
	ck_assert_uint_eq(told_count, 1);
	assert_told(0, "a", "succeeded");
	ck_assert_str_eq(told[0].topic, "vehicles/WKF1/commands/response/09");
	ck_assert_str_eq(told[0].correlation, "a");
	const json_t *doors = json_object_get(json_object_get(told[0].body, "state"), "doors");
	ck_assert(json_is_false(json_object_get(doors, "locked")));
	ck_assert_int_eq(json_integer_value(json_object_get(told[0].body, "state_version")), car.version);
	ck_assert(json_is_object(json_object_get(told[0].body, "result")));
}
END_TEST

START_TEST(requests_are_done_one_after_the_other_in_order)
{
	receive("a", "doors.unlock");
	receive("b", "doors.lock");
	receive("c", "horn.sound");
	loop_advance(loop, 149);
	ck_assert_uint_eq(told_count, 2);
	loop_advance(loop, 1);
	assert_told(0, "a", "succeeded");
	assert_told(1, "b", "succeeded");
	assert_told(2, "c", "succeeded");
	ck_assert_ptr_null(json_object_get(told[2].body, "state"));
}
END_TEST

START_TEST(an_answer_is_sent_again_every_two_seconds_until_it_is_accepted)
{
	receive("a", "doors.unlock");
	loop_advance(loop, 50 + 2 * WORK_RESEND_MS);
	ck_assert_uint_eq(told_count, 3);
	ck_assert(json_equal(told[0].body, told[2].body));
	settle("a", true);
	loop_advance(loop, 10 * WORK_RESEND_MS);
	ck_assert_uint_eq(told_count, 3);
}
END_TEST

START_TEST(a_rejected_answer_is_not_sent_again)
{
	receive("a", "doors.unlock");
	loop_advance(loop, 50);
	settle("unknown", false);
	settle("a", false);
	loop_advance(loop, 10 * WORK_RESEND_MS);
	ck_assert_uint_eq(told_count, 1);
}
END_TEST

START_TEST(a_duplicate_gets_the_same_answer_and_is_not_done_again)
{
	receive("a", "doors.unlock");
	receive("a", "doors.unlock"); /* while it is being done */
	loop_advance(loop, 50);
	settle("a", true);
	receive("b", "doors.lock");
	loop_advance(loop, 50);
	settle("b", true);
	int64_t version = car.version;

	receive("a", "doors.unlock");
	ck_assert_uint_eq(told_count, 3);
	ck_assert(json_equal(told[0].body, told[2].body));
	loop_advance(loop, 50);
	ck_assert_uint_eq(told_count, 3);
	ck_assert_int_eq(car.version, version);
	loop_advance(loop, WORK_RESEND_MS);
	ck_assert_uint_eq(told_count, 4); /* and it is told until it is accepted again */
}
END_TEST

START_TEST(a_stale_request_is_refused_by_the_wall_clock)
{
	receive_from("a", "doors.unlock", -1, 0, 0);
	ck_assert_uint_eq(told_count, 1);
	assert_told(0, "a", "rejected");
	ck_assert_str_eq(reason_code(0), "EXPIRED");
	ck_assert_int_eq(car.version, NOW_US / 1000);
}
END_TEST

START_TEST(what_waits_too_long_behind_another_is_refused)
{
	manner.latency_ms = 3000;
	receive_from("a", "doors.unlock", 2000, 2, 0);
	receive_from("b", "engine.start", 2000, 2, 0);
	loop_advance(loop, 3000);
	ck_assert_uint_eq(told_count, 2);
	assert_told(0, "a", "succeeded"); /* it was done in time, only told late */
	assert_told(1, "b", "rejected");
	ck_assert_str_eq(reason_code(1), "EXPIRED");
}
END_TEST

START_TEST(a_slow_wall_clock_is_bounded_by_the_message_expiry)
{
	manner.latency_ms = 5000;
	receive("a", "doors.unlock");
	/* an hour behind, the vehicle's clock would let it wait an hour; the broker said 4 seconds are left */
	receive_from("b", "engine.start", 30000, 4, 3600 * 1000);
	loop_advance(loop, 5000);
	assert_told(1, "b", "rejected");
	ck_assert_str_eq(reason_code(1), "EXPIRED");
}
END_TEST

START_TEST(a_slow_wall_clock_is_bounded_by_the_life_of_the_request_without_a_message_expiry)
{
	manner.latency_ms = 5000;
	receive("a", "doors.unlock");
	receive_from("b", "engine.start", 4000, 0, 3600 * 1000);
	loop_advance(loop, 5000);
	assert_told(1, "b", "rejected");
}
END_TEST

START_TEST(a_jump_of_the_wall_clock_past_the_expiry_is_heeded)
{
	receive("a", "doors.unlock");
	receive("b", "engine.start");
	loop_jump_wall_clock(loop, INT64_C(31) * 1000 * 1000);
	loop_advance(loop, 50);
	assert_told(1, "b", "rejected");
}
END_TEST

START_TEST(progress_is_told_first_and_its_acceptance_is_not_taken_for_the_answers)
{
	manner.tells_progress = true;
	receive("a", "doors.unlock");
	assert_told(0, "a", "in_progress");
	loop_advance(loop, 50);
	assert_told(1, "a", "succeeded");
	settle("a", true);
	loop_advance(loop, WORK_RESEND_MS);
	ck_assert_uint_eq(told_count, 3);
	assert_told(2, "a", "succeeded");
	settle("a", true);
	loop_advance(loop, 10 * WORK_RESEND_MS);
	ck_assert_uint_eq(told_count, 3);
}
END_TEST

START_TEST(progress_is_told_again_until_it_is_accepted)
{
	manner = (struct work_manner){ .latency_ms = 10 * WORK_RESEND_MS, .tells_progress = true };
	receive("a", "doors.unlock");
	loop_advance(loop, WORK_RESEND_MS);
	ck_assert_uint_eq(told_count, 2);
	settle("a", true);
	settle("a", true);
	loop_advance(loop, 8 * WORK_RESEND_MS);
	ck_assert_uint_eq(told_count, 2);
}
END_TEST

START_TEST(a_silent_vehicle_does_it_and_says_nothing)
{
	manner.is_silent = true;
	manner.tells_progress = true;
	receive("a", "doors.unlock");
	receive_from("b", "doors.lock", -1, 0, 0);
	loop_advance(loop, 10 * WORK_RESEND_MS);
	receive("a", "doors.unlock");
	loop_advance(loop, 10 * WORK_RESEND_MS);
	ck_assert_int_eq(car.version, NOW_US / 1000 + 1);
	ck_assert_uint_eq(told_count, 0);
}
END_TEST

START_TEST(a_failing_vehicle_says_so_and_changes_nothing)
{
	manner.fail_rate = 1;
	receive("a", "doors.unlock");
	loop_advance(loop, 50);
	assert_told(0, "a", "failed");
	ck_assert_ptr_nonnull(reason_code(0));
	ck_assert_int_eq(car.version, NOW_US / 1000);
}
END_TEST

START_TEST(answers_wait_while_the_vehicle_is_offline_and_leave_in_order)
{
	receive("a", "doors.unlock");
	receive("b", "doors.lock");
	is_online = false;
	loop_advance(loop, 3 * WORK_RESEND_MS);
	ck_assert_uint_eq(told_count, 0);
	is_online = true;
	work_resume(&work);
	ck_assert_uint_eq(told_count, 2);
	assert_told(0, "a", "succeeded");
	assert_told(1, "b", "succeeded");
	loop_advance(loop, WORK_RESEND_MS);
	ck_assert_uint_eq(told_count, 4);
}
END_TEST

START_TEST(what_is_no_request_is_ignored)
{
	static const char *const texts[] = { "", "null", "[]", "{", "{}",
		"{\"request_id\":1,\"name\":\"a\",\"expires_at\":\"2099-01-01T00:00:00Z\"}",
		"{\"request_id\":\"\",\"name\":\"a\",\"expires_at\":\"2099-01-01T00:00:00Z\"}",
		"{\"request_id\":\"a\",\"expires_at\":\"2099-01-01T00:00:00Z\"}",
		"{\"request_id\":\"a\",\"name\":\"b\"}",
		"{\"request_id\":\"a\",\"name\":\"b\",\"expires_at\":\"soon\"}" };
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		receive_text(texts[i], 0);
		work_settle(&work, &(struct mqtt_message){ .payload = texts[i], .len = strlen(texts[i]) }, true);
	}
	loop_advance(loop, 1000);
	ck_assert_uint_eq(told_count, 0);
	ck_assert_uint_eq(work.count, 0);
}
END_TEST

START_TEST(a_response_topic_that_cannot_be_published_to_is_replaced_by_the_own_feed)
{
	receive_text("{\"request_id\":\"a\",\"name\":\"b\",\"expires_at\":\"2099-01-01T00:00:00Z\","
		     "\"response_topic\":\"vehicles/#\"}",
		0);
	loop_advance(loop, 50);
	ck_assert_str_eq(told[0].topic, "vehicles/WKF1/commands/response/07");
}
END_TEST

static void receive_and_settle(size_t first, size_t count, int64_t ttl_ms)
{
	for (size_t i = first; i < first + count; i++) {
		char id[24];
		snprintf(id, sizeof(id), "%zu", i);
		receive_from(id, "horn.sound", ttl_ms, 0, 0);
		loop_advance(loop, 0);
		settle(id, true);
		json_decref(told[0].body);
		told_count = 0;
	}
}

START_TEST(the_expired_are_forgotten_but_for_the_newest)
{
	manner.latency_ms = 0;
	receive_and_settle(0, 1000, 30000);
	ck_assert_uint_eq(work.count, 1000); /* any of them may come again */
	loop_advance(loop, 31000);
	receive_and_settle(1000, 2000, 30000);
	ck_assert_uint_le(work.count, 2001);
	loop_advance(loop, 31000);
	receive_and_settle(3000, 2000, 1);
	loop_advance(loop, 31000);
	receive_and_settle(5000, 2000, -1);
	ck_assert_uint_eq(work.count, WORK_REMEMBERED_MIN);
}
END_TEST

START_TEST(a_vehicle_that_knows_too_many_drops_the_newcomer)
{
	manner.latency_ms = 0;
	receive_and_settle(0, WORK_REQUESTS_MAX, 3600 * 1000);
	ck_assert_uint_eq(work.count, WORK_REQUESTS_MAX);
	receive("one too many", "doors.unlock");
	loop_advance(loop, 1000);
	ck_assert_uint_eq(told_count, 0);
	receive("0", "horn.sound");
	ck_assert_uint_eq(told_count, 1); /* the oldest is still known */
	settle("0", true);
	loop_advance(loop, 3600 * 1000);
	receive("later", "doors.unlock");
	ck_assert_uint_lt(work.count, WORK_REQUESTS_MAX);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("work");
	TCase *tests = tcase_create("work");
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, a_request_is_done_and_answered_after_the_latency);
	tcase_add_test(tests, requests_are_done_one_after_the_other_in_order);
	tcase_add_test(tests, an_answer_is_sent_again_every_two_seconds_until_it_is_accepted);
	tcase_add_test(tests, a_rejected_answer_is_not_sent_again);
	tcase_add_test(tests, a_duplicate_gets_the_same_answer_and_is_not_done_again);
	tcase_add_test(tests, a_stale_request_is_refused_by_the_wall_clock);
	tcase_add_test(tests, what_waits_too_long_behind_another_is_refused);
	tcase_add_test(tests, a_slow_wall_clock_is_bounded_by_the_message_expiry);
	tcase_add_test(tests, a_slow_wall_clock_is_bounded_by_the_life_of_the_request_without_a_message_expiry);
	tcase_add_test(tests, a_jump_of_the_wall_clock_past_the_expiry_is_heeded);
	tcase_add_test(tests, progress_is_told_first_and_its_acceptance_is_not_taken_for_the_answers);
	tcase_add_test(tests, progress_is_told_again_until_it_is_accepted);
	tcase_add_test(tests, a_silent_vehicle_does_it_and_says_nothing);
	tcase_add_test(tests, a_failing_vehicle_says_so_and_changes_nothing);
	tcase_add_test(tests, answers_wait_while_the_vehicle_is_offline_and_leave_in_order);
	tcase_add_test(tests, what_is_no_request_is_ignored);
	tcase_add_test(tests, a_response_topic_that_cannot_be_published_to_is_replaced_by_the_own_feed);
	tcase_add_test(tests, the_expired_are_forgotten_but_for_the_newest);
	tcase_add_test(tests, a_vehicle_that_knows_too_many_drops_the_newcomer);
	suite_add_tcase(suite, tests);

	return suite_run(suite);
}
