/* answer.c - applies vehicles' responses.
 *
 *   message ─ parse ─┬─ apply (what was claimed counts as sent) ─ commit ─┬─ accepted
 *                    │                                                    └─ rejected: unknown, terminal, no such change
 *                    └─ rejected: malformed, too large */
#include "commands/answer.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/json.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/mqtt/link.h"
#include "base/receipt.h"
#include "base/rfc3339.h"
#include "commands/dispatch.h"
#include "commands/lifecycle.h"
#include "commands/ports.h"
#include "commands/topic.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "sql/statements.h"

#define PAYLOAD_MAX (128 * 1024) /* contract §10 */
#define VERDICT_EXPIRY_S 60	 /* the vehicle resends anyway */

struct answer_flow {
	struct loop *loop;
	const struct command_ports *ports;
	struct dispatch *dispatch;
	struct batch *batch;
	struct batch_stage stage;
};

struct answer {
	struct answer_flow *flow;
	struct receipt *receipt;
	struct batch_item item;
	char vehicle_id[65], id[UUID_TEXT_SIZE];
	const char *event;		/* its status, which is the event's name in the lifecycle */
	char *reason, *result, *sealed; /* JSON text, JSON text, text; NULL when absent */
	char *steps;
	const char *puback; /* the steps of the publish, taken along; NULL: none */
	/* the outcome */
	bool applied, repeated, known;
	enum command_status status;
};

/* Why a response is not taken: the code that the vehicle hears. */
struct refusal {
	const char *code, *detail;
};
static const struct refusal MALFORMED = { "MALFORMED", "the response cannot be read" };
static const struct refusal MALFORMED_STATUS = { "MALFORMED",
	"status must be in_progress, succeeded, failed or rejected" };
static const struct refusal MALFORMED_REASON = { "MALFORMED", "reason must be an object with a text code" };
static const struct refusal MALFORMED_IDS = { "MALFORMED", "Correlation Data and request_id disagree" };
static const struct refusal MALFORMED_NO_ID = { "MALFORMED",
	"neither Correlation Data nor request_id names the request" };
static const struct refusal TOO_LARGE = { "TOO_LARGE", "the payload is larger than 128 KiB" };
static const struct refusal UNKNOWN_REQUEST = { "UNKNOWN_REQUEST", "this vehicle was sent no such request" };
static const struct refusal TERMINAL_STATE = { "TERMINAL_STATE", "the request has its final answer" };
static const struct refusal INVALID_TRANSITION = { "INVALID_TRANSITION", "the request cannot take this status now" };

static const struct refusal *read_message(struct answer *a, const struct mqtt_message *m, json_t **ret_body);
static const struct refusal *read_id(struct answer *a, const struct mqtt_message *m, const json_t *body);
static const struct refusal *read_status(struct answer *a, const json_t *body);
static void forward_state(struct answer *a, const struct batch_fence *fence, const json_t *body);
static void submit(struct answer *a, const struct batch_fence *fence);
static void write_round(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count);
static void read_round(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count, size_t first);
static void on_applied(struct batch_item *item, const struct fault *fault);
static const struct refusal *judge(const struct answer *a);
static void tell_vehicle(const struct answer *a, const struct refusal *refusal);
static void answer_free_one(struct answer *a);

struct answer_flow *answer_new(struct loop *loop, const struct command_ports *ports, struct dispatch *dispatch)
{
	struct answer_flow *flow = memory_new(sizeof(*flow));
	flow->loop = loop;
	flow->ports = ports;
	flow->dispatch = dispatch;
	flow->stage = (struct batch_stage){ .name = "answer", .owner = flow, .write = write_round, .read = read_round };
	return flow;
}

void answer_free(struct answer_flow *flow)
{
	free(flow);
}

struct batch_stage *answer_stage(struct answer_flow *flow)
{
	return &flow->stage;
}

void answer_attach(struct answer_flow *flow, struct batch *batch)
{
	flow->batch = batch;
}

void answer_receive(struct answer_flow *flow, const struct batch_fence *fence, const struct mqtt_message *m,
	struct receipt *receipt)
{
	struct answer *a = memory_new(sizeof(*a));
	json_auto_t *body = NULL;

