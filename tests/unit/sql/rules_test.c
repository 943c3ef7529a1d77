/* rules_test.c - the three rules of the database, each with one side stopped where it hurts: see after you lock, lock in one
 * order, tell nothing that is not durable.
 *
 * Two workers with the flows of the product run on one loop. A transaction is stopped at its COMMIT, when it has its locks and
 * has written all: a deferred trigger asks for an advisory lock that the test holds. What waits is seen in pg_locks. */
#include <check.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/loop.h"
#include "base/metrics.h"
#include "base/mqtt/link.h"
#include "base/receipt.h"
#include "commands/accept.h"
#include "commands/dispatch.h"
#include "commands/ports.h"
#include "notifier/hub.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "sql/statements.h"
#include "state/lifecycle_event.h"
#include "state/reachability.h"
#include "tests/links.h"
#include "tests/servers.h"

#define WAIT_NS 20000000000ull
#define WORKERS 2
#define CAR "CAR1"
#define CROSSING 128  /* vehicles of a transaction */
#define CARS 192      /* of whom they are */
#define CROSSINGS 150 /* transactions of each worker */

static struct test_postgres postgres;
static struct test_links links;
static PGconn *stopper; /* holds the advisory lock while commits are stopped */
static struct loop *loop;
static const struct lifecycle_source source = { LIFECYCLE_AWS, "$aws/events", "keyfob" };

static struct worker {
	char name[8];
	struct db *writer, *reader;
	struct dispatch *dispatch;
	struct accept_flow *accept;
	struct reachability *reachability;
	struct hub *hub;
	struct batch *batch;
	struct batch_stage raise; /* raises heads, in the order of the round */
	struct command_ports ports;
	size_t published, forwarded, raising, crossings;
	struct batch_item items[CROSSING];
} workers[WORKERS];

/* An app that watches CAR1: how far it has come, and whether it missed anything on the way. */
static struct app {
	struct hub_subscriber subscriber;
	struct worker *worker;
	bool ready;
	int64_t seq;
} app;

static const struct db_statement SQL_test_raise = { "test_raise",
	"update vehicle_heads h set seq = h.seq + 1 from unnest($1::text[]) as i(vehicle_id) where h.vehicle_id = "
	"i.vehicle_id" };
static const struct db_statement SQL_test_word = { "test_word", "select set_config('kf.bad', $1, true)" };
static const struct db_statement SQL_test_setting = { "test_setting",
	"select current_setting('synchronous_commit') || ' ' || current_setting('enable_hashjoin') || ' ' || "
	"current_setting('enable_mergejoin') || ' ' || current_setting('plan_cache_mode')" };
static const struct db_statement SQL_test_plan = { "test_plan",
	"explain (costs off) execute lock_heads('{CAR2,CAR1}')" };

/* Waiting. What the database is seen to do has no event on the loop: it is asked between turns. */

static const char *ask(const char *sql)
{
	return test_postgres_ask(&postgres, sql);
}

/* A turn, while there is patience. What has not happened by then ends the program: the tests run in one process, and what one has left
 * locked or on its stack would hold up its teardown for ever, or worse. */
static void pump(uint64_t until, const char *what)
{
	if (uv_hrtime() > until) {
		fprintf(stderr, "rules_test: did not happen in 20 s: %s\nwho is at something: %s\n", what,
			ask("select string_agg(concat_ws(' ', backend_type, pid, state, wait_event_type, wait_event, "
			    "now() - xact_start, pg_blocking_pids(pid)::text, left(query, 200)), E'\\n')"
			    " from pg_stat_activity where xact_start is not null and pid <> pg_backend_pid()"));
		abort();
	}
	uv_run(loop_uv(loop), UV_RUN_NOWAIT);
	uv_sleep(1);
}

static void pump_until(bool (*reached)(void))
{
	uint64_t until = uv_hrtime() + WAIT_NS;
	while (!reached())
		pump(until, "what the test, or its end, waits for");
}

static void pump_until_database(const char *question)
{
	uint64_t until = uv_hrtime() + WAIT_NS;
	while (strcmp(ask(question), "t") != 0)
		pump(until, question);
}

/* Who has a table locked may be ours, and wait for a turn of the loop (a link that connects anew prepares its statements, and has what they read
 * locked until their answers are read): so this waits for a moment alone, and turns. */
static void change_tables(const char *sql)
{
	PGconn *conn = PQconnectdb(postgres.url);
	uint64_t until = uv_hrtime() + WAIT_NS;
	bool is_done = false;

	PQclear(PQexec(conn, "set lock_timeout = '100ms'"));
	while (!is_done) {
		PGresult *r = PQexec(conn, sql);
		const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
		is_done = PQresultStatus(r) == PGRES_COMMAND_OK;
		ck_assert_msg(is_done || (state && strcmp(state, "55P03") == 0), "%s", PQresultErrorMessage(r));
		PQclear(r);
		if (!is_done)
			pump(until, sql);
	}
	PQfinish(conn);
}

static void stopper_run(const char *sql)
{
	PGresult *r = PQexec(stopper, sql);
	ck_assert_msg(PQresultStatus(r) == PGRES_TUPLES_OK || PQresultStatus(r) == PGRES_COMMAND_OK, "%s",
		PQerrorMessage(stopper));
	PQclear(r);
}

static void stop_commits(void)
{
	stopper_run("select pg_advisory_lock(7)");
}

static void let_commit(void)
{
	stopper_run("select pg_advisory_unlock(7)");
}

/* One transaction has written all, and hangs in its COMMIT. */
static void wait_for_a_commit(void)
{
	pump_until_database("select count(*) = 1 from pg_locks where locktype = 'advisory' and not granted");
}

/* Another waits for what the first has locked. */
static void wait_for_a_lock(void)
{
	pump_until_database(
		"select count(*) = 1 from pg_locks where locktype in ('transactionid', 'tuple') and not granted");
}

static bool reader_answered;

static void on_reader_answered(struct db_unit *unit, void *context, const struct fault *fault)
{
	(void)unit, (void)context;
	ck_assert_ptr_null(fault);
	reader_answered = true;
}

static bool has_reader_answered(void)
{
	return reader_answered;
}

/* Whatever had come to a worker's loop by now has been heard when a later question has its answer. */
static void let_everything_be_heard(void)
{
	for (size_t i = 0; i < WORKERS; i++) {
		struct db_unit *unit = db_unit_new(workers[i].reader, on_reader_answered, NULL);
		db_unit_add(unit, &SQL_test_setting);
		reader_answered = false;
		db_unit_submit(unit);
		pump_until(has_reader_answered);
	}
}

/* Workers. */

static bool can_publish(void *owner)
{
	(void)owner;
	return true;
}

static int publish(void *owner, const struct mqtt_publish *m)
{
	(void)m;
	return (int)++((struct worker *)owner)->published;
}

static bool forward(void *owner, const char *name, const char *text, size_t len)
{
	((struct worker *)owner)->forwarded++;
	for (size_t i = 0; i < WORKERS; i++) {
		if (strcmp(workers[i].name, name) == 0)
			hub_receive(workers[i].hub, text, len);
	}
	return true;
}

static void disprove(void *owner, const char *vehicle_id, const char *session)
{
	reachability_disprove(((struct worker *)owner)->reachability, vehicle_id, session);
}

static void prove(void *owner, const struct batch_fence *fence, const char *vehicle_id, struct receipt *receipt)
{
	reachability_prove(((struct worker *)owner)->reachability, fence, vehicle_id, false, receipt);
}

static const struct batch_item *bad_word; /* what says it is known to a trigger by kf.bad; NULL: there is none */

static void write_raise(
	struct batch_stage *stage, struct batch_cut *cut, struct db_unit *unit, struct batch_item **items, size_t count)
{
	struct db_array ids = { 0 };
	(void)stage, (void)cut;
	for (size_t i = 0; i < count; i++)
		db_array_text(&ids, items[i]->vehicle_id);
	for (size_t i = 0; bad_word && i < count; i++) {
		db_unit_add(unit, &SQL_test_word);
		db_param_text(unit, items[i] == bad_word ? "true" : "false");
	}
	db_unit_add(unit, &SQL_test_raise);
	db_param_array(unit, &ids);
	db_array_free(&ids);
}

static void on_trouble(void *owner);

