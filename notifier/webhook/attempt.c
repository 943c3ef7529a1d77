/* attempt.c - signed, sent, judged:
 *
 *   POST ─┬─ 2xx ─────── delivered
 *         ├─ 410 ─────── gone
 *         ├─ any other ─ failed; Retry-After says for how long at least
 *         └─ no answer ─ failed */
#include "notifier/webhook/attempt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "notifier/webhook/signature.h"

#define ANSWER_MAX (64 * 1024) /* nobody reads it; a shorter one leaves the connection for the next call */
#define WAIT_MS_MAX (INT64_C(7) * 24 * 3600 * 1000)

const char *const webhook_outcome_names[] = { [ATTEMPT_RELEASED] = "released",
	[ATTEMPT_DELIVERED] = "delivered",
	[ATTEMPT_FAILED] = "failed",
	[ATTEMPT_GONE] = "gone",
	[ATTEMPT_DROPPED] = "dropped" };

static void on_answered(struct http_call *call, const struct http_answer *answer);

struct webhook_attempt *webhook_attempt_new(struct loop *loop)
{
	struct webhook_attempt *a = memory_new(sizeof(*a));

	a->loop = loop;
	list_init(&a->node);
	return a;
}

void webhook_attempt_free(struct webhook_attempt *a)
{
	for (size_t i = 0; i < sizeof(a->headers) / sizeof(a->headers[0]); i++)
		text_free(&a->headers[i]);
	free(a->url);
	free(a->secret);
	free(a->old_secret);
	free(a->body);
	free(a);
}

static void write_headers(struct webhook_attempt *a, int64_t unix_s)
{
	struct text *signature = &a->headers[3];

	text_add(&a->headers[0], "Content-Type: application/cloudevents+json; charset=utf-8");
	text_addf(&a->headers[1], "webhook-id: %s", a->id);
	text_addf(&a->headers[2], "webhook-timestamp: %lld", (long long)unix_s);
	text_add(signature, "webhook-signature: ");
	if (!webhook_sign(signature, a->secret, a->id, unix_s, a->body))
		log_error("webhook", "its secret cannot be read", LOG_TEXT("webhook_id", a->webhook_id));
	if (a->old_secret) {
		text_add(signature, " ");
		webhook_sign(signature, a->old_secret, a->id, unix_s, a->body);
	}
	for (size_t i = 0; i < sizeof(a->headers) / sizeof(a->headers[0]); i++)
		a->lines[i] = a->headers[i].data;
}

void webhook_attempt_start(
	struct webhook_attempt *a, struct http_client *client, int64_t unix_us, int64_t timeout_ms, bool anywhere)
{
	write_headers(a, unix_us / 1000000);
	a->began_us = loop_monotonic_us(a->loop);
	a->call = (struct http_call){
		.method = "POST",
		.url = a->url,
		.headers = a->lines,
		.body = a->body,
		.body_len = strlen(a->body),
		.timeout_ms = timeout_ms,
		.answer_max = ANSWER_MAX,
		.public_only = !anywhere,
		.repeatable = true,
		.on_done = on_answered,
	};
	http_client_call(client, &a->call);
}

static void judge_status(struct webhook_attempt *a, const struct http_answer *answer)
{
	int64_t wait_s = answer->retry_after_s;

	a->status = answer->status;
	if (answer->status >= 200 && answer->status < 300) {
		a->outcome = ATTEMPT_DELIVERED;
		return;
	}
	a->outcome = answer->status == 410 ? ATTEMPT_GONE : ATTEMPT_FAILED;
	a->wait_ms = wait_s > WAIT_MS_MAX / 1000 ? WAIT_MS_MAX : wait_s * 1000;
	if (answer->status >= 300 && answer->status < 400)
		snprintf(a->error, sizeof(a->error), "redirects are not followed");
}

static void on_answered(struct http_call *call, const struct http_answer *answer)
{
	struct webhook_attempt *a = container_of(call, struct webhook_attempt, call);

	if (answer->end == HTTP_ANSWERED) {
		judge_status(a, answer);
	} else {
		a->outcome = ATTEMPT_FAILED;
		snprintf(a->error, sizeof(a->error), "%s",
			answer->inside ? "the address is not public"
			: answer->why  ? answer->why
				       : "no answer");
	}
	metric_observe(METRIC_WEBHOOK_SECONDS, loop_monotonic_us(a->loop) - a->began_us);
	a->on_done(a);
}
