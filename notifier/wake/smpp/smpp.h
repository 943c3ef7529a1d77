/* smpp.h - the provider that hands SMS to an SMS centre by SMPP 3.4.
 *
 * It holds one transceiver session from its making to its close, and comes back by itself when that is lost (backoff
 * with jitter, 100 ms to 5 s; 1 s to 60 s after a refused bind). What is submitted goes out in order, a bounded number of
 * them unanswered at a time; the rest waits in a bounded queue. How each ends is in docs/smpp.md. */
#ifndef KEYFOB_NOTIFIER_WAKE_SMPP_SMPP_H
#define KEYFOB_NOTIFIER_WAKE_SMPP_SMPP_H

#include <stdbool.h>

#include "notifier/wake/provider.h"

struct loop;

/* Copied. Zero is the default where one is named. */
struct smpp_options {
	const char *url;      /* smpp://SYSTEM_ID@HOST:PORT, or smpps:// for TLS; see smpp_url_is_valid() */
	const char *password; /* NULL: none; at most 8 octets (SMPP 3.4 §5.2.2) */
	const char *ca;	      /* smpps: a file of certificates (PEM); NULL: the system's */
	const char *source;   /* +DIGITS, DIGITS or a name of at most 20 characters */
	bool registered_delivery;
	int window;	 /* unanswered submissions; 10 */
	int queue_max;	 /* submissions that wait; past them SMS_FAILED "QUEUE_FULL"; 1000 */
	int patience_ms; /* how long a submission may take; 9500, and no more: a provider has 10 s */
	int answer_ms; /* how long a receipt may take to be on record, before the centre hears to send it again; 5000 */
	int receipts_max; /* receipts on their way to the record; 1000 */
	int enquire_ms;	  /* silence before enquire_link, and again before the session counts as lost; 15000 */
};

/* `receipts` is borrowed until the close. The table is freed by its close(). */
struct sms_provider *smpp_new(struct loop *, const struct smpp_options *, const struct sms_receipts *);

/* smpp[s]://USER@HOST:PORT, USER percent-decoded at most 15 octets, without a colon: a password has no place there. */
bool smpp_url_is_valid(const char *url);

#endif
