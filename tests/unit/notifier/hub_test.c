/* hub_test.c - what subscribers of vehicles and fleets get, on two workers and a real PostgreSQL: every event once, in
 * order, without a hole, and nothing after their right has ended. */
#include <check.h>
#include <libpq-fe.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#include "base/json.h"
#include "base/loop.h"
#include "notifier/hub.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "sql/statements.h"
#include "tests/links.h"
#include "tests/servers.h"

#define WAIT_NS 8000000000ull
#define WORKERS 2
#define SEEN_MAX 4096

static struct test_postgres postgres;
static struct test_links links;
static struct loop *loop;

/* A worker with nothing but its hub, and a stage that makes events. */
static struct worker {
	char name[8];
	struct db *writer, *reader;
	struct hub *hub;
	struct batch *batch;
	struct batch_stage act;
} workers[WORKERS];
static bool inbox_is_cut; /* nothing that is forwarded arrives */

/* An app: what it saw, a line each: "CAR1:3:type", "F1::access.changed" or "end:fault". */
static struct app {
	struct hub_subscriber subscriber;
	struct worker *worker;
	char seen[SEEN_MAX];
	bool ready, ended, recovered;
	bool counts;	     /* its events are counted, and must come in order */
	int64_t last, given; /* the last event's seq; how many since it had room */
	int64_t room;	     /* how many it takes before it has none; 0: any number */
	int64_t vehicles;
} apps[8];

static const struct db_statement SQL_test_event = { "test_event",
	"select event_add($1::text, $2::text, $3::json, $4::text) from generate_series(1, $5::int)" };

/* What is to be written by a worker: an event, so many times in one transaction. */
static struct act {
	struct batch_item item;
	const char *type, *data, *left;
	int times;
	bool done;
} act;

static void pump_until(bool (*reached)(void))
{
	uint64_t until = uv_hrtime() + WAIT_NS;
	while (!reached()) {
		ck_assert_msg(uv_hrtime() < until, "what the test waits for did not happen in 8 s; seen: %s | %s",
			apps[0].seen, apps[1].seen);
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	}
}

static const char *ask(const char *sql)
{
	return test_postgres_ask(&postgres, sql);
}

static bool forward(void *owner, const char *name, const char *text, size_t len)
{
	(void)owner;
	for (size_t i = 0; i < WORKERS && !inbox_is_cut; i++) {
		if (strcmp(workers[i].name, name) == 0)
			hub_receive(workers[i].hub, text, len);
	}
	return true;
}

static void write_act(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	(void)stage, (void)cut;
	ck_assert_uint_eq(count, 1);
	db_unit_add(unit, &SQL_test_event);
	db_param_text(unit, items[0]->vehicle_id);
	db_param_text(unit, act.type);
	db_param_text(unit, act.data);
	db_param_text(unit, act.left);
	db_param_int(unit, act.times);
}

static bool all_quiet(void)
{
	for (size_t i = 0; i < WORKERS; i++) {
		if (!batch_is_idle(workers[i].batch) || !hub_is_quiet(workers[i].hub))
			return false;
	}
	return test_links_are_idle(&links);
}

static void worker_begin(struct worker *w, size_t i)
{
	snprintf(w->name, sizeof(w->name), "w%zu", i);
	w->writer = links.of[i].writer;
	w->reader = links.of[i].reader;
	w->hub = hub_new(
		loop, &(struct hub_options){
			      .worker = w->name, .writer = w->writer, .reader = w->reader, .forward = forward });
	w->act = (struct batch_stage){ .name = "act", .owner = w, .write = write_act };
	struct batch_stage *stages[] = { hub_interest_stage(w->hub), &w->act, hub_tell_stage(w->hub) };
	w->batch =
		batch_new(loop, w->writer, &(struct batch_options){ .items_max = 1000, .holder = w->name }, stages, 3);
	hub_attach(w->hub, w->batch);
}

/* CAR1 and CAR2 are in F1, CAR3 in F2. olga owns CAR1, dan drives it; max manages F1, otto is its operator. */
static const char seed[] =
	"delete from interest; delete from events; delete from grants; delete from vehicle_heads; delete from "
	"vehicles; delete "
	"from fleets;"
	"insert into fleets (fleet_id) values ('F1'), ('F2');"
	"insert into vehicles (vehicle_id, fleet_id) values ('CAR1', 'F1'), ('CAR2', 'F1'), ('CAR3', 'F2');"
	"insert into vehicle_heads (vehicle_id) values ('CAR1'), ('CAR2'), ('CAR3');"
	"insert into grants (object_kind, object_id, subject, role, granted_by, created_at)"
	" select k, o, s, r, 'test', now() - interval '1 hour' from (values ('vehicle', 'CAR1', 'olga', 'owner'),"
	" ('vehicle', 'CAR1', 'dan', 'driver'), ('fleet', 'F1', 'max', 'manager'), ('fleet', 'F1', 'otto', "
	"'operator')) as "
	"v(k, o, s, r)";

