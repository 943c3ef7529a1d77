/* hub.c - the hub as a whole: making, watching, resync, and the tidying of channels that nobody needs. */
#include "notifier/hub.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "notifier/hub_internal.h"
#include "sql/db.h"
#include "sql/statements.h"

#define TIDY_MS 500
#define IDLE_MS 5000
#define RECONCILE_MAX 512 /* channels in one look; at this pace all of a busy worker's are seen in seconds */
#define VISIT_MIN 1024	  /* channels that a tick looks at, or … */
#define VISIT_PART 16	  /* … this part of all: a round takes eight seconds, however many there are */

static void on_tidy(struct loop_timer *timer);
static void drop_idle(struct hub *hub);
static void reconcile(struct hub *hub);
static void on_reconciled(struct db_unit *unit, void *context, const struct fault *fault);
static void on_dropped(struct db_unit *unit, void *context, const struct fault *fault);

struct hub *hub_new(struct loop *loop, const struct hub_options *options)
{
	struct hub *hub = memory_new(sizeof(*hub));
	hub->loop = loop;
	hub->options = *options;
	list_init(&hub->doubtful);
	list_init(&hub->stale);
	hub_stages_init(hub);
	loop_timer_init(loop, &hub->tidy, on_tidy);
	return hub;
}

void hub_free(struct hub *hub)
{
	struct hub_channel *ch, *next;

	if (!hub)
		return;
	assert(hub->subscribers == 0 && hub->units == 0);
	loop_timer_stop(&hub->tidy);
	HASH_ITER (hh, hub->channels, ch, next) {
		channel_free(ch);
	}
	struct hub_fleet *f, *next_fleet;
	HASH_ITER (hh, hub->fleets, f, next_fleet) {
		hub_fleet_free(f);
	}
	free(hub);
}

struct batch_stage *hub_interest_stage(struct hub *hub)
{
	return &hub->interest;
}

struct batch_stage *hub_tell_stage(struct hub *hub)
{
	return &hub->tell;
}

void hub_attach(struct hub *hub, struct batch *batch)
{
	hub->batch = batch;
	loop_timer_start(&hub->tidy, TIDY_MS);
}

void hub_stop(struct hub *hub)
{
	loop_timer_stop(&hub->tidy);
}

size_t hub_subscribers(const struct hub *hub)
{
	return hub->subscribers;
}

bool hub_is_quiet(const struct hub *hub)
{
	return hub->units == 0;
}

void hub_watch(struct hub *hub, struct hub_watch *watch, const char *vehicle_id)
{
	struct hub_channel *ch = channel_get(hub, vehicle_id);

	watch->channel = ch;
	watch->command_id[0] = '\0';
	list_append(&ch->watches, &watch->node);
	channel_want(ch);
}

void hub_unwatch(struct hub *hub, struct hub_watch *watch)
{
	(void)hub;
	list_remove(&watch->node);
	watch->channel = NULL;
}

void hub_resync(struct hub *hub)
{
	struct hub_channel *ch, *next;
	HASH_ITER (hh, hub->channels, ch, next) {
		if (!ch->registered && !channel_is_used(ch))
			continue; /* it lives by its fleet */
		channel_set_stale(ch, true);
		channel_register(ch);
	}
	fleet_resync(hub);
}

/* Twice a second: what could not be registered or read is tried again, what is idle goes, and some heads are compared;
 * once a second the fleets' grants are. */
static void on_tidy(struct loop_timer *timer)
{
	struct hub *hub = container_of(timer, struct hub, tidy);

	list_for_each_safe (node, &hub->stale) {
		struct hub_channel *ch = container_of(node, struct hub_channel, stale_node);
		channel_register(ch);
		if (ch->stale && !ch->registering)
			channel_end_beginners(ch, &FAULT_STORAGE_UNAVAILABLE);
	}
	fleet_tidy(hub);
	subscribe_tidy(hub);
	drop_idle(hub);
	reconcile(hub);
	if (++hub->ticks % 2 == 0)
		fleet_compare(hub);
	loop_timer_start(&hub->tidy, TIDY_MS);
}

static bool is_droppable(struct hub_channel *ch)
{
	int64_t now = loop_monotonic_ms(ch->hub->loop);

	if (channel_is_used(ch) || fleet_covers(ch))
		ch->idle_since_ms = 0;
	else if (ch->idle_since_ms == 0)
		ch->idle_since_ms = now;
	return ch->idle_since_ms > 0 && now - ch->idle_since_ms >= IDLE_MS && !ch->registering && !ch->filling;
}

/* On the writer, behind whatever wrote the interest: a later one of the same vehicle comes after. */
static void drop_idle(struct hub *hub)
{
	struct db_array vehicles = { 0 };
	struct hub_channel *ch = hub->visited ? hub->visited : hub->channels, *next;
	size_t left = HASH_COUNT(hub->channels) / VISIT_PART;

	for (left = left > VISIT_MIN ? left : VISIT_MIN; ch && left > 0; left--, ch = next) {
		next = ch->hh.next;
		if (!is_droppable(ch))
			continue;
		db_array_text(&vehicles, ch->vehicle_id);
		channel_free(ch);
	}
	hub->visited = ch;
	if (vehicles.count == 0)
		return;
	struct db_unit *unit = db_unit_new(hub->options.writer, on_dropped, hub);
	db_unit_add(unit, &SQL_interest_drop);
	db_param_array(unit, &vehicles);
	db_param_text(unit, hub->options.worker);
	hub->units++;
	db_unit_submit(unit);
}

/* A row that stays costs a few messages that nobody reads; the worker's end removes it. */
static void on_dropped(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct hub *hub = context;
	(void)unit;
	(void)fault;
	hub->units--;
}

/* The net under lost messages: compares some heads with what was delivered, round and round. */
static void reconcile(struct hub *hub)
{
	struct db_array vehicles = { 0 };
	struct hub_channel *ch = hub->reconciled ? hub->reconciled : hub->channels;

	if (hub->reconciling)
		return;
	for (; ch && vehicles.count < RECONCILE_MAX; ch = ch->hh.next)
		db_array_text(&vehicles, ch->vehicle_id);
	hub->reconciled = ch;
	if (vehicles.count == 0)
		return;
	struct db_unit *unit = db_unit_new(hub->options.reader, on_reconciled, hub);
	db_unit_add(unit, &SQL_heads);
	db_param_array(unit, &vehicles);
	hub->reconciling = true;
	hub->units++;
	db_unit_submit(unit);
}

static void on_reconciled(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct hub *hub = context;

	hub->units--;
	hub->reconciling = false;
	for (size_t row = 0; !fault && row < db_rows(unit, 0); row++) {
		struct hub_channel *ch = channel_find(hub, db_text(unit, 0, row, 0));
		if (ch && ch->seq >= 0)
			channel_catch_up(ch, db_int(unit, 0, row, 1));
	}
}
