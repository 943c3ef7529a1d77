/* subscribe.c - from "I want to watch" to the first event, and the same again when rights may have changed.
 *
 *   vehicle: channel's interest committed ─ read grant, snapshot, head, and the events since `after` ─┬─ ready ─ replay ─ early ones ─ live
 *                                                                                                     │            └─ the next page
 *   fleet:   read grant ─ fleet live ─ read grant and snapshot ───────────────────────────────────────┤
 *                                                                                                     └─ not found
 *   doubt:   read grant ─┬─ what was kept meanwhile ─ live
 *                        └─ end
 *
 * A replay goes page by page, each read with the rights, and only when the app has room: so a slow app costs one page of
 * memory, however far back it begins. It is over when it has come to where the channel is; what came meanwhile is kept
 * where it fits and otherwise read with the next page.
 *
 * What is delivered while the read is under way is kept: what committed before the read is in the snapshot (or in the
 * replay), what comes with a greater seq follows it. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "notifier/hub_internal.h"
#include "sql/db.h"
#include "sql/statements.h"

#define PAGE_MAX 500 /* events of a replay that are read at once; see events_page() */
#define MEBIBYTE (1 << 20)

/* columns of subscribe.sql and fleet_subscribe.sql */
enum { FOUND_VEHICLE, FOUND_RANK, FOUND_SEQ, FOUND_EPOCH, FOUND_EXPIRES, FOUND_FLEET, FOUND_VERSION };
enum { FLEET_RANK, FLEET_EPOCH, FLEET_VEHICLES, FLEET_EXPIRES, FLEET_VERSION };

/* What a subscriber is until it is ready, or while it is in doubt. Outlives it when it leaves meanwhile. */
struct subscribing {
	struct hub *hub;
	struct hub_subscriber *subscriber; /* NULL: it left */
	struct list doubtful;		   /* of the hub; alone: it is no doubt but a beginning */
	struct hub_event **early;
	size_t early_count, early_size, early_bytes;
	bool overflown, reading;
	bool paused;   /* a replay, until the app has room (hub_carry_on) */
	bool outdated; /* what is being read may be older than what was heard since */
	bool allowed;  /* of a fleet: its grant was read once; it waits until the fleet is live */
};

static void on_read(struct db_unit *unit, void *context, const struct fault *fault);
static void settle(struct hub_subscriber *s, struct db_unit *unit);
static void become_ready(struct hub_subscriber *s, struct db_unit *unit);
static void give_kept(struct subscribing *b);
static void replay(struct hub_subscriber *s, struct db_unit *unit);
static void carry_on(struct hub_subscriber *s);
static void queue(struct hub_subscriber *s, struct db_unit *unit, size_t rows, int64_t seq);
static bool is_resumable(const struct hub_subscriber *s, const struct db_unit *unit, int64_t seq, size_t *ret_rows);
static bool is_whole(const struct db_unit *unit, int64_t after, int64_t seq, size_t *ret_rows);
static void start_expiry(struct hub_subscriber *s, struct db_unit *unit);
static void on_expired(struct loop_timer *timer);
static void subscribing_free(struct subscribing *b);

/* Coming and going. */

static struct subscribing *subscribing_new(struct hub *hub, struct hub_subscriber *s)
{
	struct subscribing *b = memory_new(sizeof(*b));

	b->hub = hub;
	b->subscriber = s;
	list_init(&b->doubtful);
	s->subscribing = b;
	return b;
}

static void join(struct hub *hub, struct hub_subscriber *s, struct list *subscribers)
{
	assert(!s->hub);
	s->hub = hub;
	s->ready = false;
	s->replaying = false;
	subscribing_new(hub, s);
	loop_timer_init(hub->loop, &s->expiry, on_expired);
	list_append(subscribers, &s->node);
	hub->subscribers++;
	metric_add(METRIC_HUB_SUBSCRIBERS, 1);
}

