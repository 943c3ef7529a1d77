/* reachability.c - brings what is heard of a vehicle's presence into the batch. */
#include "state/reachability.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/failpoint.h"
#include "base/list.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/mqtt/link.h"
#include "base/receipt.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "sql/statements.h"
#include "state/lifecycle_event.h"

#define LOOK_MS 500
#define LOOK_MAX 1000
#define RESYNC_MS 60000	      /* an end that takes longer is no answer to our question */
#define RESYNC_REFUSALS_MAX 3 /* of a part, in a row: then that is given up … */
#define RESYNC_AGAIN_MS 60000 /* … and the broker is asked again: each time it names a whole fleet */
#define RESYNC_PART 2000      /* vehicles at once: who comes next to the connection waits for no more of them */
#define PART_AGAIN_MS 1000    /* after one that failed */

/* The broker has named all: who was not named is looked at, in parts. The feed waits for the first of them alone, so that whoever returns
 * meanwhile is heard between them. */
struct unnamed {
	enum {
		UNNAMED_NONE,	 /* there is nobody to look at */
		UNNAMED_WAITING, /* for the events before the end */
		UNNAMED_ASKED,	 /* a part is with the database */
		UNNAMED_PAUSING, /* a part has failed, and is tried again */
	} state;
	bool is_outdated;	 /* a part that an older answer asked for is with the database */
	struct receipt *receipt; /* of the end, until the first part is done */
	int64_t began_us;	 /* when the question was asked, by the database's clock */
	char lease[24];
	int64_t epoch;
	char after[65];	   /* the last vehicle that was looked at; "": none was */
	int64_t count;	   /* of those that were not named */
	unsigned refusals; /* in a row */
};

enum stage { EVENTS, DISPROOFS, PROOFS, VERIFICATIONS, QUIETS };

struct reachability {
	struct loop *loop;
	struct reachability_options options;
	struct batch *batch;
	struct batch_stage stages[REACHABILITY_STAGES];
	struct loop_timer look;
	struct receipt looking; /* open while a look is under way */
	bool stopped;
	size_t events_under_way;
	void (*on_question)(void *owner, const char *text);
	void *question_owner;
	int64_t resync_began_us, resync_began_ms; /* database clock; monotonic, 0: none is under way */
	char resync_question[96];
	struct unnamed unnamed;
	struct loop_timer resync; /* asks again, or for the next part */
};

/* One thing heard of one vehicle. */
struct heard {
	struct reachability *owner;
	struct batch_item item;
	struct receipt *receipt; /* NULL: nobody waits */
	struct lifecycle_event event;
	bool is_late; /* a proof from before the feed was read */
};

static void submit(struct reachability *r, enum stage stage, struct heard *h, struct receipt *receipt);
static void on_item_done(struct batch_item *item, const struct fault *fault);
static bool may_be_new(const struct batch_item *item, const char **ret_asker);
static void write_events(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count);
static void write_disproofs(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count);
static void write_proofs(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count);
static void write_verifications(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count);
static void write_quiets(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count);
static void on_look(struct loop_timer *timer);
static void on_found(struct db_unit *unit, void *context, const struct fault *fault);
static void on_look_over(struct receipt *looking);
static void on_begun(struct db_unit *unit, void *context, const struct fault *fault);
static void look_for_unnamed(struct reachability *r);
static void stop_pausing(struct reachability *r);
static void ask_part(struct reachability *r);
static void on_part(struct db_unit *unit, void *context, const struct fault *fault);
static void on_resync_due(struct loop_timer *timer);

struct reachability *reachability_new(struct loop *loop, const struct reachability_options *options)
{
	struct reachability *r = memory_new(sizeof(*r));

	r->loop = loop;
	r->options = *options;
	r->stages[EVENTS] = (struct batch_stage){
		.name = "lifecycle", .owner = r, .may_be_new = may_be_new, .write = write_events
	};
	r->stages[DISPROOFS] = (struct batch_stage){ .name = "disproof", .owner = r, .write = write_disproofs };
	r->stages[PROOFS] = (struct batch_stage){ .name = "proof", .owner = r, .write = write_proofs };
	r->stages[VERIFICATIONS] = (struct batch_stage){ .name = "verify", .owner = r, .write = write_verifications };
	r->stages[QUIETS] = (struct batch_stage){ .name = "quiet", .owner = r, .write = write_quiets };
	loop_timer_init(loop, &r->look, on_look);
	loop_timer_init(loop, &r->resync, on_resync_due);
	return r;
}

void reachability_free(struct reachability *r)
{
	if (r) {
		loop_timer_stop(&r->look);
		loop_timer_stop(&r->resync);
	}
	free(r);
}

