/* ground.c - a link, and what is heard of it. */
#include "tests/unit/sql/db/ground.h"

#include <stdio.h>

const struct db_statement ADD = { "add", "insert into things (name) values ($1)" };
const struct db_statement COUNT = { "count", "select count(*) from things where name like $1" };
const struct db_statement DIVIDE = { "divide", "select 1 / $1::bigint" };
const struct db_statement WAIT = { "wait", "select pg_advisory_xact_lock($1)" };
const struct db_statement SELF = { "self", "select pg_backend_pid()" };
const struct db_statement SETTING = { "setting", "select current_setting($1)" };

struct test_postgres pg;
struct loop *loop;
struct db *db;
int ups, downs, silences, closes;

static int told;

void on_up(void *owner, struct db *which)
{
	(void)owner;
	ck_assert(db_is_up(which));
	ups++;
}

void on_down(void *owner, struct db *which)
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

void on_closed(void *owner)
{
	(void)owner;
	closes++;
}

void turn_and_nap(void)
{
	uv_run(loop_uv(loop), UV_RUN_NOWAIT);
	uv_sleep(1);
}

struct db *link_to(const char *url, int commit_timeout_ms, size_t queue_max)
{
	return db_new(loop, &(struct db_options){ .url = url,
				    .queue_max = queue_max,
				    .commit_timeout_ms = commit_timeout_ms,
				    .on_up = on_up,
				    .on_down = on_down,
				    .on_silence = on_silence });
}

void connect_to(const char *url, int commit_timeout_ms)
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

void ground_open(void)
{
	test_postgres_start(&pg);
}

void ground_close(void)
{
	test_postgres_end(&pg);
}

TCase *case_new(Suite *suite, const char *name)
{
	TCase *tc = tcase_create(name);

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(suite, tc);
	return tc;
}

void on_heard(struct db_unit *unit, void *context, const struct fault *fault)
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

void submit(struct heard *heard, const struct db_statement *statement, const char *param)
{
	struct db_unit *unit = db_unit_new(db, on_heard, heard);
	*heard = (struct heard){ .statement = db_unit_add(unit, statement) };
	if (param)
		db_param_text(unit, param);
	db_unit_submit(unit);
	ck_assert_int_eq(heard->times, 0);
}

struct heard ask(const struct db_statement *statement, const char *param)
{
	struct heard heard;
	submit(&heard, statement, param);
	await(heard.times);
	return heard;
}

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

void hold_lock(void)
{
	locker = db_new(loop, &(struct db_options){ .url = pg.url, .queue_max = 10, .on_up = on_locker_up });
	db_start(locker);
	await(told == -1);
	told = 0;
	ask_locker(&HOLD);
}

void close_locker(void)
{
	db_close(locker, on_closed);
	await(closes == 1);
	closes = 0;
}

void release_lock(void)
{
	ask_locker(&RELEASE);
	close_locker();
}
