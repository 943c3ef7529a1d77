/* db_test.c - the link against a real PostgreSQL: units, their verdicts, and every way to lose the way. */
#include <arpa/inet.h>
#include <check.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/loop.h"
#include "sql/db.h"
#include "tests/servers.h"

static const struct db_statement VALUES = { "values", "select $1::text, $2::bigint, $3::bool" };
static const struct db_statement ELEMENTS = { "elements",
	"select t, n, b from unnest($1::text[], $2::bigint[], $3::bool[]) as e (t, n, b)" };
static const struct db_statement LENGTH = { "length", "select length($1::text)" };
static const struct db_statement WIDE = { "wide", "select repeat('x', 1000) from generate_series(1, $1::bigint)" };
static const struct db_statement ADD = { "add", "insert into things (name) values ($1)" };
static const struct db_statement COUNT = { "count", "select count(*) from things where name like $1" };
static const struct db_statement ADD_CHILD = { "add_child", "insert into children (name) values ($1)" };
static const struct db_statement DIVIDE = { "divide", "select 1 / $1::bigint" };
static const struct db_statement WAIT = { "wait", "select pg_advisory_xact_lock($1)" };
static const struct db_statement SELF = { "self", "select pg_backend_pid()" };
static const struct db_statement SETTING = { "setting", "select current_setting($1)" };
static const struct db_statement READ_ONLY = { "read_only", "set transaction read only" };

/* Sessions that a witness made. */
#define WITNESSES                                                                                                      \
	"select count(*) from pg_stat_activity where query like 'select exists (select from pg_stat_get_activity%'"

#define SCHEMA                                                                                                         \
	"create table if not exists things (name text primary key);"                                                   \
	"create table if not exists children (name text references things deferrable initially deferred);"             \
	"truncate things, children"

/* What a unit's caller heard. */
struct heard {
	int times;
	const struct fault *fault;
	char sqlstate[6], message[64], value[64]; /* the last statement's first value */
	size_t rows, affected;
	size_t statement; /* which is the last */
	int order;
};

static struct test_postgres pg;
static struct loop *loop;
static struct db *db;
static int ups, downs, silences, closes, told;

static void start_server(void)
{
	test_postgres_start(&pg);
}

static void end_server(void)
{
	test_postgres_end(&pg);
}

static void on_up(void *owner, struct db *which)
{
	(void)owner;
	ck_assert(db_is_up(which));
	ups++;
}

static void on_down(void *owner, struct db *which)
{
	(void)owner;
	ck_assert(!db_is_up(which));
	downs++;
}

static void on_silence(void *owner, struct db *which)
{
	(void)owner;
	silences++;
	ck_assert(db_is_silent(which) == (silences % 2 == 1));
}

static void on_closed(void *owner)
{
	(void)owner;
	closes++;
}

/* One turn of the loop after the other, each waiting for an event; what never comes, Check's own time-out ends. */
#define await(condition)                                                                                               \
	while (!(condition))                                                                                           \
	uv_run(loop_uv(loop), UV_RUN_ONCE)

/* Between two questions to a server, whose answers are no events of the loop. */
static void turn_and_nap(void)
{
	uv_run(loop_uv(loop), UV_RUN_NOWAIT);
	uv_sleep(1);
}

static struct db *link_to(const char *url, int commit_timeout_ms, size_t queue_max)
{
	return db_new(loop, &(struct db_options){ .url = url,
				    .queue_max = queue_max,
				    .commit_timeout_ms = commit_timeout_ms,
				    .on_up = on_up,
				    .on_down = on_down,
				    .on_silence = on_silence });
}

static void connect_to(const char *url, int commit_timeout_ms)
{
	db = link_to(url, commit_timeout_ms, 100);
	db_start(db);
	await(ups == 1);
}

static void set_up(void)
{
	test_postgres_ask(&pg, SCHEMA);
	loop = loop_new();
	ups = downs = silences = closes = told = 0;
	db = NULL;
}

static void tear_down(void)
{
	if (db) {
		db_close(db, on_closed);
		await(closes == 1);
	}
	loop_free(loop);
}

static void on_heard(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct heard *heard = context;
	heard->times++;
	heard->order = ++told;
	heard->fault = fault;
	snprintf(heard->sqlstate, sizeof heard->sqlstate, "%s", db_unit_sqlstate(unit));
	snprintf(heard->message, sizeof heard->message, "%s", db_unit_message(unit));
	if (fault)
		return;
	heard->rows = db_rows(unit, heard->statement);
	heard->affected = db_affected(unit, heard->statement);
	const char *value = heard->rows ? db_text(unit, heard->statement, 0, 0) : NULL;
	snprintf(heard->value, sizeof heard->value, "%s", value ? value : "");
}

