/* requests.c - what a request is: path, token, query, headers, body; and what an answer says of its own. */
#include "tests/unit/gateway/http/ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

START_TEST(finds_what_a_path_names)
{
	ask_expect("GET /v1/vehicles/CAR1 HTTP/1.1\r\n" LAST, "200", "\"API_VEHICLE_GET\"");
	ask_expect("GET /v1/vehicles/C%2f%2541/grants/a%7Cb HTTP/1.1\r\n" LAST, "200",
		"{\"subject\":\"a|b\",\"vehicle_id\":\"C/%41\"}");
	ask_expect(
		"GET /v1/vehicles/C%00/grants/%ff HTTP/1.1\r\n" LAST, "200", "{\"subject\":\"\",\"vehicle_id\":\"\"}");
	ask_expect("GET /v1/vehicles//commands HTTP/1.1\r\n" LAST, "404", "problem:not-found");
	ask_expect("GET /v2 HTTP/1.1\r\n" LAST, "404", "application/problem+json");
	ask_expect("PATCH /v1/vehicles/CAR1 HTTP/1.1\r\n" LAST, "405", "allow: GET, HEAD, PUT, DELETE");
	const char *head = ask("HEAD /v1/me HTTP/1.1\r\n" LAST);
	expect(head, "HTTP/1.1 200 ");
	ck_assert_str_eq(strstr(head, "\r\n\r\n"), "\r\n\r\n");
	ask_expect("GET /v1/me HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "401",
		"www-authenticate: Bearer realm=\"keyfob\"\r\n");
	ask_expect("GET /v1/me HTTP/1.1\r\nHost: h\r\nAuthorization: Basic YTpi\r\nConnection: close\r\n\r\n", "401",
		"www-authenticate: Bearer realm=\"keyfob\"\r\n");
	ask_expect("GET /v1/me HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer bad\r\nConnection: close\r\n\r\n", "401",
		"www-authenticate: Bearer realm=\"keyfob\", error=\"invalid_token\"\r\n");
}
END_TEST

/* As the WebSocket's upgrade: a proxy in front may have looked at the other. */
START_TEST(takes_one_token)
{
	ask_expect("GET /v1/me HTTP/1.1\r\nAuthorization: Bearer good\r\n" LAST, "400", "malformed-request");
	ask_expect("GET /v1/me HTTP/1.1\r\n" HEAD "authorization: Bearer bad\r\nConnection: close\r\n\r\n", "400",
		"malformed-request");
}
END_TEST

#define SOON "GET /v1/me HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer soon\r\nConnection: close\r\n\r\n"

static void until_seen(unsigned times)
{
	while (soon_seen < times)
		usleep(1000);
}

/* The first token after an issuer changed its keys. Who does not stay for it leaves nothing behind. */
START_TEST(waits_for_the_keys_of_a_token)
{
	fetches = soon_seen = 0;
	int first = dial(), gone = dial(), last;
	say(first, "POST /v1/vehicles/C/commands HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer soon\r\n"
		   "Content-Type: application/json\r\nContent-Length: 12\r\nConnection: close\r\n\r\n{\"name\":\"x\"}");
	until_seen(1);
	say(gone, SOON);
	until_seen(2);
	wire_close(gone);
	last = dial();
	say(last, SOON);
	until_seen(3);
	fetches = 1;
	expect(hear(first), "{\"name\":\"x\",\"vehicle_id\":\"C\"}");
	expect(hear(last), "\"API_ME\"");
	ask_expect(SOON, "200", "\"API_ME\"");
}
END_TEST

START_TEST(waits_so_long_for_keys)
{
	fetches = soon_seen = 0;
	ask_expect(SOON, "401", "the test does not know it");
	ck_assert_uint_eq(soon_seen, 2);
}
END_TEST

START_TEST(reads_queries)
{
	ask_expect("GET /v1/vehicles/C/commands?limit=5&status=sent&cursor=OLD HTTP/1.1\r\n" LAST, "200",
		"link: </v1/vehicles/C/commands?cursor=NEXT&limit=5&status=sent>; rel=\"next\"");
	ask_expect("GET /v1/vehicles/C/commands?limit=0 HTTP/1.1\r\n" LAST, "400", "invalid-query");
	ask_expect("GET /v1/vehicles/C/commands?limit=x HTTP/1.1\r\n" LAST, "400", "invalid-query");
	ask_expect("GET /v1/vehicles/C/commands?color=red HTTP/1.1\r\n" LAST, "400",
		"\"detail\":\"color is not known here");
	ask_expect("GET /v1/vehicles/C/commands?imit=1 HTTP/1.1\r\n" LAST, "400", "invalid-query");
	ask_expect("GET /v1/vehicles/C/commands?limit=1&limit=2 HTTP/1.1\r\n" LAST, "400", "invalid-query");
	ask_expect("GET /v1/vehicles/C/events?after=%2B1 HTTP/1.1\r\n" LAST, "400", "invalid-query");
	ask_expect("GET /v1/vehicles?filter=a+b%20c%2Bd HTTP/1.1\r\n" LAST, "200", "{\"filter\":\"a b c+d\"}");
	ask_expect("GET /v1/vehicles/C/events?after=99999999999999999999 HTTP/1.1\r\n" LAST, "400", "invalid-query");
}
END_TEST

