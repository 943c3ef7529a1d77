/* wake.h - waking vehicles that are away while commands wait for them: the policy, as one flow.
 *
 * docs/wake-up.md has the rules; sql/migrations/0002_wake.sql applies them under the vehicle's head's lock. Every worker
 * begins and ends absences (they are rows), and takes receipts; one worker of a node (or of all, where an
 * account allows but one session) has providers, looks for what is due, whoever began it, and submits. A slot is spent durably before the submit: an SMS whose fate nobody knows counts as sent. */
#ifndef KEYFOB_NOTIFIER_WAKE_WAKE_H
#define KEYFOB_NOTIFIER_WAKE_WAKE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"
#include "notifier/wake/provider.h"
#include "sql/batch.h"

struct db;
struct wake;

/* What the flow needs of the send link. */
struct wake_ports {
	void *owner;
	bool (*can_publish)(void *owner);
	/* The broker says when nobody is subscribed (PUBACK 0x10): so a publish tells whether the vehicle is there. */
	bool (*hears_nobody)(void *owner);
	/* How long ago the broker was lost, and came back (0: it has not). False: it never was lost. */
	bool (*was_lost)(void *owner, int64_t *lost_ms, int64_t *back_ms);
};

struct wake_options { /* borrowed for life */
	struct db *writer, *reader;
	const struct wake_ports *ports;
	const atomic_bool *enabled; /* the switch */
	const char *text;	    /* template of the SMS: {vehicle_id} */
	int64_t receipt_timeout_ms, min_interval_ms, validity_ms;
	int64_t return_delay_ms; /* that a fleet needs to return to a broker that was restarted */
	int max_attempts, daily_budget;
	const char *const *provider_names; /* in order; all nodes have the same */
	size_t provider_count;
	void *owner;
	void (*on_rested)(void *owner); /* after wake_rest() or wake_stop(), when the last provider is closed */
};

#define WAKE_STAGES 4

/* making */
struct wake *wake_new(struct loop *, const struct wake_options *);
void wake_free(struct wake *);
/* Its stages, in the order in which they run in a transaction; the last one ends every transaction and stands before the one
 * that claims. */
void wake_stages(struct wake *, struct batch_stage *ret[WAKE_STAGES]);
void wake_attach(struct wake *, struct batch *);
/* Where this worker's providers tell their receipts. */
struct sms_receipts wake_receipts(struct wake *);

/* changing */
/* This worker submits: one provider for each name. Eats them (not the array). */
void wake_start(struct wake *, struct sms_provider *const *providers);
/* This worker submits no more, until wake_start() comes again: its providers are closed, one after the other. */
void wake_rest(struct wake *);
/* As wake_rest(), for good; what providers told is recorded. */
void wake_stop(struct wake *);
bool wake_is_quiet(const struct wake *);

/* A delivery receipt that came to this worker by another way. Embedded in the asker, who keeps it and its texts until `on_done`:
 * NULL: recorded, or nothing to change; FAULT_NOT_FOUND: no such message. */
struct wake_receipt {
	struct sms_receipt receipt;
	void (*on_done)(struct wake_receipt *, const struct fault *);

	/* the flow's */
	struct wake *wake;
	struct list node;
	struct batch_item item;
	struct loop_timer again;
	int tries;
	char vehicle_id[65], id[37];
};
void wake_receive(struct wake *, struct wake_receipt *);

#endif
