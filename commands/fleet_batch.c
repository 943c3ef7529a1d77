/* fleet_batch.c - takes batches that nobody holds, and sees each through.
 *
 *   look ─ renew, take ─┬─ running: feed ─ the next targets ─ accept, each ─ … ─ all fed
 *                       │           settle ─ … ─┬─ all have come to their end ─ completed
 *                       │                       └─ too many failed ─ stopped, the lease is free
 *                       └─ stopped, canceled: what is unsent ─ cancel, each ─ … ─ none left ─ the lease is gone */
#include "commands/fleet_batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/list.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "commands/accept.h"
#include "commands/cancel.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "sql/statements.h"

#define LOOK_MS 500
#define LEASE_MS 5000
#define HELD_MAX 256
#define TAKE_MAX 8 /* in one look */
#define FEED_MS 50
#define FEED_LATER_MS 1000 /* after the database was away */
#define IN_HAND_MAX 512	   /* accepts or cancels of one batch that are not committed yet */
#define SETTLE_MS 500
#define SETTLE_MS_MAX 10000 /* while nothing happens */
#define TAKE_BACK_MS 250

struct fleet_batches {
	struct loop *loop;
	struct fleet_batch_options options;
	struct loop_timer look;
	struct list held;
	size_t held_count, made; /* made: not freed yet, held or not */
	size_t units;		 /* of its own, with the database */
	bool stopped;
};

enum phase { FEEDING, AWAITING, TAKING_BACK, LET_GO };

/* A batch that this node holds. */
struct held {
	struct list node;
	struct fleet_batches *owner;
	enum phase phase;
	char id[UUID_TEXT_SIZE], lease[UUID_TEXT_SIZE + 8], after[65];
	struct batch_fence fence;
	struct accept draft; /* what each target's accept begins as */
	char *texts[9];	     /* its texts */
	size_t text_count;
	const char *ended_by; /* whose cancels they are */
	double rate, due;     /* commands in a millisecond; how many may go now */
	int64_t counted_ms;   /* when `due` was */
	size_t wanted;	      /* targets that were asked for */
	struct loop_timer feed, settle;
	int64_t settle_ms, asked_ms; /* the pause before the next settling; when the last was asked for */
	size_t in_hand, units;
	bool renewed, again; /* again: of some target it is not known whether it was fed */
};

/* One accept or one cancel under way. */
struct target {
	struct held *held;
	struct accept accept;
	struct cancel cancel;
	char vehicle_id[65], command_id[UUID_TEXT_SIZE];
};

static void on_look(struct loop_timer *timer);
static void on_looked(struct db_unit *unit, void *context, const struct fault *fault);
static void hold(struct fleet_batches *b, const struct db_unit *unit, size_t row);
static void on_feed(struct loop_timer *timer);
static void on_next(struct db_unit *unit, void *context, const struct fault *fault);
static void feed(struct held *h, const char *vehicle_id);
static void on_accepted(struct accept *accept, const struct fault *fault);
static void on_settle(struct loop_timer *timer);
static void on_settled(struct db_unit *unit, void *context, const struct fault *fault);
static void end(struct held *h, const char *ending, int64_t failures);
static void on_take_back(struct held *h);
static void on_unsent(struct db_unit *unit, void *context, const struct fault *fault);
static void on_canceled(struct cancel *cancel, const struct fault *fault);

struct fleet_batches *fleet_batches_new(struct loop *loop, const struct fleet_batch_options *options)
{
	struct fleet_batches *b = memory_new(sizeof(*b));

	b->loop = loop;
	b->options = *options;
	list_init(&b->held);
	loop_timer_init(loop, &b->look, on_look);
	return b;
}

void fleet_batches_free(struct fleet_batches *b)
{
	if (b)
		loop_timer_stop(&b->look);
	free(b);
}

bool fleet_batches_is_quiet(const struct fleet_batches *b)
{
	return b->made == 0 && b->units == 0;
}

