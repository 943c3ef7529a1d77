/* lease.c - look who is dead, renew, take or give back; every second, and at once when somebody has died.
 *
 *   tick ─ who is dead ─ renew own and held ─ count workers ─┬─ too few held: take some that are free
 *                                                            └─ too many held: drop some
 *   a will ─ who is dead, ten times a second ─ it is: tick */
#include "gateway/lease.h"

#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "sql/db.h"
#include "sql/statements.h"

#define TICK_MS 1000
#define OVERDUE_MS 1500 /* who is alive renews in less, unless it has lost its connection and finds no other */
#define LOOK_MS 100	/* a server takes a moment to see that a client is gone … */
#define LOOKS_MAX 10	/* … and then whoever is still silent is overdue soon */
#define ALIVE_MS (LEASE_MS - 1000) /* we stop believing before others do */
#define HEARD_MAX 64
#define HELD_MAX 64

enum { WORKERS, FREE, FEEDS, EARLIER }; /* columns of lease_workers.sql */

struct held {
	char name[24];
	bool renewed;
};

/* A worker whose last will was heard, and who is not known to be dead. */
struct heard {
	char worker[40];
	unsigned looks;
};

struct leases {
	struct loop *loop;
	struct db *db;
	struct lease_options options;
	struct loop_timer timer, look;
	struct held held[HELD_MAX];
	struct heard heard[HEARD_MAX];
	size_t count, heard_count;
	int64_t tick_ms;    /* when the renewal under way was sent */
	int64_t began_ms;   /* monotonic */
	int64_t renewed_ms; /* when the last successful one was sent; 0: never */
	unsigned under_way; /* units whose answer is out */
	bool is_connected;  /* has been since then */
	bool has_lost;	    /* a connection, ever */
	bool is_renewing;
	bool is_hurried; /* what the renewal under way counts has changed */
	bool is_refused; /* the last renewal, by the database */
	bool ending;
	void (*on_ended)(void *owner);
};

static void on_tick(struct loop_timer *timer);
static void on_look(struct loop_timer *timer);
static void bury(struct leases *l);
static void on_buried(struct db_unit *unit, void *context, const struct fault *fault);
static void hurry(struct leases *l);
static void end_frozen(struct leases *l);
static void on_frozen_ended(struct db_unit *unit, void *context, const struct fault *fault);
static void on_renewed(struct db_unit *unit, void *context, const struct fault *fault);
static void set_refused(struct leases *l, bool is_refused);
static void read_renewed(struct leases *l, struct db_unit *unit);
static void balance(struct leases *l, const struct db_unit *unit);
static void take(struct leases *l, size_t count);
static void on_taken(struct db_unit *unit, void *context, const struct fault *fault);
static void give_back(struct leases *l, size_t count);
static void end_when_quiet(struct leases *l);
static void on_ended(struct db_unit *unit, void *context, const struct fault *fault);

struct leases *lease_new(struct loop *loop, struct db *db, const struct lease_options *options)
{
	struct leases *l = memory_new(sizeof(*l));
	l->loop = loop;
	l->db = db;
	l->options = *options;
	l->has_lost = options->has_lost;
	loop_timer_init(loop, &l->timer, on_tick);
	loop_timer_init(loop, &l->look, on_look);
	return l;
}

void lease_free(struct leases *l)
{
	if (l) {
		loop_timer_stop(&l->timer);
		loop_timer_stop(&l->look);
	}
	free(l);
}

void lease_start(struct leases *l)
{
	l->began_ms = loop_monotonic_ms(l->loop);
	loop_timer_start(&l->timer, 0);
}

bool lease_is_alive(const struct leases *l)
{
	return l->renewed_ms > 0 && l->is_connected && !l->ending &&
	       loop_monotonic_ms(l->loop) - l->renewed_ms < ALIVE_MS;
}

bool lease_is_refused(const struct leases *l)
{
	return l->is_refused;
}

static void set_refused(struct leases *l, bool is_refused)
{
	if (l->is_refused == is_refused)
		return;
	l->is_refused = is_refused;
	l->options.on_refused(l->options.owner);
}

size_t lease_held(const struct leases *l)
{
	return l->count;
}

static struct held *find(struct leases *l, const char *name)
{
	for (size_t i = 0; i < l->count; i++) {
		if (strcmp(l->held[i].name, name) == 0)
			return &l->held[i];
	}
	return NULL;
}

void lease_forget(struct leases *l, const char *name)
{
	struct held *h = find(l, name);
	if (!h)
		return;
	*h = l->held[--l->count];
	metric_add(METRIC_LEASES_HELD, -1);
}

