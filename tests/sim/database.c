/* database.c - units to PostgreSQL at virtual times.
 *
 *   submitted ─ (travels) ─ run: whole, or a statement at a time ─ (travels) ─ told
 *                            └─ waits for a lock: the others go on, until one of them has ended its transaction
 *
 * What travels when the connection is lost was run or not, as chance has it: the caller hears STORAGE_UNKNOWN. A unit is run by
 * the world's loop and told by its node's: a frozen node does not keep the server from committing. */
#include "tests/sim/database.h"

#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/rfc3339.h"
#include "sql/db.h"
#include "sql/statements.h"
#include "sql/unit.h"
#include "tests/sim/chance.h"
#include "tests/sim/memo.h"
#include "tests/sim/node.h"
#include "tests/sim/postgres.h"
#include "tests/sim/renewals.h"
#include "tests/sim/world.h"

#define PIPELINE_MAX 8
#define COMMIT_TIMEOUT_MS 5000
#define PAUSE_MS_MIN 100
#define PAUSE_MS_MAX 5000
#define PREPARED_MAX 256
#define RENEWALS_PERMILLE 30
#define LOCK_LOOK_MS 3 /* how long a statement may take before it is asked what it waits for */

const struct fault FAULT_STATEMENT = {
	.name = "internal",
	.http = 500,
	.executed = EXECUTED_NO,
	.retry = RETRY_NEVER,
	.title = "the database refused a statement",
	.user_message = "Something went wrong.",
};

/* The server's clock in this session: `sim.now` now, `sim.began` when its transaction began. What a transaction draws is decided by when
 * it began, not by who was served by its session before. */
static const struct db_statement BEGINNING = {
	.name = "sim_begin",
	.text = "select pg_catalog.set_config('sim.now', $1, false), pg_catalog.set_config('sim.began', $1, false), "
		"pg_catalog.setseed($2)",
};
static const struct db_statement CLOCK = {
	.name = "sim_clock",
	.text = "select pg_catalog.set_config('sim.now', $1, false)",
};

enum db_state { DB_PAUSING, DB_UP, DB_LOST };

/* A unit on its way there and back. */
struct trip {
	struct list node;
	struct db_unit *unit;
	int64_t due_ms; /* the world's: when it is run; afterwards, when it is back */
	const struct fault *verdict;
};

/* A session of the server carries one unit after the other, whoever's: what it has prepared and planned is what makes a new one dear.
 * There are as many as transactions were open at once. */
struct session {
	struct list node;
	PGconn *conn;
	const struct db_statement *prepared[PREPARED_MAX];
	size_t prepared_count;
};

/* The unit that is being run. */
struct run {
	struct trip *trip; /* NULL: none */
	size_t sent, read; /* steps */
	bool stepwise, synced, clock_due, failed, blocked;
};

struct db {
	struct list node_of_all;
	struct loop *loop;
	struct node *node;
	struct db_options options;
	enum db_state state;
	bool has_said_up, is_closing;
	void (*on_closed)(void *owner);
	struct session *session;	  /* of the unit that is being run */
	struct list there, back, refused; /* of struct trip */
	struct run run;
	size_t untold;
	int64_t pause_ms, clock_offset_us;
	struct loop_timer going;		     /* the world's */
	struct loop_timer coming, patience, connect; /* the node's */
	struct loop_soon work;
};

static struct {
	struct list all;  /* connections, in the order of their making */
	struct list idle; /* of struct session; the last one has worked last */
	bool is_away;
	int64_t hangs_until_ms;
	unsigned stepwise_permille;
	uint64_t seed;
	int64_t last_us;
} server;

static void on_connect(struct loop_timer *timer);
static void on_going(struct loop_timer *timer);
static void on_coming(struct loop_timer *timer);
static void on_patience(struct loop_timer *timer);
static void on_work(struct loop_soon *soon);
static void go_on(struct db *db);
static void say_down(struct db *db);
static void disconnect(struct db *db);
static bool is_any_open(const struct db *but);

void database_begin(uint64_t seed, unsigned stepwise_permille)
{
	list_init(&server.all);
	list_init(&server.idle);
	server.stepwise_permille = stepwise_permille;
	server.seed = seed;
}

/* The world's time, and never the same twice: real transactions are not simultaneous either. */
static int64_t next_us(void)
{
	return world_us() > server.last_us ? world_us() : server.last_us + 1;
}

