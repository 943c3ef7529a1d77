/* dispatch.c - one claimed command after the other, out to its vehicle.
 *
 *   claim (committed) ─┬─ publish ─┬─ PUBACK 0 ─────── puback
 *                      │           ├─ PUBACK 0x10 ──── nobody: the vehicle's session is disproved
 *                      │           ├─ PUBACK ≥ 0x80 ── release, a second later: the broker refused it
 *                      │           └─ link lost ────── lose: nobody knows
 *                      ├─ not taken by the link ── release, a second later
 *                      └─ not sent (link down, too late) ── release
 *
 * Each verdict is an item of the puback or the failure stage; one that could not be recorded is submitted again until it is. A good
 * PUBACK waits a little: the answer mostly follows at once, and takes it along if it comes to this worker, even when the PUBACK waits
 * for a transaction by then. Else at least it does not find the vehicle's head locked until the PUBACK's own commit is over. */
#include "commands/dispatch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/failpoint.h"
#include "base/hash.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/mqtt/link.h"
#include "base/rfc3339.h"
#include "base/trace.h"
#include "commands/codec.h"
#include "commands/ports.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "sql/statements.h"

#define MID_COUNT 65536
#define RECORD_RETRY_MS 200
#define PATIENCE_MS 5	     /* a vehicle at hand has answered by then */
#define BUSY_TRANSACTIONS 4  /* it waits for as long as so many take, while they follow one another */
#define BUSY_PATIENCE_MS 500 /* at most */
#define REFUSED_MS 1000	     /* how long a claim is kept that broker or link refused, before it is offered again */
#define REASON_NO_MATCHING_SUBSCRIBERS 0x10 /* MQTT 5 §3.4.2.1 */
#define REASON_ERROR 0x80		    /* and above */
#define LEFT_MIN_US 500000 /* with less of its life left nothing is published; settle_claims() has it too */
#define RECENT_COUNT 4096  /* publishes whose answers are measured; a power of two */

/* One publish in hand. */
struct flight {
	UT_hash_handle hh; /* by id */
	struct dispatch *dispatch;
	char vehicle_id[65], id[UUID_TEXT_SIZE], session[80], worker[40];
	char trace_id[TRACE_ID_SIZE];
	int attempt, number, mid; /* mid 0: not with the broker */
	uint32_t expiry_s;
	int64_t published_us, acknowledged_ms; /* the latter monotonic */
	const char *verdict;		       /* NULL: awaited */
	char *steps;
	struct batch_item item;
	struct list node;	 /* while its verdict waits for the answer, or to be submitted again */
	bool is_waiting;	 /* for the answer */
	bool is_answered;	 /* the answer waits for its transaction, and carries the PUBACK if it can */
	bool is_carried;	 /* by the answer */
	bool is_moot;		 /* its claim is over, and a transaction has it for the last time: found by nobody */
	struct loop_timer pause; /* after a refusal */
};

/* Kept beyond its PUBACK, until another takes its place. */
struct recent {
	char id[UUID_TEXT_SIZE];
	int64_t published_us; /* monotonic */
};

struct dispatch {
	struct loop *loop;
	struct db *db;
	struct batch *batch;
	const char *worker;
	const struct command_ports *ports;
	int patience_ms;
	bool records;
	struct batch_stage puback, failure, settle;
	struct flight *flights;
	struct flight *by_mid[MID_COUNT];
	struct recent recent[RECENT_COUNT];
	struct list acknowledged, unrecorded;
	struct loop_timer patience, retry;
};