static void on_tick(struct loop_timer *timer)
{
	struct leases *l = container_of(timer, struct leases, timer);

	bury(l);
	struct db_unit *unit = db_unit_new(l->db, on_renewed, l);
	l->under_way++;
	l->is_renewing = true;
	l->tick_ms = loop_monotonic_ms(l->loop);
	for (size_t i = 0; i < l->count; i++)
		l->held[i].renewed = false;
	db_unit_add(unit, &SQL_lease_renew);
	db_param_text(unit, l->options.worker);
	db_param_text(unit, l->options.node);
	db_param_int(unit, LEASE_MS);
	db_unit_add(unit, &SQL_lease_workers);
	db_param_text(unit, l->options.worker);
	db_unit_submit(unit);
	end_frozen(l);
}

/* Somebody else's death. */

void lease_on_will(struct leases *l, const char *worker)
{
	if (l->ending || l->heard_count == HEARD_MAX)
		return; /* its lease runs out by itself */
	struct heard *h = &l->heard[l->heard_count++];
	snprintf(h->worker, sizeof(h->worker), "%s", worker);
	h->looks = 0;
	loop_timer_start(&l->look, 0);
}

static void on_look(struct loop_timer *timer)
{
	struct leases *l = container_of(timer, struct leases, look);

	for (size_t i = l->heard_count; i-- > 0;) {
		if (++l->heard[i].looks > LOOKS_MAX)
			l->heard[i] = l->heard[--l->heard_count];
	}
	if (l->heard_count == 0)
		return;
	bury(l);
	loop_timer_start(timer, LOOK_MS);
}

/* A transaction of its own: its view of the server's sessions is not older than what it asks for. */
static void bury(struct leases *l)
{
	struct db_array heard = { 0 };
	struct db_unit *unit = db_unit_new(l->db, on_buried, l);

	l->under_way++;
	for (size_t i = 0; i < l->heard_count; i++)
		db_array_text(&heard, l->heard[i].worker);
	db_unit_add(unit, &SQL_lease_bury);
	db_param_text(unit, l->options.worker);
	db_param_array(unit, &heard);
	db_param_int(unit, OVERDUE_MS);
	db_param_int(unit, LEASE_MS);
	db_param_bool(unit, !l->has_lost);
	db_unit_submit(unit);
}

static void forget_heard(struct leases *l, const char *worker)
{
	for (size_t i = l->heard_count; i-- > 0;) {
		if (strcmp(l->heard[i].worker, worker) == 0)
			l->heard[i] = l->heard[--l->heard_count];
	}
}

static void on_buried(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct leases *l = context;

	l->under_way--;
	if (l->ending) {
		end_when_quiet(l);
		return;
	}
	for (size_t row = 0; !fault && row < db_rows(unit, 0); row++) {
		forget_heard(l, db_text(unit, 0, row, 0));
		if (db_bool(unit, 0, row, 1))
			log_warn("lease", "a worker is dead: its session with the database is over",
				LOG_TEXT("worker", db_text(unit, 0, row, 0)));
	}
	if (!fault && db_rows(unit, 0) > 0) {
		hurry(l);
		l->options.on_death(l->options.owner);
	}
}

/* Whoever finds it first is not the only one who has more to do now. */
static void hurry(struct leases *l)
{
	if (l->is_renewing)
		l->is_hurried = true;
	else
		loop_timer_start(&l->timer, 0);
}

void lease_on_connection(struct leases *l, bool is_up)
{
	if (!is_up) {
		l->is_connected = false;
		l->has_lost = true;
	} else if (!l->ending) {
		hurry(l);
	}
}

/* A unit that its node has sent in part holds vehicles, and leases, which nobody takes while they are locked. */
static void end_frozen(struct leases *l)
{
	struct db_unit *unit = db_unit_new(l->db, on_frozen_ended, l);

	l->under_way++;
	db_unit_add(unit, &SQL_frozen_end);
	db_unit_submit(unit);
}

static void on_frozen_ended(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct leases *l = context;

	l->under_way--;
	if (!fault && db_int(unit, 0, 0, 0) > 0)
		log_warn("lease", "a session that stood still amid a transaction was ended",
			LOG_INT("sessions", db_int(unit, 0, 0, 0)));
	if (l->ending)
		end_when_quiet(l);
}

static void on_renewed(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct leases *l = context;
	bool was_alive = lease_is_alive(l);

	l->under_way--;
	l->is_renewing = false;
	if (l->ending) {
		end_when_quiet(l);
		return;
	}
	set_refused(l, fault && db_unit_sqlstate(unit)[0]);
	if (!fault) {
		read_renewed(l, unit);
		balance(l, unit);
	}
	loop_timer_start(&l->timer, l->is_hurried ? 0 : TICK_MS);
	l->is_hurried = false;
	if (!was_alive && lease_is_alive(l))
		l->options.on_alive(l->options.owner);
}

