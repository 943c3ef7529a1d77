/* answer.c - applies vehicles' responses.
 *
 *   message ─ parse ─┬─ apply (what was claimed counts as sent) ─ commit ─┬─ accepted
 *                    │                                                    └─ rejected: unknown, terminal, no such change
 *                    ├─ rejected: malformed, too large
 *                    └─ more than one vehicle can have in hand: put off, its vehicle says it again */
#include "commands/answer.h"

#include <stdlib.h>
#include <string.h>

#include "base/failpoint.h"
#include "base/json.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/mqtt/link.h"
#include "base/receipt.h"
#include "base/rfc3339.h"
#include "base/trace.h"
#include "commands/codec.h"
#include "commands/dispatch.h"
#include "commands/lifecycle.h"
#include "commands/ports.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "sql/statements.h"

#define VERDICT_EXPIRY_S 60  /* the vehicle resends anyway */
#define IN_HAND_MAX 64	     /* answers of one vehicle: who share its feed wait until all are done */
#define VEHICLES_COUNT 4096  /* a power of two */
#define STEP_REASON_MAX 1024 /* a longer one stands in the command alone, not again in each step of its timeline */

/* Answers in the batch, of the vehicle that was first in this place; another one's are not counted meanwhile. */
struct in_hand {
	char vehicle_id[65];
	unsigned count;
};

struct answer_flow {
	struct loop *loop;
	struct db *db;
	const struct command_ports *ports;
	struct dispatch *dispatch;
	struct batch *batch;
	struct batch_stage stage;
	struct in_hand in_hand[VEHICLES_COUNT]; /* by hash of the vehicle */
};

struct answer {
	struct answer_flow *flow;
	struct receipt *receipt;
	struct batch_item item;
	struct codec_response response;
	char *steps;
	struct flight *puback;		    /* taken along; NULL: none */
	struct in_hand *in_hand;	    /* where it is counted; NULL: nowhere */
	int64_t read_us;		    /* monotonic */
	char traceparent[TRACEPARENT_SIZE]; /* "": the vehicle says nothing of a span of its own */
	/* the outcome */
	bool applied, repeated, known;
	bool is_after_expiry; /* a result, and the vehicle had said nothing in time */
	enum command_status status;
};

static struct in_hand *in_hand_of(struct answer_flow *flow, const char *vehicle_id);
static bool is_to_be_put_off(const struct answer *a);
static void count_in_hand(struct answer *a);
static void submit(struct answer *a, const struct batch_fence *fence);
static void write_round(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count);
static void read_round(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count, size_t first);
static void on_applied(struct batch_item *item, const struct fault *fault);
static const struct refusal *judge(const struct answer *a);
static void tell_vehicle(const struct answer *a, const struct refusal *refusal);
static void answer_free_one(struct answer *a);

struct answer_flow *answer_new(
	struct loop *loop, struct db *db, const struct command_ports *ports, struct dispatch *dispatch)
{
	struct answer_flow *flow = memory_new(sizeof(*flow));
	flow->loop = loop;
	flow->db = db;
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
	struct codec_response *response = &a->response;

	metric_add(METRIC_ANSWERS, 1);
	a->flow = flow;
	if (!codec_read_topic(m->topic, response)) {
		metric_add(METRIC_ANSWERS_REJECTED, 1);
		log_debug("answer", "a response on a topic that is no vehicle's", LOG_TEXT("topic", m->topic));
		answer_free_one(a);
		return;
	}
	if (is_to_be_put_off(a)) {
		metric_add(METRIC_ANSWERS_PUT_OFF, 1);
		answer_free_one(a);
		return;
	}
	flow->ports->prove(flow->ports->owner, fence, response->vehicle_id, receipt);
	const struct refusal *refusal = response->codec->read_body(m, response);
	if (refusal) {
		tell_vehicle(a, refusal);
		answer_free_one(a);
		return;
	}
	dispatch_measure(flow->dispatch, response->id);
	if (m->traceparent && !traceparent_read(m->traceparent, strlen(m->traceparent), a->traceparent))
		a->traceparent[0] = '\0';
	a->read_us = loop_monotonic_us(flow->loop);
	FAILPOINT("answer.received");
	receipt_open(receipt);
	a->receipt = receipt;
	if (response->state)
		flow->ports->report_state(flow->ports->owner, fence, response, receipt);
	submit(a, fence);
}

