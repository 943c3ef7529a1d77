/* sms_providers_test.c - http and sns against a scripted server: what goes out, and what each answer means. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/loop.h"
#include "notifier/wake/http_sms.h"
#include "notifier/wake/provider.h"
#include "notifier/wake/sns.h"
#include "tests/http_peer.h"
#include "tests/suite.h"

#define NO_PORT 1 /* of the system's own: nobody listens there */

static struct loop *loop;
static struct http_peer peer;
static struct sms_provider *provider;
static struct sms_submission submission;
static struct {
	size_t count;
	enum sms_verdict verdict;
	bool is_named;
	char message_id[64], reason[64];
} got;
static bool closed;
static char url[128];

static struct sms sms;

static void pump_until(bool (*reached)(void))
{
	uint64_t until = uv_hrtime() + 8000000000ull;
	while (!reached()) {
		ck_assert_msg(uv_hrtime() < until, "what the test waits for did not happen in 8 s");
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	}
}

static void on_done(struct sms_submission *s, const struct sms_outcome *outcome)
{
	ck_assert_ptr_eq(s, &submission);
	got.count++;
	got.verdict = outcome->verdict;
	got.is_named = outcome->message_id != NULL;
	snprintf(got.message_id, sizeof(got.message_id), "%s", outcome->message_id ? outcome->message_id : "");
	snprintf(got.reason, sizeof(got.reason), "%s", outcome->reason ? outcome->reason : "");
}

static bool is_done(void)
{
	return got.count > 0;
}

static void on_closed(void *owner)
{
	(void)owner;
	closed = true;
}

static bool is_closed(void)
{
	return closed;
}

static void setup(void)
{
	loop = loop_new();
	http_peer_start(&peer, loop);
	memset(&got, 0, sizeof(got));
	submission = (struct sms_submission){ .on_done = on_done };
	sms = (struct sms){ .msisdn = "+4915550000001",
		.vehicle_id = "CAR1",
		.text = "WAKE & \"go\"",
		.validity_s = 90,
		.id = "0192f3c8-0000-7000-8000-000000000001" };
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/send?to={msisdn}", peer.port);
	closed = false;
	provider = NULL;
}

static void close_provider(void)
{
	provider->close(provider->self, on_closed, NULL);
	ck_assert(!closed); /* from the loop */
	pump_until(is_closed);
	provider = NULL;
}

static void teardown(void)
{
	if (provider)
		close_provider();
	http_peer_stop(&peer);
	loop_stop(loop);
	loop_run(loop);
	loop_free(loop);
}

static const int ok_status[] = { 200, 202 };
static struct http_sms_options options;
static const struct http_sms_header form_header = { "content-type", "application/x-www-form-urlencoded" };

static void make_http(void)
{
	options = (struct http_sms_options){ .url = url,
		.method = "POST",
		.body = "{\"text\":\"{text}\"}",
		.ok_status = ok_status,
		.ok_status_count = 2,
		.message_id = "messages.0.id",
		.gives_receipts = true };
}

static void submit(void)
{
	if (!provider)
		provider = http_sms_new(loop, &options);
	provider->submit(provider->self, &sms, &submission);
	ck_assert_uint_eq(got.count, 0); /* never inside */
	pump_until(is_done);
	ck_assert_uint_eq(got.count, 1);
}

START_TEST(http_submits_and_keeps_the_name)
{
	make_http();
	peer.says = "HTTP/1.1 202 Accepted\r\n\r\n{\"messages\":[{\"id\":\"m1\"}]}";
	submit();
	ck_assert_int_eq(got.verdict, SMS_TAKEN);
	ck_assert_str_eq(got.message_id, "m1");
	ck_assert_str_eq(got.reason, "");
	ck_assert_ptr_nonnull(strstr(peer.heard.data, "POST /send?to=%2B4915550000001 HTTP/1.1\r\n"));
	ck_assert_ptr_nonnull(strstr(peer.heard.data, "\r\nContent-Type: application/json\r\n"));
	ck_assert_ptr_nonnull(strstr(peer.heard.data, "\r\n\r\n{\"text\":\"WAKE & \\\"go\\\"\"}"));
}
END_TEST

