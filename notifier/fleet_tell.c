/* fleet_tell.c - what is told of a fleet itself. No transaction of a vehicle brings it: it has no seq, is sent to those who are there, and
 * is in no log. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "base/rfc3339.h"
#include "notifier/hub_internal.h"
#include "sql/db.h"
#include "sql/statements.h"

struct alarm {
	struct hub *hub;
	char fleet_id[65];
	char *data;
};

static void on_watchers(struct db_unit *unit, void *context, const struct fault *fault);

/* `version` 0 is none of a fleet's grants. */
static void tell(
	struct hub *hub, const char *fleet_id, const char *type, int64_t version, const char *data, const char *workers)
{
	char time[RFC3339_SIZE], *names = memory_need(strdup(workers ? workers : "")), *rest = names, *worker;
	struct text line = { 0 };

	rfc3339_write(loop_unix_us(hub->loop), time);
	struct hub_event *event = event_new(&(struct event_parts){
		.fleet_id = fleet_id, .type = type, .time = time, .data = data, .data_len = strlen(data) });
	inbox_add_of_fleet(&line, event, version);
	while ((worker = strsep(&rest, ",")) != NULL) {
		if (strcmp(worker, hub->options.worker) == 0)
			fleet_take_own(hub, event, version);
		else if (*worker)
			hub->options.forward(hub->options.owner, worker, line.data, line.len);
	}
	text_free(&line);
	hub_event_unref(event);
	free(names);
}

void hub_tell_access(struct hub *hub, const char *fleet_id, int64_t version, const char *data, const char *workers)
{
	tell(hub, fleet_id, "access.changed", version, data, workers);
}

void hub_tell_alert(struct hub *hub, const char *fleet_id, const char *data)
{
	if (!loop_timer_is_started(&hub->tidy))
		return; /* the worker ends */
	struct alarm *a = memory_new(sizeof(*a));
	a->hub = hub;
	snprintf(a->fleet_id, sizeof(a->fleet_id), "%s", fleet_id);
	a->data = memory_need(strdup(data));
	struct db_unit *unit = db_unit_new(hub->options.reader, on_watchers, a);
	db_unit_add(unit, &SQL_fleet_watched);
	db_param_text(unit, a->fleet_id);
	hub->units++;
	db_unit_submit(unit);
}

static void on_watchers(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct alarm *a = context;

	a->hub->units--;
	if (!fault)
		tell(a->hub, a->fleet_id, "security.alert", 0, a->data, db_text(unit, 0, 0, 0));
	free(a->data);
	free(a);
}