static void write_settle(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit);
static void read_settle(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, size_t first);
static void end_moot(struct dispatch *d, const struct claim *claim);
static void publish(struct flight *f, const struct claim *claim);
static void measure_publish(const struct flight *f, const struct claim *claim);
static char *write_steps(const struct flight *f, int reason);
static void conclude(struct flight *f, const char *verdict, int reason);
static void release_later(struct flight *f, int reason);
static bool is_good(const struct flight *f);
static void wait_for_answer(struct flight *f);
static void on_patience(struct loop_timer *timer);
static void record(struct flight *f);
static void write_failures(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count);
static void write_verdicts(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count);
static void on_recorded(struct batch_item *item, const struct fault *fault);
static void postpone(struct flight *f);
static void on_paused(struct loop_timer *timer);
static void on_retry(struct loop_timer *timer);
static void flight_free(struct flight *f);

/* Making. */

struct dispatch *dispatch_new(struct loop *loop, const struct dispatch_options *options)
{
	struct dispatch *d = memory_new(sizeof(*d));
	d->loop = loop;
	d->db = options->db;
	d->worker = options->worker;
	d->ports = options->ports;
	d->records = options->records;
	d->patience_ms = options->patience_ms ? options->patience_ms : PATIENCE_MS;
	d->puback = (struct batch_stage){ .name = "puback", .owner = d, .write = write_verdicts };
	d->failure = (struct batch_stage){ .name = "failure", .owner = d, .write = write_failures };
	d->settle = (struct batch_stage){
		.name = "settle", .owner = d, .finish = write_settle, .read_finish = read_settle
	};
	list_init(&d->acknowledged);
	list_init(&d->unrecorded);
	loop_timer_init(loop, &d->patience, on_patience);
	loop_timer_init(loop, &d->retry, on_retry);
	return d;
}

void dispatch_free(struct dispatch *d)
{
	if (!d)
		return;
	loop_timer_stop(&d->patience);
	loop_timer_stop(&d->retry);
	struct flight *f, *next;
	HASH_ITER (hh, d->flights, f, next) {
		flight_free(f);
	}
	free(d);
}

struct batch_stage *dispatch_puback_stage(struct dispatch *d)
{
	return &d->puback;
}

struct batch_stage *dispatch_failure_stage(struct dispatch *d)
{
	return &d->failure;
}

struct batch_stage *dispatch_settle_stage(struct dispatch *d)
{
	return &d->settle;
}

void dispatch_attach(struct dispatch *d, struct batch *batch)
{
	d->batch = batch;
}

/* Asking. */

size_t dispatch_in_hand(const struct dispatch *d)
{
	return HASH_COUNT(d->flights);
}

static struct flight *flight_find(const struct dispatch *d, const char *command_id)
{
	struct flight *f;
	HASH_FIND_STR(d->flights, command_id, f);
	return f;
}

bool dispatch_has(const struct dispatch *d, const char *command_id)
{
	return flight_find(d, command_id) != NULL;
}

static bool can_publish(const struct dispatch *d)
{
	return d->ports->can_publish(d->ports->owner);
}

const char *dispatch_publisher(const struct dispatch *d, const char *vehicle_id)
{
	const char *sibling = d->ports->publisher ? d->ports->publisher(d->ports->owner, vehicle_id) : NULL;
	if (sibling)
		return sibling;
	return can_publish(d) ? d->worker : NULL;
}

/* The claims, at the end of every transaction. */

static void write_settle(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit)
{
	struct dispatch *d = stage->owner;
	struct db_array vehicles = { 0 }, feeds = { 0 }, settled = { 0 };
	const char *const *ids;
	size_t count = batch_cut_vehicles(cut, &ids);

	for (size_t i = 0; i < count; i++) {
		char feed[FEED_NAME_SIZE];
		topic_feed_name(ids[i], feed);
		db_array_text(&vehicles, ids[i]);
		db_array_text(&feeds, feed);
		db_array_bool(&settled, batch_cut_leaves_settled(cut, i));
	}
	db_unit_add(unit, &SQL_settle_commands);
	db_param_array(unit, &vehicles);
	db_param_array(unit, &feeds);
	db_param_text(unit, d->worker);
	db_param_bool(unit, can_publish(d));
	db_param_open_ids(unit);
	db_param_array(unit, &settled);
}

