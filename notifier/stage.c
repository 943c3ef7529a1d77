/* stage.c - the hub's part of every transaction: interest is written in it, and what it wrote is told after its commit. */
#include <stdlib.h>
#include <string.h>

#include "base/failpoint.h"
#include "base/json.h"
#include "base/memory.h"
#include "notifier/hub_internal.h"
#include "sql/db.h"
#include "sql/statements.h"

#define WORKERS_MAX 64 /* others that one transaction forwards to at once; the rest fill the hole */

/* What one other worker is sent. */
struct parcel {
	char worker[64];
	struct text text;
};

struct parcels {
	struct parcel items[WORKERS_MAX];
	size_t count;
};

static void write_interest(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count);
static void read_interest(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count, size_t first);
static void write_tell(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit);
static void read_tell(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, size_t first);
static void tell(struct hub *hub, struct hub_event *event, char *workers, struct parcels *parcels);

void hub_stages_init(struct hub *hub)
{
	hub->interest = (struct batch_stage){
		.name = "interest", .owner = hub, .write = write_interest, .read = read_interest
	};
	hub->tell =
		(struct batch_stage){ .name = "tell", .owner = hub, .finish = write_tell, .read_finish = read_tell };
}

static void write_interest(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	struct hub *hub = stage->owner;
	struct db_array vehicles = { 0 };

	(void)cut;
	for (size_t i = 0; i < count; i++)
		db_array_text(&vehicles, items[i]->vehicle_id);
	db_unit_add(unit, &SQL_interest_add);
	db_param_array(unit, &vehicles);
	db_param_text(unit, hub->options.worker);
}

static void read_interest(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count, size_t first)
{
	struct hub *hub = stage->owner;

	(void)cut;
	(void)items;
	(void)count;
	for (size_t row = 0; row < db_rows(unit, first); row++) {
		struct hub_channel *ch = channel_find(hub, db_text(unit, first, row, 0));
		if (ch)
			channel_on_registered(ch, db_int(unit, first, row, 1), db_text(unit, first, row, 2));
	}
}

static void write_tell(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit)
{
	struct db_array vehicles = { 0 };
	const char *const *ids;
	size_t count = batch_cut_vehicles(cut, &ids);

	(void)stage;
	for (size_t i = 0; i < count; i++)
		db_array_text(&vehicles, ids[i]);
	db_unit_add(unit, &SQL_tell);
	db_param_array(unit, &vehicles);
}

static void read_tell(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, size_t first)
{
	struct hub *hub = stage->owner;
	struct parcels *parcels = memory_raw(sizeof(*parcels));

	(void)cut;
	parcels->count = 0;
	if (db_rows(unit, first) > 0)
		FAILPOINT("fanout.begun");
	for (size_t row = 0; row < db_rows(unit, first); row++) {
		const char *data = db_text(unit, first, row, 4);
		char *workers = memory_need(strdup(db_text(unit, first, row, 7)));
		struct hub_event *event = event_new(&(struct event_parts){ .vehicle_id = db_text(unit, first, row, 0),
			.seq = db_int(unit, first, row, 1),
			.type = db_text(unit, first, row, 2),
			.time = db_text(unit, first, row, 3),
			.data = data,
			.data_len = strlen(data),
			.fleet_id = db_text(unit, first, row, 5),
			.left_fleet = db_text(unit, first, row, 6) });
		tell(hub, event, workers, parcels);
		hub_event_unref(event);
		free(workers);
		FAILPOINT("fanout.amid");
	}
	for (size_t i = 0; i < parcels->count; i++) {
		struct parcel *p = &parcels->items[i];
		hub->options.forward(hub->options.owner, p->worker, p->text.data, p->text.len);
		text_free(&p->text);
	}
	free(parcels);
}

static struct parcel *parcel_for(struct parcels *parcels, const char *worker)
{
	for (size_t i = 0; i < parcels->count; i++) {
		if (strcmp(parcels->items[i].worker, worker) == 0)
			return &parcels->items[i];
	}
	if (parcels->count == WORKERS_MAX)
		return NULL;
	struct parcel *p = &parcels->items[parcels->count++];
	*p = (struct parcel){ 0 };
	snprintf(p->worker, sizeof(p->worker), "%s", worker);
	return p;
}

static void tell(struct hub *hub, struct hub_event *event, char *workers, struct parcels *parcels)
{
	char *worker;

	while ((worker = strsep(&workers, ",")) != NULL) {
		struct parcel *parcel;
		if (strcmp(worker, hub->options.worker) == 0) {
			channel_hear(hub, event);
		} else if ((parcel = parcel_for(parcels, worker)) != NULL) {
			inbox_add(&parcel->text, event);
		}
	}
}
