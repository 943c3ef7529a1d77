/* subscribe.c - from "I want to watch" to the first event.
 *
 *   channel's interest committed ─ read grant, snapshot, head, and the events since `after` ─┬─ ready ─ replay ─ early ones ─ live
 *                                                                                            └─ not found
 *
 * What the channel delivers while the read is under way is kept: what committed before the read is in the
 * snapshot (or in the replay), what comes with a greater seq follows it. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "notifier/hub_internal.h"
#include "sql/db.h"
#include "sql/statements.h"

#define REPLAY_MAX 1000
#define EARLY_MAX 256

enum { FOUND_VEHICLE, FOUND_RANK, FOUND_SEQ, FOUND_EPOCH, FOUND_EXPIRES }; /* columns of subscribe.sql */

/* What a subscriber is until it is ready. Outlives it when it leaves meanwhile. */
struct subscribing {
	struct hub *hub;
	struct hub_subscriber *subscriber; /* NULL: it left */
	struct hub_event *early[EARLY_MAX];
	size_t early_count;
	bool overflown, reading;
};

static void on_read(struct db_unit *unit, void *context, const struct fault *fault);
static void become_ready(struct hub_subscriber *s, struct db_unit *unit);
static bool is_resumable(const struct hub_subscriber *s, struct db_unit *unit, int64_t seq, size_t *ret_rows);
static void replay(struct hub_subscriber **alive, struct db_unit *unit, size_t rows);
static void start_expiry(struct hub_subscriber *s, struct db_unit *unit);
static void on_expired(struct loop_timer *timer);
static void subscribing_free(struct subscribing *b);

void hub_subscribe(struct hub *hub, struct hub_subscriber *s, const char *vehicle_id)
{
	struct hub_channel *ch = channel_get(hub, vehicle_id);

	assert(!s->channel);
	s->channel = ch;
	s->subscribing = memory_new(sizeof(*s->subscribing));
	s->subscribing->hub = hub;
	s->subscribing->subscriber = s;
	loop_timer_init(hub->loop, &s->expiry, on_expired);
	ch->idle_since_ms = 0;
	list_append(&ch->subscribers, &s->node);
	hub->subscribers++;
	metric_add(METRIC_HUB_SUBSCRIBERS, 1);
	if (ch->stale)
		channel_register(ch);
	else
		subscribe_begin(s);
}

void hub_unsubscribe(struct hub *hub, struct hub_subscriber *s)
{
	struct hub_channel *ch = s->channel;

	if (!ch)
		return;
	loop_timer_stop(&s->expiry);
	subscribe_abandon(s);
	list_remove(&s->node);
	s->channel = NULL;
	hub->subscribers--;
	metric_add(METRIC_HUB_SUBSCRIBERS, -1);
	channel_leave(ch);
}

void subscriber_end(struct hub_subscriber *s, const struct fault *fault)
{
	hub_unsubscribe(s->channel->hub, s);
	s->on_end(s, fault);
}

void subscribe_abandon(struct hub_subscriber *s)
{
	struct subscribing *b = s->subscribing;

	s->subscribing = NULL;
	if (!b)
		return;
	b->subscriber = NULL;
	if (!b->reading)
		subscribing_free(b);
}

void subscribe_keep(struct hub_subscriber *s, struct hub_event *event)
{
	struct subscribing *b = s->subscribing;

	if (b->early_count == EARLY_MAX)
		b->overflown = true;
	else
		b->early[b->early_count++] = hub_event_ref(event);
}

static void drop_early(struct subscribing *b)
{
	for (size_t i = 0; i < b->early_count; i++)
		hub_event_unref(b->early[i]);
	b->early_count = 0;
	b->overflown = false;
}

static void subscribing_free(struct subscribing *b)
{
	drop_early(b);
	free(b);
}

void subscribe_begin(struct hub_subscriber *s)
{
	struct subscribing *b = s->subscribing;

	if (!b || b->reading)
		return;
	struct hub *hub = b->hub;
	b->reading = true;
	drop_early(b);
	struct db_unit *unit = db_unit_new(hub->options.reader, on_read, b);
	db_unit_add(unit, &SQL_subscribe);
	db_param_text(unit, s->channel->vehicle_id);
	db_param_text(unit, s->subject);
	db_param_bool(unit, s->admin);
	db_param_bool(unit, hub->options.synchronous);
	if (s->after >= 0) {
		db_unit_add(unit, &SQL_events_resume);
		db_param_text(unit, s->channel->vehicle_id);
		db_param_text(unit, s->subject);
		db_param_bool(unit, s->admin);
		db_param_int(unit, s->after);
		db_param_int(unit, REPLAY_MAX);
	}
	hub->units++;
	db_unit_submit(unit);
}

static void on_read(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct subscribing *b = context;
	struct hub_subscriber *s = b->subscriber;

	b->hub->units--;
	b->reading = false;
	if (!s)
		subscribing_free(b);
	else if (fault)
		subscriber_end(s, fault == &FAULT_STATEMENT ? &FAULT_INTERNAL : fault);
	else if (db_rows(unit, 0) == 0 || db_int(unit, 0, 0, FOUND_RANK) == 0)
		subscriber_end(s, &FAULT_VEHICLE_NOT_FOUND);
	else if (b->overflown)
		subscribe_begin(s);
	else
		become_ready(s, unit);
}

