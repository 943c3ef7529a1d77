/* workers.c - two workers, and what they hear. */
#include "tests/unit/sql/workers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/mqtt/link.h"
#include "commands/dispatch.h"
#include "sql/statements.h"
#include "state/lifecycle_event.h"
#include "state/reachability.h"
#include "tests/links.h"

#define WAIT_NS 20000000000ull

struct test_postgres postgres;
PGconn *stopper;
struct loop *loop;
struct worker workers[WORKERS];
struct app app;
const struct batch_item *bad_word;
size_t done;
const struct fault *faults[3];

static struct test_links links;
static const struct lifecycle_source source = { LIFECYCLE_AWS, "$aws/events", "keyfob" };

static const struct db_statement SQL_test_raise = { "test_raise",
	"update vehicle_heads h set seq = h.seq + 1 from unnest($1::text[]) as i(vehicle_id) where h.vehicle_id = "
	"i.vehicle_id" };
static const struct db_statement SQL_test_word = { "test_word", "select set_config('kf.bad', $1, true)" };
static const struct db_statement SQL_test_nothing = { "test_nothing", "select" };

/* Waiting. What the database is seen to do has no event on the loop: it is asked between turns. */

const char *ask(const char *sql)
{
	return test_postgres_ask(&postgres, sql);
}

/* A turn, while there is patience. What has not happened by then ends the program: the tests run in one process, and what one has left
 * locked or on its stack would hold up its teardown for ever, or worse. */
static void pump(uint64_t until, const char *what)
{
	if (uv_hrtime() > until) {
		fprintf(stderr, "workers: did not happen in 20 s: %s\nwho is at something: %s\n", what,
			ask("select string_agg(concat_ws(' ', backend_type, pid, state, wait_event_type, wait_event, "
			    "now() - xact_start, pg_blocking_pids(pid)::text, left(query, 200)), E'\\n')"
			    " from pg_stat_activity where xact_start is not null and pid <> pg_backend_pid()"));
		abort();
	}
	uv_run(loop_uv(loop), UV_RUN_NOWAIT);
	uv_sleep(1);
}

void pump_until(bool (*reached)(void))
{
	uint64_t until = uv_hrtime() + WAIT_NS;
	while (!reached())
		pump(until, "what the test, or its end, waits for");
}

void let_pass(int64_t since_ms, int64_t ms)
{
	while (loop_monotonic_ms(loop) - since_ms <= ms)
		pump(uv_hrtime() + WAIT_NS, "time goes by");
}

static void pump_until_database(const char *question)
{
	uint64_t until = uv_hrtime() + WAIT_NS;
	while (strcmp(ask(question), "t") != 0)
		pump(until, question);
}

void change_tables(const char *sql)
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

void stopper_run(const char *sql)
{
	PGresult *r = PQexec(stopper, sql);
	ck_assert_msg(PQresultStatus(r) == PGRES_TUPLES_OK || PQresultStatus(r) == PGRES_COMMAND_OK, "%s",
		PQerrorMessage(stopper));
	PQclear(r);
}

void hold(const char *sql)
{
	stopper_run("begin");
	stopper_run(sql);
}

void stop_commits(void)
{
	stopper_run("select pg_advisory_lock(7)");
}

void let_commit(void)
{
	stopper_run("select pg_advisory_unlock(7)");
}

void wait_for_a_commit(void)
{
	pump_until_database("select count(*) = 1 from pg_locks where locktype = 'advisory' and not granted");
}

void wait_for_a_lock(void)
{
	pump_until_database(
		"select count(*) = 1 from pg_locks where locktype in ('transactionid', 'tuple') and not granted");
}

/* Questions. */

static struct {
	bool is_answered;
	int columns;
	char answer[4096];
} question;

static void on_question(struct db_unit *unit, void *context, const struct fault *fault)
{
	size_t len = 0, size = sizeof(question.answer);

	(void)context;
	ck_assert_ptr_null(fault);
	for (size_t row = 0; row < db_rows(unit, 0); row++) {
		for (int column = 0; column < question.columns; column++)
			len += (size_t)snprintf(question.answer + len, size - len, "%s%s", column > 0 ? " " : "",
				db_text(unit, 0, row, column));
		len += (size_t)snprintf(question.answer + len, size - len, "\n");
		ck_assert_uint_lt(len, size);
	}
	question.is_answered = true;
}

struct db_unit *question_new(struct db *db, int columns)
{
	question.columns = columns;
	return db_unit_new(db, on_question, NULL);
}

void submit_question(struct db_unit *unit)
{
	question.is_answered = false;
	question.answer[0] = '\0';
	db_unit_submit(unit);
}

bool is_answered(void)
{
	return question.is_answered;
}

const char *answer(void)
{
	return question.answer;
}

const char *answer_to(struct db_unit *unit)
{
	submit_question(unit);
	pump_until(is_answered);
	return answer();
}

const char *ask_link(struct db *db, const struct db_statement *statement)
{
	struct db_unit *unit = question_new(db, 1);

	db_unit_add(unit, statement);
	return answer_to(unit);
}

/* Until a later question has its answer. */
void let_everything_be_heard(void)
{
	struct db_unit *unit;

	for (size_t i = 0; i < WORKERS; i++) {
		unit = question_new(workers[i].reader, 0);
		db_unit_add(unit, &SQL_test_nothing);
		answer_to(unit);
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

static void on_trouble(void *owner)
{
	struct worker *w = owner;

	w->troubles++;
	ck_assert(batch_is_in_trouble(w->batch) == (w->troubles % 2 == 1));
}

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

bool all_quiet(void)
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

void workers_open(void)
{
	test_links_open(&links, &postgres, WORKERS, 60000); /* a commit may be stopped for as long as the test takes */
	ask(STOP);
}

void workers_close(void)
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
	done = 0;
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

TCase *case_new(Suite *suite, const char *name)
{
	TCase *tc = tcase_create(name);

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(suite, tc);
	return tc;
}

/* What happens. */

static size_t done_awaited;

static bool all_done(void)
{
	return done == done_awaited;
}

void wait_for_done(size_t count)
{
	done_awaited = count;
	pump_until(all_done);
}

static void on_accepted(struct accept *accept, const struct fault *fault)
{
	(void)accept;
	faults[done++] = fault;
}

void submit(size_t worker, struct accept *a, const char *vehicle, const char *key)
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

bool is_settled(void)
{
	return settled;
}

void hear_subscribed(size_t worker, const char *id, struct receipt *receipt)
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

const char *statuses(void)
{
	return ask("select string_agg(status || '/' || flight, ' ' order by accepted_seq) from commands");
}

bool one_published(void)
{
	return workers[0].published + workers[1].published == 1;
}

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

bool is_ready(void)
{
	return app.ready;
}

void watch(size_t worker)
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

void wait_for_the_head(void)
{
	head_seq = atoll(ask("select seq from vehicle_heads where vehicle_id = '" CAR "'"));
	ck_assert_int_gt(head_seq, 0);
	pump_until(has_seen_all);
}