static void make_batch(struct worker *w)
{
	struct batch_stage *stages[REACHABILITY_STAGES + 6];
	size_t n = 0;

	w->raise = (struct batch_stage){ .name = "raise", .owner = w, .write = write_raise };
	stages[n++] = hub_interest_stage(w->hub);
	reachability_stages(w->reachability, &stages[n]);
	n += REACHABILITY_STAGES;
	stages[n++] = dispatch_puback_stage(w->dispatch);
	stages[n++] = accept_stage(w->accept);
	stages[n++] = &w->raise;
	stages[n++] = dispatch_settle_stage(w->dispatch);
	stages[n++] = hub_tell_stage(w->hub);
	w->batch = batch_new(loop, w->writer,
		&(struct batch_options){ .items_max = 1000,
			.holder = w->name,
			.suspect_ms = 300,
			.quiet_ms = 200,
			.owner = w,
			.on_trouble = on_trouble },
		stages, n);
	reachability_attach(w->reachability, w->batch);
	dispatch_attach(w->dispatch, w->batch);
	accept_attach(w->accept, w->batch);
	hub_attach(w->hub, w->batch);
}

static void worker_begin(struct worker *w, size_t i)
{
	snprintf(w->name, sizeof(w->name), "w%zu", i);
	w->writer = links.of[i].writer;
	w->reader = links.of[i].reader;
	w->ports = (struct command_ports){
		.owner = w, .can_publish = can_publish, .publish = publish, .disprove = disprove, .prove = prove
	};
	w->dispatch = dispatch_new(
		loop, &(struct dispatch_options){ .db = w->writer, .worker = w->name, .ports = &w->ports });
	w->accept = accept_new(loop, w->writer, w->dispatch, 100);
	w->reachability = reachability_new(loop, &(struct reachability_options){ .writer = w->writer,
							 .reader = w->reader,
							 .source = &source,
							 .worker = w->name,
							 .verify_delay_ms = 60000 });
	w->hub = hub_new(loop,
		&(struct hub_options){
			.worker = w->name, .writer = w->writer, .reader = w->reader, .owner = w, .forward = forward });
	make_batch(w);
}

static bool all_quiet(void)
{
	for (size_t i = 0; i < WORKERS; i++) {
		if (!batch_is_idle(workers[i].batch) || !hub_is_quiet(workers[i].hub))
			return false;
	}
	return test_links_are_idle(&links);
}

static const char SEED[] =
	"truncate commands, events, vehicle_heads, idempotency, timers, interest; delete from grants; delete from "
	"vehicles;"
	"insert into vehicles (vehicle_id) values ('CAR1'), ('CAR2'), ('CAR3');"
	"insert into vehicle_heads (vehicle_id) values ('CAR1'), ('CAR2'), ('CAR3');"
	"update leases set subscribed = true, holder = null, epoch = 0; delete from leases where name like 'worker/%';"
	"insert into leases (name, holder, epoch, expires_at)"
	" select 'worker/' || w, w, 1, now() + interval '1 hour' from unnest(array['w0', 'w1']) w";

static const char STOP[] =
	"create function stop_commit() returns trigger language plpgsql as"
	" $$ begin perform pg_advisory_xact_lock_shared(7); return null; end $$;"
	"create constraint trigger stop_commit after update on vehicle_heads deferrable initially deferred"
	" for each row execute function stop_commit();"
	"create constraint trigger stop_commit after insert on interest deferrable initially deferred"
	" for each row execute function stop_commit()";

static void start_server(void)
{
	test_links_open(&links, &postgres, WORKERS, 60000); /* a commit may be stopped for as long as the test takes */
	ask(STOP);
}

static void end_server(void)
{
	test_links_close(&links, &postgres);
}

static bool links_are_up(void)
{
	return test_links_are_up(&links);
}

static void setup(void)
{
	memset(workers, 0, sizeof(workers));
	memset(&app, 0, sizeof(app));
	loop = links.loop;
	stopper = PQconnectdb(postgres.url);
	ck_assert_int_eq(PQstatus(stopper), CONNECTION_OK);
	pump_until(links_are_up); /* a test may have made them connect anew */
	change_tables(SEED);
	for (size_t i = 0; i < WORKERS; i++)
		worker_begin(&workers[i], i);
}

static void teardown(void)
{
	if (app.worker)
		hub_unsubscribe(app.worker->hub, &app.subscriber);
	for (size_t i = 0; i < WORKERS; i++) {
		hub_stop(workers[i].hub);
		reachability_stop(workers[i].reachability);
	}
	pump_until(all_quiet);
	for (size_t i = 0; i < WORKERS; i++) {
		batch_free(workers[i].batch);
		hub_free(workers[i].hub);
		reachability_free(workers[i].reachability);
		accept_free(workers[i].accept);
		dispatch_free(workers[i].dispatch);
	}
	PQfinish(stopper);
	/* Whoever waited for a head went on from what it is, not from what it was: no number twice, none left out. */
	ck_assert_str_eq(ask("select count(*) from (select seq, row_number() over (partition by vehicle_id order by "
			     "seq, at) as n"
			     " from events) e where seq <> n"),
		"0");
	ck_assert_str_eq(ask("select sum(deadlocks) from pg_stat_database"), "0");
}

/* What happens. */

static size_t done;
static int64_t waiting_since_ms;
static const struct fault *faults[3];
static size_t done_awaited;

static bool all_done(void)
{
	return done == done_awaited;
}

static void wait_for_done(size_t count)
{
	done_awaited = count;
	pump_until(all_done);
}

static void on_accepted(struct accept *accept, const struct fault *fault)
{
	(void)accept;
	faults[done++] = fault;
}

static void submit(size_t worker, struct accept *a, const char *vehicle, const char *key)
{
	*a = (struct accept){ .vehicle_id = vehicle,
		.subject = "root",
		.admin = true,
		.name = "doors.unlock",
		.needs = 2,
		.params = "{}",
		.ttl_s = 300,
		.timeout_s = 20,
		.redelivery = "on_reconnect",
		.supersedes = "",
		.catalog = "{}",
		.key = key,
		.fingerprint = key ? vehicle : NULL,
		.on_done = on_accepted };
	ck_assert_ptr_null(accept_submit(workers[worker].accept, a));
}

static bool settled;

static void on_settled(struct receipt *r)
{
	ck_assert_ptr_null(r->fault);
	settled = true;
}

static bool is_settled(void)
{
	return settled;
}

/* A vehicle subscribes to its requests: the broker's word for it comes to a worker. */
static void hear_vehicle_subscribed(size_t worker, const char *id, struct receipt *receipt)
{
	char topic[64], payload[256];

	snprintf(topic, sizeof(topic), "$aws/events/subscriptions/subscribed/%s", id);
	snprintf(payload, sizeof(payload),
		"{\"clientId\":\"%s\",\"timestamp\":%lld,\"sessionIdentifier\":\"s1\","
		"\"topics\":[\"vehicles/%s/commands/request\"]}",
		id, (long long)(loop_unix_us(loop) / 1000), id);
	settled = false;
	receipt_init(receipt, on_settled);
	reachability_receive(workers[worker].reachability, NULL,
		&(struct mqtt_message){ .topic = topic, .payload = payload, .len = strlen(payload) }, receipt);
	receipt_close(receipt, NULL);
}

static void hear_subscribed(size_t worker, struct receipt *receipt)
{
	hear_vehicle_subscribed(worker, CAR, receipt);
}

static const char *statuses(void)
{
	return ask("select string_agg(status || '/' || flight, ' ' order by accepted_seq) from commands");
}

static bool one_published(void)
{
	return workers[0].published + workers[1].published == 1;
}

/* See after you lock. */

START_TEST(subscribed_sees_the_command_it_waited_for)
{
	struct accept a;
	struct receipt receipt;

	done = 0;
	stop_commits();
	submit(0, &a, CAR, NULL);
	wait_for_a_commit();
	hear_subscribed(1, &receipt);
	wait_for_a_lock();
	let_commit();
	wait_for_done(1);
	pump_until(is_settled);
	pump_until(one_published);
	ck_assert_ptr_null(faults[0]);
	ck_assert_uint_eq(workers[1].published, 1);
	ck_assert_str_eq(statuses(), "waiting/claimed");
	free(a.command);
}
END_TEST

START_TEST(accept_sees_the_vehicle_it_waited_for)
{
	struct accept a;
	struct receipt receipt;

	done = 0;
	stop_commits();
	hear_subscribed(1, &receipt);
	wait_for_a_commit();
	submit(0, &a, CAR, NULL);
	wait_for_a_lock();
	ck_assert(!settled); /* the broker's message is not acknowledged */
	let_commit();
	wait_for_done(1);
	pump_until(is_settled);
	pump_until(one_published);
	ck_assert_ptr_null(faults[0]);
	ck_assert_uint_eq(workers[0].published, 1);
	ck_assert_str_eq(statuses(), "accepted/claimed");
	ck_assert_str_eq(ask("select s->'detail'->>'state' from commands, jsonb_array_elements(timeline) s"
			     " where s->>'step' = 'reachability'"),
		"connected");
	free(a.command);
}
END_TEST

