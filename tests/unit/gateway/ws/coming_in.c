/* coming_in.c - who comes in: upgrades, origins, tokens, and keys that are awaited. */
#include "tests/unit/gateway/ws/ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/network.h"
#include "gateway/ws/origin.h"
#include "gateway/ws/upgrade.h"

START_TEST(the_token_comes_by_header)
{
	struct client c;
	open_known(&c);
	ck_assert_ptr_nonnull(strstr(c.in.data, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
	ck_assert_ptr_nonnull(strstr(c.in.data, "Sec-WebSocket-Protocol: keyfob.v1\r\n"));
	say(&c, CALL("7", "vehicle.get", "{\"vehicle_id\":\"V1\"}"));
	expect(&c, "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"did\":\"vehicle.get\",\"for\":\"alice\",\"with\":{"
		   "\"vehicle_"
		   "id\":\"V1\"}}}");
	client_done(&c);
}
END_TEST

START_TEST(the_token_comes_by_subprotocol_of_eight_kilobytes)
{
	struct client c;
	struct text head = { 0 };
	char token[8001];
	memset(token, 'a', sizeof(token) - 1);
	token[sizeof(token) - 1] = '\0';
	text_addf(&head, HEAD("Sec-WebSocket-Protocol: keyfob.v1, bearer.%s\r\n"), token);
	client_open(&c, "127.0.0.1", head.data);
	ck_assert_int_eq(client_status(&c), 101);
	say(&c, CALL("1", "vehicle.list", "{}"));
	expect_part(&c, "\"result\"");
	client_done(&c);
	text_free(&head);
}
END_TEST

START_TEST(the_token_comes_by_the_first_message)
{
	struct client c;
	client_open(&c, "127.0.0.1", STRANGER);
	ck_assert_int_eq(client_status(&c), 101);
	say(&c, CALL("1", "session.authenticate", "{\"token\":\"bob\"}"));
	expect_part(&c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"subject\":\"bob\",\"expires_at\":\"20");
	say(&c, CALL("2", "vehicle.list", "{}"));
	expect_part(&c, "\"for\":\"bob\"");
	client_done(&c);
}
END_TEST

START_TEST(frames_right_behind_the_head_are_read)
{
	struct client c;
	struct text all = { 0 };
	char masked[64];
	const char *text = CALL("1", "vehicle.list", "{}");
	size_t len = strlen(text);
	text_add(&all, KNOWN);
	text_add_bytes(&all, (char[]){ (char)0x81, (char)(0x80 | len), 1, 2, 3, 4 }, 6);
	for (size_t i = 0; i < len; i++)
		masked[i] = (char)(text[i] ^ (char)(1 + i % 4));
	text_add_bytes(&all, masked, len);
	client_open(&c, "127.0.0.1", all.data);
	ck_assert_int_eq(client_status(&c), 101);
	expect_part(&c, "\"result\"");
	client_done(&c);
	text_free(&all);
}
END_TEST

/* RFC 6455 §5.1. libwebsockets 4.1.6 does not tell us, but too little came for masks to be in it; who has them is looked at beside. */
START_TEST(who_does_not_mask_is_closed)
{
	struct client c, other;
	const char *text = CALL("1", "vehicle.list", "{}");
	static const size_t sizes[] = { 125, 126, 65535 };
	static char large[65536];
	size_t len = strlen(text);

	open_known(&other);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		memset(large, ' ', sizes[i]);
		memcpy(large, text, len);
		large[sizes[i]] = '\0';
		say(&other, large);
		expect_part(&other, "\"result\"");
	}
	open_known(&c);
	client_send(&c, (char[]){ (char)0x81, (char)len }, 2);
	client_send(&c, text, len);
	expect_part(&c, "\"result\"");
	expect_close(&c, 1002);
	say(&other, text);
	expect_part(&other, "\"result\"");
	client_done(&c);
	client_done(&other);
}
END_TEST

static bool is_asked(void *context)
{
	return counts_asked >= *(size_t *)context;
}

static void expect_to_stay(struct client *c)
{
	size_t once_more = counts_asked + 1;

	run_until(is_asked, &once_more);
	say(c, CALL("2", "vehicle.list", "{}"));
	expect_part(c, "\"id\":2,\"result\"");
	client_done(c);
}

/* As gVisor's does, and whichever hands bytes on beside its TCP: nobody is taken for one without masks, or for a flood. */
START_TEST(where_the_kernel_does_not_count_nobody_is_closed)
{
	struct client c;

	open_known(&c);
	say(&c, CALL("1", "vehicle.list", "{}"));
	expect_part(&c, "\"id\":1,\"result\"");
	counts_nothing = true;
	expect_to_stay(&c);

	open_known(&c); /* nor was anything counted when it came */
	say(&c, CALL("1", "vehicle.list", "{}"));
	expect_part(&c, "\"id\":1,\"result\"");
	expect_to_stay(&c);
}
END_TEST

START_TEST(what_is_no_upgrade_of_ours_is_refused)
{
	static const struct {
		const char *head;
		int status;
	} cases[] = {
		{ HEAD("Authorization: Bearer alice\r\n"), 400 },
		{ HEAD("Sec-WebSocket-Protocol: other.v1\r\n"), 400 },
		{ HEAD(OURS OURS), 101 },
		{ HEAD("Sec-WebSocket-Protocol: other.v1\r\n" OURS), 101 },
		{ HEAD(OURS "Host: other\r\n"), 400 },
		{ HEAD(OURS "Origin: https://evil.example\r\n"), 403 },
		{ HEAD(OURS "Origin: null\r\n"), 403 },
		{ HEAD(OURS "Authorization: Bearer forged\r\n"), 401 },
		{ HEAD(OURS "Authorization: Basic alice\r\n"), 401 },
		{ HEAD(OURS "Authorization: Bearer alice\r\nauthorization: Bearer alice\r\n"), 400 },
		{ HEAD("Sec-WebSocket-Protocol: keyfob.v1, bearer.forged\r\n"), 401 },
		{ UPGRADE("Sec-WebSocket-Version: 13\r\n"), 400 },
		{ UPGRADE("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n"), 400 },
		{ UPGRADE("Sec-WebSocket-Key: " KEY "\r\n"), 400 },
		{ UPGRADE("Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: " KEY "\r\n"), 426 },
		{ "GET http://app.example:8080" UPGRADE_OF(GOOD_KEY "Host: b\r\nOrigin: http://app.example:8080\r\n"),
			101 },
		{ "GET http://b" UPGRADE_OF(GOOD_KEY "Host: app.example:8080\r\nOrigin: http://app.example:8080\r\n"),
			403 },
		{ "GET ws://b" UPGRADE_OF(GOOD_KEY "Host: b\r\n"), 400 },
		{ "POST /v1/ws HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /v1/ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", 400 },
		{ "GET /v1/ws HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n", 400 },
		{ "GET /v1/ws HTTP/1.1\r\nHost: a\r\n", 400 },
		{ "\r\n\r\n", 400 },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_msg(status_of_head("127.0.0.1", cases[i].head) == cases[i].status, "case %zu", i);
}
END_TEST

START_TEST(a_refusal_is_a_problem_and_counts_as_gone)
{
	struct client c;
	client_open(&c, "127.0.0.1", HEAD(OURS "Authorization: Bearer forged\r\n"));
	ck_assert_int_eq(client_status(&c), 401);
	run_until(has_ended, &c);
	ck_assert_ptr_nonnull(strstr(c.in.data, "WWW-Authenticate: Bearer"));
	ck_assert_ptr_nonnull(strstr(c.in.data, "urn:keyfob:problem:unauthenticated"));
	ck_assert_uint_eq(gone, 1);
	client_done(&c);
}
END_TEST

START_TEST(another_version_hears_which_is_spoken)
{
	struct client c;

	client_open(&c, "127.0.0.1", UPGRADE("Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: " KEY "\r\n"));
	ck_assert_int_eq(client_status(&c), 426);
	run_until(has_ended, &c);
	ck_assert_ptr_nonnull(strstr(c.in.data, "\r\nSec-WebSocket-Version: 13\r\n"));
	ck_assert_ptr_nonnull(strstr(c.in.data, "\r\nUpgrade: websocket\r\n"));
	ck_assert_ptr_nonnull(strstr(c.in.data, "urn:keyfob:problem:upgrade-required"));
	client_done(&c);
}
END_TEST

#define FRONT "X-Forwarded-Host: front.example\r\n"
START_TEST(an_origin_is_the_hosts_own_or_listed)
{
	static const struct {
		const char *peer, *origin, *more;
		int status;
	} cases[] = {
		{ "127.0.0.1", "http://app.example:8080", "", 101 },
		{ "127.0.0.1", "HTTP://APP.example:8080", "", 101 }, { "127.0.0.1", "http://app.example", "", 403 },
		{ "127.0.0.1", "http://app.example:8081", "", 403 }, { "127.0.0.1", "https://listed.example", "", 101 },
		{ "127.0.0.1", "https://listed.example:8443", "", 403 },
		{ "10.1.2.3", "https://front.example", "X-Forwarded-Host: front.example\r\n", 101 },
		{ "::1", "https://front.example", "X-Forwarded-Host: front.example:443\r\n", 101 },
		{ "127.0.0.1", "https://front.example", "X-Forwarded-Host: front.example\r\n", 403 },
		{ "10.1.2.3", "http://app.example:8080", "X-Forwarded-Host: front.example\r\n", 403 },
		{ "10.1.2.3", "https://front.example", FRONT "X-Forwarded-Proto: https\r\n", 101 },
		{ "10.1.2.3", "http://front.example", FRONT "X-Forwarded-Proto: https\r\n", 403 },
		{ "10.1.2.3", "http://front.example:443", FRONT "X-Forwarded-Proto: https\r\n", 403 },
		{ "10.1.2.3", "HTTPS://front.example", FRONT "X-Forwarded-Proto: WSS\r\n", 101 },
		{ "10.1.2.3", "https://front.example", FRONT "X-Forwarded-Proto: http\r\n", 403 },
		{ "10.1.2.3", "https://front.example", FRONT "X-Forwarded-Proto: http, https\r\n", 101 },
		{ "10.1.2.3", "http://front.example", FRONT "X-Forwarded-Proto: http\r\nX-Forwarded-Proto: https\r\n",
			403 },
		{ "10.1.2.3", "http://front.example", FRONT "X-Forwarded-Proto: https, gopher\r\n", 101 },
		{ "10.1.2.3", "http://app.example:8080", "X-Forwarded-Proto: https\r\n", 403 },
		{ "10.1.2.3", "https://listed.example", "X-Forwarded-Proto: http\r\n", 101 },
		{ "127.0.0.1", "http://app.example:8080", "X-Forwarded-Proto: https\r\n",
			101 }, /* by nobody who is trusted */
	};
	char head[1024];
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(head, sizeof(head), HEAD(OURS "Origin: %s\r\n%s"), cases[i].origin, cases[i].more);
		ck_assert_msg(status_of_head(cases[i].peer, head) == cases[i].status, "case %zu", i);
	}
}
END_TEST

START_TEST(an_address_is_in_a_network)
{
	static const struct {
		const char *address, *network;
		bool is;
	} cases[] = {
		{ "10.255.0.1", "10.0.0.0/8", true },
		{ "11.0.0.1", "10.0.0.0/8", false },
		{ "10.0.0.1", "10.0.0.1", true },
		{ "10.0.0.2", "10.0.0.1", false },
		{ "fd00::5", "fd00::/8", true },
		{ "fe00::5", "fd00::/8", false },
		{ "::ffff:10.0.0.9", "10.0.0.0/8", true },
		{ "1.2.3.4", "0.0.0.0/0", true },
		{ "fd00::5", "0.0.0.0/0", false },
		{ "no address", "10.0.0.0/8", false },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct texts networks = { &cases[i].network, 1 };
		ck_assert_msg(address_is_in(cases[i].address, &networks) == cases[i].is, "case %zu", i);
	}
}
END_TEST

/* ---- who is there ---- */

START_TEST(a_stranger_says_who_it_is_first)
{
	static const char *const first[] = { CALL("1", "vehicle.list", "{}"), "nonsense", "[]", "{}" };
	for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
		struct client c;
		client_open(&c, "127.0.0.1", STRANGER);
		ck_assert_int_eq(client_status(&c), 101);
		say(&c, first[i]);
		expect_close(&c, 4401);
		client_done(&c);
	}
}
END_TEST