/* No callback could name it, and no index of the database hold it. */
START_TEST(http_takes_no_name_without_end)
{
	char says[20200];

	make_http();
	int len = snprintf(says, sizeof(says), "HTTP/1.1 202 Accepted\r\n\r\n{\"messages\":[{\"id\":\"");
	memset(says + len, 'x', 20000);
	snprintf(says + len + 20000, sizeof(says) - (size_t)len - 20000, "\"}]}");
	peer.says = says;
	submit();
	ck_assert_int_eq(got.verdict, SMS_TAKEN);
	ck_assert_str_eq(got.message_id, "");
}
END_TEST

/* A receipt would be waited for that nobody can send. */
START_TEST(http_takes_no_empty_name)
{
	make_http();
	peer.says = "HTTP/1.1 202 Accepted\r\n\r\n{\"messages\":[{\"id\":\"\"}]}";
	submit();
	ck_assert_int_eq(got.verdict, SMS_TAKEN);
	ck_assert(!got.is_named);
}
END_TEST

START_TEST(http_fills_a_form_as_a_form)
{
	make_http();
	options.headers = &form_header;
	options.header_count = 1;
	options.body = "Body={text}";
	peer.says = "HTTP/1.1 200 OK\r\n\r\n{}";
	submit();
	ck_assert_int_eq(got.verdict, SMS_TAKEN);
	ck_assert_str_eq(got.message_id, ""); /* the answer named none: no receipt is awaited */
	ck_assert_ptr_nonnull(strstr(peer.heard.data, "\r\n\r\nBody=WAKE%20%26%20%22go%22"));
}
END_TEST

START_TEST(http_without_a_name_is_called_back_with_ours)
{
	make_http();
	options.message_id = NULL;
	options.method = "GET";
	options.body = NULL;
	peer.says = "HTTP/1.1 202 Accepted\r\n\r\n0: Accepted for delivery";
	submit();
	ck_assert_int_eq(got.verdict, SMS_TAKEN);
	ck_assert_str_eq(got.message_id, sms.id);
}
END_TEST

static const struct {
	const char *says;
	enum sms_verdict verdict;
	const char *reason;
} http_answers[] = {
	{ "HTTP/1.1 201 Created\r\n\r\n", SMS_FAILED, "HTTP_201" },
	{ "HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", SMS_FAILED, "HTTP_302" },
	{ "HTTP/1.1 400 Bad\r\n\r\n", SMS_REFUSED, "HTTP_400" },
	{ "HTTP/1.1 401 Unauthorized\r\n\r\n", SMS_FAILED, "HTTP_401" },
	{ "HTTP/1.1 422 No\r\n\r\n", SMS_REFUSED, "HTTP_422" },
	{ "HTTP/1.1 429 Slow\r\n\r\n", SMS_FAILED, "THROTTLED" },
	{ "HTTP/1.1 503 Down\r\n\r\n", SMS_FAILED, "HTTP_503" },
	{ NULL, SMS_UNKNOWN, "NO_ANSWER" },
	{ "what?\r\n", SMS_UNKNOWN, "NO_ANSWER" },
};

START_TEST(http_judges_answers)
{
	make_http();
	peer.says = http_answers[_i].says;
	submit();
	ck_assert_int_eq(got.verdict, http_answers[_i].verdict);
	ck_assert_str_eq(got.reason, http_answers[_i].reason);
	ck_assert_str_eq(got.message_id, "");
	ck_assert_uint_eq(peer.connections, 1);
}
END_TEST

START_TEST(http_that_nobody_hears_is_certainly_not_taken)
{
	make_http();
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/", NO_PORT);
	submit();
	ck_assert_int_eq(got.verdict, SMS_FAILED);
	ck_assert_str_eq(got.reason, "UNREACHABLE");
}
END_TEST

START_TEST(http_refuses_what_cannot_be_filled)
{
	make_http();
	options.body = "{iccid}";
	submit();
	ck_assert_int_eq(got.verdict, SMS_REFUSED);
	ck_assert_str_eq(got.reason, "TEMPLATE");
	ck_assert_uint_eq(peer.connections, 0);
}
END_TEST

static bool is_heard(void)
{
	return http_peer_has_heard(&peer);
}