void fleet_batches_start(struct fleet_batches *b)
{
	loop_timer_start(&b->look, LOOK_MS);
}

/* Holding and letting go. */

static void free_if_over(struct held *h)
{
	if (h->phase != LET_GO || h->in_hand > 0 || h->units > 0)
		return;
	for (size_t i = 0; i < h->text_count; i++)
		free(h->texts[i]);
	h->owner->made--;
	free(h);
}

/* It is another's, or nobody's, from now on; what is in hand ends by itself. */
static void let_go(struct held *h)
{
	if (h->phase != LET_GO) {
		loop_timer_stop(&h->feed);
		loop_timer_stop(&h->settle);
		list_remove(&h->node);
		h->owner->held_count--;
		h->phase = LET_GO;
	}
	free_if_over(h);
}

static struct db_unit *unit_of(struct held *h, db_done *on_done)
{
	h->units++;
	return db_unit_new(h->owner->options.db, on_done, h);
}

/* False: it was let go meanwhile, and may be gone. */
static bool unit_is_back(struct held *h)
{
	h->units--;
	if (h->phase != LET_GO)
		return true;
	free_if_over(h);
	return false;
}

static void on_released(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct fleet_batches *b = context;
	(void)unit;
	(void)fault; /* else the leases run out */
	b->units--;
}

void fleet_batches_stop(struct fleet_batches *b)
{
	struct db_array names = { 0 };

	b->stopped = true;
	loop_timer_stop(&b->look);
	list_for_each_safe (node, &b->held) {
		struct held *h = container_of(node, struct held, node);
		db_array_text(&names, h->lease);
		let_go(h);
	}
	if (names.count > 0) {
		struct db_unit *unit = db_unit_new(b->options.db, on_released, b);
		db_unit_add(unit, &SQL_lease_release);
		db_param_array(unit, &names);
		db_param_text(unit, b->options.worker);
		b->units++;
		db_unit_submit(unit);
	}
	db_array_free(&names);
}

/* Looking. */

enum { RENEWED, TAKEN }; /* a look's statements */

static void on_look(struct loop_timer *timer)
{
	struct fleet_batches *b = container_of(timer, struct fleet_batches, look);
	struct db_unit *unit = db_unit_new(b->options.db, on_looked, b);
	size_t room = HELD_MAX - b->held_count;

	db_unit_add(unit, &SQL_batch_renew);
	db_param_text(unit, b->options.worker);
	db_param_int(unit, LEASE_MS);
	db_unit_add(unit, &SQL_batch_take);
	db_param_text(unit, b->options.worker);
	db_param_text(unit, b->options.node);
	db_param_int(unit, LEASE_MS);
	db_param_int(unit, room < TAKE_MAX ? (int64_t)room : TAKE_MAX);
	b->units++;
	db_unit_submit(unit);
}

static void keep_renewed(struct fleet_batches *b, const struct db_unit *unit)
{
	list_for_each_safe (node, &b->held) {
		struct held *h = container_of(node, struct held, node);
		bool renewed = false;
		for (size_t row = 0; row < db_rows(unit, RENEWED); row++)
			renewed = renewed || (strcmp(db_text(unit, RENEWED, row, 0), h->id) == 0 &&
						     db_int(unit, RENEWED, row, 1) == h->fence.epoch);
		if (!renewed)
			let_go(h);
	}
}

static void on_looked(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct fleet_batches *b = context;
	bool more = false;

	b->units--;
	if (b->stopped)
		return; /* what was just taken runs out */
	if (!fault) {
		keep_renewed(b, unit);
		for (size_t row = 0; row < db_rows(unit, TAKEN); row++)
			hold(b, unit, row);
		more = db_rows(unit, TAKEN) == TAKE_MAX;
	}
	loop_timer_start(&b->look, more ? 0 : LOOK_MS);
}

