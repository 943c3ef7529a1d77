/* http_client_test.c - outgoing HTTP against a scripted peer: what was answered, what was certainly not sent, and what nobody
 * knows. */
#include <arpa/inet.h>
#include <check.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/http_client.h"
#include "base/http_url.h"
#include "base/loop.h"
#include "tests/http_peer.h"
#include "tests/suite.h"

static struct loop *loop;
static struct http_client *client;
static struct http_peer peer;
static struct http_call call;
static size_t done;
static char *long_answer; /* what the peer says, where it is made */
static struct {
	enum http_end end;
	int status;
	char body[256], why[128];
	size_t len;
	bool cut;
	char cache_control[64];
	int64_t retry_after_s;
	bool inside;
} got;

static void pump_until(bool (*reached)(void))
{
	uint64_t until = uv_hrtime() + 8000000000ull;
	while (!reached()) {
		ck_assert_msg(uv_hrtime() < until, "what the test waits for did not happen in 8 s");
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	}
}

/* libcurl, which refuses the option of this number, counted down, or to take a transfer. */

static int options_until_refused; /* 0: none is */
static bool takes_none;

CURLcode __real_curl_easy_setopt(CURL *transfer, CURLoption option, ...);
CURLcode __wrap_curl_easy_setopt(CURL *transfer, CURLoption option, ...);
CURLMcode __real_curl_multi_add_handle(CURLM *multi, CURL *transfer);
CURLMcode __wrap_curl_multi_add_handle(CURLM *multi, CURL *transfer);

/* A long, an offset and a pointer are handed over alike where this runs. */
CURLcode __wrap_curl_easy_setopt(CURL *transfer, CURLoption option, ...)
{
	va_list rest;

	va_start(rest, option);
	void *value = va_arg(rest, void *);
	va_end(rest);
	if (options_until_refused > 0 && --options_until_refused == 0)
		return CURLE_OUT_OF_MEMORY;
	return __real_curl_easy_setopt(transfer, option, value);
}

CURLMcode __wrap_curl_multi_add_handle(CURLM *multi, CURL *transfer)
{
	return takes_none ? CURLM_OUT_OF_MEMORY : __real_curl_multi_add_handle(multi, transfer);
}

static void setup(void)
{
	loop = loop_new();
	client = http_client_new(loop);
	http_peer_start(&peer, loop);
	done = 0;
	options_until_refused = 0;
	takes_none = false;
}

static bool closed;

static void on_closed(void *owner)
{
	*(bool *)owner = true;
}

static bool is_closed(void)
{
	return closed;
}

static void close_client(void)
{
	closed = false;
	http_client_close(client, on_closed, &closed);
	pump_until(is_closed);
	client = NULL;
}

static void teardown(void)
{
	if (client)
		close_client();
	http_peer_stop(&peer);
	free(long_answer);
	long_answer = NULL;
	loop_stop(loop);
	loop_run(loop);
	loop_free(loop);
}

static void on_done(struct http_call *c, const struct http_answer *answer)
{
	ck_assert_ptr_eq(c, &call);
	done++;
	got.end = answer->end;
	got.status = answer->status;
	got.len = answer->len;
	got.cut = answer->cut;
	got.retry_after_s = answer->retry_after_s;
	got.inside = answer->inside;
	snprintf(got.body, sizeof(got.body), "%s", answer->body);
	snprintf(got.why, sizeof(got.why), "%s", answer->why ? answer->why : "");
	snprintf(got.cache_control, sizeof(got.cache_control), "%s",
		answer->cache_control ? answer->cache_control : "none");
}

static bool is_done(void)
{
	return done > 0;
}

static const char *url(const char *path)
{
	static char text[128];
	snprintf(text, sizeof(text), "http://127.0.0.1:%d%s", peer.port, path);
	return text;
}

static void start(const char *method, const char *where, const char *body)
{
	static const char *const headers[] = { "X-One: 1", "Content-Type: application/json", NULL };

	call = (struct http_call){ .method = method,
		.url = where,
		.headers = headers,
		.body = body,
		.body_len = body ? strlen(body) : 0,
		.timeout_ms = 5000,
		.answer_max = 64,
		.on_done = on_done };
	http_client_call(client, &call);
}

