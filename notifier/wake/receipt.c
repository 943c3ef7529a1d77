/* receipt.c - delivery receipts, from providers and from their callbacks, on whichever worker they come.
 *
 *   receipt ─ which wake-up? ─┬─ found ─ batch ─ recorded
 *                             └─ not (yet): it may have overtaken the outcome ─ again … ─ not found */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "notifier/wake/wake_internal.h"
#include "sql/batch.h"
#include "sql/statements.h"

#define RECEIPTS_MAX 1000
#define AGAIN_MS 300
#define TRIES_MAX 10

/* One that a provider of this worker told. */
struct told_receipt {
	struct wake_receipt receipt;
	struct sms_news *news; /* the provider's */
};

static void find(struct wake_receipt *r);
static void on_found(struct db_unit *unit, void *context, const struct fault *fault);
static void try_again(struct wake_receipt *r, const struct fault *fault);
static void on_again(struct loop_timer *timer);
static void on_recorded(struct batch_item *item, const struct fault *fault);
static void finish(struct wake_receipt *r, const struct fault *fault);
static void write_receipts(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count);

void receipts_init(struct wake *w)
{
	w->stages[WAKE_RECEIPT] = (struct batch_stage){
		.name = "wake receipt", .owner = w, .write = write_receipts, .read = wake_read_told
	};
	list_init(&w->receipts);
}

static struct wake_receipt *receipt_of(struct batch_item *item)
{
	return container_of(item, struct wake_receipt, item);
}

/* What waits for another try hears it now. */
void receipts_stop(struct wake *w)
{
	list_for_each_safe (node, &w->receipts) {
		struct wake_receipt *r = container_of(node, struct wake_receipt, node);
		if (!loop_timer_is_started(&r->again))
			continue;
		loop_timer_stop(&r->again);
		finish(r, &FAULT_DRAINING);
	}
}

/* Taking. */

static void on_told_done(struct wake_receipt *r, const struct fault *fault)
{
	struct told_receipt *t = container_of(r, struct told_receipt, receipt);
	struct sms_news *news = t->news;

	if (fault)
		log_debug("wake", "a receipt is not on record", LOG_TEXT("provider", r->receipt.provider),
			LOG_TEXT("fault", fault->name));
	free(t);
	news->on_done(news, fault);
}

void receipts_take(void *owner, struct sms_news *news)
{
	struct told_receipt *t = memory_new(sizeof(*t));

	t->news = news;
	t->receipt.receipt = news->receipt;
	t->receipt.on_done = on_told_done;
	wake_receive(owner, &t->receipt);
}

void wake_receive(struct wake *w, struct wake_receipt *r)
{
	r->wake = w;
	r->tries = 0;
	loop_timer_init(w->loop, &r->again, on_again);
	list_init(&r->node);
	list_append(&w->receipts, &r->node);
	w->receipt_count++;
	if (w->receipt_count > RECEIPTS_MAX) { /* heard from the loop, as everything */
		r->tries = TRIES_MAX;
		loop_timer_start(&r->again, 0);
		return;
	}
	find(r);
}

static void find(struct wake_receipt *r)
{
	struct db_unit *unit = db_unit_new(r->wake->options.reader, on_found, r);

	db_unit_add(unit, &SQL_receipt_find);
	db_param_text(unit, r->receipt.provider);
	db_param_text(unit, r->receipt.message_id);
	db_unit_submit(unit);
}

static void on_found(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct wake_receipt *r = context;
	struct wake *w = r->wake;

	if (fault || db_rows(unit, 0) == 0) {
		try_again(r, fault ? fault : &FAULT_NOT_FOUND);
		return;
	}
	snprintf(r->vehicle_id, sizeof(r->vehicle_id), "%s", db_text(unit, 0, 0, 0));
	snprintf(r->id, sizeof(r->id), "%s", db_text(unit, 0, 0, 1));
	r->item = (struct batch_item){
		.stage = &w->stages[WAKE_RECEIPT], .vehicle_id = r->vehicle_id, .on_done = on_recorded
	};
	list_init(&r->item.node);
	const struct fault *refused = batch_submit(w->batch, &r->item);
	if (refused)
		try_again(r, refused);
}

static void try_again(struct wake_receipt *r, const struct fault *fault)
{
	if (r->wake->stopped || ++r->tries >= TRIES_MAX)
		finish(r, fault);
	else
		loop_timer_start(&r->again, AGAIN_MS);
}

static void on_again(struct loop_timer *timer)
{
	struct wake_receipt *r = container_of(timer, struct wake_receipt, again);

	if (r->tries >= TRIES_MAX)
		finish(r, &FAULT_OVERLOADED);
	else
		find(r);
}

static void finish(struct wake_receipt *r, const struct fault *fault)
{
	list_remove(&r->node);
	r->wake->receipt_count--;
	if (fault == &FAULT_NOT_FOUND)
		metric_add(METRIC_WAKEUP_RECEIPTS_UNKNOWN, 1);
	r->on_done(r, fault);
}

/* Into the transaction. */

static void write_receipts(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	struct db_array vehicles = { 0 }, ids = { 0 }, delivered = { 0 }, reasons = { 0 };

	(void)cut;
	for (size_t i = 0; i < count; i++) {
		const struct wake_receipt *r = receipt_of(items[i]);
		db_array_text(&vehicles, r->vehicle_id);
		db_array_text(&ids, r->id);
		db_array_bool(&delivered, r->receipt.delivered);
		db_array_text(&reasons, r->receipt.reason);
	}
	db_unit_add(unit, &SQL_wake_receipt);
	db_param_array(unit, &vehicles);
	db_param_array(unit, &ids);
	db_param_array(unit, &delivered);
	db_param_array(unit, &reasons);
	wake_add_policy(stage->owner, unit);
}

static void on_recorded(struct batch_item *item, const struct fault *fault)
{
	struct wake_receipt *r = receipt_of(item);

	if (fault && !batch_has_given_up(fault) && fault != &FAULT_STORAGE_UNKNOWN)
		try_again(r, fault);
	else
		finish(r, fault);
}