/* Columns of batch_take.sql. */
enum {
	ID,
	EPOCH,
	STATE,
	RATE,
	NAME,
	PARAMS,
	TTL,
	TIMEOUT,
	WAKE,
	REDELIVERY,
	SUPERSEDES,
	CATALOG,
	TRACEPARENT,
	ISSUED_BY,
	ADMIN,
	NEEDS,
	ENDED_BY
};

static const char *keep(struct held *h, const char *text)
{
	if (!text)
		return NULL;
	return h->texts[h->text_count++] = memory_need(strdup(text));
}

static void read_draft(struct held *h, const struct db_unit *unit, size_t row)
{
	h->draft = (struct accept){
		.subject = keep(h, db_text(unit, TAKEN, row, ISSUED_BY)),
		.name = keep(h, db_text(unit, TAKEN, row, NAME)),
		.admin = db_bool(unit, TAKEN, row, ADMIN),
		.needs = (int)db_int(unit, TAKEN, row, NEEDS),
		.params = keep(h, db_text(unit, TAKEN, row, PARAMS)),
		.ttl_s = (int)db_int(unit, TAKEN, row, TTL),
		.timeout_s = (int)db_int(unit, TAKEN, row, TIMEOUT),
		.wake = db_bool(unit, TAKEN, row, WAKE),
		.redelivery = keep(h, db_text(unit, TAKEN, row, REDELIVERY)),
		.supersedes = keep(h, db_text(unit, TAKEN, row, SUPERSEDES)),
		.catalog = keep(h, db_text(unit, TAKEN, row, CATALOG)),
		.traceparent = keep(h, db_text(unit, TAKEN, row, TRACEPARENT)),
		.batch_id = h->id,
		.fence = &h->fence,
		.on_done = on_accepted,
	};
	h->ended_by = keep(h, db_text(unit, TAKEN, row, ENDED_BY));
}

static void hold(struct fleet_batches *b, const struct db_unit *unit, size_t row)
{
	struct held *h = memory_new(sizeof(*h));
	const char *state = db_text(unit, TAKEN, row, STATE);

	h->owner = b;
	snprintf(h->id, sizeof(h->id), "%s", db_text(unit, TAKEN, row, ID));
	snprintf(h->lease, sizeof(h->lease), "batch/%s", h->id);
	h->fence = (struct batch_fence){ h->lease, db_int(unit, TAKEN, row, EPOCH) };
	read_draft(h, unit, row);
	h->rate = (double)db_int(unit, TAKEN, row, RATE) / 1000;
	h->due = 1;
	h->counted_ms = loop_monotonic_ms(b->loop);
	h->settle_ms = SETTLE_MS;
	loop_timer_init(b->loop, &h->feed, on_feed);
	loop_timer_init(b->loop, &h->settle, on_settle);
	list_append(&b->held, &h->node);
	b->held_count++;
	b->made++;
	h->phase = strcmp(state, "running") == 0 ? FEEDING : TAKING_BACK;
	log_info(
		"batch", "taken", LOG_TEXT("batch", h->id), LOG_TEXT("state", state), LOG_INT("epoch", h->fence.epoch));
	loop_timer_start(&h->feed, 0);
	if (h->phase == FEEDING)
		loop_timer_start(&h->settle, h->settle_ms);
}

/* Feeding. */

/* What was not sent for a while is not made up for at once. */
static void count_due(struct held *h)
{
	int64_t now_ms = loop_monotonic_ms(h->owner->loop);
	double most = h->rate * 500 > 1 ? h->rate * 500 : 1;

	h->due += h->rate * (double)(now_ms - h->counted_ms);
	h->due = h->due < most ? h->due : most;
	h->counted_ms = now_ms;
}