void hub_subscribe(struct hub *hub, struct hub_subscriber *s, const char *vehicle_id)
{
	struct hub_channel *ch = channel_get(hub, vehicle_id);

	s->channel = ch;
	s->fleet = NULL;
	join(hub, s, &ch->subscribers);
	channel_count_subscribers(ch);
	channel_want(ch);
	if (!ch->stale)
		subscribe_begin(s);
}

/* Rights first: the fleet's heads are not read for strangers. */
void hub_subscribe_fleet(struct hub *hub, struct hub_subscriber *s, const char *fleet_id)
{
	struct hub_fleet *f = fleet_get(hub, fleet_id);

	s->channel = NULL;
	s->fleet = f;
	f->idle_since_ms = 0;
	join(hub, s, &f->subscribers);
	subscribe_begin(s);
}

void hub_unsubscribe(struct hub *hub, struct hub_subscriber *s)
{
	if (!s->hub)
		return;
	loop_timer_stop(&s->expiry);
	subscribe_abandon(s);
	list_remove(&s->node);
	if (s->channel)
		channel_count_subscribers(s->channel);
	s->hub = NULL;
	s->channel = NULL;
	s->fleet = NULL;
	hub->subscribers--;
	metric_add(METRIC_HUB_SUBSCRIBERS, -1);
}

void subscriber_end(struct hub_subscriber *s, const struct fault *fault)
{
	hub_unsubscribe(s->hub, s);
	s->on_end(s, fault);
}

void subscribe_abandon(struct hub_subscriber *s)
{
	struct subscribing *b = s->subscribing;

	s->subscribing = NULL;
	if (!b)
		return;
	b->subscriber = NULL;
	list_remove(&b->doubtful);
	if (!b->reading)
		subscribing_free(b);
}

/* Keeping. */

/* What is kept: for a beginner, past which the snapshot is read again; beside a page of a replay, past which the next page is; for one
 * in doubt, past which the subscriber is ended. */
static const struct room {
	size_t events, bytes;
} for_beginner = { 256, MEBIBYTE }, for_replay = { PAGE_MAX + 256, 2 * MEBIBYTE }, for_doubt = { 16384, 16 * MEBIBYTE };

static bool is_full(const struct hub_subscriber *s)
{
	const struct subscribing *b = s->subscribing;
	const struct room *room = s->replaying ? &for_replay : s->ready ? &for_doubt : &for_beginner;

	return b->early_count >= room->events || b->early_bytes >= room->bytes;
}

/* In a replay a change of rights is far ahead of what is given, and counts at once all the same. */
void subscribe_keep(struct hub_subscriber *s, struct hub_event *event)
{
	struct subscribing *b = s->subscribing;

	if (s->replaying && event_is(event, "access.changed"))
		subscribe_begin(s);
	if (is_full(s)) {
		b->overflown = true;
		return;
	}
	if (b->early_count == b->early_size) {
		b->early_size = 2 * b->early_size + 8;
		b->early = memory_resize(b->early, b->early_size, sizeof(struct hub_event *));
	}
	b->early[b->early_count++] = hub_event_ref(event);
	b->early_bytes += event->frame_len;
}

static void drop_early(struct subscribing *b)
{
	for (size_t i = 0; i < b->early_count; i++)
		hub_event_unref(b->early[i]);
	b->early_count = b->early_bytes = 0;
	b->overflown = false;
}

static void subscribing_free(struct subscribing *b)
{
	list_remove(&b->doubtful);
	drop_early(b);
	free(b->early);
	free(b);
}

/* Reading. */

static void ask_vehicle(const struct hub_subscriber *s, struct db_unit *unit)
{
	db_unit_add(unit, &SQL_subscribe);
	db_param_text(unit, s->channel->vehicle_id);
	db_param_text(unit, s->subject);
	db_param_bool(unit, s->admin);
	db_param_bool(unit, s->hub->options.synchronous);
	if (s->ready ? !s->replaying : s->after < 0)
		return;
	db_unit_add(unit, &SQL_events_resume);
	db_param_text(unit, s->channel->vehicle_id);
	db_param_text(unit, s->subject);
	db_param_bool(unit, s->admin);
	db_param_int(unit, s->ready ? s->next_seq - 1 : s->after);
	db_param_int(unit, PAGE_MAX);
}

