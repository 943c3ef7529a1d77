/* siblings.h - what the workers of a node know of each other: who reads which feed. Whoever accepts a command claims it for the
 * sibling that will hear its answer and hands the claim over, so that PUBACK and answer meet in one transaction
 * (docs/decisions/0008-claims-go-to-the-reader.md). Only a short cut: a claim that nobody takes is its giver's own to publish. */
#ifndef KEYFOB_GATEWAY_SIBLINGS_H
#define KEYFOB_GATEWAY_SIBLINGS_H

#include <stdbool.h>
#include <stddef.h>

struct claim;
struct loop;
struct sibling;
struct siblings;

/* The node's; both live as long as the process, since a worker may ask at any time. */
struct siblings *siblings_new(void);
/* `worker` is borrowed for ever; `on_claim` is called from `loop`. */
struct sibling *sibling_join(struct siblings *, struct loop *, const char *worker, void *owner,
	void (*on_claim)(void *owner, const struct claim *));

/* From its own thread: */
/* It reads this feed now, 0 to 31, or no longer. */
void sibling_reads(struct sibling *, unsigned feed, bool reads);
/* It takes no more claims. */
void sibling_leave(struct sibling *);

/* From any thread: */
/* The worker that reads a feed; NULL: none of this node. */
const char *siblings_reader(struct siblings *, unsigned feed);
/* Hands over a copy; false: that worker takes no more. */
bool siblings_hand_over(struct siblings *, const char *worker, const struct claim *);

#endif
