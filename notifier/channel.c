/* channel.c - one vehicle's events in order: the next is delivered, a hole is read from the table first. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/rfc3339.h"
#include "notifier/hub_internal.h"
#include "sql/db.h"
#include "sql/statements.h"

#define FILL_MAX 500

static void on_interest(struct batch_item *item, const struct fault *fault);
static void deliver(struct hub_channel *ch, struct hub_event *event);
static void on_joined(struct db_unit *unit, void *context, const struct fault *fault);
static void fill(struct hub_channel *ch);
static void on_filled(struct db_unit *unit, void *context, const struct fault *fault);

struct hub_channel *channel_find(struct hub *hub, const char *vehicle_id)
{
	struct hub_channel *ch;
	HASH_FIND_STR(hub->channels, vehicle_id, ch);
	return ch;
}

struct hub_channel *channel_get(struct hub *hub, const char *vehicle_id)
{
	struct hub_channel *ch = channel_find(hub, vehicle_id);
	if (ch)
		return ch;
	ch = memory_new(sizeof(*ch));
	ch->hub = hub;
	snprintf(ch->vehicle_id, sizeof(ch->vehicle_id), "%s", vehicle_id);
	ch->seq = -1;
	list_init(&ch->subscribers);
	list_init(&ch->watches);
	list_init(&ch->stale_node);
	list_init(&ch->fleet_node);
	channel_set_stale(ch, true);
	HASH_ADD_STR(hub->channels, vehicle_id, ch);
	return ch;
}

void channel_free(struct hub_channel *ch)
{
	struct hub *hub = ch->hub;

	channel_set_fleet(ch, NULL);
	if (hub->visited == ch)
		hub->visited = ch->hh.next;
	if (hub->reconciled == ch)
		hub->reconciled = ch->hh.next;
	list_remove(&ch->stale_node);
	list_remove(&ch->fleet_node);
	HASH_DEL(hub->channels, ch);
	free(ch);
}

bool channel_is_used(const struct hub_channel *ch)
{
	return !list_is_empty(&ch->subscribers) || !list_is_empty(&ch->watches);
}

void channel_set_fleet(struct hub_channel *ch, const char *fleet_id)
{
	if (ch->fleet && fleet_id && strcmp(ch->fleet->fleet_id, fleet_id) == 0)
		return;
	if (ch->fleet)
		ch->fleet->channels--;
	ch->fleet = fleet_id ? fleet_get(ch->hub, fleet_id) : NULL;
	if (ch->fleet)
		ch->fleet->channels++;
	list_remove(&ch->fleet_node);
	channel_count_subscribers(ch);
}

/* One that stays where it is keeps its place: whoever goes through the list now comes to each once. */
void channel_count_subscribers(struct hub_channel *ch)
{
	if (!ch->fleet || list_is_empty(&ch->subscribers))
		list_remove(&ch->fleet_node);
	else if (list_is_empty(&ch->fleet_node))
		list_append(&ch->fleet->watched, &ch->fleet_node);
}

void channel_adopt(struct hub *hub, const char *vehicle_id, const char *fleet_id, int64_t seq)
{
	struct hub_channel *ch = channel_find(hub, vehicle_id);

	if (!ch) {
		ch = channel_get(hub, vehicle_id);
		channel_set_stale(ch, false);
		ch->seq = ch->seen = seq;
		channel_set_fleet(ch, fleet_id);
	} else if (ch->seq >= 0) {
		channel_catch_up(ch, seq);
	}
}

void channel_join(struct hub *hub, const char *vehicle_id, const char *fleet_id)
{
	struct hub_channel *ch = channel_get(hub, vehicle_id);

	channel_set_stale(ch, false);
	ch->filling = true;
	struct db_unit *unit = db_unit_new(hub->options.reader, on_joined, ch);
	db_unit_add(unit, &SQL_fleet_joined);
	db_param_text(unit, vehicle_id);
	db_param_text(unit, fleet_id);
	hub->units++;
	db_unit_submit(unit);
}

