/* exporter.c - one call after the other.
 *
 *   span ─ queue ─ (delay, or a batch is full) ─ call ─┬─ 2xx ─ the next
 *                                                      ├─ 429, 502, 503, 504, no answer ─ wait ─ the same again
 *                                                      └─ else, or too often ─ dropped
 * (OTLP 1, "OTLP/HTTP Response", "Failures", "OTLP/HTTP Throttling".) */
#include "gateway/tracing/exporter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/http_client.h"
#include "base/json.h"
#include "base/list.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "gateway/config_lists.h"

#define QUEUE_MAX 2048
#define BATCH_MAX 512
#define ATTEMPTS_MAX 5
#define RETRY_MS 1000 /* then twice as long each time, and up to as much again by chance */
#define RETRY_AFTER_S_MAX 300
#define ANSWER_MAX 65536
#define FAREWELL_MS 1500 /* the last call, when the node ends */
#define HEADERS_MAX 32

struct exporter {
	struct loop *loop;
	struct exporter_options options;
	struct http_client *client; /* NULL: closed */
	struct http_call call;
	char *header_texts[HEADERS_MAX];
	const char *headers[HEADERS_MAX + 1];
	char *resource;		/* JSON text */
	char *queue[QUEUE_MAX]; /* a ring */
	size_t first, count;
	char *body; /* of the call under way, or to be repeated; NULL: none */
	size_t spans;
	int attempts;
	struct loop_timer timer; /* until the next call */
	bool is_calling, is_failing, is_stopped, is_closed;
};

static void on_due(struct loop_timer *timer);
static void take_batch(struct exporter *e);
static void send_body(struct exporter *e);
static void on_answer(struct http_call *call, const struct http_answer *answer);
static void end_batch(struct exporter *e, int64_t taken);
static void close_client(struct exporter *e);

/* Making. */

static void set_headers(struct exporter *e)
{
	size_t n = 0;

	e->headers[n++] = "Content-Type: application/json";
	for (size_t i = 0; i < e->options.headers->count && n < HEADERS_MAX; i++) {
		struct text header = { 0 };
		text_addf(&header, "%s: %s", e->options.headers->items[i].key, e->options.headers->items[i].value);
		e->headers[n++] = e->header_texts[i] = text_take(&header);
	}
}

static void add_attribute(struct text *out, const char *key, const char *value)
{
	text_add(out, out->data[out->len - 1] == '[' ? "{\"key\":" : ",{\"key\":");
	text_add_json_string(out, key);
	text_add(out, ",\"value\":{\"stringValue\":");
	text_add_json_string(out, value);
	text_add(out, "}}");
}

/* What the operator says of the resource comes before what is said by itself. */
static void add_default(const struct exporter *e, struct text *out, const char *key, const char *value)
{
	for (size_t i = 0; i < e->options.resource->count; i++) {
		if (strcmp(e->options.resource->items[i].key, key) == 0)
			return;
	}
	add_attribute(out, key, value);
}

/* OpenTelemetry semantic conventions, "Service"; a name of its own setting comes before the one among the attributes. */
static void set_resource(struct exporter *e)
{
	const char *name = e->options.service_name;
	struct text out = { 0 };

	text_add(&out, "{\"attributes\":[");
	if (name)
		add_attribute(&out, "service.name", name);
	else
		add_default(e, &out, "service.name", "keyfob");
	add_default(e, &out, "service.version", KEYFOB_VERSION);
	add_default(e, &out, "service.instance.id", e->options.node);
	for (size_t i = 0; i < e->options.resource->count; i++) {
		const struct pair *p = &e->options.resource->items[i];
		if (!name || strcmp(p->key, "service.name") != 0)
			add_attribute(&out, p->key, p->value);
	}
	text_add(&out, "]}");
	e->resource = text_take(&out);
}

struct exporter *exporter_new(struct loop *loop, const struct exporter_options *options)
{
	struct exporter *e = memory_new(sizeof(*e));

	e->loop = loop;
	e->options = *options;
	e->client = http_client_new(loop);
	loop_timer_init(loop, &e->timer, on_due);
	set_headers(e);
	set_resource(e);
	return e;
}

bool exporter_is_quiet(const struct exporter *e)
{
	return e->is_closed;
}

/* Gathering. */

void exporter_add(struct exporter *e, char *span)
{
	if (e->count == QUEUE_MAX || e->is_stopped) {
		metric_add(METRIC_SPANS_DROPPED, 1);
		free(span);
		return;
	}
	e->queue[(e->first + e->count++) % QUEUE_MAX] = span;
	if (e->body)
		return; /* when it has ended */
	if (e->count == BATCH_MAX)
		loop_timer_start(&e->timer, 0);
	else if (!loop_timer_is_started(&e->timer))
		loop_timer_start(&e->timer, e->options.delay_ms);
}

static void on_due(struct loop_timer *timer)
{
	struct exporter *e = container_of(timer, struct exporter, timer);

	if (!e->body)
		take_batch(e);
	if (e->body)
		send_body(e);
}