/* dan drives CAR1, and sends to it while another holds its head. */
static void submit_as_driver(struct accept *a)
{
	submit(0, a, CAR, NULL);
	a->subject = "dan";
	a->admin = false;
}

static void assert_nothing_accepted(void)
{
	wait_for_done(1);
	ck_assert_ptr_eq(faults[0], &FAULT_VEHICLE_NOT_FOUND);
	ck_assert_str_eq(ask("select count(*) from commands"), "0");
}

static void let_dan_drive(void)
{
	done = 0;
	ask("insert into grants (object_kind, object_id, subject, role, granted_by) values ('vehicle', '" CAR
	    "', 'dan', 'driver', 'test')");
}

START_TEST(accept_sees_the_end_of_the_grant_that_it_waited_for)
{
	const char *const end[] = { "{" CAR "}", "{root}", "{true}", "{\"{\\\"subject\\\":\\\"dan\\\"}\"}", "false",
		"{NULL}" };
	struct accept a;

	let_dan_drive();
	stopper_run("begin");
	stopper_run("select from vehicle_heads where vehicle_id = '" CAR "' for update");
	PGresult *r = PQexecParams(stopper, SQL_grant_end.text, 6, NULL, end, NULL, NULL, 0);
	ck_assert_msg(PQntuples(r) == 1 && strcmp(PQgetvalue(r, 0, 1), "done") == 0, "%s", PQerrorMessage(stopper));
	PQclear(r);
	submit_as_driver(&a);
	wait_for_a_lock();
	stopper_run("commit");
	assert_nothing_accepted();
}
END_TEST

/* Its time was not over yet when the transaction began. */
START_TEST(accept_sees_the_time_that_passed_while_it_waited)
{
	struct accept a;

	let_dan_drive();
	stopper_run("begin");
	stopper_run("select from vehicle_heads where vehicle_id = '" CAR "' for update");
	submit_as_driver(&a);
	wait_for_a_lock();
	stopper_run("update grants set expires_at = clock_timestamp() where subject = 'dan'");
	stopper_run("commit");
	assert_nothing_accepted();
}
END_TEST

static void on_ready(struct hub_subscriber *s, const struct hub_snapshot *snapshot)
{
	(void)s;
	app.ready = true;
	app.seq = snapshot->seq;
}

static void on_event(struct hub_subscriber *s, const struct hub_event *event)
{
	(void)s;
	ck_assert_int_eq(event->seq, app.seq + 1);
	app.seq = event->seq;
}

static void on_end(struct hub_subscriber *s, const struct fault *fault)
{
	(void)s;
	ck_abort_msg("the subscription ended: %s", fault->name);
}

static bool is_ready(void)
{
	return app.ready;
}

static void watch(size_t worker)
{
	app.worker = &workers[worker];
	app.subscriber = (struct hub_subscriber){ .subject = "root",
		.admin = true,
		.after = -1,
		.on_ready = on_ready,
		.on_event = on_event,
		.on_end = on_end };
	hub_subscribe(app.worker->hub, &app.subscriber, CAR);
}

static int64_t head_seq;

static bool has_seen_all(void)
{
	return app.ready && app.seq == head_seq;
}

static void wait_for_the_head(void)
{
	head_seq = atoll(ask("select seq from vehicle_heads where vehicle_id = '" CAR "'"));
	ck_assert_int_gt(head_seq, 0);
	pump_until(has_seen_all);
}

START_TEST(interest_misses_no_event_that_it_waited_for)
{
	struct accept a;

	done = 0;
	stop_commits();
	submit(1, &a, CAR, NULL);
	wait_for_a_commit();
	watch(0);
	wait_for_a_lock();
	ck_assert(!app.ready);
	let_commit();
	wait_for_done(1);
	wait_for_the_head();
	free(a.command);
}
END_TEST

START_TEST(event_sees_the_interest_that_it_waited_for)
{
	struct accept a;

	done = 0;
	stop_commits();
	watch(0);
	wait_for_a_commit();
	submit(1, &a, CAR, NULL);
	wait_for_a_lock();
	let_commit();
	wait_for_done(1);
	wait_for_the_head();
	ck_assert_uint_gt(workers[1].forwarded, 0);
	free(a.command);
}
END_TEST

START_TEST(one_key_makes_one_command)
{
	struct accept a, b;

	done = 0;
	stop_commits();
	submit(0, &a, CAR, "k");
	wait_for_a_commit();
	submit(1, &b, CAR, "k");
	wait_for_a_lock();
	let_commit();
	wait_for_done(2);
	ck_assert_ptr_null(faults[0]);
	ck_assert_ptr_null(faults[1]);
	ck_assert(!a.replayed && b.replayed);
	ck_assert_ptr_nonnull(strstr(b.command, a.id));
	ck_assert_str_eq(ask("select count(*) from commands"), "1");
	free(a.command);
	free(b.command);
}
END_TEST

/* Another head: they meet at the key alone. */
START_TEST(one_key_belongs_to_one_vehicle)
{
	struct accept a, b;

	done = 0;
	stop_commits();
	submit(0, &a, CAR, "k");
	wait_for_a_commit();
	submit(1, &b, "CAR2", "k");
	wait_for_a_lock();
	let_commit();
	wait_for_done(2); /* in any order: one commits, and the other need not */
	ck_assert((faults[0] == &FAULT_IDEMPOTENCY_KEY_REUSED) != (faults[1] == &FAULT_IDEMPOTENCY_KEY_REUSED));
	ck_assert_ptr_nonnull(a.command);
	ck_assert_ptr_null(b.command);
	ck_assert_str_eq(ask("select count(*) from commands"), "1");
	free(a.command);
	free(b.command);
}
END_TEST

/* Nor do two commands, in one transaction. */
START_TEST(one_key_at_once_belongs_to_one_vehicle)
{
	struct accept before, a, b;

	done = 0;
	stop_commits();
	submit(0, &before, CAR, NULL);
	wait_for_a_commit();
	submit(0, &a, CAR, "k");
	submit(0, &b, "CAR2", "k");
	let_commit();
	wait_for_done(3);
	ck_assert_ptr_null(faults[0]);
	ck_assert((faults[1] == &FAULT_IDEMPOTENCY_KEY_REUSED) != (faults[2] == &FAULT_IDEMPOTENCY_KEY_REUSED));
	ck_assert_str_eq(ask("select count(*) from commands where name = 'doors.unlock'"), "2");
	free(before.command);
	free(a.command);
	free(b.command);
}
END_TEST

static bool is_waiting_for_events(void)
{
	return strcmp(ask("select exists (select from pg_locks where relation = 'events'::regclass and not granted)"),
		       "t") == 0;
}

/* Its day is over, and the sweep comes between the statement that found it and the one that reads it. */
START_TEST(a_key_that_was_found_stays)
{
	struct accept a;

	done = 0;
	ask("insert into idempotency (subject, key, fingerprint, vehicle_id, command_id, created_at)"
	    " values ('root', 'k', 'old', 'CAR2', '019a0000-0000-7000-8000-00000000aaaa', now() - interval '25 "
	    "hours')");
	stopper_run("begin");
	stopper_run("lock table events in access exclusive mode");
	submit(0, &a, CAR, "k");
	pump_until(is_waiting_for_events);
	struct db_unit *unit = db_unit_new(workers[1].reader, on_reader_answered, NULL);
	db_unit_add(unit, &SQL_sweep);
	db_param_int(unit, 0);
	db_param_int(unit, 100);
	reader_answered = false;
	db_unit_submit(unit);
	pump_until(has_reader_answered);
	stopper_run("commit");
	wait_for_done(1);
	ck_assert_ptr_null(faults[0]);
	ck_assert_str_eq(
		ask("select count(*) from idempotency k join commands c on c.id = k.command_id where k.key = 'k'"),
		"1");
	free(a.command);
}
END_TEST

