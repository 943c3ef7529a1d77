/* keyfob_codec.c - Keyfob's own protocol: contract §6. The payload repeats what the properties say, for vehicles of
 * MQTT 3.1.1. */
#include "commands/codec.h"

#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "base/mqtt/link.h"

static const struct refusal STATUS = { "MALFORMED", "InvalidRequest",
	"status must be in_progress, succeeded, failed or rejected" };
static const struct refusal REASON = { "MALFORMED", "InvalidRequest",
	"reason must be an object with a text code; its description and by are texts, too" };
static const struct refusal IDS = { "MALFORMED", "InvalidRequest", "Correlation Data and request_id disagree" };
static const struct refusal NO_ID = { "MALFORMED", "InvalidRequest",
	"neither Correlation Data nor request_id names the request" };

static void write_topics(const struct codec_request *q, char ret_request[TOPIC_SIZE], char ret_response[TOPIC_SIZE])
{
	topic_request(q->vehicle_id, ret_request);
	topic_response(q->vehicle_id, ret_response);
}

static void write_request(const struct codec_request *q, struct text *out)
{
	char response_topic[TOPIC_SIZE];

	topic_response(q->vehicle_id, response_topic);
	text_add(out, "{\"request_id\":\"");
	text_add(out, q->id);
	text_add(out, "\",\"response_topic\":\"");
	text_add(out, response_topic);
	text_add(out, "\",\"name\":\"");
	text_add(out, q->name);
	text_add(out, "\",");
	if (q->sealed_params) {
		text_add(out, "\"sealed_params\":");
		text_add_json_string(out, q->sealed_params);
	} else {
		text_add(out, "\"params\":");
		text_add(out, q->params ? q->params : "{}");
	}
	text_addf(out, ",\"issued_at\":\"%s\",\"expires_at\":\"%s\",\"attempt\":%d}", q->issued_at, q->expires_at,
		q->attempt);
}

static bool read_topic(const char *topic, struct codec_response *r)
{
	return topic_response_read(topic, r->vehicle_id);
}

/* What a vehicle called a request that cannot be ours, so that it hears which one is meant. */
static void keep_name(struct codec_response *r, const char *name, size_t len)
{
	if (len >= sizeof(r->named))
		return;
	for (size_t i = 0; i < len; i++) {
		if (name[i] < ' ' || name[i] > '~')
			return;
	}
	memcpy(r->named, name, len);
}

/* An id that is no UUID names a request that we never sent. */
static const struct refusal *read_id(struct codec_response *r, const struct mqtt_message *m, const json_t *body)
{
	const char *named = json_text_at(body, "request_id");

	if (!named && !m->correlation)
		return &NO_ID;
	if (named && m->correlation &&
		(strlen(named) != m->correlation_len || strncasecmp(named, m->correlation, m->correlation_len) != 0))
		return &IDS;
	const char *name = named ? named : m->correlation;
	size_t len = named ? strlen(named) : m->correlation_len;
	if (codec_take_id(r->id, name, len))
		return NULL;
	keep_name(r, name, len);
	return &REFUSAL_UNKNOWN_REQUEST;
}

static bool is_text(const json_t *value)
{
	return json_is_string(value);
}

static bool is_object(const json_t *value)
{
	return json_is_object(value);
}

static bool is_whole(const json_t *value)
{
	int64_t whole;
	return json_whole(value, &whole);
}

/* Null is as good as absent. */
static bool is_absent_or(const json_t *object, const char *key, bool (*is)(const json_t *))
{
	const json_t *value = json_object_get(object, key);
	return !value || json_is_null(value) || is(value);
}

/* What a response may have besides status, reason and result, which may be anything. */
static const struct member {
	const char *name;
	bool (*is)(const json_t *);
	struct refusal refusal;
} members[] = {
	{ "request_id", is_text, { "MALFORMED", "InvalidRequest", "request_id must be a text" } },
	{ "sealed_result", is_text, { "MALFORMED", "InvalidRequest", "sealed_result must be a text" } },
	{ "state", is_object, { "MALFORMED", "InvalidRequest", "state must be an object" } },
	{ "state_version", is_whole, { "MALFORMED", "InvalidRequest", "state_version must be a whole number" } },
};

static const struct refusal *check_members(const json_t *body)
{
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		if (!is_absent_or(body, members[i].name, members[i].is))
			return &members[i].refusal;
	}
	return NULL;
}

static const struct refusal *read_reason(struct codec_response *r, const json_t *body)
{
	const json_t *reason = json_object_get(body, "reason");

	if (!reason || json_is_null(reason))
		return NULL;
	if (!json_is_object(reason) || !json_text_at(reason, "code") || !is_absent_or(reason, "description", is_text) ||
		!is_absent_or(reason, "by", is_text))
		return &REASON;
	r->reason = json_canonical(reason);
	return NULL;
}

static const struct refusal *read_status(struct codec_response *r, const json_t *body)
{
	static const char *const events[] = { "in_progress", "succeeded", "failed", "rejected" };
	const char *status = json_text_at(body, "status"), *sealed = json_text_at(body, "sealed_result");
	const json_t *result = json_object_get(body, "result");

	for (size_t i = 0; status && i < sizeof(events) / sizeof(events[0]); i++) {
		if (strcmp(status, events[i]) == 0)
			r->event = events[i];
	}
	if (!r->event)
		return &STATUS;
	if (result && !json_is_null(result))
		r->result = json_canonical(result);
	if (sealed)
		r->sealed = memory_need(strdup(sealed));
	return read_reason(r, body);
}

static void read_state(struct codec_response *r, const json_t *body)
{
	json_t *state = json_object_get(body, "state");

	if (json_is_object(state))
		r->state = json_incref(state);
	if (!json_whole(json_object_get(body, "state_version"), &r->state_version))
		r->state_version = -1;
}

static const struct refusal *read_body(const struct mqtt_message *m, struct codec_response *r)
{
	if (m->len > CODEC_PAYLOAD_MAX) {
		read_id(r, m, NULL);
		return &REFUSAL_TOO_LARGE;
	}
	json_auto_t *body = json_read(m->payload, m->len);
	const struct refusal *refusal = read_id(r, m, body);
	if (!json_is_object(body))
		return &REFUSAL_MALFORMED;
	if (!refusal)
		refusal = check_members(body);
	if (refusal)
		return refusal;
	read_state(r, body);
	return read_status(r, body);
}

static void write_verdict(
	const struct codec_response *r, const struct refusal *refusal, char ret_topic[TOPIC_SIZE], struct text *payload)
{
	const char *id = r->id[0] ? r->id : r->named;

	topic_verdict(r->vehicle_id, !refusal, ret_topic);
	text_add(payload, "{\"request_id\":");
	text_add_json_string(payload, id[0] ? id : NULL);
	if (refusal)
		text_addf(payload, ",\"code\":\"%s\",\"detail\":\"%s\"", refusal->code, refusal->detail);
	text_add(payload, "}");
}

const struct codec CODEC_KEYFOB = {
	.protocol = "keyfob",
	.write_topics = write_topics,
	.write_request = write_request,
	.read_topic = read_topic,
	.read_body = read_body,
	.write_verdict = write_verdict,
};