static void setup(void)
{
	memset(workers, 0, sizeof(workers));
	memset(apps, 0, sizeof(apps));
	inbox_is_cut = false;
	loop = links.loop;
	for (size_t i = 0; i < WORKERS; i++)
		worker_begin(&workers[i], i);
	ask(seed);
}

static void teardown(void)
{
	for (size_t i = 0; i < sizeof(apps) / sizeof(apps[0]); i++) {
		if (apps[i].worker)
			hub_unsubscribe(apps[i].worker->hub, &apps[i].subscriber);
	}
	for (size_t i = 0; i < WORKERS; i++)
		hub_stop(workers[i].hub);
	pump_until(all_quiet);
	for (size_t i = 0; i < WORKERS; i++) {
		batch_free(workers[i].batch);
		hub_free(workers[i].hub);
	}
}

/* Apps. */

static struct app *app_of(struct hub_subscriber *s)
{
	return container_of(s, struct app, subscriber);
}

static void add_seen(struct app *app, const char *line)
{
	size_t len = strlen(app->seen);
	snprintf(app->seen + len, sizeof(app->seen) - len, "%s%s", len ? " " : "", line);
}

static void on_ready(struct hub_subscriber *s, const struct hub_snapshot *snapshot)
{
	app_of(s)->ready = true;
	app_of(s)->vehicles = snapshot->vehicles;
	app_of(s)->recovered = snapshot->recovered;
}

static void on_event(struct hub_subscriber *s, const struct hub_event *event)
{
	char line[256];
	if (app_of(s)->counts) {
		ck_assert_int_eq(event->seq, ++app_of(s)->last);
		app_of(s)->given++;
		return;
	}
	snprintf(line, sizeof(line), "%s:%lld:%s", event->vehicle_id ? event->vehicle_id : event->fleet_id,
		(long long)event->seq, event->type);
	add_seen(app_of(s), line);
	snprintf(line, sizeof(line), "%.*s", (int)event->data_len, event->data);
	if (strcmp(event->type, "vehicle.moved") == 0)
		add_seen(app_of(s), line);
}

static void on_end(struct hub_subscriber *s, const struct fault *fault)
{
	char line[64];
	snprintf(line, sizeof(line), "end:%s", fault->name);
	add_seen(app_of(s), line);
	app_of(s)->ended = true;
}

static struct app *waited_for;
static const char *waited_text;

static bool is_settled(void)
{
	return waited_for->ready || waited_for->ended;
}

/* An app of `subject` ("admin" is admin) on a worker watches a vehicle or a fleet. */
static struct app *watch(size_t n, size_t worker, const char *subject, const char *id)
{
	struct app *app = &apps[n];

	app->worker = &workers[worker];
	app->subscriber = (struct hub_subscriber){ .subject = subject,
		.admin = strcmp(subject, "admin") == 0,
		.after = -1,
		.on_ready = on_ready,
		.on_event = on_event,
		.on_end = on_end };
	if (id[0] == 'C')
		hub_subscribe(app->worker->hub, &app->subscriber, id);
	else
		hub_subscribe_fleet(app->worker->hub, &app->subscriber, id);
	waited_for = app;
	pump_until(is_settled);
	return app;
}

static bool has_seen_text(void)
{
	return strstr(waited_for->seen, waited_text) != NULL;
}

static void until_seen(struct app *app, const char *text)
{
	waited_for = app;
	waited_text = text;
	pump_until(has_seen_text);
}

static bool has_seen_as_much(void)
{
	return strlen(waited_for->seen) >= strlen(waited_text);
}

/* Exactly this, as soon as it may come. */
#define assert_seen(app, text)                                                                                         \
	do {                                                                                                           \
		waited_for = (app);                                                                                    \
		waited_text = (text);                                                                                  \
		pump_until(has_seen_as_much);                                                                          \
		ck_assert_str_eq((app)->seen, text);                                                                   \
	} while (0)

/* Acting. */

static void on_acted(struct batch_item *item, const struct fault *fault)
{
	(void)item;
	ck_assert_ptr_null(fault);
	act.done = true;
}

static bool is_acted(void)
{
	return act.done;
}

static void write_events(
	size_t worker, const char *vehicle_id, const char *type, const char *data, const char *left, int times)
{
	struct worker *w = &workers[worker];

	act = (struct act){ .type = type, .data = data, .left = left, .times = times };
	act.item = (struct batch_item){ .stage = &w->act, .vehicle_id = vehicle_id, .on_done = on_acted };
	list_init(&act.item.node);
	ck_assert_ptr_null(batch_submit(w->batch, &act.item));
	pump_until(is_acted);
}

static void make(size_t worker, const char *vehicle_id, const char *type, const char *data, const char *left)
{
	write_events(worker, vehicle_id, type, data, left, 1);
}