static void write_now(char out[RFC3339_SIZE])
{
	server.last_us = next_us();
	rfc3339_write(server.last_us, out);
}

/* sql/db.h: making and asking. */

struct db *db_new(struct loop *loop, const struct db_options *options)
{
	struct db *db = memory_new(sizeof(*db));

	db->loop = loop;
	db->node = node_running();
	db->options = *options;
	list_init(&db->there);
	list_init(&db->back);
	list_init(&db->refused);
	list_init(&db->node_of_all);
	list_append(&server.all, &db->node_of_all);
	loop_timer_init(world_loop(), &db->going, on_going);
	loop_timer_init(loop, &db->coming, on_coming);
	loop_timer_init(loop, &db->patience, on_patience);
	loop_timer_init(loop, &db->connect, on_connect);
	loop_soon_init(&db->work, on_work);
	return db;
}

void db_start(struct db *db)
{
	loop_timer_start(&db->connect, chance_delay_ms(5, 200));
}

static struct trip *trip_of(struct list *node)
{
	return container_of(node, struct trip, node);
}

/* What is first in the pipeline was given up, and still has its place there. */
static bool is_stuck(const struct db *db)
{
	const struct trip *first = !list_is_empty(&db->back)	? trip_of(db->back.next)
				   : db->run.trip		? db->run.trip
				   : !list_is_empty(&db->there) ? trip_of(db->there.next)
								: NULL;
	return first && first->unit->state == UNIT_TOLD;
}

bool db_is_up(const struct db *db)
{
	return db->state == DB_UP && !is_stuck(db);
}

bool db_is_silent(const struct db *db)
{
	(void)db;
	return false;
}

size_t db_in_flight(const struct db *db)
{
	return db->untold;
}

int64_t db_now_us(const struct db *db)
{
	return loop_monotonic_us(db->loop) + db->clock_offset_us;
}

/* Connecting. */

bool database_is_away_for(const struct node *node)
{
	return server.is_away || node_is_cut_from_database(node);
}

static void start_pause(struct db *db)
{
	int64_t longest = 2 * db->pause_ms;

	if (longest < 2 * PAUSE_MS_MIN)
		longest = 2 * PAUSE_MS_MIN;
	if (longest > PAUSE_MS_MAX)
		longest = PAUSE_MS_MAX;
	db->pause_ms = longest;
	db->state = DB_PAUSING;
	if (!db->is_closing)
		loop_timer_start(&db->connect, chance_between(longest / 2, longest));
}

static void on_connect(struct loop_timer *timer)
{
	struct db *db = container_of(timer, struct db, connect);

	if (database_is_away_for(db->node)) {
		start_pause(db);
		return;
	}
	db->state = DB_UP;
	db->pause_ms = 0;
	db->clock_offset_us = world_us() - loop_monotonic_us(db->loop);
	db->has_said_up = true;
	if (db->options.on_up)
		db->options.on_up(db->options.owner, db);
}

/* Submitting. */

static struct trip *trip_new(struct db_unit *unit)
{
	struct trip *trip = memory_new(sizeof(*trip));
	trip->unit = unit;
	list_init(&trip->node);
	return trip;
}

static int64_t patience_ms(const struct db *db)
{
	return db->options.commit_timeout_ms ? db->options.commit_timeout_ms : COMMIT_TIMEOUT_MS;
}

void db_unit_submit(struct db_unit *unit)
{
	struct db *db = unit->db;
	struct trip *trip = trip_new(unit);

	unit->refusal = !db_is_up(db) || db->is_closing	      ? &FAULT_STORAGE_UNAVAILABLE
			: db->untold >= db->options.queue_max ? &FAULT_OVERLOADED
							      : NULL;
	unit->state = unit->refusal ? UNIT_REFUSED : UNIT_WAITING;
	unit->deadline_ms = loop_monotonic_ms(db->loop) + patience_ms(db);
	db->untold++;
	if (unit->refusal) {
		list_append(&db->refused, &trip->node);
		loop_soon_call(db->loop, &db->work);
		return;
	}
	trip->due_ms = world_ms() + chance_delay_ms(1, 30);
	list_append(&db->there, &trip->node);
	if (!loop_timer_is_started(&db->going))
		loop_timer_start(&db->going, trip->due_ms - world_ms());
	if (!loop_timer_is_started(&db->patience))
		loop_timer_start(&db->patience, patience_ms(db));
}

