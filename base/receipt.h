/* receipt.h - counts the work that one batch of messages made, so that the last one out acknowledges it.
 *
 * The feed opens a receipt, hands it to every flow that its messages concern, and closes its own share. When all
 * shares are closed `on_settled` runs, once: without a fault the batch is committed and may be acknowledged. */
#ifndef KEYFOB_BASE_RECEIPT_H
#define KEYFOB_BASE_RECEIPT_H

#include <stddef.h>

#include "base/fault.h"

struct receipt {
	size_t open;
	const struct fault *fault; /* the first that any share brought */
	void (*on_settled)(struct receipt *);
};

static inline void receipt_init(struct receipt *r, void (*on_settled)(struct receipt *))
{
	*r = (struct receipt){ .open = 1, .on_settled = on_settled };
}

static inline void receipt_open(struct receipt *r)
{
	r->open++;
}

static inline void receipt_close(struct receipt *r, const struct fault *fault)
{
	if (fault && !r->fault)
		r->fault = fault;
	if (--r->open == 0)
		r->on_settled(r);
}

#endif
