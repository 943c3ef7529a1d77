/* sole.h - what one worker of all may do at a time, under a lease of its own in the database.
 *
 * Whoever has it renews it every second, and stops believing in it two seconds before others may take it: so long its owner has
 * to end what it does under it. It is taken over when its holder is dead (LEASE_MS), and given back by one that drains. */
#ifndef KEYFOB_GATEWAY_SOLE_H
#define KEYFOB_GATEWAY_SOLE_H

#include <stdbool.h>

struct db;
struct loop;
struct sole;

struct sole_options {
	const char *name, *worker, *node; /* borrowed for life */
	void *owner;
	/* Whether this worker could use it. One that cannot does not take it, and gives it back after a while. */
	bool (*is_useful)(void *owner);
	void (*on_taken)(void *owner);
	/* It is lost, or to be given back: sole_release() is to follow, when what was done under it has ended. */
	void (*on_dropped)(void *owner);
};

struct sole *sole_new(struct loop *, struct db *, const struct sole_options *);
void sole_start(struct sole *);
/* What was done under it has ended. */
void sole_release(struct sole *);
/* It is taken no more. Who has it hears on_dropped() first, now. */
void sole_stop(struct sole *);
/* After sole_stop(): given back, or never had. */
bool sole_is_quiet(const struct sole *);

#endif