/* A target of a batch whose commit is not known by the time it is fed again. */
START_TEST(a_batchs_target_has_one_turn)
{
	static const char batch[] = "019a0000-0000-7000-8000-00000000bbbb";
	struct accept a, b;

	done = 0;
	ask("delete from batch_targets; insert into batch_targets (batch_id, vehicle_id) values "
	    "('019a0000-0000-7000-8000-00000000bbbb', '" CAR "')");
	stop_commits();
	submit(0, &a, CAR, NULL);
	a.batch_id = batch;
	wait_for_a_commit();
	submit(1, &b, CAR, NULL);
	b.batch_id = batch;
	wait_for_a_lock();
	let_commit();
	wait_for_done(2);
	ck_assert_ptr_null(faults[0]);
	ck_assert_ptr_null(faults[1]);
	ck_assert_str_eq(ask("select count(*) from commands"), "1");
	ck_assert_str_eq(ask("select t.command_id = c.id from batch_targets t, commands c"), "t");
	free(a.command);
	free(b.command);
}
END_TEST

/* Lock order. */

static char answer[4096];

static void on_answer(struct db_unit *unit, void *context, const struct fault *fault)
{
	(void)context;
	ck_assert_ptr_null(fault);
	for (size_t row = 0; row < db_rows(unit, 0); row++)
		snprintf(answer + strlen(answer), sizeof(answer) - strlen(answer), "%s\n", db_text(unit, 0, row, 0));
	reader_answered = true;
}

static void submit_and_read(struct db_unit *unit)
{
	reader_answered = false;
	answer[0] = '\0';
	db_unit_submit(unit);
	pump_until(has_reader_answered);
}

/* What the product's own connections say. */

static const char *ask_by(struct db *db, const struct db_statement *statement)
{
	struct db_unit *unit = db_unit_new(db, on_answer, NULL);
	db_unit_add(unit, statement);
	submit_and_read(unit);
	return answer;
}

static const char *ask_link(const struct db_statement *statement)
{
	return ask_by(workers[0].writer, statement);
}

static const char *ask_reader(const struct db_statement *statement)
{
	return ask_by(workers[1].reader, statement);
}

static const char PLAN[] = "LockRows\n"
			   "  ->  Sort\n"
			   "        Sort Key: h.vehicle_id COLLATE \"C\"\n"
			   "        ->  Nested Loop\n"
			   "              ->  Function Scan on unnest i\n"
			   "              ->  Index Scan using vehicle_heads_pkey on vehicle_heads h\n"
			   "                    Index Cond: (vehicle_id = (i.vehicle_id)::text)\n";

/* Of a table that was never looked at, and of a big one that was. */
START_TEST(heads_are_locked_by_a_sorted_nested_loop)
{
	struct db_array ids = { 0 };
	struct db_unit *unit = db_unit_new(workers[0].writer, on_answer, NULL);

	db_array_text(&ids, "CAR1");
	db_unit_add(unit, &SQL_lock_heads);
	db_param_array(unit, &ids);
	submit_and_read(unit);
	ck_assert_str_eq(answer, "CAR1\n"); /* and now it is prepared */
	ck_assert_str_eq(ask_link(&SQL_test_setting), "on off off force_generic_plan\n");
	ck_assert_str_eq(ask_link(&SQL_test_plan), PLAN);
	ask("insert into vehicle_heads (vehicle_id) select 'X' || n from generate_series(1, 20000) n; analyze "
	    "vehicle_heads");
	ck_assert_str_eq(ask_link(&SQL_test_plan), PLAN);
}
END_TEST

static const char *params[3];

static void run_locked(struct db_unit *unit)
{
	reader_answered = false;
	answer[0] = '\0';
	db_unit_submit(unit);
	wait_for_a_lock();
}

/* The middle one is another's. Who comes for all three, named backwards, has the first and not the last. */
START_TEST(heads_are_locked_in_ascending_order)
{
	struct db_array ids = { 0 };
	struct db_unit *unit = db_unit_new(workers[0].writer, on_answer, NULL);

	stopper_run("begin");
	stopper_run("select from vehicle_heads where vehicle_id = 'CAR2' for update");
	db_array_text(&ids, "CAR3");
	db_array_text(&ids, "CAR2");
	db_array_text(&ids, "CAR1");
	db_unit_add(unit, &SQL_lock_heads);
	db_param_array(unit, &ids);
	run_locked(unit);
	ck_assert_str_eq(ask("select string_agg(vehicle_id, ' ') from"
			     " (select vehicle_id from vehicle_heads for update skip locked) h"),
		"CAR3");
	stopper_run("rollback");
	pump_until(has_reader_answered);
	ck_assert_str_eq(answer, "CAR1\nCAR2\nCAR3\n");
}
END_TEST

static size_t raised;

static void on_one_raised(struct batch_item *item, const struct fault *fault)
{
	(void)item;
	ck_assert_ptr_null(fault);
	raised++;
}

static bool is_raised(void)
{
	return raised == 1;
}

/* A head that is made comes before any that is locked: it is locked with them, and who waits for another to make it holds none. */
START_TEST(heads_are_made_before_any_is_locked)
{
	struct batch_item item = { .stage = &workers[0].raise, .vehicle_id = CAR, .on_done = on_one_raised };
	struct receipt receipt;

	raised = 0;
	stopper_run("begin");
	stopper_run("insert into vehicle_heads (vehicle_id, seq) values ('NEW', 4)");
	ck_assert_ptr_null(batch_submit(workers[0].batch, &item));
	hear_vehicle_subscribed(0, "NEW", &receipt);
	wait_for_a_lock();
	ck_assert_str_eq(ask("select string_agg(vehicle_id, ' ') from"
			     " (select vehicle_id from vehicle_heads order by 1 for update skip locked) h"),
		"CAR1 CAR2 CAR3");
	stopper_run("commit");
	pump_until(is_settled);
	pump_until(is_raised);
	ck_assert_str_eq(ask("select reachable from vehicle_heads where vehicle_id = 'NEW'"), "t");
}
END_TEST

static void add_fence(struct db_unit *unit)
{
	struct db_array names = { 0 }, epochs = { 0 };

	for (size_t i = 0; i < 3; i++) {
		db_array_text(&names, params[i]);
		db_array_int(&epochs, 5);
	}
	db_unit_add(unit, &SQL_fence);
	db_param_array(unit, &names);
	db_param_array(unit, &epochs);
	db_param_text(unit, "w0");
}

static void add_renewal(struct db_unit *unit)
{
	db_unit_add(unit, &SQL_lease_renew);
	db_param_text(unit, "w0");
	db_param_text(unit, "n");
	db_param_int(unit, 5000);
}

static void assert_leases_ascend(void (*add)(struct db_unit *))
{
	struct db_unit *unit = db_unit_new(workers[0].writer, on_answer, NULL);

	ask("update leases set holder = 'w0', epoch = 5, expires_at = now() + interval '1 hour' where name in"
	    " ('feed/01', 'feed/02', 'feed/03')");
	stopper_run("begin");
	stopper_run("select from leases where name = 'feed/02' for update");
	add(unit);
	run_locked(unit);
	ck_assert_str_eq(ask("select string_agg(name, ' ') from (select name from leases where holder = 'w0' and"
			     " name like 'feed/%' for update skip locked) l"),
		"feed/03");
	stopper_run("rollback");
	pump_until(has_reader_answered);
}

START_TEST(leases_are_locked_in_ascending_order)
{
	params[0] = "feed/03";
	params[1] = "feed/02";
	params[2] = "feed/01";
	assert_leases_ascend(add_fence);
	assert_leases_ascend(add_renewal);
}
END_TEST

/* A lease that somebody is about to lose is passed over, not waited for. */
START_TEST(leases_in_hand_are_not_waited_for)
{
	struct db_unit *unit = db_unit_new(workers[0].writer, on_answer, NULL);

	stopper_run("begin");
	stopper_run("select from leases where name = 'feed/00' for update");
	db_unit_add(unit, &SQL_lease_take);
	db_param_text(unit, "w0");
	db_param_text(unit, "n");
	db_param_int(unit, 5000);
	db_param_int(unit, 2);
	reader_answered = false;
	answer[0] = '\0';
	db_unit_submit(unit);
	pump_until(has_reader_answered);
	ck_assert_str_eq(ask("select string_agg(name, ' ' order by name) from leases where holder = 'w0' and name like "
			     "'feed/%'"),
		"feed/01 feed/02");
	stopper_run("rollback");
}
END_TEST

/* A lost lease undoes what leans on it, and nothing else. */

static struct batch_item fenced[4];
static const struct fault *verdicts[4];
static size_t told;

static void on_told(struct batch_item *item, const struct fault *fault)
{
	size_t n = (size_t)(item - fenced);

	verdicts[n] = fault;
	told++;
	if (n == 0) /* goes into the cut in which the others go again */
		ck_assert_ptr_null(batch_submit(workers[0].batch, &fenced[3]));
}

static bool all_told(void)
{
	return told == 4;
}

