/* jwks_fetcher_test.c - key sets by URL against a scripted peer: which answers count, how often it is asked, how it ends. */
#include "gateway/access/jwks_fetcher.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "gateway/access/jwks.h"
#include "tests/http_peer.h"
#include "tests/suite.h"

#define KEY                                                                                                            \
	"{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"%s\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","      \
	"\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}" /* RFC 7515 §A.3.1 */

static struct loop *loop;
static struct http_peer peer;
static struct jwks *jwks;
static struct jwks_fetcher *fetcher;
static struct jwks_source *source;
static size_t connections_awaited;
static unsigned generation_awaited;

static void setup(void)
{
	loop = loop_new();
	http_peer_start(&peer, loop);
	jwks = jwks_new_empty();
	fetcher = jwks_fetcher_new();
}

static void teardown(void)
{
	jwks_fetcher_free(fetcher);
	jwks_free(jwks);
	http_peer_stop(&peer);
	loop_stop(loop);
	loop_run(loop);
	loop_free(loop);
}

static void start(void)
{
	char url[64];

	snprintf(url, sizeof(url), "http://127.0.0.1:%d/keys", peer.port);
	source = jwks_fetcher_add(fetcher, "https://idp.test", url, jwks);
	jwks_fetcher_start(fetcher);
}

static void pump_until(bool (*reached)(void))
{
	uint64_t until = uv_hrtime() + 8000000000ull;
	while (!reached()) {
		ck_assert_msg(uv_hrtime() < until, "what the test waits for did not happen in 8 s");
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	}
}

static bool has_heard(void)
{
	return peer.connections >= connections_awaited && http_peer_has_heard(&peer);
}

static bool has_set(void)
{
	return jwks_generation(jwks) >= generation_awaited;
}

static void pump_until_heard(size_t connections)
{
	connections_awaited = connections;
	pump_until(has_heard);
}

static void pump_until_set(unsigned generation)
{
	generation_awaited = generation;
	pump_until(has_set);
}

static bool has_key(const char *kid)
{
	struct jwks_keys *keys = jwks_take(jwks);
	bool has = jwks_find(keys, kid, JWS_ES256) != NULL;
	jwks_keys_unref(keys);
	return has;
}

/* The whole answer; the peer borrows it. */
static void peer_shows(const char *kid)
{
	static char says[1024];
	snprintf(says, sizeof(says), "HTTP/1.1 200 OK\r\n\r\n{\"keys\":[" KEY "]}", kid);
	peer.says = says;
}

START_TEST(a_set_is_fetched_at_the_start)
{
	peer_shows("one");
	start();
	ck_assert(!has_key("one"));
	pump_until_set(1);
	ck_assert(has_key("one"));
	ck_assert(!has_key("two"));
	ck_assert(jwks_fetcher_wait(fetcher, 0));
	ck_assert_int_eq(strncmp(peer.heard.data, "GET /keys HTTP/1.1\r\n", 20), 0);
	ck_assert_ptr_nonnull(strstr(peer.heard.data, "\r\nAccept: application/jwk-set+json"));
}
END_TEST

/* The issuer's own word of where its keys are; the peer says it of whoever asks. */
static void peer_discovers(const char *issuer, const char *keys_url)
{
	static char says[1024];
	snprintf(
		says, sizeof(says), "HTTP/1.1 200 OK\r\n\r\n{\"issuer\":\"%s\",\"jwks_uri\":\"%s\"}", issuer, keys_url);
	peer.says = says;
}

START_TEST(an_issuer_says_where_its_keys_are)
{
	char issuer[64], keys[64];

	snprintf(issuer, sizeof(issuer), "http://127.0.0.1:%d/realm/", peer.port);
	snprintf(keys, sizeof(keys), "http://127.0.0.1:%d/certs", peer.port);
	jwks_fetcher_add(fetcher, issuer, NULL, jwks);
	peer_discovers("http://127.0.0.1/other", keys); /* the first that is asked: not this issuer's */
	jwks_fetcher_start(fetcher);
	pump_until_heard(1);
	ck_assert_int_eq(strncmp(peer.heard.data, "GET /realm/.well-known/openid-configuration HTTP/1.1\r\n", 53), 0);
	peer_discovers(issuer, "http://idp.example/certs"); /* nor keys that anybody could send */
	pump_until_heard(2);
	peer_discovers(issuer, keys);
	pump_until_heard(3);
	peer_shows("one");
	pump_until_set(1);
	ck_assert_int_eq(strncmp(peer.heard.data, "GET /certs HTTP/1.1\r\n", 21), 0);
	ck_assert(has_key("one"));
	ck_assert_uint_eq(peer.connections, 4);
	peer_shows("two"); /* where they are is known now */
	jwks_fetcher_refresh(fetcher);
	pump_until_set(2);
	ck_assert_uint_eq(peer.connections, 5);
}
END_TEST

START_TEST(waiting_ends_by_itself)
{
	start(); /* the peer is not turned: nobody answers */
	uint64_t begun = uv_hrtime();
	ck_assert(!jwks_fetcher_wait(fetcher, 1100));
	ck_assert_uint_ge(uv_hrtime() - begun, 1100000000ull);
	ck_assert_uint_eq(jwks_generation(jwks), 0);
}
END_TEST