static void on_feed(struct loop_timer *timer)
{
	struct held *h = container_of(timer, struct held, feed);

	if (h->phase == TAKING_BACK) {
		on_take_back(h);
		return;
	}
	count_due(h);
	h->wanted = (size_t)h->due < IN_HAND_MAX - h->in_hand ? (size_t)h->due : IN_HAND_MAX - h->in_hand;
	if (h->wanted == 0) {
		loop_timer_start(timer, FEED_MS);
		return;
	}
	struct db_unit *unit = unit_of(h, on_next);
	db_unit_add(unit, &SQL_batch_next);
	db_param_text(unit, h->id);
	db_param_text(unit, h->after);
	db_param_int(unit, (int64_t)h->wanted);
	db_unit_submit(unit);
}

/* Every target had its turn, as far as it is known; what may not have had it gets another. */
static void finish_if_fed(struct held *h)
{
	if (h->phase != AWAITING || h->in_hand > 0 || !h->again)
		return;
	h->again = false;
	h->after[0] = '\0';
	h->phase = FEEDING;
	loop_timer_start(&h->feed, FEED_LATER_MS);
}

static void on_next(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct held *h = context;
	size_t found = fault ? 0 : db_rows(unit, 0);

	if (!unit_is_back(h))
		return;
	for (size_t row = 0; row < found; row++)
		feed(h, db_text(unit, 0, row, 0));
	if (!fault && found < h->wanted) {
		h->phase = AWAITING;
		finish_if_fed(h);
	} else {
		loop_timer_start(&h->feed, fault ? FEED_LATER_MS : FEED_MS);
	}
}

static struct target *target_new(struct held *h, const char *vehicle_id)
{
	struct target *t = memory_new(sizeof(*t));

	t->held = h;
	snprintf(t->vehicle_id, sizeof(t->vehicle_id), "%s", vehicle_id);
	h->in_hand++;
	return t;
}

static void feed(struct held *h, const char *vehicle_id)
{
	struct target *t = target_new(h, vehicle_id);

	snprintf(h->after, sizeof(h->after), "%s", vehicle_id);
	h->due -= 1;
	t->accept = h->draft;
	t->accept.vehicle_id = t->vehicle_id;
	const struct fault *refused = accept_submit(h->owner->options.accept, &t->accept);
	if (refused) {
		h->again = true;
		h->in_hand--;
		free(t);
	}
}

/* A refusal was noted with the target; after what may not have been done the targets are looked at again. */
static bool is_noted(const struct fault *fault)
{
	return !fault || fault == &FAULT_VEHICLE_NOT_FOUND || fault == &FAULT_FORBIDDEN || fault == &FAULT_QUEUE_FULL;
}

static void on_accepted(struct accept *accept, const struct fault *fault)
{
	struct target *t = container_of(accept, struct target, accept);
	struct held *h = t->held;

	free(accept->command);
	free(t);
	h->in_hand--;
	h->again = h->again || !is_noted(fault);
	if (fault == &FAULT_FENCED || h->phase == LET_GO)
		let_go(h);
	else
		finish_if_fed(h);
}

/* Settling. */

static void on_settle(struct loop_timer *timer)
{
	struct held *h = container_of(timer, struct held, settle);
	struct db_unit *unit = unit_of(h, on_settled);

	h->asked_ms = loop_monotonic_ms(h->owner->loop);
	db_unit_add(unit, &SQL_batch_settle);
	db_param_text(unit, h->id);
	db_unit_submit(unit);
}

/* The less happens, the longer; and never more than a fifth of the time is spent on it, however many are on their way. */
static void pause_settling(struct held *h, bool is_busy)
{
	int64_t took_ms = loop_monotonic_ms(h->owner->loop) - h->asked_ms;
	int64_t pause_ms = is_busy ? SETTLE_MS : h->settle_ms * 2 < SETTLE_MS_MAX ? h->settle_ms * 2 : SETTLE_MS_MAX;

	h->settle_ms = pause_ms > 4 * took_ms ? pause_ms : 4 * took_ms;
	loop_timer_start(&h->settle, h->settle_ms);
}

