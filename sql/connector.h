/* connector.h - finds the server of a database URL that takes writes, without ever blocking the loop.
 *
 * The URL's hosts are tried in their order, each with all its addresses; names are looked up in the
 * thread pool. A host has five seconds to be found, and as long again for each address. */
#ifndef KEYFOB_SQL_CONNECTOR_H
#define KEYFOB_SQL_CONNECTOR_H

#include <libpq-fe.h>

struct connector;
struct loop;

/* Told once for each connector_start(), from the loop. */
struct connector_listener {
	void *owner;
	void (*on_connected)(void *owner, PGconn *); /* the owner's from now on */
	void (*on_failed)(void *owner);		     /* no host will do; the log has said why */
};

struct connector *connector_new(struct loop *, const char *url, const struct connector_listener *);
/* Whatever is under way is given up, and nobody hears of it. */
void connector_free(struct connector *);
/* Not while an earlier one is under way. */
void connector_start(struct connector *);

#endif
