/* limits.c - how much an address and a subject may ask, and whose word counts for which address it is. */
#include "tests/unit/gateway/http/ground.h"

#include <uv.h>

#include "gateway/door/guests.h"

START_TEST(has_so_much_room_for_an_address)
{
	int fds[PER_ADDRESS];
	char piece[4096];

	for (size_t i = 0; i < PER_ADDRESS; i++) {
		fds[i] = dial();
		say(fds[i], "GET /v1/me HTTP/1.1\r\n" HEAD "\r\n");
		ck_assert_int_gt(wire_recv(fds[i], piece, sizeof(piece)), 0);
	}
	if (client)
		ck_assert_int_eq(dial(), -1); /* before a handshake, which costs more than an answer is worth */
	else
		expect(hear(dial()), "HTTP/1.1 503 ");
	wire_end(fds[0]); /* the node sees it and closes, and then there is room again */
	hear(fds[0]);
	while (guests_count() == PER_ADDRESS)
		uv_sleep(1);
	ask_expect("GET /v1/me HTTP/1.1\r\n" LAST, "200", "API_ME");
	for (size_t i = 1; i < PER_ADDRESS; i++)
		wire_close(fds[i]);
	while (guests_count() > 0)
		uv_sleep(1);
}
END_TEST

static const char me[] = "GET /v1/me HTTP/1.1\r\n" LAST;

START_TEST(limits_a_subject)
{
	config.limits.per_subject = 1; /* two at once */
	ask_expect(me, "200", "ratelimit-policy: \"subject\";q=2;w=2\r\nratelimit: \"subject\";r=1;t=1\r\n");
	ask_expect(me, "200", "ratelimit: \"subject\";r=0;t=2\r\n");
	ask_expect(me, "429", "urn:keyfob:problem:rate-limited");
	ask_expect(me, "429", "retry-after: 1\r\n");
	ask_expect("GET /v1/vehicles/CAR1/events HTTP/1.1\r\nAccept: text/event-stream\r\n" LAST, "429",
		"\"retriable\":true");
	ask_expect("GET /v1/me HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "401", "unauthenticated");
}
END_TEST

/* Also who does not say who they are: tokens cannot be guessed faster. The console's files count, too. */
START_TEST(limits_an_address)
{
	put_file("index.html", "<p>console");
	config.limits.per_address = 1;
	ask_expect("GET /v1/me HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "401", "unauthenticated");
	ask_expect(me, "200", "\r\nratelimit: \"address\";r=0;t=2\r\n");
	ask_expect(me, "429", "ratelimit-policy: \"address\";q=2;w=2\r\n");
	ask_expect("GET /v1/me HTTP/1.1\r\nX-Forwarded-For: 192.0.2.9\r\n" LAST, "429", "rate-limited");
	ask_expect("GET / HTTP/1.1\r\n" LAST, "429", "rate-limited");
}
END_TEST

/* Whoever answers in the end. */
START_TEST(says_what_is_left_with_files_too)
{
#define FROM "X-Forwarded-For: 198.51.100.7\r\n"
	put_file("index.html", "<p>console");
	trusted_network = "127.0.0.0/8";
	config.limits.per_address = 2;
	ask_expect("GET / HTTP/1.1\r\n" FROM LAST, "200", "\r\nratelimit: \"address\";r=3;t=");
	ask_expect("GET /config.json HTTP/1.1\r\n" FROM LAST, "200", "\r\nratelimit: \"address\";r=2;t=");
	ask_expect("GET /none.js HTTP/1.1\r\n" FROM LAST, "404", "\r\nratelimit: \"address\";r=1;t=");
}
END_TEST

/* Guesses at its secret spend from the address's bucket, and so do those to come once it is empty; who knows it does not. */
START_TEST(limits_who_guesses_a_hooks_secret)
{
#define CALL_BACK(secret)                                                                                              \
	"POST /v1/hooks/sms/texts/" secret "?id=1&status=ok HTTP/1.1\r\nX-Forwarded-For: 198.51.100.3\r\n" LAST
	static const char wrong[] = CALL_BACK("0123456789abcdeF"), right[] = CALL_BACK("0123456789abcdef");

	trusted_network = "127.0.0.0/8";
	config.limits.per_address = 0.5; /* one */
	for (int i = 0; i < 5; i++)
		ask_expect(right, "204", "");
	ask_expect(wrong, "404", "problem:not-found");
	ask_expect(wrong, "429", "rate-limited");
	ask_expect(right, "429", "retry-after: ");
}
END_TEST

START_TEST(believes_a_trusted_proxy)
{
	static const char of_one[] = "GET /v1/me HTTP/1.1\r\nX-Forwarded-For: 6.6.6.6\r\n"
				     "X-Forwarded-For: 198.51.100.1, 127.0.0.9\r\n" LAST;

	trusted_network = "127.0.0.0/8";
	config.limits.per_address = 0.5;
	ask_expect(of_one, "200", "API_ME");
	ask_expect(of_one, "429", "rate-limited");
	ask_expect("GET /v1/me HTTP/1.1\r\nX-Forwarded-For: 198.51.100.2\r\n" LAST, "200", "API_ME");
}
END_TEST

void add_limits(TCase *tc)
{
	tcase_add_test(tc, has_so_much_room_for_an_address);
	tcase_add_test(tc, limits_a_subject);
	tcase_add_test(tc, limits_an_address);
	tcase_add_test(tc, says_what_is_left_with_files_too);
	tcase_add_test(tc, limits_who_guesses_a_hooks_secret);
	tcase_add_test(tc, believes_a_trusted_proxy);
}