START_TEST(a_lost_lease_undoes_its_own_alone)
{
	static const struct batch_fence lost = { "feed/02", 4 }, held = { "feed/01", 5 };
	static const struct {
		const char *vehicle_id;
		const struct batch_fence *fence;
	} rows[] = { { "CAR1", &lost }, { "CAR2", &held }, { "CAR3", NULL }, { "CAR1", &lost } };

	told = 0;
	ask("update leases set holder = 'w0', epoch = 5, expires_at = now() + interval '1 hour' where name in"
	    " ('feed/01', 'feed/02')");
	for (size_t i = 0; i < 4; i++)
		fenced[i] = (struct batch_item){ .stage = &workers[0].raise,
			.vehicle_id = rows[i].vehicle_id,
			.fence = rows[i].fence,
			.on_done = on_told };
	for (size_t i = 0; i < 3; i++)
		ck_assert_ptr_null(batch_submit(workers[0].batch, &fenced[i]));
	pump_until(all_told);
	ck_assert_ptr_eq(verdicts[0], &FAULT_FENCED);
	ck_assert_ptr_null(verdicts[1]);
	ck_assert_ptr_null(verdicts[2]);
	ck_assert_ptr_eq(verdicts[3], &FAULT_FENCED);
	ck_assert_str_eq(ask("select string_agg(seq::text, ' ' order by vehicle_id) from vehicle_heads"), "0 1 1");
}
END_TEST

/* One that cannot be done is found among many, and is the only one that hears so. */

#define MANY 21

static struct batch_item many[MANY];
static const struct fault *many_heard[MANY];
static size_t heard;

static void on_heard(struct batch_item *item, const struct fault *fault)
{
	many_heard[item - many] = fault;
	heard++;
}

static bool all_heard(void)
{
	return heard == MANY;
}

START_TEST(what_cannot_be_done_harms_no_other)
{
	static const char *const vehicles[] = { "CAR1", "CAR2", "CAR3" };

	heard = 0;
	ask("alter table vehicle_heads add constraint poison check (vehicle_id <> 'CAR2' or seq < 3) not valid");
	for (size_t i = 0; i < MANY; i++) {
		many[i] = (struct batch_item){
			.stage = &workers[0].raise, .vehicle_id = vehicles[i % 3], .on_done = on_heard
		};
		ck_assert_ptr_null(batch_submit(workers[0].batch, &many[i]));
	}
	pump_until(all_heard);
	ask("alter table vehicle_heads drop constraint poison");
	for (size_t i = 0; i < MANY; i++) {
		bool can_be_done = i % 3 != 1 || i / 3 < 2;
		ck_assert_msg(many_heard[i] == (can_be_done ? NULL : &FAULT_INTERNAL), "%zu of %s: %s", i / 3,
			vehicles[i % 3], many_heard[i] ? many_heard[i]->name : "done");
	}
	ck_assert_str_eq(ask("select string_agg(seq::text, ' ' order by vehicle_id) from vehicle_heads"), "7 2 7");
}
END_TEST

/* The server's trouble is nobody's fault: whoever is refused says it again. */

#define CROWD 448 /* as many as fit into one transaction behind a small one (sql/batch.c: 512, less an eighth) */

static struct batch_item crowd[CROWD + 1];
static char crowd_ids[CROWD + 1][8];
static const struct fault *crowd_heard[CROWD + 1];
static size_t crowded, crowd_awaited, troubles;

static void on_crowd_heard(struct batch_item *item, const struct fault *fault)
{
	crowd_heard[item - crowd] = fault;
	crowded++;
}

static bool are_all_heard(void)
{
	return crowded == crowd_awaited;
}

static void on_trouble(void *owner)
{
	troubles++;
	ck_assert(batch_is_in_trouble(((struct worker *)owner)->batch) == (troubles % 2 == 1));
}

static void say_of(size_t i, const char *vehicle_id)
{
	snprintf(crowd_ids[i], sizeof(crowd_ids[i]), "%s", vehicle_id);
	crowd[i] = (struct batch_item){
		.stage = &workers[0].raise, .vehicle_id = crowd_ids[i], .on_done = on_crowd_heard
	};
	ck_assert_ptr_null(batch_submit(workers[0].batch, &crowd[i]));
}

/* Of so many vehicles at once; how many transactions failed over it. */
static size_t say_all(size_t count)
{
	int64_t before = metric_value(METRIC_BATCH_FAILED);
	char id[8];

	crowded = 0;
	crowd_awaited = count;
	for (size_t i = 0; i < count; i++) {
		snprintf(id, sizeof(id), "X%03zu", i);
		say_of(i, id);
	}
	pump_until(are_all_heard);
	return (size_t)(metric_value(METRIC_BATCH_FAILED) - before);
}

static void assert_all_heard(size_t count, const struct fault *fault)
{
	for (size_t i = 0; i < count; i++)
		ck_assert_msg(crowd_heard[i] == fault, "%s: %s", crowd_ids[i],
			crowd_heard[i] ? crowd_heard[i]->name : "done");
}

static void break_heads(const char *where, const char *sqlstate)
{
	char sql[512];

	snprintf(sql, sizeof(sql),
		"create function trouble() returns trigger language plpgsql as $$ begin raise 'trouble' using errcode "
		"= '%s'; end $$; create trigger trouble before update on vehicle_heads for each row when (%s) execute "
		"function trouble()",
		sqlstate, where);
	change_tables(sql);
}

static void mend_heads(void)
{
	change_tables("drop trigger trouble on vehicle_heads; drop function trouble");
}

/* A batch that has seen, and not only once, how little they cost, so that all of them fit into one transaction. */
static void make_crowd(void)
{
	ask("insert into vehicle_heads (vehicle_id) select 'X' || lpad(n::text, 3, '0') from generate_series(0, 511) "
	    "n");
	for (size_t whole = 0; whole < 2;) {
		int64_t before = metric_value(METRIC_BATCHES);
		say_all(CROWD);
		whole = metric_value(METRIC_BATCHES) - before == 1 ? whole + 1 : 0;
	}
	troubles = 0;
}

/* It is noticed, told, and over with the first that is done; but the want of room, of which that says nothing. */
static void assert_trouble_is_everybodys(const char *sqlstate, size_t failures_max, bool ends_by_itself)
{
	struct batch *batch = workers[0].batch;

	make_crowd();
	break_heads("true", sqlstate);
	ck_assert_uint_le(say_all(CROWD), failures_max);
	assert_all_heard(CROWD, &FAULT_STORAGE_UNAVAILABLE);
	ck_assert(batch_is_in_trouble(batch));
	ck_assert_uint_eq(troubles, 1);
	ck_assert_uint_le(say_all(CROWD), 3); /* who went alone before goes alone */
	assert_all_heard(CROWD, &FAULT_STORAGE_UNAVAILABLE);
	mend_heads();
	ck_assert_uint_eq(say_all(CROWD), 0);
	assert_all_heard(CROWD, NULL);
	ck_assert(batch_is_in_trouble(batch) != ends_by_itself);
	batch_note_writable(batch);
	ck_assert(!batch_is_in_trouble(batch));
	ck_assert_uint_eq(troubles, 2);
}

START_TEST(trouble_over_all_is_found_by_few)
{
	assert_trouble_is_everybodys("XX000", 12, true);
}
END_TEST

/* One item may want more of it than there is. */
START_TEST(want_of_memory_is_looked_for)
{
	assert_trouble_is_everybodys("53200", 12, true);
}
END_TEST

static void wait_ms(int64_t ms)
{
	int64_t since_ms = loop_monotonic_ms(loop);
	while (loop_monotonic_ms(loop) - since_ms <= ms)
		pump(uv_hrtime() + WAIT_NS, "time goes by");
}

/* Another's try writes what nobody's item does: the trouble does not end by it while somebody is refused, and later each time. */
START_TEST(trouble_does_not_come_and_go_with_anothers_try)
{
	struct batch *batch = workers[0].batch;

	make_crowd();
	break_heads("true", "XX000");
	say_all(64);
	ck_assert(batch_is_in_trouble(batch));
	for (size_t i = 0; i < 6; i++) {
		batch_note_writable(batch);
		ck_assert(batch_is_in_trouble(batch));
		wait_ms(50);
		say_all(64);
	}
	wait_ms(200);
	batch_note_writable(batch);
	ck_assert(!batch_is_in_trouble(batch));
	say_all(64);
	ck_assert(batch_is_in_trouble(batch));
	wait_ms(200);
	batch_note_writable(batch);
	ck_assert(batch_is_in_trouble(batch));
	wait_ms(200);
	batch_note_writable(batch);
	ck_assert(!batch_is_in_trouble(batch));
	ck_assert_uint_eq(troubles, 4);
	mend_heads();
	say_all(64);
	assert_all_heard(64, NULL);
}
END_TEST

