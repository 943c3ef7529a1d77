/* journey.c - reads a timeline from its beginning to its end, and makes a span of each stretch.
 *
 *   command ─┬─ accept ─┬─ wait ── wakeup…            from each moment at which it waits to the claim that ends it
 *            │          ├─ publish ── puback          a claim, and what the broker says
 *            │          ├─ execute                    at the vehicle, whose own spans are below it
 *            │          └─ answer
 *            └─ fan-out…                              by each worker that hands an event on */
#include "gateway/tracing/journey.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/rfc3339.h"
#include "base/trace.h"

#define NO_SUBSCRIBERS 0x10 /* MQTT 5 §3.4.2.1 */
#define WAIT_US_MIN 1000    /* what is shorter is no wait */

/* opentelemetry.proto.trace.v1.Span.SpanKind, Status.StatusCode */
enum { KIND_INTERNAL = 1, KIND_SERVER = 2, KIND_CLIENT = 3, KIND_PRODUCER = 4, KIND_CONSUMER = 5 };
enum { STATUS_UNSET = 0, STATUS_OK = 1, STATUS_ERROR = 2 };

struct journey {
	const json_t *command, *timeline;
	const char *id;
	char traceparent[TRACEPARENT_SIZE], trace_id[TRACE_ID_SIZE], root[SPAN_ID_SIZE];
	int64_t begin_us, accepted_us, end_us;
	bool is_answered;
	span_take *take;
	void *owner;
};

struct span {
	const char *step;   /* its name */
	int number;	    /* which of several */
	const char *id;	    /* NULL: made of the two */
	const char *parent; /* NULL: none */
	int kind;
	int64_t begin_us, end_us;
	json_t *attributes, *events, *links; /* arrays, eaten; NULL: none */
	int status;
	const char *message; /* of an error; NULL: none */
};

/* One item of the timeline. */
struct step {
	int64_t at_us;
	const char *name;
	const json_t *detail;
};

static bool journey_init(struct journey *j, const json_t *command);
static void tell_command(const struct journey *j);
static void tell_steps(const struct journey *j);
static void tell_answer(const struct journey *j);

/* JSON as OTLP has it: 64-bit numbers are texts (protobuf's JSON mapping), ids are hexadecimal. */

static void add_pair(json_t **list, const char *key, json_t *value)
{
	if (!*list)
		*list = memory_need(json_array());
	json_array_append_new(*list, memory_need(json_pack("{s:s, s:o}", "key", key, "value", value)));
}

static void add_text(json_t **list, const char *key, const char *text)
{
	if (text && *text)
		add_pair(list, key, memory_need(json_pack("{s:s}", "stringValue", text)));
}

static void add_int(json_t **list, const char *key, int64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)number);
	add_pair(list, key, memory_need(json_pack("{s:s}", "intValue", text)));
}

static void add_bool(json_t **list, const char *key, bool is)
{
	add_pair(list, key, memory_need(json_pack("{s:b}", "boolValue", is)));
}

static json_t *nanoseconds(int64_t us)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld000", (long long)us);
	return memory_need(json_string(text));
}

static void add_event(json_t **list, const char *name, int64_t at_us, json_t *attributes)
{
	if (!*list)
		*list = memory_need(json_array());
	json_array_append_new(*list, memory_need(json_pack("{s:o, s:s, s:o*}", "timeUnixNano", nanoseconds(at_us),
					     "name", name, "attributes", attributes)));
}

static void tell(const struct journey *j, const struct span *s)
{
	char id[SPAN_ID_SIZE], name[128];
	int64_t end_us = s->end_us > s->begin_us ? s->end_us : s->begin_us;
	bool is_root = strcmp(s->step, TRACE_STEP_COMMAND) == 0;

	if (s->id)
		snprintf(id, sizeof(id), "%s", s->id);
	else
		trace_span_id(j->id, s->step, s->number, id);
	snprintf(
		name, sizeof(name), is_root ? "%s %s" : "%s", s->step, is_root ? json_text_at(j->command, "name") : "");
	json_auto_t *span = memory_need(json_pack("{s:s, s:s, s:s*, s:s, s:i, s:o, s:o, s:o*, s:o*, s:o*}", "traceId",
		j->trace_id, "spanId", id, "parentSpanId", s->parent, "name", name, "kind", s->kind,
		"startTimeUnixNano", nanoseconds(s->begin_us), "endTimeUnixNano", nanoseconds(end_us), "attributes",
		s->attributes, "events", s->events, "links", s->links));
	if (s->status != STATUS_UNSET)
		json_object_set_new(span, "status", json_pack("{s:i, s:s*}", "code", s->status, "message", s->message));
	j->take(j->owner, memory_need(json_dumps(span, JSON_COMPACT)));
}