/* A vehicle answers until it is told that it was heard, so that what is not taken is not lost. AWS's devices need not: all of theirs is taken. */

/* Those of a feed are alike in the last five bits. */
static struct in_hand *in_hand_of(struct answer_flow *flow, const char *vehicle_id)
{
	return &flow->in_hand[crc32_of(vehicle_id, strlen(vehicle_id)) / 32 % VEHICLES_COUNT];
}

static bool is_to_be_put_off(const struct answer *a)
{
	const struct in_hand *of = in_hand_of(a->flow, a->response.vehicle_id);

	return a->response.codec == &CODEC_KEYFOB && of->count >= IN_HAND_MAX &&
	       strcmp(of->vehicle_id, a->response.vehicle_id) == 0;
}

static void count_in_hand(struct answer *a)
{
	struct in_hand *of = in_hand_of(a->flow, a->response.vehicle_id);

	if (of->count == 0)
		snprintf(of->vehicle_id, sizeof(of->vehicle_id), "%s", a->response.vehicle_id);
	if (strcmp(of->vehicle_id, a->response.vehicle_id) != 0)
		return;
	of->count++;
	a->in_hand = of;
}

/* Into the batch. */

/* By the database's clock, as all of the timeline is: by it is judged whether a result is from after the command's expiry. */
static char *write_steps(const struct answer *a)
{
	const char *reason = a->response.reason;
	struct text out = { 0 };
	char at[RFC3339_SIZE];

	rfc3339_write(db_now_us(a->flow->db), at);
	text_addf(&out, "[{\"time\":\"%s\",\"step\":\"answer\",\"detail\":{\"status\":\"%s\",\"reason\":%s", at,
		a->response.event, reason && strlen(reason) <= STEP_REASON_MAX ? reason : "null");
	if (a->traceparent[0])
		text_addf(&out, ",\"traceparent\":\"%s\"", a->traceparent);
	text_add(&out, "}}]");
	return text_take(&out);
}

/* Or has it wait for this answer, should it come before the transaction does. */
static void take_puback(struct answer *a)
{
	a->puback = dispatch_carry(a->flow->dispatch, a->response.id);
	if (!a->puback)
		dispatch_await(a->flow->dispatch, a->response.id);
}

static void submit(struct answer *a, const struct batch_fence *fence)
{
	a->steps = write_steps(a);
	a->item = (struct batch_item){
		.stage = &a->flow->stage,
		.vehicle_id = a->response.vehicle_id,
		.on_done = on_applied,
		.fence = fence,
	};
	list_init(&a->item.node);
	const struct fault *fault = batch_submit(a->flow->batch, &a->item);
	if (!fault) {
		count_in_hand(a);
		take_puback(a);
		return;
	}
	receipt_close(a->receipt, fault);
	answer_free_one(a);
}

static struct answer *answer_of(struct batch_item *item)
{
	return container_of(item, struct answer, item);
}

/* The PUBACK's steps come first. Asked for once more as late as can be: it may have come after the answer. */
static void add_steps(struct db_array *array, struct answer *a)
{
	if (!a->puback)
		a->puback = dispatch_carry(a->flow->dispatch, a->response.id);
	if (!a->puback) {
		db_array_text(array, a->steps);
		return;
	}
	struct text both = { 0 };
	const char *steps = dispatch_steps(a->puback);
	text_add_bytes(&both, steps, strlen(steps) - 1);
	text_add(&both, ",");
	text_add(&both, a->steps + 1);
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
		const struct codec_response *r = &a->response;
		db_array_text(&vehicles, r->vehicle_id);
		db_array_text(&ids, r->id);
		db_array_text(&events, r->event);
		db_array_text(&reasons, r->reason);
		db_array_text(&results, r->result);
		db_array_text(&sealed, r->sealed);
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
		a->is_after_expiry = db_bool(unit, first, i, 4);
		a->known = status != NULL;
		a->status = status ? status_of(status) : STATUS_COUNT;
	}
}