static void happen(size_t worker, const char *vehicle_id)
{
	make(worker, vehicle_id, "state.reported", "{}", NULL);
}

/* Resuming. */

static bool has_room(const struct hub_subscriber *s)
{
	const struct app *app = container_of(s, struct app, subscriber);
	return app->room == 0 || app->given < app->room;
}

static struct app *resume(size_t n, const char *subject, const char *epoch, int64_t after, int64_t room)
{
	struct app *app = &apps[n];

	app->worker = &workers[0];
	app->counts = true;
	app->last = after;
	app->room = room;
	app->subscriber = (struct hub_subscriber){ .subject = subject,
		.epoch = epoch,
		.after = after,
		.on_ready = on_ready,
		.on_event = on_event,
		.has_room = has_room,
		.on_end = on_end };
	hub_subscribe(app->worker->hub, &app->subscriber, "CAR1");
	waited_for = app;
	pump_until(is_settled);
	return app;
}

static int64_t waited_seq;

static bool has_come_to(void)
{
	return waited_for->last >= waited_seq || waited_for->ended;
}

static void until_seq(struct app *app, int64_t seq)
{
	waited_for = app;
	waited_seq = seq;
	pump_until(has_come_to);
	ck_assert_int_eq(app->last, seq);
}

/* It has taken what it was given. */
static void take_all(struct app *app)
{
	app->given = 0;
	hub_carry_on(app->worker->hub, &app->subscriber);
}

static bool is_full(void)
{
	if (waited_for->given < waited_for->room)
		take_all(waited_for);
	return waited_for->given >= waited_for->room;
}

static void events(int count)
{
	char sql[128];
	snprintf(sql, sizeof(sql), "select event_add('CAR1', 'state.reported', '{}') from generate_series(1, %d)",
		count);
	ask(sql);
}

START_TEST(thousands_that_were_missed_come_in_order_and_live_ones_behind_them)
{
	events(3000);
	struct app *app = resume(0, "olga", NULL, 7, 0);

	ck_assert(app->recovered);
	happen(1, "CAR1");
	happen(0, "CAR1");
	until_seq(app, 3002);
	happen(1, "CAR1");
	until_seq(app, 3003);
	ck_assert(!app->subscriber.replaying);
	ck_assert(!app->ended);
}
END_TEST

/* More comes live than is kept for it: the rest is read again. */
START_TEST(slow_app_gets_its_replay_as_it_has_room)
{
	events(1200);
	struct app *app = resume(0, "olga", NULL, 0, 90);

	ck_assert(app->recovered);
	waited_for = app;
	pump_until(is_full);
	ck_assert_int_eq(app->last, 90);
	for (int i = 0; i < 300; i++)
		happen((size_t)i % WORKERS, "CAR1");
	ck_assert_int_eq(app->last, 90);
	while (app->last < 1500 - 90) {
		take_all(app);
		pump_until(is_full);
	}
	take_all(app);
	until_seq(app, 1500);
	happen(1, "CAR1");
	until_seq(app, 1501);
}
END_TEST

static size_t allocated(void)
{
	struct mallinfo2 m = mallinfo2();
	return m.uordblks + m.hblkhd;
}

/* Of large events a page has few, and as little is kept of what comes live: they are as large as a command with its result. */
START_TEST(slow_app_keeps_no_more_of_large_events)
{
	ask("select event_add('CAR1', 'state.reported', json_build_object('x', repeat('x', 131072))) from "
	    "generate_series(1, 100)");
	static char large[131072] = "\"";
	memset(large + 1, 'x', sizeof(large) - 3);
	large[sizeof(large) - 2] = '"';
	size_t before = allocated();
	struct app *app = resume(0, "olga", NULL, 0, 1);

	ck_assert(app->recovered);
	waited_for = app;
	pump_until(is_full);
	write_events(1, "CAR1", "state.reported", large, NULL, 60);
	pump_until(all_quiet);
	ck_assert_uint_lt(allocated() - before, 4 << 20);
	while (app->last < 159) {
		take_all(app);
		pump_until(is_full);
	}
	take_all(app);
	until_seq(app, 160);
	ck_assert_str_eq(ask("select count(*) from events_page('CAR1', 0, '-infinity', 500)"), "8");
	ck_assert_str_eq(ask("select count(*) from events_page('CAR1', 150, '-infinity', 3)"), "3");
}
END_TEST

START_TEST(epoch_counts_only_where_it_is_given)
{
	char epoch[80];

	events(3);
	snprintf(epoch, sizeof(epoch), "%s", ask("select history_epoch(false)"));
	ck_assert(resume(0, "olga", NULL, 1, 0)->recovered);
	ck_assert(resume(1, "olga", epoch, 1, 0)->recovered);
	ck_assert(!resume(2, "olga", "another", 1, 0)->recovered);
	ck_assert(!resume(3, "olga", NULL, 4, 0)->recovered);
	until_seq(&apps[0], 3);
	until_seq(&apps[1], 3);
}
END_TEST

