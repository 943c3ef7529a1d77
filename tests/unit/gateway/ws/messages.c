/* messages.c - what is said: requests, frames that are none, floods. */
#include "tests/unit/gateway/ws/ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

START_TEST(what_is_no_request_is_said_to_be_none)
{
	static const struct {
		const char *text, *id;
		int code;
	} cases[] = {
		{ "{\"jsonrpc\":", "null", -32700 },
		{ "\xff", NULL, 0 }, /* below */
		{ "7", "null", -32600 },
		{ "[" CALL("1", "vehicle.list", "{}") "]", "null", -32600 },
		{ "{\"jsonrpc\":\"1.0\",\"id\":4,\"method\":\"vehicle.list\"}", "4", -32600 },
		{ "{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"vehicle.list\"}", "null", -32600 },
		{ "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":6}", "5", -32600 },
		{ CALL("1", "vehicle.list", "6"), "1", -32600 },
		{ CALL("1", "vehicle.explode", "{}"), "1", -32601 },
		{ CALL("1", "fleet.subscribe", "{\"fleet_id\":\"*\"}"), "1", -32000 },
		{ CALL("1", "vehicle.list", "[]"), "1", -32602 },
		{ CALL("1.5", "vehicle.get", "{}"), "1.5", -32602 },
		{ CALL("\"a\"", "vehicle.get", "{\"vehicle_id\":7}"), "\"a\"", -32602 },
		{ CALL("1", "vehicle.subscribe", "{\"vehicle_id\":\"V1\",\"after\":-1}"), "1", -32602 },
		{ CALL("1", "command.send", "{\"vehicle_id\":\"V1\",\"name\":\"x\",\"params\":[]}"), "1", -32602 },
		{ CALL("1", "command.send", "{\"vehicle_id\":\"V1\",\"name\":\"x\",\"wait\":5}"), "1", -32000 },
		{ CALL("1", "vehicle.get", "{\"vehicle_id\":\"NONE\"}"), "1", -32000 },
		{ CALL("1", "vehicle.subscribe", "{\"vehicle_id\":\"a/b\"}"), "1", -32000 },
	};
	struct client c;
	open_known(&c);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (!cases[i].id)
			continue;
		say(&c, cases[i].text);
		expect_error(&c, cases[i].id, cases[i].code);
	}
	say(&c, "{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"vehicle.list\"}");
	expect_part(&c, "{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":");
	client_done(&c);
}
END_TEST

START_TEST(a_fault_carries_the_problem_of_rest)
{
	struct client c;
	open_known(&c);
	say(&c, CALL("1", "vehicle.get", "{\"vehicle_id\":\"NONE\"}"));
	struct frame f = next_frame(&c);
	json_auto_t *answer = json_loads(f.text, 0, NULL);
	const json_t *data = json_object_get(json_object_get(answer, "error"), "data");
	ck_assert_str_eq(json_text_at(data, "type"), "urn:keyfob:problem:vehicle-not-found");
	ck_assert_int_eq(json_integer_value(json_object_get(data, "status")), 404);
	ck_assert(json_is_false(json_object_get(data, "retriable")));
	ck_assert(json_is_false(json_object_get(data, "may_have_executed")));
	free(f.text);
	client_done(&c);
}
END_TEST

START_TEST(a_notification_gets_no_answer)
{
	struct client c;
	open_known(&c);
	say(&c, "{\"jsonrpc\":\"2.0\",\"method\":\"vehicle.get\",\"params\":{\"vehicle_id\":\"NONE\"}}");
	say(&c, "{\"jsonrpc\":\"2.0\",\"method\":\"vehicle.explode\"}");
	say(&c, "{\"jsonrpc\":\"2.0\",\"method\":\"vehicle.unsubscribe\",\"params\":{\"vehicle_id\":\"V1\"}}");
	say(&c, CALL("1", "vehicle.list", "{}"));
	expect_part(&c, "\"id\":1,\"result\"");
	client_done(&c);
}
END_TEST