START_TEST(http_that_is_closed_amid_a_message_does_not_know)
{
	make_http();
	peer.stays = true;
	provider = http_sms_new(loop, &options);
	provider->submit(provider->self, &sms, &submission);
	pump_until(is_heard);
	close_provider();
	ck_assert_uint_eq(got.count, 1);
	ck_assert_int_eq(got.verdict, SMS_UNKNOWN);
}
END_TEST

static const struct {
	const char *says;
	enum sms_verdict verdict;
	const char *message_id, *reason;
} sns_answers[] = {
	{ "HTTP/1.1 200 "
	  "OK\r\n\r\n<PublishResponse><PublishResult><MessageId>94f20ce6</MessageId></PublishResult></PublishResponse>",
		SMS_TAKEN, "94f20ce6", "" },
	{ "HTTP/1.1 200 OK\r\n\r\n<PublishResponse/>", SMS_TAKEN, "", "" },
	{ "HTTP/1.1 400 "
	  "Bad\r\n\r\n<ErrorResponse><Error><Code>InvalidParameter</Code><Message>PhoneNumber</Message></Error></"
	  "ErrorResponse>",
		SMS_REFUSED, "", "InvalidParameter" },
	{ "HTTP/1.1 400 Bad\r\n\r\n<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>", SMS_FAILED,
		"", "THROTTLED" },
	{ "HTTP/1.1 403 No\r\n\r\n<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code></Error></ErrorResponse>",
		SMS_FAILED, "", "SignatureDoesNotMatch" },
	{ "HTTP/1.1 500 Down\r\n\r\n<Code>", SMS_FAILED, "", "HTTP_500" },
	{ "HTTP/1.1 400 Bad\r\n\r\n<Code>Over\xff</Code>", SMS_FAILED, "", "HTTP_400" },
	{ "HTTP/1.1 400 Bad\r\n\r\n<Code>4915550000001</Code>", SMS_FAILED, "", "HTTP_400" },
	{ "HTTP/1.1 400 Bad\r\n\r\n<Code>To+4915550000001</Code>", SMS_FAILED, "", "HTTP_400" },
	{ "HTTP/1.1 403 No\r\n\r\n<Code>KMS.AccessDenied</Code>", SMS_FAILED, "", "KMS.AccessDenied" },
	{ "HTTP/1.1 200 OK\r\n\r\n<MessageId>94\xc3</MessageId>", SMS_TAKEN, "", "" },
	{ NULL, SMS_UNKNOWN, "", "NO_ANSWER" },
};

START_TEST(sns_judges_answers)
{
	snprintf(url, sizeof(url), "http://127.0.0.1:%d", peer.port);
	provider = sns_new(loop, &(struct sns_options){ .region = "eu-central-1",
					 .endpoint = url,
					 .access_key_id = "AKID",
					 .secret_access_key = "secret" });
	ck_assert(!provider->gives_receipts);
	peer.says = sns_answers[_i].says;
	submit();
	ck_assert_int_eq(got.verdict, sns_answers[_i].verdict);
	ck_assert_str_eq(got.message_id, sns_answers[_i].message_id);
	ck_assert_str_eq(got.reason, sns_answers[_i].reason);
	ck_assert_ptr_nonnull(strstr(peer.heard.data, "\r\nAuthorization: AWS4-HMAC-SHA256 Credential=AKID/"));
	ck_assert_ptr_nonnull(strstr(peer.heard.data, "&PhoneNumber=%2B4915550000001&Message=WAKE%20%26%20%22go%22&"));
	ck_assert_ptr_null(strstr(peer.heard.data, "secret"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sms_providers");
	TCase *tc = tcase_create("providers");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, http_submits_and_keeps_the_name);
	tcase_add_test(tc, http_takes_no_name_without_end);
	tcase_add_test(tc, http_takes_no_empty_name);
	tcase_add_test(tc, http_fills_a_form_as_a_form);
	tcase_add_test(tc, http_without_a_name_is_called_back_with_ours);
	tcase_add_loop_test(tc, http_judges_answers, 0, sizeof(http_answers) / sizeof(http_answers[0]));
	tcase_add_test(tc, http_that_nobody_hears_is_certainly_not_taken);
	tcase_add_test(tc, http_refuses_what_cannot_be_filled);
	tcase_add_test(tc, http_that_is_closed_amid_a_message_does_not_know);
	tcase_add_loop_test(tc, sns_judges_answers, 0, sizeof(sns_answers) / sizeof(sns_answers[0]));
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
