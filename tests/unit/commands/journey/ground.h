/* ground.h - what the checks of a command's journey stand on: a real PostgreSQL, and one worker with its flows; the broker only writes
 * down. */
#ifndef KEYFOB_TESTS_UNIT_COMMANDS_JOURNEY_GROUND_H
#define KEYFOB_TESTS_UNIT_COMMANDS_JOURNEY_GROUND_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/loop.h"
#include "base/receipt.h"
#include "commands/accept.h"
#include "commands/deadline.h"
#include "commands/dispatch.h"
#include "commands/ports.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "tests/servers.h"

#define VEHICLE "WKF00000000000001"

extern struct test_postgres postgres;
extern struct worker {
	struct loop *loop;
	struct db *writer, *reader;
	struct dispatch *dispatch;
	struct accept_flow *accept;
	struct cancel_flow *cancel;
	struct answer_flow *answer;
	struct deadline *deadline;
	struct batch *batch;
	struct command_ports ports;
	bool broker_is_up, link_is_full;
	size_t turned_away;
	int mid;
	struct {
		char topic[128], payload[1024];
		int mid;
	} published[64];
	size_t published_count, disproved;
} w;

void ground_open(void);
void ground_close(void);
/* Cases with a worker, and a vehicle that is there, alice's; vera may look. A PUBACK waits for its answer as always, or for ten seconds. */
void begin(void);
void begin_patient(void);
TCase *case_new(Suite *, const char *name, void (*set_up)(void));

/* waiting */
extern bool done; /* what was asked last has been answered, with this: */
extern const struct fault *got;
bool is_done(void);
void pump_until(bool (*reached)(void));
void let_patience_end(void); /* longer than a PUBACK waits for an answer */
bool is_idle(void);
bool nothing_in_hand(void);
bool one_published(void);
bool two_published(void);
bool three_published(void);
bool one_is_over(void); /* expired, or timed out */

/* the database */
const char *ask(const char *sql);
const char *statuses(void);
const char *steps(void);		 /* of all timelines */
const char *events(void);		 /* the statuses of which was told */
void come_back_in_another_session(void); /* the vehicle; what is for it is offered from here on */

/* a command */
struct accept draft(void);
const struct fault *accept_now(struct accept *);
void send_out(struct accept *); /* accepted, and the first that is published */
void puback(int reason);	/* of what was published last; waits until it is recorded */

/* the vehicle's word; the first two wait until it is settled */
void answer_on(const char *topic, const char *payload);
void answer(const char *id, const char *rest);
void receive_answer(const char *id, struct receipt *); /* it is done */
/* The last thing that the vehicle was told. */
void assert_told(const char *topic_end, const char *part);

/* The files of checks. */
void add_sending(Suite *);
void add_claims(Suite *);
void add_pubacks(Suite *);
void add_answers(Suite *);
void add_deadlines(Suite *);

#endif
