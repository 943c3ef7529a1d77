/* watching.c - events: in order, once, whole, as far as there is a right; and apps that are too slow for them. */
#include "tests/unit/gateway/ws/ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/metrics.h"

static void expect_event(struct client *c, const char *vehicle_id, int seq)
{
	char part[128];
	snprintf(part, sizeof(part), "\"method\":\"event\",\"params\":{\"vehicle_id\":\"%s\",\"seq\":%d,", vehicle_id,
		seq);
	expect_part(c, part);
}

START_TEST(events_follow_the_result_in_order)
{
	struct client c;
	open_known(&c);
	say(&c, CALL("9", "vehicle.subscribe", "{\"vehicle_id\":\"V1\",\"epoch\":\"e1\",\"after\":3}"));
	run_until(is_watched, (char[]){ "V1" });
	ck_assert_int_eq(watcher_of("V1")->after, 3);
	ck_assert_str_eq(watcher_of("V1")->epoch, "e1");
	ck_assert_str_eq(watcher_of("V1")->subject, "alice");
	make_ready("V1", 5);
	tell("V1", 4, "state.reported", "{}");
	tell("V1", 5, "state.reported", "{}");
	expect(&c, "{\"jsonrpc\":\"2.0\",\"id\":9,\"result\":{\"vehicle\":{\"vehicle_id\":\"V\"},\"epoch\":\"e1\","
		   "\"seq\":5,"
		   "\"recovered\":true}}");
	expect_event(&c, "V1", 4);
	expect_event(&c, "V1", 5);
	say(&c, CALL("10", "vehicle.unsubscribe", "{\"vehicle_id\":\"V1\"}"));
	expect(&c, "{\"jsonrpc\":\"2.0\",\"id\":10,\"result\":{}}");
	ck_assert_uint_eq(watcher_count, 0);
	client_done(&c);
}
END_TEST

START_TEST(what_is_sent_in_one_turn_comes_in_one_piece)
{
	struct client c;
	open_known(&c);
	say(&c, SUBSCRIBE("1", "V1"));
	run_until(is_watched, (char[]){ "V1" });
	c.pieces = 0;
	make_ready("V1", 5);
	tell("V1", 6, "state.reported", "{}");
	tell("V1", 7, "state.reported", "{}");
	expect_part(&c, "\"id\":1,\"result\"");
	expect_event(&c, "V1", 6);
	expect_event(&c, "V1", 7);
	ck_assert_uint_eq(c.pieces, 1);
	client_done(&c);
}
END_TEST

static void send_digits(char digit, size_t len)
{
	struct text text = { 0 };
	while (text.len < len)
		text_add_bytes(&text, &digit, 1);
	socket_send(container_of(ws->sockets.prev, struct socket, node), &text);
}

static void expect_digits(struct client *c, char digit, size_t len)
{
	struct frame f = next_frame(c);
	ck_assert_int_eq(f.opcode, TEXT);
	ck_assert_uint_eq(f.len, len);
	for (size_t i = 0; i < len; i++)
		ck_assert_int_eq(f.text[i], digit);
	free(f.text);
}

/* Where the frame's head becomes longer (RFC 6455 §5.2), alone, and behind others as far as a write has room. */
START_TEST(a_message_of_any_length_arrives_whole)
{
	static const size_t lens[] = { 0, 1, 124, 125, 126, 127, 65534, 65535, 65536, 100000 };
	struct client c;
	open_known(&c);
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		send_digits('a', lens[i]);
		expect_digits(&c, 'a', lens[i]);
		for (char digit = '0'; digit <= '9'; digit++)
			send_digits(digit, lens[i] % 1000);
		send_digits('b', lens[i]);
		send_digits('c', 3);
		for (char digit = '0'; digit <= '9'; digit++)
			expect_digits(&c, digit, lens[i] % 1000);
		expect_digits(&c, 'b', lens[i]);
		expect_digits(&c, 'c', 3);
	}
	client_done(&c);
}
END_TEST