static void run(const char *method, const char *where, const char *body)
{
	start(method, where, body);
	ck_assert_uint_eq(done, 0); /* never inside the call */
	pump_until(is_done);
	ck_assert_uint_eq(done, 1);
}

START_TEST(asks_and_is_answered)
{
	peer.says = "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok";
	run("POST", url("/a?b=c"), "{\"x\":1}");
	ck_assert_int_eq(got.end, HTTP_ANSWERED);
	ck_assert_int_eq(got.status, 201);
	ck_assert_str_eq(got.body, "ok");
	ck_assert(!got.cut);
	ck_assert_int_eq(strncmp(peer.heard.data, "POST /a?b=c HTTP/1.1\r\n", 22), 0);
	ck_assert_ptr_nonnull(strstr(peer.heard.data, "\r\nX-One: 1\r\n"));
	ck_assert_ptr_nonnull(strstr(peer.heard.data, "\r\nContent-Type: application/json\r\n"));
	ck_assert_ptr_nonnull(strstr(peer.heard.data, "\r\n\r\n{\"x\":1}"));
}
END_TEST

START_TEST(tells_how_long_it_may_be_kept)
{
	peer.says = "HTTP/1.1 200 OK\r\ncache-control: public, max-age=60\r\n\r\n";
	run("GET", url("/"), NULL);
	ck_assert_str_eq(got.cache_control, "public, max-age=60");
}
END_TEST

START_TEST(says_nothing_of_what_the_answer_did_not_say)
{
	peer.says = "HTTP/1.1 200 OK\r\n\r\n";
	run("GET", url("/"), NULL);
	ck_assert_str_eq(got.cache_control, "none");
}
END_TEST

START_TEST(tells_when_to_come_again)
{
	peer.says = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 120\r\n\r\n";
	run("GET", url("/"), NULL);
	ck_assert_int_eq(got.retry_after_s, 120);
	done = 0;
	peer.says = "HTTP/1.1 503 Service Unavailable\r\n\r\n";
	run("GET", url("/"), NULL);
	ck_assert_int_eq(got.retry_after_s, 0);
}
END_TEST

static void run_with(const char *where, bool public_only, bool repeatable)
{
	done = 0;
	call = (struct http_call){ .method = "GET",
		.url = where,
		.timeout_ms = 5000,
		.answer_max = 64,
		.public_only = public_only,
		.repeatable = repeatable,
		.on_done = on_done };
	http_client_call(client, &call);
	pump_until(is_done);
}

/* Neither by address nor by name, nor by a proxy that would go there for us. */
START_TEST(stays_outside_where_it_is_told_to)
{
	static const char *const hosts[] = { "127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0x7f000001" };
	char where[64];

	snprintf(where, sizeof(where), "http://127.0.0.1:%d", peer.port);
	setenv("https_proxy", where, 1);
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		snprintf(where, sizeof(where), "https://%s:%d/", hosts[i], peer.port);
		run_with(where, true, true);
		ck_assert_int_eq(got.end, HTTP_NOT_SENT);
		ck_assert_msg(got.inside, "%s: %s", where, got.why);
	}
	unsetenv("https_proxy");
	run_with(url("/"), true, true); /* by http: not at all */
	ck_assert_int_eq(got.end, HTTP_NOT_SENT);
	ck_assert_uint_eq(peer.connections, 0);
}
END_TEST

static clock_t cost_of_calls(int count, const char *where)
{
	clock_t begun = clock();

	for (int i = 0; i < count; i++) {
		done = 0;
		call = (struct http_call){
			.method = "GET", .url = where, .timeout_ms = 50, .answer_max = 64, .on_done = on_done
		};
		http_client_call(client, &call);
		pump_until(is_done);
		ck_assert_int_eq(got.end, HTTP_NOT_SENT);
	}
	return clock() - begun;
}