/* A unit of one statement with one parameter, on its way. */
static void submit(struct heard *heard, const struct db_statement *statement, const char *param)
{
	struct db_unit *unit = db_unit_new(db, on_heard, heard);
	*heard = (struct heard){ .statement = db_unit_add(unit, statement) };
	if (param)
		db_param_text(unit, param);
	db_unit_submit(unit);
	ck_assert_int_eq(heard->times, 0);
}

static struct heard ask(const struct db_statement *statement, const char *param)
{
	struct heard heard;
	submit(&heard, statement, param);
	await(heard.times);
	return heard;
}

/* Another session that holds what WAIT waits for, until it is dropped. */
static struct db *locker;
static struct heard locked;

static void on_locker_up(void *owner, struct db *which)
{
	(void)owner, (void)which;
	told = -1;
}

static const struct db_statement HOLD = { "hold", "select pg_advisory_lock($1)" };
static const struct db_statement RELEASE = { "release", "select pg_advisory_unlock($1)" };

static void ask_locker(const struct db_statement *statement)
{
	struct db_unit *unit = db_unit_new(locker, on_heard, &locked);
	locked = (struct heard){ .statement = db_unit_add(unit, statement) };
	db_param_int(unit, 42);
	db_unit_submit(unit);
	await(locked.times);
	ck_assert_ptr_null(locked.fault);
}

static void hold_lock(void)
{
	locker = db_new(loop, &(struct db_options){ .url = pg.url, .queue_max = 10, .on_up = on_locker_up });
	db_start(locker);
	await(told == -1);
	told = 0;
	ask_locker(&HOLD);
}

static void close_locker(void)
{
	db_close(locker, on_closed);
	await(closes == 1);
	closes = 0;
}

static void release_lock(void)
{
	ask_locker(&RELEASE);
	close_locker();
}

/* ── units ── */

static void on_echo(struct db_unit *unit, void *context, const struct fault *fault)
{
	ck_assert_ptr_null(fault);
	ck_assert_uint_eq(db_rows(unit, 0), 1);
	ck_assert_str_eq(db_text(unit, 0, 0, 0), "it's \"so\" \\ ü");
	ck_assert(db_int(unit, 0, 0, 1) == INT64_MIN);
	ck_assert(db_bool(unit, 0, 0, 2));
	ck_assert_ptr_null(db_text(unit, 1, 0, 0));
	ck_assert(db_int(unit, 1, 0, 1) == 0);
	ck_assert(!db_bool(unit, 1, 0, 2));
	*(bool *)context = true;
}

START_TEST(rows_and_parameters)
{
	bool is_done = false;
	connect_to(pg.url, 0);
	struct db_unit *unit = db_unit_new(db, on_echo, &is_done);
	ck_assert_uint_eq(db_unit_add(unit, &VALUES), 0);
	db_param_text(unit, "it's \"so\" \\ ü");
	db_param_int(unit, INT64_MIN);
	db_param_bool(unit, true);
	ck_assert_uint_eq(db_unit_add(unit, &VALUES), 1);
	for (int i = 0; i < 3; i++)
		db_param_text(unit, NULL);
	db_unit_submit(unit);
	ck_assert(!is_done);
	ck_assert_uint_eq(db_in_flight(db), 1);
	await(is_done);
	ck_assert_uint_eq(db_in_flight(db), 0);
}
END_TEST

static const char *const NASTY[] = { "", "NULL", "null", "{}", "{a,b}", "a,b", "\"", "\\", "\\\\\"\"", " spaced ",
	"line\nfeed\ttab", "ünï©ødé 🔑", "'; drop table things; --", "$1", NULL };
#define NASTY_COUNT (sizeof NASTY / sizeof *NASTY)

static void on_elements(struct db_unit *unit, void *context, const struct fault *fault)
{
	ck_assert_ptr_null(fault);
	ck_assert_uint_eq(db_rows(unit, 0), NASTY_COUNT);
	for (size_t i = 0; i < NASTY_COUNT; i++) {
		const char *text = db_text(unit, 0, i, 0);
		ck_assert(NASTY[i] ? text && !strcmp(text, NASTY[i]) : !text);
		ck_assert(db_int(unit, 0, i, 1) == (int64_t)i - 3);
		ck_assert(db_bool(unit, 0, i, 2) == (i % 2 == 0));
	}
	ck_assert_uint_eq(db_rows(unit, 1), 0);
	*(bool *)context = true;
}

static void add_empty_arrays(struct db_unit *unit)
{
	db_unit_add(unit, &ELEMENTS);
	for (int i = 0; i < 3; i++)
		db_param_array(unit, &(struct db_array){ 0 });
}