	metric_add(METRIC_ANSWERS, 1);
	a->flow = flow;
	if (!topic_response_read(m->topic, a->vehicle_id)) {
		metric_add(METRIC_ANSWERS_REJECTED, 1);
		log_debug("answer", "a response on a topic that is no vehicle's feed", LOG_TEXT("topic", m->topic));
		free(a);
		return;
	}
	flow->ports->prove(flow->ports->owner, a->vehicle_id);
	const struct refusal *refusal = read_message(a, m, &body);
	if (refusal) {
		tell_vehicle(a, refusal);
		answer_free_one(a);
		return;
	}
	receipt_open(receipt);
	a->receipt = receipt;
	forward_state(a, fence, body);
	submit(a, fence);
}

/* Reading. */

static const struct refusal *read_message(struct answer *a, const struct mqtt_message *m, json_t **ret_body)
{
	if (m->len > PAYLOAD_MAX) {
		read_id(a, m, NULL);
		return &TOO_LARGE;
	}
	json_t *body = *ret_body = json_read(m->payload, m->len);
	const struct refusal *refusal = read_id(a, m, body);
	if (!json_is_object(body))
		return &MALFORMED;
	return refusal ? refusal : read_status(a, body);
}

static bool take_id(char out[UUID_TEXT_SIZE], const char *text, size_t len)
{
	char copy[UUID_TEXT_SIZE];

	if (len != UUID_TEXT_SIZE - 1)
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (!uuid_is_text(copy))
		return false;
	for (size_t i = 0; i <= len; i++)
		out[i] = (char)(copy[i] >= 'A' && copy[i] <= 'F' ? copy[i] - 'A' + 'a' : copy[i]);
	return true;
}

/* An id that is no UUID names a request that we never sent. */
static const struct refusal *read_id(struct answer *a, const struct mqtt_message *m, const json_t *body)
{
	const char *named = json_text_at(body, "request_id");
	char other[UUID_TEXT_SIZE];

	if (!named && !m->correlation)
		return &MALFORMED_NO_ID;
	if (named && m->correlation &&
		(strlen(named) != m->correlation_len || strncasecmp(named, m->correlation, m->correlation_len) != 0))
		return &MALFORMED_IDS;
	if (!take_id(other, named ? named : m->correlation, named ? strlen(named) : m->correlation_len))
		return &UNKNOWN_REQUEST;
	memcpy(a->id, other, sizeof(a->id));
	return NULL;
}

static const struct refusal *read_reason(struct answer *a, const json_t *body)
{
	const json_t *reason = json_object_get(body, "reason");

	if (!reason || json_is_null(reason))
		return NULL;
	if (!json_is_object(reason) || !json_text_at(reason, "code"))
		return &MALFORMED_REASON;
	a->reason = json_canonical(reason);
	return NULL;
}

static const struct refusal *read_status(struct answer *a, const json_t *body)
{
	static const char *const events[] = { "in_progress", "succeeded", "failed", "rejected" };
	const char *status = json_text_at(body, "status"), *sealed = json_text_at(body, "sealed_result");
	const json_t *result = json_object_get(body, "result");

	for (size_t i = 0; status && i < sizeof(events) / sizeof(events[0]); i++) {
		if (strcmp(status, events[i]) == 0)
			a->event = events[i];
	}
	if (!a->event)
		return &MALFORMED_STATUS;
	if (result && !json_is_null(result))
		a->result = json_canonical(result);
	if (sealed)
		a->sealed = memory_need(strdup(sealed));
	return read_reason(a, body);
}

static void forward_state(struct answer *a, const struct batch_fence *fence, const json_t *body)
{
	const json_t *state = json_object_get(body, "state"), *version = json_object_get(body, "state_version");

	if (!json_is_object(state))
		return;
	a->flow->ports->report_state(a->flow->ports->owner, fence, a->vehicle_id, state,
		json_is_integer(version) ? json_integer_value(version) : -1, a->receipt);
}

/* Into the batch. */

static char *write_steps(const struct answer *a)
{
	struct text out = { 0 };
	char at[RFC3339_SIZE];

	rfc3339_write(loop_unix_us(a->flow->loop), at);
	text_addf(&out, "[{\"time\":\"%s\",\"step\":\"answer\",\"detail\":{\"status\":\"%s\",\"reason\":%s}}]", at,
		a->event, a->reason ? a->reason : "null");
	return text_take(&out);
}

static void submit(struct answer *a, const struct batch_fence *fence)
{
	a->steps = write_steps(a);
	a->item = (struct batch_item){
		.stage = &a->flow->stage,
		.vehicle_id = a->vehicle_id,
		.on_done = on_applied,
		.fence = fence,
	};
	list_init(&a->item.node);
	const struct fault *fault = batch_submit(a->flow->batch, &a->item);
	if (!fault)
		return;
	receipt_close(a->receipt, fault);
	answer_free_one(a);
}

