/* checkup.c - a few questions over a connection of its own: of the server, and of our schema where there is one. */
#include "sql/checkup.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sql/connect.h"

/* Who is no superuser sees of others' sessions and standbys that they are there, and hardly more: so rows are counted. */
#define SERVER_SQL                                                                                                     \
	"select current_setting('server_version_num')::int, current_setting('fsync')::bool,"                           \
	" current_setting('full_page_writes')::bool, exists (select from pg_stat_replication),"                        \
	" current_setting('synchronous_standby_names') <> '',"                                                         \
	" (select least(current_setting('max_connections')::int - "                                                    \
	"current_setting('superuser_reserved_connections')::int,"                                                      \
	" nullif(rolconnlimit, -1), nullif(datconnlimit, -1)) from pg_roles, pg_database"                              \
	" where rolname = current_user and datname = current_database()),"                                             \
	" (select count(*) from pg_stat_activity where datid is not null and pid <> pg_backend_pid()),"                \
	" current_user, to_regclass('schema_migrations') is not null"
/* A server that has just started is not judged by its first seconds. */
#define TUNING_SQL                                                                                                     \
	"select current_setting('default_transaction_isolation'),"                                                     \
	" current_setting('autovacuum')::bool and current_setting('track_counts')::bool,"                              \
	" pg_size_bytes(current_setting('shared_buffers')), pg_size_bytes(current_setting('max_wal_size')),"           \
	" (wal_bytes / greatest(extract(epoch from clock_timestamp() - stats_reset), 60)"                              \
	" * extract(epoch from current_setting('checkpoint_timeout')::interval))::bigint from pg_stat_wal"
#define CLOCK_SQL "select (extract(epoch from clock_timestamp()) * 1000000)::bigint"
/* What service_grant() gives, and what it takes back: audit, actors, schema_migrations and the lifecycle's two are read, audit and
 * actors are added to, and actors can be forgotten. Partitions are reached by way of their parent. */
#define SCHEMA_SQL                                                                                                     \
	"with tables as (select oid, relname, relowner from pg_class where relnamespace ="                             \
	" (select relnamespace from pg_class where oid = 'schema_migrations'::regclass) and relkind in ('r', 'p')"     \
	" and not relispartition),"                                                                                    \
	" needs as (select *, relname not in ('schema_migrations', 'lifecycle', 'lifecycle_paths') as inserts,"        \
	" relname not in ('schema_migrations', 'lifecycle', 'lifecycle_paths', 'audit', 'actors') as updates,"         \
	" relname not in ('schema_migrations', 'lifecycle', 'lifecycle_paths', 'audit') as deletes from tables),"      \
	" barred as (select relname from needs where not has_table_privilege(oid, 'select')"                           \
	" or inserts and not has_any_column_privilege(oid, 'insert')"                                                  \
	" or updates and not has_table_privilege(oid, 'update') or deletes and not has_table_privilege(oid, 'delete')" \
	" union all select proname from pg_proc where pronamespace = (select relnamespace from pg_class"               \
	" where oid = 'schema_migrations'::regclass) and prosecdef and not has_function_privilege(oid, 'execute')"     \
	" order by relname)"                                                                                           \
	" select (select max(version) from schema_migrations),"                                                        \
	" (select rolsuper from pg_roles where rolname = current_user)"                                                \
	" or exists (select from tables where pg_has_role(relowner, 'usage'))"                                         \
	" or has_schema_privilege(current_schema(), 'create'),"                                                        \
	" concat_ws(', ', case when has_database_privilege(current_database(), 'temporary')"                           \
	" then 'make temporary tables' end,"                                                                           \
	" case when has_column_privilege('audit', 'at', 'insert') then 'date what it adds to audit' end,"              \
	" (select 'change ' || string_agg(relname, ', ' order by relname) from needs where"                            \
	" not inserts and has_any_column_privilege(oid, 'insert')"                                                     \
	" or not updates and has_any_column_privilege(oid, 'update')"                                                  \
	" or not deletes and has_table_privilege(oid, 'delete'))),"                                                    \
	" (select count(*) from barred), (select relname from barred limit 1), "                                       \
	"pg_total_relation_size('vehicle_heads'),"                                                                     \
	" (select string_agg(name, ', ') from (select kind || '_' || to_char(date_trunc(unit,"                         \
	" (now() + interval '2 days') at time zone 'UTC'), 'YYYYMMDD') as name"                                        \
	" from (values ('commands', 'month'), ('events', 'week')) k(kind, unit)) p where to_regclass(name) is null)"

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* One row, or NULL and why. */
static PGresult *ask(PGconn *conn, const char *sql, char *ret_why, size_t why_size)
{
	PGresult *result = PQexec(conn, sql);

	if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1)
		return result;
	snprintf(ret_why, why_size, "%s", PQerrorMessage(conn));
	ret_why[strcspn(ret_why, "\n")] = '\0';
	PQclear(result);
	return NULL;
}