static void tell(struct trip *trip, const struct fault *fault)
{
	struct db_unit *unit = trip->unit;

	if (unit->state == UNIT_TOLD)
		return;
	unit->state = UNIT_TOLD;
	unit->db->untold--;
	unit->on_done(unit, unit->context, fault);
}

static void end_trip(struct trip *trip)
{
	db_unit_free(trip->unit);
	free(trip);
}

static void on_work(struct loop_soon *soon)
{
	struct db *db = container_of(soon, struct db, work);
	struct list round;

	list_init(&round);
	list_append_all(&round, &db->refused);
	while (!list_is_empty(&round)) {
		struct trip *trip = trip_of(list_take_first(&round));
		tell(trip, trip->unit->refusal);
		end_trip(trip);
	}
	if (!db->is_closing || db->untold > 0)
		return;
	loop_timer_stop(&db->going);
	loop_timer_stop(&db->coming);
	loop_timer_stop(&db->patience);
	loop_timer_stop(&db->connect);
	list_remove(&db->node_of_all);
	disconnect(db);
	if (db->run.trip)
		end_trip(db->run.trip);
	list_append_all(&db->back, &db->there);
	while (!list_is_empty(&db->back)) /* what was told early */
		end_trip(trip_of(list_take_first(&db->back)));
	if (db->on_closed)
		db->on_closed(db->options.owner);
	free(db);
}

void db_close(struct db *db, void (*on_closed)(void *owner))
{
	db->is_closing = true;
	db->on_closed = on_closed;
	loop_soon_call(db->loop, &db->work);
}

/* Patience: a unit without answer is unknown, and the link is down until the answer has come. */

static void look_at_stuck(struct db *db)
{
	if (db->state != DB_UP || db->has_said_up == !is_stuck(db))
		return;
	db->has_said_up = !db->has_said_up;
	if (db->is_closing)
		return;
	if (db->has_said_up)
		db->options.on_up(db->options.owner, db);
	else
		db->options.on_down(db->options.owner, db);
}

static void lose_patience(struct db *db, struct trip *trip, int64_t now_ms)
{
	if (trip && trip->unit->state != UNIT_TOLD && trip->unit->deadline_ms <= now_ms)
		tell(trip, &FAULT_STORAGE_UNKNOWN);
	(void)db;
}

static void on_patience(struct loop_timer *timer)
{
	struct db *db = container_of(timer, struct db, patience);
	int64_t now_ms = loop_monotonic_ms(db->loop);

	list_for_each (back, &db->back)
		lose_patience(db, trip_of(back), now_ms);
	lose_patience(db, db->run.trip, now_ms);
	list_for_each (there, &db->there)
		lose_patience(db, trip_of(there), now_ms);
	look_at_stuck(db);
	if (db->untold > 0)
		loop_timer_start(timer, 500);
	if (db->is_closing)
		loop_soon_call(db->loop, &db->work);
}

/* Running. */

static struct session *session_new(void)
{
	struct session *s = memory_new(sizeof(*s));

	list_init(&s->node);
	s->conn = postgres_connect();
	PQenterPipelineMode(s->conn);
	return s;
}

static struct session *session_take(void)
{
	if (list_is_empty(&server.idle))
		return session_new();
	struct session *s = container_of(server.idle.prev, struct session, node);
	list_remove(&s->node);
	return s;
}

static void session_give_back(struct db *db)
{
	list_append(&server.idle, &db->session->node);
	db->session = NULL;
}

/* False: it waits for a lock that another unit holds. */
static bool wait_for_input(const struct db *db)
{
	PGconn *conn = db->session->conn;
	bool may_wait = is_any_open(db);

	while (PQisBusy(conn)) {
		struct pollfd polled = { .fd = PQsocket(conn), .events = POLLIN };
		if (poll(&polled, 1, may_wait ? LOCK_LOOK_MS : -1) > 0)
			PQconsumeInput(conn);
		else if (postgres_is_blocked(conn))
			return false;
	}
	return true;
}

static bool is_prepared(const struct session *s, const struct db_statement *statement)
{
	for (size_t i = 0; i < s->prepared_count; i++)
		if (s->prepared[i] == statement)
			return true;
	return false;
}

static bool send_prepare(struct session *s, const struct db_statement *statement)
{
	if (is_prepared(s, statement))
		return false;
	assert(s->prepared_count < PREPARED_MAX);
	s->prepared[s->prepared_count++] = statement;
	PQsendPrepare(s->conn, statement->name, statement->text, 0, NULL);
	return true;
}

