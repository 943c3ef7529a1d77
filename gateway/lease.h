/* lease.h - which feeds this worker reads: an even share of all, each under a lease in the database.
 *
 * A worker renews its own lease and those of its feeds every second; one that does not for LEASE_MS is dead, and the
 * others take what it held. So they do at once where its last will is heard and its session with the database is over, and soon where it is
 * over alone (docs/decisions/0012-who-is-dead.md). What it does under a lease is fenced by the lease's epoch. */
#ifndef KEYFOB_GATEWAY_LEASE_H
#define KEYFOB_GATEWAY_LEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct db;
struct leases;
struct loop;

#define LEASE_MS 5000

struct lease_options {
	const char *worker, *node; /* borrowed for life */
	size_t node_workers;	   /* of this node: at its start so many will share, also those that are not up yet */
	bool has_lost;		   /* the connection that it is to renew by, and has another */
	void *owner;
	void (*on_taken)(void *owner, const char *name, int64_t epoch); /* "feed/07" */
	/* To be given back, or lost already: the owner stops the feed at once. */
	void (*on_dropped)(void *owner, const char *name);
	/* The worker's own lease had lapsed: others believed it dead. */
	void (*on_lapsed)(void *owner);
	/* lease_is_alive() is true, and was not. */
	void (*on_alive)(void *owner);
	/* Another worker is dead: what it had begun is nobody's. */
	void (*on_death)(void *owner);
	/* lease_is_refused() has changed. */
	void (*on_refused)(void *owner);
};

struct leases *lease_new(struct loop *, struct db *, const struct lease_options *);
void lease_free(struct leases *);
void lease_start(struct leases *);
/* The connection that it renews by has come or gone. While it is gone the worker does not believe itself alive. */
void lease_on_connection(struct leases *, bool is_up);
/* The broker tells the last will of another worker: it is dead, or has lost its connection to the broker. */
void lease_on_will(struct leases *, const char *worker);
/* Gives back everything, and ends the worker's own lease; `on_ended` runs from the loop, whatever became of it. */
void lease_end(struct leases *, void (*on_ended)(void *owner));

/* Whether this worker may believe itself alive: it renewed recently enough that nobody else took over. */
bool lease_is_alive(const struct leases *);
/* The database is there, and takes no renewal: it is in trouble, and takes nothing else that is written. */
bool lease_is_refused(const struct leases *);
size_t lease_held(const struct leases *);
/* A feed learnt that it is fenced, or closed after on_dropped(). */
void lease_forget(struct leases *, const char *name);

#endif
