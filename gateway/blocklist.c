/* blocklist.c - from a row to the broker's retained message.
 *
 *   link up ─ all anew ─ look ─ publish ─ PUBACK ─ noted; twice a second the next look */
#include "gateway/blocklist.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/mqtt/link.h"
#include "sql/db.h"
#include "sql/statements.h"

#define LOOK_MS 500
#define LOOK_MAX 256	 /* messages on their way at once */
#define REASON_ERROR 128 /* MQTT 5 §2.4: from here on it was refused */

/* One message that the broker has not acknowledged yet. */
struct sent {
	struct list node;
	int mid;
	char vehicle_id[65];
	int64_t version;
};

struct blocklist {
	struct loop *loop;
	struct blocklist_options options;
	struct loop_timer timer;
	struct list sent;
	size_t units; /* with the database */
	bool up;
};

static void on_timer(struct loop_timer *timer);
static void on_found(struct db_unit *unit, void *context, const struct fault *fault);
static void on_written(struct db_unit *unit, void *context, const struct fault *fault);

struct blocklist *blocklist_new(struct loop *loop, const struct blocklist_options *options)
{
	struct blocklist *b = memory_new(sizeof(*b));

	b->loop = loop;
	b->options = *options;
	list_init(&b->sent);
	loop_timer_init(loop, &b->timer, on_timer);
	return b;
}

static void forget_sent(struct blocklist *b)
{
	list_for_each_safe (node, &b->sent)
		free(container_of(node, struct sent, node));
	list_init(&b->sent);
}

void blocklist_free(struct blocklist *b)
{
	if (b) {
		loop_timer_stop(&b->timer);
		forget_sent(b);
	}
	free(b);
}

bool blocklist_is_quiet(const struct blocklist *b)
{
	return b->units == 0;
}

static struct db_unit *unit_new(struct blocklist *b, db_done *on_done)
{
	b->units++;
	return db_unit_new(b->options.db, on_done, b);
}

void blocklist_on_link_up(struct blocklist *b)
{
	struct db_unit *unit = unit_new(b, on_written);

	b->up = true;
	db_unit_add(unit, &SQL_blocks_renew);
	db_unit_submit(unit);
	loop_timer_start(&b->timer, 0);
}

/* What was not acknowledged is found again. */
void blocklist_on_link_down(struct blocklist *b)
{
	blocklist_stop(b);
	forget_sent(b);
}

void blocklist_stop(struct blocklist *b)
{
	b->up = false;
	loop_timer_stop(&b->timer);
}

static void on_timer(struct loop_timer *timer)
{
	struct blocklist *b = container_of(timer, struct blocklist, timer);

	loop_timer_start(timer, LOOK_MS);
	if (!list_is_empty(&b->sent) || b->units > 0)
		return;
	struct db_unit *unit = unit_new(b, on_found);
	db_unit_add(unit, &SQL_blocks_due);
	db_param_int(unit, LOOK_MAX);
	db_unit_submit(unit);
}

static void publish(struct blocklist *b, const char *vehicle_id, bool blocked, int64_t version)
{
	char topic[256];

	snprintf(topic, sizeof(topic), "%s/blocked/%s", b->options.namespace, vehicle_id);
	int mid = b->options.publish(b->options.owner, &(struct mqtt_publish){ .topic = topic,
							       .payload = blocked ? "1" : "",
							       .len = blocked ? 1 : 0,
							       .qos = 1,
							       .retain = true });
	if (mid < 0)
		return;
	struct sent *s = memory_new(sizeof(*s));
	s->mid = mid;
	s->version = version;
	snprintf(s->vehicle_id, sizeof(s->vehicle_id), "%s", vehicle_id);
	list_append(&b->sent, &s->node);
}

static void on_found(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct blocklist *b = context;

	b->units--;
	for (size_t row = 0; !fault && b->up && row < db_rows(unit, 0); row++)
		publish(b, db_text(unit, 0, row, 0), db_bool(unit, 0, row, 1), db_int(unit, 0, row, 2));
}

static void note(struct blocklist *b, const struct sent *s)
{
	struct db_unit *unit = unit_new(b, on_written);

	db_unit_add(unit, &SQL_blocks_published);
	db_param_text(unit, s->vehicle_id);
	db_param_int(unit, s->version);
	db_unit_submit(unit);
}

void blocklist_on_puback(struct blocklist *b, int mid, int reason)
{
	list_for_each_safe (node, &b->sent) {
		struct sent *s = container_of(node, struct sent, node);
		if (s->mid != mid)
			continue;
		list_remove(&s->node);
		if (reason < REASON_ERROR)
			note(b, s);
		free(s);
	}
}

/* What failed is looked for again. */
static void on_written(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct blocklist *b = context;

	(void)unit;
	(void)fault;
	b->units--;
}
