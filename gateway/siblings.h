/* siblings.h - what the workers of a node know of each other, and hand each other in memory.
 *
 * Whoever accepts a command claims it for the sibling that reads the feed of its answer and hands the claim over, so that PUBACK and
 * answer meet in one transaction (docs/decisions/0008-claims-go-to-the-reader.md). Events for a sibling's subscribers are handed over,
 * too. Only short cuts: a claim that nobody takes is its giver's own to publish, and events go by the broker as to another node. */
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
/* What a worker is handed, each called from its loop. */
struct sibling_ears {
	void *owner;
	void (*on_claim)(void *owner, const struct claim *);
	void (*on_events)(void *owner, const char *text, size_t len); /* as a message of its inbox */
};
/* `worker` is borrowed for ever. */
struct sibling *sibling_join(struct siblings *, struct loop *, const char *worker, const struct sibling_ears *);

/* From its own thread: */
/* It reads this feed now, 0 to 31, or no longer. */
void sibling_reads(struct sibling *, unsigned feed, bool reads);
/* Hears at once what it was handed until now: before a message of the broker is, which was sent later than all of it. */
void sibling_hear(struct sibling *);
/* It takes nothing more. */
void sibling_leave(struct sibling *);

/* From any thread: */
/* The worker that reads a feed; NULL: none of this node. */
const char *siblings_reader(struct siblings *, unsigned feed);
/* Hands over a copy; false: that worker takes no more. */
bool siblings_hand_over(struct siblings *, const char *worker, const struct claim *);
/* Likewise what is for a worker's inbox; false also when it is none of this node, or has 16 MiB that it did not come to yet. `in_order`:
 * nothing that is told later may be heard before it, so that it never takes the other way for that reason, and is not counted. */
bool siblings_tell(struct siblings *, const char *worker, const char *text, size_t len, bool in_order);

#endif
