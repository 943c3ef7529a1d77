/* ground.h - what the checks of the operations stand on: a PostgreSQL, a worker's flows as far as they are used, and callers.
 *
 * The operations are called as the transports call them, and what they then do is looked for in the database. */
#ifndef KEYFOB_TESTS_UNIT_GATEWAY_OPERATIONS_GROUND_H
#define KEYFOB_TESTS_UNIT_GATEWAY_OPERATIONS_GROUND_H

#include <check.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/json.h"
#include "base/loop.h"
#include "commands/ports.h"
#include "gateway/api_internal.h"
#include "gateway/catalog.h"
#include "gateway/config.h"
#include "notifier/hub.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "tests/links.h"
#include "tests/servers.h"

#define WAIT_NS 8000000000ull
#define SPREAD_NS 30000000000ull /* many transactions, one after the other */
#define FIRST_COMMAND "019a0000-0000-7000-8000-000000000001"
#define SCOPES_USER (SCOPE_VEHICLES_READ | SCOPE_COMMANDS_WRITE)

extern struct test_postgres postgres;
extern struct worker {
	struct loop *loop;
	struct config config;
	struct db *writer, *reader;
	struct command_ports ports;
	struct dispatch *dispatch;
	struct accept_flow *accept;
	struct cancel_flow *cancel;
	struct changes *changes;
	struct notices *notices;
	struct shadow *shadow;
	struct revocation *revocation;
	struct hub *hub;
	struct batch *batch;
	struct batch_stage meanwhile;
	void (*on_meanwhile)(void); /* what happens once, behind a commit that nobody here has heard of yet */
	struct api api;
} w;
/* CAR1 is in fleet F1 and has an owner, a driver, a viewer, and somebody whose time is over; CAR2 is in no fleet, CAR3 in F2.
 * All began an hour ago; half an hour ago the driver sent a command that waits. */
extern const char seed[];
extern const char more_commands[]; /* SQL: four of olga's to CAR1, c2 to c5, newer ones */
const char *three_commands(
	const char *who); /* SQL: in place of all others, one that each role suffices for. Valid until the next call */
/* The call that was made last, with its reply. */
extern struct api_call *call;
extern json_t *reply;
extern size_t open_calls;
/* What was sent to another worker's inbox last. */
extern char forwarded_to[64], forwarded[1024];

void ground_open(void);
void ground_close(void);
/* A case whose checks have a worker and the seed. */
TCase *case_new(Suite *, const char *name);

/* waiting */
void pump_until(bool (*reached)(void));
bool both_up(void);
bool both_down(void);
bool is_idle(void);
bool is_answered(void);

/* asking */
const char *ask(const char *sql); /* valid until the next question */
/* The caller frees it. */
struct api_call *start(const struct api_operation *, const char *subject, unsigned scopes, const char *json);
struct api_call *start_with(
	const struct api_operation *, const char *subject, unsigned scopes, json_t *params); /* eats them */
/* "ok", or the problem's name; `call` and `reply` are the last one's. */
const char *verdict_of(const struct api_call *);
const char *call_with(const struct api_operation *, const char *subject, unsigned scopes, const char *json);
const char *try_as(const char *subject, const struct api_operation *, const char *json);
void forget_call(void);
char *problem_text(void); /* of the last call; "fine": there is none. The caller frees it */
#define assert_ok(subject, operation, json) ck_assert_str_eq(try_as(subject, &(operation), json), "ok")
#define assert_refused(subject, operation, json, name) ck_assert_str_eq(try_as(subject, &(operation), json), name)
/* JSON of a pattern: single quotes for double ones, and the seeded command's id for @. Valid until the next one. */
const char *params_of(const char *pattern);

/* "doors.unlock canceled CANCELED, …": the commands of somebody (NULL: of all) by name, with status and reason. Valid until the next question */
const char *statuses_of(const char *who);
bool otto_has_nothing_left(void); /* of three_commands() */

/* the reply */
size_t items(void);
const char *each(const char *member); /* of every item, joined by spaces; valid until the next call */
const char *at(const char *member);

/* the cases */
void add_matrix(Suite *);
void add_reads(Suite *);
void add_grants(Suite *);
void add_fleets(Suite *);
void add_vehicles(Suite *);
void add_erasures(Suite *);
void add_twin(Suite *);
void add_waits(Suite *);
void add_failures(Suite *);

#endif
