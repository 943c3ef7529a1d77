/* revocation.c - looks for grants whose time is over and for what ended rights had sent, and hands it to the batch.
 *
 *   timer ─┬─ look (one unit) ─ an item for each vehicle, a change for each fleet ─┬─ all settled ─ timer
 *          └─ who was erased, out of some vehicles ──────────────────────────────┘ */
#include "gateway/operations/revocation.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/receipt.h"
#include "gateway/operations/fleet_change.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "sql/statements.h"

#define LOOK_MS 500
#define LOOK_MAX 256 /* of each kind in one look */
#define ERASED_MAX 1 /* vehicles in one look: all that it has is gone through, and others wait for its head */

enum { FOUND, EXPIRED }; /* a look's statements */

struct revocation {
	struct loop *loop;
	struct db *writer, *reader;
	struct hub *hub;
	struct batch *batch;
	struct batch_stage revoke, expire;
	struct loop_timer timer;
	struct receipt look; /* open while a look is under way */
	bool started, looking, again;
};

/* One vehicle (with the subject whose rights ended, or whatever has expired there), or one fleet. */
struct ending {
	struct revocation *owner;
	struct batch_item item;
	struct fleet_change change;
	char *id, *subject;
};

static void on_timer(struct loop_timer *timer);
static void on_found(struct db_unit *unit, void *context, const struct fault *fault);
static void on_erased(struct db_unit *unit, void *context, const struct fault *fault);
static void on_look_over(struct receipt *look);
static void on_item_done(struct batch_item *item, const struct fault *fault);
static void on_fleet_done(struct fleet_change *change, const struct fault *fault);
static void write_revoke(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count);
static void write_expire(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count);

struct revocation *revocation_new(struct loop *loop, struct db *writer, struct db *reader, struct hub *hub)
{
	struct revocation *r = memory_new(sizeof(*r));

	r->loop = loop;
	r->writer = writer;
	r->reader = reader;
	r->hub = hub;
	r->revoke = (struct batch_stage){ .name = "revoke", .owner = r, .write = write_revoke };
	r->expire = (struct batch_stage){ .name = "expire", .owner = r, .write = write_expire };
	loop_timer_init(loop, &r->timer, on_timer);
	return r;
}

void revocation_free(struct revocation *r)
{
	if (r)
		loop_timer_stop(&r->timer);
	free(r);
}

void revocation_stages(struct revocation *r, struct batch_stage *ret[REVOCATION_STAGES])
{
	ret[0] = &r->revoke;
	ret[1] = &r->expire;
}

void revocation_attach(struct revocation *r, struct batch *batch)
{
	r->batch = batch;
}

bool revocation_is_quiet(const struct revocation *r)
{
	return !r->looking;
}

void revocation_start(struct revocation *r)
{
	r->started = true;
	loop_timer_start(&r->timer, LOOK_MS);
}

void revocation_stop(struct revocation *r)
{
	r->started = false;
	loop_timer_stop(&r->timer);
}

void revocation_look(struct revocation *r)
{
	if (r->looking)
		r->again = true;
	else if (r->started)
		loop_timer_start(&r->timer, 0);
}

static void on_timer(struct loop_timer *timer)
{
	struct revocation *r = container_of(timer, struct revocation, timer);
	struct db_unit *unit = db_unit_new(r->reader, on_found, r);

	r->looking = true;
	r->again = false;
	receipt_init(&r->look, on_look_over);
	db_unit_add(unit, &SQL_revocations_look);
	db_param_int(unit, LOOK_MAX);
	db_unit_add(unit, &SQL_grants_expired);
	db_param_int(unit, LOOK_MAX);
	db_unit_submit(unit);

	unit = db_unit_new(r->reader, on_erased, r);
	receipt_open(&r->look);
	db_unit_add(unit, &SQL_erasures_step);
	db_param_int(unit, ERASED_MAX);
	db_unit_submit(unit);
}

