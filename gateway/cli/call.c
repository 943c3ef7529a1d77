/* call.c - one REST call over libcurl: asked again when the connection or the node fails, then told plainly. */
#include "gateway/cli/call.h"

#include <curl/curl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/curl_setup.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/memory.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/print.h"

#define BODY_BYTES_MAX (16 * 1024 * 1024)
#define CONNECT_TIMEOUT_S 5
#define ANSWER_TIMEOUT_S 20
#define ANSWER_GRACE_MS 2000 /* so long after the caller's time an answer may come that was asked for in time */

/* One attempt. */
struct attempt {
	struct text body;
	struct curl_slist *headers;
	char *url, *sent;
};

int64_t monotonic_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t monotonic_ms_after(int64_t seconds)
{
	return seconds ? monotonic_ms() + seconds * 1000 : INT64_MAX / 2;
}

int64_t smaller(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

void sleep_ms(int64_t ms)
{
	struct timespec left = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
	if (ms <= 0)
		return;
	while (nanosleep(&left, &left) != 0)
		continue;
}

int64_t backoff_ms(int failures)
{
	int64_t full = 200LL << (failures < 5 ? failures : 5);
	full = full < 5000 ? full : 5000;
	return full / 2 + (int64_t)(random() % (full / 2));
}

char *node_path(const char *part, ...)
{
	struct text path = { 0 };
	va_list parts;
	va_start(parts, part);
	text_add(&path, "/v1");
	for (; part; part = va_arg(parts, const char *)) {
		char *encoded = memory_need(curl_easy_escape(NULL, part, 0));
		text_addf(&path, "/%s", encoded);
		curl_free(encoded);
	}
	va_end(parts);
	return text_take(&path);
}

struct curl_slist *header_add(struct curl_slist *headers, const char *name, const char *value)
{
	struct text line = { 0 };
	text_addf(&line, "%s: %s", name, value);
	headers = memory_need(curl_slist_append(headers, line.data));
	text_free(&line);
	return headers;
}

struct curl_slist *call_headers(const struct cli *cli)
{
	struct text bearer = { 0 };
	text_addf(&bearer, "Bearer %s", cli->token);
	struct curl_slist *headers = header_add(NULL, "Authorization", bearer.data);
	text_free(&bearer);
	return headers;
}

void call_prepare(struct curl_setup *setup, const char *url, struct curl_slist *headers)
{
	const char *authorities = getenv("SSL_CERT_FILE");
	CURL_SET(setup, CURLOPT_URL, url);
	CURL_SET(setup, CURLOPT_HTTPHEADER, headers);
	CURL_SET(setup, CURLOPT_PROTOCOLS_STR, "http,https");
	CURL_SET(setup, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	CURL_SET(setup, CURLOPT_USERAGENT, "keyfob/" KEYFOB_VERSION);
	CURL_SET(setup, CURLOPT_NOSIGNAL, 1L);
	CURL_SET(setup, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
	if (authorities)
		CURL_SET(setup, CURLOPT_CAINFO, authorities);
}

static size_t on_body(char *bytes, size_t size, size_t count, void *data)
{
	struct attempt *a = data;
	if (a->body.len + size * count > BODY_BYTES_MAX)
		return 0;
	text_add_bytes(&a->body, bytes, size * count);
	return size * count;
}

static int64_t left_ms(const struct call *call)
{
	int64_t left = call->until_ms ? call->until_ms - monotonic_ms() : INT64_MAX / 2;
	return left > 0 ? left : 0;
}

static int wait_s(const struct call *call)
{
	return (int)smaller(call->wait_s, (left_ms(call) + 999) / 1000);
}

static int64_t timeout_ms(const struct call *call)
{
	return smaller((ANSWER_TIMEOUT_S + call->wait_s) * 1000LL, left_ms(call) + ANSWER_GRACE_MS);
}

static void attempt_headers(struct attempt *a, const struct cli *cli, const struct call *call)
{
	char wait[32], tag[64];
	int wait_left_s = wait_s(call);
	snprintf(tag, sizeof(tag), "\"%s\"", call->if_version ? call->if_version : "");
	snprintf(wait, sizeof(wait), "wait=%d", wait_left_s);
	a->headers = call_headers(cli);
	a->headers = header_add(a->headers, "Accept", "application/json");
	a->headers = header_add(a->headers, "Expect", ""); /* or libcurl waits a second for 100 Continue */
	if (call->body)
		a->headers = header_add(a->headers, "Content-Type", "application/json");
	if (call->idempotency_key)
		a->headers = header_add(a->headers, "Idempotency-Key", call->idempotency_key);
	if (call->if_version)
		a->headers = header_add(a->headers, "If-Match", tag);
	if (wait_left_s)
		a->headers = header_add(a->headers, "Prefer", wait);
}

/* Why it cannot be made; CURLE_OK: it can. */
static CURLcode attempt_prepare(struct attempt *a, struct cli *cli, const struct call *call)
{
	struct curl_setup setup = { .easy = cli->curl };
	struct text url = { 0 };
	text_addf(&url, "%s%s", cli->url, call->path);
	a->url = text_take(&url);
	a->sent = call->body ? memory_need(json_dumps(call->body, JSON_COMPACT)) : NULL;
	attempt_headers(a, cli, call);
	curl_easy_reset(cli->curl);
	call_prepare(&setup, a->url, a->headers);
	CURL_SET(&setup, CURLOPT_CUSTOMREQUEST, call->method);
	CURL_SET(&setup, CURLOPT_TIMEOUT_MS, (long)timeout_ms(call));
	CURL_SET(&setup, CURLOPT_WRITEFUNCTION, on_body);
	CURL_SET(&setup, CURLOPT_WRITEDATA, a);
	if (a->sent || strcmp(call->method, "POST") == 0)
		CURL_SET(&setup, CURLOPT_POSTFIELDS, a->sent ? a->sent : "");
	return setup.refused;
}

static void attempt_done(struct attempt *a)
{
	curl_slist_free_all(a->headers);
	text_free(&a->body);
	free(a->url);
	free(a->sent);
}

/* What the problem says; one that came from something between here and the node does not. */
static bool answer_is_open(const struct reply *r)
{
	const json_t *said = json_object_get(r->body, "may_have_executed");
	return r->status >= 300 && (said ? json_is_true(said) : r->status >= 500);
}

static bool is_sent(CURL *curl)
{
	long bytes = 0;
	curl_easy_getinfo(curl, CURLINFO_REQUEST_SIZE, &bytes);
	return bytes > 0;
}

static void reply_read(struct reply *ret, CURL *curl, const struct attempt *a)
{
	curl_off_t retry_after = 0;
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &ret->status);
	curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &retry_after);
	ret->retry_after_s = retry_after < 3600 ? (int)retry_after : 3600;
	ret->body = a->body.len ? json_read(a->body.data, a->body.len) : NULL;
	ret->may_have_executed = answer_is_open(ret);
}

void transfer_error_write(const struct cli *cli, int code, char out[TRANSFER_ERROR_SIZE])
{
	static const struct {
		CURLcode code;
		const char *advice;
	} rows[] = {
		{ CURLE_PEER_FAILED_VERIFICATION, "; SSL_CERT_FILE names the authorities to trust" },
		{ CURLE_SSL_CACERT_BADFILE, "; SSL_CERT_FILE names the authorities to trust" },
		{ CURLE_SSL_CONNECT_ERROR, "; https:// is for a node with TLS" },
	};
	const char *advice = "";
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if ((int)rows[i].code == code)
			advice = rows[i].advice;
	snprintf(out, TRANSFER_ERROR_SIZE, "%.200s: %s%s", cli->url, curl_easy_strerror((CURLcode)code), advice);
}

static CURLcode attempt_make(struct cli *cli, const struct call *call, struct reply *ret)
{
	struct attempt a = { 0 };
	*ret = (struct reply){ 0 };
	CURLcode refused = attempt_prepare(&a, cli, call);
	CURLcode code = refused == CURLE_OK ? curl_easy_perform(cli->curl) : refused;
	if (code == CURLE_OK) {
		reply_read(ret, cli->curl, &a);
	} else {
		transfer_error_write(cli, (int)code, ret->error);
		ret->may_have_executed = refused == CURLE_OK && is_sent(cli->curl);
	}
	attempt_done(&a);
	return code;
}

/* What another attempt can mend. A wrong URL or certificate is none of it. */
static bool is_passing(CURLcode code, const struct reply *reply)
{
	static const CURLcode passing[] = { CURLE_COULDNT_CONNECT, CURLE_OPERATION_TIMEDOUT, CURLE_SEND_ERROR,
		CURLE_RECV_ERROR, CURLE_GOT_NOTHING, CURLE_PARTIAL_FILE };
	for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++)
		if (code == passing[i])
			return true;
	return code == CURLE_OK && (reply->status == 429 || (reply->status >= 502 && reply->status <= 504));
}

