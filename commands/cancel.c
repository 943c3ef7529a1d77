/* cancel.c - cancels in the batch: what is found under the head's lock decides, and the command is read again after. */
#include "commands/cancel.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "sql/db.h"
#include "sql/statements.h"

struct cancel_flow {
	struct batch *batch;
	struct batch_stage stage;
};

static const struct {
	const char *outcome;
	const struct fault *fault;
} verdicts[] = {
	{ "canceled", NULL },
	{ "not_found", &FAULT_VEHICLE_NOT_FOUND },
	{ "forbidden", &FAULT_FORBIDDEN },
	{ "no_command", &FAULT_COMMAND_NOT_FOUND },
	{ "sent", &FAULT_COMMAND_ALREADY_SENT },
	{ "final", &FAULT_COMMAND_ALREADY_FINAL },
};

static void write_round(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count);
static void read_round(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count, size_t first);
static void on_item_done(struct batch_item *item, const struct fault *fault);

static struct cancel *cancel_of(struct batch_item *item)
{
	return container_of(item, struct cancel, item);
}

struct cancel_flow *cancel_new(void)
{
	struct cancel_flow *flow = memory_new(sizeof(*flow));
	flow->stage = (struct batch_stage){ .name = "cancel", .owner = flow, .write = write_round, .read = read_round };
	return flow;
}

void cancel_free(struct cancel_flow *flow)
{
	free(flow);
}

struct batch_stage *cancel_stage(struct cancel_flow *flow)
{
	return &flow->stage;
}

void cancel_attach(struct cancel_flow *flow, struct batch *batch)
{
	flow->batch = batch;
}

const struct fault *cancel_submit(struct cancel_flow *flow, struct cancel *cancel)
{
	cancel->command = NULL;
	cancel->verdict = NULL;
	cancel->item = (struct batch_item){
		.stage = &flow->stage, .vehicle_id = cancel->vehicle_id, .fence = cancel->fence, .on_done = on_item_done
	};
	list_init(&cancel->item.node);
	return batch_submit(flow->batch, &cancel->item);
}

static void write_round(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	struct db_array vehicles = { 0 }, ids = { 0 }, subjects = { 0 }, admins = { 0 }, addresses = { 0 };
	struct db_array read_vehicles = { 0 }, read_ids = { 0 };

	(void)stage;
	(void)cut;
	for (size_t i = 0; i < count; i++) {
		const struct cancel *c = cancel_of(items[i]);
		db_array_text(&vehicles, c->vehicle_id);
		db_array_text(&ids, c->id);
		db_array_text(&subjects, c->subject);
		db_array_bool(&admins, c->admin);
		db_array_text(&addresses, c->address);
		db_array_text(&read_vehicles, c->vehicle_id);
		db_array_text(&read_ids, c->id);
	}
	db_unit_add(unit, &SQL_cancel);
	db_param_array(unit, &vehicles);
	db_param_array(unit, &ids);
	db_param_array(unit, &subjects);
	db_param_array(unit, &admins);
	db_param_array(unit, &addresses);
	db_unit_add(unit, &SQL_command_read);
	db_param_array(unit, &read_vehicles);
	db_param_array(unit, &read_ids);
}

static const struct fault *verdict_of(const char *outcome)
{
	for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
		if (strcmp(verdicts[i].outcome, outcome) == 0)
			return verdicts[i].fault;
	}
	return &FAULT_INTERNAL;
}

static void read_round(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit,
	struct batch_item **items, size_t count, size_t first)
{
	(void)stage;
	(void)cut;
	for (size_t i = 0; i < count; i++) {
		struct cancel *cancel = cancel_of(items[i]);
		const char *command = db_text(unit, first + 1, i, 1);
		cancel->verdict = verdict_of(db_text(unit, first, i, 1));
		if (!cancel->verdict && command)
			cancel->command = memory_need(strdup(command));
	}
}

static void on_item_done(struct batch_item *item, const struct fault *fault)
{
	struct cancel *cancel = cancel_of(item);
	cancel->on_done(cancel, fault ? fault : cancel->verdict);
}