/* What a unit runs, before it begins. */
static void prepare(struct session *s, const struct db_unit *unit)
{
	bool is_over = !send_prepare(s, &BEGINNING);

	is_over = !send_prepare(s, &CLOCK) && is_over;

	for (size_t i = 0; i < unit->step_count; i++)
		is_over = !send_prepare(s, unit->steps[i].statement) && is_over;
	if (!is_over)
		PQpipelineSync(s->conn);
	while (!is_over) {
		PGresult *result = PQgetResult(s->conn);
		if (result && PQresultStatus(result) == PGRES_FATAL_ERROR)
			world_fail("statement", "it cannot be prepared: %s", PQresultErrorMessage(result));
		is_over = result && PQresultStatus(result) == PGRES_PIPELINE_SYNC;
		PQclear(result);
	}
}

static void send_beginning(struct db *db)
{
	char now[RFC3339_SIZE], draws[24];
	const char *params[] = { now, draws };

	write_now(now);
	snprintf(draws, sizeof(draws), "%f",
		(double)((((uint64_t)server.last_us ^ server.seed) * 0x9e3779b97f4a7c15u) >> 40) / (1 << 24));
	PQsendQueryPrepared(db->session->conn, BEGINNING.name, 2, params, NULL, NULL, 0);
}

static void send_clock(struct db *db)
{
	char now[RFC3339_SIZE];
	const char *params[] = { now };

	write_now(now);
	PQsendQueryPrepared(db->session->conn, CLOCK.name, 1, params, NULL, NULL, 0);
}

static void send_step(struct db *db, const struct db_unit *unit, const struct unit_step *step)
{
	const char *const *params = step->param_count ? (const char *const *)unit->params + step->first_param : NULL;
	PQsendQueryPrepared(db->session->conn, step->statement->name, (int)step->param_count, params, NULL, NULL, 0);
}

/* The next statement with its clock, or all that are left; the end of the transaction goes along with the last. */
static void send_on(struct db *db)
{
	struct run *run = &db->run;
	struct db_unit *unit = run->trip->unit;
	bool is_last = !run->stepwise || run->failed || run->sent + 1 >= unit->step_count;

	if (!run->failed && run->sent < unit->step_count) {
		if (run->sent == 0)
			send_beginning(db);
		else
			send_clock(db);
		run->clock_due = true;
		do
			send_step(db, unit, &unit->steps[run->sent++]);
		while (!run->stepwise && run->sent < unit->step_count);
	}
	if (is_last) {
		PQpipelineSync(db->session->conn);
		run->synced = true;
	} else {
		PQsendFlushRequest(db->session->conn);
	}
	PQflush(db->session->conn);
}

/* False: the unit waits for a lock. True: what was sent is done; with its Sync the unit is. */
static bool collect(struct db *db)
{
	struct run *run = &db->run;
	struct db_unit *unit = run->trip->unit;

	while (run->read < run->sent || run->clock_due || run->synced) {
		if (!wait_for_input(db))
			return false;
		PGresult *result = PQgetResult(db->session->conn);
		if (!result)
			continue;
		ExecStatusType status = PQresultStatus(result);
		if (status == PGRES_PIPELINE_SYNC) {
			PQclear(result);
			run->synced = false;
			return true;
		}
		if (status == PGRES_FATAL_ERROR) {
			unit_take_error(unit, result);
			run->failed = true;
		}
		bool is_good = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
		if (run->clock_due) {
			run->clock_due = false;
			PQclear(result);
		} else if (run->read == run->sent) { /* the commit itself was refused */
			PQclear(result);
		} else {
			run->read++;
			if (is_good && !run->failed)
				unit_take_result(unit, result);
			else
				PQclear(result);
		}
	}
	return true;
}

static bool is_any_open(const struct db *but)
{
	list_for_each (node, &server.all) {
		const struct db *db = container_of(node, struct db, node_of_all);
		if (db != but && db->run.trip)
			return true;
	}
	return false;
}

static void begin(struct db *db, struct trip *trip, bool stepwise)
{
	db->run = (struct run){ .trip = trip, .stepwise = stepwise };
	memo_before_run(trip->unit);
	db->session = session_take();
	prepare(db->session, trip->unit);
}

/* Renewals come by the clock, however slowly all else goes: as many of them as in a quick run go a statement at a time. */
static bool goes_stepwise(const struct db *db, const struct db_unit *unit)
{
	if (memo_is_look(unit) || unit->step_count < 2)
		return false;
	if (is_any_open(db))
		return true;
	if (!renewals_is(unit))
		return chance_of(server.stepwise_permille);
	return chance_below(world_slow(1000)) < RENEWALS_PERMILLE;
}

