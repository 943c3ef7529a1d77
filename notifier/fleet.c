/* fleet.c - a fleet that somebody watches: its interest, where its vehicles have come to, and its grants.
 *
 *   interest committed ─ moment noted, heads read: live ─ heads read again until all who had begun before that moment are over, then now
 *                                                          and again, for who came in unheard
 *
 * No row is locked: what committed before the heads were read is in them, what began after the interest sees it, what was
 * under way is found by the later reading (docs/decisions/0005). From then on the channels of its vehicles are as those that
 * are watched by themselves: the next event is delivered, a hole is filled. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "notifier/hub_internal.h"
#include "sql/db.h"
#include "sql/statements.h"

#define IDLE_MS 5000
#define REST_MS 60000  /* between two readings of the heads that nothing calls for */
#define JOINS_MAX 64   /* of those that came in unheard, asked for in one reading, one by one */
#define HEADS_MAX 5000 /* read at once: the connection is others', too */

enum { NOW, HEADS }; /* the statements of a reading of the heads */

static void on_registered(struct db_unit *unit, void *context, const struct fault *fault);
static void read_heads(struct hub_fleet *f);
static void read_page(struct hub_fleet *f);
static void on_heads(struct db_unit *unit, void *context, const struct fault *fault);
static void on_compared(struct db_unit *unit, void *context, const struct fault *fault);
static void on_dropped(struct db_unit *unit, void *context, const struct fault *fault);
static bool begin_anew(struct hub_fleet *f);

struct hub_fleet *fleet_find(struct hub *hub, const char *fleet_id)
{
	struct hub_fleet *f = NULL;
	if (fleet_id)
		HASH_FIND_STR(hub->fleets, fleet_id, f);
	return f;
}

struct hub_fleet *fleet_get(struct hub *hub, const char *fleet_id)
{
	struct hub_fleet *f = fleet_find(hub, fleet_id);
	if (f)
		return f;
	f = memory_new(sizeof(*f));
	f->hub = hub;
	snprintf(f->fleet_id, sizeof(f->fleet_id), "%s", fleet_id);
	f->version = -1;
	list_init(&f->subscribers);
	list_init(&f->watched);
	HASH_ADD_STR(hub->fleets, fleet_id, f);
	return f;
}

void hub_fleet_free(struct hub_fleet *f)
{
	HASH_DEL(f->hub->fleets, f);
	free(f);
}

static bool is_watched(const struct hub_fleet *f)
{
	return f && f->registered;
}

bool fleet_wants(struct hub *hub, const struct hub_event *event)
{
	const struct hub_fleet *in = fleet_find(hub, event->fleet_id), *left = fleet_find(hub, event->left_fleet),
			       *all = fleet_find(hub, ALL_VEHICLES);
	return (in && in->live) || (left && left->live) || (all && all->live);
}

bool fleet_covers(const struct hub_channel *ch)
{
	return is_watched(ch->fleet) || is_watched(fleet_find(ch->hub, ALL_VEHICLES));
}

const char *fleet_follows(struct hub *hub, const char *fleet_id)
{
	const struct hub_fleet *in = fleet_find(hub, fleet_id), *all = fleet_find(hub, ALL_VEHICLES);

	return all && all->followed ? all->fleet_id : in && in->followed ? in->fleet_id : NULL;
}

/* Interest and heads. */

void fleet_register(struct hub_fleet *f)
{
	struct hub *hub = f->hub;

	if (f->registering)
		return;
	f->registering = true;
	struct db_unit *unit = db_unit_new(hub->options.writer, on_registered, f);
	db_unit_add(unit, &SQL_fleet_interest_add);
	db_param_text(unit, f->fleet_id);
	db_param_text(unit, hub->options.worker);
	hub->units++;
	db_unit_submit(unit);
}

static void end_beginners(struct hub_fleet *f, const struct fault *fault)
{
	list_for_each_safe (node, &f->subscribers) {
		struct hub_subscriber *s = container_of(node, struct hub_subscriber, node);
		if (!s->ready)
			subscriber_end(s, fault);
	}
}

static void on_registered(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct hub_fleet *f = context;

	(void)unit;
	f->hub->units--;
	f->registering = false;
	if (begin_anew(f))
		return;
	if (fault) {
		end_beginners(f, fault == &FAULT_STATEMENT ? &FAULT_INTERNAL : fault);
		return;
	}
	f->registered = true;
	f->live = false;
	f->until[0] = '\0';
	read_heads(f);
}

static void read_heads(struct hub_fleet *f)
{
	f->last[0] = '\0';
	f->joined = 0;
	f->read_ms = loop_monotonic_ms(f->hub->loop);
	read_page(f);
}

