/* notices.c - whose notices have to be settled, and how far a fleet's notice has come.
 *
 *   look ─┬─ shown past their time ──────┬─ an item each ─ committed ─ the spreads are so far ─ the next look
 *         └─ the next of each spread ────┘ */
#include "gateway/operations/notices.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/receipt.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "sql/statements.h"

#define LOOK_MS 200
#define EXPIRED_MAX 256
#define SPREAD_MAX 64 /* vehicles of one spread in a look */
#define SPREADS 8     /* as many as notice_spreads_look() takes on */

enum { DELETED, EXPIRED, SPREAD };   /* the look's statements */
enum { FLEET, NAME, TURN, VEHICLE }; /* columns of notice_spreads_look.sql */

/* How far one spread will be when the look is over. */
struct spread {
	char fleet_id[65], name[65], turn[24], last[65];
};

struct notices {
	struct loop *loop;
	struct db *reader;
	struct batch *batch;
	struct batch_stage stage;
	struct loop_timer timer;
	struct receipt look;
	bool started, looking, again;
	struct spread spreads[SPREADS];
	size_t spread_count;
};

/* A vehicle that is to be settled. */
struct settling {
	struct notices *owner;
	struct batch_item item;
	char vehicle_id[65];
};

static void on_timer(struct loop_timer *timer);
static void on_found(struct db_unit *unit, void *context, const struct fault *fault);
static void on_look_over(struct receipt *look);
static void on_advanced(struct db_unit *unit, void *context, const struct fault *fault);
static void on_item_done(struct batch_item *item, const struct fault *fault);
static void write_round(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count);

struct notices *notices_new(struct loop *loop, struct db *reader)
{
	struct notices *n = memory_new(sizeof(*n));

	n->loop = loop;
	n->reader = reader;
	n->stage = (struct batch_stage){ .name = "notices", .owner = n, .write = write_round };
	loop_timer_init(loop, &n->timer, on_timer);
	return n;
}

void notices_free(struct notices *n)
{
	if (n)
		loop_timer_stop(&n->timer);
	free(n);
}

struct batch_stage *notices_stage(struct notices *n)
{
	return &n->stage;
}

void notices_attach(struct notices *n, struct batch *batch)
{
	n->batch = batch;
}

bool notices_is_quiet(const struct notices *n)
{
	return !n->looking;
}

void notices_start(struct notices *n)
{
	n->started = true;
	if (!n->looking)
		loop_timer_start(&n->timer, 0);
}

void notices_stop(struct notices *n)
{
	n->started = false;
	loop_timer_stop(&n->timer);
}

static void on_timer(struct loop_timer *timer)
{
	struct notices *n = container_of(timer, struct notices, timer);
	struct db_unit *unit = db_unit_new(n->reader, on_found, n);

	n->looking = true;
	n->again = false;
	n->spread_count = 0;
	receipt_init(&n->look, on_look_over);
	db_unit_add(unit, &SQL_notices_expire);
	db_unit_add(unit, &SQL_notices_expired);
	db_param_int(unit, EXPIRED_MAX);
	db_unit_add(unit, &SQL_notice_spreads_look);
	db_param_int(unit, SPREAD_MAX);
	db_unit_submit(unit);
}

static void settle(struct notices *n, const char *vehicle_id)
{
	struct settling *s = memory_new(sizeof(*s));

	s->owner = n;
	snprintf(s->vehicle_id, sizeof(s->vehicle_id), "%s", vehicle_id);
	s->item = (struct batch_item){ .stage = &n->stage, .vehicle_id = s->vehicle_id, .on_done = on_item_done };
	list_init(&s->item.node);
	receipt_open(&n->look);
	const struct fault *refused = batch_submit(n->batch, &s->item);
	if (refused)
		on_item_done(&s->item, refused);
}

/* Rows of one spread come together, ascending. */
static void remember(struct notices *n, const struct db_unit *unit, size_t row)
{
	const char *fleet = db_text(unit, SPREAD, row, FLEET), *name = db_text(unit, SPREAD, row, NAME);
	struct spread *s = n->spread_count ? &n->spreads[n->spread_count - 1] : NULL;

	if (!s || strcmp(s->fleet_id, fleet) != 0 || strcmp(s->name, name) != 0) {
		if (n->spread_count == SPREADS)
			return;
		s = &n->spreads[n->spread_count++];
		snprintf(s->fleet_id, sizeof(s->fleet_id), "%s", fleet);
		snprintf(s->name, sizeof(s->name), "%s", name);
		snprintf(s->turn, sizeof(s->turn), "%s", db_text(unit, SPREAD, row, TURN));
	}
	snprintf(s->last, sizeof(s->last), "%s", db_text(unit, SPREAD, row, VEHICLE));
}

static void on_found(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct notices *n = context;

	for (size_t row = 0; !fault && row < db_rows(unit, EXPIRED); row++)
		settle(n, db_text(unit, EXPIRED, row, 0));
	for (size_t row = 0; !fault && row < db_rows(unit, SPREAD); row++) {
		remember(n, unit, row);
		settle(n, db_text(unit, SPREAD, row, VEHICLE));
	}
	n->again = !fault && (db_rows(unit, EXPIRED) > 0 || db_rows(unit, SPREAD) > 0);
	receipt_close(&n->look, fault);
}

static void on_item_done(struct batch_item *item, const struct fault *fault)
{
	struct settling *s = container_of(item, struct settling, item);
	struct notices *n = s->owner;

	free(s);
	receipt_close(&n->look, fault);
}

static void next_look(struct notices *n, bool at_once)
{
	n->looking = false;
	if (n->started)
		loop_timer_start(&n->timer, at_once ? 0 : LOOK_MS);
}

/* Where something failed, all of it is found again. */
static void on_look_over(struct receipt *look)
{
	struct notices *n = container_of(look, struct notices, look);

	if (look->fault || n->spread_count == 0) {
		next_look(n, n->again && !look->fault);
		return;
	}
	struct db_unit *unit = db_unit_new(n->reader, on_advanced, n);
	for (size_t i = 0; i < n->spread_count; i++) {
		const struct spread *s = &n->spreads[i];
		db_unit_add(unit, &SQL_notice_spread_on);
		db_param_text(unit, s->fleet_id);
		db_param_text(unit, s->name);
		db_param_text(unit, s->turn);
		db_param_text(unit, s->last);
	}
	db_unit_submit(unit);
}

static void on_advanced(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct notices *n = context;

	(void)unit;
	next_look(n, n->again && !fault);
}

/* Into the transaction. */
static void write_round(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	struct db_array vehicles = { 0 };

	(void)stage;
	(void)cut;
	for (size_t i = 0; i < count; i++)
		db_array_text(&vehicles, items[i]->vehicle_id);
	db_unit_add(unit, &SQL_notices_settle);
	db_param_array(unit, &vehicles);
}
