/* framing.c - where a request begins and ends: sizes, pieces, what two readers would read differently, and upgrades. */
#include "tests/unit/gateway/http/ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#include "base/json.h"
#include "gateway/door/guests.h"
#include "gateway/door/head.h"

START_TEST(refuses_too_large_heads)
{
	char filler[HEAD_MAX], request[2 * HEAD_MAX];

	memset(filler, 'x', sizeof(filler) - 1);
	filler[sizeof(filler) - 1] = '\0';
	snprintf(request, sizeof(request), "GET /v1/me HTTP/1.1\r\nX-A: %s\r\n" HEAD "\r\n", filler);
	ask_expect(request, "400", "larger than 16 KiB");
}
END_TEST

#define POST_OF(framing)                                                                                               \
	"POST /v1/vehicles/C/commands HTTP/1.1\r\nContent-Type: application/json\r\n" framing "\r\n" HEAD "\r\n"
#define CHUNKED POST_OF("Transfer-Encoding: chunked")

/* A client that sends all it has before it looks: nothing of the answer may be lost, so the end is no reset. */
static const char *post_unheard(const char *head, const char *unit, size_t times)
{
	static char answer[4096];
	struct text all = { 0 };
	size_t len = 0;
	ssize_t n;
	int fd = dial();

	text_add(&all, head);
	for (size_t i = 0; i < times; i++)
		text_add(&all, unit);
	for (size_t at = 0; at < all.len; at += (size_t)n) {
		n = wire_send(fd, all.data + at, all.len - at < 65536 ? all.len - at : 65536);
		ck_assert_msg(n > 0, "the node hung up after %zu of %zu bytes", at, all.len);
	}
	while ((n = wire_recv(fd, answer + len, sizeof(answer) - 1 - len)) > 0)
		len += (size_t)n;
	ck_assert_msg(n == 0, "the node did not end in good order, after %zu bytes of its answer", len);
	answer[len] = '\0';
	wire_close(fd);
	text_free(&all);
	return answer;
}

static void assert_too_large(const char *answer)
{
	ck_assert_msg(strncmp(answer, "HTTP/1.1 413 ", 13) == 0, "not 413:\n%.200s", answer);
	expect(answer, "\r\nConnection: close\r\n");
	expect(answer, "\r\ncontent-type: application/problem+json\r\n");
	expect(answer, "\r\nx-request-id: ");
	expect(answer, "urn:keyfob:problem:too-large");
}

/* With and without an end, of one byte too many and of 5 MiB. */
START_TEST(refuses_too_large_bodies)
{
	char byte[] = "1", kib[1025], chunk[1034];

	memset(kib, '1', 1024);
	kib[1024] = '\0';
	snprintf(chunk, sizeof(chunk), "400\r\n%s\r\n", kib);
	ask_expect(POST_OF("Content-Length: 9999999"), "413", "urn:keyfob:problem:too-large");
	assert_too_large(post_unheard(POST_OF("Content-Length: 65538"), byte, 65538));
	for (int i = 0; i < 5; i++) {
		assert_too_large(post_unheard(POST_OF("Content-Length: 5242880"), kib, 5120));
		assert_too_large(post_unheard(CHUNKED, chunk, 5120));
	}
	assert_too_large(post_unheard(CHUNKED, chunk, 65));
	while (guests_count() > 0)
		uv_sleep(1);
}
END_TEST

/* Longer than anybody may be silent, but not silent: it is heard to its end. */
START_TEST(hears_a_slow_client_to_its_end)
{
	const struct timespec pace = { .tv_nsec = 250000000 };
	char piece[1024], answer[4096];
	ssize_t n, len = 0;
	int fd = dial();

	memset(piece, '1', sizeof(piece));
	say(fd, POST_OF("Content-Length: 9999999"));
	for (int i = 0; i < 12; i++) {
		ck_assert_int_eq(wire_send(fd, piece, sizeof(piece)), sizeof(piece));
		nanosleep(&pace, NULL);
	}
	while ((n = wire_recv(fd, answer + len, sizeof(answer) - 1 - (size_t)len)) > 0)
		len += n;
	ck_assert_int_eq(n, 0);
	answer[len] = '\0';
	assert_too_large(answer);
	wire_close(fd);
}
END_TEST