static void ask_fleet(const struct hub_subscriber *s, struct db_unit *unit)
{
	db_unit_add(unit, &SQL_fleet_subscribe);
	db_param_text(unit, s->fleet->fleet_id);
	db_param_text(unit, s->subject);
	db_param_bool(unit, s->admin);
	db_param_bool(unit, s->hub->options.synchronous);
}

void subscribe_begin(struct hub_subscriber *s)
{
	struct subscribing *b = s->subscribing;

	if (b->reading) {
		b->outdated = true;
		return;
	}
	b->reading = true;
	b->outdated = false;
	b->paused = false;
	if (!s->ready || s->replaying)
		drop_early(b);
	struct db_unit *unit = db_unit_new(b->hub->options.reader, on_read, b);
	if (s->fleet)
		ask_fleet(s, unit);
	else
		ask_vehicle(s, unit);
	b->hub->units++;
	db_unit_submit(unit);
}

void subscriber_doubt(struct hub_subscriber *s)
{
	if (!s->subscribing) {
		struct subscribing *b = subscribing_new(s->hub, s);
		list_append(&s->hub->doubtful, &b->doubtful);
	}
	subscribe_begin(s);
}

void subscribe_tidy(struct hub *hub)
{
	list_for_each_safe (node, &hub->doubtful) {
		struct subscribing *b = container_of(node, struct subscribing, doubtful);
		if (!b->reading && !b->paused)
			subscribe_begin(b->subscriber);
	}
}

static int rank_found(const struct hub_subscriber *s, const struct db_unit *unit)
{
	return db_rows(unit, 0) == 0 ? 0 : (int)db_int(unit, 0, 0, s->fleet ? FLEET_RANK : FOUND_RANK);
}

static const struct fault *fault_of_nothing(const struct hub_subscriber *s)
{
	return s->ready ? &FAULT_FORBIDDEN : s->fleet ? &FAULT_FLEET_NOT_FOUND : &FAULT_VEHICLE_NOT_FOUND;
}

/* One in doubt waits on where the read failed: nothing reaches it until it is known (subscribe_tidy). */
static void on_read(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct subscribing *b = context;
	struct hub_subscriber *s = b->subscriber;

	b->hub->units--;
	b->reading = false;
	if (!s)
		subscribing_free(b);
	else if (fault && s->ready)
		return;
	else if (fault)
		subscriber_end(s, fault == &FAULT_STATEMENT ? &FAULT_INTERNAL : fault);
	else if (b->outdated)
		subscribe_begin(s);
	else if (rank_found(s, unit) == 0)
		subscriber_end(s, fault_of_nothing(s));
	else if (b->overflown && s->ready && !s->replaying)
		subscriber_end(s, &FAULT_OVERLOADED);
	else if (b->overflown && !s->ready)
		subscribe_begin(s);
	else
		settle(s, unit);
}

/* The version of its fleet's grants under which these rights were read, where none is known yet. */
static void note_version(const struct hub_subscriber *s, const struct db_unit *unit)
{
	struct hub_fleet *f = s->fleet ? s->fleet : fleet_find(s->hub, db_text(unit, 0, 0, FOUND_FLEET));

	if (f && f->version < 0)
		f->version = db_int(unit, 0, 0, s->fleet ? FLEET_VERSION : FOUND_VERSION);
}

/* The vehicle has moved since it was read: the rights that were read with it count no more. */
static bool has_moved_since(const struct hub_subscriber *s, const struct db_unit *unit)
{
	const struct subscribing *b = s->subscribing;
	int64_t seq = s->channel ? db_int(unit, 0, 0, FOUND_SEQ) : 0;

	for (size_t i = 0; s->channel && i < b->early_count; i++) {
		if (b->early[i]->seq > seq && event_moves_rights(b->early[i]))
			return true;
	}
	return false;
}

