/* db.c - the link: carries units to the database and their verdicts back, and finds the way again when it is lost.
 *
 *  connecting ─ setting up ─ up ─┐
 *      ^            │ no         │ lost
 *      └── pausing ─┴────────────┘
 *
 * While it is up the server may fall silent: then a witness is asked, again and again, whether it is to be left.
 *
 * A unit waits for one of the pipeline's places, is sent with a Sync of its own, and hears its verdict when that
 * Sync comes back. libpq gives the results in the order of sending, so one list and one reader suffice. A statement is
 * prepared just before the first unit that runs it, as a unit of its own: what a unit that fails leaves behind stays clear,
 * and a server that came back is not asked for a hundred statements by each connection at once.
 *
 * Nothing is told, freed or torn down inside a call from outside: such calls leave a note (`work`), and
 * the loop comes back for it. Inside callbacks of libuv the connection therefore stays what it is until they return. */
#include "sql/db.h"

#include <assert.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "sql/connector.h"
#include "sql/server_clock.h"
#include "sql/unit.h"
#include "sql/witness.h"

/* More in flight hide no more of the round trip, and each is one more unknown when the connection dies. */
#define PIPELINE_MAX 8
#define QUEUE_MAX 1024
#define COMMIT_TIMEOUT_MS 5000
#define SET_UP_TIMEOUT_MS 10000
#define PAUSE_MS_MIN 100
#define PAUSE_MS_MAX 1000 /* within two seconds of the server's return what was due meanwhile is done */
#define SILENCE_MS 1000	  /* every worker renews its lease each second, so within two it is known */
#define WITNESS_INTERVAL_MS 2000
#define CLOCK_INTERVAL_MS 10000
#define CLOCK_ANSWERS 5	      /* of a new connection */
#define COMPLAINT_GAP_MS 1000 /* a server in trouble refuses everything */

#define OUT_OF_STEP "the results are out of step with the statements"
#define READ_ONLY_TRANSACTION "25006"

/* The unit's own mistake, so a client hears no more than that. */
const struct fault FAULT_STATEMENT = {
	.name = "internal",
	.http = 500,
	.executed = EXECUTED_NO,
	.retry = RETRY_NEVER,
	.title = "the database refused a statement",
	.user_message = "Something went wrong.",
};

static const struct db_statement SESSION = { .name = "keyfob_session", .text = WITNESS_BEGUN };

static const struct db_statement SCHEMA = {
	.name = "keyfob_schema",
	.text = "select coalesce(max(version), 0) from schema_migrations",
};

static const struct db_statement CLOCK = {
	.name = "keyfob_clock",
	.text = "select (extract(epoch from clock_timestamp()) * 1000000)::bigint",
};

enum db_state {
	DB_PAUSING, /* no connection, and none is being made */
	DB_CONNECTING,
	DB_SETTING_UP,
	DB_UP,
	DB_LOST, /* the connection is dead or useless; the loop clears it away */
};

/* A statement that the connection's server knows by its name, or will when it has read what was sent. */
struct prepared {
	const struct db_statement *statement;
	UT_hash_handle hh;
};

struct db {
	struct loop *loop;
	struct db_options options;

	enum db_state state;
	bool has_said_up; /* on_up was the last word, not on_down */
	bool is_closing;
	void (*on_closed)(void *owner);

	struct connector *connector;
	PGconn *conn;
	struct prepared *prepared;
	uv_poll_t *poll;
	int poll_events;
	bool after_separator;
	uint64_t times_up;
	int64_t pause_ms;
	struct loop_timer pause;

	struct list waiting, sent, refused; /* of struct db_unit, in the order of submission */
	size_t sent_count;		    /* without those that prepare */
	size_t untold;			    /* in these lists and without a verdict */
	struct loop_timer deadline;	    /* of the oldest of them, or earlier */
	int64_t heard_ms;		    /* when the server said something last, or had no more to say */
	bool is_silent;
	struct loop_timer silence; /* looks at heard_ms, while there is something to be heard */
	int64_t complained_ms;	   /* when the log was last told of the server's trouble; 0: never */
	char begun[64];		   /* of our session, by the server's clock */
	struct witness *witness;
	PGconn *successor; /* the witness's, where writes go now; NULL */
	struct loop_soon work;

