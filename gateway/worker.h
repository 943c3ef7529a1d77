/* worker.h - a node in small: one thread, one loop, and on it everything that serves apps and vehicles.
 *
 * What workers hand each other in memory are claims to publish (siblings.h), and none depends on it: the database is the truth, the
 * broker is the movement. */
#ifndef KEYFOB_GATEWAY_WORKER_H
#define KEYFOB_GATEWAY_WORKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct catalog;
struct certificate;
struct config;
struct mqtt_broker;
struct service_sockets;
struct siblings;
struct timespec;
struct token_trust;
struct worker;

/* How many of the node's workers have their neighbours; each counts itself. */
struct readiness {
	atomic_size_t databases, brokers;
};

struct worker_options { /* everything is borrowed and outlives the worker */
	const struct config *config;
	const struct catalog *catalog;
	struct token_trust *trust;
	struct certificate *certificate; /* NULL: plain HTTP */
	const struct mqtt_broker *broker;
	const struct service_sockets *sockets;
	const char *node;
	struct readiness *readiness;	 /* the node's, shared by its workers */
	struct siblings *siblings;	 /* likewise */
	const atomic_bool *wake_enabled; /* the node's: wake.enabled as it is now */
	int64_t pulse_ms;		 /* how often it notes that its loop turns */
	size_t workers;
	size_t index; /* worker 0 answers the admin listener and keeps the house */
};

/* NULL: it cannot listen; the log says why. */
struct worker *worker_start(const struct worker_options *);

/* From the node's thread: */

/* Whether its loop has turned since the last time this was asked. */
bool worker_has_turned(struct worker *);
/* Returns when the worker uses the new one and no longer the old. */
void worker_set_catalog(struct worker *, const struct catalog *);
/* Begins the end: no new work, what was accepted is recorded, leases are handed over, sockets are closed. */
void worker_drain(struct worker *);
/* Waits until it has drained; false when that has not come by `until` (CLOCK_REALTIME). Its thread ends with the process. */
bool worker_join(struct worker *, const struct timespec *until);

#endif