static const char *change(const char *what, const char *headers, const char *body)
{
	static char request[4096];

	snprintf(request, sizeof(request), "%s HTTP/1.1\r\n%sContent-Length: %zu\r\n" LAST "%s", what, headers,
		strlen(body), body);
	return request;
}

static const char *post(const char *headers, const char *body)
{
	return change("POST /v1/vehicles/C/commands", headers, body);
}

START_TEST(reads_bodies_and_headers)
{
	const char *type = "Content-Type: application/json\r\n";
	char both[600], long_key[400];

	ask_expect(post(type, "{\"name\":\"x\"}"), "202", "location: /v1/vehicles/C/commands/0192f3c8-");
	ask_expect(post(type, "{\"name\":"), "400", "malformed-request");
	ask_expect(post(type, "{\"vehicle_id\":\"D\"}"), "422", "unknown-field");
	ask_expect(post(type, "{\"traceparent\":\"t\"}"), "422", "unknown-field");
	ask_expect(post("Content-Type: application/jsonx\r\n", "{}"), "415", "unsupported-media-type");
	snprintf(both, sizeof(both), "%sPrefer: respond-async, wait=7\r\nIdempotency-Key: k\r\n", type);
	ask_expect(post(both, "{}"), "202", "preference-applied: wait=7");
	ask_expect(post(both, "{\"settle\":1}"), "200", "\"idempotency_key\":\"k\"");
	snprintf(both, sizeof(both), "%sPrefer: wait=soon\r\nPrefer: return=minimal\r\nPrefer: wait=900\r\n", type);
	ask_expect(post(both, "{}"), "202", "preference-applied: wait=60");
	snprintf(both, sizeof(both), "%sPrefer: wait=\"8\"\r\n", type);
	ask_expect(post(both, "{}"), "202", "preference-applied: wait=8");
	snprintf(both, sizeof(both), "%sPrefer: return=minimal, wait,  Wait \t = \"9\" ; a=b, wait=3\r\n", type);
	ask_expect(post(both, "{}"), "202", "preference-applied: wait=9");
	snprintf(both, sizeof(both), "%sPrefer: wait = , waits = 3, wait= 6\r\n", type);
	ask_expect(post(both, "{}"), "202", "preference-applied: wait=6");
	memset(long_key, 'k', 256);
	snprintf(both, sizeof(both), "%sIdempotency-Key: %.256s\r\n", type, long_key);
	ask_expect(post(both, "{}"), "400", "Idempotency-Key");
	snprintf(both, sizeof(both), "%sIdempotency-Key: a\r\nIdempotency-Key: b\r\n", type);
	ask_expect(post(both, "{}"), "400", "Idempotency-Key");
}
END_TEST

/* What is compressed is none of ours, whatever it says it is: JSON or a notice. */
START_TEST(reads_bodies_as_they_are)
{
	const char *coded = "Content-Type: application/json\r\nContent-Encoding: gzip\r\n";

	ask_expect(post(coded, "{}"), "415", "accept-encoding: identity\r\n");
	ask_expect(post("Content-Type: application/json\r\nContent-Encoding: Identity\r\n", "{}"), "202", "location: ");
	ask_expect("PUT /v1/notices/a HTTP/1.1\r\nContent-Encoding: br\r\nContent-Length: 1\r\n" LAST "x", "415",
		"unsupported-media-type");
}
END_TEST

/* RFC 9112 §2.2: some send one behind a body. Two are too many. */
START_TEST(passes_over_an_empty_line)
{
	ask_expect("\r\nGET /v1/me HTTP/1.1\r\n" LAST, "200", "API_ME");
	int fd = dial();
	say(fd, "POST /v1/vehicles/C/commands HTTP/1.1\r\n" HEAD
		"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}\r\n"
		"GET /v1/me HTTP/1.1\r\n" LAST);
	const char *answers = hear(fd);
	expect(answers, "HTTP/1.1 202 ");
	expect(answers, "\"API_ME\"");
	ask_expect("\r\n\r\nGET /v1/me HTTP/1.1\r\n" LAST, "400", "malformed-request");
	ask_expect("\r\n\nGET /v1/me HTTP/1.1\r\n" LAST, "400", "malformed-request");
}
END_TEST