/* On a fault it is as if it had not been heard of: its next event, or the next reading of the heads, brings it up again. */
static void on_joined(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct hub_channel *ch = context;

	ch->hub->units--;
	ch->filling = false;
	if (fault || db_rows(unit, 0) == 0) {
		if (!channel_is_used(ch) && !ch->registering)
			channel_free(ch);
		else
			channel_set_stale(ch, true);
		return;
	}
	ch->seq = db_int(unit, 0, 0, 0);
	channel_set_fleet(ch, db_text(unit, 0, 0, 2));
	channel_catch_up(ch, db_int(unit, 0, 0, 1));
}

/* Interest. */

void channel_set_stale(struct hub_channel *ch, bool yes)
{
	if (ch->stale == yes)
		return;
	ch->stale = yes;
	list_remove(&ch->stale_node);
	if (yes)
		list_append(&ch->hub->stale, &ch->stale_node);
}

void channel_want(struct hub_channel *ch)
{
	ch->idle_since_ms = 0;
	if (!ch->registered)
		channel_set_stale(ch, true);
	channel_register(ch);
}

void channel_register(struct hub_channel *ch)
{
	if (!ch->stale || ch->registering)
		return;
	ch->interest = (struct batch_item){
		.stage = &ch->hub->interest, .vehicle_id = ch->vehicle_id, .on_done = on_interest
	};
	list_init(&ch->interest.node);
	ch->registering = batch_submit(ch->hub->batch, &ch->interest) == NULL;
}

void channel_end_beginners(struct hub_channel *ch, const struct fault *fault)
{
	list_for_each_safe (node, &ch->subscribers) {
		struct hub_subscriber *s = container_of(node, struct hub_subscriber, node);
		if (!s->ready)
			subscriber_end(s, fault);
	}
}

/* The stage has called channel_on_registered() by now, where the vehicle has a head. A failure is tried again by the
 * hub's timer; who only begins to subscribe hears it. */
static void on_interest(struct batch_item *item, const struct fault *fault)
{
	struct hub_channel *ch = container_of(item, struct hub_channel, interest);

	ch->registering = false;
	if (fault)
		channel_end_beginners(ch, fault);
	else if (ch->stale)
		channel_end_beginners(ch, &FAULT_VEHICLE_NOT_FOUND);
}

void channel_on_registered(struct hub_channel *ch, int64_t head_seq, const char *fleet_id)
{
	channel_set_stale(ch, false);
	ch->registered = true;
	channel_set_fleet(ch, fleet_id);
	if (ch->seq < 0 && !ch->filling)
		ch->seq = ch->seen = head_seq;
	else
		channel_catch_up(ch, head_seq);
	list_for_each_safe (node, &ch->subscribers) {
		struct hub_subscriber *s = container_of(node, struct hub_subscriber, node);
		if (s->subscribing)
			subscribe_begin(s);
	}
}

/* Order. */

static void take(struct hub_channel *ch, struct hub_event *event)
{
	if (event->seq > ch->seen)
		ch->seen = event->seq;
	if (ch->stale || ch->seq < 0 || ch->filling || event->seq <= ch->seq)
		return; /* it is read from the table, or was delivered */
	if (event->seq == ch->seq + 1)
		deliver(ch, event);
	else
		fill(ch);
}

/* A vehicle that came into a watched fleet later is followed from then on: from its move, which may have been lost. */
void channel_hear(struct hub *hub, struct hub_event *event)
{
	struct hub_channel *ch = channel_find(hub, event->vehicle_id);

	if (!ch && fleet_wants(hub, event)) {
		const char *fleet = fleet_follows(hub, event->fleet_id);
		bool is_first = event->seq == 1 ||
				(event_is(event, "vehicle.moved") && fleet && strcmp(fleet, ALL_VEHICLES) != 0);
		if (fleet && !is_first)
			channel_join(hub, event->vehicle_id, fleet);
		else
			channel_adopt(hub, event->vehicle_id, event->fleet_id, event->seq - 1);
		ch = channel_find(hub, event->vehicle_id);
	}
	if (ch)
		take(ch, event);
}