static void read_settle(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, size_t first)
{
	const struct dispatch *d = stage->owner;

	(void)cut;
	for (size_t row = 0; row < db_rows(unit, first); row++) {
		dispatch_take(stage->owner, &(struct claim){ .worker = d->worker,
						    .vehicle_id = db_text(unit, first, row, 0),
						    .id = db_text(unit, first, row, 1),
						    .name = db_text(unit, first, row, 2),
						    .params = db_text(unit, first, row, 3),
						    .sealed_params = db_text(unit, first, row, 4),
						    .issued_at = db_text(unit, first, row, 5),
						    .expires_at = db_text(unit, first, row, 6),
						    .attempt = (int)db_int(unit, first, row, 7),
						    .expires_us = db_int(unit, first, row, 8),
						    .traceparent = db_text(unit, first, row, 9),
						    .session = db_text(unit, first, row, 10),
						    .protocol = db_text(unit, first, row, 11),
						    .number = (int)db_int(unit, first, row, 12),
						    .tracestate = db_text(unit, first, row, 13) });
	}
}

/* Out to the vehicle. */

void dispatch_take(struct dispatch *d, const struct claim *claim)
{
	bool is_own = strcmp(claim->worker, d->worker) == 0;
	if (is_own || !d->ports->hand_over(d->ports->owner, claim))
		dispatch_publish(d, claim);
}

void dispatch_publish(struct dispatch *d, const struct claim *claim)
{
	struct flight *f = memory_new(sizeof(*f));

	end_moot(d, claim);
	f->dispatch = d;
	list_init(&f->node);
	loop_timer_init(d->loop, &f->pause, on_paused);
	snprintf(f->vehicle_id, sizeof(f->vehicle_id), "%s", claim->vehicle_id);
	snprintf(f->id, sizeof(f->id), "%s", claim->id);
	snprintf(f->session, sizeof(f->session), "%s", claim->session ? claim->session : "");
	snprintf(f->worker, sizeof(f->worker), "%s", claim->worker);
	f->attempt = claim->attempt;
	f->number = claim->number;
	HASH_ADD_STR(d->flights, id, f);
	publish(f, claim);
}

/* A command that is claimed again has no claim of before: what waits to be recorded of that is recorded already, and nobody heard so, or
 * another did it. */
static void end_moot(struct dispatch *d, const struct claim *claim)
{
	struct flight *f = flight_find(d, claim->id);

	if (!f || !f->verdict || f->number > claim->number)
		return;
	bool waits = f->is_waiting || loop_timer_is_started(&f->pause) || !list_is_empty(&f->node);
	if (batch_withdraw(d->batch, &f->item) || waits) {
		flight_free(f);
		return;
	}
	HASH_DEL(d->flights, f);
	f->is_moot = true;
}

/* The context that the vehicle sees: the command's own where nobody gave one. */
static const char *context_of(struct flight *f, const struct claim *claim, char own[TRACEPARENT_SIZE])
{
	char span_id[SPAN_ID_SIZE], traceparent[TRACEPARENT_SIZE];
	const char *given = claim->traceparent;

	if (!given || !traceparent_read(given, strlen(given), traceparent)) {
		trace_of_command(f->id, own);
		traceparent_trace_id(own, f->trace_id);
		return own;
	}
	traceparent_trace_id(traceparent, f->trace_id);
	if (!f->dispatch->records || !traceparent_is_sampled(traceparent))
		return given;
	trace_span_id(f->id, TRACE_STEP_EXECUTE, f->attempt, span_id);
	traceparent_continue(traceparent, span_id, own);
	return own;
}

