/* retained.h - tells the broker what it is to keep: desired states, notices, and which vehicles it shuts out.
 *
 * The rows are the truth (`retained`), the broker's retained messages follow; a change is a row in the transaction that made it, so
 * no node's death loses one. The worker that reads the lifecycle feed publishes, and nobody else: so a vehicle's
 * messages keep their order. What a broker lost that was restarted is found by a mark, itself a retained message, and
 * published again (docs/decisions/0010-one-way-for-what-the-broker-keeps.md). */
#ifndef KEYFOB_GATEWAY_RETAINED_H
#define KEYFOB_GATEWAY_RETAINED_H

#include <stdbool.h>
#include <stddef.h>

struct db;
struct loop;
struct mqtt_publish;
struct retained;

struct retained_options { /* borrowed for life */
	struct db *db;
	const char *namespace;
	void *owner;
	bool (*can_publish)(void *owner);
	/* The message id, or -1: not sent, and never will be. */
	int (*publish)(void *owner, const struct mqtt_publish *);
};

/* making */
struct retained *retained_new(struct loop *, const struct retained_options *);
void retained_free(struct retained *); /* when it is quiet */

bool retained_is_quiet(const struct retained *);

/* changing: it works while this worker has the lease and the link is up */
void retained_on_lease(struct retained *, bool held);
void retained_on_link_up(struct retained *); /* the broker may be another than before */
void retained_on_link_down(struct retained *);
void retained_on_mark(struct retained *, const char *text, size_t len); /* the broker's retained mark */
void retained_on_puback(struct retained *, int mid, int reason);	/* also for publishes that are not its own */

#endif
