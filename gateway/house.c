/* house.c - a look once a minute: each thing in a transaction of its own, so that what one of them has locked is not held while another
 * waits. */
#include "gateway/house.h"

#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "gateway/config.h"
#include "sql/db.h"
#include "sql/statements.h"

#define SWEEP_MS 60000
#define COUNTED_WHEN_READ 500 /* targets of a batch on their way, as read_batches.sql has it */
#define DROPS_EVERY 60	      /* sweeps: partitions past their retention */
#define ROWS_MAX 2000	      /* of a kind that one statement removes: reads come between */

struct house {
	struct loop *loop;
	struct db *db;
	const struct config *config;
	struct loop_timer timer;
	unsigned sweeps, units;
	bool removing;
};

static void on_sweep(struct loop_timer *timer);
static void on_removed(struct db_unit *unit, void *context, const struct fault *fault);

struct house *house_new(struct loop *loop, struct db *db, const struct config *config)
{
	struct house *h = memory_new(sizeof(*h));

	h->loop = loop;
	h->db = db;
	h->config = config;
	loop_timer_init(loop, &h->timer, on_sweep);
	return h;
}

void house_start(struct house *h)
{
	loop_timer_start(&h->timer, 0);
}

void house_stop(struct house *h)
{
	loop_timer_stop(&h->timer);
}

bool house_is_quiet(const struct house *h)
{
	return h->units == 0;
}

static void submit(struct house *h, struct db_unit *unit)
{
	h->units++;
	db_unit_submit(unit);
}

static void on_swept(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct house *h = context;

	(void)unit;
	h->units--;
	if (fault)
		log_warn("node", "the sweep failed and is tried again", LOG_TEXT("fault", fault->name));
}

static void on_partitions_made(struct db_unit *unit, void *context, const struct fault *fault)
{
	const char *missing = fault ? NULL : db_text(unit, 0, 0, 0);

	if (missing && *missing)
		log_warn("node", "partitions of the next days are missing, and are tried again",
			LOG_TEXT("missing", missing));
	on_swept(unit, context, fault);
}

static void keep_partitions(struct house *h)
{
	struct db_unit *unit = db_unit_new(h->db, on_partitions_made, h);

	db_unit_add(unit, &SQL_partitions);
	submit(h, unit);
	if (h->sweeps++ % DROPS_EVERY != 0)
		return;
	unit = db_unit_new(h->db, on_swept, h);
	db_unit_add(unit, &SQL_partitions_drop);
	db_param_int(unit, h->config->retention.commands_ms);
	db_param_int(unit, h->config->retention.events_ms);
	submit(h, unit);
}

static void recount_batches(struct house *h)
{
	struct db_unit *unit = db_unit_new(h->db, on_swept, h);

	db_unit_add(unit, &SQL_batches_recount);
	db_param_int(unit, COUNTED_WHEN_READ);
	submit(h, unit);
}

/* After days without a node there may be millions of rows: one statement for all of them would outlive its time, and so would the next. */
static void remove_part(struct house *h)
{
	struct db_unit *unit = db_unit_new(h->db, on_removed, h);

	h->removing = true;
	db_unit_add(unit, &SQL_sweep);
	db_param_int(unit, h->config->retention.commands_ms);
	db_param_int(unit, ROWS_MAX);
	submit(h, unit);
}

static void on_removed(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct house *h = context;

	h->removing = false;
	on_swept(unit, context, fault);
	if (!fault && db_bool(unit, 0, 0, 0) && loop_timer_is_started(&h->timer))
		remove_part(h);
}

static void on_sweep(struct loop_timer *timer)
{
	struct house *h = container_of(timer, struct house, timer);

	if (!h->removing)
		remove_part(h);
	recount_batches(h);
	keep_partitions(h);
	loop_timer_start(timer, SWEEP_MS);
}
