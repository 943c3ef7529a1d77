/* sms_answers.c - what an SMS provider with an HTTP API answers: the providers http and sns, libcurl and all, on a connection whose
 * other end says what the input holds.
 *
 * The input begins with four digits: which provider; how the server behaves; how much of its answer comes at once; how
 * much comes after it. The rest is the answer. */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/json.h"
#include "base/log.h"
#include "base/loop.h"
#include "notifier/wake/http_sms.h"
#include "notifier/wake/provider.h"
#include "notifier/wake/sns.h"
#include "tests/fuzz/input.h"

#define GUARD_NS 5000000000u /* of our own work */
#define PARTS_MAX 100	     /* of an answer, else a long one took long */
#define MSISDN "+4915550000001"
#define OWN_ID "0192f3c8-0000-7000-8000-000000000001"

enum which { HTTP_NAMED, HTTP_OWN_ID, HTTP_SILENT, SNS };

enum manner {
	LISTENS_FIRST, /* to the whole request */
	SPEAKS_AT_ONCE,
	HANGS_UP, /* at once, with the request unread */
	IS_LEFT,  /* the provider is closed while it speaks */
	MANNERS
};

/* A text of the answer, NUL-terminated. */
struct answer {
	struct text text;
	size_t sent, step;
};

static struct {
	struct loop *loop;
	struct sms_provider *provider;
	int server; /* the other end; -1: none */
	size_t connections, heard;
	bool heard_all; /* the request to its end */
	struct text request;
	size_t outcomes;
	bool is_submitting, is_closed, is_leaving;
	enum which which;
	const struct answer *answer;
} visit;

/* In the place of the C library's: what would go to an address goes to us. */

int socket(int domain, int type, int protocol)
{
	int ends[2];
	if (domain != AF_INET || (type & SOCK_STREAM) != SOCK_STREAM)
		return (int)syscall(SYS_socket, domain, type, protocol);
	if (socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0)
		abort();
	visit.connections++;
	visit.server = ends[1];
	return ends[0];
}

int connect(int fd, const struct sockaddr *to, socklen_t len)
{
	if (to->sa_family != AF_INET)
		return (int)syscall(SYS_connect, fd, to, len);
	return 0;
}

/* what the answer says, read without libcurl */

/* Whether a status line of it is `wanted`. It may hold NUL, which libcurl passes over where it comes alone. */
static bool says_status(const struct text *t, bool (*wanted)(int status))
{
	const char *end = t->data + t->len, *at = t->data, *form = "HTTP/1.";

	for (; at && (at = memmem(at, (size_t)(end - at), form, strlen(form))) != NULL; at++) {
		int status = 0;
		bool is_line = at == t->data || at[-1] == '\n' || at[-1] == '\0';
		if (is_line && sscanf(at, "HTTP/1.%*1[0-9] %3d", &status) == 1 && wanted(status))
			return true;
	}
	return false;
}

static bool is_ok(int status)
{
	return status == 200 || (status == 202 && visit.which != SNS);
}

static bool is_not_ok(int status) /* 1xx says nothing yet */
{
	return status >= 200 && !is_ok(status);
}

static bool is_ours(int status) /* ours to mend, or its to get over */
{
	return status == 401 || status == 403 || status == 408 || status == 425 || status == 429;
}

static bool is_refusal(int status)
{
	return status >= 400 && status < 500 && !is_ours(status) && is_not_ok(status);
}

static bool is_final_code(const char *code)
{
	return strcmp(code, "InvalidParameter") == 0 || strcmp(code, "InvalidParameterValue") == 0 ||
	       strcmp(code, "OptedOut") == 0 || strcmp(code, "ValidationError") == 0;
}

/* A head without fields, as the book has it: what is answered so is understood. 0: it is another. */
static int plain_status(const struct text *t)
{
	static const char form[] = "HTTP/1.1 999 OK\r\n\r\n"; /* a 9 is any digit */

	for (size_t i = 0; i + 1 < sizeof(form); i++)
		if (i >= t->len || (form[i] == '9' ? !isdigit((unsigned char)t->data[i]) : t->data[i] != form[i]))
			return 0;
	int status = atoi(t->data + strlen("HTTP/1.1 "));
	return status >= 200 && status != 204 && status != 304 ? status : 0;
}