static void take_batch(struct exporter *e)
{
	struct text body = { 0 };

	if (e->count == 0)
		return;
	text_addf(&body,
		"{\"resourceSpans\":[{\"resource\":%s,\"scopeSpans\":[{\"scope\":{\"name\":\"keyfob\",\"version\":\"%"
		"s\"},\"spans\":[",
		e->resource, KEYFOB_VERSION);
	for (e->spans = 0; e->count > 0 && e->spans < BATCH_MAX; e->spans++, e->count--) {
		text_add(&body, e->spans > 0 ? "," : "");
		text_add(&body, e->queue[e->first]);
		free(e->queue[e->first]);
		e->first = (e->first + 1) % QUEUE_MAX;
	}
	text_add(&body, "]}]}]}");
	e->body = text_take(&body);
	e->attempts = 0;
}

static void send_body(struct exporter *e)
{
	e->attempts++;
	e->is_calling = true;
	e->call = (struct http_call){
		.method = "POST",
		.url = e->options.url,
		.headers = e->headers,
		.body = e->body,
		.body_len = strlen(e->body),
		.timeout_ms =
			e->is_stopped && e->options.timeout_ms > FAREWELL_MS ? FAREWELL_MS : e->options.timeout_ms,
		.answer_max = ANSWER_MAX,
		.on_done = on_answer,
	};
	http_client_call(e->client, &e->call);
}

/* The answer. */

static bool is_to_repeat(const struct http_answer *a)
{
	static const int statuses[] = { 429, 502, 503, 504 };

	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		if (a->status == statuses[i])
			return true;
	}
	return a->end != HTTP_ANSWERED;
}

/* How many of the spans a collector says that it did not take: {"partialSuccess":{"rejectedSpans":"3","errorMessage":…}}. */
static int64_t rejected_of(const struct http_answer *a)
{
	json_auto_t *body = json_read(a->body, a->len);
	const json_t *n = json_object_get(json_object_get(body, "partialSuccess"), "rejectedSpans");

	return json_is_string(n) ? strtoll(json_string_value(n), NULL, 10) : json_integer_value(n);
}

/* Once when it begins, and once when it is over. */
static void note_failure(struct exporter *e, const struct http_answer *a)
{
	if (!e->is_failing)
		log_warn("traces", "the collector does not take them", LOG_INT("status", a->status),
			LOG_TEXT("why", a->why ? a->why : ""));
	e->is_failing = true;
}

static void note_success(struct exporter *e)
{
	if (e->is_failing)
		log_info("traces", "the collector takes them again");
	e->is_failing = false;
}

static int64_t pause_ms(const struct exporter *e, const struct http_answer *a)
{
	int64_t wanted_s = a->retry_after_s < RETRY_AFTER_S_MAX ? a->retry_after_s : RETRY_AFTER_S_MAX;
	int64_t own_ms = RETRY_MS << (e->attempts - 1);

	return wanted_s > 0 ? wanted_s * 1000 : own_ms + (int64_t)(drand48() * (double)own_ms);
}

static void on_answer(struct http_call *call, const struct http_answer *a)
{
	struct exporter *e = container_of(call, struct exporter, call);
	bool taken = a->end == HTTP_ANSWERED && a->status / 100 == 2;

	e->is_calling = false;
	if (taken) {
		note_success(e);
		end_batch(e, (int64_t)e->spans - rejected_of(a));
		return;
	}
	note_failure(e, a);
	if (is_to_repeat(a) && e->attempts < ATTEMPTS_MAX && !e->is_stopped)
		loop_timer_start(&e->timer, pause_ms(e, a));
	else
		end_batch(e, 0);
}

static void end_batch(struct exporter *e, int64_t taken)
{
	metric_add(METRIC_SPANS_EXPORTED, taken);
	metric_add(METRIC_SPANS_DROPPED, (int64_t)e->spans - taken);
	free(e->body);
	e->body = NULL;
	if (e->is_stopped)
		close_client(e);
	else if (e->count > 0)
		loop_timer_start(&e->timer, e->count < BATCH_MAX ? e->options.delay_ms : 0);
}

/* The end. */

void exporter_stop(struct exporter *e)
{
	e->is_stopped = true;
	loop_timer_stop(&e->timer);
	if (e->is_calling)
		return;
	if (!e->body)
		take_batch(e);
	if (e->body)
		send_body(e);
	else
		close_client(e);
}

static void on_closed(void *owner)
{
	struct exporter *e = owner;

	for (size_t i = 0; i < HEADERS_MAX; i++)
		free(e->header_texts[i]);
	free(e->resource);
	e->is_closed = true;
}

static void close_client(struct exporter *e)
{
	metric_add(METRIC_SPANS_DROPPED, (int64_t)e->count);
	for (; e->count > 0; e->count--, e->first = (e->first + 1) % QUEUE_MAX)
		free(e->queue[e->first]);
	http_client_close(e->client, on_closed, e);
	e->client = NULL;
}
