/* wake.c - the flow as a whole: its making, its part of every transaction, its end. */
#include "notifier/wake/wake.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "notifier/wake/wake_internal.h"
#include "sql/statements.h"

static void write_settle(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit);
static void read_settle(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, size_t first);
static void close_next_provider(struct wake *w);

/* Making. */

struct wake *wake_new(struct loop *loop, const struct wake_options *options)
{
	struct wake *w = memory_new(sizeof(*w));

	assert(options->provider_count <= PROVIDERS_MAX);
	w->loop = loop;
	w->options = *options;
	slots_init(w);
	receipts_init(w);
	w->stages[WAKE_SETTLE] = (struct batch_stage){
		.name = "wake settle", .owner = w, .finish = write_settle, .read_finish = read_settle
	};
	return w;
}

void wake_free(struct wake *w)
{
	if (!w)
		return;
	loop_timer_stop(&w->look);
	loop_timer_stop(&w->record);
	free(w);
}

void wake_stages(struct wake *w, struct batch_stage *ret[WAKE_STAGES])
{
	for (size_t i = 0; i < WAKE_STAGES; i++)
		ret[i] = &w->stages[i];
}

void wake_attach(struct wake *w, struct batch *batch)
{
	w->batch = batch;
}

struct sms_receipts wake_receipts(struct wake *w)
{
	return (struct sms_receipts){ .owner = w, .on_receipt = receipts_take };
}

void wake_start(struct wake *w, struct sms_provider *const *providers)
{
	assert(w->open_providers == 0 && !w->stopped);
	for (size_t i = 0; i < w->options.provider_count; i++) {
		w->providers[i] = providers[i];
		w->gives_receipts[i] = providers[i]->gives_receipts;
	}
	w->open_providers = w->options.provider_count;
	w->submits = w->options.provider_count > 0;
	slots_look(w);
}

/* The policy. */

void wake_add_policy(const struct wake *w, struct db_unit *unit)
{
	const struct wake_options *o = &w->options;
	struct text out = { 0 };

	text_addf(&out, "{\"enabled\":%s,\"providers\":[", atomic_load(o->enabled) ? "true" : "false");
	for (size_t i = 0; i < o->provider_count; i++)
		text_addf(&out, "%s\"%s\"", i ? "," : "", o->provider_names[i]);
	text_add(&out, "],\"receipts\":[");
	for (size_t i = 0; i < o->provider_count; i++)
		text_addf(&out, "%s%s", i ? "," : "", w->gives_receipts[i] ? "true" : "false");
	text_addf(&out,
		"],\"receipt_timeout_ms\":%lld,\"min_interval_ms\":%lld,\"max_attempts\":%d,\"daily_budget\":%d,"
		"\"validity_ms\":%lld}",
		(long long)o->receipt_timeout_ms, (long long)o->min_interval_ms, o->max_attempts, o->daily_budget,
		(long long)o->validity_ms);
	db_param_text(unit, out.data);
	text_free(&out);
}

void wake_count(const struct db_unit *unit, size_t statement, int column)
{
	static const struct {
		const char *status;
		enum metric metric;
	} counts[] = { { "submitted", METRIC_WAKEUPS_SUBMITTED }, { "delivered", METRIC_WAKEUPS_DELIVERED },
		{ "failed", METRIC_WAKEUPS_FAILED } };

	for (size_t row = 0; row < db_rows(unit, statement); row++)
		for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
			if (strcmp(db_text(unit, statement, row, column), counts[i].status) == 0)
				metric_add(counts[i].metric, 1);
}

void wake_read_told(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items,
	size_t count, size_t first)
{
	(void)cut;
	(void)items;
	(void)count;
	wake_count(unit, first, 0);
	slots_look(stage->owner); /* the next provider's turn may have come */
}

/* The end of every transaction. */

static void write_settle(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit)
{
	const struct wake *w = stage->owner;
	const struct wake_ports *ports = w->options.ports;
	struct db_array vehicles = { 0 };
	const char *const *ids;
	size_t count = batch_cut_vehicles(cut, &ids);
	int64_t delay_ms = w->options.return_delay_ms, lost_ms, back_ms;

	for (size_t i = 0; i < count; i++)
		db_array_text(&vehicles, ids[i]);
	db_unit_add(unit, &SQL_wake_settle);
	db_param_array(unit, &vehicles);
	db_param_bool(unit, w->options.provider_count > 0);
	db_param_bool(unit, ports->hears_nobody(ports->owner));
	if (!ports->was_lost(ports->owner, &lost_ms, &back_ms) || back_ms >= delay_ms)
		lost_ms = back_ms = delay_ms;
	db_param_int(unit, lost_ms);
	db_param_int(unit, back_ms);
	db_param_int(unit, delay_ms);
}

static void read_settle(struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, size_t first)
{
	struct wake *w = stage->owner;

	(void)cut;
	if (db_rows(unit, first) == 0)
		return;
	metric_add(METRIC_WAKEUPS_ANSWERED, db_int(unit, first, 0, 0));
	metric_add(METRIC_WAKEUPS_REFUSED, db_int(unit, first, 0, 2));
	if (db_bool(unit, first, 0, 1))
		slots_look(w);
}

/* The end. */

void wake_rest(struct wake *w)
{
	w->submits = false;
	slots_stop(w);
	if (w->closing || w->open_providers == 0)
		return;
	w->closing = true;
	close_next_provider(w);
}

void wake_stop(struct wake *w)
{
	w->stopped = true;
	receipts_stop(w);
	wake_rest(w);
}

static void on_provider_closed(void *owner)
{
	struct wake *w = owner;

	if (--w->open_providers > 0) {
		close_next_provider(w);
		return;
	}
	w->closing = false;
	if (w->options.on_rested)
		w->options.on_rested(w->options.owner);
}

static void close_next_provider(struct wake *w)
{
	const struct sms_provider *provider = w->providers[w->open_providers - 1];
	provider->close(provider->self, on_provider_closed, w);
}

bool wake_is_quiet(const struct wake *w)
{
	return w->open_providers == 0 && w->slot_count == 0 && w->receipt_count == 0;
}