START_TEST(arrays_of_nasty_texts)
{
	bool is_done = false;
	struct db_array texts = { 0 }, numbers = { 0 }, bools = { 0 };
	connect_to(pg.url, 0);
	for (size_t i = 0; i < NASTY_COUNT; i++) {
		db_array_text(&texts, NASTY[i]);
		db_array_int(&numbers, (int64_t)i - 3);
		db_array_bool(&bools, i % 2 == 0);
	}
	struct db_unit *unit = db_unit_new(db, on_elements, &is_done);
	db_unit_add(unit, &ELEMENTS);
	db_param_array(unit, &texts);
	db_param_array(unit, &numbers);
	db_param_array(unit, &bools);
	ck_assert_ptr_null(texts.data);
	add_empty_arrays(unit);
	db_unit_submit(unit);
	await(is_done);
}
END_TEST

START_TEST(units_in_order)
{
	enum { COUNT_OF_UNITS = 90 };
	static struct heard heard[COUNT_OF_UNITS];
	char name[16];
	connect_to(pg.url, 0);
	for (int i = 0; i < COUNT_OF_UNITS; i++) {
		snprintf(name, sizeof name, "order %d", i);
		submit(&heard[i], i % 2 ? &COUNT : &ADD, i % 2 ? "order %" : name);
	}
	ck_assert_uint_eq(db_in_flight(db), COUNT_OF_UNITS);
	await(heard[COUNT_OF_UNITS - 1].times);
	for (int i = 0; i < COUNT_OF_UNITS; i++) {
		ck_assert_ptr_null(heard[i].fault);
		ck_assert_int_eq(heard[i].order, i + 1);
		ck_assert_int_eq(heard[i].times, 1);
		ck_assert(i % 2 ? atoi(heard[i].value) == (i + 1) / 2 : heard[i].affected == 1);
	}
}
END_TEST

START_TEST(more_than_the_socket_takes)
{
	enum { MEGABYTES = 24 };
	char url[sizeof pg.url +
		 32]; /* on a slow machine so much takes longer than a commit may, and than a server may read nothing */
	snprintf(url, sizeof url, "%s?tcp_user_timeout=60000", pg.url);
	connect_to(url, 60000);
	char *text = malloc(MEGABYTES * 1048576 + 1);
	memset(text, 'x', MEGABYTES * 1048576);
	text[MEGABYTES * 1048576] = 0;
	struct heard first, second, third, *const all[] = { &first, &second, &third };
	submit(&first, &LENGTH, text);
	submit(&second, &WIDE, "20000");
	submit(&third, &LENGTH, text);
	free(text);
	await(third.times);
	for (size_t i = 0; i < 3; i++)
		ck_assert_msg(!all[i]->fault, "unit %zu: %s", i, all[i]->fault->name);
	ck_assert_int_eq(atoi(first.value), MEGABYTES * 1048576);
	ck_assert_uint_eq(second.rows, 20000);
	ck_assert_int_eq(atoi(third.value), MEGABYTES * 1048576);
}
END_TEST

START_TEST(session_is_set_up)
{
	static const char *const EXPECTED[][2] = { { "plan_cache_mode", "force_generic_plan" },
		{ "enable_hashjoin", "off" }, { "enable_mergejoin", "off" }, { "enable_seqscan", "off" },
		{ "jit", "off" }, { "statement_timeout", "30s" }, { "synchronous_commit", "on" }, { "timezone", "UTC" },
		{ "application_name", "keyfobd" }, { "client_encoding", "UTF8" } };
	connect_to(pg.url, 0);
	for (size_t i = 0; i < sizeof EXPECTED / sizeof *EXPECTED; i++)
		ck_assert_str_eq(ask(&SETTING, EXPECTED[i][0]).value, EXPECTED[i][1]);
	ck_assert_int_lt(llabs(db_now_us(db) - loop_unix_us(loop)), 100000);
}
END_TEST

/* ── refusals ── */

START_TEST(error_undoes_its_unit_alone)
{
	struct heard before, bad = { 0 }, after;
	connect_to(pg.url, 0);
	submit(&before, &ADD, "before");
	struct db_unit *unit = db_unit_new(db, on_heard, &bad);
	db_unit_add(unit, &ADD);
	db_param_text(unit, "undone");
	db_unit_add(unit, &DIVIDE);
	db_param_int(unit, 0);
	db_unit_add(unit, &ADD);
	db_param_text(unit, "never run");
	db_unit_submit(unit);
	submit(&after, &ADD, "after");
	await(after.times);
	ck_assert_ptr_null(before.fault);
	ck_assert_ptr_eq(bad.fault, &FAULT_STATEMENT);
	ck_assert_str_eq(bad.sqlstate, "22012");
	ck_assert_str_eq(bad.message, "division by zero");
	ck_assert_ptr_null(after.fault);
	ck_assert_str_eq(ask(&COUNT, "%").value, "2");
	ck_assert_int_eq(downs, 0);
}
END_TEST