START_TEST(a_full_disk_is_everybodys)
{
	assert_trouble_is_everybodys("53100", 1, false);
}
END_TEST

/* It comes again and again, and others with it, who are done each time. In the end it is set aside; and once it can be done, it is. */
START_TEST(trouble_over_one_vehicle_holds_up_nobody_for_long)
{
	int64_t before = metric_value(METRIC_BATCH_SET_ASIDE);
	size_t tries = 0, failures = 0;

	make_crowd();
	break_heads("old.vehicle_id = 'X007'", _i == 0 ? "XX000" : "53200");
	waiting_since_ms = loop_monotonic_ms(loop);
	do {
		failures = say_all(64);
		for (size_t i = 0; i < 64; i++)
			ck_assert(i == 7 || !crowd_heard[i]);
		ck_assert_uint_le(failures, tries++ == 0 ? 8 : 1); /* it is known then, and goes alone */
	} while (crowd_heard[7] == &FAULT_STORAGE_UNAVAILABLE);
	ck_assert_ptr_eq(crowd_heard[7], &FAULT_SET_ASIDE);
	ck_assert(batch_has_given_up(crowd_heard[7]));
	ck_assert_uint_ge(tries, 4);
	ck_assert_int_ge(loop_monotonic_ms(loop) - waiting_since_ms, 300);
	ck_assert_int_eq(metric_value(METRIC_BATCH_SET_ASIDE) - before, 1);
	ck_assert_uint_eq(troubles, 0);
	say_all(64);
	ck_assert_ptr_eq(crowd_heard[7], &FAULT_STORAGE_UNAVAILABLE); /* another word of it, tried for as long */
	mend_heads();
	ck_assert_uint_eq(say_all(64), 0);
	assert_all_heard(64, NULL);
}
END_TEST

/* More of them than a few do not push each other out. */
START_TEST(trouble_over_many_vehicles_holds_up_nobody_for_long)
{
	size_t set_aside;

	make_crowd();
	break_heads("old.vehicle_id ~ '^X0[0-7][13579]$'", "XX000");
	waiting_since_ms = loop_monotonic_ms(loop);
	do {
		say_all(80);
		set_aside = 0;
		for (size_t i = 0; i < 80; i++) {
			ck_assert(i % 2 == 1 ? crowd_heard[i] != NULL : crowd_heard[i] == NULL);
			set_aside += crowd_heard[i] == &FAULT_SET_ASIDE;
		}
	} while (set_aside == 0 && loop_monotonic_ms(loop) - waiting_since_ms < 10000);
	mend_heads();
	ck_assert_uint_ge(set_aside, 20);
	ck_assert_uint_eq(troubles, 0);
}
END_TEST

/* Of one vehicle, again and again, and nobody else speaks: the first word is refused, the second is done. */
START_TEST(a_bad_word_is_set_aside_beside_its_vehicles_good_ones)
{
	make_crowd();
	break_heads("current_setting('kf.bad', true) = 'true'", "XX000");
	waiting_since_ms = loop_monotonic_ms(loop);
	do {
		crowded = 0;
		crowd_awaited = 2;
		bad_word = &crowd[0];
		say_of(0, "X000");
		say_of(1, "X000");
		pump_until(are_all_heard);
		ck_assert_ptr_null(crowd_heard[1]);
	} while (crowd_heard[0] == &FAULT_STORAGE_UNAVAILABLE && loop_monotonic_ms(loop) - waiting_since_ms < 5000);
	bad_word = NULL;
	mend_heads();
	ck_assert_ptr_eq(crowd_heard[0], &FAULT_SET_ASIDE);
	ck_assert_int_ge(loop_monotonic_ms(loop) - waiting_since_ms, 300);
	ck_assert_uint_eq(troubles, 0);
	ck_assert_uint_eq(say_all(64), 0);
	assert_all_heard(64, NULL);
}
END_TEST

/* Where nothing else is done it is not known whose fault it is, and nothing waits for it either. */
START_TEST(trouble_over_the_only_vehicle_that_speaks_is_borne)
{
	make_crowd();
	break_heads("old.vehicle_id = 'X000'", "XX000");
	waiting_since_ms = loop_monotonic_ms(loop);
	do
		say_all(1);
	while (loop_monotonic_ms(loop) - waiting_since_ms < 600 && crowd_heard[0] == &FAULT_STORAGE_UNAVAILABLE);
	mend_heads();
	ck_assert_ptr_eq(crowd_heard[0], &FAULT_STORAGE_UNAVAILABLE);
	ck_assert_uint_eq(say_all(1), 0);
	ck_assert_ptr_null(crowd_heard[0]);
}
END_TEST

static void on_state(struct db_unit *unit, void *context, const struct fault *fault)
{
	(void)context;
	ck_assert_ptr_null(fault);
	ck_assert_uint_eq(db_rows(unit, 0), 1);
	snprintf(answer, sizeof(answer), "%s", db_text(unit, 0, 0, 2));
	reader_answered = true;
}

/* Who takes a batch waits between its snapshot and the end; meanwhile somebody ends the batch. */
START_TEST(a_batch_is_taken_as_it_is)
{
	struct db_unit *unit = db_unit_new(workers[0].reader, on_state, NULL);

	ask("insert into batches (id, fleet_id, name, ttl_seconds, timeout_seconds, wake, redelivery, supersedes, "
	    "catalog, "
	    "issued_by, admin, needs, rate, total)"
	    " values ('019a0000-0000-7000-8000-00000000aaaa', 'F1', 'horn.honk', 60, 20, false, 'never', '', '{}', "
	    "'root', "
	    "true, 2, 10, 1);"
	    "insert into leases (name, epoch) values ('batch/019a0000-0000-7000-8000-00000000aaaa', 1);"
	    "create function stop_lease() returns trigger language plpgsql as"
	    " $$ begin perform pg_advisory_xact_lock_shared(7); return new; end $$;"
	    "create trigger stop_lease before update on leases for each row execute function stop_lease()");
	stop_commits();
	db_unit_add(unit, &SQL_batch_take);
	db_param_text(unit, "w0");
	db_param_text(unit, "n");
	db_param_int(unit, 5000);
	db_param_int(unit, 8);
	reader_answered = false;
	db_unit_submit(unit);
	wait_for_a_commit();
	ask("update batches set state = 'canceled', finished_at = clock_timestamp()");
	let_commit();
	pump_until(has_reader_answered);
	ck_assert_str_eq(answer, "canceled");
	ask("drop trigger stop_lease on leases; drop function stop_lease; delete from batches; delete from leases "
	    "where name "
	    "like 'batch/%'");
}
END_TEST

static void on_renewed(struct db_unit *unit, void *context, const struct fault *fault)
{
	(void)context;
	ck_assert_ptr_null(fault);
	snprintf(answer, sizeof(answer), "%s %s", db_text(unit, 0, 0, 0), db_text(unit, 0, 0, 1));
	reader_answered = true;
}

static const char *renew_retained(void)
{
	struct db_unit *unit = db_unit_new(workers[0].reader, on_renewed, NULL);

	db_unit_add(unit, &SQL_retained_renew);
	db_param_int(unit, 0);
	submit_and_read(unit);
	return answer;
}

/* A batch has one of them, and may want the other next: it is not waited for, and not forgotten. */
START_TEST(what_the_broker_lost_is_renewed_beside_a_batch)
{
	ask("delete from retained; insert into retained (vehicle_id, kind, payload, version, published, mark)"
	    " values ('CAR1', 'desired', '{}', 1, 1, 1), ('CAR2', 'desired', '{}', 1, 1, 1)");
	stopper_run("begin");
	stopper_run("select from retained where vehicle_id = 'CAR2' for update");
	ck_assert_str_eq(renew_retained(), "1 t");
	stopper_run("select from retained for update");
	stopper_run("rollback");
	ck_assert_str_eq(renew_retained(), "1 f");
	ck_assert_str_eq(renew_retained(), "0 f");
	ask("delete from retained");
}
END_TEST

/* A node stands still with half a unit on the wire. */
static void send_half_a_unit(PGconn *conn)
{
	ck_assert(PQenterPipelineMode(conn));
	ck_assert(PQsendQueryParams(conn, "select from vehicle_heads where vehicle_id = '" CAR "' for update", 0, NULL,
		NULL, NULL, NULL, 0));
	PQsendFlushRequest(conn);
	PQflush(conn);
	PQclear(PQgetResult(conn)); /* it has the lock, before anybody else comes */
}