START_TEST(a_stranger_has_five_seconds)
{
	struct client c;
	int64_t begun_ms = loop_monotonic_ms(loop);
	client_open(&c, "127.0.0.1", STRANGER);
	ck_assert_int_eq(client_status(&c), 101);
	expect_close(&c, 4401);
	ck_assert_int_ge(loop_monotonic_ms(loop) - begun_ms, 4990);
	client_done(&c);
}
END_TEST

/* ---- a token of a key that is being fetched */

#define SOON HEAD(OURS "Authorization: Bearer soon\r\n")
#define SHOW_SOON(id) CALL(id, "session.authenticate", "{\"token\":\"soon\"}")

static bool is_seen(void *times)
{
	return soon_seen >= *(unsigned *)times;
}

static void until_seen(unsigned times)
{
	run_until(is_seen, &times);
}

START_TEST(an_upgrade_waits_for_the_keys_of_its_token)
{
	struct client stays, goes;

	client_open(&stays, "127.0.0.1", SOON);
	client_open(&goes, "127.0.0.1", SOON);
	ck_assert(!ws_is_empty(ws));
	client_drop(&goes);
	fetches = 1;
	ck_assert_int_eq(client_status(&stays), 101);
	say(&stays, CALL("1", "vehicle.list", "{}"));
	expect_part(&stays, "\"for\":\"soon\"");
	client_done(&stays);
}
END_TEST