START_TEST(log_that_is_shortened_below_a_replay_ends_it)
{
	events(1200);
	struct app *app = resume(0, "olga", NULL, 0, 90);

	ck_assert(app->recovered);
	waited_for = app;
	pump_until(is_full);
	ask("delete from events where seq <= 700");
	while (!app->ended) {
		take_all(app);
		uv_run(loop_uv(loop), UV_RUN_NOWAIT);
	}
	assert_seen(app, "end:overloaded");
	ck_assert_int_eq(app->last, 500);
}
END_TEST

START_TEST(grant_that_ends_amid_a_replay_ends_it)
{
	events(1200);
	struct app *app = resume(0, "dan", NULL, 0, 90);

	waited_for = app;
	pump_until(is_full);
	ask("delete from grants where subject = 'dan'");
	make(1, "CAR1", "access.changed", "{\"subject\":\"dan\",\"role\":null,\"expires_at\":null}", NULL);
	until_seen(app, "end:");
	assert_seen(app, "end:forbidden");
	ck_assert_int_eq(app->last, 90);
}
END_TEST

/* Fleets. */

START_TEST(fleet_hears_its_vehicles_from_both_workers)
{
	struct app *app = watch(0, 0, "otto", "F1");

	ck_assert(app->ready);
	ck_assert_int_eq(app->vehicles, 2);
	happen(0, "CAR1");
	happen(1, "CAR1");
	happen(1, "CAR2");
	happen(1, "CAR3");
	happen(0, "CAR1");
	assert_seen(app, "CAR1:1:state.reported CAR1:2:state.reported CAR2:1:state.reported CAR1:3:state.reported");
}
END_TEST

/* More than are looked for at once, and none of what was told before: each line is seen once, in order. */
START_TEST(all_events_of_one_transaction_are_told_with_it)
{
	static const int counts[] = { 7, 8, 9, 1, 16, 20 };
	struct app *app = watch(0, 0, "otto", "F1");
	struct text expected = { 0 };
	int seq = 0;

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		int before = seq;
		write_events(0, "CAR1", "state.reported", "{}", NULL, counts[i]);
		for (; seq < before + counts[i]; seq++)
			text_addf(&expected, "%sCAR1:%d:state.reported", seq > 0 ? " " : "", seq + 1);
		ck_assert_str_eq(app->seen, expected.data); /* at once: nothing was left for the hole to be filled */
	}
	text_free(&expected);
}
END_TEST

START_TEST(hole_of_a_fleets_vehicle_is_filled_in_order)
{
	struct app *app = watch(0, 0, "otto", "F1");

	happen(1, "CAR1");
	inbox_is_cut = true;
	happen(1, "CAR1");
	happen(1, "CAR1");
	inbox_is_cut = false;
	happen(1, "CAR1");
	until_seen(app, "CAR1:4");
	assert_seen(app, "CAR1:1:state.reported CAR1:2:state.reported CAR1:3:state.reported CAR1:4:state.reported");
}
END_TEST

START_TEST(last_event_of_a_vehicle_is_found_though_its_message_was_lost)
{
	struct app *app = watch(0, 0, "otto", "F1");

	inbox_is_cut = true;
	happen(1, "CAR2");
	until_seen(app, "CAR2:1");
}
END_TEST

static void join_unheard(const char *vehicle_id)
{
	char sql[256];

	inbox_is_cut = true;
	happen(1, vehicle_id);
	snprintf(sql, sizeof(sql), "update vehicles set fleet_id = 'F1' where vehicle_id = '%s'", vehicle_id);
	ask(sql);
	make(1, vehicle_id, "vehicle.moved", "{\"fleet_id\":\"F1\"}", "F2");
	happen(1, vehicle_id);
	inbox_is_cut = false;
}

#define JOINED "CAR3:2:vehicle.moved {\"fleet_id\":\"F1\"} CAR3:3:state.reported"

/* Nothing that it did in the fleet is left out, and nothing that it did before is told. */
START_TEST(a_vehicle_that_came_in_unheard_is_followed_from_then)
{
	struct app *app = watch(0, 0, "otto", "F1");

	join_unheard("CAR3");
	happen(1, "CAR3");
	assert_seen(app, JOINED " CAR3:4:state.reported");
}
END_TEST

/* It says nothing more, and the link was lost. */
START_TEST(a_vehicle_that_came_in_unheard_is_found_by_the_resync)
{
	struct app *app = watch(0, 0, "otto", "F1");

	join_unheard("CAR3");
	hub_resync(workers[0].hub);
	assert_seen(app, JOINED);
	happen(1, "CAR3");
	assert_seen(app, JOINED " CAR3:4:state.reported");
}
END_TEST