static void on_erased(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct revocation *r = context;

	const char *failed = fault ? NULL : db_text(unit, 0, 0, 1);

	if (failed)
		log_warn(
			"access", "a step of an erasure failed, it is tried again later", LOG_TEXT("sqlstate", failed));
	if (!fault && db_bool(unit, 0, 0, 0))
		r->again = true;
	receipt_close(&r->look, fault);
}

static struct ending *ending_new(struct revocation *r, const char *id, const char *subject)
{
	struct ending *e = memory_new(sizeof(*e));

	e->owner = r;
	e->id = memory_need(strdup(id));
	e->subject = subject ? memory_need(strdup(subject)) : NULL;
	receipt_open(&r->look);
	return e;
}

static void submit(struct revocation *r, struct batch_stage *stage, const char *vehicle_id, const char *subject)
{
	struct ending *e = ending_new(r, vehicle_id, subject);

	e->item = (struct batch_item){ .stage = stage, .vehicle_id = e->id, .on_done = on_item_done };
	list_init(&e->item.node);
	const struct fault *refused = batch_submit(r->batch, &e->item);
	if (refused)
		on_item_done(&e->item, refused);
}

static void end_fleets_grants(struct revocation *r, const char *fleet_id)
{
	struct ending *e = ending_new(r, fleet_id, NULL);

	e->change = (struct fleet_change){
		.writer = r->writer,
		.hub = r->hub,
		.statement = &SQL_fleet_grants_expire,
		.fleet_id = e->id,
		.on_done = on_fleet_done,
	};
	fleet_change_run(&e->change, NULL, NULL, false, NULL);
}

static void on_found(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct revocation *r = context;

	for (size_t row = 0; !fault && row < db_rows(unit, FOUND); row++)
		submit(r, &r->revoke, db_text(unit, FOUND, row, 0), db_text(unit, FOUND, row, 1));
	for (size_t row = 0; !fault && row < db_rows(unit, EXPIRED); row++) {
		const char *id = db_text(unit, EXPIRED, row, 1);
		if (strcmp(db_text(unit, EXPIRED, row, 0), "fleet") == 0)
			end_fleets_grants(r, id);
		else
			submit(r, &r->expire, id, NULL);
	}
	if (!fault && (db_rows(unit, FOUND) >= LOOK_MAX || db_rows(unit, EXPIRED) == LOOK_MAX))
		r->again = true;
	receipt_close(&r->look, fault);
}

static void ending_over(struct ending *e, const struct fault *fault)
{
	struct revocation *r = e->owner;

	free(e->id);
	free(e->subject);
	free(e);
	receipt_close(&r->look, fault);
}

static void on_item_done(struct batch_item *item, const struct fault *fault)
{
	ending_over(container_of(item, struct ending, item), fault);
}

static void on_fleet_done(struct fleet_change *change, const struct fault *fault)
{
	struct ending *e = container_of(change, struct ending, change);

	if (!fault && change->has_ended_rights)
		e->owner->again = true;
	ending_over(e, fault);
}

static void on_look_over(struct receipt *look)
{
	struct revocation *r = container_of(look, struct revocation, look);

	r->looking = false;
	if (r->started)
		loop_timer_start(&r->timer, r->again && !look->fault ? 0 : LOOK_MS);
}

/* Into the transaction. */

static struct ending *ending_of(struct batch_item *item)
{
	return container_of(item, struct ending, item);
}

static void write_revoke(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	struct db_array vehicles = { 0 }, subjects = { 0 };

	(void)stage;
	(void)cut;
	for (size_t i = 0; i < count; i++) {
		db_array_text(&vehicles, ending_of(items[i])->id);
		db_array_text(&subjects, ending_of(items[i])->subject);
	}
	db_unit_add(unit, &SQL_revoke);
	db_param_array(unit, &vehicles);
	db_param_array(unit, &subjects);
}

static void write_expire(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	struct db_array vehicles = { 0 };

	(void)stage;
	(void)cut;
	for (size_t i = 0; i < count; i++)
		db_array_text(&vehicles, items[i]->vehicle_id);
	db_unit_add(unit, &SQL_grants_expire);
	db_param_array(unit, &vehicles);
}