/* Durable: the broker and the vehicle are told. */

static void log_applied(const struct answer *a, const struct fault *fault)
{
	char trace_id[TRACE_ID_SIZE] = "";

	if (!log_is_on(LOG_LEVEL_DEBUG))
		return;
	if (a->traceparent[0])
		traceparent_trace_id(a->traceparent, trace_id);
	log_debug("answer", "a response was read", LOG_TEXT("vehicle_id", a->response.vehicle_id),
		LOG_TEXT("command_id", a->response.id), LOG_TEXT("trace_id", trace_id),
		LOG_TEXT("status", a->response.event), LOG_INT("applied", !fault && a->applied));
}

static void count_after_expiry(const struct answer *a)
{
	metric_add(METRIC_ANSWERS_AFTER_EXPIRY, 1);
	log_info("answer", "a result came after its command had expired: it may have been done late",
		LOG_TEXT("vehicle_id", a->response.vehicle_id), LOG_TEXT("command_id", a->response.id),
		LOG_TEXT("status", a->response.event));
}

static void on_applied(struct batch_item *item, const struct fault *fault)
{
	struct answer *a = answer_of(item);

	if (a->in_hand)
		a->in_hand->count--;
	if (!fault)
		FAILPOINT("answer.committed");
	if (a->puback)
		dispatch_carried(a->puback, !fault && a->applied);
	else
		dispatch_answered(a->flow->dispatch, a->response.id);
	if (!fault && a->applied)
		metric_observe(METRIC_VERDICT_SECONDS, loop_monotonic_us(a->flow->loop) - a->read_us);
	log_applied(a, fault);
	if (!fault && a->is_after_expiry)
		count_after_expiry(a);
	/* What this answer says cannot be in the database: told, counted, acknowledged. One that is set aside is acknowledged, too, for the sake
	 * of those behind it; its vehicle, which is told nothing, says it again. */
	if (!fault)
		tell_vehicle(a, judge(a));
	else if (fault == &FAULT_INTERNAL)
		tell_vehicle(a, &REFUSAL_MALFORMED);
	receipt_close(a->receipt, batch_has_given_up(fault) ? NULL : fault);
	answer_free_one(a);
}

static const struct refusal *judge(const struct answer *a)
{
	if (a->applied || a->repeated)
		return NULL;
	if (!a->known)
		return &REFUSAL_UNKNOWN_REQUEST;
	return status_is_final(a->status) ? &REFUSAL_TERMINAL_STATE : &REFUSAL_INVALID_TRANSITION;
}

static void tell_vehicle(const struct answer *a, const struct refusal *refusal)
{
	const struct codec_response *r = &a->response;
	const char *named = r->id[0] ? r->id : r->named;
	struct text payload = { 0 };
	char topic[TOPIC_SIZE];

	if (refusal) {
		metric_add(METRIC_ANSWERS_REJECTED, 1);
		if (refusal == &REFUSAL_UNKNOWN_REQUEST && a->flow->ports->forged)
			a->flow->ports->forged(a->flow->ports->owner, r->vehicle_id);
		log_info("answer", "a response was not taken", LOG_TEXT("vehicle_id", r->vehicle_id),
			LOG_TEXT("command_id", r->id), LOG_TEXT("code", refusal->code));
	}
	r->codec->write_verdict(r, refusal, topic, &payload);
	a->flow->ports->publish(a->flow->ports->owner, &(struct mqtt_publish){ .topic = topic,
							       .payload = payload.data,
							       .len = payload.len,
							       .qos = 1,
							       .correlation = named[0] ? named : NULL,
							       .content_type = "application/json",
							       .expiry_seconds = VERDICT_EXPIRY_S });
	text_free(&payload);
}

static void answer_free_one(struct answer *a)
{
	codec_response_done(&a->response);
	free(a->steps);
	free(a);
}