static const struct fault *verdict_of(const struct db_unit *unit)
{
	return unit->sqlstate[0] ? unit->verdict : NULL;
}

static void note_refusal(const struct db *db, const struct db_unit *unit)
{
	if (!unit->sqlstate[0])
		return;
	world_note("node %zu: the database refused %s: %s %s", node_index(db->node),
		unit->refused_step < unit->step_count ? unit->steps[unit->refused_step].statement->name : "commit",
		unit->sqlstate, unit->message);
	if (strcmp(unit->sqlstate, "40P01") == 0)
		world_fail("S16", "a deadlock: %s", unit->message);
	else if (strcmp(unit->sqlstate, "KF001") != 0)
		world_fail("statement", "%s: %s %s",
			unit->refused_step < unit->step_count ? unit->steps[unit->refused_step].statement->name
							      : "commit",
			unit->sqlstate, unit->message);
}

/* Whoever waits for what this one held. */
static void wake_blocked(void)
{
	list_for_each_safe (node, &server.all) {
		struct db *db = container_of(node, struct db, node_of_all);
		if (db->run.trip && db->run.blocked)
			go_on(db);
	}
}

static void send_back(struct db *db, struct trip *trip)
{
	trip->verdict = verdict_of(trip->unit);
	trip->due_ms = world_ms() + chance_delay_ms(1, 30);
	list_append(&db->back, &trip->node);
	if (!loop_timer_is_started(&db->coming))
		loop_timer_start(&db->coming, trip->due_ms - world_ms());
	wake_blocked();
	if (!list_is_empty(&db->there) && !loop_timer_is_started(&db->going))
		loop_timer_start(&db->going, trip_of(db->there.next)->due_ms - world_ms());
}

static void finish(struct db *db)
{
	struct trip *trip = db->run.trip;

	db->run.trip = NULL;
	session_give_back(db);
	memo_note(trip->unit, !db->run.stepwise);
	note_refusal(db, trip->unit);
	send_back(db, trip);
}

/* What was sent is read; then the next statement's time has to come. */
static void go_on(struct db *db)
{
	struct run *run = &db->run;
	size_t synced = run->synced;

	run->blocked = !collect(db);
	if (run->blocked)
		world_note("node %zu: a unit waits for a lock in %s", node_index(db->node),
			run->trip->unit->steps[run->read < run->trip->unit->step_count ? run->read : 0]
				.statement->name);
	else if (synced)
		finish(db);
	else
		loop_timer_start(&db->going, chance_delay_ms(5, 30));
}

/* Its moment passes as if it had run. */
static bool is_remembered(struct db_unit *unit)
{
	int64_t at_us = next_us();

	if (!memo_answer(unit, at_us))
		return false;
	server.last_us = at_us;
	return true;
}

/* The vehicles whose heads a unit locks where it stands; NULL: it does not. */
static const char *locks(const struct db_unit *unit, size_t step)
{
	const struct unit_step *s = step < unit->step_count ? &unit->steps[step] : NULL;
	return s && s->statement == &SQL_lock_heads ? unit->params[s->first_param] : NULL;
}

/* Ids of vehicles are of three letters. */
static bool share_a_vehicle(const char *some, const char *others)
{
	for (const char *at = strchr(some, 'V'); at; at = strchr(at + 1, 'V')) {
		char id[4];
		snprintf(id, sizeof(id), "%.3s", at);
		if (strstr(others, id))
			return true;
	}
	return false;
}

/* Two that wait for one head, which whoever has it writes: the server lets them run for the new version of the row, and whoever is quicker has
 * it. So the second begins once the first waits no more. */
static bool must_queue(const struct db_unit *unit)
{
	const char *wanted = locks(unit, 0);

	list_for_each (node, &server.all) {
		const struct run *run = &container_of(node, struct db, node_of_all)->run;
		const char *awaited = run->trip && run->blocked ? locks(run->trip->unit, run->read) : NULL;
		if (wanted && awaited && share_a_vehicle(wanted, awaited))
			return true;
	}
	return false;
}