static void publish(struct flight *f, const struct claim *claim)
{
	struct dispatch *d = f->dispatch;
	const struct codec *codec = codec_of(claim->protocol);
	const struct codec_request request = {
		.vehicle_id = claim->vehicle_id,
		.id = claim->id,
		.name = claim->name,
		.params = claim->params,
		.sealed_params = claim->sealed_params,
		.issued_at = claim->issued_at,
		.expires_at = claim->expires_at,
		.attempt = claim->attempt,
	};
	char topic[TOPIC_SIZE], response_topic[TOPIC_SIZE], own[TRACEPARENT_SIZE];
	const char *traceparent = context_of(f, claim, own);
	struct text payload = { 0 };

	assert(codec); /* a vehicle has one of those that there are */
	codec->write_topics(&request, topic, response_topic);
	codec->write_request(&request, &payload);
	bool fails = FAILPOINT("dispatch.publish");
	/* The last look before it leaves: the worker may have stood still, for longer than its leases or the command last. */
	f->published_us = db_now_us(d->db);
	int64_t left_us = claim->expires_us - f->published_us;
	if (fails || left_us < LEFT_MIN_US || !can_publish(d)) {
		text_free(&payload);
		conclude(f, "release", -1);
		return;
	}
	f->expiry_s = left_us < 1000000 ? 1 : (uint32_t)(left_us / 1000000);
	struct mqtt_publish message = {
		.topic = topic,
		.payload = payload.data,
		.len = payload.len,
		.qos = 1,
		.response_topic = response_topic,
		.correlation = f->id,
		.content_type = "application/json",
		.expiry_seconds = f->expiry_s,
		.user = { { "name", claim->name }, { "traceparent", traceparent },
			{ claim->tracestate ? "tracestate" : NULL, claim->tracestate } },
	};
	int mid = d->ports->publish(d->ports->owner, &message);
	text_free(&payload);
	FAILPOINT("dispatch.published");
	if (mid <= 0) {
		release_later(f, -1);
		return;
	}
	assert(mid < MID_COUNT && !d->by_mid[mid]);
	f->mid = mid;
	d->by_mid[mid] = f;
	metric_add(METRIC_COMMANDS_PUBLISHED, 1);
	measure_publish(f, claim);
	log_debug("dispatch", "a request went out", LOG_TEXT("vehicle_id", f->vehicle_id),
		LOG_TEXT("command_id", f->id), LOG_TEXT("trace_id", f->trace_id), LOG_INT("attempt", f->attempt));
}

/* Where the publish of that command is kept, or another's that came later. */
static struct recent *recent_of(struct dispatch *d, const char *id)
{
	return &d->recent[crc32_of(id, strlen(id)) % RECENT_COUNT];
}

static void measure_publish(const struct flight *f, const struct claim *claim)
{
	struct recent *recent = recent_of(f->dispatch, f->id);
	int64_t issued_us;

	if (f->attempt == 1 && rfc3339_read(claim->issued_at, &issued_us))
		metric_observe(METRIC_PUBLISH_SECONDS, f->published_us - issued_us);
	memcpy(recent->id, f->id, sizeof(recent->id));
	recent->published_us = loop_monotonic_us(f->dispatch->loop);
}

void dispatch_measure(struct dispatch *d, const char *command_id)
{
	const struct recent *recent = recent_of(d, command_id);

	if (strcmp(recent->id, command_id) == 0)
		metric_observe(METRIC_ANSWER_SECONDS, loop_monotonic_us(d->loop) - recent->published_us);
}

/* What the broker says. */

void dispatch_on_puback(struct dispatch *d, int mid, int reason)
{
	struct flight *f = mid > 0 && mid < MID_COUNT ? d->by_mid[mid] : NULL;
	if (!f)
		return; /* another's publish: a verdict to a vehicle, an inbox message */
	FAILPOINT("dispatch.puback");
	d->by_mid[mid] = NULL;
	metric_observe(METRIC_PUBACK_SECONDS, db_now_us(d->db) - f->published_us);
	log_debug("dispatch", "the broker has it", LOG_TEXT("vehicle_id", f->vehicle_id), LOG_TEXT("command_id", f->id),
		LOG_TEXT("trace_id", f->trace_id), LOG_INT("reason_code", reason));
	if (reason == REASON_NO_MATCHING_SUBSCRIBERS) {
		metric_add(METRIC_COMMANDS_DISPROVED, 1);
		d->ports->disprove(d->ports->owner, f->vehicle_id, f->session);
		conclude(f, "nobody", reason);
	} else if (reason >= REASON_ERROR) {
		release_later(f, reason);
	} else {
		conclude(f, "puback", reason);
	}
}