/* what must hold */

static bool is_word(const char *text)
{
	if (!isalpha((unsigned char)*text) || strlen(text) > 63)
		return false;
	for (; *text; text++)
		if (!isalnum((unsigned char)*text) && !strchr("_.-", *text))
			return false;
	return true;
}

static void judge_id(const char *id)
{
	assert(*id && strlen(id) < SMS_ID_SIZE);
	if (visit.which == HTTP_OWN_ID)
		assert(strcmp(id, OWN_ID) == 0);
	for (; visit.which == SNS && *id; id++)
		assert(*id > ' ' && *id <= '~');
	assert(visit.which != HTTP_SILENT);
}

static void judge_plain(const struct sms_outcome *o, int status)
{
	if (is_ok(status))
		assert(o->verdict == SMS_TAKEN);
	else if (visit.which == SNS)
		assert(o->verdict == (is_final_code(o->reason) ? SMS_REFUSED : SMS_FAILED));
	else
		assert(o->verdict == (is_refusal(status) ? SMS_REFUSED : SMS_FAILED));
}

/* What counts as not taken goes out another way: that has to be certain. */
static void judge(const struct sms_outcome *o)
{
	const struct text *text = &visit.answer->text;
	bool came_whole = visit.heard_all && visit.answer->sent == text->len && !visit.is_leaving;
	int plain = plain_status(text);

	assert((o->verdict == SMS_TAKEN) == !o->reason);
	assert(!o->reason || is_word(o->reason));
	assert(o->verdict == SMS_TAKEN || !o->message_id);
	if (o->message_id)
		judge_id(o->message_id);
	if (o->verdict == SMS_TAKEN)
		assert(says_status(text, is_ok));
	else if (o->verdict == SMS_UNKNOWN)
		assert(strcmp(o->reason, "NO_ANSWER") == 0);
	else if (strcmp(o->reason, "UNREACHABLE") == 0)
		assert(o->verdict == SMS_FAILED && visit.heard == 0);
	else
		assert(says_status(text, is_not_ok));
	if (o->verdict == SMS_REFUSED)
		assert(visit.which == SNS ? is_final_code(o->reason) : says_status(text, is_refusal));
	if (came_whole && plain)
		judge_plain(o, plain);
}

static void on_done(struct sms_submission *submission, const struct sms_outcome *outcome)
{
	(void)submission;
	assert(!visit.is_submitting && !visit.is_closed);
	visit.outcomes++;
	judge(outcome);
}

/* the visit */

static void make_provider(void)
{
	static const int ok_status[] = { 200, 202 };
	static const struct http_sms_header header = { "X-To", "{msisdn}" };
	static struct http_sms_options http;
	static const struct sns_options sns = { .region = "eu-central-1",
		.endpoint = "http://127.0.0.1:1",
		.access_key_id = "AKID",
		.secret_access_key = "secret",
		.session_token = "token" };

	http = (struct http_sms_options){ .url = "http://127.0.0.1:1/send?to={msisdn}",
		.method = visit.which == HTTP_SILENT ? "GET" : "POST",
		.headers = &header,
		.header_count = 1,
		.body = visit.which == HTTP_SILENT ? NULL : "{\"text\":\"{text}\"}",
		.ok_status = ok_status,
		.ok_status_count = 2,
		.message_id = visit.which == HTTP_NAMED ? "messages.0.id" : NULL,
		.gives_receipts = visit.which != HTTP_SILENT };
	visit.provider = visit.which == SNS ? sns_new(visit.loop, &sns) : http_sms_new(visit.loop, &http);
}