static bool is_frozen_for(int64_t ms)
{
	return loop_monotonic_ms(loop) - waiting_since_ms > ms;
}

static bool is_slow(void)
{
	return is_frozen_for(4000);
}

static bool is_frozen(void)
{
	return is_frozen_for(6100);
}

/* Between the statements of a unit no time-out of the server runs, and what it has locked stays so. */
START_TEST(a_frozen_unit_is_ended)
{
	char url[512];
	struct batch_item item = { .stage = &workers[0].raise, .vehicle_id = CAR, .on_done = on_one_raised };

	raised = 0;
	snprintf(url, sizeof(url), "%s%capplication_name=keyfobd", postgres.url, strchr(postgres.url, '?') ? '&' : '?');
	PGconn *frozen = PQconnectdb(url);
	ck_assert_int_eq(PQstatus(frozen), CONNECTION_OK);
	PQclear(PQexec(frozen, "set idle_in_transaction_session_timeout = '1s'; set statement_timeout = '1s'"));
	send_half_a_unit(frozen);
	ck_assert_ptr_null(batch_submit(workers[0].batch, &item));
	wait_for_a_lock();
	waiting_since_ms = loop_monotonic_ms(loop);
	pump_until(is_slow);
	ck_assert_str_eq(ask_reader(&SQL_frozen_end), "0\n");
	pump_until(is_frozen);
	ck_assert_uint_eq(raised, 0);
	ck_assert_str_eq(ask_reader(&SQL_frozen_end), "1\n");
	pump_until(is_raised);
	PQfinish(frozen);
}
END_TEST

/* Partitions: whoever reads everything for hours is not waited for, and whoever comes meanwhile does not wait either. */

static void drop_partitions(void)
{
	ask("do $$ declare p record; begin for p in select * from partitions_wanted()"
	    " loop execute format('drop table %I', p.name); end loop; end $$");
}

/* Of what is written the index by time knows all but the last pages: 64 are two ranges. */
START_TEST(the_last_seconds_are_found_by_their_time)
{
	static const char known[] = "select string_agg(brin_summarize_range(i.indexrelid, n * 32)::text, ' ' order by "
				    "n) from generate_series(0, 1) n,"
				    " pg_index i join pg_inherits h on h.inhrelid = i.indexrelid where h.inhparent = "
				    "'events_time'::regclass"
				    " and i.indrelid = to_regclass('events_' || to_char(date_trunc('week', now() at "
				    "time zone 'UTC'), 'YYYYMMDD'))";
	ask("insert into events (vehicle_id, seq, at, type, data) select '" CAR
	    "', n, now(), 'test', to_json(repeat(md5(n::text), 100))"
	    " from generate_series(1000, 20000) n");
	ask("select events_summarize()");
	ck_assert_str_eq(ask(known), "0 0");
	ask("delete from events where type = 'test'");
}
END_TEST

START_TEST(partitions_are_made_beside_a_dump)
{
	drop_partitions();
	stopper_run("begin");
	stopper_run("lock table commands, events in access share mode");
	ask("set local statement_timeout = '2s'; select partitions_ensure()");
	ck_assert_str_eq(ask("select (select count(*) from pg_inherits where inhparent in ('commands'::regclass, "
			     "'events'::regclass)) = (select count(*) from partitions_wanted())"),
		"t");
	stopper_run("rollback");
}
END_TEST

/* Nor who changes a table: what is missing still is said, and the rest is made. */
START_TEST(partitions_wait_for_nobody)
{
	drop_partitions();
	stopper_run("begin");
	stopper_run("lock table events in share update exclusive mode");
	ck_assert_str_eq(ask("set local statement_timeout = '5s'; select partitions_make() ="
			     " array(select name from partitions_wanted() where kind = 'events')"),
		"t");
	stopper_run("rollback");
	ck_assert_str_eq(
		ask("select bool_and((to_regclass(name) is null) = (kind = 'events')) from partitions_wanted()"), "t");
	ck_assert_str_eq(ask("select partitions_make() = '{}'"), "t");
}
END_TEST

static char cars[CARS][8];
static unsigned seed = 20;

static void cross(struct worker *w);

static void on_raised(struct batch_item *item, const struct fault *fault)
{
	struct worker *w = item->stage->owner;
	ck_assert_msg(!fault, "%s", fault ? fault->name : "");
	ck_assert(!item->retried);
	if (--w->raising == 0 && ++w->crossings < CROSSINGS)
		cross(w);
}

/* 128 of 192 vehicles, in an order of their own. */
static void cross(struct worker *w)
{
	const char *order[CARS];

	for (size_t i = 0; i < CARS; i++)
		order[i] = cars[i];
	for (size_t i = 0; i < CROSSING; i++) {
		seed = seed * 1103515245u + 12345u;
		size_t k = i + (seed >> 16) % (CARS - i);
		const char *car = order[k];
		order[k] = order[i];
		order[i] = car;
	}
	w->raising = CROSSING;
	for (size_t i = 0; i < CROSSING; i++) {
		w->items[i] = (struct batch_item){ .stage = &w->raise, .vehicle_id = order[i], .on_done = on_raised };
		ck_assert_ptr_null(batch_submit(w->batch, &w->items[i]));
	}
}

static bool all_crossed(void)
{
	return workers[0].crossings == CROSSINGS && workers[1].crossings == CROSSINGS && all_quiet();
}

START_TEST(crossing_batches_do_not_deadlock)
{
	char wanted[32];

	for (size_t i = 0; i < CARS; i++)
		snprintf(cars[i], sizeof(cars[i]), "X%03zu", i);
	ask("insert into vehicle_heads (vehicle_id) select 'X' || lpad(n::text, 3, '0') from generate_series(0, 191) "
	    "n");
	cross(&workers[0]);
	cross(&workers[1]);
	pump_until(all_crossed);
	snprintf(wanted, sizeof(wanted), "%d", 2 * CROSSINGS * CROSSING);
	ck_assert_str_eq(ask("select sum(seq) from vehicle_heads"), wanted);
	ck_assert_str_eq(ask("select sum(deadlocks) from pg_stat_database"), "0");
}
END_TEST

/* Who sends much waits for its own; who sends little passes it. Its items keep their order all the same. */

#define FLOOD 600

static struct batch_item floods[FLOOD], single;
static size_t flooded, before_single;

static void on_flooded(struct batch_item *item, const struct fault *fault)
{
	ck_assert_ptr_null(fault);
	ck_assert_ptr_eq(item, &floods[flooded]);
	flooded++;
}

static void on_single(struct batch_item *item, const struct fault *fault)
{
	(void)item;
	ck_assert_ptr_null(fault);
	before_single = flooded;
}

static bool all_flooded(void)
{
	return flooded == FLOOD && all_quiet();
}

START_TEST(one_vehicle_holds_up_no_other)
{
	struct batch *batch = workers[0].batch;

	flooded = 0;
	before_single = FLOOD;
	ask("insert into vehicle_heads (vehicle_id) values ('LOUD'), ('QUIET')");
	for (size_t i = 0; i < FLOOD; i++) {
		floods[i] =
			(struct batch_item){ .stage = &workers[0].raise, .vehicle_id = "LOUD", .on_done = on_flooded };
		ck_assert_ptr_null(batch_submit(batch, &floods[i]));
	}
	single = (struct batch_item){ .stage = &workers[0].raise, .vehicle_id = "QUIET", .on_done = on_single };
	ck_assert_ptr_null(batch_submit(batch, &single));
	pump_until(all_flooded);
	ck_assert_uint_le(before_single, 8);
	ck_assert_str_eq(ask("select string_agg(seq::text, ' ' order by vehicle_id) from vehicle_heads where "
			     "vehicle_id in ('LOUD', 'QUIET')"),
		"600 1");
}
END_TEST

/* Behind what waits for two seconds commands are not taken in, and one that has waited for five hears that it was not done.
 * What vehicles say waits for as long as it takes. */

static struct batch_item slow, patient;
static struct accept late[2];
static const struct fault *slow_fault, *patient_fault;

static void on_waited(struct batch_item *item, const struct fault *fault)
{
	*(item == &slow ? &slow_fault : &patient_fault) = fault;
}

static bool patience_is_over(void)
{
	return loop_monotonic_ms(loop) - waiting_since_ms > 5100;
}

