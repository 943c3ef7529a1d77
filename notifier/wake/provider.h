/* provider.h - who hands an SMS to the network: smpp, http and sns behind one table of functions.
 *
 * The wake-up flow (notifier/wake) decides that an SMS goes out and spends its slot durably; a provider only submits, and
 * tells what became of it: first whether the network took it, later perhaps a delivery receipt. */
#ifndef KEYFOB_NOTIFIER_WAKE_PROVIDER_H
#define KEYFOB_NOTIFIER_WAKE_PROVIDER_H

#include <stdbool.h>

struct fault;

#define SMS_ID_SIZE 128

/* One message. Borrowed until the submission's `on_done`. */
struct sms {
	const char *msisdn; /* E.164 with its + */
	const char *iccid;  /* NULL: unknown */
	const char *vehicle_id;
	const char *text; /* UTF-8 */
	int validity_s;	  /* how long the network keeps trying, seconds; at least 1 */
	const char *id;	  /* the wake-up's own, a UUID: for a provider that hands it back in its callbacks */
};

enum sms_verdict {
	SMS_TAKEN,   /* the network has it */
	SMS_REFUSED, /* it will not take this one, now or later: the next provider */
	SMS_FAILED,  /* it was certainly not taken, this time: the next provider, or later again */
	SMS_UNKNOWN, /* the connection went before the answer: it counts as sent */
};

struct sms_outcome { /* borrowed until on_done returns */
	enum sms_verdict verdict;
	const char *
		message_id; /* the network's name for it, shorter than SMS_ID_SIZE; NULL: none, and no receipt will come */
	const char *
		reason; /* of what is not SMS_TAKEN, a word for apps and the log: "THROTTLED", "INVALID_ADDRESS"; no secret, no MSISDN */
};

/* Embedded in the asker, who keeps it and the message until `on_done`, which runs once, from the loop. */
struct sms_submission {
	void (*on_done)(struct sms_submission *, const struct sms_outcome *);
	void *provider_private; /* the provider's, while it is under way */
};

/* A delivery receipt, or the news that a message will not arrive. */
struct sms_receipt {
	const char *provider, *message_id;
	bool delivered;
	const char *reason; /* of what was not delivered: "EXPIRED", "UNDELIVERABLE", "REJECTED"; else NULL */
};

/* One on its way to the record. Embedded in the provider, who keeps it and its texts until `on_done`, which runs once, from the
 * loop. NULL: it is on record, or changes nothing any more; FAULT_NOT_FOUND: no such message; any other: it should come
 * again. */
struct sms_news {
	struct sms_receipt receipt;
	void (*on_done)(struct sms_news *, const struct fault *);
};

/* A provider, as the wake-up flow sees it. Made by smpp_new(), http_sms_new(), sns_new(). */
struct sms_provider {
	const char *name;    /* "smpp", "http", "sns" */
	bool gives_receipts; /* so that wake.receipt_timeout applies */
	void *self;
	/* Never calls back inside. Each submission ends by itself within 10 s. */
	void (*submit)(void *self, const struct sms *, struct sms_submission *);
	/* Ends what is under way (SMS_UNKNOWN or SMS_FAILED), closes, frees itself and the table; then on_closed. */
	void (*close)(void *self, void (*on_closed)(void *owner), void *owner);
};

/* Where receipts go; given to a provider at its making. */
struct sms_receipts {
	void *owner;
	void (*on_receipt)(void *owner, struct sms_news *);
};

#endif
