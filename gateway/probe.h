/* probe.h - whether a database that is in trouble writes again: a node that says that it is not ready may be given nothing to write, so it
 * tries by itself. */
#ifndef KEYFOB_GATEWAY_PROBE_H
#define KEYFOB_GATEWAY_PROBE_H

#include <stdbool.h>

struct batch;
struct db;
struct loop;
struct probe;

/* All borrowed. */
struct probe *probe_new(struct loop *, struct db *, struct batch *);
/* The batch is in trouble: tried until it is no more, or the worker ends. */
void probe_start(struct probe *);
void probe_stop(struct probe *);
bool probe_is_quiet(const struct probe *); /* nothing of its own is with the database */

#endif