static void settle(struct hub_subscriber *s, struct db_unit *unit)
{
	if (has_moved_since(s, unit)) {
		subscribe_begin(s);
		return;
	}
	note_version(s, unit);
	if (s->fleet && !s->ready && !s->fleet->live) {
		s->subscribing->allowed = true;
		fleet_register(s->fleet);
		return;
	}
	s->rank = rank_found(s, unit);
	start_expiry(s, unit);
	if (s->replaying)
		replay(s, unit);
	else if (s->ready)
		give_kept(s->subscribing);
	else
		become_ready(s, unit);
}

/* The tidying reads again for it where a reading fails. */
static void enlist(struct subscribing *b)
{
	list_remove(&b->doubtful);
	list_append(&b->hub->doubtful, &b->doubtful);
}

/* The channel has delivered what this subscriber did not get. */
static bool is_behind(const struct hub_subscriber *s)
{
	return s->next_seq <= s->channel->seq;
}

static bool has_room(const struct hub_subscriber *s)
{
	return !s->replaying || !s->has_room || s->has_room(s);
}

/* Of a replay, what lies behind a hole is read with the next page. */
static void give_next(struct hub_subscriber *s, struct hub_event *event)
{
	if (s->fleet || (s->replaying ? event->seq == s->next_seq : event->seq >= s->next_seq))
		subscriber_give(s, event);
}

/* What was kept goes out. The subscriber may leave in any of its callbacks (b->subscriber is NULL from then on), and an
 * event may bring the next doubt: what follows it is kept on. */
static void give_kept(struct subscribing *b)
{
	size_t given = 0;

	b->reading = true; /* keeps it while the subscriber is called */
	while (b->subscriber && !b->outdated && given < b->early_count && has_room(b->subscriber)) {
		struct hub_event *event = b->early[given++];
		b->early_bytes -= event->frame_len;
		give_next(b->subscriber, event);
		hub_event_unref(event);
	}
	b->early_count -= given;
	if (b->early_count > 0)
		memmove(b->early, b->early + given, b->early_count * sizeof(*b->early));
	b->reading = false;
	if (!b->subscriber) {
		subscribing_free(b);
	} else if (b->outdated) {
		enlist(b);
		subscribe_begin(b->subscriber);
	} else if (b->subscriber->replaying && (b->early_count > 0 || is_behind(b->subscriber))) {
		enlist(b);
		b->paused = true;
		if (b->early_count == 0 && has_room(b->subscriber))
			subscribe_begin(b->subscriber);
	} else {
		b->subscriber->replaying = false;
		b->subscriber->subscribing = NULL;
		subscribing_free(b);
	}
}

static struct hub_snapshot snapshot_of(const struct hub_subscriber *s, const struct db_unit *unit)
{
	if (s->fleet)
		return (struct hub_snapshot){ .epoch = db_text(unit, 0, 0, FLEET_EPOCH),
			.vehicles = db_int(unit, 0, 0, FLEET_VEHICLES) };
	return (struct hub_snapshot){ .vehicle = db_text(unit, 0, 0, FOUND_VEHICLE),
		.epoch = db_text(unit, 0, 0, FOUND_EPOCH),
		.seq = db_int(unit, 0, 0, FOUND_SEQ) };
}

static void become_ready(struct hub_subscriber *s, struct db_unit *unit)
{
	struct subscribing *b = s->subscribing;
	struct hub_snapshot snapshot = snapshot_of(s, unit);
	size_t rows = 0;

	snapshot.recovered = s->channel && is_resumable(s, unit, snapshot.seq, &rows);
	queue(s, unit, snapshot.recovered ? rows : 0, snapshot.seq);
	s->next_seq = (snapshot.recovered ? s->after : snapshot.seq) + 1;
	s->ready = true;
	s->replaying = snapshot.recovered;
	b->reading = true; /* keeps it while the subscriber is called */
	s->on_ready(s, &snapshot);
	give_kept(b);
}