/* Reading. */

static int64_t time_at(const json_t *object, const char *key)
{
	const char *text = json_text_at(object, key);
	int64_t us;

	return text && rfc3339_read(text, &us) ? us : 0;
}

/* The milliseconds that a UUIDv7 begins with: when the request was taken up. */
static int64_t id_us(const char *id)
{
	char digits[13];

	snprintf(digits, sizeof(digits), "%.8s%.4s", id, id + 9);
	return (int64_t)strtoll(digits, NULL, 16) * 1000;
}

static bool step_at(const struct journey *j, size_t index, struct step *ret)
{
	const json_t *item = json_array_get(j->timeline, index);

	*ret = (struct step){ time_at(item, "time"), json_text_at(item, "step"), json_object_get(item, "detail") };
	return ret->name != NULL;
}

static bool is_step(const struct step *s, const char *name)
{
	return strcmp(s->name, name) == 0;
}

static int number_at(const struct step *s, const char *key)
{
	return (int)json_integer_value(json_object_get(s->detail, key));
}

static bool is_final(const char *status)
{
	static const char *const names[] = { "succeeded", "failed", "rejected" };

	for (size_t i = 0; status && i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(status, names[i]) == 0)
			return true;
	}
	return false;
}

static bool journey_init(struct journey *j, const json_t *command)
{
	const char *traceparent = json_text_at(command, "traceparent");

	j->command = command;
	j->id = json_text_at(command, "id");
	if (!j->id || strlen(j->id) < 13 || !traceparent ||
		!traceparent_read(traceparent, strlen(traceparent), j->traceparent) ||
		!traceparent_is_sampled(j->traceparent))
		return false;
	traceparent_trace_id(j->traceparent, j->trace_id);
	trace_span_id(j->id, TRACE_STEP_COMMAND, 0, j->root);
	j->accepted_us = time_at(command, "created_at");
	j->begin_us = id_us(j->id) < j->accepted_us ? id_us(j->id) : j->accepted_us;
	j->end_us = time_at(command, "finished_at");
	if (j->end_us == 0)
		j->end_us = time_at(command, "updated_at");
	j->is_answered = is_final(json_text_at(command, "status"));
	return true;
}

void journey_tell(const json_t *command, const json_t *timeline, span_take *take, void *owner)
{
	struct journey j = { .timeline = timeline, .take = take, .owner = owner };

	if (!journey_init(&j, command))
		return;
	if (!json_is_true(json_object_get(command, "late"))) {
		tell_command(&j);
		tell_steps(&j);
	}
	if (j.is_answered)
		tell_answer(&j);
}

void journey_tell_fan_out(
	const json_t *command, int64_t seq, int64_t made_us, int64_t given_us, span_take *take, void *owner)
{
	struct journey j = { .take = take, .owner = owner };
	char id[SPAN_ID_SIZE]; /* several workers may hand it on */
	json_t *attributes = NULL;

	if (!journey_init(&j, command))
		return;
	random_hex((SPAN_ID_SIZE - 1) / 2, id);
	add_int(&attributes, "keyfob.event.seq", seq);
	add_text(&attributes, "keyfob.command.status", json_text_at(command, "status"));
	tell(&j, &(struct span){ .step = "fan-out",
			 .id = id,
			 .parent = j.root,
			 .kind = KIND_INTERNAL,
			 .begin_us = made_us,
			 .end_us = given_us,
			 .attributes = attributes });
}

/* The whole, and its acceptance. */

static void tell_command(const struct journey *j)
{
	const char *status = json_text_at(j->command, "status"),
		   *code = json_text_at(json_object_get(j->command, "reason"), "code");
	char given[SPAN_ID_SIZE];
	bool is_fine = strcmp(status, "succeeded") == 0, is_error = !is_fine && strcmp(status, "canceled") != 0;
	json_t *attributes = NULL;

	traceparent_span_id(j->traceparent, given);
	add_text(&attributes, "keyfob.command.id", j->id);
	add_text(&attributes, "keyfob.command.name", json_text_at(j->command, "name"));
	add_text(&attributes, "keyfob.vehicle.id", json_text_at(j->command, "vehicle_id"));
	add_text(&attributes, "keyfob.command.status", status);
	add_text(&attributes, "keyfob.command.reason", code);
	add_int(&attributes, "keyfob.command.attempts", json_integer_value(json_object_get(j->command, "attempts")));
	add_bool(&attributes, "keyfob.command.may_have_executed",
		json_is_true(json_object_get(j->command, "may_have_executed")));
	tell(j, &(struct span){ .step = TRACE_STEP_COMMAND,
			.parent = strcmp(given, j->root) == 0 ? NULL : given,
			.kind = KIND_SERVER,
			.begin_us = j->begin_us,
			.end_us = j->end_us,
			.attributes = attributes,
			.status = is_error  ? STATUS_ERROR
				  : is_fine ? STATUS_OK
					    : STATUS_UNSET,
			.message = is_error ? (code ? code : status) : NULL });
	tell(j, &(struct span){ .step = "accept",
			.parent = j->root,
			.kind = KIND_INTERNAL,
			.begin_us = j->begin_us,
			.end_us = j->accepted_us });
}

