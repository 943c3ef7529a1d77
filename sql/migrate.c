/* migrate.c - brings a database to this version's schema.
 *
 * connect ─ lock ─ what is there? ─┬─ file, its row, commit ─ … ─ current
 *                                  └─ newer than this program: refused
 *
 * It runs alone in its process and may block. The lock is the session's, so it goes with the connection. */
#include "sql/migrate.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/failpoint.h"
#include "base/log.h"
#include "sql/connect.h"
#include "sql/migration.h"

#define LOCK_SQL "select pg_advisory_lock(x'6b6579666f62'::bigint)" /* "keyfob" */
#define LEDGER_SQL                                                                                                     \
	"create table if not exists schema_migrations ("                                                               \
	"version int primary key, name text not null, applied_at timestamptz not null default now())"
#define ENTRY_SQL "insert into schema_migrations (version, name) values ($1, $2)"
#define VERSION_SQL "select coalesce(max(version), 0) from schema_migrations"
#define EPOCH_SQL "update meta set epoch = epoch + 1 returning epoch"

static int with_connection(const char *url, bool (*work)(PGconn *));
static bool migrate(PGconn *conn);
static bool apply(PGconn *conn, const struct migration *migration);
static bool raise_epoch(PGconn *conn);
static bool run(PGconn *conn, const char *sql);
static bool run_with(PGconn *conn, const char *sql, int count, const char *const *params, int *ret_number);

int migrate_run(const char *database_url)
{
	return with_connection(database_url, migrate);
}

int migrate_new_epoch(const char *database_url)
{
	return with_connection(database_url, raise_epoch);
}

int migrate_version(void)
{
	return SQL_MIGRATION_COUNT ? SQL_MIGRATIONS[SQL_MIGRATION_COUNT - 1].version : 0;
}

static void ignore_notice(void *context, const char *message)
{
	(void)context, (void)message;
}

static int with_connection(const char *url, bool (*work)(PGconn *))
{
	char why[1024];
	PGconn *conn = connect_blocking(url, "keyfobd", why, sizeof(why));
	if (!conn) {
		fprintf(stderr, "keyfobd: %s\n", why);
		return 1;
	}
	PQsetNoticeProcessor(conn, ignore_notice, NULL);
	bool is_done = run(conn, LOCK_SQL) && work(conn);
	PQfinish(conn);
	return is_done ? 0 : 1;
}

static bool migrate(PGconn *conn)
{
	int found;
	if (!run(conn, LEDGER_SQL) || !run_with(conn, VERSION_SQL, 0, NULL, &found))
		return false;
	if (found > migrate_version()) {
		fprintf(stderr, "keyfobd: the database has schema version %d, newer than this program's %d\n", found,
			migrate_version());
		return false;
	}
	for (size_t i = 0; i < SQL_MIGRATION_COUNT; i++)
		if (SQL_MIGRATIONS[i].version > found && !apply(conn, &SQL_MIGRATIONS[i]))
			return false;
	return true;
}

/* Its name is a failpoint: it has run, and is not yet in the ledger. */
static bool apply(PGconn *conn, const struct migration *migration)
{
	char version[12];
	snprintf(version, sizeof version, "%d", migration->version);
	const char *const entry[] = { version, migration->name };
	if (!run(conn, "begin") || !run(conn, migration->text) || FAILPOINT(migration->name) ||
		!run_with(conn, ENTRY_SQL, 2, entry, NULL) || !run(conn, "commit")) {
		fprintf(stderr, "keyfobd: migration %s was not applied\n", migration->name);
		return false;
	}
	log_info("sql", "a migration was applied", LOG_TEXT("migration", migration->name));
	return true;
}

static bool raise_epoch(PGconn *conn)
{
	int epoch;
	if (!run_with(conn, EPOCH_SQL, 0, NULL, &epoch))
		return false;
	log_info("sql", "a new epoch has begun", LOG_INT("epoch", epoch));
	return true;
}

static bool is_good(PGconn *conn, const PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);
	if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)
		return true;
	fprintf(stderr, "keyfobd: the database refused: %s", PQerrorMessage(conn));
	return false;
}

/* One or more statements without parameters. */
static bool run(PGconn *conn, const char *sql)
{
	PGresult *result = PQexec(conn, sql);
	bool is_done = is_good(conn, result);
	PQclear(result);
	return is_done;
}

/* One statement; its first value goes to `ret_number` unless that is NULL. */
static bool run_with(PGconn *conn, const char *sql, int count, const char *const *params, int *ret_number)
{
	PGresult *result = PQexecParams(conn, sql, count, NULL, params, NULL, NULL, 0);
	bool is_done = is_good(conn, result) && (!ret_number || PQntuples(result) == 1);
	if (is_done && ret_number)
		*ret_number = atoi(PQgetvalue(result, 0, 0));
	PQclear(result);
	return is_done;
}