static int number_at(const PGresult *r, int column)
{
	return atoi(PQgetvalue(r, 0, column));
}

static int64_t bytes_at(const PGresult *r, int column)
{
	return strtoll(PQgetvalue(r, 0, column), NULL, 10);
}

static bool truth_at(const PGresult *r, int column)
{
	return *PQgetvalue(r, 0, column) == 't';
}

static bool read_server(PGconn *conn, struct checkup *c, bool *ret_has_schema, char *ret_why, size_t why_size)
{
	PGresult *r = ask(conn, SERVER_SQL, ret_why, why_size);

	if (!r)
		return false;
	c->version = number_at(r, 0);
	c->fsync = truth_at(r, 1);
	c->full_page_writes = truth_at(r, 2);
	c->has_standby = truth_at(r, 3);
	c->wants_standby = truth_at(r, 4);
	c->connections_max = number_at(r, 5);
	c->connections = number_at(r, 6);
	snprintf(c->role, sizeof(c->role), "%s", PQgetvalue(r, 0, 7));
	*ret_has_schema = truth_at(r, 8);
	PQclear(r);
	return true;
}

static bool read_tuning(PGconn *conn, struct checkup *c, char *ret_why, size_t why_size)
{
	PGresult *r = ask(conn, TUNING_SQL, ret_why, why_size);

	if (!r)
		return false;
	snprintf(c->isolation, sizeof(c->isolation), "%s", PQgetvalue(r, 0, 0));
	c->autovacuum = truth_at(r, 1);
	c->shared_buffers_bytes = bytes_at(r, 2);
	c->max_wal_bytes = bytes_at(r, 3);
	c->wal_bytes = bytes_at(r, 4);
	PQclear(r);
	return true;
}

/* The answer is taken to be from the middle of the wait. */
static bool read_clock(PGconn *conn, struct checkup *c, char *ret_why, size_t why_size)
{
	int64_t asked_us = now_us();
	PGresult *r = ask(conn, CLOCK_SQL, ret_why, why_size);

	if (!r)
		return false;
	c->clock_trip_us = now_us() - asked_us;
	c->clock_offset_us = strtoll(PQgetvalue(r, 0, 0), NULL, 10) - asked_us - c->clock_trip_us / 2;
	PQclear(r);
	return true;
}

static bool read_schema(PGconn *conn, struct checkup *c, char *ret_why, size_t why_size)
{
	PGresult *r = ask(conn, SCHEMA_SQL, ret_why, why_size);

	if (!r)
		return false;
	c->schema = number_at(r, 0);
	c->may_change_schema = truth_at(r, 1);
	snprintf(c->surplus, sizeof(c->surplus), "%s", PQgetvalue(r, 0, 2));
	c->barred = number_at(r, 3);
	snprintf(c->barred_one, sizeof(c->barred_one), "%s", PQgetvalue(r, 0, 4));
	c->heads_bytes = bytes_at(r, 5);
	snprintf(c->missing_partitions, sizeof(c->missing_partitions), "%s", PQgetvalue(r, 0, 6));
	PQclear(r);
	return true;
}

bool checkup_read(const char *database_url, struct checkup *ret, char *ret_why, size_t why_size)
{
	bool has_schema = false;
	PGconn *conn = connect_blocking(database_url, "keyfob-doctor", ret_why, why_size);

	*ret = (struct checkup){ 0 };
	if (!conn)
		return false;
	bool fine = read_server(conn, ret, &has_schema, ret_why, why_size) &&
		    read_tuning(conn, ret, ret_why, why_size) && read_clock(conn, ret, ret_why, why_size) &&
		    (!has_schema || read_schema(conn, ret, ret_why, why_size));
	PQfinish(conn);
	return fine;
}