/* The subscriber may leave in any of its callbacks: `alive` is NULL from then on. */
static void become_ready(struct hub_subscriber *s, struct db_unit *unit)
{
	struct subscribing *b = s->subscribing;
	struct hub_subscriber **alive = &b->subscriber;
	size_t rows = 0;
	struct hub_snapshot snapshot = {
		.vehicle = db_text(unit, 0, 0, FOUND_VEHICLE),
		.epoch = db_text(unit, 0, 0, FOUND_EPOCH),
		.seq = db_int(unit, 0, 0, FOUND_SEQ),
	};

	s->rank = (int)db_int(unit, 0, 0, FOUND_RANK);
	s->next_seq = snapshot.seq + 1;
	snapshot.recovered = is_resumable(s, unit, snapshot.seq, &rows);
	start_expiry(s, unit);
	b->reading = true; /* keeps it while the subscriber is called */
	s->on_ready(s, &snapshot);
	if (snapshot.recovered)
		replay(alive, unit, rows);
	for (size_t i = 0; *alive && i < b->early_count; i++) {
		if (b->early[i]->seq > snapshot.seq)
			subscriber_give(s, b->early[i]);
	}
	if (*alive)
		s->subscribing = NULL;
	subscribing_free(b);
}

/* What cannot be resumed whole is not resumed in part: every event after `after` must be there, and visible. */
static bool is_resumable(const struct hub_subscriber *s, struct db_unit *unit, int64_t seq, size_t *ret_rows)
{
	size_t rows = 0;

	if (s->after < 0 || s->after > seq || !s->epoch || strcmp(s->epoch, db_text(unit, 0, 0, FOUND_EPOCH)) != 0)
		return false;
	while (rows < db_rows(unit, 1) && db_int(unit, 1, rows, 0) <= seq)
		rows++;
	*ret_rows = rows;
	return (int64_t)rows == seq - s->after;
}

static void replay(struct hub_subscriber **alive, struct db_unit *unit, size_t rows)
{
	int64_t next = (*alive)->next_seq;

	for (size_t row = 0; *alive && row < rows; row++) {
		const char *data = db_text(unit, 1, row, 3);
		struct hub_event *event = event_new((*alive)->channel->vehicle_id, db_int(unit, 1, row, 0),
			db_text(unit, 1, row, 1), db_text(unit, 1, row, 2), data, strlen(data));
		subscriber_give(*alive, event);
		hub_event_unref(event);
	}
	if (*alive)
		(*alive)->next_seq = next;
}

/* Giving. */

/* What an access.changed means for a subscriber. */
struct access_change {
	bool is_own, ended;
	int rank;
};

static int rank_of(const char *role)
{
	static const struct {
		const char *role;
		int rank;
	} ranks[] = { { "owner", 3 }, { "manager", 3 }, { "driver", 2 }, { "operator", 2 }, { "viewer", 1 } };
	for (size_t i = 0; role && i < sizeof(ranks) / sizeof(ranks[0]); i++) {
		if (strcmp(ranks[i].role, role) == 0)
			return ranks[i].rank;
	}
	return 0;
}

static struct access_change read_access(const struct hub_subscriber *s, const struct hub_event *event)
{
	json_auto_t *data = json_loadb(event->data, event->data_len, 0, NULL);
	const char *subject = json_text_at(data, "subject"), *role = json_text_at(data, "role");

	return (struct access_change){
		.is_own = subject && strcmp(subject, s->subject) == 0, .ended = role == NULL, .rank = rank_of(role)
	};
}

/* An access.changed goes to its subject, to owners and managers; everybody else gets `skipped` in its place. */
static void give_access(struct hub_subscriber *s, struct hub_event *event)
{
	struct access_change change = read_access(s, event);

	if (change.is_own && change.ended && !s->admin) {
		s->on_event(s, event);
		if (s->channel)
			subscriber_end(s, &FAULT_FORBIDDEN);
		return;
	}
	if (change.is_own && !s->admin)
		s->rank = change.rank;
	if (change.is_own || s->admin || s->rank >= 3) {
		s->on_event(s, event);
		return;
	}
	struct hub_event *skipped = event_new_skipped(event);
	s->on_event(s, skipped);
	hub_event_unref(skipped);
}

void subscriber_give(struct hub_subscriber *s, struct hub_event *event)
{
	s->next_seq = event->seq + 1;
	metric_add(METRIC_EVENTS_DELIVERED, 1);
	if (strcmp(event->type, "access.changed") == 0)
		give_access(s, event);
	else
		s->on_event(s, event);
}

/* The grant's own end. */

static void start_expiry(struct hub_subscriber *s, struct db_unit *unit)
{
	if (!db_text(unit, 0, 0, FOUND_EXPIRES))
		return;
	int64_t left_ms = db_int(unit, 0, 0, FOUND_EXPIRES);
	loop_timer_start(&s->expiry, left_ms > 0 ? left_ms : 0);
}

static void on_expired(struct loop_timer *timer)
{
	subscriber_end(container_of(timer, struct hub_subscriber, expiry), &FAULT_FORBIDDEN);
}
