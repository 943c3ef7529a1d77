/* status.h - what an SMS centre's command_status means for a submission, one row each in status.tbl.h. */
#ifndef KEYFOB_NOTIFIER_WAKE_SMPP_STATUS_H
#define KEYFOB_NOTIFIER_WAKE_SMPP_STATUS_H

#include <stddef.h>
#include <stdint.h>

enum smpp_follow {
	FOLLOW_REFUSED, /* SMS_REFUSED: it would be so again */
	FOLLOW_FAILED,	/* SMS_FAILED */
	FOLLOW_AGAIN,	/* the same again after a pause, while there is time; then SMS_FAILED */
};

struct smpp_status {
	uint32_t code;
	const char *name; /* SMPP's own */
	enum smpp_follow follow;
	const char *word; /* ours, for apps and the log */
};

extern const struct smpp_status smpp_statuses[];
extern const size_t smpp_status_count;

/* Never NULL: a code that is in no row is a vendor's own, which failed. */
const struct smpp_status *smpp_status_of(uint32_t code);

#endif
