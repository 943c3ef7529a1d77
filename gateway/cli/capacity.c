/* capacity.c - load at the busiest time × what one costs = cores and bytes; over what a machine has = how many. */
#include "gateway/cli/capacity.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DAY 86400.0
#define MEGA 1e6
#define GIGA 1e9
#define EVENTS_OF_A_COMMAND 3	/* accepted, sent, the verdict */
#define CHECKPOINT_S 900.0	/* docs/operations.md: checkpoint_timeout 15min, and what max_wal_size is to last for */
#define APPS_SPARE 1.5		/* http.max_connections over what is open, and the broker's */
#define DESCRIPTORS_OF_AN_APP 3 /* docs/operations.md, where the node ends TLS */
#define DESCRIPTORS_BESIDES 5000 /* the same */
#define RETURN_S_MAX 600.0	 /* the most that lifecycle.return_delay may be */
#define FEEDS 34		 /* 32 for answers and reports, one for lifecycle events, one for plain state topics */

enum {
#define COSTS(name, database, node, broker, wal, what) COST_##name,
#define TAKES(name, bytes, what) COST_##name,
#include "gateway/cli/capacity.tbl.h"
};

const struct cost CAPACITY_COSTS[] = {
#define COSTS(name, database, node, broker, wal, what) [COST_##name] = { what, database, node, broker, wal, 0 },
#define TAKES(name, bytes, what) [COST_##name] = { what, 0, 0, 0, 0, bytes },
#include "gateway/cli/capacity.tbl.h"
	{ 0 },
};

const struct assumption CAPACITY_ASSUMPTIONS[] = {
#define ASSUMED(name, otherwise, least, sentence) { #name, sentence, offsetof(struct fleet, name), otherwise, least },
#include "gateway/cli/capacity.tbl.h"
	{ 0 },
};

static double *value_of(struct fleet *f, const struct assumption *a)
{
	return (void *)((char *)f + a->offset);
}

double fleet_value(const struct fleet *f, const struct assumption *a)
{
	const double *value = (const void *)((const char *)f + a->offset);

	return *value;
}

void fleet_assume(struct fleet *f)
{
	for (const struct assumption *a = CAPACITY_ASSUMPTIONS; a->name; a++)
		*value_of(f, a) = a->otherwise;
}

static bool read_number(const char *text, double least, double *ret)
{
	char *end;
	double number = strtod(text, &end);

	if (*end == 'k' || *end == 'M')
		number *= *end++ == 'k' ? 1e3 : 1e6;
	if (end == text || *end || !isfinite(number) || number < least)
		return false;
	*ret = number;
	return true;
}

bool fleet_take(struct fleet *f, const char *word)
{
	size_t len = strcspn(word, "=");

	for (const struct assumption *a = CAPACITY_ASSUMPTIONS; a->name; a++)
		if (word[len] && strlen(a->name) == len && memcmp(a->name, word, len) == 0)
			return read_number(word + len + 1, a->least, value_of(f, a));
	return false;
}

/* In a second of the busiest hour. */
struct load {
	double commands, awaited, reports, comings, opens, apps, events, deliveries;
};

static struct load load_of(const struct fleet *f)
{
	double busiest = f->vehicles * f->peak / DAY;
	struct load l = {
		.commands = f->commands * busiest,
		.awaited = f->commands * f->away * busiest,
		.reports = f->reports * 24 * busiest,
		.comings = f->comings * busiest,
		.opens = f->opens * busiest,
		.apps = f->apps * f->vehicles,
	};

	l.events = l.commands * EVENTS_OF_A_COMMAND + l.reports + l.comings * 2;
	/* Whoever sent a command watches it; the rest is seen where an app is open. */
	l.deliveries = l.commands * EVENTS_OF_A_COMMAND + (l.events - l.commands * EVENTS_OF_A_COMMAND) * f->apps;
	return l;
}