START_TEST(error_of_the_commit_itself)
{
	struct heard orphan, after;
	connect_to(pg.url, 0);
	submit(&orphan, &ADD_CHILD, "nobody's");
	submit(&after, &COUNT, "%");
	await(after.times);
	ck_assert_ptr_eq(orphan.fault, &FAULT_STATEMENT);
	ck_assert_str_eq(orphan.sqlstate, "23503");
	ck_assert_ptr_null(after.fault);
}
END_TEST

/* Only what cannot be in the database is the unit's fault; whatever else the server says, known or not, it may do later. */
START_TEST(refusals_are_told_apart)
{
	static const struct {
		const char *sqlstate, *more;
		const struct fault *verdict;
	} rows[] = {
		{ "22P05", "", &FAULT_STATEMENT },
		{ "23505", "", &FAULT_STATEMENT },
		{ "23514", "", &FAULT_STATEMENT }, /* as our own triggers raise it */
		{ "23514", ", table = 'things', constraint = 'rule'", &FAULT_STATEMENT },
		{ "23514", ", table = 'things'", &FAULT_STORAGE_UNAVAILABLE }, /* no partition */
		{ "KF001", "", &FAULT_STATEMENT },
		{ "0A000", "", &FAULT_STORAGE_UNAVAILABLE },
		{ "40001", "", &FAULT_STORAGE_UNAVAILABLE },
		{ "40P01", "", &FAULT_STORAGE_UNAVAILABLE },
		{ "42501", "", &FAULT_STORAGE_UNAVAILABLE },
		{ "53100", "", &FAULT_STORAGE_UNAVAILABLE },
		{ "54001", "", &FAULT_STORAGE_UNAVAILABLE },
		{ "55P03", "", &FAULT_STORAGE_UNAVAILABLE },
		{ "57014", "", &FAULT_STORAGE_UNAVAILABLE },
		{ "58030", "", &FAULT_STORAGE_UNAVAILABLE },
		{ "P0001", "", &FAULT_STORAGE_UNAVAILABLE },
		{ "XX002", "", &FAULT_STORAGE_UNAVAILABLE },
	};
	char sql[512];

	connect_to(pg.url, 0);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		snprintf(sql, sizeof sql,
			"create or replace function refuse() returns trigger language plpgsql as $$ begin raise 'no' "
			"using errcode = '%s'%s; end $$; create or replace trigger refuse before insert on things for "
			"each row execute function refuse()",
			rows[i].sqlstate, rows[i].more);
		test_postgres_ask(&pg, sql);
		struct heard heard = ask(&ADD, "x");
		ck_assert_msg(heard.fault == rows[i].verdict, "%s%s: %s", rows[i].sqlstate, rows[i].more,
			heard.fault ? heard.fault->name : "done");
		ck_assert_str_eq(heard.sqlstate, rows[i].sqlstate);
	}
	test_postgres_ask(&pg, "drop trigger refuse on things; drop function refuse");
	ck_assert_ptr_null(ask(&ADD, "x").fault);
	ck_assert_int_eq(downs, 0);
}
END_TEST

/* The server would refuse the statement for as long as it knows it by that name. */
START_TEST(what_was_prepared_and_has_changed_is_prepared_anew)
{
	static const struct db_statement all = { "all", "select * from things" };

	connect_to(pg.url, 0);
	ck_assert_ptr_null(ask(&all, NULL).fault);
	test_postgres_ask(&pg, "alter table things add column more text");
	struct heard heard = ask(&all, NULL);
	ck_assert_ptr_eq(heard.fault, &FAULT_STORAGE_UNAVAILABLE);
	ck_assert_str_eq(heard.sqlstate, "0A000");
	await(ups == 2);
	ck_assert_ptr_null(ask(&all, NULL).fault);
}
END_TEST

START_TEST(read_only_server_is_left)
{
	struct heard heard = { 0 };
	connect_to(pg.url, 0);
	struct db_unit *unit = db_unit_new(db, on_heard, &heard);
	db_unit_add(unit, &READ_ONLY);
	db_unit_add(unit, &ADD);
	db_param_text(unit, "x");
	db_unit_submit(unit);
	await(heard.times);
	ck_assert_ptr_eq(heard.fault, &FAULT_STORAGE_UNAVAILABLE);
	await(downs == 1 && ups == 2);
}
END_TEST