START_TEST(takes_a_body_of_64_kib)
{
	char body[65537], request[131072];

	memset(body, ' ', sizeof(body) - 1);
	memcpy(body, "{}", 2);
	body[65536] = '\0';
	snprintf(request, sizeof(request), "%s%s", POST_OF("Connection: close\r\nContent-Length: 65536"), body);
	ask_expect(request, "202", "API_COMMAND_SEND");
	snprintf(request, sizeof(request), "%s10000\r\n%s\r\n0\r\n\r\n",
		POST_OF("Connection: close\r\nTransfer-Encoding: chunked"), body);
	ask_expect(request, "202", "API_COMMAND_SEND");
	snprintf(request, sizeof(request), "%s%s ", POST_OF("Connection: close\r\nContent-Length: 65537"), body);
	ask_expect(request, "413", "too-large");
}
END_TEST

#define FIELDS_10 "A: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\n"
#define FIELDS_100 FIELDS_10 FIELDS_10 FIELDS_10 FIELDS_10 FIELDS_10 FIELDS_10 FIELDS_10 FIELDS_10 FIELDS_10 FIELDS_10

/* Each of them must be refused as a connection's first request, its second, and pipelined as the second and the hundredth. */
static const char *const smuggled[] = {
	"POST /v1/me HTTP/1.1\r\n" HEAD "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"POST /v1/me HTTP/1.1\r\n" HEAD "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
	"GET /v1/me HTTP/1.1\r\nHost: other\r\n" HEAD "\r\n",
	"GET /v1/me HTTP/1.1\r\nAuthorization: Bearer good\r\n\r\n",
	"GET /v1/me HTTP/1.1\nHost: h\nAuthorization: Bearer good\n\n",
	"GET /v1/me HTTP/1.1\r\nX-A: b\n" HEAD "\r\n",
	"GET /v1/me HTTP/1.1\r\n" HEAD "X-A : b\r\n\r\n",
	"GET /v1/me HTTP/1.1\r\n" HEAD "X-A: b\r\n folded\r\n\r\n",
	"POST /v1/me HTTP/1.1\r\n" HEAD "Content-Length: -1\r\n\r\n",
	"POST /v1/me HTTP/1.1\r\n" HEAD "Content-Length: 1x\r\n\r\n{}",
	"POST /v1/me HTTP/1.1\r\n" HEAD "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
	"POST /v1/me HTTP/1.0\r\n" HEAD "Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n",
	/* where a chunk ends */
	CHUNKED "2\n{}\r\n0\r\n\r\n",
	CHUNKED "2\r\n{}\n0\r\n\r\n",
	CHUNKED "2\r\n{}\r\n0\n\r\n",
	CHUNKED "2\r\n{}\r\n0\r\n\n",
	CHUNKED "0x2\r\n{}\r\n0\r\n\r\n",
	CHUNKED "-2\r\n{}\r\n0\r\n\r\n",
	CHUNKED "2 \r\n{}\r\n0\r\n\r\n",
	CHUNKED " 2\r\n{}\r\n0\r\n\r\n",
	CHUNKED ";\r\n{}\r\n0\r\n\r\n",
	CHUNKED "2;a\rb\r\n{}\r\n0\r\n\r\n",
	CHUNKED "2;a\nb\r\n{}\r\n0\r\n\r\n",
	CHUNKED "000000002\r\n{}\r\n0\r\n\r\n",
	CHUNKED "FFFFFFFFFFFFFFFF2\r\n{}\r\n0\r\n\r\n",
	CHUNKED "2\r\n{}0\r\n\r\n",
	CHUNKED "2\r\n{}xx0\r\n\r\n",
	CHUNKED "2\r\n{}\r\n0\r\nContent-Length: 5\r\n\r\n",
	"GET http:///v1/me HTTP/1.1\r\n" HEAD "\r\n",
	"GET http://h/v1/me HTTP/1.1\r\nAuthorization: Bearer good\r\n\r\n",
	/* what is no HTTP/1.1 at all */
	"GET /v1/me HTTP/1.x\r\n" HEAD "\r\n",
	"GET /v1/me HTTP/2.0\r\n" HEAD "\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"GET /v1/me\r\n" HEAD "\r\n",
	"G<T /v1/me HTTP/1.1\r\n" HEAD "\r\n",
	"GET /v1/\x01 HTTP/1.1\r\n" HEAD "\r\n",
	"GET /v1/me HTTP/1.1\r\nX-A: a\rb\r\n" HEAD "\r\n",
	"GET /v1/me HTTP/1.1\r\n: b\r\n" HEAD "\r\n",
	"hello\r\n",
	"\x16\x03\x01\x02", /* a TLS record begins so */
	"GET /v1/me HTTP/1.1\r\n" HEAD FIELDS_100 "\r\n",
	/* before it one empty line is passed over, and no more */
	"\r\n\r\nGET /v1/me HTTP/1.1\r\n" HEAD "\r\n",
	"\nGET /v1/me HTTP/1.1\r\n" HEAD "\r\n",
	"\r\n GET /v1/me HTTP/1.1\r\n" HEAD "\r\n",
	"\r\nGET /v1/me HTTP/1.1\r\nHost: other\r\n" HEAD "\r\n",
};
static const char good[] = "GET /v1/me HTTP/1.1\r\n" HEAD "\r\n";

