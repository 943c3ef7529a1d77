/* wake_internal.h - the flow's inside, for this room's files. */
#ifndef KEYFOB_NOTIFIER_WAKE_WAKE_INTERNAL_H
#define KEYFOB_NOTIFIER_WAKE_WAKE_INTERNAL_H

#include "base/receipt.h"
#include "notifier/wake/wake.h"
#include "sql/db.h"

#define PROVIDERS_MAX 8

enum wake_stage { WAKE_STEP, WAKE_OUTCOME, WAKE_RECEIPT, WAKE_SETTLE };

struct wake {
	struct loop *loop;
	struct wake_options options;
	struct batch *batch;
	struct batch_stage stages[WAKE_STAGES];

	/* where this worker submits */
	struct sms_provider *providers[PROVIDERS_MAX];
	bool gives_receipts[PROVIDERS_MAX]; /* which of them give some */
	size_t open_providers;
	bool submits; /* it has providers, and none is being closed */
	bool closing, stopped;
	struct loop_timer look;
	struct receipt looking;	    /* open while a look is under way */
	bool more, again;	    /* the look found as many as it asked for; something became due meanwhile */
	bool was_enabled, resuming; /* the last look resumes what was refused for it */
	bool missed_none;	    /* what waited before this node had providers was found */
	struct list slots;	    /* in hand */
	size_t slot_count;
	struct list unrecorded; /* slots whose outcome waits for the database */
	struct loop_timer record;

	struct list receipts; /* in hand */
	size_t receipt_count;
};

/* The policy's parameters, as the functions of 0002_wake.sql take them. */
void wake_add_policy(const struct wake *, struct db_unit *);
/* A row for each status that was told: counted. */
void wake_count(const struct db_unit *, size_t statement, int column);
/* Of a stage that records what providers told: its statement brings such rows, and says what is due. */
void wake_read_told(
	struct batch_stage *, struct batch_cut *, struct db_unit *, struct batch_item **, size_t count, size_t first);

/* slot.c */
void slots_init(struct wake *);
void slots_look(struct wake *); /* soon */
void slots_stop(struct wake *);

/* receipt.c */
void receipts_init(struct wake *);
void receipts_stop(struct wake *);
void receipts_take(void *owner, struct sms_news *); /* of a provider of this worker */

#endif
