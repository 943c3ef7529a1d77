/* database.c - PostgreSQL, as a node needs it, and our clock against its. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "gateway/access/token.h"
#include "gateway/config.h"
#include "gateway/doctor/doctor_internal.h"
#include "sql/checkup.h"
#include "sql/migrate.h"

#define VERSION_MIN 15
#define CLOCK_APART_MS 1000 /* reachability and time-outs are the database's: a second is no harm yet */

static void check_server(struct patient *p, const struct checkup *c)
{
	if (c->version / 10000 < VERSION_MIN)
		find(p->report, "database", VERDICT_FAILED, "use PostgreSQL 15 or later", "it is PostgreSQL %d",
			c->version / 10000);
	else
		find(p->report, "database", VERDICT_OK, "", "PostgreSQL %d, as %s", c->version / 10000, c->role);
}

static void check_schema(struct patient *p, const struct checkup *c)
{
	int wanted = migrate_version();

	if (c->schema == wanted)
		find(p->report, "schema", VERDICT_OK, "", "version %d, this program's", wanted);
	else if (c->schema == 0)
		find(p->report, "schema", VERDICT_FAILED, "keyfobd --config FILE --migrate, as the database's owner",
			"there is none yet");
	else if (c->schema < wanted)
		find(p->report, "schema", VERDICT_FAILED, "keyfobd --config FILE --migrate, as the database's owner",
			"version %d, older than this program's %d", c->schema, wanted);
	else
		find(p->report, "schema", VERDICT_WARNING, "bring this machine's package up to date",
			"version %d, newer than this program's %d", c->schema, wanted);
}

static void check_role(struct patient *p, const struct checkup *c)
{
	if (c->schema == 0)
		return;
	if (c->barred > 0)
		find(p->report, "role", VERDICT_FAILED,
			"as the owner, after each --migrate: select service_grant('ROLE')",
			"%s lacks rights to %d tables and functions, %s among them", c->role, c->barred, c->barred_one);
	else if (c->may_change_schema)
		find(p->report, "role", VERDICT_WARNING,
			"let another own the database, and this one only serve: docs/access.md",
			"%s may change the schema, and with it the audit table", c->role);
	else if (c->surplus[0])
		find(p->report, "role", VERDICT_WARNING,
			"as the database's owner: select service_grant('ROLE'), which takes it away; docs/access.md",
			"%s may %s, and needs not", c->role, c->surplus);
	else
		find(p->report, "role", VERDICT_OK, "", "%s serves, and cannot change the schema", c->role);
}

/* synchronous_commit itself is no question: a node sets it for its connections. */
static void check_durability(struct patient *p, const struct checkup *c)
{
	if (p->config->database.synchronous && (!c->wants_standby || !c->has_standby))
		find(p->report, "durability", VERDICT_FAILED,
			"set up a standby and synchronous_standby_names, or database.synchronous: false",
			c->wants_standby ? "database.synchronous is true, and no standby follows: commits hang"
					 : "database.synchronous is true, and synchronous_standby_names is empty: a "
					   "failover loses commands");
	else if (!c->fsync || !c->full_page_writes)
		find(p->report, "durability", VERDICT_WARNING,
			"switch it on in postgresql.conf, unless this is for tests",
			"%s is off: what was accepted may be lost with the power",
			c->fsync ? "full_page_writes" : "fsync");
	else
		find(p->report, "durability", VERDICT_OK, "", "a commit is on the disk%s",
			p->config->database.synchronous ? ", and on the standby's" : "");
}

#define MB(bytes) ((long long)((bytes) >> 20))
#define WAL_PEAK 3 /* the busy hour to the mean */