START_TEST(full_queue)
{
	struct heard heard[4], own[2];
	struct db *small;
	connect_to(pg.url, 0);
	struct db *large = db;
	db = small = link_to(pg.url, 0, 3);
	db_start(db);
	await(ups == 2);
	for (int i = 0; i < 4; i++)
		submit(&heard[i], &DIVIDE, "0");
	submit(&own[0], &SELF, NULL);
	await(own[0].times && heard[2].times);
	for (int i = 0; i < 3; i++)
		ck_assert_ptr_eq(heard[i].fault, &FAULT_STATEMENT);
	ck_assert_ptr_eq(heard[3].fault, &FAULT_OVERLOADED);
	ck_assert_ptr_eq(own[0].fault, &FAULT_OVERLOADED);
	ck_assert_ptr_null(ask(&SELF, NULL).fault);
	db_close(small, on_closed);
	await(closes == 1);
	closes = 0;
	db = large;
}
END_TEST

/* ── time-outs ── */

START_TEST(no_answer_in_time)
{
	struct heard stuck[10], behind, after;
	connect_to(pg.url, 300);
	hold_lock();
	submit(&stuck[0], &WAIT, "42");
	for (int i = 1; i < 10; i++)
		submit(&stuck[i], &COUNT, "%");
	await(stuck[9].times);
	for (int i = 0; i < 10; i++)
		ck_assert_ptr_eq(stuck[i].fault, i < 8 ? &FAULT_STORAGE_UNKNOWN : &FAULT_STORAGE_UNAVAILABLE);
	ck_assert_uint_eq(db_in_flight(db), 0);
	/* Behind what is stuck nothing is taken, and that is said at once; when it moves, so does all. */
	ck_assert_int_eq(downs, 1);
	behind = ask(&COUNT, "%");
	ck_assert_ptr_eq(behind.fault, &FAULT_STORAGE_UNAVAILABLE);
	release_lock();
	await(ups == 2);
	submit(&after, &COUNT, "%");
	await(after.times);
	ck_assert_ptr_null(after.fault);
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(stuck[i].times, 1);
	ck_assert_int_eq(downs, 1);
}
END_TEST

/* A second without a word is silence, however long its units may take; the witness finds our session there, and we stay. */
START_TEST(silence_is_told_and_ends)
{
	struct heard stuck, self;
	connect_to(pg.url, 20000);
	self = ask(&SELF, NULL);
	hold_lock();
	submit(&stuck, &WAIT, "42");
	await(silences == 1);
	ck_assert(db_is_silent(db) && db_is_up(db));
	/* Until the witness has come, seen, and gone. */
	while (!strcmp(test_postgres_ask(&pg, WITNESSES), "0"))
		turn_and_nap();
	while (strcmp(test_postgres_ask(&pg, WITNESSES), "0") != 0)
		turn_and_nap();
	release_lock();
	await(stuck.times);
	ck_assert_ptr_null(stuck.fault);
	ck_assert_int_eq(silences, 2);
	ck_assert(!db_is_silent(db));
	ck_assert_str_eq(ask(&SELF, NULL).value, self.value);
	ck_assert_int_eq(downs, 0);
}
END_TEST