/* Waiting: from `begin_us` to `end_us`; what became of SMS meanwhile stands between two indices of the timeline. */

static void tell_wakeups(const struct journey *j, const char *wait, size_t from, size_t to, int64_t end_us)
{
	struct step s, next;

	for (size_t i = from; i < to && step_at(j, i, &s); i++) {
		const char *status = json_text_at(s.detail, "status"), *outcome = NULL;
		json_t *attributes = NULL;
		if (!is_step(&s, "wakeup") || !status || strcmp(status, "submitted") != 0)
			continue;
		int64_t over_us = end_us;
		for (size_t k = i + 1; k < to && step_at(j, k, &next) && !outcome; k++) {
			if (is_step(&next, "wakeup")) {
				outcome = json_text_at(next.detail, "status");
				over_us = next.at_us;
			}
		}
		add_text(&attributes, "keyfob.wakeup.provider", json_text_at(s.detail, "provider"));
		add_int(&attributes, "keyfob.wakeup.attempt", number_at(&s, "attempt"));
		add_text(&attributes, "keyfob.wakeup.outcome", outcome);
		bool has_failed = outcome && strcmp(outcome, "failed") == 0;
		tell(j, &(struct span){ .step = "wakeup",
				.number = (int)i,
				.parent = wait,
				.kind = KIND_CLIENT,
				.begin_us = s.at_us,
				.end_us = over_us,
				.attributes = attributes,
				.status = has_failed ? STATUS_ERROR : STATUS_UNSET });
	}
}

static void tell_wait(const struct journey *j, size_t from, size_t to, int64_t begin_us, int64_t end_us)
{
	char id[SPAN_ID_SIZE];
	json_t *events = NULL;
	struct step s;

	if (begin_us == 0 || end_us - begin_us < WAIT_US_MIN)
		return;
	for (size_t i = from; i < to && step_at(j, i, &s); i++) {
		json_t *attributes = NULL;
		if (!is_step(&s, "reachability") && !is_step(&s, "wakeup"))
			continue;
		add_text(&attributes, "keyfob.state", json_text_at(s.detail, "state"));
		add_text(&attributes, "keyfob.status", json_text_at(s.detail, "status"));
		add_text(&attributes, "keyfob.reason", json_text_at(s.detail, "reason"));
		add_event(&events, s.name, s.at_us, attributes);
	}
	tell(j, &(struct span){ .step = "wait",
			.number = (int)from,
			.parent = j->root,
			.kind = KIND_INTERNAL,
			.begin_us = begin_us,
			.end_us = end_us,
			.events = events });
	trace_span_id(j->id, "wait", (int)from, id);
	tell_wakeups(j, id, from, to, end_us);
}

/* A claim: the publish, the broker's word, the vehicle's deed. */

/* The next of a kind in the timeline, from `index` on; false: there is none. */
static bool find_step(const struct journey *j, const char *name, size_t *index, struct step *ret)
{
	for (; step_at(j, *index, ret); (*index)++) {
		if (is_step(ret, name))
			return true;
	}
	return false;
}

/* What was published by the claim at `index`: it stands before the next publish of the same attempt, mostly at once. */
static bool find_published(const struct journey *j, size_t index, struct step *claim, size_t *ret_at, struct step *ret)
{
	struct step other;
	size_t next = index + 1;
	int attempt = number_at(claim, "attempt");

	for (*ret_at = index + 1; find_step(j, "published", ret_at, ret); (*ret_at)++) {
		if (number_at(ret, "attempt") != attempt)
			continue;
		/* a released or disproved claim has its number from the one before it */
		for (; find_step(j, "claimed", &next, &other) && next < *ret_at; next++) {
			if (number_at(&other, "attempt") == attempt)
				return false;
		}
		return true;
	}
	return false;
}

