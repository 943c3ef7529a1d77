/* postgres.c - makes the databases, and asks. */
#include "tests/sim/postgres.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rfc3339.h"
#include "sql/migrate.h"
#include "sql/unit.h"
#include "tests/servers.h"
#include "tests/sim/world.h"

#define QUESTIONS_MAX 32
#define TEMPLATE "sim_template"

/* Before pg_catalog's own, for the schema `public` comes first in this database's path. */
static const char *const OWN_CLOCK =
	"create function public.clock_timestamp() returns timestamptz language sql volatile parallel safe as"
	" $$ select pg_catalog.current_setting('sim.now')::timestamptz $$;"
	"create function public.now() returns timestamptz language sql stable parallel safe as"
	" $$ select pg_catalog.current_setting('sim.began')::timestamptz $$;"
	"create function public.statement_timestamp() returns timestamptz language sql stable parallel safe as"
	" $$ select pg_catalog.current_setting('sim.now')::timestamptz $$;"
	"create function public.gen_random_uuid() returns uuid language sql volatile as"
	" $$ select pg_catalog.md5(pg_catalog.random()::text || pg_catalog.random()::text)::uuid $$;";

static struct {
	PGconn *monitor;
	const char *questions[QUESTIONS_MAX]; /* that the monitor has prepared */
	size_t question_count;
	char url[160];
} server;

/* Making the databases. */

static void must(PGconn *conn, const char *sql)
{
	PGresult *result = PQexec(conn, sql);
	if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK) {
		fprintf(stderr, "sim: %s: %s", sql, PQerrorMessage(conn));
		exit(2);
	}
	PQclear(result);
}

static PGconn *connect_to(const char *url)
{
	PGconn *conn = PQconnectdb(url);
	if (PQstatus(conn) != CONNECTION_OK) {
		fprintf(stderr, "sim: %s", PQerrorMessage(conn));
		exit(2);
	}
	return conn;
}

static void ignore_notice(void *context, const char *text)
{
	(void)context;
	(void)text;
}

static void url_of(const struct test_postgres *pg, const char *name, char out[160])
{
	snprintf(out, 160, "postgresql://keyfob@/%s?host=%s&port=%d", name, pg->dir, pg->port);
}

void postgres_make_template(const struct test_postgres *pg)
{
	static const char *const steps[] = {
		"alter system set autovacuum = off",
		"alter system set deadlock_timeout = '100ms'",
		"alter system set full_page_writes = off",
		"alter system set track_counts = off",
		"alter system set update_process_title = off",
		"select pg_reload_conf()",
		"create database " TEMPLATE,
		"alter database " TEMPLATE " set search_path = public, pg_catalog",
	};
	/* With the owner's rights they go by a path of their own, on which PostgreSQL's clock comes first. */
	static const char *const owners[] = {
		"partitions_drop(bigint, bigint)",
		"partitions_make()",
		"partitions_ensure()",
		"events_summarize()",
	};
	char url[160], text[RFC3339_SIZE], sql[160];
	PGconn *conn = connect_to(pg->url);

	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++)
		must(conn, steps[i]);
	rfc3339_write(WORLD_BEGIN_US, text);
	for (size_t i = 0; i < 2; i++) {
		snprintf(sql, sizeof(sql), "alter database " TEMPLATE " set sim.%s = '%s'", i ? "now" : "began", text);
		must(conn, sql);
	}
	PQfinish(conn);
	url_of(pg, TEMPLATE, url);
	conn = connect_to(url);
	must(conn, OWN_CLOCK);
	PQfinish(conn);
	if (migrate_run(url) != 0)
		exit(2);
	conn = connect_to(url);
	for (size_t i = 0; i < sizeof(owners) / sizeof(*owners); i++) {
		snprintf(
			sql, sizeof(sql), "alter function %s set search_path = public, pg_catalog, pg_temp", owners[i]);
		must(conn, sql);
	}
	PQfinish(conn);
}

PGconn *postgres_connect(void)
{
	PGconn *conn = connect_to(server.url);

	PQsetNoticeProcessor(conn, ignore_notice, NULL);
	must(conn, UNIT_SETTINGS.text);
	return conn;
}

/* The settings of a database are not copied with it. */
static void copy_settings(PGconn *conn, const char *name)
{
	char sql[256], text[RFC3339_SIZE];

	rfc3339_write(WORLD_BEGIN_US, text);
	snprintf(sql, sizeof(sql), "alter database %s set search_path = public, pg_catalog", name);
	must(conn, sql);
	for (size_t i = 0; i < 2; i++) {
		snprintf(sql, sizeof(sql), "alter database %s set sim.%s = '%s'", name, i ? "now" : "began", text);
		must(conn, sql);
	}
}

void postgres_begin(const struct test_postgres *pg, const char *name, uint64_t seed)
{
	char sql[256];
	PGconn *conn = connect_to(pg->url);

	PQsetNoticeProcessor(conn, ignore_notice, NULL);
	snprintf(sql, sizeof(sql), "drop database if exists %s (force)", name);
	must(conn, sql);
	snprintf(sql, sizeof(sql), "create database %s template " TEMPLATE, name);
	must(conn, sql);
	copy_settings(conn, name);
	PQfinish(conn);
	url_of(pg, name, server.url);
	server.monitor = postgres_connect();
	/* what the template has drawn is the same for all */
	snprintf(sql, sizeof(sql), "update meta set installation = md5('%" PRIu64 "')::uuid", seed);
	must(server.monitor, sql);
}

void postgres_end(void)
{
	PQfinish(server.monitor);
}

const char *postgres_url(void)
{
	return server.url;
}

/* Asking. */

void postgres_do(const char *sql)
{
	must(server.monitor, sql);
}

static size_t prepare_question(const char *sql)
{
	char name[32];

	for (size_t i = 0; i < server.question_count; i++)
		if (server.questions[i] == sql)
			return i;
	assert(server.question_count < QUESTIONS_MAX);
	server.questions[server.question_count] = sql;
	snprintf(name, sizeof(name), "question_%zu", server.question_count);
	PQclear(PQprepare(server.monitor, name, sql, 0, NULL));
	return server.question_count++;
}

PGresult *postgres_ask(const char *sql, size_t count, const char *const params[])
{
	char name[32];

	snprintf(name, sizeof(name), "question_%zu", prepare_question(sql));
	PGresult *result = PQexecPrepared(server.monitor, name, (int)count, params, NULL, NULL, 0);
	if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK) {
		fprintf(stderr, "sim: %s: %s", sql, PQerrorMessage(server.monitor));
		exit(2);
	}
	return result;
}

/* Sessions. */

bool postgres_is_blocked(const PGconn *conn)
{
	char sql[96];
	snprintf(sql, sizeof(sql), "select cardinality(pg_blocking_pids(%d)) > 0", PQbackendPID(conn));
	PGresult *result = PQexec(server.monitor, sql);
	bool is_blocked = PQntuples(result) == 1 && PQgetvalue(result, 0, 0)[0] == 't';
	PQclear(result);
	return is_blocked;
}

void postgres_terminate(const PGconn *conn)
{
	char sql[96];

	snprintf(sql, sizeof(sql), "select pg_terminate_backend(%d, 10000)", PQbackendPID(conn));
	PQclear(PQexec(server.monitor, sql));
}
