/* session.h - a transceiver session with an SMS centre that is kept: bound, kept alive, and bound again when it is lost.
 *
 * It answers whatever the centre asks; what concerns messages goes to its owner. Every callback runs from the loop, and
 * any function here may be called in it. */
#ifndef KEYFOB_NOTIFIER_WAKE_SMPP_SESSION_H
#define KEYFOB_NOTIFIER_WAKE_SMPP_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/smpp/pdu.h"

struct loop;
struct session;
struct smpp_target;

enum session_end {
	SESSION_LOST,	     /* it was bound: what was written and not answered may have been taken */
	SESSION_UNREACHABLE, /* it could not be bound: no connection, or no answer */
	SESSION_REFUSED,     /* the centre refused the bind */
};

/* Which deliver_sm an answer is for. */
struct smpp_ticket {
	uint32_t binding, sequence;
};

struct session_options { /* borrowed for the life of the session */
	struct loop *loop;
	const struct smpp_target *target;
	const char *password; /* never NULL */
	const char *ca;	      /* may be NULL */
	int enquire_ms;	      /* silence before enquire_link, and again before it counts as lost */
	void *owner;
	void (*on_bound)(void *owner);
	void (*on_down)(void *owner, enum session_end);
	/* A submit_sm_resp or a generic_nack. */
	void (*on_answer)(void *owner, const struct smpp_header *, const uint8_t *pdu);
	/* A deliver_sm; smpp_session_answer() is to follow, in it or later. */
	void (*on_message)(void *owner, const struct smpp_message *, struct smpp_ticket);
};

/* making */
struct session *smpp_session_open(const struct session_options *);
/* Unbinds when bound: answers are still heard until the centre has agreed, at most SESSION_GOODBYE_MS; then freed, and
 * `on_closed` is the last call. */
void smpp_session_close(struct session *, void (*on_closed)(void *owner));
#define SESSION_GOODBYE_MS 1000

/* asking */
bool smpp_session_is_bound(const struct session *);

/* changing */
uint32_t smpp_session_next_sequence(struct session *);
void smpp_session_write(struct session *, const uint8_t *pdu, size_t len); /* bound ones */
/* Answers a deliver_sm; does nothing when the connection that brought it is gone. */
void smpp_session_answer(struct session *, struct smpp_ticket, uint32_t status);

#endif
