/* accept.c - commands from apps, gathered and inserted by the batch.
 *
 *   draft ─ id ─ batch: keys taken ─ grant, key, queue checked, inserted with its event ─ older ones superseded ─ commit
 *                                                                                             ├─ 202, and published if claimed
 *                                                                                             ├─ the same key: the first command again
 *                                                                                             └─ fault */
#include "commands/accept.h"

#include <stdlib.h>
#include <string.h>

#include "base/failpoint.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "commands/dispatch.h"
#include "commands/topic.h"
#include "sql/db.h"
#include "sql/statements.h"

struct accept_flow {
	struct loop *loop;
	struct db *db;
	struct dispatch *dispatch;
	struct batch *batch;
	struct batch_stage stage;
	int queue_max;
	const struct trace_sampler *sampler; /* NULL: no trace begins here */
};

static const struct {
	const char *outcome;
	const struct fault *fault;
} verdicts[] = {
	{ "created", NULL },
	{ "replayed", NULL },
	{ "not_found", &FAULT_VEHICLE_NOT_FOUND },
	{ "forbidden", &FAULT_FORBIDDEN },
	{ "queue_full", &FAULT_QUEUE_FULL },
	/* the right to send began between two statements */
	{ "keyless", &FAULT_STORAGE_UNAVAILABLE },
	{ "reused", &FAULT_IDEMPOTENCY_KEY_REUSED },
};

static void write_keys(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count);
static void write_round(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count);
static void write_drafts(const struct accept_flow *flow, struct db_unit *unit, struct batch_item **items, size_t count);
static void write_supersedes(struct db_unit *unit, struct batch_item **items, size_t count);
static void write_fed(struct db_unit *unit, struct batch_item **items, size_t count);
static void read_round(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count, size_t first);
static void publish(
	const struct accept_flow *flow, const struct accept *accept, struct db_unit *unit, size_t first, size_t row);
static void on_item_done(struct batch_item *item, const struct fault *fault);

static struct accept *accept_of(struct batch_item *item)
{
	return container_of(item, struct accept, item);
}

struct accept_flow *accept_new(struct loop *loop, struct db *db, struct dispatch *dispatch, int queue_max)
{
	struct accept_flow *flow = memory_new(sizeof(*flow));
	flow->loop = loop;
	flow->db = db;
	flow->dispatch = dispatch;
	flow->queue_max = queue_max;
	flow->stage = (struct batch_stage){
		.name = "accept",
		.owner = flow,
		.leaves_settled = true,
		.begin = write_keys,
		.write = write_round,
		.read = read_round,
	};
	return flow;
}

void accept_free(struct accept_flow *flow)
{
	free(flow);
}

struct batch_stage *accept_stage(struct accept_flow *flow)
{
	return &flow->stage;
}

void accept_attach(struct accept_flow *flow, struct batch *batch)
{
	flow->batch = batch;
}

void accept_sample(struct accept_flow *flow, const struct trace_sampler *sampler)
{
	flow->sampler = sampler;
}

static void sample(const struct accept_flow *flow, struct accept *accept)
{
	trace_begin(flow->sampler, accept->traceparent, accept->id, accept->trace);
	accept->traceparent = accept->trace;
}

/* What vehicles say is not turned away: it waits, and more of it at the broker. */
const struct fault *accept_submit(struct accept_flow *flow, struct accept *accept)
{
	if (batch_is_late(flow->batch))
		return &FAULT_OVERLOADED;
	uuid7_make(db_now_us(flow->db), accept->id);
	if (flow->sampler)
		sample(flow, accept);
	accept->command = NULL;
	accept->replayed = false;
	accept->verdict = NULL;
	accept->began_us = loop_monotonic_us(flow->loop);
	accept->item = (struct batch_item){ .stage = &flow->stage,
		.vehicle_id = accept->vehicle_id,
		.fence = accept->fence,
		.on_done = on_item_done,
		.is_impatient = true };
	list_init(&accept->item.node);
	return batch_submit(flow->batch, &accept->item);
}

/* A parameter of text, one of each item. */
#define TEXTS(unit, items, count, field)                                                                               \
	do {                                                                                                           \
		struct db_array array_ = { 0 };                                                                        \
		for (size_t i_ = 0; i_ < (count); i_++)                                                                \
			db_array_text(&array_, accept_of((items)[i_])->field);                                         \
		db_param_array(unit, &array_);                                                                         \
	} while (0)
#define INTS(unit, items, count, field)                                                                                \
	do {                                                                                                           \
		struct db_array array_ = { 0 };                                                                        \
		for (size_t i_ = 0; i_ < (count); i_++)                                                                \
			db_array_int(&array_, accept_of((items)[i_])->field);                                          \
		db_param_array(unit, &array_);                                                                         \
	} while (0)
#define BOOLS(unit, items, count, field)                                                                               \
	do {                                                                                                           \
		struct db_array array_ = { 0 };                                                                        \
		for (size_t i_ = 0; i_ < (count); i_++)                                                                \
			db_array_bool(&array_, accept_of((items)[i_])->field);                                         \
		db_param_array(unit, &array_);                                                                         \
	} while (0)

static bool has_keys(struct batch_item **items, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (accept_of(items[i])->key)
			return true;
	}
	return false;
}

/* The keys of all rounds in one statement, so that they are taken in one order. */
static void write_keys(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	(void)stage;
	(void)cut;
	if (!has_keys(items, count))
		return;
	db_unit_add(unit, &SQL_accept_keys);
	TEXTS(unit, items, count, id);
	TEXTS(unit, items, count, vehicle_id);
	TEXTS(unit, items, count, subject);
	BOOLS(unit, items, count, admin);
	INTS(unit, items, count, needs);
	TEXTS(unit, items, count, key);
	TEXTS(unit, items, count, fingerprint);
}

