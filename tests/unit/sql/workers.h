/* workers.h - two workers with the flows of the product, on one loop and a real PostgreSQL, and what stops them where it hurts.
 *
 * A transaction is stopped at its COMMIT, when it has its locks and has written all: a deferred trigger asks for an advisory lock that the
 * test holds. What waits is seen in pg_locks. */
#ifndef KEYFOB_TESTS_UNIT_SQL_WORKERS_H
#define KEYFOB_TESTS_UNIT_SQL_WORKERS_H

#include <check.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"
#include "base/receipt.h"
#include "commands/accept.h"
#include "commands/ports.h"
#include "notifier/hub.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "tests/servers.h"

#define WORKERS 2
#define CAR "CAR1"

extern struct test_postgres postgres;
extern PGconn *stopper; /* holds the advisory lock while commits are stopped */
extern struct loop *loop;
extern struct worker {
	char name[8];
	struct db *writer, *reader;
	struct dispatch *dispatch;
	struct accept_flow *accept;
	struct reachability *reachability;
	struct hub *hub;
	struct batch *batch;
	struct batch_stage raise; /* raises heads, in the order of the round */
	struct command_ports ports;
	size_t published, forwarded, troubles; /* troubles: how often it began and ended */
} workers[WORKERS];
extern const struct batch_item *bad_word; /* what says it is known to a trigger by kf.bad; NULL: there is none */

/* The server, for all checks. */
void workers_open(void);
void workers_close(void);
/* A case whose checks have the workers, and the vehicles CAR1, CAR2 and CAR3. */
TCase *case_new(Suite *, const char *name);

/* waiting: what does not happen in 20 s ends the program */
void pump_until(bool (*reached)(void));
void let_pass(int64_t since_ms, int64_t ms); /* so long after then, by the loop's clock */
bool all_quiet(void);

/* the database */
const char *ask(const char *sql);
/* Who has a table locked may be ours, and wait for a turn of the loop (a link that connects anew prepares its statements, and has what
 * they read locked until their answers are read): so this waits for a moment alone, and turns. */
void change_tables(const char *sql);
void stopper_run(const char *sql);
void hold(const char *sql); /* begins a transaction of the stopper's with it, until it runs its end */
void stop_commits(void);
void let_commit(void);
void wait_for_a_commit(void); /* one transaction has written all, and hangs in its COMMIT */
void wait_for_a_lock(void);   /* another waits for what the first has locked */

/* A unit of the product's own links. Of its first statement's rows so many columns are written down, a row a line. */
struct db_unit *question_new(struct db *, int columns);
void submit_question(struct db_unit *); /* one at a time */
bool is_answered(void);
const char *answer(void);
const char *answer_to(struct db_unit *); /* submits it, and waits */
const char *ask_link(struct db *, const struct db_statement *);
/* Whatever had come to a worker's loop by now has been heard. */
void let_everything_be_heard(void);

/* commands: `faults` as they come back, `done` of them */
extern size_t done;
extern const struct fault *faults[3];
void submit(size_t worker, struct accept *, const char *vehicle, const char *key);
void wait_for_done(size_t count);
bool one_published(void);
const char *statuses(void);

/* A vehicle subscribes to its requests: the broker's word for it comes to a worker. */
void hear_subscribed(size_t worker, const char *vehicle_id, struct receipt *);
bool is_settled(void); /* the broker is told that it has come */

/* An app that watches CAR1: how far it has come; it misses nothing on the way. */
extern struct app {
	struct hub_subscriber subscriber;
	struct worker *worker;
	bool ready;
	int64_t seq;
} app;
void watch(size_t worker);
bool is_ready(void);
void wait_for_the_head(void); /* it has seen all */

/* The files of checks: of rules_test.c, and of batch_test.c. */
void add_seeing(Suite *);
void add_order(Suite *);
void add_partitions(Suite *);
void add_telling(Suite *);
void add_trouble(Suite *);
void add_turns(Suite *);

#endif