void channel_catch_up(struct hub_channel *ch, int64_t seq)
{
	if (seq > ch->seen)
		ch->seen = seq;
	if (!ch->stale && ch->seen > ch->seq)
		fill(ch);
}

/* `data` begins with the command's id, as command_json() writes it. */
static bool is_about(const struct hub_event *event, const char *command_id)
{
	static const char begin[] = "{\"id\" : \"";
	size_t len = strlen(begin);

	return event_is(event, "command.updated") && event->data_len > len + 36 &&
	       memcmp(event->data, begin, len) == 0 && memcmp(event->data + len, command_id, 36) == 0;
}

static void deliver_to_watches(struct hub_channel *ch, const struct hub_event *event)
{
	list_for_each_safe (node, &ch->watches) {
		struct hub_watch *w = container_of(node, struct hub_watch, node);
		if (!w->command_id[0] || !is_about(event, w->command_id))
			continue;
		char *command = memory_need(strndup(event->data, event->data_len));
		w->on_command(w, command);
		free(command);
	}
}

static void measure(const struct hub_channel *ch, const struct hub_event *event)
{
	int64_t made_us;

	if (rfc3339_read(event->time, &made_us))
		metric_observe(METRIC_DELIVER_SECONDS, db_now_us(ch->hub->options.reader) - made_us);
}

/* A subscriber may leave this channel in its callback, and it alone. */
static void deliver(struct hub_channel *ch, struct hub_event *event)
{
	bool doubt = event_moves_rights(event);

	ch->seq = event->seq;
	channel_set_fleet(ch, event->fleet_id);
	if (channel_is_used(ch))
		measure(ch, event);
	list_for_each_safe (node, &ch->subscribers) {
		struct hub_subscriber *s = container_of(node, struct hub_subscriber, node);
		if (doubt && s->ready)
			subscriber_doubt(s);
		if (s->subscribing)
			subscribe_keep(s, event);
		else if (event->seq >= s->next_seq)
			subscriber_give(s, event);
	}
	deliver_to_watches(ch, event);
	fleet_deliver(ch->hub, event);
	if (ch->hub->options.given && (channel_is_used(ch) || fleet_covers(ch)))
		ch->hub->options.given(ch->hub->options.owner, event);
}

/* Holes. */

static void fill(struct hub_channel *ch)
{
	if (ch->filling)
		return;
	ch->filling = true;
	metric_add(METRIC_HUB_HOLES, 1);
	struct db_unit *unit = db_unit_new(ch->hub->options.reader, on_filled, ch);
	db_unit_add(unit, &SQL_events_after);
	db_param_text(unit, ch->vehicle_id);
	db_param_int(unit, ch->seq);
	db_param_int(unit, FILL_MAX);
	ch->hub->units++;
	db_unit_submit(unit);
}

/* On a fault the slow reconciliation, or the next event, finds the hole again. */
static void on_filled(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct hub_channel *ch = context;

	ch->hub->units--;
	ch->filling = false;
	for (size_t row = 0; !fault && row < db_rows(unit, 0); row++) {
		const char *data = db_text(unit, 0, row, 3);
		struct hub_event *event = event_new(&(struct event_parts){ .vehicle_id = ch->vehicle_id,
			.seq = db_int(unit, 0, row, 0),
			.type = db_text(unit, 0, row, 1),
			.time = db_text(unit, 0, row, 2),
			.data = data,
			.data_len = strlen(data),
			.fleet_id = db_text(unit, 0, row, 4),
			.left_fleet = db_text(unit, 0, row, 5) });
		deliver(ch, event);
		hub_event_unref(event);
	}
	if (!fault && db_rows(unit, 0) > 0 && ch->seen > ch->seq && !ch->stale)
		fill(ch);
}