START_TEST(a_first_message_waits_for_the_keys_of_its_token)
{
	struct client stays, goes;

	client_open(&stays, "127.0.0.1", STRANGER);
	client_open(&goes, "127.0.0.1", STRANGER);
	ck_assert_int_eq(client_status(&stays), 101);
	ck_assert_int_eq(client_status(&goes), 101);
	say(&goes, SHOW_SOON("1"));
	until_seen(1);
	client_done(&goes);
	say(&stays, SHOW_SOON("1"));
	say(&stays, SHOW_SOON("2"));
	expect_error(&stays, "1", -32000); /* the later one has taken its place */
	until_seen(3);
	fetches = 1;
	expect_part(&stays, "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{\"subject\":\"soon\"");
	client_done(&stays);
}
END_TEST

START_TEST(who_waits_for_keys_waits_so_long)
{
	struct client upgrade, message;

	client_open(&message, "127.0.0.1", STRANGER);
	ck_assert_int_eq(client_status(&message), 101);
	say(&message, SHOW_SOON("1"));
	until_seen(1);
	ck_assert_int_eq(status_of_head("127.0.0.1", SOON), 401);
	expect_error(&message, "1", -32000);
	expect_close(&message, 4401);
	client_done(&message);
	client_open(&upgrade, "127.0.0.1", SOON); /* when the node drains it is not kept */
	ws_drain(ws);
	ck_assert_int_eq(client_status(&upgrade), 503);
	client_drop(&upgrade);
}
END_TEST