/* What the server says to us is read here, and so gets lost. */
static bool steal_answer(void)
{
	char bytes[4096];
	bool stolen = false;
	for (int fd = 3; fd < 256; fd++) {
		struct sockaddr_in peer;
		socklen_t size = sizeof peer;
		if (getpeername(fd, (struct sockaddr *)&peer, &size) < 0 || peer.sin_family != AF_INET ||
			ntohs(peer.sin_port) != pg.port)
			continue;
		while (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
			stolen = true;
	}
	return stolen;
}

START_TEST(a_lost_answer_is_not_waited_for)
{
	struct heard lost;
	char has_answered[128];
	connect_to(pg.url, 20000);
	snprintf(has_answered, sizeof has_answered, "select state like 'idle%%' from pg_stat_activity where pid = %s",
		ask(&SELF, NULL).value);
	hold_lock();
	submit(&lost, &WAIT, "42");
	await(silences == 1);
	/* from here on nothing is read but by steal_answer() */
	test_postgres_ask(
		&pg, "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted");
	while (strcmp(test_postgres_ask(&pg, has_answered), "t") != 0)
		continue;
	ck_assert(steal_answer());
	await(lost.times);
	ck_assert_ptr_eq(lost.fault, &FAULT_STORAGE_UNKNOWN);
	await(ups == 2);
	ck_assert_ptr_null(ask(&SELF, NULL).fault);
	ck_assert_int_eq(downs, 1);
	close_locker();
}
END_TEST

START_TEST(closing_waits_for_answers)
{
	struct heard stuck, waiting[10];
	connect_to(pg.url, 300);
	hold_lock();
	submit(&stuck, &WAIT, "42");
	for (int i = 0; i < 10; i++)
		submit(&waiting[i], &COUNT, "%");
	db_close(db, on_closed);
	struct heard late;
	submit(&late, &COUNT, "%");
	await(closes == 1);
	ck_assert_ptr_eq(late.fault, &FAULT_STORAGE_UNAVAILABLE);
	ck_assert_ptr_eq(stuck.fault, &FAULT_STORAGE_UNKNOWN);
	ck_assert_ptr_eq(waiting[9].fault, &FAULT_STORAGE_UNAVAILABLE);
	ck_assert_int_eq(downs, 0);
	closes = 0;
	db = NULL;
	release_lock();
}
END_TEST

START_TEST(closing_at_any_moment)
{
	db = link_to(pg.url, 0, 10);
	db_close(db, on_closed);
	await(closes == 1);
	/* While connecting, after every number of turns until it is up. */
	for (int turns = 0; !ups; turns++) {
		closes = 0;
		db = link_to(pg.url, 0, 10);
		db_start(db);
		for (int i = 0; i < turns; i++)
			uv_run(loop_uv(loop), UV_RUN_ONCE);
		db_close(db, on_closed);
		ck_assert_int_eq(closes, 0);
		await(closes == 1);
	}
	db = NULL;
}
END_TEST

/* ── losing and finding the way ── */

static void terminate(const char *pid)
{
	char sql[128];
	snprintf(sql, sizeof sql, "select pg_terminate_backend(%s)", pid);
	test_postgres_ask(&pg, sql);
}

START_TEST(killed_in_flight)
{
	struct heard self, doomed[10], at_once;
	connect_to(pg.url, 0);
	hold_lock();
	self = ask(&SELF, NULL);
	submit(&doomed[0], &WAIT, "42");
	for (int i = 1; i < 10; i++)
		submit(&doomed[i], &ADD, "doomed");
	uv_run(loop_uv(loop), UV_RUN_ONCE);
	terminate(self.value);
	await(!db_is_up(db));
	submit(&at_once, &COUNT, "%");
	await(at_once.times && doomed[9].times);
	for (int i = 0; i < 10; i++)
		ck_assert_ptr_eq(doomed[i].fault, i < 8 ? &FAULT_STORAGE_UNKNOWN : &FAULT_STORAGE_UNAVAILABLE);
	ck_assert_ptr_eq(at_once.fault, &FAULT_STORAGE_UNAVAILABLE);
	await(ups == 2);
	ck_assert_int_eq(downs, 1);
	ck_assert_str_eq(ask(&COUNT, "%").value, "0");
	release_lock();
}
END_TEST

START_TEST(killed_while_idle)
{
	connect_to(pg.url, 0);
	terminate(ask(&SELF, NULL).value);
	await(ups == 2 && downs == 1);
	ck_assert_ptr_null(ask(&SELF, NULL).fault);
}
END_TEST

/* It is certain that nothing was done, the link stays, and the next attempt prepares anew. */
START_TEST(statement_that_cannot_be_prepared)
{
	struct heard heard[3];

	test_postgres_ask(&pg, "alter table things rename to hidden");
	connect_to(pg.url, 0);
	for (size_t i = 0; i < 3; i++)
		submit(&heard[i], i == 1 ? &SELF : &COUNT, i == 1 ? NULL : "%");
	await(heard[0].times && heard[1].times && heard[2].times);
	ck_assert_ptr_eq(heard[0].fault, &FAULT_STORAGE_UNAVAILABLE);
	ck_assert_ptr_null(heard[1].fault);
	ck_assert_ptr_eq(heard[2].fault, &FAULT_STORAGE_UNAVAILABLE);
	test_postgres_ask(&pg, "alter table hidden rename to things");
	ck_assert_str_eq(ask(&COUNT, "%").value, "0");
	ck_assert_int_eq(downs, 0);
}
END_TEST

/* Its unit fails before it would have run, and takes nothing of its preparing along. */
START_TEST(statement_first_met_after_an_error)
{
	struct heard heard = { 0 };

	connect_to(pg.url, 0);
	struct db_unit *unit = db_unit_new(db, on_heard, &heard);
	db_unit_add(unit, &DIVIDE);
	db_param_int(unit, 0);
	heard.statement = db_unit_add(unit, &COUNT);
	db_param_text(unit, "%");
	db_unit_submit(unit);
	await(heard.times);
	ck_assert_ptr_eq(heard.fault, &FAULT_STATEMENT);
	ck_assert_str_eq(ask(&COUNT, "%").value, "0");
}
END_TEST

START_TEST(schema_that_is_too_old)
{
	struct db_options options = { .url = pg.url, .queue_max = 10, .schema = 2, .on_up = on_up, .on_down = on_down };

	test_postgres_ask(&pg, "drop table if exists schema_migrations");
	db = db_new(loop, &options);
	db_start(db);
	/* Long enough for a second attempt. */
	for (int i = 0; i < 30; i++)
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	ck_assert_int_eq(ups, 0);
	test_postgres_ask(
		&pg, "create table schema_migrations (version int); insert into schema_migrations values (1)");
	for (int i = 0; i < 30; i++)
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	ck_assert_int_eq(ups, 0);
	test_postgres_ask(&pg, "insert into schema_migrations values (3)");
	await(ups == 1);
	ck_assert_int_eq(downs, 0);
	test_postgres_ask(&pg, "drop table schema_migrations");
}
END_TEST

/* ── URLs ── */

START_TEST(second_host_when_the_first_is_dead)
{
	char url[160];
	snprintf(url, sizeof url, "postgresql://keyfob@127.0.0.1:%d,localhost:%d/postgres?application_name=mine",
		test_free_port(), pg.port);
	connect_to(url, 0);
	ck_assert_str_eq(ask(&SETTING, "application_name").value, "mine");
}
END_TEST

START_TEST(local_socket)
{
	char url[160];
	snprintf(url, sizeof url, "postgresql:///postgres?host=%s&port=%d&user=keyfob", pg.dir, pg.port);
	connect_to(url, 0);
}
END_TEST

START_TEST(name_that_is_nobodys)
{
	char url[160];
	snprintf(url, sizeof url, "host=nobody.invalid,127.0.0.1 port=%d user=keyfob dbname=postgres", pg.port);
	connect_to(url, 0);
}
END_TEST

/* It takes the connection and then says nothing: five seconds, no more. */
START_TEST(silent_host)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char url[160];
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, size) | listen(fd, 5) |
				 getsockname(fd, (struct sockaddr *)&address, &size),
		0);
	snprintf(url, sizeof url, "postgresql://keyfob@127.0.0.1:%d,127.0.0.1:%d/postgres", ntohs(address.sin_port),
		pg.port);
	int64_t began_ms = loop_monotonic_ms(loop);
	connect_to(url, 0);
	ck_assert_int_ge(loop_monotonic_ms(loop) - began_ms, 5000);
	ck_assert_int_lt(loop_monotonic_ms(loop) - began_ms, 9000);
	close(fd);
}
END_TEST

