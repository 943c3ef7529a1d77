/* browsers.c - what browsers are told, and the console that is served to them. */
#include "tests/unit/gateway/http/ground.h"

#include <stdio.h>
#include <string.h>

START_TEST(lets_listed_origins_in)
{
	ask_expect(
		"OPTIONS /v1/me HTTP/1.1\r\nOrigin: https://app.example\r\nAccess-Control-Request-Method: GET\r\n" LAST,
		"204", "access-control-allow-origin: https://app.example");
	ask_expect("OPTIONS /v1/me HTTP/1.1\r\nOrigin: https://evil.example\r\nAccess-Control-Request-Method: "
		   "GET\r\n" LAST,
		"405", "vary: Origin");
	ask_expect("GET /v1/me HTTP/1.1\r\nOrigin: https://app.example\r\n" LAST, "200", "WWW-Authenticate\r\n");
	ck_assert_ptr_null(strstr(ask("GET /v1/me HTTP/1.1\r\nOrigin: https://evil.example\r\n" LAST), "allow-origin"));
}
END_TEST

/* Its own answers, h2o's refusals and files alike. */
START_TEST(tells_browsers_what_they_must_not_do)
{
	static const char *const requests[] = { "GET /v1/me HTTP/1.1\r\n" LAST, "GET /v1/none HTTP/1.1\r\n" LAST,
		"GET /v1/me HTTP/1.1\r\nHost: two\r\n" LAST,
		"GET /v1/vehicles/CAR1/events HTTP/1.1\r\n"
		"Accept: text/event-stream\r\n" LAST,
		"GET /page.html HTTP/1.1\r\n" LAST, "GET /config.json HTTP/1.1\r\n" LAST,
		"GET /none HTTP/1.1\r\n" LAST };

	put_file("page.html", "<p>page");
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		const char *answer = ask(requests[i]);
		expect(answer, "\r\nx-content-type-options: nosniff\r\n");
		expect(answer, "\r\nreferrer-policy: no-referrer\r\n");
		expect(answer, "\r\nx-frame-options: DENY\r\n");
		expect(answer, i < 4 ? "\r\ncontent-security-policy: default-src 'none'; frame-ancestors 'none'\r\n"
				     : "\r\ncontent-security-policy: default-src 'none'; script-src 'self'; ");
		ck_assert_ptr_null(strstr(answer, "unsafe-"));
		const char *stay = strstr(answer, "\r\nstrict-transport-security: max-age=31536000\r\n");
		ck_assert_int_eq(stay != NULL, client != NULL);
	}
}
END_TEST

START_TEST(serves_the_console)
{
	static const char *const ways_out[] = { "/../../etc/passwd", "/..%2f..%2fetc%2fpasswd",
		"/%2e%2e/%2e%2e/etc/passwd", "/assets/../../../etc/passwd", "/assets/..%2F..%2F..%2Fetc/passwd",
		"//etc/passwd", "/./../etc/passwd" };

	put_file("index.html", "<p>console");
	put_file("app.js", "go()");
	ask_expect("GET / HTTP/1.1\r\n" LAST, "200", "content-type: text/html");
	const char *script = ask("GET /app.js HTTP/1.1\r\n" LAST);
	expect(script, "javascript");
	expect(script, "cache-control: no-cache");
	expect(script, "x-request-id: ");
	ask_expect("POST /app.js HTTP/1.1\r\nContent-Length: 0\r\n" LAST, "405", "problem:method-not-allowed");
	ask_expect("GET /nothing.js HTTP/1.1\r\n" LAST, "404", "problem:not-found");
	for (size_t i = 0; i < sizeof(ways_out) / sizeof(ways_out[0]); i++) {
		char request[160];
		snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\n" LAST, ways_out[i]);
		ask_expect(request, "404", "problem:not-found");
	}
	ask_expect("GET / HTTP/1.1\r\nHost: other\r\n" LAST, "400", "two Hosts");
}
END_TEST

START_TEST(answers_the_consoles_own_paths_with_its_page)
{
	static const char *const pages[] = { "/fleet", "/live", "/access", "/vehicles/WKF.1:a_b-c",
		"/vehicles/A/audit" };
	static const char *const others[] = { "/fleets", "/none", "/livelihood/x", "/v1", "/v1/fleet",
		"/v1/vehicles/A/b" };
	char request[128];

	put_file("index.html", "<p>console");
	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\n" LAST, pages[i]);
		const char *answer = ask(request);
		expect(answer, "HTTP/1.1 200 ");
		expect(answer, "content-type: text/html");
		expect(answer, "cache-control: no-cache");
		expect(answer, "<p>console");
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\n" LAST, others[i]);
		ask_expect(request, "404", "problem:not-found");
	}
	ask_expect("POST /live HTTP/1.1\r\nContent-Length: 0\r\n" LAST, "405", "problem:method-not-allowed");
}
END_TEST

START_TEST(keeps_what_is_hashed_and_sends_it_compressed)
{
	put_file("assets/app-1.js", "plain()");
	put_file("assets/app-1.js.gz", "gz");
	put_file("assets/app-1.js.br", "br");
	const char *plain = ask("GET /assets/app-1.js HTTP/1.1\r\n" LAST);
	expect(plain, "plain()");
	expect(plain, "cache-control: public, max-age=31536000, immutable\r\n");
	expect(plain, "vary: accept-encoding\r\n");
	const char *br = ask("GET /assets/app-1.js HTTP/1.1\r\nAccept-Encoding: gzip, br\r\n" LAST);
	expect(br, "content-encoding: br\r\n");
	expect(br, "javascript");
	expect(br, "\r\n\r\nbr");
	ask_expect("GET /assets/app-1.js HTTP/1.1\r\nAccept-Encoding: gzip\r\n" LAST, "200", "content-encoding: gzip");
	const char *missing = ask("GET /assets/app-0.js HTTP/1.1\r\n" LAST);
	expect(missing, "HTTP/1.1 404 ");
	expect(missing, "cache-control: no-cache\r\n");
}
END_TEST

START_TEST(tells_the_console_where_it_is)
{
	put_file("config.json", "{\"api\":\"https://elsewhere.example\"}");
	const char *answer = ask("GET /config.json HTTP/1.1\r\n" LAST);
	expect(answer, "content-type: application/json\r\n");
	expect(answer, "cache-control: no-store\r\n");
	expect(answer, "; connect-src 'self' https://idp.example https://tokens.example\r\n");
	expect(answer,
		"\r\n\r\n{\"api\":\"\",\"issuer\":\"https://idp.example/realms/cars\",\"client_id\":\"console\","
		"\"scope\":\"openid\",\"parameters\":{\"resource\":\"https://keyfob.example\"},\"development\":false}");
}
END_TEST

void add_browsers(TCase *tc)
{
	tcase_add_test(tc, lets_listed_origins_in);
	tcase_add_test(tc, tells_browsers_what_they_must_not_do);
	tcase_add_test(tc, serves_the_console);
	tcase_add_test(tc, answers_the_consoles_own_paths_with_its_page);
	tcase_add_test(tc, keeps_what_is_hashed_and_sends_it_compressed);
	tcase_add_test(tc, tells_the_console_where_it_is);
}