START_TEST(a_second_subscription_takes_the_firsts_place)
{
	struct client c;
	open_known(&c);
	say(&c, SUBSCRIBE("1", "V1"));
	run_until(is_watched, (char[]){ "V1" });
	say(&c, SUBSCRIBE("2", "V1"));
	expect_error(&c, "1", -32000);
	ck_assert_uint_eq(watcher_count, 1);
	make_ready("V1", 5);
	expect_part(&c, "\"id\":2,\"result\"");
	subscribe(&c, "V1", 8);
	ck_assert_uint_eq(watcher_count, 1);
	tell("V1", 9, "state.reported", "{}");
	expect_event(&c, "V1", 9);
	client_done(&c);
}
END_TEST

START_TEST(a_vehicle_that_cannot_be_seen_is_a_fault)
{
	struct client c;
	open_known(&c);
	say(&c, SUBSCRIBE("1", "V1"));
	run_until(is_watched, (char[]){ "V1" });
	end_watch("V1", &FAULT_VEHICLE_NOT_FOUND);
	expect_part(&c, "urn:keyfob:problem:vehicle-not-found");
	client_done(&c);
}
END_TEST

static void tell_of_fleet(const char *watched, const char *vehicle_id, int64_t seq)
{
	tell_by(watched, &(struct event_parts){ .vehicle_id = vehicle_id,
				 .fleet_id = "F1",
				 .seq = seq,
				 .type = "state.reported",
				 .time = "2026-01-01T00:00:00.000000Z",
				 .data = "{}",
				 .data_len = 2 });
}

START_TEST(a_fleet_is_watched)
{
	struct client c;
	open_known(&c);
	say(&c, CALL("1", "fleet.subscribe", "{\"fleet_id\":\"F1\"}"));
	run_until(is_watched, (char[]){ "F1" });
	make_ready("F1", 0);
	expect(&c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"fleet_id\":\"F1\",\"epoch\":\"e1\",\"vehicles\":3}}");
	tell_of_fleet("F1", "V7", 4);
	expect_event(&c, "V7", 4);
	end_watch("F1", &FAULT_FORBIDDEN);
	expect_part(&c, "\"params\":{\"fleet_id\":\"F1\",\"type\":\"access.changed\",");
	say(&c, CALL("2", "fleet.unsubscribe", "{\"fleet_id\":\"F1\"}"));
	expect(&c, "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}");
	say(&c, CALL("3", "fleet.subscribe", "{\"fleet_id\":\"a/b\"}"));
	expect_part(&c, "urn:keyfob:problem:fleet-not-found");
	say(&c, CALL("4", "fleet.subscribe", "{\"fleet_id\":\"*\"}"));
	expect_part(&c, "urn:keyfob:problem:forbidden");
	ck_assert_uint_eq(watcher_count, 0);
	client_done(&c);
}
END_TEST

/* What comes by a vehicle's own subscription does not come by its fleet's as well, nor a fleet's grant by each vehicle. */
START_TEST(an_event_comes_once_however_often_it_is_watched)
{
	struct client c;
	struct event_parts access = { .fleet_id = "F1",
		.type = "access.changed",
		.time = "2026-01-01T00:00:00.000000Z",
		.data = "{\"subject\":\"bob\",\"role\":null}",
		.data_len = 29 };
	open_known(&c);
	subscribe(&c, "V1", 1);
	say(&c, CALL("1", "fleet.subscribe", "{\"fleet_id\":\"F1\"}"));
	run_until(is_watched, (char[]){ "F1" });
	make_ready("F1", 0);
	expect_part(&c, "\"id\":1,\"result\"");
	tell_of_fleet("V1", "V1", 2);
	tell_of_fleet("F1", "V1", 2);
	tell_of_fleet("F1", "V2", 9);
	expect_event(&c, "V1", 2);
	expect_event(&c, "V2", 9);
	for (int i = 0; i < 2; i++) {
		struct hub_event *event = event_new(&access);
		event->serial = 7;
		watcher_of(i ? "F1" : "V1")->on_event(watcher_of(i ? "F1" : "V1"), event);
		hub_event_unref(event);
	}
	expect_part(&c, "\"params\":{\"fleet_id\":\"F1\",\"type\":\"access.changed\"");
	say(&c, CALL("2", "vehicle.list", "{}"));
	expect_part(&c, "\"id\":2,\"result\"");
	client_done(&c);
}
END_TEST