/* At once it would be claimed again by the very transaction that releases it, and refused again. */
static void release_later(struct flight *f, int reason)
{
	f->verdict = "release";
	f->steps = write_steps(f, reason);
	loop_timer_start(&f->pause, REFUSED_MS);
}

static void on_paused(struct loop_timer *timer)
{
	record(container_of(timer, struct flight, pause));
}

void dispatch_on_link_down(struct dispatch *d)
{
	struct flight *f, *next;
	HASH_ITER (hh, d->flights, f, next) {
		if (f->verdict)
			continue;
		d->by_mid[f->mid] = NULL;
		conclude(f, "lose", -1);
	}
}

/* The steps of the timeline: published when, and what the broker said when. */
static char *write_steps(const struct flight *f, int reason)
{
	struct text out = { 0 };
	char at[RFC3339_SIZE];

	text_add(&out, "[");
	if (f->mid > 0) {
		rfc3339_write(f->published_us, at);
		text_addf(&out,
			"{\"time\":\"%s\",\"step\":\"published\",\"detail\":{\"attempt\":%d,\"expiry_seconds\":%u}}",
			at, f->attempt, f->expiry_s);
	}
	if (reason >= 0) {
		rfc3339_write(db_now_us(f->dispatch->db), at);
		text_addf(&out, ",{\"time\":\"%s\",\"step\":\"puback\",\"detail\":{\"reason_code\":%d}}", at, reason);
	}
	text_add(&out, "]");
	return text_take(&out);
}

static void conclude(struct flight *f, const char *verdict, int reason)
{
	f->verdict = verdict;
	f->steps = write_steps(f, reason);
	if (is_good(f))
		wait_for_answer(f);
	else
		record(f);
}

/* A good PUBACK waits for the answer. */

static bool is_good(const struct flight *f)
{
	return strcmp(f->verdict, "puback") == 0;
}

static void wait_for_answer(struct flight *f)
{
	struct dispatch *d = f->dispatch;

	f->is_waiting = true;
	f->acknowledged_ms = loop_monotonic_ms(d->loop);
	list_append(&d->acknowledged, &f->node);
	if (!loop_timer_is_started(&d->patience))
		loop_timer_start(&d->patience, d->patience_ms);
}

static bool may_wait_on(const struct dispatch *d, const struct flight *f)
{
	int64_t waited_ms = loop_monotonic_ms(d->loop) - f->acknowledged_ms;
	int64_t busy_ms = BUSY_TRANSACTIONS * batch_pace_ms(d->batch);

	if (busy_ms > BUSY_PATIENCE_MS)
		busy_ms = BUSY_PATIENCE_MS;
	return !batch_is_idle(d->batch) && waited_ms < busy_ms;
}

static void on_patience(struct loop_timer *timer)
{
	struct dispatch *d = container_of(timer, struct dispatch, patience);

	while (!list_is_empty(&d->acknowledged)) {
		struct flight *f = container_of(d->acknowledged.next, struct flight, node);
		if (may_wait_on(d, f)) {
			loop_timer_start(&d->patience, d->patience_ms);
			return;
		}
		list_remove(&f->node);
		if (!f->is_answered)
			record(f);
	}
}

void dispatch_await(struct dispatch *d, const char *command_id)
{
	struct flight *f = flight_find(d, command_id);
	if (f)
		f->is_answered = true;
}

struct flight *dispatch_carry(struct dispatch *d, const char *command_id)
{
	struct flight *f = flight_find(d, command_id);