	struct server_clock server_clock;
	struct loop_timer clock;
};

static void connect_now(struct db *db);
static void on_paused(struct loop_timer *timer);
static void on_connected(void *owner, PGconn *conn);
static void on_connect_failed(void *owner);
static void set_up(struct db *db);
static void on_set_up(struct db_unit *unit, void *context, const struct fault *fault);
static void ask_clock(struct db *db, void (*send)(struct db_unit *), db_done *on_done);
static void on_first_clock(struct db_unit *unit, void *context, const struct fault *fault);
static void on_clock(struct db_unit *unit, void *context, const struct fault *fault);
static void on_clock_due(struct loop_timer *timer);
static void become_up(struct db *db);
static void on_work(struct loop_soon *soon);
static void send_waiting(struct db *db);
static void send_own(struct db_unit *unit);
static void put_on_wire(struct db_unit *unit);
static void prepare(struct db *db, const struct db_statement *statement);
static void forget(struct db *db, struct prepared *known);
static void send_unit(struct db_unit *unit);
static void flush(struct db *db);
static void watch(struct db *db, int events);
static void on_socket(uv_poll_t *poll, int status, int events);
static void read_socket(struct db *db);
static void read_results(struct db *db);
static void take_result(struct db_unit *unit, PGresult *result);
static void on_notice(void *context, const PGresult *notice);
static const struct fault *verdict_of(const struct db_unit *unit);
static void tell(struct db_unit *unit, const struct fault *fault);
static void tell_unsent(struct db_unit *unit);
static void on_deadline(struct loop_timer *timer);
static void on_silence(struct loop_timer *timer);
static void break_silence(struct db *db);
static void on_session_alive(void *owner);
static void on_session_gone(void *owner, PGconn *conn);
static void look_at_stuck(struct db *db);
static void lose(struct db *db, const char *why);
static void clear_away(struct db *db);
static void bury(struct db_unit *unit);
static void say_up(struct db *db);
static void say_down(struct db *db);
static void start_pause(struct db *db);
static void finish_closing(struct db *db);

static struct db_unit *unit_of(struct list *node)
{
	return container_of(node, struct db_unit, node);
}

static bool is_preparation(const struct db_unit *unit)
{
	return unit->steps[0].kind == STEP_PREPARE;
}

/* Making and asking. */

struct db *db_new(struct loop *loop, const struct db_options *options)
{
	assert(loop_uv(loop));
	struct db *db = memory_new(sizeof *db);
	db->loop = loop;
	db->options = *options;
	db->options.queue_max = options->queue_max ? options->queue_max : QUEUE_MAX;
	db->options.commit_timeout_ms = options->commit_timeout_ms ? options->commit_timeout_ms : COMMIT_TIMEOUT_MS;
	list_init(&db->waiting);
	list_init(&db->sent);
	list_init(&db->refused);
	loop_timer_init(loop, &db->pause, on_paused);
	loop_timer_init(loop, &db->deadline, on_deadline);
	loop_timer_init(loop, &db->silence, on_silence);
	loop_timer_init(loop, &db->clock, on_clock_due);
	loop_soon_init(&db->work, on_work);
	db->connector = connector_new(loop, options->url,
		&(struct connector_listener){
			.owner = db, .on_connected = on_connected, .on_failed = on_connect_failed });
	db->witness = witness_new(loop, options->url,
		&(struct witness_listener){ .owner = db,
			.on_alive = on_session_alive,
			.on_gone = on_session_gone,
			.on_nobody = on_session_alive });
	return db;
}

void db_start(struct db *db)
{
	assert(db->state == DB_PAUSING && !db->is_closing);
	connect_now(db);
}

/* What is first in the pipeline was given up, and still has its place there. */
static bool is_stuck(const struct db *db)
{
	list_for_each (node, &db->sent)
		if (!is_preparation(unit_of(node)))
			return unit_of(node)->state == UNIT_TOLD;
	return false;
}

