/* ground.h - what the checks of the hub stand on: two workers that have nothing but their hub and a stage that makes events, a real
 * PostgreSQL, and apps that note what they see. */
#ifndef KEYFOB_TESTS_UNIT_NOTIFIER_HUB_GROUND_H
#define KEYFOB_TESTS_UNIT_NOTIFIER_HUB_GROUND_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"
#include "notifier/hub.h"
#include "sql/batch.h"
#include "tests/servers.h"

#define WORKERS 2
#define SEEN_MAX 4096

extern struct test_postgres postgres;
extern struct loop *loop;
extern struct worker {
	char name[8];
	struct db *writer, *reader;
	struct hub *hub;
	struct batch *batch;
	struct batch_stage act;
} workers[WORKERS];
extern bool inbox_is_cut; /* nothing that is forwarded arrives */

/* An app: what it saw, a line each: "CAR1:3:type", "F1::access.changed" or "end:fault". */
extern struct app {
	struct hub_subscriber subscriber;
	struct worker *worker;
	char seen[SEEN_MAX];
	bool ready, ended, recovered;
	bool counts;	     /* its events are counted, and must come in order */
	int64_t last, given; /* the last event's seq; how many since it had room */
	int64_t room;	     /* how many it takes before it has none; 0: any number */
	int64_t vehicles;
} apps[8];

/* The server, for all checks. */
void ground_open(void);
void ground_close(void);
/* A case whose checks have two workers. CAR1 and CAR2 are in F1, CAR3 in F2. olga owns CAR1, dan drives it; max manages F1, otto is its
 * operator. */
TCase *case_new(Suite *, const char *name);

const char *ask(const char *sql);
void pump_until(bool (*reached)(void));
bool all_quiet(void);

/* watching, as app `n` on a worker: live, or what came after a number, which it takes as it has room */
struct app *watch(size_t n, size_t worker, const char *subject, const char *id);
struct app *resume(size_t n, const char *subject, const char *epoch, int64_t after, int64_t room);
void begin_to_watch(size_t n, size_t worker, const char *subject, const char *id); /* waits for nothing */
void until_ended(struct app *);
void until_full(struct app *);
void until_seq(struct app *, int64_t seq);
void take_all(struct app *); /* it has taken what it was given */
void until_seen(struct app *, const char *text);
void until_seen_as_much(struct app *, const char *text);
/* Exactly this, as soon as it may come. */
#define assert_seen(app, text)                                                                                         \
	do {                                                                                                           \
		until_seen_as_much(app, text);                                                                         \
		ck_assert_str_eq((app)->seen, text);                                                                   \
	} while (0)

/* acting: a worker writes an event, so many times in one transaction */
void write_events(
	size_t worker, const char *vehicle_id, const char *type, const char *data, const char *left, int times);
void make(size_t worker, const char *vehicle_id, const char *type, const char *data, const char *left);
void happen(size_t worker, const char *vehicle_id);

/* The files of checks. */
void add_replays(Suite *);
void add_fleets(Suite *);
void add_rights(Suite *);

#endif
