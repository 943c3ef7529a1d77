/* main.c - keyfob-sim: runs seeds, each in a process of its own, on one PostgreSQL. Ends with 1 when one has failed.
 *
 *   --seed N, --seeds N,N…   these
 *   --seconds N, --minutes N then new ones for so long (a minute, if nothing is said)
 *   --length N               virtual minutes of a run (10), before it is healed and calm
 *   --slow                   the same in slow motion, so that hours and days pass: what a seed does in a minute takes 20 to 200
 *   --turns                  every second one is in slow motion
 *   --jobs N                 so many at once (2)
 *   --twice                  the first one runs twice, of each motion, and must leave the same trace; --no-memo: the second time
 *                            without the memo
 *   --trace FILE             what happens
 *   --counts FILE            how many held, and how many did not
 *   --verbose                the nodes' own log */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/servers.h"
#include "tests/sim/access.h"
#include "tests/sim/app.h"
#include "tests/sim/broker.h"
#include "tests/sim/chance.h"
#include "tests/sim/database.h"
#include "tests/sim/faults.h"
#include "tests/sim/memo.h"
#include "tests/sim/news.h"
#include "tests/sim/node.h"
#include "tests/sim/owed.h"
#include "tests/sim/platform.h"
#include "tests/sim/postgres.h"
#include "tests/sim/ready.h"
#include "tests/sim/record.h"
#include "tests/sim/twin.h"
#include "tests/sim/vehicle.h"
#include "tests/sim/world.h"

#define SEEDS_MAX 64
#define JOBS_MAX 16
#define LOOK_MS 5000
#define CALM_MS 110000	/* the longest life of a command, its time-out, and the recovery from what was last */
#define RESYNC_MS 45000 /* the lines made anew, a resync asked for, and lifecycle.return_delay waited out */
#define RUN_SECONDS_MAX 1800

struct order {
	uint64_t seeds[SEEDS_MAX];
	size_t count, jobs;
	int64_t seconds, minutes; /* new ones for so long; how long one lives, virtually */
	const char *trace, *counts;
	bool twice, asks_all, is_slow, takes_turns, verbose;
};

static struct test_postgres postgres;

/* What a seed decides before anything happens. */
struct shape {
	size_t nodes, vehicles, apps;
	int64_t app_pace_ms, fault_pace_ms;
	unsigned stepwise_permille;
	struct broker_habits broker;
	unsigned lost_permille; /* lifecycle events, where they get lost */
};

static struct shape shape_of(void)
{
	bool is_aws = chance_of(300);

	return (struct shape){
		.nodes = (size_t)chance_between(1, 3),
		.vehicles = (size_t)chance_between(1, 8),
		.apps = (size_t)chance_between(1, 6),
		.app_pace_ms = chance_between(1000, 8000),
		.fault_pace_ms = chance_of(100) ? 0 : chance_between(4000, 30000),
		.stepwise_permille = chance_of(500) ? 30 : 500,
		.broker = {
			.says_nobody = chance_of(700),
			.retells = !is_aws,
			.receive_maximum = chance_of(300) ? 4 : 1024,
			.doubled_permille = is_aws ? 100 : 0,
			.late_ms = is_aws ? 4000 : 0,
			.keeps_names = is_aws,
		},
		.lost_permille = 0,
	};
}

static void make_vehicles(void)
{
	char sql[512];

	for (size_t v = 0; v < vehicles_count(); v++) {
		const char *id = vehicle_id(v);
		snprintf(sql, sizeof(sql),
			"insert into vehicles (vehicle_id, msisdn) values ('%s', '+4915100000%03zu');"
			"insert into vehicle_heads (vehicle_id) values ('%s');"
			"insert into grants (object_kind, object_id, subject, role, granted_by)"
			" select 'vehicle', '%s', 'app-' || n, 'driver', 'sim' from generate_series(0, 15) n",
			id, v, id, id);
		postgres_do(sql);
	}
}

static void run_and_look(int64_t ms)
{
	for (; ms > 0; ms -= LOOK_MS) {
		world_run(LOOK_MS);
		news_look();
	}
}

/* A resync reveals all that was lost; where there is none, a further session of each vehicle, which cannot be taken for one before. */
static void end_losses(const struct shape *shape)
{
	world_note("nothing is lost any more");
	broker_lose_events(0);
	if (shape->broker.retells) {
		record_fault(true);
		for (size_t i = 0; i < nodes_count(); i++)
			broker_lose(node_at(i), false);
		record_fault(false);
		run_and_look(RESYNC_MS);
	} else {
		vehicles_calm();
		run_and_look(NEWS_SKEW_MS);
		vehicles_rest();
		run_and_look(VEHICLES_REST_MS);
	}
	news_judge();
}

/* As long as more comes each minute. */
static void catch_up(void)
{
	size_t left = platforms_await(), before;

	for (before = left + 1; left > 0 && left < before; left = platforms_await()) {
		before = left;
		world_run(world_slow(60000));
	}
}

