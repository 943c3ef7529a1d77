/* probe.c - writes something, and has it undone, twice a second. */
#include "gateway/probe.h"

#include <string.h>

#include "base/loop.h"
#include "base/memory.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "sql/statements.h"

#define PROBE_MS 500
#define UNDONE "22012" /* undo.sql */

struct probe {
	struct loop_timer timer;
	struct db *db;
	struct batch *batch;
	bool stopped;
	unsigned units;
};

static void on_due(struct loop_timer *timer);
static void on_tried(struct db_unit *unit, void *context, const struct fault *fault);

struct probe *probe_new(struct loop *loop, struct db *db, struct batch *batch)
{
	struct probe *p = memory_new(sizeof(*p));

	p->db = db;
	p->batch = batch;
	loop_timer_init(loop, &p->timer, on_due);
	return p;
}

void probe_start(struct probe *p)
{
	if (!p->stopped)
		loop_timer_start(&p->timer, PROBE_MS);
}

void probe_stop(struct probe *p)
{
	p->stopped = true;
	loop_timer_stop(&p->timer);
}

bool probe_is_quiet(const struct probe *p)
{
	return p->units == 0;
}

static void on_due(struct loop_timer *timer)
{
	struct probe *p = container_of(timer, struct probe, timer);
	struct db_unit *unit;

	if (!batch_is_in_trouble(p->batch))
		return;
	unit = db_unit_new(p->db, on_tried, p);
	db_unit_add(unit, &SQL_room);
	db_unit_add(unit, &SQL_undo);
	p->units++;
	db_unit_submit(unit);
}

/* It has got as far as to be undone. */
static void on_tried(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct probe *p = context;

	p->units--;
	if (fault == &FAULT_STATEMENT && strcmp(db_unit_sqlstate(unit), UNDONE) == 0)
		batch_note_writable(p->batch);
	if (batch_is_in_trouble(p->batch))
		probe_start(p);
}