START_TEST(ten_times_nonsense_in_a_row_closes)
{
	struct client c;
	open_known(&c);
	for (int i = 0; i < 9; i++) {
		say(&c, "nonsense");
		expect_error(&c, "null", -32700);
	}
	say(&c, CALL("1", "vehicle.list", "{}"));
	expect_part(&c, "\"result\"");
	for (int i = 0; i < 10; i++) {
		say(&c, i % 2 ? "nonsense" : "{}");
		expect_error(&c, "null", i % 2 ? -32700 : -32600);
	}
	expect_close(&c, 4400);
	client_done(&c);
}
END_TEST

START_TEST(messages_come_in_fragments_with_pings_between)
{
	struct client c;
	const char *text = CALL("1", "vehicle.get", "{\"vehicle_id\":\"\xc3\xa4\"}");
	open_known(&c);
	for (size_t i = 0, len = strlen(text); i < len; i++) {
		send_frame(&c, (i == 0 ? TEXT : 0) | (i + 1 == len ? 0x80 : 0), text + i, 1);
		if (i == len / 2)
			send_frame(&c, 0x80 | PING, "are you there", 13);
	}
	int seen = 0;
	for (int i = 0; i < 2; i++) {
		struct frame f = next_frame(&c);
		seen |= f.opcode == PONG && strcmp(f.text, "are you there") == 0 ? 1 : 0;
		seen |= f.opcode == TEXT && strstr(f.text, "\"with\":{\"vehicle_id\":\"\xc3\xa4\"}") ? 2 : 0;
		free(f.text);
	}
	ck_assert_int_eq(seen, 3);
	client_done(&c);
}
END_TEST

START_TEST(a_large_message_is_taken_and_a_larger_is_not)
{
	struct client c;
	struct text text = { 0 };
	open_known(&c);
	text_add(&text, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vehicle.list\",\"params\":{\"cursor\":\"");
	while (text.len < 65536 - 3)
		text_add(&text, "x");
	text_add(&text, "\"}}");
	say(&c, text.data);
	expect_part(&c, "xxx\"}}}");
	text_add(&text, " ");
	say(&c, text.data);
	expect_close(&c, 1009);
	client_done(&c);
	text_free(&text);
}
END_TEST

START_TEST(too_much_across_fragments_is_too_big)
{
	struct client c;
	static const char part[8192];
	open_known(&c);
	send_frame(&c, TEXT, part, sizeof(part));
	for (int i = 0; i < 8; i++)
		send_frame(&c, 0, part, sizeof(part));
	expect_close(&c, 1009);
	client_done(&c);
}
END_TEST

/* What has no bytes is no less a fragment. */
START_TEST(endless_fragments_are_refused)
{
	struct client c;
	open_known(&c);
	send_frame(&c, TEXT, "{", 1);
	for (int i = 0; i < 200; i++)
		send_frame(&c, 0, "", 0);
	expect_close(&c, 1009);
	client_done(&c);
}
END_TEST

START_TEST(a_flood_of_pongs_is_a_flood)
{
	struct client c;
	open_known(&c);
	for (int i = 0; i < 40; i++)
		send_frame(&c, 0x80 | PONG, "x", 1);
	expect_close(&c, 4429);
	client_done(&c);
}
END_TEST

static const struct {
	int opcode;
	const char *payload;
} silent_floods[] = { { PING, "x" }, { PING, "" }, { PONG, "" } };

/* libwebsockets tells nobody of a ping, nor of a pong without a payload. It keeps one pong: of the pings that it reads at once
 * it answers one. */
START_TEST(a_flood_that_nobody_is_told_of_is_a_flood)
{
	const char *payload = silent_floods[_i].payload;
	struct client c;
	struct frame f;
	int pongs = 0;

	open_known(&c);
	for (int i = 0; i < 2000; i++)
		send_frame(&c, 0x80 | silent_floods[_i].opcode, payload, strlen(payload));
	while ((f = next_frame(&c)).opcode == PONG) {
		pongs++;
		free(f.text);
	}
	ck_assert_msg(pongs <= 100, "%d pongs", pongs);
	expect_close_in(&c, &f, 4429);
	client_done(&c);
}
END_TEST