static void read_page(struct hub_fleet *f)
{
	struct hub *hub = f->hub;
	struct db_unit *unit = db_unit_new(hub->options.reader, on_heads, f);

	f->registering = true;
	db_unit_add(unit, &SQL_fleet_now);
	db_param_text(unit, f->until[0] ? f->until : NULL);
	db_unit_add(unit, &SQL_fleet_heads);
	db_param_text(unit, f->fleet_id);
	db_param_text(unit, f->last);
	db_param_int(unit, HEADS_MAX);
	hub->units++;
	db_unit_submit(unit);
}

/* Beginners have read their grant, and read it once more: the first time may be long ago. */
static void become_live(struct hub_fleet *f)
{
	memcpy(f->until, f->moment, sizeof(f->until));
	f->live = f->followed = true;
	list_for_each_safe (node, &f->subscribers) {
		struct hub_subscriber *s = container_of(node, struct hub_subscriber, node);
		if (!s->ready)
			subscribe_begin(s);
	}
}

/* Whoever was there at the first reading has a channel. */
static void take_head(struct hub_fleet *f, const char *vehicle_id, const char *in, int64_t seq)
{
	if (!f->followed || channel_find(f->hub, vehicle_id))
		channel_adopt(f->hub, vehicle_id, in, seq);
	else if (f->joined++ < JOINS_MAX)
		channel_join(f->hub, vehicle_id, f->fleet_id);
}

/* The bigger the fleet, the longer: a thousandth of the time, at most, is spent on what is hardly ever needed. */
static void pause_reading(struct hub_fleet *f)
{
	int64_t took_ms = loop_monotonic_ms(f->hub->loop) - f->read_ms;

	f->rest_ms = 1000 * took_ms > REST_MS ? 1000 * took_ms : REST_MS;
	if (f->joined > JOINS_MAX)
		f->rest_ms = 0;
}

/* Whether a resync waited for what is over now: nothing of that counts. */
static bool begin_anew(struct hub_fleet *f)
{
	bool anew = f->anew && loop_timer_is_started(&f->hub->tidy); /* else the worker ends */

	f->anew = false;
	if (anew)
		fleet_register(f);
	return anew;
}

/* What its first page says of time holds for all that follow, which are read later. */
static void on_heads(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct hub_fleet *f = context;
	size_t rows = fault ? 0 : db_rows(unit, HEADS);

	f->hub->units--;
	f->registering = false;
	if (begin_anew(f))
		return;
	if (fault || !loop_timer_is_started(&f->hub->tidy))
		return; /* the tidying tries again; or the worker ends */
	if (!f->last[0]) {
		snprintf(f->moment, sizeof(f->moment), "%s", db_text(unit, NOW, 0, 0));
		f->over = db_bool(unit, NOW, 0, 1);
	}
	for (size_t row = 0; row < rows; row++) {
		if (db_text(unit, HEADS, row, 1))
			take_head(f, db_text(unit, HEADS, row, 0), db_text(unit, HEADS, row, 2),
				db_int(unit, HEADS, row, 1));
	}
	if (rows == HEADS_MAX) {
		snprintf(f->last, sizeof(f->last), "%s", db_text(unit, HEADS, rows - 1, 0));
		read_page(f);
		return;
	}
	pause_reading(f);
	if (!f->live)
		become_live(f);
	else if (f->over)
		f->until[0] = '\0';
}

void fleet_resync(struct hub *hub)
{
	struct hub_fleet *f, *next;
	HASH_ITER (hh, hub->fleets, f, next) {
		if (!f->registered)
			continue;
		f->live = false;
		f->anew = f->registering;
		fleet_register(f);
	}
}

static bool is_droppable(struct hub_fleet *f)
{
	int64_t now = loop_monotonic_ms(f->hub->loop);

	if (!list_is_empty(&f->subscribers))
		f->idle_since_ms = 0;
	else if (f->idle_since_ms == 0)
		f->idle_since_ms = now;
	return f->idle_since_ms > 0 && now - f->idle_since_ms >= IDLE_MS && !f->registering;
}

static void drop_interest(struct hub *hub, struct db_array *fleets)
{
	if (fleets->count == 0)
		return;
	struct db_unit *unit = db_unit_new(hub->options.writer, on_dropped, hub);
	db_unit_add(unit, &SQL_fleet_interest_drop);
	db_param_array(unit, fleets);
	db_param_text(unit, hub->options.worker);
	hub->units++;
	db_unit_submit(unit);
}

/* A row that stays costs a few messages that nobody reads; the worker's end removes it. */
static void on_dropped(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct hub *hub = context;
	(void)unit;
	(void)fault;
	hub->units--;
}

static bool is_read_long_ago(const struct hub_fleet *f)
{
	return loop_monotonic_ms(f->hub->loop) - f->read_ms >= f->rest_ms;
}

void fleet_tidy(struct hub *hub)
{
	struct db_array dropped = { 0 };
	struct hub_fleet *f, *next;

	HASH_ITER (hh, hub->fleets, f, next) {
		if (is_droppable(f)) {
			if (f->registered)
				db_array_text(&dropped, f->fleet_id);
			f->registered = f->live = f->followed = false;
			if (f->channels == 0)
				hub_fleet_free(f);
		} else if (f->registered && !f->live) {
			fleet_register(f);
		} else if (f->live && !f->registering && (f->until[0] || is_read_long_ago(f))) {
			read_heads(f);
		}
	}
	drop_interest(hub, &dropped);
}

