/* receipt.h - reads what a deliver_sm says of a message sent before: in its parameters, in its text, or in both. */
#ifndef KEYFOB_NOTIFIER_WAKE_SMPP_RECEIPT_H
#define KEYFOB_NOTIFIER_WAKE_SMPP_RECEIPT_H

#include <stdbool.h>

#include "base/smpp/pdu.h"

struct smpp_receipt {
	char ids[2][SMPP_ID_SIZE]; /* of the parameter receipted_message_id, and of the text; "": not there */
	bool is_final;		   /* false: on its way, no news yet */
	bool delivered;
	const char *reason; /* of what was not delivered: a word */
};

/* false: it is no receipt (an SMS from a phone), or one that says nothing. */
bool smpp_receipt_read(const struct smpp_message *, struct smpp_receipt *ret);

#endif