/* docs/operations.md says what each is for. What goes by the fleet is held against the fleet that is there. */
static void check_tuning(struct patient *p, const struct checkup *c)
{
	size_t warnings = report_count(p->report);

	if (strcmp(c->isolation, "read committed") != 0)
		find(p->report, "tuning", VERDICT_FAILED, "alter role ROLE reset default_transaction_isolation",
			"default_transaction_isolation is %s: who waits for a vehicle's lock fails", c->isolation);
	if (!c->autovacuum)
		find(p->report, "tuning", VERDICT_WARNING, "autovacuum = on and track_counts = on, in postgresql.conf",
			"autovacuum is off: tables grow, and plans go by tables as they once were");
	if (c->heads_bytes > c->shared_buffers_bytes)
		find(p->report, "tuning", VERDICT_WARNING, "a quarter of the machine's memory, in postgresql.conf",
			"shared_buffers is %lld MB, and vehicle_heads alone, which every command touches, has %lld MB",
			MB(c->shared_buffers_bytes), MB(c->heads_bytes));
	if (c->wal_bytes * WAL_PEAK > c->max_wal_bytes)
		find(p->report, "tuning", VERDICT_WARNING,
			"raise it in postgresql.conf: `keyfob capacity` says to what",
			"max_wal_size is %lld MB, and %lld MB are written in a checkpoint_timeout, in the mean: "
			"checkpoints "
			"follow each other, and pages are written whole after each",
			MB(c->max_wal_bytes), MB(c->wal_bytes));
	if (report_count(p->report) == warnings)
		find(p->report, "tuning", VERDICT_OK, "", "shared_buffers %lld MB, max_wal_size %lld MB",
			MB(c->shared_buffers_bytes), MB(c->max_wal_bytes));
}

/* Nodes make them five days ahead. */
static void check_partitions(struct patient *p, const struct checkup *c)
{
	if (c->schema == 0)
		return;
	if (c->missing_partitions[0])
		find(p->report, "partitions", VERDICT_FAILED,
			"end what has locked commands or events in the database; the nodes' log says what they tried",
			"no place for what comes in two days: %s is missing", c->missing_partitions);
	else
		find(p->report, "partitions", VERDICT_OK, "", "there is a place for what comes in the next days");
}

static void check_connections(struct patient *p, const struct checkup *c)
{
	int needed = 2 * (int)config_workers(p->config) + 2; /* the census has one, and so have webhooks */
	int open_to_us = c->connections_max - (p->has_node ? 0 : c->connections);

	if (needed <= open_to_us)
		find(p->report, "connections", VERDICT_OK, "", "this node needs %d, of %d", needed, c->connections_max);
	else
		find(p->report, "connections", VERDICT_FAILED,
			"raise max_connections (or the role's limit), or lower node.workers",
			"this node needs %d, and of %d only %d can be had", needed, c->connections_max,
			open_to_us > 0 ? open_to_us : 0);
}

/* Roughly: nobody writes a file in the future. */
static bool is_before_its_file(const struct config *config)
{
	struct stat file;

	return stat(config->file, &file) == 0 && file.st_mtime > time(NULL) + 1;
}

/* `NULL`: the database cannot be asked. */
static void check_clock(struct patient *p, const struct checkup *c)
{
	static const char advice[] = "keep both by NTP (systemd-timesyncd, chrony)";
	long long off_ms = c ? llabs(c->clock_offset_us) / 1000 : 0, give_ms = c ? c->clock_trip_us / 2000 : 0;

	if (is_before_its_file(p->config))
		find(p->report, "clock", VERDICT_FAILED, advice, "this machine's is before the last change of %s",
			p->config->file);
	else if (off_ms - give_ms > CLOCK_APART_MS)
		find(p->report, "clock", off_ms - give_ms > TOKEN_LEEWAY_US / 1000 ? VERDICT_FAILED : VERDICT_WARNING,
			advice, "the database's is %lld ms %s this machine's", off_ms,
			c->clock_offset_us > 0 ? "ahead of" : "behind");
	else if (c)
		find(p->report, "clock", VERDICT_OK, "", "%lld ms from the database's, give or take %lld", off_ms,
			give_ms);
}

void check_database(struct patient *p)
{
	struct checkup c;
	char why[512];

	if (!checkup_read(p->config->database.url, &c, why, sizeof(why))) {
		find(p->report, "database", VERDICT_FAILED, "look at database.url, pg_hba.conf, and whether it runs",
			"%s", why);
		check_clock(p, NULL);
		return;
	}
	check_server(p, &c);
	check_schema(p, &c);
	check_role(p, &c);
	check_partitions(p, &c);
	check_durability(p, &c);
	check_connections(p, &c);
	check_tuning(p, &c);
	check_clock(p, &c);
}
