/* ground.h - what the checks of the link stand on: a real PostgreSQL, the link to it, and who hears of its units. */
#ifndef KEYFOB_TESTS_UNIT_SQL_DB_GROUND_H
#define KEYFOB_TESTS_UNIT_SQL_DB_GROUND_H

#include <check.h>
#include <stddef.h>
#include <uv.h>

#include "base/loop.h"
#include "sql/db.h"
#include "tests/servers.h"

#define SCHEMA                                                                                                         \
	"create table if not exists things (name text primary key);"                                                   \
	"create table if not exists children (name text references things deferrable initially deferred);"             \
	"truncate things, children"

/* With a parameter each but SELF. WAIT waits for what hold_lock() holds when it is "42". */
extern const struct db_statement ADD, COUNT, DIVIDE, WAIT, SELF, SETTING;

/* What a unit's caller heard. */
struct heard {
	int times;
	const struct fault *fault;
	char sqlstate[6], message[64], value[64]; /* the last statement's first value */
	size_t rows, affected;
	size_t statement; /* which is the last */
	int order;
};

extern struct test_postgres pg;
extern struct loop *loop;
extern struct db *db;
extern int ups, downs, silences, closes;

/* The server, for all checks. */
void ground_open(void);
void ground_close(void);
TCase *case_new(Suite *, const char *name);

/* One turn of the loop after the other, each waiting for an event; what never comes, Check's own time-out ends. */
#define await(condition)                                                                                               \
	while (!(condition))                                                                                           \
	uv_run(loop_uv(loop), UV_RUN_ONCE)

/* Between two questions to a server, whose answers are no events of the loop. */
void turn_and_nap(void);

/* The link. */
struct db *link_to(const char *url, int commit_timeout_ms, size_t queue_max);
void connect_to(const char *url, int commit_timeout_ms);
void on_up(void *owner, struct db *);
void on_down(void *owner, struct db *);
void on_closed(void *owner);

/* Its units. */
void on_heard(struct db_unit *, void *heard, const struct fault *);
/* A unit of one statement with one parameter, on its way. */
void submit(struct heard *, const struct db_statement *, const char *param);
struct heard ask(const struct db_statement *, const char *param);

/* Another session that holds what WAIT waits for, until it is dropped. */
void hold_lock(void);
void release_lock(void);
void close_locker(void);

/* The files of checks. */
void add_units(Suite *);
void add_refusals(Suite *);
void add_waiting(Suite *);
void add_ways(Suite *);

#endif
