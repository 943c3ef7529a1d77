/* faults.c - a table of faults: how each begins, and how it ends by itself. */
#include "tests/sim/faults.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/loop.h"
#include "base/memory.h"
#include "tests/sim/broker.h"
#include "tests/sim/chance.h"
#include "tests/sim/database.h"
#include "tests/sim/node.h"
#include "tests/sim/record.h"
#include "tests/sim/twin.h"
#include "tests/sim/vehicle.h"
#include "tests/sim/world.h"

struct fault_kind {
	const char *name;
	void (*begin)(struct node *);
	void (*end)(struct node *);  /* NULL: it is over at once */
	int64_t usual_ms, seldom_ms; /* how long it lasts */
	bool restarts_broker;
};

struct trouble {
	struct list node;
	const struct fault_kind *kind;
	struct node *victim;
	struct loop_timer timer;
	int64_t begun_ms;
	unsigned number;
	bool is_alone; /* nothing else was wrong when it began, or lately */
};

#define DRAIN_MS 10000	  /* what a node has for its end (contract §1) */
#define RECOVERY_MS 10000 /* as record.c has it */

static struct list troubles;
static unsigned begun;
static int64_t last_over_ms = -RECOVERY_MS;
static struct loop_timer next;
static int64_t pace;
static bool may_restart;

static void crash(struct node *n)
{
	node_crash(n);
}
static void drain(struct node *n)
{
	node_drain(n);
}
static void start(struct node *n)
{
	if (!node_is_up(n))
		node_crash(n); /* one that has not ended in time */
	if (!node_is_up(n))
		node_start(n);
}
static void freeze(struct node *n)
{
	node_freeze(n, true);
}
static void thaw(struct node *n)
{
	node_freeze(n, false);
}
static void cut_database(struct node *n)
{
	node_cut_from_database(n, true);
}
static void mend_database(struct node *n)
{
	node_cut_from_database(n, false);
}
static void cut_broker(struct node *n)
{
	node_cut_from_broker(n, true);
}
static void mend_broker(struct node *n)
{
	node_cut_from_broker(n, false);
}
static void lose_database(struct node *n)
{
	database_lose(n, false);
}
static void lose_broker(struct node *n)
{
	broker_lose(n, false);
}
static void jump_clock(struct node *n)
{
	node_jump_clock(n, chance_between(-3600, 3600) * 1000000);
}

static void stop_database(struct node *n)
{
	(void)n;
	world_note("the database stops");
	database_leave(chance_of(500));
}

static void start_database(struct node *n)
{
	(void)n;
	world_note("the database is back");
	database_return();
}

static void hang_database(struct node *n)
{
	(void)n;
	world_note("the database hangs");
	database_hang(chance_delay_ms(2000, 15000));
}

static void stop_broker(struct node *n)
{
	(void)n;
	bool forgets = chance_of(500);

	broker_leave(forgets);
	if (!forgets && twin_is_on() && chance_of(500))
		broker_lose_last(chance_between(1000, 20000));
}

static void start_broker(struct node *n)
{
	(void)n;
	world_note("the broker is back");
	broker_return();
}

static void break_vehicles(struct node *n)
{
	(void)n;
	for (size_t i = 0; i < vehicles_count(); i++)
		if (chance_of(500))
			vehicle_break(i);
}

static const struct fault_kind kinds[] = {
	{ "crash", crash, start, 1500, 12000, false },
	{ "crash", crash, start, 1500, 12000, false },
	{ "crash", crash, start, 100, 1000, false },
	{ "drain", drain, start, 6000, 12000, false },
	{ "freeze", freeze, thaw, 4000, 30000, false },
	{ "freeze", freeze, thaw, 25000, 30000, false }, /* others have what it held */
	{ "cut from the database", cut_database, mend_database, 3000, 20000, false },
	{ "cut from the broker", cut_broker, mend_broker, 6000, 30000, false },
	{ "connections to the database lost", lose_database, NULL, 0, 0, false },
	{ "connections to the database lost", lose_database, NULL, 0, 0, false },
	{ "connections to the broker lost", lose_broker, NULL, 0, 0, false },
	{ "the clock jumps", jump_clock, NULL, 0, 0, false },
	{ "the database stops", stop_database, start_database, 1500, 10000, false },
	{ "the database hangs", hang_database, NULL, 15000, 15000, false },
	{ "the broker restarts", stop_broker, start_broker, 1500, 10000, true },
	{ "vehicles' lines break", break_vehicles, NULL, 0, 0, false },
};

/* Whoever asks a node to end gives it its time, and kills it then. */
static bool may_still_end(struct trouble *t)
{
	int64_t since_ms = world_ms() - t->begun_ms;

	if (!node_is_draining(t->victim))
		return false;
	if (since_ms < DRAIN_MS) {
		loop_timer_start(&t->timer, DRAIN_MS - since_ms);
		return true;
	}
	if (t->is_alone && t->number == begun)
		world_fail("drain", "node-%zu has not ended in %d ms, and nothing was wrong", node_index(t->victim),
			DRAIN_MS);
	return false;
}

static void end(struct trouble *t)
{
	loop_timer_stop(&t->timer);
	list_remove(&t->node);
	last_over_ms = world_ms();
	if (t->kind->end)
		t->kind->end(t->victim);
	record_fault(false);
	free(t);
}

static void on_over(struct loop_timer *timer)
{
	struct trouble *t = container_of(timer, struct trouble, timer);

	if (!may_still_end(t))
		end(t);
}

static bool is_under_way(const struct fault_kind *kind, const struct node *victim)
{
	list_for_each (node, &troubles) {
		const struct trouble *t = container_of(node, struct trouble, node);
		if (t->victim == victim || t->kind->begin == kind->begin)
			return true;
	}
	return false;
}

static void on_next(struct loop_timer *timer)
{
	const struct fault_kind *kind = &kinds[chance_below(sizeof(kinds) / sizeof(*kinds))];
	struct node *victim = node_at((size_t)chance_below((int64_t)nodes_count()));

	loop_timer_start(timer, world_slow(chance_between(pace / 4, 2 * pace)));
	if (is_under_way(kind, victim) || (kind->restarts_broker && !may_restart))
		return;
	struct trouble *t = memory_new(sizeof(*t));
	t->kind = kind;
	t->victim = victim;
	t->begun_ms = world_ms();
	t->number = ++begun;
	t->is_alone = list_is_empty(&troubles) && world_ms() - last_over_ms >= RECOVERY_MS;
	list_append(&troubles, &t->node);
	loop_timer_init(world_loop(), &t->timer, on_over);
	world_note("fault: %s (node-%zu)", kind->name, node_index(victim));
	record_fault(true);
	kind->begin(victim);
	loop_timer_start(&t->timer, 100 + chance_delay_ms(kind->usual_ms, kind->seldom_ms));
}

void faults_begin(int64_t pace_ms, bool restarts)
{
	list_init(&troubles);
	pace = pace_ms;
	may_restart = restarts;
	loop_timer_init(world_loop(), &next, on_next);
	if (pace_ms > 0)
		loop_timer_start(&next, 8000 + chance_below(pace_ms));
}

void faults_end(void)
{
	loop_timer_stop(&next);
	while (!list_is_empty(&troubles))
		end(container_of(troubles.next, struct trouble, node));
	for (size_t i = 0; i < nodes_count(); i++)
		if (!node_is_up(node_at(i)))
			start(node_at(i));
}
