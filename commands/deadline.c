/* deadline.c - looks for what is due, and hands it to the batch.
 *
 *   timer ─ look (two reads) ─ an item for each ─ batch ─ all settled ─ timer, at once when there was more */
#include "commands/deadline.h"

#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/receipt.h"
#include "commands/dispatch.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "sql/statements.h"

#define LOOK_MS 500
#define LOOK_MAX 256  /* of each kind in one look */
#define CLAIM_MS 2000 /* when a claim is due, from its making: command_due() */
#define OFFER_MS 1000 /* likewise what could not be claimed: settle_claims() */

struct deadline {
	struct loop *loop;
	struct db *reader;
	struct batch *batch;
	const char *worker;
	const struct dispatch *dispatch;
	struct batch_stage due, offer;
	struct loop_timer timer;
	struct receipt look; /* open while a look is under way */
	bool more, stopped;
	bool has_died;	     /* somebody, since the last look began */
	bool looks_for_dead; /* this look, for what they had claimed */
	int64_t returned_ms; /* monotonic: when it could publish again; 0: it could all along */
};

/* One command or, with an empty id, one vehicle that is to be looked at. */
struct due {
	struct deadline *owner;
	struct batch_item item;
	char vehicle_id[65], id[UUID_TEXT_SIZE];
};

static void on_timer(struct loop_timer *timer);
static void on_found(struct db_unit *unit, void *context, const struct fault *fault);
static void submit_all(struct deadline *d, struct db_unit *unit, size_t statement, struct batch_stage *stage);
static void on_item_done(struct batch_item *item, const struct fault *fault);
static void on_look_over(struct receipt *look);
static void write_due(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items,
	size_t count);
static void read_due(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items,
	size_t count, size_t first);
static void write_offers(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count);

struct deadline *deadline_new(struct loop *loop, struct db *reader, const char *worker, const struct dispatch *dispatch)
{
	struct deadline *d = memory_new(sizeof(*d));
	d->loop = loop;
	d->reader = reader;
	d->worker = worker;
	d->dispatch = dispatch;
	d->due = (struct batch_stage){ .name = "deadline", .owner = d, .write = write_due, .read = read_due };
	d->offer = (struct batch_stage){ .name = "offer", .owner = d, .write = write_offers };
	loop_timer_init(loop, &d->timer, on_timer);
	return d;
}

void deadline_free(struct deadline *d)
{
	if (d)
		loop_timer_stop(&d->timer);
	free(d);
}

struct batch_stage *deadline_stage(struct deadline *d)
{
	return &d->due;
}

struct batch_stage *offer_stage(struct deadline *d)
{
	return &d->offer;
}

void deadline_attach(struct deadline *d, struct batch *batch)
{
	d->batch = batch;
}

void deadline_start(struct deadline *d)
{
	loop_timer_start(&d->timer, LOOK_MS);
}

static void look_at_once(struct deadline *d)
{
	if (loop_timer_is_started(&d->timer))
		loop_timer_start(&d->timer, 0);
	else
		d->more = true; /* a look is under way: the next follows it */
}

void deadline_on_death(struct deadline *d)
{
	d->has_died = true;
	look_at_once(d);
}

void deadline_on_return(struct deadline *d)
{
	d->returned_ms = loop_monotonic_ms(d->loop);
	look_at_once(d);
}

void deadline_stop(struct deadline *d)
{
	d->stopped = true;
	loop_timer_stop(&d->timer);
}

/* Within how many milliseconds that will be due which was put off before this worker returned. What is put off later is due later: a
 * vehicle that has to wait whoever publishes is not looked at over and over. */
static int64_t put_off_ms(const struct deadline *d)
{
	int64_t left_ms = d->returned_ms + OFFER_MS - loop_monotonic_ms(d->loop);
	return d->returned_ms > 0 && left_ms > 0 ? left_ms : 0;
}