/* What is done in a second: how often, and what. */
static struct cost spent_on(const struct load *l)
{
	const struct {
		double times;
		int cost;
	} done[] = { { l->commands, COST_command }, { l->awaited, COST_awaited }, { l->reports, COST_report },
		{ l->comings, COST_coming }, { l->comings, COST_going }, { l->comings, COST_handshake },
		{ l->opens, COST_opening }, { l->apps, COST_idling }, { l->deliveries, COST_delivery } };
	struct cost sum = { 0 };

	for (size_t i = 0; i < sizeof(done) / sizeof(*done); i++) {
		const struct cost *each = &CAPACITY_COSTS[done[i].cost];
		sum.database_us += done[i].times * each->database_us;
		sum.node_us += done[i].times * each->node_us;
		sum.broker_us += done[i].times * each->broker_us;
		sum.wal_bytes += done[i].times * each->wal_bytes;
	}
	/* A large fleet is hit at random: each first touch of an index page by vehicle, after a checkpoint, writes all of it. */
	sum.wal_bytes += (l->events + l->commands) * CAPACITY_COSTS[COST_page].bytes;
	return sum;
}

static double bytes_of(int cost)
{
	return CAPACITY_COSTS[cost].bytes;
}

/* Everything that one fleet comes to. */
struct need {
	struct load load;
	struct cost spent;
	double disk_bytes, hot_bytes; /* of the database: all of it, and what is touched all the time */
	double by_database, by_wal, by_disk, by_broker, by_lifecycle, by_return, installations;
	double nodes; /* of each installation, one more than it needs */
};

/* Seconds until all vehicles of an installation are back, as when its broker was started anew: through the broker's cores, and
 * through the one feed of lifecycle events, which is a transaction after the other, the larger the more there is to tell. */
static double return_s(const struct fleet *f, double installations)
{
	double broker_us =
		(CAPACITY_COSTS[COST_coming].broker_us + CAPACITY_COSTS[COST_handshake].broker_us) / f->broker_cores;

	return f->vehicles * f->connected * fmax(broker_us, CAPACITY_COSTS[COST_returning].database_us) / MEGA /
	       installations;
}

static double most_of(const double *values, size_t count)
{
	double most = 0;

	for (size_t i = 0; i < count; i++)
		most = fmax(most, values[i]);
	return most;
}

static struct need need_of(const struct fleet *f)
{
	struct need n = { .load = load_of(f) };
	double mean = DAY / f->peak; /* from a second of the busiest hour to a day */

	n.spent = spent_on(&n.load);
	n.hot_bytes = f->vehicles * bytes_of(COST_vehicle_head) + n.load.events * mean * 7 * bytes_of(COST_event_index);
	n.disk_bytes = f->vehicles * bytes_of(COST_vehicle) +
		       n.load.commands * mean * f->commands_days * bytes_of(COST_command_row) +
		       n.load.events * mean * f->events_days * bytes_of(COST_event_row);
	n.by_database = n.spent.database_us / MEGA / (f->database_cores * f->busy);
	n.by_wal = n.spent.wal_bytes / MEGA / f->database_wal;
	n.by_disk = n.disk_bytes / 1e12 / f->database_disk;
	n.by_broker = n.spent.broker_us / MEGA / (f->broker_cores * f->busy);
	n.by_lifecycle = n.load.comings * CAPACITY_COSTS[COST_returning].database_us / MEGA / f->busy;
	n.by_return = return_s(f, 1) / RETURN_S_MAX;
	const double bounds[] = { 1, n.by_database, n.by_wal, n.by_disk, n.by_broker, n.by_lifecycle, n.by_return };
	n.installations = ceil(most_of(bounds, sizeof(bounds) / sizeof(*bounds)));
	const double nodes[] = { n.spent.node_us / MEGA / (f->node_cores * f->busy), n.load.apps / f->node_apps };
	n.nodes = 1 + fmax(1, ceil(most_of(nodes, sizeof(nodes) / sizeof(*nodes)) / n.installations));
	return n;
}