void reachability_stages(struct reachability *r, struct batch_stage *ret[REACHABILITY_STAGES])
{
	for (size_t i = 0; i < REACHABILITY_STAGES; i++)
		ret[i] = &r->stages[i];
}

void reachability_attach(struct reachability *r, struct batch *batch)
{
	r->batch = batch;
}

/* What is heard. */

static struct heard *heard_new(struct reachability *r, const char *vehicle_id)
{
	struct heard *h = memory_new(sizeof(*h));
	h->owner = r;
	snprintf(h->event.vehicle_id, sizeof(h->event.vehicle_id), "%.64s", vehicle_id);
	return h;
}

static void submit(struct reachability *r, enum stage stage, struct heard *h, struct receipt *receipt)
{
	h->item.stage = &r->stages[stage];
	h->item.vehicle_id = h->event.vehicle_id;
	h->item.on_done = on_item_done;
	h->receipt = receipt;
	list_init(&h->item.node);
	if (receipt)
		receipt_open(receipt);
	if (stage == EVENTS)
		r->events_under_way++;
	const struct fault *fault = batch_submit(r->batch, &h->item);
	if (fault)
		on_item_done(&h->item, fault);
}

static struct heard *heard_of(struct batch_item *item)
{
	return container_of(item, struct heard, item);
}

static void on_item_done(struct batch_item *item, const struct fault *fault)
{
	struct heard *h = heard_of(item);
	struct reachability *r = h->owner;

	if (item->stage == &r->stages[EVENTS]) {
		if (!fault)
			FAILPOINT("lifecycle.committed");
		r->events_under_way--;
	}
	if (h->receipt)
		receipt_close(h->receipt, batch_has_given_up(fault) ? NULL : fault);
	free(h);
	look_for_unnamed(r);
}

void reachability_receive(
	struct reachability *r, const struct batch_fence *fence, const struct mqtt_message *m, struct receipt *receipt)
{
	struct lifecycle_event events[LIFECYCLE_EVENTS_MAX];
	bool malformed;
	int64_t now_ms = db_now_us(r->options.writer) / 1000;
	size_t count = lifecycle_events_read(r->options.source, m, now_ms, events, &malformed);

	metric_add(METRIC_LIFECYCLE_EVENTS, 1);
	if (malformed) {
		metric_add(METRIC_LIFECYCLE_MALFORMED, 1);
		log_debug("state", "a lifecycle event that cannot be read", LOG_TEXT("topic", m->topic));
	}
	for (size_t i = 0; i < count; i++) {
		if (!strstr(events[i].kind, "connected") && !events[i].protocols)
			continue; /* of another topic */
		struct heard *h = heard_new(r, events[i].vehicle_id);
		h->event = events[i];
		h->item.fence = fence;
		submit(r, EVENTS, h, receipt);
		FAILPOINT("lifecycle.amid");
	}
}

void reachability_disprove(struct reachability *r, const char *vehicle_id, const char *session)
{
	struct heard *h = heard_new(r, vehicle_id);
	snprintf(h->event.session, sizeof(h->event.session), "%s", session);
	submit(r, DISPROOFS, h, NULL);
}

void reachability_prove(struct reachability *r, const struct batch_fence *fence, const char *vehicle_id, bool is_late,
	struct receipt *receipt)
{
	struct heard *h = heard_new(r, vehicle_id);
	h->item.fence = fence;
	h->is_late = is_late;
	submit(r, PROOFS, h, receipt);
}

/* Into the transaction. */

static struct db_array vehicles_of(struct batch_item **items, size_t count)
{
	struct db_array vehicles = { 0 };
	for (size_t i = 0; i < count; i++)
		db_array_text(&vehicles, items[i]->vehicle_id);
	return vehicles;
}

/* The broker announces vehicles before they are registered. */
static bool may_be_new(const struct batch_item *item, const char **ret_asker)
{
	(void)item;
	*ret_asker = NULL;
	return true;
}

static void write_events(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	struct reachability *r = stage->owner;
	struct db_array vehicles = vehicles_of(items, count), kinds = { 0 }, sessions = { 0 }, versions = { 0 },
			times = { 0 }, reasons = { 0 }, protocols = { 0 };

	(void)cut;
	for (size_t i = 0; i < count; i++) {
		const struct lifecycle_event *e = &heard_of(items[i])->event;
		db_array_text(&kinds, e->kind);
		db_array_text(&sessions, e->session);
		db_array_int(&versions, e->version);
		db_array_int(&times, e->timestamp_ms);
		db_array_text(&reasons, e->reason[0] ? e->reason : NULL);
		db_array_text(&protocols, e->protocols);
	}
	db_unit_add(unit, &SQL_lifecycle_apply);
	db_param_array(unit, &vehicles);
	db_param_array(unit, &kinds);
	db_param_array(unit, &sessions);
	db_param_array(unit, &versions);
	db_param_array(unit, &times);
	db_param_array(unit, &reasons);
	db_param_int(unit, r->options.verify_delay_ms);
	db_param_array(unit, &protocols);
}