static void live(const struct shape *shape, int64_t minutes)
{
	for (size_t i = 0; i < nodes_count(); i++)
		node_start(node_at(i));
	faults_begin(shape->fault_pace_ms, shape->broker.retells);
	broker_lose_events(shape->lost_permille);
	ready_begin();
	for (int64_t ms = 0; ms < minutes * 60000; ms += LOOK_MS) {
		world_run(world_slow(LOOK_MS));
		record_look(false);
		twin_look();
		news_look();
		owed_look();
		broker_look();
		memo_look();
	}
	world_note("calm");
	faults_end();
	apps_calm();
	if (shape->lost_permille > 0)
		end_losses(shape);
	vehicles_calm();
	access_calm();
	platforms_calm();
	twin_calm();
	world_run(world_slow(CALM_MS));
	catch_up();
	owed_look();
	news_judge();
	apps_judge();
	access_judge();
	platforms_judge();
	twin_judge();
	record_judge();
}

/* What not every run has is decided by what its seed can be divided by. */
static void begin_features(uint64_t seed)
{
	if (seed % 3 == 0) {
		access_begin();
		memo_expect(MEMO_GRANTS);
	}
	if (seed % 8 == 1) {
		platforms_begin();
		memo_expect(MEMO_WEBHOOKS);
	}
	if (seed % 10 == 7) {
		twin_begin();
		memo_expect(MEMO_TWIN);
	}
}

static int64_t slowness(uint64_t seed, bool is_slow)
{
	return is_slow ? 20 + (int64_t)(seed % 181) : 1;
}

/* In a process of its own. */
static int run(uint64_t seed, bool is_slow, const struct order *order, FILE *trace)
{
	char name[64];

	snprintf(name, sizeof(name), "sim_%d", (int)getpid());
	json_object_seed(1);
	chance_seed(seed);
	struct shape shape = shape_of();
	shape.lost_permille = seed % 4 == 3 ? (unsigned)chance_between(10, 200) : 0;
	log_configure(order->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
	world_begin(trace, slowness(seed, is_slow));
	world_note(
		"seed %" PRIu64 ": %zu nodes, %zu vehicles, %zu apps", seed, shape.nodes, shape.vehicles, shape.apps);
	postgres_begin(&postgres, name, seed);
	database_begin(seed, shape.stepwise_permille);
	record_begin(shape.broker.late_ms + 1500);
	news_begin(shape.broker.late_ms + 1500);
	broker_begin(&shape.broker);
	nodes_begin(shape.nodes, postgres_url());
	vehicles_begin(shape.vehicles, seed % 2 == 1);
	begin_features(seed);
	apps_begin(shape.apps, shape.app_pace_ms);
	make_vehicles();
	live(&shape, order->minutes);
	if (trace)
		fclose(trace);
	printf("  seed %-12" PRIu64 " %016" PRIx64 "  %zu nodes, %zu vehicles, %zu apps, %" PRId64 " min; ", seed,
		world_digest(), shape.nodes, shape.vehicles, shape.apps, world_ms() / 60000);
	record_write(stdout);
	news_write(stdout);
	owed_report(stdout);
	printf("\n");
	fflush(stdout);
	postgres_end();
	return world_failures() > 0;
}

static void drop(pid_t pid)
{
	char sql[96];
	snprintf(sql, sizeof(sql), "drop database if exists sim_%d (force)", (int)pid);
	test_postgres_ask(&postgres, sql);
}

static struct {
	pid_t pid; /* 0: free */
	uint64_t seed;
	bool is_slow;
} places[JOBS_MAX];
static size_t running;
static unsigned turns;
static unsigned good, bad;
static int64_t lived_ms; /* virtually, by all that are over */

static void begin_run(uint64_t seed, const struct order *order, const char *trace)
{
	size_t i = 0;

	while (places[i].pid)
		i++;
	places[i].seed = seed;
	places[i].is_slow = order->is_slow || (order->takes_turns && turns % 2 == 1);
	places[i].pid = fork();
	running++;
	if (places[i].pid != 0)
		return;
	FILE *out = trace ? fopen(trace, "we") : NULL;
	alarm(RUN_SECONDS_MAX);
	_exit(run(seed, places[i].is_slow, order, out));
}

static void judge_run(uint64_t seed, bool is_slow, int status, const struct order *order)
{
	bool held = WIFEXITED(status) && WEXITSTATUS(status) == 0;

	good += held;
	bad += !held;
	lived_ms += (order->minutes * 60000 + CALM_MS) * slowness(seed, is_slow);
	if (WIFSIGNALED(status))
		printf("  seed %" PRIu64 " ended by signal %d\n", seed, WTERMSIG(status));
	if (!held)
		printf("  seed %" PRIu64 " FAILED; again: ./dev sim --seed %" PRIu64 " --length %" PRId64
		       "%s --trace FILE\n",
			seed, seed, order->minutes, is_slow ? " --slow" : "");
	fflush(stdout);
}

/* One that is over, or all. */
static void await_runs(const struct order *order, size_t left)
{
	int status;

	while (running > left) {
		pid_t pid = waitpid(-1, &status, 0);
		for (size_t i = 0; i < JOBS_MAX; i++) {
			if (pid <= 0 || places[i].pid != pid)
				continue;
			places[i].pid = 0;
			running--;
			drop(pid);
			judge_run(places[i].seed, places[i].is_slow, status, order);
		}
	}
}

static bool are_equal(const char *one, const char *other)
{
	FILE *a = fopen(one, "re"), *b = fopen(other, "re");
	int x = 0, y = 0;

	while (a && b && x == y && x != EOF) {
		x = getc(a);
		y = getc(b);
	}
	bool equal = a && b && x == y;
	if (a)
		fclose(a);
	if (b)
		fclose(b);
	return equal;
}

/* A seed replays exactly: two runs of it leave the same trace, byte by byte. */
static void replay(uint64_t seed, const struct order *order)
{
	char one[64], other[64];

	snprintf(one, sizeof(one), "%s/one", postgres.dir);
	snprintf(other, sizeof(other), "%s/other", postgres.dir);
	begin_run(seed, order, one);
	memo_use(!order->asks_all);
	begin_run(seed, order, other);
	memo_use(true);
	await_runs(order, 0);
	if (!are_equal(one, other)) {
		printf("  seed %" PRIu64 " does not replay: its two traces differ\n", seed);
		bad++;
	}
	remove(one);
	remove(other);
}

static int64_t now_s(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static uint64_t new_seed(void)
{
	static uint64_t last;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	uint64_t seed = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	last = seed > last ? seed : last + 1;
	return last;
}

static void read_order(int argc, char **argv, struct order *order)
{
	static const struct option options[] = { { "seed", 1, NULL, 's' }, { "seeds", 1, NULL, 's' },
		{ "seconds", 1, NULL, 't' }, { "minutes", 1, NULL, 'm' }, { "trace", 1, NULL, 'T' },
		{ "length", 1, NULL, 'l' }, { "counts", 1, NULL, 'c' }, { "jobs", 1, NULL, 'j' },
		{ "twice", 0, NULL, '2' }, { "no-memo", 0, NULL, 'n' }, { "slow", 0, NULL, 'S' },
		{ "turns", 0, NULL, 'u' }, { "verbose", 0, NULL, 'v' }, { 0 } };
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 's')
			for (char *at = strtok(optarg, ","); at && order->count < SEEDS_MAX; at = strtok(NULL, ","))
				order->seeds[order->count++] = strtoull(at, NULL, 10);
		else if (c == 't')
			order->seconds = atoll(optarg);
		else if (c == 'm')
			order->seconds = 60 * atoll(optarg);
		else if (c == 'T')
			order->trace = optarg;
		else if (c == 'l')
			order->minutes = atoll(optarg);
		else if (c == 'j')
			order->jobs = (size_t)atoll(optarg);
		else if (c == 'c')
			order->counts = optarg;
		else if (c == 'n')
			order->asks_all = true;
		else if (c == 'S')
			order->is_slow = true;
		else if (c == 'u')
			order->takes_turns = true;
		else if (c == '2')
			order->twice = true;
		else if (c == 'v')
			order->verbose = true;
		else
			exit(2);
	}
}