/* Whoever makes up keys holds so many, and no more. */
START_TEST(so_many_wait_for_keys)
{
	struct client waiting[64];

	for (size_t i = 0; i < 64; i++)
		client_open(&waiting[i], "127.0.0.1", SOON);
	ck_assert_int_eq(status_of_head("127.0.0.1", SOON), 401);
	ck_assert_uint_eq(soon_seen, 65);
	fetches = 1;
	for (size_t i = 0; i < 64; i++) {
		ck_assert_int_eq(client_status(&waiting[i]), 101);
		client_drop(&waiting[i]);
	}
}
END_TEST

START_TEST(a_forged_first_token_is_told_and_closed)
{
	struct client c;
	client_open(&c, "127.0.0.1", STRANGER);
	ck_assert_int_eq(client_status(&c), 101);
	say(&c, CALL("\"x\"", "session.authenticate", "{\"token\":\"forged\"}"));
	expect_error(&c, "\"x\"", -32000);
	expect_close(&c, 4401);
	client_done(&c);
}
END_TEST

START_TEST(a_token_that_runs_out_closes_unless_it_is_renewed)
{
	struct client ends, lives;
	lifetime_us = 300 * 1000;
	open_known(&ends);
	open_known(&lives);
	lifetime_us = 3600LL * 1000 * 1000;
	say(&lives, CALL("1", "session.authenticate", "{\"token\":\"forged\"}"));
	expect_error(&lives, "1", -32000);
	say(&lives, CALL("2", "session.authenticate", "{\"token\":\"alice\"}"));
	expect_part(&lives, "\"subject\":\"alice\"");
	expect_close(&ends, 4401);
	say(&lives, CALL("3", "vehicle.list", "{}"));
	expect_part(&lives, "\"id\":3,\"result\"");
	client_done(&ends);
	client_done(&lives);
}
END_TEST