static struct answer *answer_of(struct batch_item *item)
{
	return container_of(item, struct answer, item);
}

/* The PUBACK's steps come first. Asked for as late as can be: it may have come after the answer. */
static void add_steps(struct db_array *array, struct answer *a)
{
	if (!a->puback)
		a->puback = dispatch_carry(a->flow->dispatch, a->id);
	if (!a->puback) {
		db_array_text(array, a->steps);
		return;
	}
	struct text both = { 0 };
	text_add_bytes(&both, a->puback, strlen(a->puback) - 1);
	text_addf(&both, ",%s", a->steps + 1);
	db_array_text(array, both.data);
	text_free(&both);
}

static void write_round(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	struct db_array vehicles = { 0 }, ids = { 0 }, events = { 0 }, reasons = { 0 }, results = { 0 }, sealed = { 0 },
			steps = { 0 };

	(void)stage;
	(void)cut;
	for (size_t i = 0; i < count; i++) {
		struct answer *a = answer_of(items[i]);
		db_array_text(&vehicles, a->vehicle_id);
		db_array_text(&ids, a->id);
		db_array_text(&events, a->event);
		db_array_text(&reasons, a->reason);
		db_array_text(&results, a->result);
		db_array_text(&sealed, a->sealed);
		add_steps(&steps, a);
	}
	db_unit_add(unit, &SQL_answer);
	db_param_array(unit, &vehicles);
	db_param_array(unit, &ids);
	db_param_array(unit, &events);
	db_param_array(unit, &reasons);
	db_param_array(unit, &results);
	db_param_array(unit, &sealed);
	db_param_array(unit, &steps);
}

static void read_round(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count, size_t first)
{
	(void)stage;
	(void)cut;
	for (size_t i = 0; i < count; i++) {
		struct answer *a = answer_of(items[i]);
		const char *status = db_text(unit, first, i, 2);
		a->applied = db_bool(unit, first, i, 1);
		a->repeated = db_bool(unit, first, i, 3);
		a->known = status != NULL;
		a->status = status ? status_of(status) : STATUS_COUNT;
	}
}

/* Durable: the broker and the vehicle are told. */

static void on_applied(struct batch_item *item, const struct fault *fault)
{
	struct answer *a = answer_of(item);

	if (a->puback)
		dispatch_carried(a->flow->dispatch, a->id, !fault && a->applied);
	/* A statement that refuses this answer would refuse it for ever: told, counted, acknowledged. */
	if (!fault)
		tell_vehicle(a, judge(a));
	else if (fault == &FAULT_INTERNAL)
		tell_vehicle(a, &MALFORMED);
	receipt_close(a->receipt, fault == &FAULT_INTERNAL ? NULL : fault);
	answer_free_one(a);
}

static const struct refusal *judge(const struct answer *a)
{
	if (a->applied || a->repeated)
		return NULL;
	if (!a->known)
		return &UNKNOWN_REQUEST;
	return status_is_final(a->status) ? &TERMINAL_STATE : &INVALID_TRANSITION;
}

static void tell_vehicle(const struct answer *a, const struct refusal *refusal)
{
	struct text payload = { 0 };
	char topic[TOPIC_SIZE];

	topic_verdict(a->vehicle_id, !refusal, topic);
	text_add(&payload, "{\"request_id\":");
	if (a->id[0])
		text_add_json_string(&payload, a->id);
	else
		text_add(&payload, "null");
	if (refusal) {
		metric_add(METRIC_ANSWERS_REJECTED, 1);
		if (refusal == &UNKNOWN_REQUEST && a->flow->ports->forged)
			a->flow->ports->forged(a->flow->ports->owner, a->vehicle_id);
		log_info("answer", "a response was not taken", LOG_TEXT("vehicle_id", a->vehicle_id),
			LOG_TEXT("code", refusal->code));
		text_addf(&payload, ",\"code\":\"%s\",\"detail\":\"%s\"", refusal->code, refusal->detail);
	}
	text_add(&payload, "}");
	a->flow->ports->publish(a->flow->ports->owner, &(struct mqtt_publish){ .topic = topic,
							       .payload = payload.data,
							       .len = payload.len,
							       .qos = 1,
							       .correlation = a->id[0] ? a->id : NULL,
							       .content_type = "application/json",
							       .expiry_seconds = VERDICT_EXPIRY_S });
	text_free(&payload);
}

static void answer_free_one(struct answer *a)
{
	free(a->reason);
	free(a->result);
	free(a->sealed);
	free(a->steps);
	free(a);
}
