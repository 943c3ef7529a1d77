/* sole.c - the life of a lease:
 *
 *   free ── taken ── dropped ── released, free again
 *                       └ another's, not renewed in time, of no use here, or the worker drains */
#include "gateway/sole.h"

#include <assert.h>
#include <stdint.h>

#include "base/list.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "gateway/lease.h"
#include "sql/db.h"
#include "sql/statements.h"

#define TICK_MS 1000
#define HOLD_MS (LEASE_MS - 2000) /* after the last renewal; what is left is for ending what it was held for */
#define USELESS_TICKS 5

enum sole_state { SOLE_FREE, SOLE_TAKEN, SOLE_DROPPED, SOLE_STOPPED };

struct sole {
	struct loop *loop;
	struct db *db;
	struct sole_options options;
	enum sole_state state;
	struct loop_timer tick, lapse;
	int64_t asked_ms; /* when the question under way was sent */
	bool is_asking, is_stopping;
	unsigned useless; /* ticks in a row */
	unsigned units;
};

static void on_tick(struct loop_timer *timer);
static void ask(struct sole *s);
static void on_asked(struct db_unit *unit, void *context, const struct fault *fault);
static void on_lapse(struct loop_timer *timer);
static void drop(struct sole *s, const char *why);
static void give_back(struct sole *s);
static void on_given_back(struct db_unit *unit, void *context, const struct fault *fault);

struct sole *sole_new(struct loop *loop, struct db *db, const struct sole_options *options)
{
	struct sole *s = memory_new(sizeof(*s));

	s->loop = loop;
	s->db = db;
	s->options = *options;
	loop_timer_init(loop, &s->tick, on_tick);
	loop_timer_init(loop, &s->lapse, on_lapse);
	return s;
}

void sole_start(struct sole *s)
{
	loop_timer_start(&s->tick, 0);
}

bool sole_is_quiet(const struct sole *s)
{
	return s->state == SOLE_STOPPED && s->units == 0;
}

/* Having it. */

static void on_tick(struct loop_timer *timer)
{
	struct sole *s = container_of(timer, struct sole, tick);
	bool is_useful = s->options.is_useful(s->options.owner);

	s->useless = is_useful ? 0 : s->useless + 1;
	if (s->state == SOLE_TAKEN && s->useless >= USELESS_TICKS)
		drop(s, "it is of no use here");
	else if (!s->is_asking && (s->state == SOLE_TAKEN || (s->state == SOLE_FREE && is_useful)))
		ask(s);
	loop_timer_start(timer, TICK_MS);
}

static void ask(struct sole *s)
{
	struct db_unit *unit = db_unit_new(s->db, on_asked, s);

	s->is_asking = true;
	s->units++;
	s->asked_ms = loop_monotonic_ms(s->loop);
	db_unit_add(unit, &SQL_lease_sole);
	db_param_text(unit, s->options.name);
	db_param_text(unit, s->options.worker);
	db_param_text(unit, s->options.node);
	db_param_int(unit, LEASE_MS);
	db_unit_submit(unit);
}

/* An answer that comes when the lease has been dropped meanwhile says nothing any more: what gives it back follows it. */
static void on_asked(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct sole *s = context;
	bool is_ours = !fault && db_rows(unit, 0) > 0;
	int64_t left_ms = s->asked_ms + HOLD_MS - loop_monotonic_ms(s->loop);

	s->units--;
	s->is_asking = false;
	if (s->state == SOLE_TAKEN && !fault && !is_ours)
		drop(s, "another took it");
	if (s->state > SOLE_TAKEN || !is_ours)
		return;
	loop_timer_start(&s->lapse, left_ms);
	if (s->state == SOLE_FREE && left_ms > 0) {
		s->state = SOLE_TAKEN;
		log_info("lease", "taken", LOG_TEXT("lease", s->options.name));
		s->options.on_taken(s->options.owner);
	}
}

/* Losing it. */

static void on_lapse(struct loop_timer *timer)
{
	struct sole *s = container_of(timer, struct sole, lapse);

	if (s->state == SOLE_TAKEN)
		drop(s, "it was not renewed in time");
}

static void drop(struct sole *s, const char *why)
{
	s->state = SOLE_DROPPED;
	loop_timer_stop(&s->lapse);
	log_info("lease", "dropped", LOG_TEXT("lease", s->options.name), LOG_TEXT("why", why));
	s->options.on_dropped(s->options.owner);
}

void sole_release(struct sole *s)
{
	assert(s->state == SOLE_DROPPED);
	s->state = s->is_stopping ? SOLE_STOPPED : SOLE_FREE;
	give_back(s);
}

static void give_back(struct sole *s)
{
	struct db_array names = { 0 };
	struct db_unit *unit = db_unit_new(s->db, on_given_back, s);

	s->units++;
	db_array_text(&names, s->options.name);
	db_unit_add(unit, &SQL_lease_release);
	db_param_array(unit, &names);
	db_param_text(unit, s->options.worker);
	db_unit_submit(unit);
}

static void on_given_back(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct sole *s = context;

	(void)unit;
	s->units--;
	if (fault)
		log_warn("lease", "it runs out by itself", LOG_TEXT("lease", s->options.name),
			LOG_TEXT("fault", fault->name));
}

void sole_stop(struct sole *s)
{
	s->is_stopping = true;
	loop_timer_stop(&s->tick);
	if (s->state == SOLE_TAKEN) {
		drop(s, "the node ends");
	} else if (s->state == SOLE_FREE) {
		s->state = SOLE_STOPPED;
		if (s->is_asking)
			give_back(s); /* what it may just have taken */
	}
}