START_TEST(a_command_that_waits_for_long_is_refused)
{
	struct batch *batch = workers[0].batch;

	done = 0;
	slow_fault = patient_fault = &FAULT_INTERNAL;
	stopper_run("begin");
	stopper_run("select from vehicle_heads where vehicle_id = '" CAR "' for update");
	slow = (struct batch_item){ .stage = &workers[0].raise, .vehicle_id = CAR, .on_done = on_waited };
	ck_assert_ptr_null(batch_submit(batch, &slow));
	wait_for_a_lock();
	patient = slow;
	ck_assert_ptr_null(batch_submit(batch, &patient));
	submit(0, &late[0], CAR, NULL);
	waiting_since_ms = loop_monotonic_ms(loop);
	ck_assert(!batch_is_late(batch));
	pump_until(patience_is_over);
	ck_assert(batch_is_late(batch));
	late[1] = late[0];
	ck_assert_ptr_eq(accept_submit(workers[0].accept, &late[1]), &FAULT_OVERLOADED);
	stopper_run("commit");
	wait_for_done(1);
	ck_assert_ptr_eq(faults[0], &FAULT_OVERLOADED);
	pump_until(all_quiet);
	ck_assert_ptr_null(slow_fault);
	ck_assert_ptr_null(patient_fault);
	ck_assert_str_eq(ask("select count(*) from commands"), "0");
	ck_assert(!batch_is_late(batch));
}
END_TEST

/* A vehicle whose own flood waits for two seconds is no reason to refuse anybody's command; what did not fit into a cut is. */

#define CUT 512

static struct batch_item throng[CUT + 1];
static char throng_ids[CUT + 1][8];
static size_t many_through;

static void on_through(struct batch_item *item, const struct fault *fault)
{
	(void)item;
	ck_assert_ptr_null(fault);
	many_through++;
}

static bool are_late_ones_known(void)
{
	return loop_monotonic_ms(loop) - waiting_since_ms > 2100;
}

static bool are_all_through(void)
{
	return flooded == 2 * 8 && many_through == CUT + 1 && done == 1 && all_quiet();
}

START_TEST(one_vehicles_flood_makes_nobody_late)
{
	struct batch *loud = workers[0].batch, *full = workers[1].batch;
	struct accept a;

	done = 0;
	flooded = many_through = 0;
	ask("insert into vehicle_heads (vehicle_id) values ('LOUD')");
	stopper_run("begin");
	stopper_run("select from vehicle_heads where vehicle_id in ('LOUD', '" CAR "') for update");
	waiting_since_ms = loop_monotonic_ms(loop);
	for (size_t i = 0; i < 2 * 8; i++) {
		floods[i] =
			(struct batch_item){ .stage = &workers[0].raise, .vehicle_id = "LOUD", .on_done = on_flooded };
		ck_assert_ptr_null(batch_submit(loud, &floods[i]));
	}
	for (size_t i = 0; i < CUT + 1; i++) {
		snprintf(throng_ids[i], sizeof(throng_ids[i]), "Y%03zu", i);
		throng[i] = (struct batch_item){
			.stage = &workers[1].raise, .vehicle_id = i == 0 ? CAR : throng_ids[i], .on_done = on_through
		};
		ck_assert_ptr_null(batch_submit(full, &throng[i]));
	}
	pump_until(are_late_ones_known);
	ck_assert(!batch_is_late(loud));
	ck_assert(batch_is_late(full));
	submit(0, &a, "CAR2", NULL);
	stopper_run("commit");
	pump_until(are_all_through);
	ck_assert_ptr_null(faults[0]);
	ck_assert(!batch_is_late(full));
	free(a.command);
}
END_TEST

/* Durable before told. */

START_TEST(nothing_is_told_before_the_commit)
{
	struct accept a;

	done = 0;
	ask("update vehicle_heads set reachable = true, session = 's1', subscribed = true, since = now() where "
	    "vehicle_id = '" CAR "'");
	watch(1);
	pump_until(is_ready);
	int64_t seq = app.seq;
	stop_commits();
	submit(0, &a, CAR, NULL);
	wait_for_a_commit();
	let_everything_be_heard();
	ck_assert_uint_eq(done, 0);
	ck_assert_uint_eq(workers[0].published + workers[1].published, 0);
	ck_assert_uint_eq(workers[0].forwarded, 0);
	ck_assert_int_eq(app.seq, seq);
	ck_assert_str_eq(ask("select count(*) from commands"), "0");
	let_commit();
	wait_for_done(1);
	ck_assert_ptr_null(faults[0]);
	pump_until(one_published);
	wait_for_the_head();
	ck_assert_int_gt(app.seq, seq);
	free(a.command);
}
END_TEST

/* The same where the app sits at the worker that writes: without a hop there is no broker to be slower than the commit. */
START_TEST(own_subscribers_wait_for_the_commit)
{
	struct accept a;
	struct receipt receipt;

	done = 0;
	watch(0);
	pump_until(is_ready);
	int64_t seq = app.seq;
	stop_commits();
	hear_subscribed(0, &receipt);
	wait_for_a_commit();
	submit(0, &a, CAR, NULL); /* gathers while the first is in flight */
	let_everything_be_heard();
	ck_assert(!settled);
	ck_assert_uint_eq(done, 0);
	ck_assert_int_eq(app.seq, seq);
	let_commit();
	pump_until(is_settled);
	wait_for_done(1);
	pump_until(one_published);
	wait_for_the_head();
	free(a.command);
}
END_TEST

static TCase *add_rule(Suite *suite, const char *name)
{
	TCase *tc = tcase_create(name);
	tcase_add_unchecked_fixture(tc, start_server, end_server);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(suite, tc);
	return tc;
}

int main(void)
{
	Suite *suite = suite_create("rules");
	TCase *see = add_rule(suite, "see after you lock");
	tcase_add_test(see, subscribed_sees_the_command_it_waited_for);
	tcase_add_test(see, accept_sees_the_vehicle_it_waited_for);
	tcase_add_test(see, accept_sees_the_end_of_the_grant_that_it_waited_for);
	tcase_add_test(see, accept_sees_the_time_that_passed_while_it_waited);
	tcase_add_test(see, interest_misses_no_event_that_it_waited_for);
	tcase_add_test(see, event_sees_the_interest_that_it_waited_for);
	tcase_add_test(see, one_key_makes_one_command);
	tcase_add_test(see, one_key_belongs_to_one_vehicle);
	tcase_add_test(see, a_key_that_was_found_stays);
	tcase_add_test(see, a_batchs_target_has_one_turn);
	tcase_add_test(see, one_key_at_once_belongs_to_one_vehicle);
	TCase *order = add_rule(suite, "lock order");
	tcase_add_test(order, heads_are_locked_by_a_sorted_nested_loop);
	tcase_add_test(order, heads_are_locked_in_ascending_order);
	tcase_add_test(order, heads_are_made_before_any_is_locked);
	tcase_add_test(order, leases_are_locked_in_ascending_order);
	tcase_add_test(order, leases_in_hand_are_not_waited_for);
	tcase_add_test(order, a_lost_lease_undoes_its_own_alone);
	tcase_add_test(order, what_cannot_be_done_harms_no_other);
	tcase_add_test(order, trouble_over_all_is_found_by_few);
	tcase_add_test(order, want_of_memory_is_looked_for);
	tcase_add_test(order, trouble_does_not_come_and_go_with_anothers_try);
	tcase_add_test(order, a_full_disk_is_everybodys);
	tcase_add_loop_test(order, trouble_over_one_vehicle_holds_up_nobody_for_long, 0, 2);
	tcase_add_test(order, trouble_over_many_vehicles_holds_up_nobody_for_long);
	tcase_add_test(order, a_bad_word_is_set_aside_beside_its_vehicles_good_ones);
	tcase_add_test(order, trouble_over_the_only_vehicle_that_speaks_is_borne);
	tcase_add_test(order, a_batch_is_taken_as_it_is);
	tcase_add_test(order, what_the_broker_lost_is_renewed_beside_a_batch);
	tcase_add_test(order, a_frozen_unit_is_ended);
	tcase_add_test(order, the_last_seconds_are_found_by_their_time);
	tcase_add_test(order, partitions_are_made_beside_a_dump);
	tcase_add_test(order, partitions_wait_for_nobody);
	tcase_add_test(order, crossing_batches_do_not_deadlock);
	tcase_add_test(order, one_vehicle_holds_up_no_other);
	tcase_add_test(order, a_command_that_waits_for_long_is_refused);
	tcase_add_test(order, one_vehicles_flood_makes_nobody_late);
	TCase *durable = add_rule(suite, "durable before told");
	tcase_add_test(durable, nothing_is_told_before_the_commit);
	tcase_add_test(durable, own_subscribers_wait_for_the_commit);
	SRunner *runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
