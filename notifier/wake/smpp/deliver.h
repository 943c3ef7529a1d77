/* deliver.h - what the centre delivers: receipts, passed on to their owner, and answered when they are on record.
 *
 * Until then the centre keeps the receipt, and it sends again what was answered with ESME_RX_T_APPN, or not at all. So none
 * is lost over a database that is away, or with the node. */
#ifndef KEYFOB_NOTIFIER_WAKE_SMPP_DELIVER_H
#define KEYFOB_NOTIFIER_WAKE_SMPP_DELIVER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/list.h"
#include "base/loop.h"
#include "notifier/wake/smpp/handed.h"

struct session;
struct smpp_message;
struct smpp_ticket;
struct sms_receipts;

#define DELIVER_ANSWER_MS 5000 /* after which the centre hears that it may come again */
#define DELIVER_MAX 1000       /* receipts in hand; those past them may come again */

/* Embedded in the provider, which fills in the first part. */
struct deliver {
	struct loop *loop;
	const char *provider; /* its name */
	const struct sms_receipts *receipts;
	struct loop_soon *when_decided; /* called after each receipt that was decided */
	int answer_ms, max;
	struct session *session; /* whom the answers go to; NULL once it is closed */

	struct handed handed;
	struct list waiting, passed;
	size_t count;
	struct loop_timer late;
};

/* making */
void deliver_init(struct deliver *);
void deliver_done(struct deliver *); /* when it is quiet */

/* asking */
bool deliver_is_quiet(const struct deliver *); /* no receipt is in hand */

/* changing */
/* The centre has handed out an id. */
void deliver_hand_out(struct deliver *, const char *id);
/* A deliver_sm; deliver_pass() is to follow, from the loop, if it says so. */
bool deliver_take(struct deliver *, const struct smpp_message *, struct smpp_ticket);
/* Passes on what waits. `may_be_early`: answers to submissions are due, so a receipt of an id that nobody knows yet may be
 * ahead of one of them. */
void deliver_pass(struct deliver *, bool may_be_early);

#endif