/* Who writes had looked for interest before there was any, and commits after the fleet's heads were read. */
START_TEST(what_was_under_way_at_the_subscription_is_found)
{
	PGconn *conn = PQconnectdb(postgres.url);

	PQclear(PQexec(conn, "begin"));
	PQclear(PQexec(conn, "select event_add('CAR1', 'state.reported', '{}')"));
	struct app *app = watch(0, 0, "otto", "F1");
	assert_seen(app, "");
	PQclear(PQexec(conn, "commit"));
	PQfinish(conn);
	until_seen(app, "CAR1:1");
	happen(1, "CAR1");
	assert_seen(app, "CAR1:1:state.reported CAR1:2:state.reported");
}
END_TEST

START_TEST(all_vehicles_with_those_that_come_later)
{
	struct app *app = watch(0, 0, "admin", "*");

	ck_assert_int_eq(app->vehicles, 3);
	ask("insert into vehicle_heads (vehicle_id, seq) values ('CAR9', 7); insert into vehicles (vehicle_id) values "
	    "('CAR9')");
	happen(1, "CAR9");
	until_seen(app, "CAR9:8"); /* where it began is read first, and others do not wait for it */
	happen(0, "CAR3");
	happen(1, "CAR9");
	assert_seen(app, "CAR9:8:state.reported CAR3:1:state.reported CAR9:9:state.reported");
}
END_TEST

/* The heads of a large fleet are read page by page: whoever is on the last is heard, and what was under way meanwhile is found. */
START_TEST(large_fleet_is_heard_to_its_last_vehicle)
{
	ask("insert into vehicles (vehicle_id, fleet_id) select 'CAS' || lpad(n::text, 5, '0'), 'F1' from "
	    "generate_series(1, 12000) n;"
	    "insert into vehicle_heads (vehicle_id) select vehicle_id from vehicles where vehicle_id like 'CAS%';"
	    "insert into vehicles (vehicle_id, fleet_id) values ('CB', 'F1')"); /* without a head */
	struct app *app = watch(0, 0, "max", "F1");

	ck_assert_int_eq(app->vehicles, 12003);
	inbox_is_cut = true;
	happen(1, "CAS00001");
	happen(1, "CAS05001");
	happen(1, "CAS12000");
	inbox_is_cut = false;
	happen(1, "CAS00001");
	happen(1, "CAS05001");
	happen(1, "CAS12000");
	assert_seen(app, "CAS00001:1:state.reported CAS00001:2:state.reported CAS05001:1:state.reported "
			 "CAS05001:2:state.reported CAS12000:1:state.reported CAS12000:2:state.reported");
}
END_TEST

START_TEST(strangers_watch_no_fleet)
{
	assert_seen(watch(0, 0, "sam", "F1"), "end:fleet-not-found");
	assert_seen(watch(1, 1, "otto", "F2"), "end:fleet-not-found");
	assert_seen(watch(2, 1, "sam", "F9"), "end:fleet-not-found");
	assert_seen(watch(3, 1, "admin", "F9"), "end:fleet-not-found");
	assert_seen(watch(4, 1, "max", "*"), "end:fleet-not-found");
	ck_assert_str_eq(ask("select count(*) from interest where kind = 'fleet'"), "0");
}
END_TEST

START_TEST(vehicle_and_fleet_watched_on_one_worker)
{
	struct app *fleet = watch(0, 0, "otto", "F1"), *vehicle = watch(1, 0, "dan", "CAR1");

	happen(1, "CAR1");
	happen(0, "CAR2");
	assert_seen(fleet, "CAR1:1:state.reported CAR2:1:state.reported");
	assert_seen(vehicle, "CAR1:1:state.reported");
	hub_unsubscribe(workers[0].hub, &fleet->subscriber);
	happen(1, "CAR1");
	assert_seen(vehicle, "CAR1:1:state.reported CAR1:2:state.reported");
	assert_seen(fleet, "CAR1:1:state.reported CAR2:1:state.reported");
}
END_TEST

START_TEST(interest_that_was_lost_is_written_again)
{
	struct app *app = watch(0, 0, "otto", "F1");

	ask("truncate interest");
	happen(1, "CAR1");
	hub_resync(workers[0].hub);
	until_seen(app, "CAR1:1");
	happen(1, "CAR1");
	assert_seen(app, "CAR1:1:state.reported CAR1:2:state.reported");
}
END_TEST

/* Moves. */

START_TEST(move_is_heard_on_both_sides)
{
	ask("insert into grants (object_kind, object_id, subject, role, granted_by) values ('fleet', 'F2', 'mia', "
	    "'manager', "
	    "'t')");
	struct app *left = watch(0, 0, "otto", "F1"), *joined = watch(1, 1, "mia", "F2"),
		   *owner = watch(2, 0, "olga", "CAR1"), *gone = watch(3, 0, "otto", "CAR1");

	ask("update vehicles set fleet_id = 'F2' where vehicle_id = 'CAR1'");
	make(1, "CAR1", "vehicle.moved", "{\"fleet_id\":\"F2\"}", "F1");
	happen(0, "CAR1");
	until_seen(gone, "end:");
	until_seen(owner, "CAR1:2");
	assert_seen(left, "CAR1:1:vehicle.moved {\"fleet_id\":null}");
	assert_seen(joined, "CAR1:1:vehicle.moved {\"fleet_id\":\"F2\"} CAR1:2:state.reported");
	assert_seen(owner, "CAR1:1:vehicle.moved {\"fleet_id\":\"F2\"} CAR1:2:state.reported");
	assert_seen(gone, "end:forbidden");
}
END_TEST

