/* aws_codec.c - AWS IoT Commands, as a vehicle knows it that was built for that service (AWS IoT Developer Guide,
 * "Commands"): the execution's id is in the topic, the payload of a request is the bare command.
 *
 *   $aws/commands/things/{id}/executions/{execution}/request/json             the command's params
 *                                                   /response/json            {"status","statusReason","result"}
 *                                                   /response/accepted/json   {"executionId"}
 *                                                   /response/rejected/json   {"error","errorMessage","executionId"}
 *
 * CBOR, and devices that are addressed as MQTT clients (…/clients/{id}/…), are not spoken. */
#include "commands/codec.h"

#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "base/mqtt/link.h"

#define CODE_MAX 64	     /* characters of a reasonCode */
#define DESCRIPTION_MAX 1024 /* of a reasonDescription */

static const struct refusal NOT_JSON = { "MALFORMED", "InvalidJson", "the payload is not JSON" };
static const struct refusal NO_OBJECT = { "MALFORMED", "InvalidRequest", "the payload must be an object" };
static const struct refusal STATUS = { "MALFORMED", "InvalidRequest",
	"status must be IN_PROGRESS, SUCCEEDED, FAILED, REJECTED or TIMED_OUT" };
static const struct refusal REASON = { "MALFORMED", "InvalidRequest",
	"statusReason must be an object with a reasonCode of 1 to 64 of A-Z 0-9 _ - and a reasonDescription of at "
	"most 1024 printable characters" };
static const struct refusal RESULT = { "MALFORMED", "InvalidRequest",
	"result must be an object of objects that each have one value: a text in s, a boolean in b or base64 in bin" };

/* A vehicle's own TIMED_OUT is its last word: it gave up, and says so. It is told as failed, for `timed_out` means here that
 * nobody knows. */
static const struct {
	const char *status, *event, *reason; /* the reason where the vehicle names none */
} statuses[] = {
	{ "IN_PROGRESS", "in_progress", NULL },
	{ "SUCCEEDED", "succeeded", NULL },
	{ "FAILED", "failed", NULL },
	{ "REJECTED", "rejected", NULL },
	{ "TIMED_OUT", "failed", "{\"code\":\"TIMED_OUT\"}" },
};

/* Outwards. */

static void write_topics(const struct codec_request *q, char ret_request[TOPIC_SIZE], char ret_response[TOPIC_SIZE])
{
	topic_execution(q->vehicle_id, q->id, "request/json", ret_request);
	topic_execution(q->vehicle_id, q->id, "response/json", ret_response);
}

static void write_request(const struct codec_request *q, struct text *out)
{
	if (!q->sealed_params) {
		text_add(out, q->params ? q->params : "{}");
		return;
	}
	text_add(out, "{\"sealed_params\":");
	text_add_json_string(out, q->sealed_params);
	text_add(out, "}");
}

static void write_verdict(
	const struct codec_response *r, const struct refusal *refusal, char ret_topic[TOPIC_SIZE], struct text *payload)
{
	topic_execution(
		r->vehicle_id, r->execution, refusal ? "response/rejected/json" : "response/accepted/json", ret_topic);
	text_add(payload, "{");
	if (refusal)
		text_addf(payload, "\"error\":\"%s\",\"errorMessage\":\"%s\",", refusal->error, refusal->detail);
	text_addf(payload, "\"executionId\":\"%s\"}", r->execution);
}

/* Inwards. */

static bool read_topic(const char *topic, struct codec_response *r)
{
	return topic_execution_read(topic, "response/json", r->vehicle_id, r->execution);
}

static const struct refusal *read_status(const json_t *body, struct codec_response *r, const char **ret_reason)
{
	const char *status = json_text_at(body, "status");

	for (size_t i = 0; status && i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		if (strcmp(statuses[i].status, status) != 0)
			continue;
		r->event = statuses[i].event;
		*ret_reason = statuses[i].reason;
		return NULL;
	}
	return &STATUS;
}

