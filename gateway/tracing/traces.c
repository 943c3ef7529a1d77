/* traces.c - a look into the database every second, and an exporter. */
#include "gateway/tracing/traces.h"

#include <string.h>

#include "base/json.h"
#include "base/list.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/rfc3339.h"
#include "gateway/config.h"
#include "gateway/tracing/exporter.h"
#include "gateway/tracing/journey.h"
#include "notifier/hub.h"
#include "sql/db.h"
#include "sql/statements.h"

#define LOOK_MS 1000
#define JOURNEYS_MAX 100 /* in one look; about a thousand spans */

struct traces {
	struct loop *loop;
	struct db *db;
	struct exporter *exporter;
	bool finds, is_looking, is_stopped;
	struct loop_timer timer;
};

static void on_due(struct loop_timer *timer);
static void on_found(struct db_unit *unit, void *context, const struct fault *fault);

struct traces *traces_new(struct loop *loop, const struct config *config, const char *node, struct db *db, bool finds)
{
	if (!config->tracing.endpoint)
		return NULL;
	struct traces *t = memory_new(sizeof(*t));
	t->loop = loop;
	t->db = db;
	t->finds = finds;
	t->exporter = exporter_new(loop, &(struct exporter_options){
						 .url = config->tracing.endpoint,
						 .headers = &config->tracing.headers,
						 .timeout_ms = config->tracing.timeout_ms,
						 .delay_ms = config->tracing.delay_ms,
						 .service_name = config->tracing.service_name,
						 .node = node,
						 .resource = &config->tracing.resource,
					 });
	loop_timer_init(loop, &t->timer, on_due);
	return t;
}

void traces_start(struct traces *t)
{
	if (t->finds)
		loop_timer_start(&t->timer, LOOK_MS);
}

void traces_stop(struct traces *t)
{
	t->is_stopped = true;
	loop_timer_stop(&t->timer);
	if (!t->is_looking)
		exporter_stop(t->exporter);
}

bool traces_is_quiet(const struct traces *t)
{
	return !t || (!t->is_looking && exporter_is_quiet(t->exporter));
}

static void take(void *owner, char *span)
{
	struct traces *t = owner;
	exporter_add(t->exporter, span);
}

/* Journeys. */

static void on_due(struct loop_timer *timer)
{
	struct traces *t = container_of(timer, struct traces, timer);
	struct db_unit *unit = db_unit_new(t->db, on_found, t);

	db_unit_add(unit, &SQL_traces_take);
	db_param_int(unit, JOURNEYS_MAX);
	t->is_looking = true;
	db_unit_submit(unit);
}

static void on_found(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct traces *t = context;
	size_t count = fault ? 0 : db_rows(unit, 0);

	t->is_looking = false;
	if (fault == &FAULT_STATEMENT)
		log_warn("traces", "the database refused it", LOG_TEXT("sqlstate", db_unit_sqlstate(unit)),
			LOG_TEXT("detail", db_unit_message(unit)));
	for (size_t row = 0; row < count; row++) {
		json_auto_t *command = json_loads(db_text(unit, 0, row, 0), 0, NULL);
		json_auto_t *timeline = json_loads(db_text(unit, 0, row, 1), 0, NULL);
		journey_tell(command, timeline, take, t);
	}
	if (t->is_stopped)
		exporter_stop(t->exporter);
	else
		loop_timer_start(&t->timer, count < JOURNEYS_MAX ? LOOK_MS : 0);
}

/* The fan-out. */

void traces_note_fan_out(struct traces *t, const struct hub_event *event)
{
	static const char member[] = "\"traceparent\"";
	int64_t made_us;

	if (strcmp(event->type, "command.updated") != 0 ||
		!memmem(event->data, event->data_len, member, sizeof(member) - 1) ||
		!rfc3339_read(event->time, &made_us))
		return;
	json_auto_t *command = json_loadb(event->data, event->data_len, 0, NULL);
	journey_tell_fan_out(command, event->seq, made_us, db_now_us(t->db), take, t);
}