static void tell_once(bool *told, const struct reply *reply)
{
	if (*told)
		return;
	*told = true;
	if (reply->status)
		fprintf(stderr, "keyfob: the node is busy or not available (%ld); trying again\n", reply->status);
	else
		fprintf(stderr, "keyfob: %s; trying again\n", reply->error);
}

void call_make(struct cli *cli, const struct call *call, struct reply *ret)
{
	int64_t give_up_ms = monotonic_ms() + call->patience_ms;
	bool told = false, may_have_executed = false;
	for (int failures = 0;; failures++) {
		CURLcode code = attempt_make(cli, call, ret);
		int64_t pause_ms = ret->retry_after_s ? ret->retry_after_s * 1000LL : backoff_ms(failures);
		may_have_executed = ret->may_have_executed |= may_have_executed;
		if (!is_passing(code, ret) || monotonic_ms() + pause_ms > give_up_ms || pause_ms >= left_ms(call))
			return;
		tell_once(&told, ret);
		reply_done(ret);
		sleep_ms(pause_ms);
	}
}

void reply_done(struct reply *r)
{
	json_decref(r->body);
	r->body = NULL;
}

bool reply_is_fine(const struct reply *r)
{
	return r->status >= 200 && r->status < 300 && r->body;
}

/* "keyfob: 409 the command may have left for the vehicle: … (Too late: …)" */
static void problem_report(const struct reply *r)
{
	const char *title = json_text_at(r->body, "title"), *detail = json_text_at(r->body, "detail");
	const char *user_message = json_text_at(r->body, "user_message");
	struct text line = { 0 };
	text_addf(&line, "%s", title ? title : "the node answered with an error");
	if (detail && *detail && (!title || strcmp(title, detail) != 0))
		text_addf(&line, ": %s", detail);
	if (user_message)
		text_addf(&line, " (%s)", user_message);
	text_addf(&line, " [%ld]", r->status);
	if (r->status == 401)
		text_add(&line, "; the token is KEYFOB_TOKEN, or else from .keyfob/run/env");
	fputs("keyfob: ", stderr);
	print_plain(stderr, line.data);
	fputc('\n', stderr);
	text_free(&line);
}

int reply_report(const struct reply *r)
{
	if (r->status == 0)
		fprintf(stderr, "keyfob: %s\n", r->error);
	else if (r->status < 300)
		fprintf(stderr, "keyfob: the answer is no JSON: is this a Keyfob node?\n");
	else
		problem_report(r);
	return CLI_FAILED;
}

int reply_report_keyed(const struct reply *r, const char *idempotency_key)
{
	reply_report(r);
	if (!r->may_have_executed)
		return CLI_FAILED;
	fprintf(stderr, "keyfob: it may have been accepted all the same: --idempotency-key ");
	print_plain(stderr, idempotency_key);
	fprintf(stderr, " with the same words asks for it again and never for a second one\n");
	return CLI_TIMED_OUT;
}

json_t *node_ask(struct cli *cli, const struct call *call)
{
	struct reply r;
	call_make(cli, call, &r);
	if (reply_is_fine(&r))
		return r.body;
	reply_report(&r);
	reply_done(&r);
	return NULL;
}

json_t *node_get(struct cli *cli, const char *path)
{
	return node_ask(cli, &(struct call){ .method = "GET", .path = path, .patience_ms = CALL_PATIENCE_MS });
}
