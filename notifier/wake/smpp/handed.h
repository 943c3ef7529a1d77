/* handed.h - the message ids that the SMS centre handed out lately, so that its receipts find them again.
 *
 * Many centres name a message in hexadecimal in the submit_sm_resp and in decimal in the receipt's text, or the other way
 * round, with or without leading zeros: an id that is not found as it stands is looked for in the other base. The newest
 * 2048 are remembered; a receipt for an older one, or for one of another node, passes as it came. */
#ifndef KEYFOB_NOTIFIER_WAKE_SMPP_HANDED_H
#define KEYFOB_NOTIFIER_WAKE_SMPP_HANDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/smpp/pdu.h"

#define HANDED_MAX 2048

struct handed_id {
	char id[SMPP_ID_SIZE]; /* "": free */
	bool is_passed;	       /* a receipt for it is on its way to the record */
	bool is_told;	       /* one is on record */
};

/* Zero-initialise. The hashes stand by themselves: a search passes over 8 KiB, not over all ids. */
struct handed {
	uint32_t hashes[HANDED_MAX]; /* of the ids, without leading zeros and case */
	struct handed_id ids[HANDED_MAX];
	size_t next;
};

void handed_add(struct handed *, const char *id);
/* NULL: not known. Borrowed until the next handed_add(); the caller may set its flags. */
struct handed_id *handed_find(struct handed *, const char *id);

#endif