/* The system's authorities are some hundred certificates; they were read for each connection. The peer never answers the handshake,
 * before which they were. */
START_TEST(reads_the_systems_authorities_once)
{
	char where[64];

	unsetenv("SSL_CERT_FILE");
	unsetenv("SSL_CERT_DIR");
	snprintf(where, sizeof(where), "https://127.0.0.1:%d/", peer.port);
	clock_t first = cost_of_calls(1, where);
	ck_assert_int_lt(cost_of_calls(20, where), 5 * first);
}
END_TEST

START_TEST(keeps_a_connection_for_what_may_be_repeated)
{
	peer.says = "HTTP/1.1 204 No Content\r\n\r\n";
	peer.stays = true;
	run_with(url("/"), false, true);
	run_with(url("/"), false, true);
	ck_assert_uint_eq(peer.connections, 1);
	ck_assert_int_eq(got.status, 204);
}
END_TEST

START_TEST(urls_of_strangers)
{
	static const char *const fine[] = { "https://platform.example/hook?x=1", "https://platform.example:8443",
		"https://93.184.216.34/", "https://[2606:2800:220:1::1]/" };
	static const char *const inside[] = { "https://127.0.0.1/", "https://127.1/", "https://0x7f.0.0.1/",
		"https://2130706433/", "https://10.0.0.1/", "https://[::1]/", "https://[::ffff:10.0.0.1]/",
		"https://[fe80::1]/", "https://[64:ff9b::a00:1]/", "http://platform.example/" };
	static const char *const never[] = { "", "platform.example", "/hook", "ftp://platform.example/",
		"https://me@platform.example/", "https://me:pw@platform.example/", "https://platform.example/#x",
		"file:///etc/passwd", "gopher://platform.example/" };

	for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++)
		ck_assert_msg(!http_url_flaw(fine[i], false), "%s", fine[i]);
	for (size_t i = 0; i < sizeof(inside) / sizeof(inside[0]); i++) {
		ck_assert_msg(http_url_flaw(inside[i], false) != NULL, "%s", inside[i]);
		ck_assert_msg(!http_url_flaw(inside[i], true), "%s", inside[i]);
	}
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		ck_assert_msg(http_url_flaw(never[i], true) != NULL, "%s", never[i]);
}
END_TEST

START_TEST(get_has_no_body)
{
	peer.says = "HTTP/1.1 204 No Content\r\n\r\n";
	run("GET", url("/"), NULL);
	ck_assert_int_eq(got.status, 204);
	ck_assert_uint_eq(got.len, 0);
	ck_assert_ptr_null(strcasestr(peer.heard.data, "content-length"));
}
END_TEST

START_TEST(follows_no_redirect)
{
	char says[256];

	snprintf(says, sizeof(says), "HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n",
		url("/elsewhere"));
	peer.says = says;
	run("GET", url("/"), NULL);
	ck_assert_int_eq(got.status, 302);
	ck_assert_uint_eq(peer.connections, 1);
}
END_TEST

START_TEST(keeps_no_more_than_it_may)
{
	peer.says = "HTTP/1.1 200 OK\r\n\r\n0123456789012345678901234567890123456789012345678901234567890123456789";
	run("GET", url("/"), NULL);
	ck_assert_int_eq(got.end, HTTP_ANSWERED);
	ck_assert_int_eq(got.status, 200);
	ck_assert_uint_eq(got.len, 64);
	ck_assert(got.cut);
}
END_TEST

/* `begins`, then `line` as often as is said, and an end. */
static void peer_repeats(const char *begins, const char *line, size_t times)
{
	struct text says = { 0 };

	text_add(&says, begins);
	while (times--)
		text_add(&says, line);
	text_add(&says, "HTTP/1.1 200 OK\r\n\r\nok");
	free(long_answer);
	peer.says = long_answer = text_take(&says);
}