	if (!f || !f->verdict || !is_good(f) || f->is_carried)
		return NULL;
	if (!f->is_waiting && !batch_withdraw(d->batch, &f->item))
		return NULL;
	f->is_waiting = false;
	f->is_carried = true;
	list_remove(&f->node);
	return f;
}

const char *dispatch_steps(const struct flight *f)
{
	return f->steps;
}

void dispatch_carried(struct flight *f, bool written)
{
	assert(f->is_carried);
	f->is_answered = f->is_carried = false;
	if (written || f->is_moot)
		flight_free(f);
	else
		record(f);
}

void dispatch_answered(struct dispatch *d, const char *command_id)
{
	struct flight *f = flight_find(d, command_id);

	if (!f || f->is_carried)
		return;
	f->is_answered = false;
	if (f->is_waiting) {
		list_remove(&f->node);
		record(f);
	}
}

/* The verdicts, into the database. */

static void record(struct flight *f)
{
	struct dispatch *d = f->dispatch;

	f->is_waiting = false;
	f->item = (struct batch_item){
		.stage = is_good(f) ? &d->puback : &d->failure, .vehicle_id = f->vehicle_id, .on_done = on_recorded
	};
	list_init(&f->item.node);
	if (batch_submit(d->batch, &f->item) != NULL)
		postpone(f);
}

static void postpone(struct flight *f)
{
	struct dispatch *d = f->dispatch;

	list_append(&d->unrecorded, &f->node);
	if (!loop_timer_is_started(&d->retry))
		loop_timer_start(&d->retry, RECORD_RETRY_MS);
}

static void on_retry(struct loop_timer *timer)
{
	struct dispatch *d = container_of(timer, struct dispatch, retry);
	struct list again;

	list_init(&again);
	list_append_all(&again, &d->unrecorded);
	while (!list_is_empty(&again))
		record(container_of(list_take_first(&again), struct flight, node));
}

static struct flight *flight_of(struct batch_item *item)
{
	return container_of(item, struct flight, item);
}

static void write_verdicts(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	struct db_array vehicles = { 0 }, ids = { 0 }, attempts = { 0 }, verdicts = { 0 }, steps = { 0 },
			workers = { 0 }, numbers = { 0 };

	(void)stage;
	(void)cut;
	for (size_t i = 0; i < count; i++) {
		const struct flight *f = flight_of(items[i]);
		db_array_text(&vehicles, f->vehicle_id);
		db_array_text(&ids, f->id);
		db_array_int(&attempts, f->attempt);
		db_array_text(&verdicts, f->verdict);
		db_array_text(&steps, f->steps);
		db_array_text(&workers, f->worker);
		db_array_int(&numbers, f->number);
	}
	db_unit_add(unit, &SQL_puback);
	db_param_array(unit, &vehicles);
	db_param_array(unit, &ids);
	db_param_array(unit, &attempts);
	db_param_array(unit, &verdicts);
	db_param_array(unit, &steps);
	db_param_array(unit, &workers);
	db_param_array(unit, &numbers);
}

/* What comes back unsent may not be wanted any more. */
static void write_failures(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	struct db_array vehicles = { 0 };

	write_verdicts(stage, cut, unit, items, count);
	for (size_t i = 0; i < count; i++)
		db_array_text(&vehicles, items[i]->vehicle_id);
	db_unit_add(unit, &SQL_take_back);
	db_param_array(unit, &vehicles);
}

static void on_recorded(struct batch_item *item, const struct fault *fault)
{
	struct flight *f = flight_of(item);

	if (fault && !batch_has_given_up(fault) && !f->is_moot)
		postpone(f);
	else
		flight_free(f);
}

static void flight_free(struct flight *f)
{
	if (!f->is_moot)
		HASH_DEL(f->dispatch->flights, f);
	list_remove(&f->node);
	loop_timer_stop(&f->pause);
	free(f->steps);
	free(f);
}