static bool is_code(const char *text)
{
	size_t len = text ? strlen(text) : 0;
	return len > 0 && len <= CODE_MAX && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == len;
}

/* UTF-8, without the control characters of C0 and C1. */
static bool is_description(const char *text)
{
	size_t characters = 0;

	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		if (*c < 0x20 || *c == 0x7f || (c[0] == 0xc2 && c[1] < 0xa0))
			return false;
		characters += (*c & 0xc0) != 0x80;
	}
	return characters <= DESCRIPTION_MAX;
}

static const struct refusal *read_reason(const json_t *body, struct codec_response *r, const char *otherwise)
{
	const json_t *reason = json_object_get(body, "statusReason"),
		     *description = json_object_get(reason, "reasonDescription");
	const char *code = json_text_at(reason, "reasonCode"), *text = json_text_at(reason, "reasonDescription");

	if (!reason || json_is_null(reason)) {
		r->reason = otherwise ? memory_need(strdup(otherwise)) : NULL;
		return NULL;
	}
	if (!is_code(code) || (text ? !is_description(text) : description && !json_is_null(description)))
		return &REASON;
	json_auto_t *own = json_pack("{s:s, s:s*}", "code", code, "description", text);
	r->reason = json_canonical(memory_need(own));
	return NULL;
}

/* RFC 4648 §4 */
static bool is_base64(const char *text)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t len = strlen(text), body = strspn(text, letters), padding = strspn(text + body, "=");
	return body + padding == len && len % 4 == 0 && padding <= 2;
}

/* The value that apps see; NULL when it is none. Borrowed. */
static json_t *bare_value(const json_t *typed)
{
	json_t *s = json_object_get(typed, "s"), *b = json_object_get(typed, "b"), *bin = json_object_get(typed, "bin");

	if (json_object_size(typed) != 1)
		return NULL;
	if (json_is_string(s))
		return s;
	if (json_is_boolean(b))
		return b;
	return json_is_string(bin) && is_base64(json_string_value(bin)) ? bin : NULL;
}

static const struct refusal *read_result(const json_t *body, struct codec_response *r)
{
	json_t *result = json_object_get(body, "result"), *typed;
	const char *name;

	if (!result || json_is_null(result))
		return NULL;
	if (!json_is_object(result))
		return &RESULT;
	json_auto_t *bare = memory_need(json_object());
	json_object_foreach (result, name, typed) {
		json_t *value = bare_value(typed);
		if (!value)
			return &RESULT;
		if (strcmp(name, "sealed_result") == 0 && json_is_string(value))
			r->sealed = memory_need(strdup(json_string_value(value)));
		else
			json_object_set(bare, name, value);
	}
	if (!r->sealed || json_object_size(bare) > 0)
		r->result = json_canonical(bare);
	return NULL;
}

static const struct refusal *read_body(const struct mqtt_message *m, struct codec_response *r)
{
	const char *reason = NULL;

	r->state_version = -1;
	bool is_possible = codec_take_id(r->id, r->execution, strlen(r->execution));
	if (m->len > CODEC_PAYLOAD_MAX)
		return &REFUSAL_TOO_LARGE;
	json_auto_t *body = json_read(m->payload, m->len);
	if (!body)
		return &NOT_JSON;
	if (!json_is_object(body))
		return &NO_OBJECT;
	const struct refusal *refusal = read_status(body, r, &reason);
	if (!refusal)
		refusal = read_reason(body, r, reason);
	if (!refusal)
		refusal = read_result(body, r);
	return refusal || is_possible ? refusal : &REFUSAL_UNKNOWN_REQUEST;
}

const struct codec CODEC_AWS = {
	.protocol = "aws-commands",
	.write_topics = write_topics,
	.write_request = write_request,
	.read_topic = read_topic,
	.read_body = read_body,
	.write_verdict = write_verdict,
};