/* The log was shortened meanwhile: `recovered` was said, so what is missing ends it. */
static void replay(struct hub_subscriber *s, struct db_unit *unit)
{
	int64_t seq = db_int(unit, 0, 0, FOUND_SEQ);
	size_t rows = 0;

	if (!is_whole(unit, s->next_seq - 1, seq, &rows)) {
		subscriber_end(s, &FAULT_OVERLOADED);
		return;
	}
	queue(s, unit, rows, seq);
	give_kept(s->subscribing);
}

void hub_carry_on(struct hub *hub, struct hub_subscriber *s)
{
	(void)hub;
	if (s->hub && s->subscribing && s->subscribing->paused)
		carry_on(s);
}

static void carry_on(struct hub_subscriber *s)
{
	s->subscribing->paused = false;
	give_kept(s->subscribing);
}

/* Every event from `after` on up to the head must be there, and visible, as far as this page goes: at least to the next. */
static bool is_whole(const struct db_unit *unit, int64_t after, int64_t seq, size_t *ret_rows)
{
	size_t rows = 0;

	while (rows < db_rows(unit, 1) && db_int(unit, 1, rows, 0) <= seq)
		rows++;
	*ret_rows = rows;
	return seq <= after || (rows > 0 && db_int(unit, 1, rows - 1, 0) == after + (int64_t)rows);
}

/* What cannot be resumed whole is not resumed in part. The log loses its oldest and a grant hides the oldest: where the
 * first page is whole, so is the rest. Without an epoch the app takes it upon itself. */
static bool is_resumable(const struct hub_subscriber *s, const struct db_unit *unit, int64_t seq, size_t *ret_rows)
{
	if (s->after < 0 || s->after > seq)
		return false;
	if (s->epoch && strcmp(s->epoch, db_text(unit, 0, 0, FOUND_EPOCH)) != 0)
		return false;
	return is_whole(unit, s->after, seq, ret_rows);
}

/* The replay, and behind it what came since the snapshot. */
static void queue(struct hub_subscriber *s, struct db_unit *unit, size_t rows, int64_t seq)
{
	struct subscribing *b = s->subscribing;
	size_t count = 0, bytes = 0;
	struct hub_event **events = memory_new((rows + b->early_count + 1) * sizeof(struct hub_event *));

	for (size_t row = 0; row < rows; row++) {
		const char *data = db_text(unit, 1, row, 3);
		events[count++] = event_new(&(struct event_parts){ .vehicle_id = s->channel->vehicle_id,
			.seq = db_int(unit, 1, row, 0),
			.type = db_text(unit, 1, row, 1),
			.time = db_text(unit, 1, row, 2),
			.data = data,
			.data_len = strlen(data) });
	}
	for (size_t i = 0; i < b->early_count; i++) {
		if (b->early[i]->seq > seq)
			events[count++] = hub_event_ref(b->early[i]);
	}
	size_t size = rows + b->early_count + 1;
	for (size_t i = 0; i < count; i++)
		bytes += events[i]->frame_len;
	drop_early(b);
	free(b->early);
	b->early = events;
	b->early_count = count;
	b->early_bytes = bytes;
	b->early_size = size;
}

/* The grant's own end; it may have been prolonged, and another may still hold. */

static void start_expiry(struct hub_subscriber *s, struct db_unit *unit)
{
	int column = s->fleet ? FLEET_EXPIRES : FOUND_EXPIRES;

	loop_timer_stop(&s->expiry);
	if (!db_text(unit, 0, 0, column))
		return;
	int64_t left_ms = db_int(unit, 0, 0, column);
	loop_timer_start(&s->expiry, left_ms > 0 ? left_ms + 1 : 0);
}

static void on_expired(struct loop_timer *timer)
{
	subscriber_doubt(container_of(timer, struct hub_subscriber, expiry));
}