static void write_counts(const char *file)
{
	FILE *out = fopen(file, "we");
	if (!out || fprintf(out, "%u %u\n", good, bad) < 0 || fclose(out) != 0)
		perror(file);
}

int main(int argc, char **argv)
{
	struct order order = { .minutes = 10, .jobs = 2 };

	read_order(argc, argv, &order);
	log_configure(LOG_LEVEL_WARN, LOG_FORMAT_LOGFMT);
	if (order.jobs < 1 || order.jobs > JOBS_MAX || order.minutes < 1)
		exit(2);
	test_postgres_start(&postgres);
	postgres_make_template(&postgres);
	int64_t began_s = now_s();
	if (order.count == 0 && order.seconds == 0)
		order.seconds = 60;
	for (size_t i = 0; i < order.count; i++, turns++) {
		if (order.twice && i < (order.takes_turns ? 2u : 1u)) {
			replay(order.seeds[i], &order);
			continue;
		}
		await_runs(&order, order.jobs - 1);
		begin_run(order.seeds[i], &order, order.trace);
	}
	for (int64_t new_s = now_s(); now_s() - new_s < order.seconds; turns++) {
		await_runs(&order, order.jobs - 1);
		begin_run(new_seed(), &order, order.trace);
	}
	await_runs(&order, 0);
	printf("  %u seeds held, %u did not; %" PRId64 " virtual minutes in %" PRId64 " s\n", good, bad,
		lived_ms / 60000, now_s() - began_s);
	if (order.counts)
		write_counts(order.counts);
	test_postgres_end(&postgres);
	return bad > 0;
}