/* An equal set is not another one: what workers remember stays good. */
START_TEST(a_refresh_fetches_again)
{
	peer_shows("one");
	start();
	pump_until_set(1);
	jwks_fetcher_refresh(fetcher);
	pump_until_heard(2);
	peer_shows("two");
	jwks_fetcher_refresh(fetcher);
	pump_until_set(2);
	ck_assert(has_key("two"));
	ck_assert(!has_key("one"));
	ck_assert_uint_eq(jwks_generation(jwks), 2);
}
END_TEST

static void ask_a_thousand_times(void)
{
	for (size_t i = 0; i < 1000; i++)
		jwks_source_look_again(source);
}

START_TEST(a_thousand_unknown_kids_are_one_fetch)
{
	peer_shows("one");
	start();
	pump_until_set(1);
	peer_shows("two");
	ask_a_thousand_times();
	pump_until_set(2);
	ck_assert_uint_eq(peer.connections, 2);
	ask_a_thousand_times(); /* within the ten seconds */
	peer_shows("three");
	jwks_fetcher_refresh(fetcher); /* comes after them, and is the third */
	pump_until_set(3);
	ck_assert_uint_eq(peer.connections, 3);
}
END_TEST

START_TEST(what_is_no_set_changes_nothing)
{
	static const char *const bad[] = {
		"HTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\n{\"keys\":[]}",
		"HTTP/1.1 404 Not Found\r\n\r\n{\"keys\":[" KEY "]}",
		"HTTP/1.1 302 Found\r\nLocation: /other\r\n\r\n{\"keys\":[" KEY "]}",
		"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n{\"keys\":[" KEY "]}",
		"HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\n{\"keys\":[" KEY "]}",
		"no HTTP at all",
	};
	peer_shows("one");
	start();
	pump_until_set(1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		peer.says = bad[i];
		jwks_fetcher_refresh(fetcher);
		pump_until_heard(2 + 2 * i);
		peer_shows(i % 2 ? "one" : "two"); /* a good one in between: the bad one was dealt with before it */
		jwks_fetcher_refresh(fetcher);
		pump_until_set((unsigned)(2 + i));
		ck_assert_uint_eq(jwks_generation(jwks), 2 + i);
		ck_assert_uint_eq(peer.connections, 3 + 2 * i);
	}
}
END_TEST

START_TEST(it_ends_while_a_call_is_under_way)
{
	peer.stays = true; /* and says nothing */
	start();
	pump_until_heard(1);
}
END_TEST

START_TEST(it_ends_though_it_never_began)
{
	jwks_fetcher_add(fetcher, "https://idp.test", "http://127.0.0.1:1/keys", jwks);
}
END_TEST

START_TEST(a_set_is_bounded)
{
	char why[128];
	char *text = memory_new(JWKS_BYTES_MAX + 2);
	int len = snprintf(text, JWKS_BYTES_MAX, "{\"keys\":[" KEY "]}", "one");

	memset(text + len, ' ', (size_t)(JWKS_BYTES_MAX + 1 - len));
	ck_assert(!jwks_put(jwks, text, JWKS_BYTES_MAX + 1, why, sizeof(why)));
	ck_assert_str_eq(why, "it is no JSON of at most 1 MiB");
	ck_assert(!has_key("one"));
	ck_assert(jwks_put(jwks, text, JWKS_BYTES_MAX, why, sizeof(why)));
	ck_assert(has_key("one"));
	text[len] = '\0';
	ck_assert(!jwks_put(jwks, text, (size_t)len + 1, why, sizeof(why)));
	ck_assert_uint_eq(jwks_generation(jwks), 1);
	free(text);
}
END_TEST

START_TEST(a_set_grows_old_within_bounds)
{
	static const struct {
		const char *cache_control;
		int64_t seconds;
	} rows[] = {
		{ NULL, 3600 },
		{ "", 3600 },
		{ "public", 3600 },
		{ "max-age=7200", 7200 },
		{ "public, MAX-AGE=7200, must-revalidate", 7200 },
		{ "s-maxage=9000,max-age=\"1800\"", 1800 },
		{ "max-age=0", 300 },
		{ "max-age=299", 300 },
		{ "max-age=31536000", 86400 },
		{ "max-age=99999999999999999999999", 86400 },
		{ "max-age=-1", 3600 },
		{ "max-age", 3600 },
		{ "max-age=,", 3600 },
		{ "x-max-age=7200", 3600 },
		{ "no-store", 300 },
		{ "max-age=7200, no-cache", 300 },
		{ ",, ,", 3600 },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ck_assert_msg(jwks_fetcher_age_max_ms(rows[i].cache_control) == rows[i].seconds * 1000, "%s",
			rows[i].cache_control ? rows[i].cache_control : "none");
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_set_is_fetched_at_the_start,
		an_issuer_says_where_its_keys_are,
		waiting_ends_by_itself,
		a_refresh_fetches_again,
		a_thousand_unknown_kids_are_one_fetch,
		what_is_no_set_changes_nothing,
		it_ends_while_a_call_is_under_way,
		it_ends_though_it_never_began,
		a_set_is_bounded,
		a_set_grows_old_within_bounds,
	};
	Suite *suite = suite_create("jwks_fetcher");
	TCase *fetching = tcase_create("fetching");
	tcase_set_timeout(fetching, 30);
	tcase_add_checked_fixture(fetching, setup, teardown);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(fetching, tests[i]);
	suite_add_tcase(suite, fetching);
	return suite_run(suite);
}