/* Few bytes, but a turn of the loop for each. */
START_TEST(pings_one_by_one_are_a_flood)
{
	struct client c;
	struct frame f = { .opcode = PONG };

	open_known(&c);
	for (int i = 0; i < 1000000 && f.opcode == PONG; i++) {
		free(f.text);
		send_frame(&c, 0x80 | PING, "", 0);
		f = next_frame(&c);
	}
	expect_close_in(&c, &f, 4429);
	client_done(&c);
}
END_TEST

static bool is_past(void *until_ms)
{
	return loop_monotonic_ms(loop) >= *(int64_t *)until_ms;
}

/* What was not told of while it lay unread is no flood, either. */
START_TEST(a_ping_now_and_then_is_none)
{
	struct client c;
	int64_t until_ms = loop_monotonic_ms(loop) + 1000;
	char *large = calloc(1, 60000);

	memset(large, ' ', 59999);
	memcpy(large, CALL("1", "vehicle.list", "{}"), strlen(CALL("1", "vehicle.list", "{}")));
	open_known(&c);
	for (int i = 0; i < 6; i++) {
		send_frame(&c, 0x80 | PING, "still there?", 12);
		struct frame f = next_frame(&c);
		ck_assert_int_eq(f.opcode, PONG);
		free(f.text);
	}
	say(&c, large);
	expect_part(&c, "\"result\"");
	run_until(is_past, &until_ms);
	say(&c, CALL("2", "vehicle.list", "{}"));
	expect_part(&c, "\"result\"");
	client_done(&c);
	free(large);
}
END_TEST

/* Each byte of a message in a frame is as many turns as bytes. */
START_TEST(a_flood_of_small_pieces_is_a_flood)
{
	struct client c;

	open_known(&c);
	send_frame(&c, TEXT, "{", 1);
	for (int i = 0; i < 2000; i++)
		send_frame(&c, 0, " ", 1);
	expect_close(&c, 4429);
	client_done(&c);
}
END_TEST

/* Sixty kibibytes are as a message more, in however small pieces our buffer has them; four such are fewer than ten. */
START_TEST(large_messages_are_no_flood)
{
	struct client c;
	struct text large = { 0 };

	open_known(&c);
	while (large.len < 60000)
		text_add(&large, "          ");
	for (int i = 0; i < 4; i++) {
		say(&c, large.data);
		expect_error(&c, "null", -32700);
	}
	text_free(&large);
	client_done(&c);
}
END_TEST

START_TEST(binary_and_wrong_utf8_are_refused)
{
	struct client c;
	open_known(&c);
	send_frame(&c, 0x80 | BINARY, "\1\2", 2);
	expect_close(&c, 1003);
	client_done(&c);
	open_known(&c);
	send_frame(&c, 0x80 | TEXT, "\xff\xfe", 2);
	expect_close(&c, 1007);
	client_done(&c);
}
END_TEST

START_TEST(an_app_may_not_flood)
{
	struct client c;
	open_known(&c);
	for (int i = 0; i < 40; i++)
		say(&c, CALL("1", "vehicle.list", "{}"));
	for (int i = 0; i < 20; i++) { /* two seconds' worth */
		struct frame f = next_frame(&c);
		if (f.opcode == CLOSE)
			ck_assert_int_eq((unsigned char)f.text[0] << 8 | (unsigned char)f.text[1], 4429);
		int opcode = f.opcode;
		free(f.text);
		if (opcode == CLOSE)
			break;
	}
	client_done(&c);
}
END_TEST