static void tell_execute(const struct journey *j, size_t published_at, const struct step *published)
{
	json_t *events = NULL, *attributes = NULL;
	struct step s;
	int64_t end_us = j->end_us;
	int attempt = number_at(published, "attempt");

	for (size_t i = published_at + 1; step_at(j, i, &s); i++) {
		const char *status = json_text_at(s.detail, "status");
		if (is_step(&s, "published") || (is_step(&s, "answer") && is_final(status))) {
			end_us = s.at_us;
			break;
		}
		if (is_step(&s, "answer")) {
			json_t *said = NULL;
			add_text(&said, "keyfob.status", status);
			add_event(&events, "answer", s.at_us, said);
		}
	}
	add_int(&attributes, "keyfob.attempt", attempt);
	tell(j, &(struct span){ .step = TRACE_STEP_EXECUTE,
			.number = attempt,
			.parent = j->root,
			.kind = KIND_CLIENT,
			.begin_us = published->at_us,
			.end_us = end_us,
			.attributes = attributes,
			.events = events });
}

/* Returns from when on it waits again; 0: it does not. */
static int64_t tell_claim(const struct journey *j, size_t index, struct step *claim)
{
	json_t *attributes = NULL;
	char id[SPAN_ID_SIZE];
	struct step published, puback;
	size_t at;

	if (!find_published(j, index, claim, &at, &published))
		return claim->at_us;
	bool is_acknowledged = step_at(j, at + 1, &puback) && is_step(&puback, "puback");
	int reason = is_acknowledged ? number_at(&puback, "reason_code") : -1;
	add_text(&attributes, "messaging.system", "mqtt");
	add_text(&attributes, "messaging.operation.type", "send");
	add_text(&attributes, "keyfob.worker", json_text_at(claim->detail, "worker"));
	add_int(&attributes, "keyfob.attempt", number_at(claim, "attempt"));
	tell(j, &(struct span){ .step = "publish",
			.number = (int)index,
			.parent = j->root,
			.kind = KIND_PRODUCER,
			.begin_us = claim->at_us,
			.end_us = is_acknowledged ? puback.at_us : published.at_us,
			.attributes = attributes,
			.status = is_acknowledged && reason == 0 ? STATUS_UNSET : STATUS_ERROR,
			.message = is_acknowledged ? reason == NO_SUBSCRIBERS ? "nobody is subscribed" : NULL
						   : "not acknowledged" });
	if (is_acknowledged) {
		json_t *said = NULL;
		trace_span_id(j->id, "publish", (int)index, id);
		add_int(&said, "messaging.mqtt.reason_code", reason);
		tell(j, &(struct span){ .step = "puback",
				.number = (int)index,
				.parent = id,
				.kind = KIND_INTERNAL,
				.begin_us = published.at_us,
				.end_us = puback.at_us,
				.attributes = said });
	}
	if (reason == NO_SUBSCRIBERS)
		return puback.at_us;
	tell_execute(j, at, &published);
	return 0;
}

static void tell_steps(const struct journey *j)
{
	int64_t waits_us = j->accepted_us;
	size_t from = 0, i;
	struct step s;

	for (i = 0; step_at(j, i, &s); i++) {
		if (is_step(&s, "claimed")) {
			tell_wait(j, from, i, waits_us, s.at_us);
			waits_us = tell_claim(j, i, &s);
			from = i + 1;
		} else if (is_step(&s, "reachability") && waits_us == 0) {
			waits_us = s.at_us; /* absent before it answered */
			from = i;
		}
	}
	if (!j->is_answered)
		tell_wait(j, from, i, waits_us, j->end_us);
}

/* The final answer; the vehicle's own span, where it told of one, is linked: whether it is ever recorded is the vehicle's affair. */
static void tell_answer(const struct journey *j)
{
	json_t *links = NULL, *attributes = NULL;
	struct step s, last = { 0 };

	for (size_t i = 0; step_at(j, i, &s); i++) {
		if (is_step(&s, "answer") && is_final(json_text_at(s.detail, "status")))
			last = s;
	}
	if (!last.name)
		return;
	const char *given = json_text_at(last.detail, "traceparent");
	char traceparent[TRACEPARENT_SIZE], trace_id[TRACE_ID_SIZE], span_id[SPAN_ID_SIZE];
	if (given && traceparent_read(given, strlen(given), traceparent)) {
		traceparent_trace_id(traceparent, trace_id);
		traceparent_span_id(traceparent, span_id);
		links = memory_need(json_pack("[{s:s, s:s}]", "traceId", trace_id, "spanId", span_id));
	}
	add_text(&attributes, "messaging.system", "mqtt");
	add_text(&attributes, "messaging.operation.type", "process");
	add_text(&attributes, "keyfob.status", json_text_at(last.detail, "status"));
	add_bool(&attributes, "keyfob.command.late", json_is_true(json_object_get(j->command, "late")));
	tell(j, &(struct span){ .step = "answer",
			.parent = j->root,
			.kind = KIND_CONSUMER,
			.begin_us = last.at_us,
			.end_us = j->end_us,
			.attributes = attributes,
			.links = links });
}