/* What was not renewed is another's, or nobody's: lost. */
static void read_renewed(struct leases *l, struct db_unit *unit)
{
	bool first = l->renewed_ms == 0, lapsed = db_bool(unit, 0, 0, 2);

	l->renewed_ms = l->tick_ms;
	l->is_connected = true;
	for (size_t row = 1; row < db_rows(unit, 0); row++) {
		struct held *h = find(l, db_text(unit, 0, row, 0));
		if (h)
			h->renewed = true;
	}
	for (size_t i = l->count; i-- > 0;) {
		if (l->held[i].renewed)
			continue;
		char name[24];
		memcpy(name, l->held[i].name, sizeof(name));
		log_warn("lease", "a feed was taken over", LOG_TEXT("feed", name));
		metric_add(METRIC_LEASES_LOST, 1);
		lease_forget(l, name);
		l->options.on_dropped(l->options.owner, name);
	}
	if (lapsed && !first)
		l->options.on_lapsed(l->options.owner);
}

/* What is left when all have the same goes to the first of them, so that the shares are all feeds and nobody has two more than another. Our node's
 * other workers are counted before they are up; not when one of them stands still later: then its feeds are for the others. */
static size_t share_of(const struct leases *l, const struct db_unit *unit)
{
	bool is_new = loop_monotonic_ms(l->loop) - l->began_ms < LEASE_MS;
	size_t least = is_new ? l->options.node_workers : 1;
	size_t workers = (size_t)db_int(unit, 1, 0, WORKERS), feeds = (size_t)db_int(unit, 1, 0, FEEDS);

	if (workers < least)
		workers = least;
	return feeds / workers + ((size_t)db_int(unit, 1, 0, EARLIER) < feeds % workers);
}

static void balance(struct leases *l, const struct db_unit *unit)
{
	size_t share = share_of(l, unit);

	if (l->count < share && db_int(unit, 1, 0, FREE) > 0)
		take(l, share - l->count);
	else if (l->count > share)
		give_back(l, l->count - share);
}

static void take(struct leases *l, size_t count)
{
	struct db_unit *unit = db_unit_new(l->db, on_taken, l);

	l->under_way++;
	db_unit_add(unit, &SQL_lease_take);
	db_param_text(unit, l->options.worker);
	db_param_text(unit, l->options.node);
	db_param_int(unit, LEASE_MS);
	db_param_int(unit, (int64_t)count);
	db_unit_submit(unit);
}

static void on_taken(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct leases *l = context;

	l->under_way--;
	for (size_t row = 0; !fault && row < db_rows(unit, 0) && l->count < HELD_MAX; row++) {
		struct held *h = &l->held[l->count++];
		snprintf(h->name, sizeof(h->name), "%s", db_text(unit, 0, row, 0));
		h->renewed = true;
		metric_add(METRIC_LEASES_HELD, 1);
		if (!l->ending)
			l->options.on_taken(l->options.owner, h->name, db_int(unit, 0, row, 1));
	}
	if (l->ending)
		end_when_quiet(l);
}

static void ignore(struct db_unit *unit, void *context, const struct fault *fault)
{
	(void)unit;
	(void)context;
	(void)fault;
}

static void give_back(struct leases *l, size_t count)
{
	struct db_array names = { 0 };

	while (count-- > 0) {
		char name[24];
		memcpy(name, l->held[l->count - 1].name, sizeof(name));
		db_array_text(&names, name);
		lease_forget(l, name);
		l->options.on_dropped(l->options.owner, name);
	}
	struct db_unit *unit = db_unit_new(l->db, ignore, NULL);
	db_unit_add(unit, &SQL_lease_release);
	db_param_array(unit, &names);
	db_param_text(unit, l->options.worker);
	db_unit_submit(unit);
}

void lease_end(struct leases *l, void (*on_ended_)(void *owner))
{
	l->ending = true;
	l->on_ended = on_ended_;
	loop_timer_stop(&l->timer);
	loop_timer_stop(&l->look);
	end_when_quiet(l);
}

static void end_when_quiet(struct leases *l)
{
	if (l->under_way > 0)
		return;

	struct db_unit *unit = db_unit_new(l->db, on_ended, l);

	while (l->count > 0) {
		char name[24];
		memcpy(name, l->held[l->count - 1].name, sizeof(name));
		lease_forget(l, name);
		l->options.on_dropped(l->options.owner, name);
	}
	db_unit_add(unit, &SQL_worker_end);
	db_param_text(unit, l->options.worker);
	db_unit_submit(unit);
}

static void on_ended(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct leases *l = context;

	(void)unit;
	if (fault)
		log_warn("lease", "the leases run out by themselves", LOG_TEXT("fault", fault->name));
	l->on_ended(l->options.owner);
}