bool db_is_up(const struct db *db)
{
	return db->state == DB_UP && !is_stuck(db);
}

bool db_is_silent(const struct db *db)
{
	return db->is_silent;
}

size_t db_in_flight(const struct db *db)
{
	return db->untold;
}

int64_t db_now_us(const struct db *db)
{
	return loop_monotonic_us(db->loop) + db->server_clock.offset_us;
}

/* Connecting. */

static void connect_now(struct db *db)
{
	db->state = DB_CONNECTING;
	connector_start(db->connector);
}

static void on_connect_failed(void *owner)
{
	struct db *db = owner;
	lose(db, NULL);
}

static void on_connected(void *owner, PGconn *conn)
{
	struct db *db = owner;
	db->conn = conn;
	db->state = DB_SETTING_UP;
	PQsetNoticeReceiver(conn, on_notice, db);
	db->poll = memory_new(sizeof *db->poll);
	db->poll->data = db;
	int error = uv_poll_init(loop_uv(db->loop), db->poll, PQsocket(conn));
	if (error) {
		free(db->poll);
		db->poll = NULL;
		lose(db, uv_strerror(error));
	} else if (PQsetnonblocking(conn, 1) != 0 || !PQenterPipelineMode(conn)) {
		lose(db, PQerrorMessage(conn));
	} else {
		set_up(db);
	}
}

/* The statements of the first unit. */
enum { SETTINGS_STEP, SESSION_STEP, SCHEMA_STEP };

static void set_up(struct db *db)
{
	struct db_unit *unit = db_unit_new(db, on_set_up, db);
	db_unit_add(unit, &UNIT_SETTINGS);
	db_unit_add(unit, &SESSION);
	if (db->options.schema)
		db_unit_add(unit, &SCHEMA);
	send_own(unit);
	flush(db);
}

static void on_set_up(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct db *db = context;
	bool has_schema = !fault && (!db->options.schema || db_int(unit, SCHEMA_STEP, 0, 0) >= db->options.schema);
	if (has_schema) {
		snprintf(db->begun, sizeof db->begun, "%s", db_text(unit, SESSION_STEP, 0, 0));
		db->server_clock.answers = 0;
		ask_clock(db, send_own, on_first_clock);
		return;
	}
	if (!fault)
		log_error("sql",
			"the database's schema is older than this program; keyfobd --migrate brings it up to date",
			LOG_INT("found", db_int(unit, SCHEMA_STEP, 0, 0)), LOG_INT("needed", db->options.schema));
	else if (unit->sqlstate[0])
		log_error("sql", "the connection cannot be set up; a new database needs keyfobd --migrate first",
			LOG_TEXT("sqlstate", unit->sqlstate), LOG_TEXT("reason", db_unit_message(unit)));
	lose(db, fault == &FAULT_STORAGE_UNKNOWN ? "it was not set up in time" : NULL);
}

struct clock_question {
	struct db *db;
	int64_t asked_us; /* monotonic */
};

static void ask_clock(struct db *db, void (*send)(struct db_unit *), db_done *on_done)
{
	struct clock_question *q = memory_new(sizeof(*q));
	struct db_unit *unit = db_unit_new(db, on_done, q);

	*q = (struct clock_question){ .db = db, .asked_us = loop_monotonic_us(db->loop) };
	db_unit_add(unit, &CLOCK);
	send(unit);
}

static void on_first_clock(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct clock_question *q = context;
	struct db *db = q->db;

	if (!fault)
		server_clock_begin(&db->server_clock, q->asked_us, loop_monotonic_us(db->loop), db_int(unit, 0, 0, 0));
	free(q);
	if (fault)
		lose(db, "the clock was not told in time");
	else if (db->server_clock.answers < CLOCK_ANSWERS)
		ask_clock(db, send_own, on_first_clock);
	else
		become_up(db);
}