static void on_timer(struct loop_timer *timer)
{
	struct deadline *d = container_of(timer, struct deadline, timer);
	struct db_unit *unit = db_unit_new(d->reader, on_found, d);

	receipt_init(&d->look, on_look_over);
	d->more = false;
	db_unit_add(unit, &SQL_due_commands);
	db_param_int(unit, LOOK_MAX);
	db_param_text(unit, d->worker);
	db_param_int(unit, d->has_died ? CLAIM_MS : 0);
	d->looks_for_dead = d->has_died;
	d->has_died = false;
	db_unit_add(unit, &SQL_due_timers);
	db_param_text(unit, "offer");
	db_param_int(unit, LOOK_MAX);
	db_param_int(unit, put_off_ms(d));
	db_unit_submit(unit);
}

static void on_found(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct deadline *d = context;

	if (!fault) {
		submit_all(d, unit, 0, &d->due);
		submit_all(d, unit, 1, &d->offer);
	}
	receipt_close(&d->look, fault);
}

static void submit_all(struct deadline *d, struct db_unit *unit, size_t statement, struct batch_stage *stage)
{
	size_t count = db_rows(unit, statement);

	d->more = d->more || count == LOOK_MAX;
	for (size_t row = 0; row < count && !d->stopped; row++) {
		struct due *due = memory_new(sizeof(*due));
		const char *id = stage == &d->due ? db_text(unit, statement, row, 1) : "";
		due->owner = d;
		snprintf(due->vehicle_id, sizeof(due->vehicle_id), "%s", db_text(unit, statement, row, 0));
		snprintf(due->id, sizeof(due->id), "%s", id);
		due->item =
			(struct batch_item){ .stage = stage, .vehicle_id = due->vehicle_id, .on_done = on_item_done };
		list_init(&due->item.node);
		receipt_open(&d->look);
		const struct fault *refused = batch_submit(d->batch, &due->item);
		if (refused)
			on_item_done(&due->item, refused);
	}
}

static struct due *due_of(struct batch_item *item)
{
	return container_of(item, struct due, item);
}

static void on_item_done(struct batch_item *item, const struct fault *fault)
{
	struct due *due = due_of(item);
	struct deadline *d = due->owner;
	free(due);
	receipt_close(&d->look, fault);
}

static void on_look_over(struct receipt *look)
{
	struct deadline *d = container_of(look, struct deadline, look);

	if (d->looks_for_dead && (d->more || look->fault)) /* it may not have found all */
		d->has_died = true;
	if (!d->stopped)
		loop_timer_start(&d->timer, (d->more || d->has_died) && !look->fault ? 0 : LOOK_MS);
}

static void write_due(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	struct deadline *d = stage->owner;
	struct db_array vehicles = { 0 }, ids = { 0 }, in_hand = { 0 };

	(void)cut;
	for (size_t i = 0; i < count; i++) {
		const struct due *due = due_of(items[i]);
		db_array_text(&vehicles, due->vehicle_id);
		db_array_text(&ids, due->id);
		db_array_bool(&in_hand, dispatch_has(d->dispatch, due->id));
	}
	db_unit_add(unit, &SQL_deadline);
	db_param_array(unit, &vehicles);
	db_param_array(unit, &ids);
	db_param_array(unit, &in_hand);
	db_param_text(unit, d->worker);
}

static void read_due(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items,
	size_t count, size_t first)
{
	(void)stage;
	(void)cut;
	(void)items;
	(void)count;
	for (size_t row = 0; row < db_rows(unit, first); row++) {
		if (db_bool(unit, first, row, 2) && strcmp(db_text(unit, first, row, 1), "lose") == 0)
			metric_add(METRIC_COMMANDS_RESCUED, 1);
	}
}

/* Nothing but the timer is touched: that the vehicle is in the batch makes its oldest command be claimed. */
static void write_offers(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	struct db_array vehicles = { 0 };

	(void)stage;
	(void)cut;
	for (size_t i = 0; i < count; i++)
		db_array_text(&vehicles, items[i]->vehicle_id);
	db_unit_add(unit, &SQL_timers_drop);
	db_param_text(unit, "offer");
	db_param_array(unit, &vehicles);
}