size_t fleet_figures(const struct fleet *f, struct figure ret[FIGURES_MAX])
{
	const struct need n = need_of(f);
	const struct load *l = &n.load;
	double each = 1 / n.installations, apps_of_node = l->apps * each / (n.nodes - 1);
	double sockets = fmax(ceil(apps_of_node * APPS_SPARE), 10000);
	double back_s = return_s(f, n.installations);
	const struct figure figures[] = {
		{ "in a second of the busiest hour", "commands_per_s", "commands", "", l->commands, 0 },
		{ NULL, "awaited_per_s", "… to one that is away", "", l->awaited, 0 },
		{ NULL, "reports_per_s", "state reports", "", l->reports, 0 },
		{ NULL, "comings_per_s", "vehicles that come, and that go", "", l->comings, 0 },
		{ NULL, "opens_per_s", "apps that are opened", "", l->opens, 0 },
		{ NULL, "events_per_s", "events", "", l->events, 0 },
		{ NULL, "deliveries_per_s", "… handed to apps", "", l->deliveries, 0 },
		{ "at that time", "vehicles_connected", "vehicles connected", "", f->vehicles * f->connected, 0 },
		{ NULL, "apps_open", "apps open", "", l->apps, 0 },
		{ "it takes, in all", "database_cores", "PostgreSQL", "cores", n.spent.database_us / MEGA, 1 },
		{ NULL, "node_cores", "the nodes", "cores", n.spent.node_us / MEGA, 1 },
		{ NULL, "broker_cores", "the broker", "cores", n.spent.broker_us / MEGA, 1 },
		{ NULL, "wal_mb_per_s", "WAL", "MB/s", n.spent.wal_bytes / MEGA, 1 },
		{ NULL, "disk_gb", "the database, on disk", "GB", n.disk_bytes / GIGA, 0 },
		{ "installations, by what bounds them", "by_database_cores", "PostgreSQL's cores", "", n.by_database,
			2 },
		{ NULL, "by_wal", "its WAL", "", n.by_wal, 2 },
		{ NULL, "by_disk", "its disk", "", n.by_disk, 2 },
		{ NULL, "by_broker_cores", "the broker's cores", "", n.by_broker, 2 },
		{ NULL, "by_lifecycle_feed", "the feed of lifecycle events", "", n.by_lifecycle, 2 },
		{ NULL, "by_return", "all vehicles back within ten minutes", "", n.by_return, 2 },
		{ NULL, "installations", "so many", "", n.installations, 0 },
		{ "each of them", "vehicles_each", "vehicles", "", f->vehicles * each, 0 },
		{ NULL, "nodes_each", "nodes, one of them to spare", "", n.nodes, 0 },
		{ NULL, "node_memory_gb", "memory of a node", "GB",
			(bytes_of(COST_node) + apps_of_node * bytes_of(COST_app)) / GIGA, 1 },
		{ NULL, "broker_memory_gb", "memory of the broker", "GB",
			f->vehicles * f->connected * each * bytes_of(COST_connection) / GIGA, 1 },
		{ NULL, "return_s", "all its vehicles back at the broker, after", "s", back_s, 0 },
		{ "to be set there", "http_max_connections", "http.max_connections", "", sockets, 0 },
		{ NULL, "lifecycle_return_delay_s", "lifecycle.return_delay", "s",
			fmin(fmax(60, ceil(back_s / 60) * 60), RETURN_S_MAX), 0 },
		{ NULL, "node_limit_nofile", "LimitNOFILE of a node", "",
			sockets * DESCRIPTORS_OF_AN_APP + DESCRIPTORS_BESIDES, 0 },
		{ NULL, "broker_limit_nofile", "LimitNOFILE of the broker", "",
			f->vehicles * f->connected * each * APPS_SPARE + FEEDS, 0 },
		{ NULL, "database_max_connections", "max_connections of PostgreSQL", "",
			2 * n.nodes * (2 * f->node_cores + 2) + 50, 0 },
		{ NULL, "shared_buffers_gb", "shared_buffers", "GB", fmax(n.hot_bytes * each / GIGA, 0.25), 1 },
		{ NULL, "max_wal_size_gb", "max_wal_size", "GB",
			fmax(2 * n.spent.wal_bytes * each * CHECKPOINT_S / GIGA, 1), 0 },
	};

	memcpy(ret, figures, sizeof(figures));
	return sizeof(figures) / sizeof(*figures);
}