static void write_disproofs(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	struct db_array vehicles = vehicles_of(items, count), sessions = { 0 };

	(void)stage;
	(void)cut;
	for (size_t i = 0; i < count; i++)
		db_array_text(&sessions, heard_of(items[i])->event.session);
	db_unit_add(unit, &SQL_disproof_apply);
	db_param_array(unit, &vehicles);
	db_param_array(unit, &sessions);
}

static void write_proofs(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	struct reachability *r = stage->owner;
	struct db_array prompt = { 0 }, late = { 0 };

	(void)cut;
	for (size_t i = 0; i < count; i++)
		db_array_text(heard_of(items[i])->is_late ? &late : &prompt, items[i]->vehicle_id);
	db_unit_add(unit, &SQL_proof_apply);
	db_param_array(unit, &prompt);
	db_param_int(unit, r->options.verify_delay_ms);
	db_param_array(unit, &late);
}

static void write_verifications(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	struct db_array vehicles = vehicles_of(items, count);

	(void)stage;
	(void)cut;
	db_unit_add(unit, &SQL_verify_apply);
	db_param_array(unit, &vehicles);
}

static void write_quiets(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	struct db_array vehicles = vehicles_of(items, count);

	(void)stage;
	(void)cut;
	db_unit_add(unit, &SQL_quiet_apply);
	db_param_array(unit, &vehicles);
}

/* Verification, and flapping vehicles' minute of quiet: rows with a due time, which every worker looks for. */

void reachability_start(struct reachability *r)
{
	loop_timer_start(&r->look, LOOK_MS);
}

void reachability_stop(struct reachability *r)
{
	r->stopped = true;
	loop_timer_stop(&r->look);
	loop_timer_stop(&r->resync);
}

static const struct {
	const char *timer;
	enum stage stage;
} looked_for[] = {
	{ "verify", VERIFICATIONS },
	{ "quiet", QUIETS },
};

static void on_look(struct loop_timer *timer)
{
	struct reachability *r = container_of(timer, struct reachability, look);
	struct db_unit *unit = db_unit_new(r->options.reader, on_found, r);

	receipt_init(&r->looking, on_look_over);
	for (size_t i = 0; i < sizeof(looked_for) / sizeof(looked_for[0]); i++) {
		db_unit_add(unit, &SQL_due_timers);
		db_param_text(unit, looked_for[i].timer);
		db_param_int(unit, LOOK_MAX);
		db_param_int(unit, 0);
	}
	db_unit_submit(unit);
}

static void on_found(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct reachability *r = context;

	for (size_t i = 0; !fault && !r->stopped && i < sizeof(looked_for) / sizeof(looked_for[0]); i++) {
		for (size_t row = 0; row < db_rows(unit, i); row++)
			submit(r, looked_for[i].stage, heard_new(r, db_text(unit, i, row, 0)), &r->looking);
	}
	receipt_close(&r->looking, fault);
}

static void on_look_over(struct receipt *looking)
{
	struct reachability *r = container_of(looking, struct reachability, looking);
	if (!r->stopped)
		loop_timer_start(&r->look, LOOK_MS);
}

/* Resync. */

/* The database says itself when it began: where our guess of its clock ran ahead by more than the broker takes, a whole fleet that was
 * named would count as not named. */
void reachability_resync_begin(struct reachability *r, void (*on_question)(void *owner, const char *text), void *owner)
{
	struct db_unit *unit = db_unit_new(r->options.writer, on_begun, r);

	stop_pausing(r);
	r->on_question = on_question;
	r->question_owner = owner;
	db_unit_add(unit, &SQL_resync_begin);
	db_unit_submit(unit);
}

static void on_begun(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct reachability *r = context;

	if (!fault) {
		r->resync_began_us = db_int(unit, 0, 0, 0);
		r->resync_began_ms = loop_monotonic_ms(r->loop);
		snprintf(r->resync_question, sizeof(r->resync_question), "{\"worker\":\"%s\",\"asked\":%" PRId64 "}",
			r->options.worker, r->resync_began_us);
	}
	r->on_question(r->question_owner, fault ? NULL : r->resync_question);
}

static bool is_answer(const struct reachability *r, const struct mqtt_message *m)
{
	return r->resync_began_ms != 0 && loop_monotonic_ms(r->loop) - r->resync_began_ms <= RESYNC_MS &&
	       m->len == strlen(r->resync_question) && memcmp(m->payload, r->resync_question, m->len) == 0;
}

bool reachability_resync_end(
	struct reachability *r, const struct batch_fence *fence, const struct mqtt_message *m, struct receipt *receipt)
{
	struct unnamed *u = &r->unnamed;

