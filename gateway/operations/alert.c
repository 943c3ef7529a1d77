/* alert.c - an item of the batch for each alert, and a statement for a round of them. */
#include "gateway/operations/alert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/memory.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "sql/statements.h"

struct alerts {
	struct batch *batch;
	struct batch_stage stage;
};

struct alert {
	struct batch_item item;
	char vehicle_id[65];
	const char *type;
	char *data;
};

static void write_round(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count);

struct alerts *alerts_new(void)
{
	struct alerts *a = memory_new(sizeof(*a));
	a->stage = (struct batch_stage){ .name = "alert", .owner = a, .write = write_round };
	return a;
}

struct batch_stage *alerts_stage(struct alerts *a)
{
	return &a->stage;
}

void alerts_attach(struct alerts *a, struct batch *batch)
{
	a->batch = batch;
}

static struct alert *alert_of(struct batch_item *item)
{
	return container_of(item, struct alert, item);
}

static void on_item_done(struct batch_item *item, const struct fault *fault)
{
	struct alert *alert = alert_of(item);

	(void)fault;
	free(alert->data);
	free(alert);
}

static void raise_event(struct alerts *alerts, const char *vehicle_id, const char *type, const char *data)
{
	if (!topic_level_is_safe(vehicle_id))
		return;
	struct alert *a = memory_new(sizeof(*a));
	snprintf(a->vehicle_id, sizeof(a->vehicle_id), "%s", vehicle_id);
	a->type = type;
	a->data = memory_need(strdup(data));
	a->item = (struct batch_item){ .stage = &alerts->stage, .vehicle_id = a->vehicle_id, .on_done = on_item_done };
	list_init(&a->item.node);
	const struct fault *fault = batch_submit(alerts->batch, &a->item);
	if (fault)
		on_item_done(&a->item, fault);
}

void alerts_raise(struct alerts *alerts, const char *vehicle_id, const char *data)
{
	raise_event(alerts, vehicle_id, "security.alert", data);
}

void alerts_tell_disabled(struct alerts *alerts, const char *vehicle_id, const char *data)
{
	raise_event(alerts, vehicle_id, "webhook.disabled", data);
}

static void write_round(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	struct db_array vehicles = { 0 }, types = { 0 }, data = { 0 };

	(void)stage;
	(void)cut;
	for (size_t i = 0; i < count; i++) {
		db_array_text(&vehicles, alert_of(items[i])->vehicle_id);
		db_array_text(&types, alert_of(items[i])->type);
		db_array_text(&data, alert_of(items[i])->data);
	}
	db_unit_add(unit, &SQL_alert);
	db_param_array(unit, &vehicles);
	db_param_array(unit, &types);
	db_param_array(unit, &data);
}
