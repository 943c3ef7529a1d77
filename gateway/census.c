/* census.c - a row about this node, and the next events counted, in a transaction each. */
#include "gateway/census.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/json.h"
#include "base/list.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "sql/db.h"
#include "sql/migrate.h"
#include "sql/statements.h"

#define FIRST_MS 1000 /* the broker is there by then, mostly */
#define TICK_MS 500   /* events are counted; of a longer time at once is felt by others */
#define REPORT_TICKS 10
#define QUEUE_MAX 8 /* units; a database that does not answer is told no more */

struct census {
	struct loop *loop;
	struct db *db; /* NULL: it has left */
	struct census_options options;
	struct loop_timer timer;
	unsigned ticks;
	int64_t started_us;
	/* as of the last report, for what happens in a time */
	int64_t at_us, cpu_us, accepted;
	bool draining;
};

static void on_tick(struct loop_timer *timer);
static void on_up(void *owner, struct db *db);
static void on_down(void *owner, struct db *db);

static int64_t cpu_us(void)
{
	struct rusage used;

	getrusage(RUSAGE_SELF, &used);
	return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * INT64_C(1000000) + used.ru_utime.tv_usec +
	       used.ru_stime.tv_usec;
}

/* 0: the kernel does not say. */
static int64_t memory_bytes(void)
{
	long long pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	if (file && fscanf(file, "%*d %lld", &pages) != 1)
		pages = 0;
	if (file)
		fclose(file);
	return pages * sysconf(_SC_PAGESIZE);
}

struct census *census_new(struct loop *loop, const struct census_options *options)
{
	struct census *c = memory_new(sizeof(*c));

	c->loop = loop;
	c->options = *options;
	c->started_us = c->at_us = loop_monotonic_us(loop);
	loop_timer_init(loop, &c->timer, on_tick);
	c->db = db_new(loop, &(struct db_options){ .url = options->database_url,
				     .queue_max = QUEUE_MAX,
				     .schema = migrate_version(),
				     .owner = c,
				     .on_up = on_up,
				     .on_down = on_down });
	return c;
}

void census_start(struct census *c)
{
	db_start(c->db);
}

static void on_up(void *owner, struct db *db)
{
	struct census *c = owner;

	(void)db;
	c->ticks = 0;
	if (!c->draining)
		loop_timer_start(&c->timer, FIRST_MS);
}

static void on_down(void *owner, struct db *db)
{
	struct census *c = owner;

	(void)db;
	loop_timer_stop(&c->timer);
}

/* What was done since the last report is told for a minute, or in hundredths of one processor. */
static char *load_now(struct census *c)
{
	int64_t now_us = loop_monotonic_us(c->loop), cpu = cpu_us(), accepted = metric_value(METRIC_COMMANDS_ACCEPTED);
	double seconds = (double)(now_us - c->at_us) / 1e6;
	json_auto_t *load = memory_need(json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "connections",
		(json_int_t)metric_value(METRIC_CONNECTIONS), "websockets", (json_int_t)metric_value(METRIC_WEBSOCKETS),
		"subscriptions", (json_int_t)metric_value(METRIC_HUB_SUBSCRIBERS), "commands_per_minute",
		(json_int_t)((double)(accepted - c->accepted) * 60 / seconds), "cpu_percent",
		(json_int_t)((double)(cpu - c->cpu_us) / 1e4 / seconds), "memory_bytes", (json_int_t)memory_bytes()));

	c->at_us = now_us;
	c->cpu_us = cpu;
	c->accepted = accepted;
	return memory_need(json_dumps(load, JSON_COMPACT));
}

static void on_done(struct db_unit *unit, void *context, const struct fault *fault)
{
	(void)context;
	if (fault == &FAULT_STATEMENT)
		log_warn("census", "the database refused it", LOG_TEXT("sqlstate", db_unit_sqlstate(unit)),
			LOG_TEXT("detail", db_unit_message(unit)));
}

static void report(struct census *c)
{
	json_auto_t *details = NULL;
	bool ready = c->options.is_ready(c->options.owner, &details);
	char *checks = memory_need(json_dumps(details, JSON_COMPACT)), *load = load_now(c);
	struct db_unit *unit = db_unit_new(c->db, on_done, c);

	db_unit_add(unit, &SQL_node_report);
	db_param_text(unit, c->options.node);
	db_param_text(unit, KEYFOB_VERSION);
	db_param_int(unit, (loop_monotonic_us(c->loop) - c->started_us) / 1000000);
	db_param_bool(unit, ready);
	db_param_bool(unit, c->draining);
	db_param_text(unit, checks);
	db_param_text(unit, load);
	db_unit_submit(unit);
	free(checks);
	free(load);
}

/* In a transaction of its own. */
static void ask(struct census *c, const struct db_statement *statement)
{
	struct db_unit *unit = db_unit_new(c->db, on_done, c);
	db_unit_add(unit, statement);
	db_unit_submit(unit);
}

static void on_tick(struct loop_timer *timer)
{
	struct census *c = container_of(timer, struct census, timer);

	if (c->ticks++ % REPORT_TICKS == 0)
		report(c);
	ask(c, &SQL_events_summarize);
	ask(c, &SQL_stats_count);
	loop_timer_start(timer, TICK_MS);
}

static void on_closed(void *owner)
{
	(void)owner;
}

void census_leave(struct census *c)
{
	c->draining = true;
	loop_timer_stop(&c->timer);
	if (db_is_up(c->db))
		report(c);
	db_close(c->db, on_closed);
	c->db = NULL;
}