static void on_settled(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct held *h = context;
	const char *ending = fault ? NULL : db_text(unit, 0, 0, 0);

	if (!unit_is_back(h))
		return;
	if (ending)
		end(h, ending, db_int(unit, 0, 0, 1));
	else
		pause_settling(h, h->phase == FEEDING || fault || db_int(unit, 0, 0, 2) > 0);
}

static void on_ended(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct held *h = context;

	(void)unit;
	if (!unit_is_back(h))
		return;
	if (fault)
		loop_timer_start(&h->settle, SETTLE_MS);
	else
		let_go(h); /* what is unsent of a stopped one is taken back by whoever takes it next */
}

static void end(struct held *h, const char *ending, int64_t failures)
{
	struct db_unit *unit = unit_of(h, on_ended);
	char why[64];

	log_info("batch", "it ends", LOG_TEXT("batch", h->id), LOG_TEXT("as", ending), LOG_INT("failures", failures));
	snprintf(why, sizeof(why), "{\"code\":\"MAX_FAILURES\",\"failures\":%lld}", (long long)failures);
	db_unit_add(unit, &SQL_batch_end);
	db_param_text(unit, h->id);
	db_param_text(unit, ending);
	db_param_text(unit, strcmp(ending, "stopped") == 0 ? why : NULL);
	db_unit_submit(unit);
}

/* Taking back. */

static void on_take_back(struct held *h)
{
	struct db_unit *unit = unit_of(h, on_unsent);

	db_unit_add(unit, &SQL_batch_unsent);
	db_param_text(unit, h->id);
	db_param_int(unit, IN_HAND_MAX);
	db_unit_submit(unit);
}

static void on_closed(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct held *h = context;

	(void)unit;
	(void)fault; /* else it is taken again, and there is nothing to do */
	if (unit_is_back(h))
		let_go(h);
}

static void close_batch(struct held *h)
{
	struct db_unit *unit = unit_of(h, on_closed);

	db_unit_add(unit, &SQL_batch_close);
	db_param_text(unit, h->id);
	db_param_text(unit, h->owner->options.worker);
	db_param_int(unit, h->fence.epoch);
	db_unit_submit(unit);
}

static void take_back(struct held *h, const char *vehicle_id, const char *command_id)
{
	struct target *t = target_new(h, vehicle_id);

	snprintf(t->command_id, sizeof(t->command_id), "%s", command_id);
	t->cancel = (struct cancel){
		.vehicle_id = t->vehicle_id,
		.id = t->command_id,
		.subject = h->ended_by,
		.admin =
			true, /* who ended the batch had the right to; a right that ended since takes nothing back from that */
		.fence = &h->fence,
		.on_done = on_canceled,
	};
	const struct fault *refused = cancel_submit(h->owner->options.cancel, &t->cancel);
	if (refused) {
		h->in_hand--;
		free(t);
	}
}

static void on_unsent(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct held *h = context;
	size_t found = fault ? 0 : db_rows(unit, 0);

	if (!unit_is_back(h))
		return;
	if (!fault && found == 0) {
		close_batch(h);
		return;
	}
	for (size_t row = 0; row < found; row++) {
		if (db_bool(unit, 0, row, 2))
			take_back(h, db_text(unit, 0, row, 0), db_text(unit, 0, row, 1));
	}
	if (h->in_hand == 0)
		loop_timer_start(&h->feed, TAKE_BACK_MS);
}

static void on_canceled(struct cancel *cancel, const struct fault *fault)
{
	struct target *t = container_of(cancel, struct target, cancel);
	struct held *h = t->held;

	free(cancel->command);
	free(t);
	h->in_hand--;
	if (fault == &FAULT_FENCED || h->phase == LET_GO)
		let_go(h);
	else if (h->in_hand == 0)
		loop_timer_start(&h->feed, fault ? TAKE_BACK_MS : 0);
}