static void write_round(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	(void)cut;
	FAILPOINT("accept.begun");
	write_drafts(stage->owner, unit, items, count);
	write_supersedes(unit, items, count);
	write_fed(unit, items, count);
}

/* As the type accept_draft has it. On which feed the answers will come, and who is to publish, is found here. */
static void write_draft(const struct accept_flow *flow, struct db_row *row, struct accept *a, size_t n)
{
	char feed[FEED_NAME_SIZE];

	topic_feed_name(a->vehicle_id, feed);
	a->publisher = dispatch_publisher(flow->dispatch, a->vehicle_id);
	db_row_int(row, (int64_t)n);
	db_row_text(row, a->id);
	db_row_text(row, a->vehicle_id);
	db_row_text(row, a->subject);
	db_row_bool(row, a->admin);
	db_row_int(row, a->needs);
	db_row_text(row, a->key);
	db_row_text(row, a->fingerprint);
	db_row_text(row, a->batch_id);
	db_row_bool(row, a->wake);
	db_row_int(row, a->ttl_s);
	db_row_int(row, a->timeout_s);
	db_row_text(row, feed);
	db_row_text(row, a->publisher);
	db_row_text(row, a->address);
	db_row_text(row, a->name);
	db_row_text(row, a->params);
	db_row_text(row, a->sealed_params);
	db_row_text(row, a->redelivery);
	db_row_text(row, a->catalog);
	db_row_text(row, a->traceparent);
	db_row_text(row, a->tracestate);
}

static void write_drafts(const struct accept_flow *flow, struct db_unit *unit, struct batch_item **items, size_t count)
{
	struct db_array drafts = { 0 };
	struct db_row row = { 0 };

	for (size_t i = 0; i < count; i++) {
		write_draft(flow, &row, accept_of(items[i]), i);
		db_array_row(&drafts, &row);
	}
	db_row_free(&row);
	db_unit_add(unit, &SQL_accept);
	db_param_array(unit, &drafts);
	db_param_int(unit, flow->queue_max);
	db_param_open_ids(unit);
	TEXTS(unit, items, has_keys(items, count) ? count : 0, id);
}

static void write_supersedes(struct db_unit *unit, struct batch_item **items, size_t count)
{
	bool any = false;
	for (size_t i = 0; i < count; i++)
		any = any || accept_of(items[i])->supersedes[0];
	if (!any)
		return;
	db_unit_add(unit, &SQL_supersede);
	TEXTS(unit, items, count, vehicle_id);
	TEXTS(unit, items, count, id);
	TEXTS(unit, items, count, supersedes);
}

/* For the targets of batches alone. */
static void write_fed(struct db_unit *unit, struct batch_item **items, size_t count)
{
	bool any = false;
	for (size_t i = 0; i < count; i++)
		any = any || accept_of(items[i])->batch_id;
	if (!any)
		return;
	db_unit_add(unit, &SQL_batch_fed);
	TEXTS(unit, items, count, batch_id);
	TEXTS(unit, items, count, vehicle_id);
	TEXTS(unit, items, count, id);
	TEXTS(unit, items, count, subject);
	BOOLS(unit, items, count, admin);
	INTS(unit, items, count, needs);
}

static const struct fault *verdict_of(const char *outcome)
{
	for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
		if (strcmp(verdicts[i].outcome, outcome) == 0)
			return verdicts[i].fault;
	}
	return &FAULT_INTERNAL;
}

static void read_round(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count, size_t first)
{
	const struct accept_flow *flow = stage->owner;

	(void)cut;
	(void)count;
	FAILPOINT("accept.committed");
	for (size_t row = 0; row < db_rows(unit, first); row++) {
		struct accept *accept = accept_of(items[db_int(unit, first, row, 0)]);
		const char *outcome = db_text(unit, first, row, 1);
		const char *command = db_text(unit, first, row, 2);
		accept->verdict = verdict_of(outcome);
		accept->replayed = strcmp(outcome, "replayed") == 0;
		accept->command = command ? memory_need(strdup(command)) : NULL;
		if (db_bool(unit, first, row, 3))
			publish(flow, accept, unit, first, row);
	}
}

static void publish(
	const struct accept_flow *flow, const struct accept *accept, struct db_unit *unit, size_t first, size_t row)
{
	dispatch_take(flow->dispatch, &(struct claim){ .vehicle_id = accept->vehicle_id,
					      .id = accept->id,
					      .name = accept->name,
					      .params = accept->params,
					      .sealed_params = accept->sealed_params,
					      .issued_at = db_text(unit, first, row, 4),
					      .expires_at = db_text(unit, first, row, 5),
					      .expires_us = db_int(unit, first, row, 6),
					      .session = db_text(unit, first, row, 7),
					      .protocol = db_text(unit, first, row, 8),
					      .number = (int)db_int(unit, first, row, 9),
					      .traceparent = accept->traceparent,
					      .tracestate = accept->tracestate,
					      .worker = accept->publisher,
					      .attempt = 1 });
}

static void on_item_done(struct batch_item *item, const struct fault *fault)
{
	struct accept *accept = accept_of(item);
	struct accept_flow *flow = item->stage->owner;

	if (!fault)
		fault = accept->verdict;
	if (!fault && !accept->replayed) {
		metric_add(METRIC_COMMANDS_ACCEPTED, 1);
		metric_observe(METRIC_ACCEPT_SECONDS, loop_monotonic_us(flow->loop) - accept->began_us);
	}
	accept->on_done(accept, fault);
}