static void on_clock_due(struct loop_timer *timer)
{
	struct db *db = container_of(timer, struct db, clock);

	ask_clock(db, db_unit_submit, on_clock);
	loop_timer_start(&db->clock, CLOCK_INTERVAL_MS);
}

static void on_clock(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct clock_question *q = context;

	if (!fault)
		server_clock_hear(
			&q->db->server_clock, q->asked_us, loop_monotonic_us(q->db->loop), db_int(unit, 0, 0, 0));
	free(q);
}

static void become_up(struct db *db)
{
	db->state = DB_UP;
	db->pause_ms = 0;
	if (db->times_up++)
		metric_add(METRIC_DB_RECONNECTS, 1);
	loop_timer_start(&db->clock, CLOCK_INTERVAL_MS);
	log_info("sql", "the database is connected", LOG_TEXT("host", PQhost(db->conn)),
		LOG_TEXT("port", PQport(db->conn)), LOG_INT("clock_offset_us", db_now_us(db) - loop_unix_us(db->loop)));
	say_up(db);
}

static void say_up(struct db *db)
{
	db->has_said_up = true;
	if (!db->is_closing && db->options.on_up)
		db->options.on_up(db->options.owner, db);
}

/* Sending. */

static const struct fault *refusal_of(const struct db *db)
{
	if (!db_is_up(db) || db->is_closing)
		return &FAULT_STORAGE_UNAVAILABLE;
	return db->untold >= db->options.queue_max ? &FAULT_OVERLOADED : NULL;
}

/* One timer for all: it is set for the oldest and left alone when that is answered, since ringing once for nothing
 * is cheaper than moving it for every unit. */
static void start_patience(struct db_unit *unit, int64_t patience_ms)
{
	struct db *db = unit->db;
	db->untold++;
	unit->deadline_ms = loop_monotonic_ms(db->loop) + patience_ms;
	if (!loop_timer_is_started(&db->deadline) || db->deadline.due_ms > unit->deadline_ms)
		loop_timer_start(&db->deadline, patience_ms);
}

void db_unit_submit(struct db_unit *unit)
{
	struct db *db = unit->db;
	assert(unit->state == UNIT_FILLING && unit->step_count);
	unit->refusal = refusal_of(db);
	unit->state = unit->refusal ? UNIT_REFUSED : UNIT_WAITING;
	list_append(unit->refusal ? &db->refused : &db->waiting, &unit->node);
	start_patience(unit, db->options.commit_timeout_ms);
	loop_soon_call(db->loop, &db->work);
}

static void tell_refused(struct db *db)
{
	struct list round, *node;
	list_init(&round);
	list_append_all(&round, &db->refused);
	while ((node = list_take_first(&round))) {
		tell(unit_of(node), unit_of(node)->refusal);
		db_unit_free(unit_of(node));
	}
}

static void on_work(struct loop_soon *soon)
{
	struct db *db = container_of(soon, struct db, work);
	tell_refused(db);
	if (db->state == DB_LOST)
		clear_away(db);
	send_waiting(db);
	flush(db);
	if (db->is_closing && !db->untold)
		finish_closing(db);
}

static void send_waiting(struct db *db)
{
	while (db->state == DB_UP && db->sent_count < PIPELINE_MAX && !list_is_empty(&db->waiting))
		put_on_wire(unit_of(list_take_first(&db->waiting)));
}

static void send_own(struct db_unit *unit)
{
	start_patience(unit, SET_UP_TIMEOUT_MS);
	put_on_wire(unit);
}

static struct prepared *prepared_as(const struct db *db, const struct db_statement *statement)
{
	struct prepared *known;
	HASH_FIND_PTR(db->prepared, &statement, known);
	return known;
}

static void put_on_wire(struct db_unit *unit)
{
	struct db *db = unit->db;
	for (size_t i = 0; i < unit->step_count; i++)
		if (!prepared_as(db, unit->steps[i].statement))
			prepare(db, unit->steps[i].statement);
	unit->state = UNIT_SENT;
	db->sent_count++;
	send_unit(unit);
}