static bool is_over(void)
{
	return apps[1].ended;
}

/* The rights were read, and before the answer is here the vehicle has moved: the answer counts no more. (Where it was here
 * already, they are read again.) */
START_TEST(move_while_somebody_begins)
{
	static const char moved[] =
		"CAR1\t1\tF2\tF1\tvehicle.moved\t2026-01-01T00:00:00.000000Z\t{\"fleet_id\":\"F2\"}\n";
	struct app *app = &apps[1];

	watch(0, 0, "dan", "CAR1");
	app->worker = &workers[0];
	app->subscriber = (struct hub_subscriber){
		.subject = "otto", .after = -1, .on_ready = on_ready, .on_event = on_event, .on_end = on_end
	};
	hub_subscribe(workers[0].hub, &app->subscriber, "CAR1");
	uv_run(loop_uv(loop), UV_RUN_NOWAIT); /* the question leaves; its answer waits in the socket */
	ask("update vehicles set fleet_id = 'F2' where vehicle_id = 'CAR1'; select event_add('CAR1', 'vehicle.moved', "
	    "'{\"fleet_id\":\"F2\"}', 'F1')");
	hub_receive(workers[0].hub, moved, strlen(moved));
	pump_until(is_over);
	assert_seen(app, app->ready ? "end:forbidden" : "end:vehicle-not-found");
	until_seen(&apps[0], "CAR1:1:vehicle.moved");
}
END_TEST

/* Rights. */

START_TEST(access_of_others_is_skipped)
{
	struct app *manager = watch(0, 0, "max", "F1"), *operator= watch(1, 0, "otto", "F1"),
		   *owner = watch(2, 1, "olga", "CAR1"), *driver = watch(3, 1, "dan", "CAR1");

	make(0, "CAR1", "access.changed", "{\"subject\":\"vera\",\"role\":\"viewer\",\"expires_at\":null}", NULL);
	assert_seen(manager, "CAR1:1:access.changed");
	assert_seen(operator, "CAR1:1:skipped");
	assert_seen(owner, "CAR1:1:access.changed");
	assert_seen(driver, "CAR1:1:skipped");
}
END_TEST

START_TEST(nothing_follows_the_end_of_a_grant)
{
	struct app *driver = watch(0, 1, "dan", "CAR1");

	ask("delete from grants where subject = 'dan'");
	make(0, "CAR1", "access.changed", "{\"subject\":\"dan\",\"role\":null,\"expires_at\":null}", NULL);
	happen(0, "CAR1");
	happen(1, "CAR1");
	until_seen(driver, "end:");
	assert_seen(driver, "CAR1:1:access.changed end:forbidden");
}
END_TEST

/* What came while the rights were read again is given afterwards, in order. */
START_TEST(another_grant_carries_on)
{
	ask("insert into grants (object_kind, object_id, subject, role, granted_by) values ('vehicle', 'CAR1', 'otto', "
	    "'owner', "
	    "'t')");
	struct app *app = watch(0, 1, "otto", "CAR1");

	ask("delete from grants where subject = 'otto' and object_kind = 'vehicle'");
	make(0, "CAR1", "access.changed", "{\"subject\":\"otto\",\"role\":null,\"expires_at\":null}", NULL);
	happen(0, "CAR1");
	make(0, "CAR1", "access.changed", "{\"subject\":\"vera\",\"role\":\"viewer\",\"expires_at\":null}", NULL);
	until_seen(app, "CAR1:3");
	assert_seen(app, "CAR1:1:access.changed CAR1:2:state.reported CAR1:3:skipped");
}
END_TEST

START_TEST(grant_that_runs_out_ends_the_stream_and_one_that_is_prolonged_does_not)
{
	ask("update grants set expires_at = clock_timestamp() + interval '700 milliseconds' where subject in ('dan', "
	    "'otto')");
	struct app *driver = watch(0, 1, "dan", "CAR1"), *operator= watch(1, 0, "otto", "F1");
	ask("update grants set expires_at = null where subject = 'dan'");
	until_seen(operator, "end:");
	happen(0, "CAR1");
	until_seen(driver, "CAR1:1");
	assert_seen(driver, "CAR1:1:state.reported");
	assert_seen(operator, "end:forbidden");
}
END_TEST