/* Nor of what comes before it: a head, 1xx, and what comes after the body. */
START_TEST(a_head_without_end_is_no_answer)
{
	static const struct {
		const char *begins, *line;
		enum http_end end;
	} heads[] = {
		{ "HTTP/1.1 200 OK\r\n", "X-Filler: 0123456789012345678901234567890123456789\r\n", HTTP_LOST },
		{ "", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", HTTP_LOST },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n", "X-Filler: 0123456789\r\n",
			HTTP_ANSWERED },
	};
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		peer_repeats(heads[i].begins, heads[i].line, 8000);
		done = 0;
		run("GET", url("/"), NULL);
		ck_assert_int_eq(got.end, heads[i].end);
		ck_assert(got.cut);
		ck_assert_str_eq(got.why, "a head of more than 64 KiB");
	}
	peer_repeats("", heads[1].line, 1000);
	done = 0;
	run("GET", url("/"), NULL);
	ck_assert_str_eq(got.body, "ok");
}
END_TEST

/* libcurl takes some of these for a 200. */
START_TEST(a_status_line_that_is_none_is_no_answer)
{
	static const char *const lines[] = { "HTTP/x.1 503 Down", "HTTP/1.x 503 Down", "HTTP/1.1 2003 Down",
		"HTTP/1.1 20", "HTTP/1.1 503Down", "HTTP/1.1\t503 Down", "HTTP/2 200", "http/1.1 200 OK", "HTTP/200" };
	char says[64];

	peer.says = says;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		snprintf(says, sizeof(says), "%s%s\r\n\r\n", i % 2 ? "" : "HTTP/1.1 103 Early Hints\r\n\r\n", lines[i]);
		done = 0;
		run("GET", url("/"), NULL);
		ck_assert_msg(got.end == HTTP_LOST, "%s", lines[i]);
	}
	snprintf(says, sizeof(says), "HTTP/1.0 200\r\n\r\n");
	done = 0;
	run("GET", url("/"), NULL);
	ck_assert_int_eq(got.end, HTTP_ANSWERED);
	ck_assert_int_eq(got.status, 200);
}
END_TEST

START_TEST(an_answer_that_stops_midway_is_an_answer)
{
	peer.says = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc";
	run("GET", url("/"), NULL);
	ck_assert_int_eq(got.end, HTTP_ANSWERED);
	ck_assert_str_eq(got.body, "abc");
	ck_assert(got.cut);
}
END_TEST

START_TEST(nobody_listens)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	char where[64];

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, len), 0); /* bound, not listening */
	getsockname(fd, (struct sockaddr *)&address, &len);
	snprintf(where, sizeof(where), "http://127.0.0.1:%d/", ntohs(address.sin_port));
	run("POST", where, "{}");
	ck_assert_int_eq(got.end, HTTP_NOT_SENT);
	ck_assert_str_ne(got.why, "");
	close(fd);
}
END_TEST

/* All that a call can have. */
static void run_with_all(const char *where, bool public_only)
{
	static const char *const headers[] = { "X-One: 1", NULL };
	static const struct http_signature signature = {
		.region = "eu", .service = "sns", .access_key_id = "id", .secret_access_key = "secret"
	};

	done = 0;
	call = (struct http_call){ .method = "POST",
		.url = where,
		.headers = headers,
		.body = "{}",
		.body_len = 2,
		.signature = &signature,
		.timeout_ms = 5000,
		.answer_max = 64,
		.public_only = public_only,
		.on_done = on_done };
	http_client_call(client, &call);
	ck_assert_uint_eq(done, 0);
	pump_until(is_done);
	ck_assert_uint_eq(done, 1);
}

/* Each of its options in turn; how many it has. */
static int refuse_each_option(const char *where, bool public_only)
{
	for (int number = 1;; number++) {
		options_until_refused = number;
		run_with_all(where, public_only);
		if (options_until_refused > 0)
			return number - 1;
		ck_assert_int_eq(got.end, HTTP_NOT_SENT);
		ck_assert_str_eq(got.why, curl_easy_strerror(CURLE_OUT_OF_MEMORY));
		ck_assert(!got.inside); /* it was not even tried */
		ck_assert_uint_eq(peer.connections, 0);
	}
}

/* Without it the call would be another: to elsewhere, without an end, or unsigned. What had connected is taken in before the last one,
 * which is in order. */