/* Nobody waits for it, and it takes no place: who runs the statement hears if it does not exist. */
static void prepare(struct db *db, const struct db_statement *statement)
{
	struct prepared *known = memory_new(sizeof *known);
	known->statement = statement;
	HASH_ADD_PTR(db->prepared, statement, known);
	struct db_unit *unit = db_unit_new(db, NULL, NULL);
	unit_add_prepare(unit, statement);
	unit->state = UNIT_TOLD;
	send_unit(unit);
}

static void forget(struct db *db, struct prepared *known)
{
	HASH_DEL(db->prepared, known);
	free(known);
}

static void send_unit(struct db_unit *unit)
{
	struct db *db = unit->db;
	if (list_is_empty(&db->sent)) {
		db->heard_ms = loop_monotonic_ms(db->loop);
		if (!loop_timer_is_started(&db->silence))
			loop_timer_start(&db->silence, SILENCE_MS);
	}
	list_append(&db->sent, &unit->node);
	if (!unit_send(unit, db->conn))
		lose(db, PQerrorMessage(db->conn));
}

static bool has_connection(const struct db *db)
{
	return db->state == DB_SETTING_UP || db->state == DB_UP;
}

static void flush(struct db *db)
{
	if (!has_connection(db))
		return;
	int left = PQflush(db->conn);
	if (left < 0)
		lose(db, PQerrorMessage(db->conn));
	else
		watch(db, left ? UV_READABLE | UV_WRITABLE : UV_READABLE);
}

static void watch(struct db *db, int events)
{
	if (db->poll_events == events)
		return;
	db->poll_events = events;
	uv_poll_start(db->poll, events, on_socket);
}

/* Reading. */

static void on_socket(uv_poll_t *poll, int status, int events)
{
	struct db *db = poll->data;
	if (status < 0 || (events & UV_READABLE))
		read_socket(db);
	if (status < 0)
		lose(db, "the socket failed"); /* libuv has stopped the handle */
	send_waiting(db);
	flush(db);
	if (db->is_closing)
		loop_soon_call(db->loop, &db->work);
}

/* What OpenSSL has decrypted and libpq not yet taken makes no socket readable. */
static bool has_decrypted_input(PGconn *conn)
{
	const SSL *ssl = PQsslStruct(conn, "OpenSSL");
	return ssl && SSL_pending(ssl) > 0;
}

static void read_socket(struct db *db)
{
	do {
		bool is_open = PQconsumeInput(db->conn);
		read_results(db);
		if (!is_open)
			lose(db, PQerrorMessage(db->conn));
	} while (has_connection(db) && has_decrypted_input(db->conn));
}

/* The results of a statement end with a NULL, those of a unit with its Sync; two NULLs mean that libpq
 * believes the pipeline empty while we do not. */
static void read_results(struct db *db)
{
	while (has_connection(db) && !PQisBusy(db->conn) && !list_is_empty(&db->sent)) {
		PGresult *result = PQgetResult(db->conn);
		if (result)
			take_result(unit_of(db->sent.next), result);
		else if (db->after_separator)
			lose(db, OUT_OF_STEP);
		db->after_separator = !result;
	}
}

static void take_rows(struct db_unit *unit, PGresult *result);
static void take_error(struct db_unit *unit, PGresult *result);
static void take_unprepared(struct db_unit *unit, const PGresult *result);
static void take_nothing(struct db_unit *unit, PGresult *result);
static void take_sync(struct db_unit *unit, PGresult *result);

static void (*const TAKE[])(struct db_unit *, PGresult *) = {
	[PGRES_TUPLES_OK] = take_rows,
	[PGRES_COMMAND_OK] = take_rows,
	[PGRES_EMPTY_QUERY] = take_rows,
	[PGRES_FATAL_ERROR] = take_error,
	[PGRES_PIPELINE_ABORTED] = take_nothing,
	[PGRES_PIPELINE_SYNC] = take_sync,
};

static void take_result(struct db_unit *unit, PGresult *result)
{
	size_t kind = PQresultStatus(result);
	unit->db->heard_ms = loop_monotonic_ms(unit->db->loop);
	if (kind < sizeof TAKE / sizeof *TAKE && TAKE[kind]) {
		TAKE[kind](unit, result);
		return;
	}
	PQclear(result);
	lose(unit->db, "a statement copies rows; the link does not");
}