static void assert_malformed(const char *answer)
{
	ck_assert_msg(strncmp(answer, "HTTP/1.1 400 ", 13) == 0, "not 400:\n%.2000s", answer);
	expect(answer, "\r\nConnection: close\r\n");
	expect(answer, "\r\ncontent-type: application/problem+json\r\n");
	expect(answer, "\r\nx-request-id: ");
	expect(answer, "urn:keyfob:problem:malformed-request");
}

/* All of `before` are answered, then comes the refusal, and then nothing. */
static void ask_pipelined(size_t before, const char *bad)
{
	struct text all = { 0 };
	size_t answered = 0;

	for (size_t i = 0; i < before; i++)
		text_add(&all, good);
	text_add(&all, bad);
	text_add(&all, good);
	const char *answer = ask(all.data), *refused = strstr(answer, "HTTP/1.1 400 ");
	ck_assert_msg(refused != NULL, "not refused behind %zu: %.200s", before, bad);
	assert_malformed(refused);
	for (const char *at = answer; (at = strstr(at, "HTTP/1.1 200 ")) != NULL; at++, answered++)
		ck_assert(at < refused);
	ck_assert_uint_eq(answered, before);
	text_free(&all);
}

START_TEST(refuses_what_two_readers_read_differently)
{
	const char *bad = smuggled[_i];
	char piece[4096];

	assert_malformed(ask(bad));

	ask_pipelined(1, bad);
	ask_pipelined(99, bad);

	int fd = dial();
	say(fd, good);
	ck_assert_int_gt(wire_recv(fd, piece, sizeof(piece)), 0);
	say(fd, bad);
	assert_malformed(hear(fd));
}
END_TEST

/* Whatever becomes of a byte, no answer is h2o's own. */
START_TEST(answers_any_head_with_its_own_words)
{
	unsigned seed = 20260131;

	for (int i = 0; i < 300; i++) {
		struct text head = { 0 };
		text_add(&head, good);
		for (int k = rand_r(&seed) % 3; k >= 0; k--)
			head.data[(size_t)rand_r(&seed) % head.len] = (char)rand_r(&seed);
		text_add(&head, "\r\n\r\n"); /* whatever it was, it has an end */
		int fd = dial();
		wire_send(fd, head.data, head.len);
		const char *answer = hear(fd);
		ck_assert_msg(strncmp(answer, "HTTP/1.1 ", 9) == 0, "round %d: %.200s", i, answer);
		ck_assert_msg(strstr(answer, "text/plain") == NULL, "round %d: %.2000s", i, answer);
		text_free(&head);
	}
}
END_TEST

/* As a proxy is asked; an own node is asked so by who takes it for one. */
START_TEST(takes_targets_in_absolute_form)
{
	ask_expect("GET http://other.example/v1/me HTTP/1.1\r\n" LAST, "200", "API_ME");
	ask_expect("GET HTTPS://h:8443/v1/vehicles/C/commands?limit=5 HTTP/1.1\r\n" LAST, "200",
		"link: </v1/vehicles/C/commands?cursor=NEXT&limit=5>; rel=\"next\"");
	put_file("index.html", "<p>console");
	ask_expect("GET http://h HTTP/1.1\r\n" LAST, "200", "console");
	ask_expect("GET http://h?a=b HTTP/1.1\r\n" LAST, "200", "console");
	ask_expect("GET ftp://h/v1/me HTTP/1.1\r\n" LAST, "404", "not-found");
	int fd = dial();
	say(fd, "POST http://h/v1/vehicles/C/commands HTTP/1.1\r\nContent-Type: application/json\r\n"
		"Content-Length: 2\r\n" HEAD "\r\n{}GET http://h/v1/me HTTP/1.1\r\n" LAST);
	expect(hear_until(fd, "\"API_ME\""), "\"API_COMMAND_SEND\"");
}
END_TEST