START_TEST(what_libcurl_refuses_is_not_sent)
{
	char where[64];

	peer.says = "HTTP/1.1 204 No Content\r\n\r\n";
	snprintf(where, sizeof(where), "https://127.0.0.1:%d/", peer.port);
	int of_strangers = refuse_each_option(where, true);
	ck_assert_int_eq(got.end, HTTP_NOT_SENT);
	ck_assert(got.inside);
	int of_own = refuse_each_option(url("/"), false);
	ck_assert_int_eq(got.end, HTTP_ANSWERED);
	ck_assert_int_eq(of_strangers, of_own + 3);
	ck_assert_int_gt(of_own, 20);
	ck_assert_uint_eq(peer.connections, 1);

	options_until_refused = 0;
	takes_none = true;
	run_with_all(url("/"), false);
	ck_assert_int_eq(got.end, HTTP_NOT_SENT);
	ck_assert_str_ne(got.why, "");
	takes_none = false;
	run_with_all(url("/"), false);
	ck_assert_int_eq(got.end, HTTP_ANSWERED);
	ck_assert_uint_eq(peer.connections, 2);
}
END_TEST

START_TEST(hangs_up_without_a_word)
{
	peer.says = NULL;
	run("POST", url("/"), "{}");
	ck_assert_int_eq(got.end, HTTP_LOST);
	ck_assert_uint_eq(peer.connections, 1); /* and is not asked again */
}
END_TEST

static bool was_heard(void)
{
	return http_peer_has_heard(&peer);
}

START_TEST(no_answer_in_time)
{
	static const char *const none[] = { NULL };

	peer.says = "";
	peer.stays = true;
	call = (struct http_call){ .method = "GET",
		.url = url("/"),
		.headers = none,
		.timeout_ms = 200,
		.answer_max = 64,
		.on_done = on_done };
	http_client_call(client, &call);
	pump_until(is_done);
	ck_assert_int_eq(got.end, HTTP_LOST);
}
END_TEST

START_TEST(other_schemes_are_no_urls)
{
	run("GET", "file:///etc/passwd", NULL);
	ck_assert_int_eq(got.end, HTTP_NOT_SENT);
	done = 0;
	run("GET", "", NULL);
	ck_assert_int_eq(got.end, HTTP_NOT_SENT);
}
END_TEST

START_TEST(closing_ends_what_is_under_way)
{
	peer.says = "";
	peer.stays = true;
	start("POST", url("/"), "{}");
	pump_until(was_heard);
	close_client();
	ck_assert_uint_eq(done, 1);
	ck_assert_int_eq(got.end, HTTP_LOST);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("http_client");
	TCase *tc = tcase_create("http_client");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, asks_and_is_answered);
	tcase_add_test(tc, tells_how_long_it_may_be_kept);
	tcase_add_test(tc, says_nothing_of_what_the_answer_did_not_say);
	tcase_add_test(tc, tells_when_to_come_again);
	tcase_add_test(tc, stays_outside_where_it_is_told_to);
	tcase_add_test(tc, reads_the_systems_authorities_once);
	tcase_add_test(tc, keeps_a_connection_for_what_may_be_repeated);
	tcase_add_test(tc, urls_of_strangers);
	tcase_add_test(tc, get_has_no_body);
	tcase_add_test(tc, follows_no_redirect);
	tcase_add_test(tc, keeps_no_more_than_it_may);
	tcase_add_test(tc, a_head_without_end_is_no_answer);
	tcase_add_test(tc, a_status_line_that_is_none_is_no_answer);
	tcase_add_test(tc, an_answer_that_stops_midway_is_an_answer);
	tcase_add_test(tc, nobody_listens);
	tcase_add_test(tc, what_libcurl_refuses_is_not_sent);
	tcase_add_test(tc, hangs_up_without_a_word);
	tcase_add_test(tc, no_answer_in_time);
	tcase_add_test(tc, other_schemes_are_no_urls);
	tcase_add_test(tc, closing_ends_what_is_under_way);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
