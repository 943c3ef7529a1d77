/* streams.c - event streams, and long answers: how they are framed, when they end, and who does not read them. */
#include "tests/unit/gateway/http/ground.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

START_TEST(frames_event_streams)
{
	const char *answer = ask("GET /v1/vehicles/CAR1/events HTTP/1.1\r\nAccept: text/event-stream\r\n"
				 "Last-Event-ID: e1:5\r\n" LAST);

	expect(answer, "content-type: text/event-stream");
	expect(answer, "event: snapshot\nid: e1:5\ndata: "
		       "{\"vehicle\":{},\"epoch\":\"e1\",\"seq\":7,\"recovered\":true}\n\n");
	expect(answer, "event: command.updated\nid: e1:8\ndata: {\"vehicle_id\":\"CAR1\",\"seq\":8,"
		       "\"type\":\"command.updated\",\"time\":\"2026-01-31T08:09:10.123456Z\",\"data\":{\"a\":1}}\n\n");
	expect(answer, "id: e1:9\n");
	answer = ask("GET /v1/vehicles/CAR1/events?after=5 HTTP/1.1\r\nAccept: text/event-stream\r\n" LAST);
	expect(answer, "id: e1:7\ndata: {\"vehicle\":{},\"epoch\":\"e1\",\"seq\":7,\"recovered\":false}");
	ask_expect("GET /v1/vehicles/a%2fb/events HTTP/1.1\r\nAccept: text/event-stream\r\n" LAST, "404",
		"vehicle-not-found");
}
END_TEST

static const char *ask_accepting(const char *accept)
{
	char request[400];

	snprintf(request, sizeof(request), "GET /v1/vehicles/CAR1/events HTTP/1.1\r\nAccept: %s\r\n" LAST, accept);
	return ask(request);
}

/* RFC 9110 §12.4.2: who gives it the weight 0 does not want it. */
START_TEST(streams_for_none_who_will_not_have_it)
{
	static const char *const without[] = { "text/event-stream;q=0", "text/event-stream; charset=utf-8 ; Q=0.000",
		"text/event-stream;q=0., application/json", "text/event-stream; q = 0" };
	static const char *const with[] = { "text/event-stream;q=0.001", "text/event-stream;q=1", "text/event-stream;q",
		"text/event-stream;qq=0", "text/event-stream;q=0, text/event-stream;charset=utf-8",
		"application/json;q=0, text/event-stream" };

	for (size_t i = 0; i < sizeof(without) / sizeof(without[0]); i++)
		expect(ask_accepting(without[i]), "content-type: application/json");
	for (size_t i = 0; i < sizeof(with) / sizeof(with[0]); i++)
		expect(ask_accepting(with[i]), "content-type: text/event-stream");
}
END_TEST

/* Thirty seconds after its end, as a WebSocket; who came with it in that time is not sent away at once. */
START_TEST(ends_a_stream_with_its_token)
{
	uint64_t began_ns = uv_hrtime();
	const char *answer = ask("GET /v1/vehicles/QUIET/events HTTP/1.1\r\nAccept: text/event-stream\r\n"
				 "Host: h\r\nAuthorization: Bearer late\r\nConnection: close\r\n\r\n");

	expect(answer, "event: snapshot\n");
	ck_assert_uint_ge((uv_hrtime() - began_ns) / 1000000, 950);
}
END_TEST

/* Whoever reads it drop by drop is no other: what is not taken in time is not held for him. */
START_TEST(cuts_an_answer_that_is_not_taken)
{
	static char piece[65536];
	int fd = dial();

	say(fd, "GET /v1/vehicles/HUGE HTTP/1.1\r\n" LAST);
	for (int i = 0; i < 60; i++) {
		ck_assert_int_gt(wire_recv(fd, piece, 64), 0);
		uv_sleep(100);
	}
	size_t len = 0;
	for (ssize_t n; (n = wire_recv(fd, piece, sizeof(piece))) > 0;)
		len += (size_t)n;
	ck_assert_uint_lt(len, HUGE_BYTES / 2);
	wire_close(fd);
	fd = dial();
	say(fd, "GET /v1/vehicles/HUGE HTTP/1.1\r\n" LAST);
	for (len = 0; len < HUGE_BYTES;) {
		ssize_t n = wire_recv(fd, piece, sizeof(piece));
		ck_assert_int_gt(n, 0);
		len += (size_t)n;
	}
	wire_close(fd);
}
END_TEST

START_TEST(cuts_a_stream_that_is_not_read)
{
	int fd = dial();

	unsubscribed = false;
	say(fd, "GET /v1/vehicles/FLOOD/events HTTP/1.1\r\nAccept: text/event-stream\r\n" LAST);
	while (!unsubscribed)
		uv_sleep(1);
	ck_assert_uint_lt(strlen(hear(fd)), (size_t)FLOOD_EVENTS * FLOOD_BYTES);
}
END_TEST

/* A replay that is longer than a stream may be behind is cut; each resume brings some of it. */
START_TEST(gets_on_with_a_long_replay)
{
	long long seen = 0;

	for (int tries = 0; seen < REPLAY_LAST; tries++) {
		char request[256], last[32];
		ck_assert_msg(tries < REPLAY_LAST, "nothing after %lld", seen);
		snprintf(request, sizeof(request),
			"GET /v1/vehicles/REPLAY/events HTTP/1.1\r\nAccept: text/event-stream\r\n"
			"Last-Event-ID: e1:%lld\r\n" LAST,
			seen);
		int fd = dial();
		say(fd, request);
		const char *answer = hear_until(fd, "id: e1:40\n");
		for (long long next = seen + 1;; next++, seen++) {
			snprintf(last, sizeof(last), "id: e1:%lld\n", next);
			if (!strstr(answer, last))
				break;
		}
	}
}
END_TEST

void add_streams(TCase *tc)
{
	tcase_add_test(tc, frames_event_streams);
	tcase_add_test(tc, streams_for_none_who_will_not_have_it);
	tcase_add_test(tc, ends_a_stream_with_its_token);
	tcase_add_test(tc, cuts_an_answer_that_is_not_taken);
	tcase_add_test(tc, cuts_a_stream_that_is_not_read);
	tcase_add_test(tc, gets_on_with_a_long_replay);
}