START_TEST(a_renewal_is_by_the_same_subject_and_keeps_what_is_watched)
{
	struct client c;
	open_known(&c);
	say(&c, CALL("1", "session.authenticate", "{\"token\":\"bob\"}"));
	expect_close(&c, 4403);
	client_done(&c);
	open_known(&c);
	subscribe(&c, "V1", 5);
	say(&c, CALL("2", "session.authenticate", "{\"token\":\"alice-2\"}"));
	expect_close(&c, 4403);
	client_done(&c);
}
END_TEST

START_TEST(a_renewal_changes_the_scopes)
{
	struct client c;
	open_known(&c);
	say(&c, CALL("1", "session.authenticate", "{\"token\":\"alice-2\"}"));
	expect_part(&c, "\"subject\":\"alice\"");
	say(&c, CALL("2", "vehicle.list", "{}"));
	expect_part(&c, "urn:keyfob:problem:forbidden");
	say(&c, SUBSCRIBE("3", "V1"));
	expect_part(&c, "urn:keyfob:problem:forbidden");
	client_done(&c);
}
END_TEST

void add_coming_in(Suite *suite)
{
	TCase *cases = case_new(suite, "coming in", begin);

	tcase_add_test(cases, the_token_comes_by_header);
	tcase_add_test(cases, the_token_comes_by_subprotocol_of_eight_kilobytes);
	tcase_add_test(cases, the_token_comes_by_the_first_message);
	tcase_add_test(cases, an_upgrade_waits_for_the_keys_of_its_token);
	tcase_add_test(cases, a_first_message_waits_for_the_keys_of_its_token);
	tcase_add_test(cases, who_waits_for_keys_waits_so_long);
	tcase_add_test(cases, so_many_wait_for_keys);
	tcase_add_test(cases, frames_right_behind_the_head_are_read);
	tcase_add_test(cases, who_does_not_mask_is_closed);
	tcase_add_test(cases, where_the_kernel_does_not_count_nobody_is_closed);
	tcase_add_test(cases, what_is_no_upgrade_of_ours_is_refused);
	tcase_add_test(cases, a_refusal_is_a_problem_and_counts_as_gone);
	tcase_add_test(cases, another_version_hears_which_is_spoken);
	tcase_add_test(cases, an_origin_is_the_hosts_own_or_listed);
	tcase_add_test(cases, an_address_is_in_a_network);
	tcase_add_test(cases, a_stranger_says_who_it_is_first);
	tcase_add_test(cases, a_stranger_has_five_seconds);
	tcase_add_test(cases, a_forged_first_token_is_told_and_closed);
	tcase_add_test(cases, a_token_that_runs_out_closes_unless_it_is_renewed);
	tcase_add_test(cases, a_renewal_is_by_the_same_subject_and_keeps_what_is_watched);
	tcase_add_test(cases, a_renewal_changes_the_scopes);
}