static void tell_access(const char *subject, const char *role, int64_t version)
{
	char data[128];
	snprintf(data, sizeof(data),
		role ? "{\"subject\":\"%s\",\"role\":\"%s\",\"expires_at\":null}"
		     : "{\"subject\":\"%s\",\"role\":null,\"expires_at\":null}",
		subject, role);
	hub_tell_access(workers[0].hub, "F1", version, data, "w0,w1");
}

START_TEST(fleets_grants_are_told_to_managers_owners_and_their_subject)
{
	struct app *manager = watch(0, 1, "max", "F1"), *operator= watch(1, 1, "otto", "F1"),
		   *owner = watch(2, 0, "olga", "CAR1"), *driver = watch(3, 1, "dan", "CAR1"),
		   *of_vehicle = watch(4, 0, "otto", "CAR2"), *admin = watch(5, 1, "admin", "*");

	tell_access("vera", "viewer", 1);
	ask("delete from grants where subject = 'otto'");
	tell_access("otto", NULL, 2);
	until_seen(operator, "end:");
	until_seen(of_vehicle, "end:");
	assert_seen(manager, "F1:0:access.changed F1:0:access.changed");
	assert_seen(operator, "F1:0:access.changed end:forbidden");
	assert_seen(owner, "F1:0:access.changed F1:0:access.changed");
	assert_seen(driver, "");
	assert_seen(of_vehicle, "F1:0:access.changed end:forbidden");
	assert_seen(admin, "F1:0:access.changed F1:0:access.changed");
}
END_TEST

/* It is the affair of those who manage the fleet, on whichever worker they are; of one that does not exist nobody hears. */
START_TEST(what_is_tried_at_a_fleet_is_told_to_its_managers)
{
	struct app *manager = watch(0, 1, "max", "F1"), *operator= watch(1, 0, "otto", "F1"),
		   *owner = watch(2, 0, "olga", "CAR1"), *of_vehicle = watch(3, 1, "max", "CAR2"),
		   *admin = watch(4, 0, "admin", "*"), *other = watch(5, 1, "admin", "F2");

	ask("insert into leases (name) values ('worker/w0'), ('worker/w1')");
	hub_tell_alert(workers[0].hub, "NONE", "{}");
	hub_tell_alert(workers[0].hub, "F1", "{\"kind\":\"refusals\",\"subject\":\"otto\"}");
	until_seen(manager, "F1:0:security.alert");
	until_seen(admin, "F1:0:security.alert");
	tell_access("vera", "viewer", 1);
	until_seen(manager, "access.changed");
	until_seen(owner, "access.changed");
	assert_seen(manager, "F1:0:security.alert F1:0:access.changed");
	assert_seen(admin, "F1:0:security.alert F1:0:access.changed");
	assert_seen(owner, "F1:0:access.changed");
	assert_seen(of_vehicle, "F1:0:access.changed");
	assert_seen(operator, "");
	assert_seen(other, "");
}
END_TEST

static double cpu_s_of_tellings(int count, int64_t version)
{
	struct timespec begun, over;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begun);
	for (int i = 0; i < count; i++)
		tell_access("vera", "viewer", version + i);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &over);
	return (double)(over.tv_sec - begun.tv_sec) + (double)(over.tv_nsec - begun.tv_nsec) / 1e9;
}

/* By who watches it or its vehicles one by one, not by how many vehicles have a channel; and nobody else's interest is read. */
START_TEST(a_fleets_grants_cost_as_much_as_it_is_watched)
{
	watch(0, 0, "max", "F1");
	watch(1, 0, "olga", "CAR1");
	double few = cpu_s_of_tellings(3000, 1);
	ask("insert into vehicles (vehicle_id, fleet_id) select 'CAS' || lpad(n::text, 5, '0'), 'F1' from "
	    "generate_series(1, 12000) n;"
	    "insert into vehicle_heads (vehicle_id) select vehicle_id from vehicles where vehicle_id like 'CAS%';"
	    "insert into interest select 'vehicle', vehicle_id, 'w0' from vehicles where vehicle_id like 'CAS%';"
	    "analyze vehicles; analyze interest");
	watch(2, 0, "admin", "*");
	double many = cpu_s_of_tellings(3000, 3001);
	ck_assert_msg(many < 3 * few, "%f s, then %f s", few, many);

	char sql[4096];
	snprintf(sql, sizeof(sql), "explain (analyze, buffers, format json) %s", SQL_fleet_tell.text);
	const char *hits = strstr(ask(sql), "\"Shared Hit Blocks\": ");
	ck_assert_ptr_nonnull(hits);
	ck_assert_int_lt(atoi(hits + strlen("\"Shared Hit Blocks\": ")), 100);
}
END_TEST

START_TEST(end_of_a_fleets_grant_is_found_though_its_message_was_lost)
{
	struct app *operator= watch(0, 0, "otto", "F1"), *of_vehicle = watch(1, 1, "otto", "CAR1"),
		   *driver = watch(2, 1, "dan", "CAR1");

	ask("delete from grants where subject = 'otto'; update fleets set access_version = access_version + 1");
	until_seen(operator, "end:");
	until_seen(of_vehicle, "end:");
	happen(0, "CAR1");
	until_seen(driver, "CAR1:1");
	assert_seen(driver, "CAR1:1:state.reported");
}
END_TEST

