/* ground.c - two workers, what they write, and the apps that watch. */
#include "tests/unit/notifier/hub/ground.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "sql/db.h"
#include "tests/links.h"

#define WAIT_NS 8000000000ull

struct test_postgres postgres;
struct loop *loop;
struct worker workers[WORKERS];
bool inbox_is_cut;
struct app apps[8];

static struct test_links links;

static const struct db_statement SQL_test_event = { "test_event",
	"select event_add($1::text, $2::text, $3::json, $4::text) from generate_series(1, $5::int)" };

/* What is to be written by a worker: an event, so many times in one transaction. */
static struct act {
	struct batch_item item;
	const char *type, *data, *left;
	int times;
	bool done;
} act;

void pump_until(bool (*reached)(void))
{
	uint64_t until = uv_hrtime() + WAIT_NS;
	while (!reached()) {
		ck_assert_msg(uv_hrtime() < until, "what the test waits for did not happen in 8 s; seen: %s | %s",
			apps[0].seen, apps[1].seen);
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	}
}

const char *ask(const char *sql)
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

bool all_quiet(void)
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

TCase *case_new(Suite *suite, const char *name)
{
	TCase *tc = tcase_create(name);

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	suite_add_tcase(suite, tc);
	return tc;
}

void ground_open(void)
{
	test_links_open(&links, &postgres, WORKERS, 0);
}

void ground_close(void)
{
	test_links_close(&links, &postgres);
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

static struct app *until_settled(struct app *app)
{
	waited_for = app;
	pump_until(is_settled);
	return app;
}

/* "admin" is admin. */
void begin_to_watch(size_t n, size_t worker, const char *subject, const char *id)
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
}

struct app *watch(size_t n, size_t worker, const char *subject, const char *id)
{
	begin_to_watch(n, worker, subject, id);
	return until_settled(&apps[n]);
}

static bool has_room(const struct hub_subscriber *s)
{
	const struct app *app = container_of(s, struct app, subscriber);
	return app->room == 0 || app->given < app->room;
}

struct app *resume(size_t n, const char *subject, const char *epoch, int64_t after, int64_t room)
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
	return until_settled(app);
}

static bool has_ended(void)
{
	return waited_for->ended;
}

void until_ended(struct app *app)
{
	waited_for = app;
	pump_until(has_ended);
}

static bool has_seen_text(void)
{
	return strstr(waited_for->seen, waited_text) != NULL;
}

void until_seen(struct app *app, const char *text)
{
	waited_for = app;
	waited_text = text;
	pump_until(has_seen_text);
}

static bool has_seen_as_much(void)
{
	return strlen(waited_for->seen) >= strlen(waited_text);
}

void until_seen_as_much(struct app *app, const char *text)
{
	waited_for = app;
	waited_text = text;
	pump_until(has_seen_as_much);
}

static int64_t waited_seq;

static bool has_come_to(void)
{
	return waited_for->last >= waited_seq || waited_for->ended;
}

void until_seq(struct app *app, int64_t seq)
{
	waited_for = app;
	waited_seq = seq;
	pump_until(has_come_to);
	ck_assert_int_eq(app->last, seq);
}

void take_all(struct app *app)
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

void until_full(struct app *app)
{
	waited_for = app;
	pump_until(is_full);
}

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

void write_events(
	size_t worker, const char *vehicle_id, const char *type, const char *data, const char *left, int times)
{
	struct worker *w = &workers[worker];

	act = (struct act){ .type = type, .data = data, .left = left, .times = times };
	act.item = (struct batch_item){ .stage = &w->act, .vehicle_id = vehicle_id, .on_done = on_acted };
	list_init(&act.item.node);
	ck_assert_ptr_null(batch_submit(w->batch, &act.item));
	pump_until(is_acted);
}

void make(size_t worker, const char *vehicle_id, const char *type, const char *data, const char *left)
{
	write_events(worker, vehicle_id, type, data, left, 1);
}

void happen(size_t worker, const char *vehicle_id)
{
	make(worker, vehicle_id, "state.reported", "{}", NULL);
}