/* ── servers that go and come ── */

static struct test_postgres other;

#define WAITING_COMMITS "select count(*) from pg_stat_activity where wait_event = 'SyncRep'"

/* With a standby that is not there a commit hangs; the unit is unknown after its time, and the link is down. When the wait is broken
 * off by hand it is up again; a unit to which that happens in time succeeds with a warning: unknown too. The server's checkpointer
 * says when commits begin to wait. */
START_TEST(commit_without_its_standby)
{
	struct heard hanging, broken_off;
	char cancel[128], name[24];
	int tries = 0;
	test_postgres_start(&other);
	test_postgres_ask(&other, SCHEMA);
	connect_to(other.url, 1000);
	snprintf(cancel, sizeof cancel, "select pg_cancel_backend(%s)", ask(&SELF, NULL).value);
	test_postgres_ask(&other, "alter system set synchronous_standby_names = 'nobody'");
	test_postgres_ask(&other, "select pg_reload_conf()");
	do {
		snprintf(name, sizeof name, "hanging %d", tries++);
		hanging = ask(&ADD, name);
	} while (!hanging.fault);
	ck_assert_ptr_eq(hanging.fault, &FAULT_STORAGE_UNKNOWN);
	ck_assert_int_eq(downs, 1);
	ck_assert_ptr_eq(ask(&COUNT, "%").fault, &FAULT_STORAGE_UNAVAILABLE);
	while (ups == 1) {
		test_postgres_ask(&other, cancel);
		turn_and_nap();
	}
	submit(&broken_off, &ADD, "broken off");
	while (!broken_off.times) {
		if (!strcmp(test_postgres_ask(&other, WAITING_COMMITS), "1"))
			test_postgres_ask(&other, cancel);
		turn_and_nap();
	}
	ck_assert_ptr_eq(broken_off.fault, &FAULT_STORAGE_UNKNOWN);
	ck_assert_int_eq(atoi(ask(&COUNT, "%").value), tries + 1);
	ck_assert_int_eq(downs, 1);
	test_postgres_end(&other);
}
END_TEST