/* Events of its vehicles. */

static void give(struct hub_fleet *f, struct hub_event *event)
{
	list_for_each_safe (node, &f->subscribers) {
		struct hub_subscriber *s = container_of(node, struct hub_subscriber, node);
		if (!s->ready)
			continue;
		if (s->subscribing)
			subscribe_keep(s, event);
		else
			subscriber_give(s, event);
	}
}

void fleet_deliver(struct hub *hub, struct hub_event *event)
{
	struct hub_fleet *in = fleet_find(hub, event->fleet_id), *left = fleet_find(hub, event->left_fleet),
			 *all = fleet_find(hub, ALL_VEHICLES);

	if (left && !list_is_empty(&left->subscribers)) {
		struct hub_event *parting = event_new_left(event);
		give(left, parting);
		hub_event_unref(parting);
	}
	if (in)
		give(in, event);
	if (all)
		give(all, event);
}

/* Events of its own. */

static void give_access(struct list *subscribers, struct hub_event *event)
{
	list_for_each_safe (node, subscribers)
		subscriber_give_access(container_of(node, struct hub_subscriber, node), event);
}

/* Those of its vehicles' channels that have subscribers. Whoever is called may end any subscription, so that its channel leaves
 * the list. */
static void give_access_by_vehicle(struct hub_fleet *f, struct hub_event *event)
{
	struct list round, *node;

	list_init(&round);
	list_append_all(&round, &f->watched);
	while ((node = list_take_first(&round))) {
		list_append(&f->watched, node);
		give_access(&container_of(node, struct hub_channel, fleet_node)->subscribers, event);
	}
}

static void take_access(struct hub_fleet *f, struct hub_fleet *all, struct hub_event *event, int64_t version)
{
	if (f && f->version >= 0 && version == f->version + 1)
		f->version = version;
	if (f)
		give_access(&f->subscribers, event);
	if (all)
		give_access(&all->subscribers, event);
	if (f)
		give_access_by_vehicle(f, event);
}

/* Managers of the fleet watch it; what is tried at it is not the affair of its vehicles' owners. */
static void take_alert(struct hub_fleet *f, struct hub_fleet *all, struct hub_event *event)
{
	struct hub_fleet *const of[] = { f, all };

	for (size_t i = 0; i < 2; i++) {
		if (!of[i])
			continue;
		list_for_each_safe (node, &of[i]->subscribers)
			subscriber_give_alert(container_of(node, struct hub_subscriber, node), event);
	}
}

void fleet_take_own(struct hub *hub, struct hub_event *event, int64_t version)
{
	static unsigned serial;
	struct hub_fleet *f = fleet_find(hub, event->fleet_id), *all = fleet_find(hub, ALL_VEHICLES);

	event->serial = __atomic_add_fetch(&serial, 1, __ATOMIC_RELAXED);
	if (event_is(event, "security.alert"))
		take_alert(f, all, event);
	else
		take_access(f, all, event, version);
}

/* The net under a lost message: whoever rests on a fleet whose grants were changed unheard is in doubt. */

static void doubt_all(struct list *subscribers)
{
	list_for_each_safe (node, subscribers) {
		struct hub_subscriber *s = container_of(node, struct hub_subscriber, node);
		if (s->ready && !s->admin)
			subscriber_doubt(s);
	}
}

static void doubt_fleet(struct hub_fleet *f)
{
	doubt_all(&f->subscribers);
	list_for_each (node, &f->watched)
		doubt_all(&container_of(node, struct hub_channel, fleet_node)->subscribers);
}

void fleet_compare(struct hub *hub)
{
	struct db_array fleets = { 0 };
	struct hub_fleet *f, *next;

	if (hub->comparing)
		return;
	HASH_ITER (hh, hub->fleets, f, next) {
		if (f->version >= 0)
			db_array_text(&fleets, f->fleet_id);
	}
	if (fleets.count == 0)
		return;
	struct db_unit *unit = db_unit_new(hub->options.reader, on_compared, hub);
	db_unit_add(unit, &SQL_fleet_versions);
	db_param_array(unit, &fleets);
	hub->comparing = true;
	hub->units++;
	db_unit_submit(unit);
}

static void on_compared(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct hub *hub = context;

	hub->units--;
	hub->comparing = false;
	for (size_t row = 0; !fault && row < db_rows(unit, 0); row++) {
		struct hub_fleet *f = fleet_find(hub, db_text(unit, 0, row, 0));
		int64_t version = db_text(unit, 0, row, 1) ? db_int(unit, 0, row, 1) : -1;
		if (!f || f->version < 0 || version == f->version)
			continue; /* one that was made anew counts from 0 */
		f->version = version;
		doubt_fleet(f);
	}
}