	if (!is_answer(r, m) || u->receipt)
		return false;
	receipt_open(receipt);
	stop_pausing(r);
	u->is_outdated = u->is_outdated || u->state == UNNAMED_ASKED;
	u->state = UNNAMED_WAITING;
	u->receipt = receipt;
	u->began_us = r->resync_began_us;
	snprintf(u->lease, sizeof(u->lease), "%s", fence->lease);
	u->epoch = fence->epoch;
	u->after[0] = '\0';
	u->count = 0;
	r->resync_began_ms = 0;
	look_for_unnamed(r);
	return true;
}

/* Once the events before the end are recorded. */
static void look_for_unnamed(struct reachability *r)
{
	if (r->unnamed.state == UNNAMED_WAITING && !r->unnamed.is_outdated && r->events_under_way == 0)
		ask_part(r);
}

/* Neither a part nor the question is asked again by itself: what comes now does either. */
static void stop_pausing(struct reachability *r)
{
	loop_timer_stop(&r->resync);
	if (r->unnamed.state == UNNAMED_PAUSING)
		r->unnamed.state = UNNAMED_NONE;
}

static void ask_part(struct reachability *r)
{
	struct unnamed *u = &r->unnamed;
	struct db_unit *unit = db_unit_new(r->options.writer, on_part, r);

	u->state = UNNAMED_ASKED;
	db_unit_add(unit, &SQL_resync_end);
	db_param_int(unit, u->began_us);
	/* the broker may have been restarted, and the whole fleet be on its way back */
	db_param_int(unit, r->options.return_delay_ms > r->options.verify_delay_ms ? r->options.return_delay_ms
										   : r->options.verify_delay_ms);
	db_param_text(unit, u->lease);
	db_param_text(unit, r->options.worker);
	db_param_int(unit, u->epoch);
	db_param_text(unit, u->after);
	db_param_int(unit, RESYNC_PART);
	db_unit_submit(unit);
}

/* Whether there may be more of them. */
static bool read_part(struct unnamed *u, const struct db_unit *unit)
{
	if (db_int(unit, 0, 0, 0) > 0)
		snprintf(u->after, sizeof(u->after), "%s", db_text(unit, 0, 0, 1));
	u->count += db_int(unit, 0, 0, 2);
	return db_int(unit, 0, 0, 0) == RESYNC_PART;
}

/* Whether to try it once more is of no use: it cannot be done, or the server has refused it too often. */
static bool is_hopeless(struct unnamed *u, const struct db_unit *unit, const struct fault *fault)
{
	u->refusals = fault && db_unit_sqlstate(unit)[0] ? u->refusals + 1 : 0;
	return fault == &FAULT_STATEMENT || u->refusals >= RESYNC_REFUSALS_MAX;
}

static void say_end(const struct unnamed *u, const struct db_unit *unit, bool hopeless)
{
	if (hopeless)
		log_error("state", "who was not named is not looked at; the broker is asked again",
			LOG_TEXT("sqlstate", db_unit_sqlstate(unit)), LOG_TEXT("detail", db_unit_message(unit)));
	else
		log_info("state", "the broker has named who is there", LOG_INT("not_named", u->count));
}

/* A first part that fails comes again with the feed, which connects anew and has the broker asked; any other is tried again here. */
static void go_on(struct reachability *r, const struct fault *fault, bool is_first, bool has_more, bool hopeless)
{
	if (r->stopped) /* who reads the feed next asks for itself */
		return;
	if (has_more) {
		ask_part(r);
	} else if (hopeless) {
		loop_timer_start(&r->resync, RESYNC_AGAIN_MS);
	} else if (fault && !is_first) {
		r->unnamed.state = UNNAMED_PAUSING;
		loop_timer_start(&r->resync, PART_AGAIN_MS);
	}
}

static void on_part(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct reachability *r = context;
	struct unnamed *u = &r->unnamed;

	if (u->is_outdated) {
		u->is_outdated = false;
		look_for_unnamed(r);
		return;
	}
	struct receipt *receipt = u->receipt;
	bool has_more = !fault && read_part(u, unit), hopeless = is_hopeless(u, unit, fault);
	u->receipt = NULL;
	u->state = UNNAMED_NONE;
	if (hopeless || (!fault && !has_more))
		say_end(u, unit, hopeless);
	go_on(r, fault, receipt, has_more, hopeless);
	if (receipt)
		receipt_close(receipt, hopeless ? NULL : fault);
}

static void on_resync_due(struct loop_timer *timer)
{
	struct reachability *r = container_of(timer, struct reachability, resync);

	if (r->unnamed.state == UNNAMED_PAUSING)
		ask_part(r);
	else
		reachability_resync_begin(r, r->on_question, r->question_owner);
}
