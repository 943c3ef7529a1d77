/* http_sms.c - an SMS as one HTTP request, made of templates.
 *
 *   URL, headers, body filled ─ request ─┬─ ok_status ──── taken; the answer may name the message
 *                                        ├─ 4xx ────────── refused (but for those that pass: 401 403 408 425 429)
 *                                        ├─ other status ─ failed
 *                                        ├─ not sent ───── failed
 *                                        └─ no answer ──── unknown */
#include "notifier/wake/http_sms.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/http_client.h"
#include "base/json.h"
#include "base/list.h"
#include "base/log.h"
#include "base/memory.h"
#include "notifier/wake/json_place.h"
#include "notifier/wake/provider.h"
#include "notifier/wake/template.h"

#define TIMEOUT_MS 10000
#define ANSWER_MAX (64 * 1024)
#define HEADERS_MAX 32

struct http_sms {
	struct sms_provider table;
	struct http_sms_options options;
	struct http_client *client;
	enum template_form body_form;
	void (*on_closed)(void *owner);
	void *owner;
};

/* One message under way. */
struct http_message {
	struct http_sms *provider;
	struct sms_submission *submission;
	struct http_call call;
	struct text url, body;
	char *headers[HEADERS_MAX + 2]; /* NULL-terminated */
	size_t header_count;
	char own_id[64];
};

static void submit(void *self, const struct sms *sms, struct sms_submission *submission);
static void on_done(struct http_call *call, const struct http_answer *answer);
static void provider_close(void *self, void (*on_closed)(void *owner), void *owner);

/* Making. */

static const char *content_type_of(const struct http_sms_options *options)
{
	for (size_t i = 0; i < options->header_count; i++)
		if (strcasecmp(options->headers[i].name, "content-type") == 0)
			return options->headers[i].value;
	return NULL;
}

static enum template_form form_of(const char *content_type)
{
	if (!content_type || strstr(content_type, "json"))
		return TEMPLATE_JSON;
	return strstr(content_type, "x-www-form-urlencoded") ? TEMPLATE_PERCENT : TEMPLATE_PLAIN;
}

struct sms_provider *http_sms_new(struct loop *loop, const struct http_sms_options *options)
{
	struct http_sms *p = memory_new(sizeof(*p));

	p->options = *options;
	p->client = http_client_new(loop);
	p->body_form = form_of(content_type_of(options));
	p->table = (struct sms_provider){ .name = "http",
		.gives_receipts = options->gives_receipts,
		.self = p,
		.submit = submit,
		.close = provider_close };
	return &p->table;
}

/* A message. */

static bool add_header(struct http_message *m, const char *name, const char *value, const struct sms *sms)
{
	struct text line = { 0 };

	text_addf(&line, "%s: ", name);
	bool fits = m->header_count < HEADERS_MAX && template_fill(value, TEMPLATE_LINE, sms, &line);
	if (fits)
		m->headers[m->header_count++] = text_take(&line);
	text_free(&line);
	return fits;
}

static bool fill(struct http_message *m, const struct sms *sms)
{
	const struct http_sms_options *o = &m->provider->options;

	if (!template_fill(o->url, TEMPLATE_PERCENT, sms, &m->url))
		return false;
	for (size_t i = 0; i < o->header_count; i++)
		if (!add_header(m, o->headers[i].name, o->headers[i].value, sms))
			return false;
	if (o->body && !content_type_of(o) && !add_header(m, "Content-Type", "application/json", sms))
		return false;
	return !o->body || template_fill(o->body, m->provider->body_form, sms, &m->body);
}

static void message_free(struct http_message *m)
{
	for (size_t i = 0; i < m->header_count; i++)
		free(m->headers[i]);
	text_free(&m->url);
	text_free(&m->body);
	free(m);
}

/* What could not even be filled is refused all the same from the loop: a request to nowhere. */
static void submit(void *self, const struct sms *sms, struct sms_submission *submission)
{
	struct http_sms *p = self;
	struct http_message *m = memory_new(sizeof(*m));

	m->provider = p;
	m->submission = submission;
	submission->provider_private = m;
	snprintf(m->own_id, sizeof(m->own_id), "%s", sms->id ? sms->id : "");
	bool filled = fill(m, sms);
	m->call = (struct http_call){
		.method = p->options.method,
		.url = filled ? m->url.data : "",
		.headers = (const char *const *)m->headers,
		.body = p->options.body ? m->body.data : NULL,
		.body_len = m->body.len,
		.timeout_ms = TIMEOUT_MS,
		.answer_max = ANSWER_MAX,
		.on_done = on_done,
	};
	http_client_call(p->client, &m->call);
}

static bool is_ok(const struct http_sms_options *options, int status)
{
	for (size_t i = 0; i < options->ok_status_count; i++)
		if (options->ok_status[i] == status)
			return true;
	return false;
}

/* Ours to mend, or the provider's to get over: not this message's fault. */
static bool passes(int status)
{
	return status < 400 || status >= 500 || status == 401 || status == 403 || status == 408 || status == 425 ||
	       status == 429;
}

static void judge(
	const struct http_message *m, const struct http_answer *answer, struct sms_outcome *ret, char reason[32])
{
	if (answer->end == HTTP_ANSWERED && is_ok(&m->provider->options, answer->status)) {
		ret->verdict = SMS_TAKEN;
		return;
	}
	ret->reason = reason;
	if (!*m->call.url) {
		ret->verdict = SMS_REFUSED;
		snprintf(reason, 32, "TEMPLATE");
	} else if (answer->end == HTTP_ANSWERED) {
		ret->verdict = passes(answer->status) ? SMS_FAILED : SMS_REFUSED;
		snprintf(reason, 32, answer->status == 429 ? "THROTTLED" : "HTTP_%d", answer->status);
	} else {
		ret->verdict = answer->end == HTTP_NOT_SENT ? SMS_FAILED : SMS_UNKNOWN;
		snprintf(reason, 32, answer->end == HTTP_NOT_SENT ? "UNREACHABLE" : "NO_ANSWER");
	}
}

static void on_done(struct http_call *call, const struct http_answer *answer)
{
	struct http_message *m = container_of(call, struct http_message, call);
	struct sms_submission *submission = m->submission;
	const struct http_sms_options *o = &m->provider->options;
	struct sms_outcome outcome = { 0 };
	char reason[32], *named = NULL;

	judge(m, answer, &outcome, reason);
	if (answer->end != HTTP_ANSWERED)
		log_debug("wake", "the provider did not answer", LOG_TEXT("provider", "http"),
			LOG_TEXT("why", answer->why));
	if (outcome.verdict == SMS_TAKEN && o->message_id) {
		json_auto_t *json = json_read(answer->body, answer->len);
		named = json_place_text(json, o->message_id);
		outcome.message_id = named && *named && strlen(named) < SMS_ID_SIZE ? named : NULL;
	} else if (outcome.verdict == SMS_TAKEN && o->gives_receipts) {
		outcome.message_id = m->own_id;
	}
	submission->on_done(submission, &outcome);
	free(named);
	message_free(m);
}

static void on_client_closed(void *owner)
{
	struct http_sms *p = owner;
	void (*on_closed)(void *) = p->on_closed;
	void *whose = p->owner;

	free(p);
	on_closed(whose);
}

static void provider_close(void *self, void (*on_closed)(void *owner), void *owner)
{
	struct http_sms *p = self;

	p->on_closed = on_closed;
	p->owner = owner;
	http_client_close(p->client, on_client_closed, p);
}