/* RFC 7396; RFC 9110 §13.1.1: any tag of the list will do, a weak one is none. */
START_TEST(reads_merge_patches)
{
	static const char what[] = "PATCH /v1/vehicles/C/state",
			  merge[] = "Content-Type: application/merge-patch+json\r\n";
	char both[256];

	/* whatever a patch's members are called, they are none of ours */
	ask_expect(change(what, merge, "{\"vehicle_id\":\"D\",\"wait\":null}"), "200",
		"{\"patch\":{\"vehicle_id\":\"D\",\"wait\":null},\"vehicle_id\":\"C\"}");
	ask_expect(change(what, "Content-Type: application/json\r\n", "{}"), "200", "etag: \"7\"");
	ask_expect(change(what, "Content-Type: text/plain\r\n", "{}"), "415",
		"accept-patch: application/merge-patch+json, application/json\r\n");
	ask_expect(change("PUT /v1/vehicles/C", merge, "{}"), "415", "unsupported-media-type");
	ask_expect(change(what, merge, "[1]"), "400", "malformed-request");
	ask_expect("GET /v1/vehicles/C HTTP/1.1\r\n" LAST, "200", "etag: \"7\"");
	static const struct {
		const char *field, *status, *what;
	} fields[] = {
		{ "\"7\"", "200", "\"if_match\":[\"7\"]" },
		{ "\"6\" ,\t\"7\"", "200", "\"if_match\":[\"6\",\"7\"]" },
		{ "W/\"7\"", "200", "\"if_match\":[]" },
		{ "*", "200", "{\"patch\":{},\"vehicle_id\":\"C\"}" },
		{ "7", "400", "If-Match is a list" },
		{ "\"7", "400", "If-Match is a list" },
		{ "\"7\", *", "400", "If-Match is a list" },
		{ "\"6\"\r\nX-A: b\r\nif-match: W/\"8\", \"7\"", "200", "\"if_match\":[\"6\",\"7\"]" },
		{ "*\r\nIf-Match: \"7\"", "400", "If-Match is a list" },
		{ "\"7\"\r\nIf-Match: *", "400", "If-Match is a list" },
		{ "\"7\"\r\nIf-Match: 8", "400", "If-Match is a list" },
	};
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		snprintf(both, sizeof(both), "%sIf-Match: %s\r\n", merge, fields[i].field);
		ask_expect(change(what, both, "{}"), fields[i].status, fields[i].what);
	}
}
END_TEST

/* A notice's body is its payload, whatever it says it is. */
START_TEST(carries_payloads)
{
	static const char what[] = "PUT /v1/vehicles/C/notices/recall?expires_in_seconds=60";

	ask_expect(change(what, "Content-Type: text/plain\r\n", "{ \"name\":1 }"), "200",
		"{\"content_type\":\"text/plain\",\"expires_in_seconds\":60,\"name\":\"recall\",\"payload\":\"{ "
		"\\\"name\\\":1 }\",\"vehicle_id\":\"C\"}");
	ask_expect(change("PUT /v1/notices/recall", "", "x"), "200", "{\"name\":\"recall\",\"payload\":\"x\"}");
	ask_expect(change(what, "", "\xff"), "400", "malformed-request");
	ask_expect(change("PUT /v1/fleets/F/notices/a?expires_in_seconds=0", "", "x"), "400", "invalid-query");
	ask_expect("DELETE /v1/fleets/F/notices/a HTTP/1.1\r\n" LAST, "204", "");
}
END_TEST

/* RFC 9110 §8.6, RFC 9112 §6.3: no body, and no length of one; the connection goes on. */
START_TEST(an_answer_without_content_has_no_length)
{
	int fd = dial();

	say(fd, "DELETE /v1/fleets/F HTTP/1.1\r\n" HEAD "\r\nGET /v1/me HTTP/1.1\r\n" LAST);
	const char *answers = hear(fd), *second = strstr(answers, "\r\n\r\nHTTP/1.1 200 ");
	ck_assert_msg(strncmp(answers, "HTTP/1.1 204 ", 13) == 0 && second, "not one after the other:\n%s", answers);
	char *first = strndup(answers, (size_t)(second - answers));
	ck_assert_msg(!strcasestr(first, "\r\ncontent-length:") && !strcasestr(first, "\r\ntransfer-encoding:"),
		"a body is announced:\n%s", first);
	free(first);
	expect(second, "\"API_ME\"");
}
END_TEST

void add_requests(TCase *tc)
{
	tcase_add_test(tc, finds_what_a_path_names);
	tcase_add_test(tc, takes_one_token);
	tcase_add_test(tc, waits_for_the_keys_of_a_token);
	tcase_add_test(tc, waits_so_long_for_keys);
	tcase_add_test(tc, reads_queries);
	tcase_add_test(tc, reads_bodies_and_headers);
	tcase_add_test(tc, reads_bodies_as_they_are);
	tcase_add_test(tc, passes_over_an_empty_line);
	tcase_add_test(tc, reads_merge_patches);
	tcase_add_test(tc, carries_payloads);
	tcase_add_test(tc, an_answer_without_content_has_no_length);
}