static void take_rows(struct db_unit *unit, PGresult *result)
{
	bool is_expected = unit->read < unit->step_count;
	if (!is_expected || unit->state == UNIT_TOLD) {
		PQclear(result);
		result = NULL;
	}
	if (is_expected)
		unit_take_result(unit, result);
	else
		lose(unit->db, OUT_OF_STEP);
}

/* An ERROR ends the transaction and nothing of it is done. Anything worse ends the connection, and may have
 * come after the commit. */
static void take_error(struct db_unit *unit, PGresult *result)
{
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
	if (!severity || strcmp(severity, "ERROR") != 0)
		lose(unit->db, PQresultErrorMessage(result));
	else if (is_preparation(unit))
		take_unprepared(unit, result);
	else
		unit_take_error(unit, result);
	PQclear(result);
}

/* It is tried again for the next unit that runs it; those that were sent meanwhile find that it is not there. */
static void take_unprepared(struct db_unit *unit, const PGresult *result)
{
	const struct db_statement *statement = unit->steps[0].statement;
	log_error("sql", "a statement cannot be prepared", LOG_TEXT("statement", statement->name),
		LOG_TEXT("sqlstate", PQresultErrorField(result, PG_DIAG_SQLSTATE)),
		LOG_TEXT("reason", PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)));
	forget(unit->db, prepared_as(unit->db, statement));
}

static void take_nothing(struct db_unit *unit, PGresult *result)
{
	(void)unit;
	PQclear(result);
}

/* Whoever has the unit hears that the server is in trouble, and nobody else says in which. */
static void complain(const struct db_unit *unit)
{
	struct db *db = unit->db;
	int64_t now_ms = loop_monotonic_ms(db->loop);
	if (unit->verdict != &FAULT_STORAGE_UNAVAILABLE ||
		(db->complained_ms && now_ms - db->complained_ms < COMPLAINT_GAP_MS))
		return;
	db->complained_ms = now_ms;
	bool is_commit = unit->refused_step >= unit->step_count;
	log_error("sql", "the database cannot do what it is asked", LOG_TEXT("sqlstate", unit->sqlstate),
		LOG_TEXT("statement", is_commit ? "commit" : unit->steps[unit->refused_step].statement->name),
		LOG_TEXT("reason", db_unit_message(unit)));
}

static void take_sync(struct db_unit *unit, PGresult *result)
{
	struct db *db = unit->db;
	PQclear(result);
	list_remove(&unit->node);
	if (!is_preparation(unit))
		db->sent_count--;
	break_silence(db);
	complain(unit);
	if (unit->state != UNIT_TOLD)
		tell(unit, verdict_of(unit));
	look_at_stuck(db);
	if (!strcmp(unit->sqlstate, READ_ONLY_TRANSACTION))
		lose(db, "the server takes no more writes");
	else if (unit->is_outdated)
		lose(db, "the schema has changed under a prepared statement");
	db_unit_free(unit);
}

/* A synchronous commit whose wait was broken off succeeds with a warning: done here, perhaps not on the standby
 * (PostgreSQL's syncrep.c gives it no SQLSTATE of its own). It comes after the last statement; libpq may show it
 * one result early. */