/* A request's end is where its body is; ours have one of a known text. */
static void listen_to(void)
{
	char bytes[4096];
	ssize_t n;
	while ((n = read(visit.server, bytes, sizeof(bytes))) > 0) {
		visit.heard += (size_t)n;
		text_add_bytes(&visit.request, bytes, (size_t)n);
	}
	if (!visit.request.data)
		return;
	const char *end = strstr(visit.request.data, "\r\n\r\n");
	const char *length = strcasestr(visit.request.data, "\r\nContent-Length:");
	size_t body = length && length < end ? strtoul(length + strlen("\r\nContent-Length:"), NULL, 10) : 0;
	visit.heard_all = end && visit.request.len >= (size_t)(end + 4 - visit.request.data) + body;
}

static void hang_up(void)
{
	if (visit.server >= 0)
		close(visit.server);
	visit.server = -1;
}

static void speak(struct answer *a)
{
	size_t left = a->text.len - a->sent, least = a->text.len / PARTS_MAX, step = a->step > least ? a->step : least;
	size_t part = a->step && step < left ? step : left;
	ssize_t n = part ? send(visit.server, a->text.data + a->sent, part, MSG_NOSIGNAL) : 0;
	if (n > 0)
		a->sent += (size_t)n;
	if ((n < 0 && errno != EAGAIN) || a->sent == a->text.len)
		hang_up();
}

static void serve(enum manner manner, struct answer *a)
{
	if (visit.server < 0)
		return;
	if (manner == HANGS_UP) {
		hang_up();
		return;
	}
	listen_to();
	if (visit.heard_all || manner != LISTENS_FIRST)
		speak(a);
}

static void on_closed(void *owner)
{
	(void)owner;
	visit.is_closed = true;
}

static void leave(void)
{
	visit.is_leaving = true;
	visit.provider->close(visit.provider->self, on_closed, NULL);
}

static uint64_t spent(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void turn(uint64_t until)
{
	uv_run(loop_uv(visit.loop), UV_RUN_NOWAIT);
	assert(spent() < until); /* it waits for somebody who is gone */
}

static void ask(enum manner manner, struct answer *a)
{
	static const struct sms sms = {
		.msisdn = MSISDN, .vehicle_id = "CAR1", .text = "WAKE & \"go\"", .validity_s = 90, .id = OWN_ID
	};
	struct sms_submission submission = { .on_done = on_done };
	uint64_t until = spent() + GUARD_NS;

	visit.is_submitting = true;
	visit.provider->submit(visit.provider->self, &sms, &submission);
	visit.is_submitting = false;
	for (int turns = 0; visit.outcomes == 0; turns++) {
		serve(manner, a);
		if (manner == IS_LEFT && turns == 4 && !visit.is_leaving)
			leave();
		turn(until);
	}
	hang_up();
	if (!visit.is_leaving)
		leave();
	while (!visit.is_closed)
		turn(until);
	assert(visit.outcomes == 1 && visit.connections <= 1); /* what is sent twice wakes twice */
}

static uint8_t digit(struct input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return (uint8_t)(*in->at++ - '0');
}

/* What comes after it is its last bytes again and again. */
static void lengthen(struct text *text, size_t by)
{
	char last[64];
	size_t len = text->len < sizeof(last) ? text->len : sizeof(last);
	if (len == 0)
		return;
	memcpy(last, text->data + text->len - len, len);
	for (; by > len; by -= len)
		text_add_bytes(text, last, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const size_t steps[] = { 0, 1, 7, 100 }, more[] = { 0, 20 * 1024, 80 * 1024 };
	static struct loop *loop;
	struct input in = { (const char *)bytes, len };

	if (!loop) {
		loop = loop_new();
		signal(SIGPIPE, SIG_IGN);
		setenv("no_proxy", "*", 1);
		log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
	}
	memset(&visit, 0, sizeof(visit));
	visit.loop = loop;
	visit.server = -1;
	visit.which = digit(&in) % 4;
	enum manner manner = digit(&in) % MANNERS;
	struct answer answer = { .step = steps[digit(&in) % 4] };
	size_t by = more[digit(&in) % 3];
	text_add_bytes(&answer.text, in.at, in.left);
	lengthen(&answer.text, by);
	visit.answer = &answer;
	make_provider();
	ask(manner, &answer);
	text_free(&visit.request);
	text_free(&answer.text);
	return 0;
}