START_TEST(the_end_of_a_grant_is_told_once)
{
	struct client c;
	open_known(&c);
	subscribe(&c, "V1", 1);
	subscribe(&c, "V2", 1);
	tell("V1", 2, "access.changed", "{\"subject\":\"alice\",\"role\":null,\"expires_at\":null}");
	end_watch("V1", &FAULT_FORBIDDEN);
	tell("V2", 2, "access.changed", "{\"subject\":\"bob\",\"role\":null,\"expires_at\":null}");
	end_watch("V2", &FAULT_FORBIDDEN);
	expect_event(&c, "V1", 2);
	expect_event(&c, "V2", 2);
	expect_part(&c, "\"params\":{\"vehicle_id\":\"V2\",\"type\":\"access.changed\",");
	say(&c, CALL("3", "vehicle.list", "{}"));
	expect_part(&c, "\"id\":3,\"result\"");
	client_done(&c);
}
END_TEST

START_TEST(a_connection_has_at_most_a_thousand_subscriptions)
{
	struct client c;
	char text[256];
	open_known(&c);
	for (int i = 0; i < 1001; i++) {
		snprintf(text, sizeof(text), SUBSCRIBE("%d", "V%d"), i, i);
		say(&c, text);
		if (i % 100 == 99)
			run_until(is_watched, (snprintf(text, sizeof(text), "V%d", i), text));
	}
	expect_error(&c, "1000", -32000);
	ck_assert_uint_eq(watcher_count, 1000);
	client_done(&c);
}
END_TEST

static const char filler[] = "{\"filler\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"}";

/* What waits in the node for the app that came last; how much the kernel takes before is the kernel's affair. */
static size_t bytes_behind(void)
{
	return container_of(ws->sockets.prev, struct socket, node)->outbox.bytes;
}

/* Tells an app that does not read, until it is `behind` by so many bytes or was given up; how many events it was. */
static int64_t tell_unread(struct client *c, size_t behind)
{
	int64_t seq = 0;
	open_known(c);
	subscribe(c, "V1", 0);
	uv_poll_stop(&c->poll);
	while (watcher_count > 0 && bytes_behind() < behind)
		tell("V1", ++seq, "state.reported", filler);
	return seq;
}

START_TEST(a_slow_app_is_closed_and_learns_why)
{
	struct client c;
	int64_t slow = metric_value(METRIC_WEBSOCKET_SLOW);
	int code = 0;
	tell_unread(&c, SIZE_MAX);
	ck_assert_int_eq(metric_value(METRIC_WEBSOCKET_SLOW), slow + 1);
	read_on(&c);
	for (int i = 1; code == 0; i++) {
		struct frame f = next_frame(&c);
		char part[32];
		snprintf(part, sizeof(part), "\"seq\":%d,", i);
		if (f.opcode == CLOSE)
			code = (unsigned char)f.text[0] << 8 | (unsigned char)f.text[1];
		else
			ck_assert(strstr(f.text, part));
		free(f.text);
	}
	ck_assert_int_eq(code, 4408);
	client_done(&c);
}
END_TEST

START_TEST(an_app_that_catches_up_in_time_misses_nothing)
{
	struct client c;
	int64_t bearable = tell_unread(&c, MAX_QUEUE / 2);
	ck_assert_uint_eq(watcher_count, 1);
	read_on(&c);
	for (int seq = 1; seq <= bearable; seq++)
		expect_event(&c, "V1", seq);
	tell("V1", bearable + 1, "state.reported", filler);
	expect_event(&c, "V1", (int)bearable + 1);
	client_done(&c);
}
END_TEST

void add_watching(Suite *suite)
{
	TCase *cases = case_new(suite, "watching", begin);

	tcase_add_test(cases, events_follow_the_result_in_order);
	tcase_add_test(cases, what_is_sent_in_one_turn_comes_in_one_piece);
	tcase_add_test(cases, a_message_of_any_length_arrives_whole);
	tcase_add_test(cases, a_second_subscription_takes_the_firsts_place);
	tcase_add_test(cases, a_vehicle_that_cannot_be_seen_is_a_fault);
	tcase_add_test(cases, a_fleet_is_watched);
	tcase_add_test(cases, an_event_comes_once_however_often_it_is_watched);
	tcase_add_test(cases, the_end_of_a_grant_is_told_once);
	tcase_add_test(cases, a_connection_has_at_most_a_thousand_subscriptions);
	tcase_add_test(cases, a_slow_app_is_closed_and_learns_why);
	tcase_add_test(cases, an_app_that_catches_up_in_time_misses_nothing);
}