static void on_notice(void *context, const PGresult *notice)
{
	struct db *db = context;
	const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
	const char *sqlstate = PQresultErrorField(notice, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
	if (!severity || !strcmp(severity, "NOTICE") || !strcmp(severity, "INFO") || !strcmp(severity, "DEBUG"))
		return;
	log_warn("sql", "the database warns", LOG_TEXT("sqlstate", sqlstate ? sqlstate : ""),
		LOG_TEXT("text", message ? message : ""));
	if (list_is_empty(&db->sent))
		return;
	struct db_unit *unit = unit_of(db->sent.next);
	if (unit->read + 1 >= unit->step_count)
		unit->warned = true;
}

/* Verdicts. */

static const struct fault *verdict_of(const struct db_unit *unit)
{
	if (unit->sqlstate[0])
		return unit->verdict;
	return unit->warned || unit->read < unit->step_count ? &FAULT_STORAGE_UNKNOWN : NULL;
}

/* Sent, and its Sync has not come back. */
static const struct fault *verdict_without_sync(const struct db_unit *unit)
{
	return unit->sqlstate[0] ? unit->verdict : &FAULT_STORAGE_UNKNOWN;
}

static void tell(struct db_unit *unit, const struct fault *fault)
{
	unit->state = UNIT_TOLD;
	unit->db->untold--;
	unit->on_done(unit, unit->context, fault);
}

static bool is_overdue(const struct db_unit *unit, int64_t now_ms)
{
	return unit->state != UNIT_TOLD && unit->deadline_ms <= now_ms;
}

static const struct db_unit *oldest_untold(const struct db *db)
{
	list_for_each (node, &db->sent)
		if (unit_of(node)->state != UNIT_TOLD)
			return unit_of(node);
	return list_is_empty(&db->waiting) ? NULL : unit_of(db->waiting.next);
}

/* A unit that was sent stays in the pipeline with its place: its results will come, and must be read. */
static void on_deadline(struct loop_timer *timer)
{
	struct db *db = container_of(timer, struct db, deadline);
	int64_t now_ms = loop_monotonic_ms(db->loop);
	list_for_each (sent, &db->sent)
		if (is_overdue(unit_of(sent), now_ms))
			tell(unit_of(sent), verdict_without_sync(unit_of(sent)));
	while (!list_is_empty(&db->waiting) && is_overdue(unit_of(db->waiting.next), now_ms))
		tell_unsent(unit_of(list_take_first(&db->waiting)));
	look_at_stuck(db);
	const struct db_unit *next = oldest_untold(db);
	if (next)
		loop_timer_start(&db->deadline, next->deadline_ms - now_ms);
	if (db->is_closing)
		loop_soon_call(db->loop, &db->work);
}

static void tell_unsent(struct db_unit *unit)
{
	tell(unit, &FAULT_STORAGE_UNAVAILABLE);
	db_unit_free(unit);
}

/* Silence. */

static void on_silence(struct loop_timer *timer)
{
	struct db *db = container_of(timer, struct db, silence);
	int64_t left_ms = db->heard_ms + SILENCE_MS - loop_monotonic_ms(db->loop);
	if (db->state != DB_UP || list_is_empty(&db->sent))
		return;
	if (left_ms > 0) {
		loop_timer_start(timer, left_ms);
		return;
	}
	if (!db->is_silent) {
		db->is_silent = true;
		log_warn("sql", "the database is silent", LOG_TEXT("host", PQhost(db->conn)),
			LOG_TEXT("port", PQport(db->conn)));
		if (db->options.on_silence)
			db->options.on_silence(db->options.owner, db);
	}
	witness_ask(db->witness, PQbackendPID(db->conn), db->begun);
}

/* Or nobody knows: then it is as good here as anywhere. */
static void on_session_alive(void *owner)
{
	struct db *db = owner;
	loop_timer_start(&db->silence, WITNESS_INTERVAL_MS);
}

/* The link goes on by that connection. */
static void on_session_gone(void *owner, PGconn *conn)
{
	struct db *db = owner;
	db->successor = conn;
	lose(db, "another server takes the writes, or the answer was lost on its way");
}

static void break_silence(struct db *db)
{
	if (!db->is_silent)
		return;
	db->is_silent = false;
	witness_forget(db->witness);
	loop_timer_start(&db->silence, SILENCE_MS);
	if (db->options.on_silence)
		db->options.on_silence(db->options.owner, db);
}

/* What is stuck is down to those who use it: nothing more is taken until the pipeline moves. */
static void look_at_stuck(struct db *db)
{
	if (db->state != DB_UP || db->has_said_up == !is_stuck(db))
		return;
	if (db->has_said_up) {
		log_warn("sql", "the database does not answer in time");
		say_down(db);
	} else {
		log_info("sql", "the database answers again");
		say_up(db);
	}
}

/* Losing. */

/* Safe at any depth: the connection itself goes when the loop comes to it. */
static void lose(struct db *db, const char *why)
{
	if (db->state == DB_LOST || db->state == DB_PAUSING)
		return;
	db->state = DB_LOST;
	if (db->poll)
		uv_poll_stop(db->poll);
	loop_soon_call(db->loop, &db->work);
	if (!why)
		return;
	char *line = memory_need(strndup(why, strcspn(why, "\n")));
	log_warn("sql", "the database connection is lost", LOG_TEXT("reason", line));
	free(line);
}

static void on_poll_closed(uv_handle_t *handle)
{
	free(handle);
}

static void disconnect(struct db *db)
{
	if (db->poll)
		uv_close((uv_handle_t *)db->poll, on_poll_closed);
	PQfinish(db->conn);
	for (struct prepared *known, *next = db->prepared; (known = next);) {
		next = known->hh.next;
		forget(db, known);
	}
	db->poll = NULL;
	db->conn = NULL;
	db->poll_events = 0;
	db->after_separator = false;
	loop_timer_stop(&db->clock);
	loop_timer_stop(&db->silence);
	witness_forget(db->witness);
	db->is_silent = false;
}

/* The state changes before anybody is told, so that whoever submits again at once is refused at once. */
static void clear_away(struct db *db)
{
	struct list sent, waiting;
	list_init(&sent);
	list_init(&waiting);
	disconnect(db);
	db->state = DB_PAUSING;
	list_append_all(&sent, &db->sent);
	list_append_all(&waiting, &db->waiting);
	db->sent_count = 0;
	while (!list_is_empty(&sent))
		bury(unit_of(list_take_first(&sent)));
	while (!list_is_empty(&waiting))
		tell_unsent(unit_of(list_take_first(&waiting)));
	say_down(db);
	PGconn *successor = db->successor;
	db->successor = NULL;
	if (db->is_closing)
		PQfinish(successor);
	else if (successor)
		on_connected(db, successor);
	else
		start_pause(db);
}

static void bury(struct db_unit *unit)
{
	if (unit->state != UNIT_TOLD)
		tell(unit, verdict_without_sync(unit));
	db_unit_free(unit);
}

static void say_down(struct db *db)
{
	if (!db->has_said_up)
		return;
	db->has_said_up = false;
	if (!db->is_closing && db->options.on_down)
		db->options.on_down(db->options.owner, db);
}

/* Between half and the whole of a length that doubles: nodes that lost a server together do not return together. */
static void start_pause(struct db *db)
{
	int64_t longest = db->pause_ms * 2;
	if (longest < 2 * PAUSE_MS_MIN)
		longest = 2 * PAUSE_MS_MIN;
	if (longest > PAUSE_MS_MAX)
		longest = PAUSE_MS_MAX;
	db->pause_ms = longest;
	loop_timer_start(&db->pause, longest / 2 + arc4random_uniform((uint32_t)(longest / 2 + 1)));
}

static void on_paused(struct loop_timer *timer)
{
	connect_now(container_of(timer, struct db, pause));
}

/* Closing. */

void db_close(struct db *db, void (*on_closed)(void *owner))
{
	assert(!db->is_closing);
	db->is_closing = true;
	db->on_closed = on_closed;
	connector_free(db->connector);
	db->connector = NULL;
	loop_timer_stop(&db->pause);
	if (db->state != DB_UP)
		lose(db, NULL);
	loop_soon_call(db->loop, &db->work);
}

static void finish_closing(struct db *db)
{
	void (*on_closed)(void *) = db->on_closed;
	void *owner = db->options.owner;
	disconnect(db);
	while (!list_is_empty(&db->sent))
		db_unit_free(unit_of(list_take_first(&db->sent)));
	loop_timer_stop(&db->deadline);
	loop_soon_cancel(&db->work);
	witness_free(db->witness);
	free(db);
	if (on_closed)
		on_closed(owner);
}
