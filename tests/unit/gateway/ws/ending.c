/* ending.c - being there, and going: pings, closes, draining, the end of the room. */
#include "tests/unit/gateway/ws/ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_unwatched(void *context)
{
	(void)context;
	return watcher_count == 0;
}

START_TEST(an_app_is_asked_whether_it_is_there)
{
	struct client c;
	open_known(&c);
	for (int i = 0; i < 6; i++) {
		struct frame f = next_frame(&c);
		ck_assert_int_eq(f.opcode, PING);
		send_frame(&c, 0x80 | PONG, f.text, f.len);
		free(f.text);
	}
	for (int i = 0; i < 2; i++) {
		struct frame f = next_frame(&c);
		ck_assert_int_eq(f.opcode, PING);
		free(f.text);
	}
	run_until(has_ended, &c);
	ck_assert_uint_eq(c.in.len, c.read);
	client_done(&c);
}
END_TEST

START_TEST(an_app_that_goes_leaves_nothing)
{
	struct client c;
	open_known(&c);
	subscribe(&c, "V1", 1);
	say(&c, CALL("1", "vehicle.get", "{\"vehicle_id\":\"HELD\"}"));
	run_until(is_held, NULL);
	client_done(&c);
	run_until(is_unwatched, NULL);
	ck_assert(ws_is_empty(ws));
	api_call_reply(held, strdup("{}"), 2);
	held = NULL;
}
END_TEST

START_TEST(a_close_of_the_app_is_answered)
{
	struct client c;
	open_known(&c);
	send_frame(&c, 0x80 | CLOSE, "\x03\xe8", 2);
	struct frame f = next_frame(&c);
	ck_assert_int_eq(f.opcode, CLOSE);
	ck_assert_int_eq((unsigned char)f.text[0] << 8 | (unsigned char)f.text[1], 1000);
	free(f.text);
	run_until(has_ended, &c);
	client_done(&c);
}
END_TEST

static const struct {
	int bits;
	const char *text;
	size_t len;
	int code;
} ends[] = { { 0x80 | TEXT, "\xff", 1, 1007 }, { 0x80 | CLOSE, "\x03\xe8", 2, 1000 } };

/* RFC 6455 §5.5.1: whoever ends it, or has libwebsockets end it. It waits for the app's close then, and is watching still. */
START_TEST(behind_a_close_nothing_is_sent)
{
	struct client c, other;

	open_known(&other);
	open_known(&c);
	subscribe(&c, "V1", 1);
	send_frame(&c, ends[_i].bits, ends[_i].text, ends[_i].len);
	struct frame f = next_frame(&c);
	ck_assert_int_eq(f.opcode, CLOSE);
	ck_assert_int_eq((unsigned char)f.text[0] << 8 | (unsigned char)f.text[1], ends[_i].code);
	if (is_watched("V1"))
		tell("V1", 2, "vehicle.changed", "{}");
	say(&other, CALL("1", "vehicle.list", "{}"));
	expect_part(&other, "\"result\"");
	if (!c.ended && ends[_i].code != 1000)
		send_frame(&c, 0x80 | CLOSE, f.text, 2);
	run_until(has_ended, &c);
	ck_assert_uint_eq(c.in.len, c.read);
	free(f.text);
	client_done(&c);
	client_done(&other);
}
END_TEST

START_TEST(draining_answers_what_was_asked_and_closes)
{
	struct client idle, busy;
	open_known(&idle);
	open_known(&busy);
	say(&busy, CALL("1", "vehicle.get", "{\"vehicle_id\":\"HELD\"}"));
	run_until(is_held, NULL);
	api.draining = true;
	ws_drain(ws);
	expect_close(&idle, 1012);
	say(&busy, CALL("2", "vehicle.list", "{}"));
	expect_part(&busy, "urn:keyfob:problem:draining");
	api_call_reply(held, strdup("{}"), 2);
	held = NULL;
	expect(&busy, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}");
	expect_close(&busy, 1012);
	ck_assert_int_eq(status_of_head("127.0.0.1", KNOWN), 503);
	client_done(&idle);
	client_done(&busy);
}
END_TEST

START_TEST(the_room_is_torn_down_with_everybody_in_it)
{
	struct client c;
	open_known(&c);
	subscribe(&c, "V1", 1);
	client_drop(&c);
}
END_TEST

void add_ending(Suite *suite)
{
	TCase *cases = case_new(suite, "ending", begin);

	tcase_add_test(cases, an_app_that_goes_leaves_nothing);
	tcase_add_test(cases, a_close_of_the_app_is_answered);
	tcase_add_loop_test(cases, behind_a_close_nothing_is_sent, 0, sizeof(ends) / sizeof(ends[0]));
	tcase_add_test(cases, draining_answers_what_was_asked_and_closes);
	tcase_add_test(cases, the_room_is_torn_down_with_everybody_in_it);

	cases = case_new(suite, "ending, impatient", begin_impatient);

	tcase_add_test(cases, an_app_is_asked_whether_it_is_there);
}