static void on_going(struct loop_timer *timer)
{
	struct db *db = container_of(timer, struct db, going);

	if (db->state != DB_UP || db->run.blocked)
		return;
	if (!db->run.trip && server.hangs_until_ms > world_ms()) {
		loop_timer_start(timer, server.hangs_until_ms - world_ms());
		return;
	}
	if (!db->run.trip) {
		if (list_is_empty(&db->there))
			return;
		struct trip *trip = trip_of(db->there.next);
		if (trip->due_ms > world_ms()) {
			loop_timer_start(timer, trip->due_ms - world_ms());
			return;
		}
		if (must_queue(trip->unit)) {
			loop_timer_start(timer, 1);
			return;
		}
		list_remove(&trip->node);
		bool stepwise = goes_stepwise(db, trip->unit);
		if (!stepwise && is_remembered(trip->unit)) {
			send_back(db, trip);
			return;
		}
		begin(db, trip, stepwise);
	}
	send_on(db);
	go_on(db);
}

static void on_coming(struct loop_timer *timer)
{
	struct db *db = container_of(timer, struct db, coming);

	if (db->state == DB_LOST) {
		struct list lost;
		list_init(&lost);
		list_append_all(&lost, &db->back);
		list_append_all(&lost, &db->there);
		db->state = DB_PAUSING;
		for (size_t place = 0; !list_is_empty(&lost); place++) {
			struct trip *trip = trip_of(list_take_first(&lost));
			tell(trip, place < PIPELINE_MAX ? &FAULT_STORAGE_UNKNOWN : &FAULT_STORAGE_UNAVAILABLE);
			end_trip(trip);
		}
		say_down(db);
		start_pause(db);
	} else if (!list_is_empty(&db->back)) {
		struct trip *trip = trip_of(db->back.next);
		if (trip->due_ms > world_ms()) {
			loop_timer_start(timer, trip->due_ms - world_ms());
			return;
		}
		list_remove(&trip->node);
		tell(trip, trip->verdict);
		end_trip(trip);
		look_at_stuck(db);
		if (!list_is_empty(&db->back) && !loop_timer_is_started(timer))
			loop_timer_start(timer, trip_of(db->back.next)->due_ms - world_ms());
	}
	if (db->is_closing)
		loop_soon_call(db->loop, &db->work);
}

static void say_down(struct db *db)
{
	if (!db->has_said_up)
		return;
	db->has_said_up = false;
	if (!db->is_closing && db->options.on_down)
		db->options.on_down(db->options.owner, db);
}

/* Losing. */

/* Where a transaction is open its session ends. The server may take a moment to see that; the world waits for it, so that locks are
 * free at a certain time. */
static void disconnect(struct db *db)
{
	struct session *s = db->session;

	db->session = NULL;
	if (!s)
		return;
	postgres_terminate(s->conn);
	PQfinish(s->conn);
	free(s);
}

/* What was sent may still be read by the server before it sees the end. */
static void run_some(struct db *db)
{
	int64_t count = chance_of(500) ? chance_below(PIPELINE_MAX + 1) : 0;

	while (count-- > 0 && !list_is_empty(&db->there) && !db->run.trip && !is_any_open(db)) {
		struct trip *trip = trip_of(list_take_first(&db->there));
		begin(db, trip, false);
		send_on(db);
		collect(db);
		memo_note(trip->unit, true);
		db->run.trip = NULL;
		session_give_back(db);
		list_append(&db->back, &trip->node);
	}
}

static void lose(struct db *db, bool is_dead)
{
	if (db->state == DB_UP) {
		run_some(db);
		disconnect(db);
	}
	if (db->run.trip)
		list_append(&db->back, &db->run.trip->node); /* nothing of it was done */
	db->run = (struct run){ 0 };
	loop_timer_stop(&db->going);
	if (is_dead)
		list_remove(&db->node_of_all);
	else if (db->state == DB_UP) {
		db->state = DB_LOST;
		loop_timer_start(&db->coming, chance_delay_ms(5, 1000));
	}
}

void database_lose(struct node *node, bool is_dead)
{
	list_for_each_safe (one, &server.all) {
		struct db *db = container_of(one, struct db, node_of_all);
		if (db->node == node)
			lose(db, is_dead);
	}
	wake_blocked();
}

void database_leave(bool crashed)
{
	server.is_away = true;
	list_for_each_safe (one, &server.all)
		lose(container_of(one, struct db, node_of_all), false);
	if (crashed)
		postgres_do("truncate interest"); /* which no look reads */
}

void database_return(void)
{
	server.is_away = false;
}

void database_hang(int64_t ms)
{
	server.hangs_until_ms = world_ms() + ms;
}