/* A head in pieces behind a body in pieces, and what follows in the same piece; an empty line may stand before it. */
START_TEST(hears_requests_in_any_pieces)
{
	static const char three[] = "POST /v1/vehicles/C/commands HTTP/1.1\r\nContent-Type: application/json\r\n"
				    "Transfer-Encoding: chunked\r\n" HEAD "\r\n2\r\n{}\r\n0\r\n\r\n"
				    "\r\nGET http://h/v1/vehicles/C HTTP/1.1\r\n" HEAD "\r\n"
				    "GET /v1/me HTTP/1.1\r\n" LAST;

	for (size_t size = 1; size < sizeof(three); size += size < 8 ? 1 : 29) {
		int fd = dial();
		for (size_t at = 0; at < sizeof(three) - 1; at += size) {
			size_t left = sizeof(three) - 1 - at;
			ck_assert_int_gt(wire_send(fd, three + at, left < size ? left : size), 0);
		}
		const char *answer = hear(fd);
		expect(answer, "\"API_COMMAND_SEND\"");
		expect(answer, "\"API_VEHICLE_GET\"");
		expect(answer, "\"API_ME\"");
	}
}
END_TEST

START_TEST(sends_upgrades_to_the_websocket_room)
{
	static const char upgrade[] =
		"GET /v1/ws HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
	int fd = dial();

	ck_assert_str_eq(ask(upgrade), "WEBSOCKET");
	for (const char *at = upgrade; *at; at++)
		ck_assert_int_eq(wire_send(fd, at, 1), 1);
	ck_assert_str_eq(hear(fd), "WEBSOCKET");
	ck_assert_str_eq(ask("GET https://h/v1/ws HTTP/1.1\r\nUpgrade: foo, websocket\r\n" LAST), "WEBSOCKET");
	ck_assert_str_eq(ask("GET /v1/ws?a=b HTTP/1.1\r\nUpgrade: websocket\r\n" LAST), "WEBSOCKET");
	ask_expect("GET /v1/ws HTTP/1.1\r\n" LAST, "426", "\r\nupgrade: websocket\r\n");
	ask_expect("GET /v1/ws HTTP/1.1\r\nUpgrade: h2c\r\n" LAST, "426", "urn:keyfob:problem:upgrade-required");
	ask_expect("GET /v1/ws HTTP/1.0\r\nUpgrade: websocket\r\n" LAST, "426", "upgrade-required");
	ask_expect("GET /v1/ws HTTP/1.1\r\nUpgrade: websocket\r\nContent-Length: 0\r\n" LAST, "426", "without a body");
	ask_expect("POST /v1/ws HTTP/1.1\r\n" LAST, "405", "allow: GET\r\n");
	ask_expect("GET /v1/wsx HTTP/1.1\r\n" LAST, "404", "not-found");
	ask_expect("GET /v1/ws HTTP/1.1\nHost: h\nUpgrade: websocket\nSec-WebSocket-Key: x\n\n", "400", "bare LF");
}
END_TEST

void add_framing(TCase *tc)
{
	tcase_add_test(tc, refuses_too_large_heads);
	tcase_add_test(tc, refuses_too_large_bodies);
	tcase_add_test(tc, hears_a_slow_client_to_its_end);
	tcase_add_test(tc, takes_a_body_of_64_kib);
	tcase_add_loop_test(
		tc, refuses_what_two_readers_read_differently, 0, (int)(sizeof(smuggled) / sizeof(smuggled[0])));
	tcase_add_test(tc, answers_any_head_with_its_own_words);
	tcase_add_test(tc, takes_targets_in_absolute_form);
	tcase_add_test(tc, hears_requests_in_any_pieces);
	tcase_add_test(tc, sends_upgrades_to_the_websocket_room);
}
