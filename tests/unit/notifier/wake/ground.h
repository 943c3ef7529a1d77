/* ground.h - what the checks of waking stand on: a real PostgreSQL, and one worker with its flows; the broker and the SMS providers are
 * scripted. Time is the database's: where a rule waits, the test moves the row. */
#ifndef KEYFOB_TESTS_UNIT_NOTIFIER_WAKE_GROUND_H
#define KEYFOB_TESTS_UNIT_NOTIFIER_WAKE_GROUND_H

#include <check.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"
#include "commands/dispatch.h"
#include "commands/ports.h"
#include "notifier/wake/wake.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "tests/servers.h"

#define VEHICLE "WKF00000000000001"
#define MSISDN "+4915550000001"
#define SMS_MAX 32
#define NOT_PUBACKED (-1)

extern struct test_postgres postgres;

/* A provider that writes down what it is given, and answers when and as the test says. */
struct scripted {
	struct sms_provider table;
	struct sms_submission *submissions[SMS_MAX];
	struct {
		char msisdn[20], text[64], id[40];
		int validity_s;
	} sms[SMS_MAX];
	size_t count;
	struct loop_soon closing;
	void (*on_closed)(void *owner);
	void *owner;
	size_t closed_after; /* how many others were closed before it */
};

extern struct worker {
	struct loop *loop;
	struct db *writer, *reader;
	struct dispatch *dispatch;
	struct accept_flow *accept;
	struct wake *wake;
	struct batch *batch;
	struct batch_stage touch; /* brings a vehicle into a transaction, as any event does */
	struct command_ports ports;
	struct wake_ports wake_ports;
	struct wake_options options;
	atomic_bool enabled;
	struct batch_item disproof;
	bool broker_is_up, hears_nobody, disproves, freezes;
	int puback; /* what the broker answers to a publish at once; NOT_PUBACKED: nothing */
	int mid;
	int64_t lost_ms, back_ms; /* lost_ms 0: never */
	unsigned rests;
	size_t published, closed_providers;
	char last_published[40];
	struct scripted first, second;
	struct loop_soon answer;
} w;

/* The server, for all checks. */
void ground_open(void);
void ground_close(void);
/* A case whose checks have a worker, and a vehicle that went an hour ago. */
TCase *case_new(Suite *, const char *name);
void begin(void); /* the flow, with what the test has made of w.options */
void start(void); /* the providers */

/* waiting */
void pump_until(bool (*reached)(void));
bool is_quiet(void);
void until_submitted(size_t first, size_t second); /* to either provider so many, and no more */
void until_answer(const char *sql, const char *answer);

/* the database */
const char *ask(const char *sql);
const char *phase(void);
const char *statuses(void);
void pass(const char *interval); /* the rule's wait is over */

/* commands, and the vehicle */
void send_as(int ttl_s, bool wake, const char *redelivery);
void send_command(void);
void touch(void); /* a transaction that concerns the vehicle, as after a change of its reachability */
void comes(void);
void goes(void);

/* what a provider says of the last SMS that it was given, and when it comes to a receipt */
void tell(struct scripted *, enum sms_verdict, const char *message_id, const char *reason);
const struct fault *receive(const char *message_id, bool delivered, const char *reason);

/* The files of checks. */
void add_waking(Suite *);
void add_probing(Suite *);
void add_trying(Suite *);
void add_slots(Suite *);

#endif