START_TEST(server_goes_and_comes)
{
	struct heard heard;
	test_postgres_start(&other);
	test_postgres_ask(&other, SCHEMA);
	connect_to(other.url, 0);
	test_postgres_halt(&other, SIGQUIT);
	submit(&heard, &COUNT, "%");
	await(heard.times && downs == 1);
	ck_assert(heard.fault == &FAULT_STORAGE_UNAVAILABLE || heard.fault == &FAULT_STORAGE_UNKNOWN);
	ck_assert_ptr_eq(ask(&COUNT, "%").fault, &FAULT_STORAGE_UNAVAILABLE);
	test_postgres_resume(&other);
	await(ups == 2);
	ck_assert_ptr_null(ask(&COUNT, "%").fault);
	test_postgres_end(&other);
}
END_TEST

/* It keeps the connection and says nothing more, and another takes the writes by now: there we are soon, whatever was under way. */
START_TEST(frozen_server_is_left)
{
	struct heard lost;
	char url[160], port[16];
	test_postgres_start(&other);
	snprintf(url, sizeof url, "postgresql://keyfob@127.0.0.1:%d,127.0.0.1:%d/postgres", other.port, pg.port);
	snprintf(port, sizeof port, "%d", pg.port);
	test_postgres_ask(&other, SCHEMA);
	connect_to(url, 30000);
	int64_t began_ms = loop_monotonic_ms(loop);
	int session = atoi(ask(&SELF, NULL).value);
	kill(other.pid, SIGSTOP);
	kill(session, SIGSTOP);
	submit(&lost, &ADD, "lost");
	await(ups == 2);
	ck_assert_ptr_eq(lost.fault, &FAULT_STORAGE_UNKNOWN);
	ck_assert_int_eq(downs, 1);
	ck_assert_str_eq(ask(&SETTING, "port").value, port);
	ck_assert_int_lt(loop_monotonic_ms(loop) - began_ms, 10000);
	kill(session, SIGCONT);
	kill(other.pid, SIGCONT);
	test_postgres_end(&other);
}
END_TEST

START_TEST(the_host_that_takes_writes)
{
	char url[160], port[16];
	test_postgres_start(&other);
	test_postgres_ask(&other, SCHEMA);
	test_postgres_ask(&other, "alter system set default_transaction_read_only = on");
	test_postgres_ask(&other, "select pg_reload_conf()");
	while (strcmp(test_postgres_ask(&other, "show default_transaction_read_only"), "on") != 0)
		;
	snprintf(url, sizeof url, "postgresql://keyfob@127.0.0.1:%d,127.0.0.1:%d/postgres?target_session_attrs=any",
		other.port, pg.port);
	snprintf(port, sizeof port, "%d", pg.port);
	connect_to(url, 0);
	ck_assert_str_eq(ask(&SETTING, "port").value, port);
	test_postgres_end(&other);
}
END_TEST

static TCase *case_with_server(Suite *suite, const char *name)
{
	TCase *tcase = tcase_create(name);
	tcase_add_unchecked_fixture(tcase, start_server, end_server);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	return tcase;
}

int main(void)
{
	Suite *suite = suite_create("sql/db");
	TCase *tcase = case_with_server(suite, "real database");
	tcase_add_test(tcase, rows_and_parameters);
	tcase_add_test(tcase, arrays_of_nasty_texts);
	tcase_add_test(tcase, units_in_order);
	tcase_add_test(tcase, more_than_the_socket_takes);
	tcase_add_test(tcase, session_is_set_up);
	tcase_add_test(tcase, error_undoes_its_unit_alone);
	tcase_add_test(tcase, error_of_the_commit_itself);
	tcase_add_test(tcase, refusals_are_told_apart);
	tcase_add_test(tcase, what_was_prepared_and_has_changed_is_prepared_anew);
	tcase_add_test(tcase, read_only_server_is_left);
	tcase_add_test(tcase, full_queue);
	tcase_add_test(tcase, no_answer_in_time);
	tcase_add_test(tcase, silence_is_told_and_ends);
	tcase_add_test(tcase, a_lost_answer_is_not_waited_for);
	tcase_add_test(tcase, closing_waits_for_answers);
	tcase_add_test(tcase, closing_at_any_moment);
	tcase_add_test(tcase, killed_in_flight);
	tcase_add_test(tcase, killed_while_idle);
	tcase_add_test(tcase, statement_that_cannot_be_prepared);
	tcase_add_test(tcase, statement_first_met_after_an_error);
	tcase_add_test(tcase, schema_that_is_too_old);
	tcase_add_test(tcase, commit_without_its_standby);
	tcase_add_test(tcase, second_host_when_the_first_is_dead);
	tcase_add_test(tcase, local_socket);
	tcase_add_test(tcase, name_that_is_nobodys);
	tcase_add_test(tcase, silent_host);
	tcase_add_test(tcase, server_goes_and_comes);
	tcase_add_test(tcase, frozen_server_is_left);
	tcase_add_test(tcase, the_host_that_takes_writes);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