/* As a fleet of that name, whose grants are counted anew. */
START_TEST(a_fleet_that_was_made_anew_is_another)
{
	ask("update fleets set access_version = 3 where fleet_id = 'F1'");
	struct app *operator= watch(0, 0, "otto", "F1");

	ask("delete from grants where subject = 'otto'; update fleets set access_version = 0 where fleet_id = 'F1'");
	until_seen(operator, "end:");
}
END_TEST

START_TEST(retired_vehicle_ends_all)
{
	struct app *admin = watch(0, 0, "admin", "CAR1"), *manager = watch(1, 1, "max", "CAR1"),
		   *fleet = watch(2, 1, "max", "F1");

	ask("update vehicles set retired_at = now() where vehicle_id = 'CAR1'");
	make(0, "CAR1", "vehicle.retired", "{}", NULL);
	until_seen(admin, "end:");
	until_seen(manager, "end:");
	assert_seen(fleet, "CAR1:1:vehicle.retired");
	assert_seen(admin, "end:forbidden");
	assert_seen(manager, "end:forbidden");
}
END_TEST

START_TEST(lines_that_cannot_be_read_are_passed_over)
{
	static const char *const lines[] = { "", "nonsense", "CAR1\t1\tF1\t\ttype", "a/b\t1\tF1\t\tt\tt\t{}",
		"\t1\t\t\taccess.changed\tt\t{}", "CAR1\t1\tF 1\t\tt\tt\t{}" };
	struct app *app = watch(0, 0, "otto", "F1");

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		hub_receive(workers[0].hub, lines[i], strlen(lines[i]));
	happen(1, "CAR1");
	assert_seen(app, "CAR1:1:state.reported");
}
END_TEST

static void start_server(void)
{
	test_links_open(&links, &postgres, WORKERS, 0);
}

static void end_server(void)
{
	test_links_close(&links, &postgres);
}

int main(void)
{
	Suite *suite = suite_create("notifier/hub");
	TCase *tc = tcase_create("hub");

	tcase_set_timeout(tc, 60);
	tcase_add_unchecked_fixture(tc, start_server, end_server);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, thousands_that_were_missed_come_in_order_and_live_ones_behind_them);
	tcase_add_test(tc, slow_app_gets_its_replay_as_it_has_room);
	tcase_add_test(tc, slow_app_keeps_no_more_of_large_events);
	tcase_add_test(tc, epoch_counts_only_where_it_is_given);
	tcase_add_test(tc, log_that_is_shortened_below_a_replay_ends_it);
	tcase_add_test(tc, grant_that_ends_amid_a_replay_ends_it);
	tcase_add_test(tc, fleet_hears_its_vehicles_from_both_workers);
	tcase_add_test(tc, all_events_of_one_transaction_are_told_with_it);
	tcase_add_test(tc, hole_of_a_fleets_vehicle_is_filled_in_order);
	tcase_add_test(tc, last_event_of_a_vehicle_is_found_though_its_message_was_lost);
	tcase_add_test(tc, a_vehicle_that_came_in_unheard_is_followed_from_then);
	tcase_add_test(tc, a_vehicle_that_came_in_unheard_is_found_by_the_resync);
	tcase_add_test(tc, what_was_under_way_at_the_subscription_is_found);
	tcase_add_test(tc, all_vehicles_with_those_that_come_later);
	tcase_add_test(tc, large_fleet_is_heard_to_its_last_vehicle);
	tcase_add_test(tc, strangers_watch_no_fleet);
	tcase_add_test(tc, vehicle_and_fleet_watched_on_one_worker);
	tcase_add_test(tc, interest_that_was_lost_is_written_again);
	tcase_add_test(tc, move_is_heard_on_both_sides);
	tcase_add_test(tc, move_while_somebody_begins);
	tcase_add_test(tc, access_of_others_is_skipped);
	tcase_add_test(tc, nothing_follows_the_end_of_a_grant);
	tcase_add_test(tc, another_grant_carries_on);
	tcase_add_test(tc, grant_that_runs_out_ends_the_stream_and_one_that_is_prolonged_does_not);
	tcase_add_test(tc, fleets_grants_are_told_to_managers_owners_and_their_subject);
	tcase_add_test(tc, what_is_tried_at_a_fleet_is_told_to_its_managers);
	tcase_add_test(tc, a_fleets_grants_cost_as_much_as_it_is_watched);
	tcase_add_test(tc, end_of_a_fleets_grant_is_found_though_its_message_was_lost);
	tcase_add_test(tc, a_fleet_that_was_made_anew_is_another);
	tcase_add_test(tc, retired_vehicle_ends_all);
	tcase_add_test(tc, lines_that_cannot_be_read_are_passed_over);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
