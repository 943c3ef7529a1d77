/* smsc.h - the SMS centre of sleeping vehicles: it listens for SMPP 3.4 and hands each SMS to its owner.
 *
 * For tests and for trying things out: every system_id and password may bind, as transmitter, receiver or transceiver, at
 * most SMSC_CALLERS_MAX at a time. A receipt that was asked for goes to a caller of the same system_id that receives, or
 * waits for one. It belongs to main. */
#ifndef KEYFOB_COMMANDS_VEHICLE_SMSC_H
#define KEYFOB_COMMANDS_VEHICLE_SMSC_H

#include <stdbool.h>

struct loop;
struct smsc;
struct sockaddr;

#define SMSC_CALLERS_MAX 16
#define SMSC_RECEIPTS_MAX 256 /* that wait; the oldest is dropped */

struct smsc_sms {			  /* borrowed until the callback returns */
	const char *source, *destination; /* as the sender wrote them: digits, or a name */
	const char *text;		  /* UTF-8 */
};

struct smsc_options {
	const struct sockaddr *address;
	void *owner;
	bool (*on_sms)(void *owner, const struct smsc_sms *); /* false: there is no such phone */
};

/* NULL when it cannot listen there; *ret_reason says why. */
struct smsc *smsc_open(struct loop *, const struct smsc_options *, const char **ret_reason);
/* Drops its callers. Nothing is called back afterwards; what libuv holds frees itself from the loop. NULL is fine. */
void smsc_close(struct smsc *);
int smsc_port(const struct smsc *); /* where it listens */

#endif
