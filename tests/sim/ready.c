/* ready.c - looks often enough to know how long a neighbour has been away, and what the node says meanwhile. */
#include "tests/sim/ready.h"

#include <stdbool.h>

#include "base/loop.h"
#include "tests/sim/database.h"
#include "tests/sim/line.h"
#include "tests/sim/node.h"
#include "tests/sim/record.h"
#include "tests/sim/world.h"

#define LOOK_MS 500
#define LOOKS 4	       /* L5: two seconds */
#define BEGIN_MS 10000 /* until the nodes have come to work, as after a fault */

/* So many looks in a row at which it was away, while the node was running. */
static struct {
	unsigned database, broker;
} away[NODES_MAX];
static struct loop_timer timer;

static void judge(struct node *n, const char *what, bool says, bool is_away, unsigned *looks)
{
	bool is_calm = world_ms() > BEGIN_MS && record_excused_ms(world_ms() - 1, world_ms()) == 0;

	*looks = is_away ? *looks + 1 : 0;
	if (says && *looks > LOOKS)
		world_fail("L5", "node-%zu says that the %s is there, and it is away since %u ms", node_index(n), what,
			*looks * LOOK_MS);
	if (!says && is_calm && node_is_up(n))
		world_fail("L5", "node-%zu says that the %s is away", node_index(n), what);
}

static void on_look(struct loop_timer *t)
{
	loop_timer_start(t, LOOK_MS);
	for (size_t i = 0; i < nodes_count(); i++) {
		struct node *n = node_at(i);
		bool is_running = node_is_up(n) && !node_is_frozen(n);
		judge(n, "database", node_says_database(n), is_running && database_is_away_for(n), &away[i].database);
		judge(n, "broker", node_says_broker(n), is_running && broker_is_away(), &away[i].broker);
	}
}

void ready_begin(void)
{
	loop_timer_init(world_loop(), &timer, on_look);
	loop_timer_start(&timer, LOOK_MS);
}