START_TEST(what_an_app_asks_counts_for_its_subject_and_address)
{
	struct client c;

	config.limits.per_subject = 1; /* two at once */
	open_known(&c);
	for (int i = 0; i < 2; i++) {
		say(&c, CALL("1", "vehicle.list", "{}"));
		expect_part(&c, "\"result\"");
	}
	say(&c, CALL("2", "vehicle.list", "{}"));
	expect_part(&c, "\"code\":-32000");
	say(&c, CALL("3", "vehicle.subscribe", "{\"vehicle_id\":\"V1\"}"));
	expect_part(&c, "urn:keyfob:problem:rate-limited");
	say(&c, CALL("4", "vehicle.list", "{}"));
	expect_part(&c, "\"retry_after_seconds\":1");
	ck_assert_uint_eq(watched_ever, 0);
	client_done(&c);
	config.limits.per_subject = 0;
	config.limits.per_address = 0.05; /* one in twenty seconds */
	open_known(&c);
	say(&c, CALL("1", "vehicle.list", "{}")); /* the upgrade was one */
	expect_part(&c, "rate-limited");
	client_done(&c);
	client_open(&c, "127.0.0.1", KNOWN);
	ck_assert_int_eq(client_status(&c), 429);
	expect_field(&c, "Retry-After: ", 2, 20);
	expect_field(&c, "RateLimit-Policy: \"address\";q=1;w=", 2, 2);
	expect_field(&c, "RateLimit: \"address\";r=0;t=", 2, 20);
	client_done(&c);
	client_open(&c, "192.0.2.1", KNOWN);
	ck_assert_int_eq(client_status(&c), 101);
	client_done(&c);
}
END_TEST

START_TEST(a_trusted_proxy_says_whose_the_upgrade_is)
{
	static const char *const first = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 198.51.100.1\r\n";
	static const char *const second = "X-Forwarded-For: 198.51.100.2\r\n";
	const char *const asks[] = { first, first, second };
	const int status[] = { 101, 429, 101 };
	struct client c;

	config.limits.per_address = 0.5; /* one */
	for (size_t i = 0; i < 3; i++) {
		struct text head = { 0 };
		text_addf(&head, HEAD("%sSec-WebSocket-Protocol: keyfob.v1\r\n"), asks[i]);
		client_open(&c, "10.1.1.1", head.data);
		ck_assert_int_eq(client_status(&c), status[i]);
		client_done(&c);
		text_free(&head);
	}
}
END_TEST

void add_messages(Suite *suite)
{
	TCase *cases = case_new(suite, "messages", begin);

	tcase_add_test(cases, what_is_no_request_is_said_to_be_none);
	tcase_add_test(cases, a_fault_carries_the_problem_of_rest);
	tcase_add_test(cases, a_notification_gets_no_answer);
	tcase_add_test(cases, ten_times_nonsense_in_a_row_closes);
	tcase_add_test(cases, messages_come_in_fragments_with_pings_between);
	tcase_add_test(cases, a_large_message_is_taken_and_a_larger_is_not);
	tcase_add_test(cases, too_much_across_fragments_is_too_big);
	tcase_add_test(cases, endless_fragments_are_refused);
	tcase_add_test(cases, binary_and_wrong_utf8_are_refused);
	tcase_add_test(cases, what_an_app_asks_counts_for_its_subject_and_address);
	tcase_add_test(cases, a_trusted_proxy_says_whose_the_upgrade_is);

	cases = case_new(suite, "messages, strict", begin_strict);

	tcase_add_test(cases, an_app_may_not_flood);
	tcase_add_test(cases, a_flood_of_pongs_is_a_flood);
	tcase_add_loop_test(
		cases, a_flood_that_nobody_is_told_of_is_a_flood, 0, sizeof(silent_floods) / sizeof(silent_floods[0]));
	tcase_add_test(cases, pings_one_by_one_are_a_flood);
	tcase_add_test(cases, a_ping_now_and_then_is_none);
	tcase_add_test(cases, a_flood_of_small_pieces_is_a_flood);
	tcase_add_test(cases, large_messages_are_no_flood);
}
