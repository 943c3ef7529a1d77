/* blocklist.h - tells the broker which vehicles it shuts out: retired ones, until they are registered anew.
 *
 * The rows are the truth (`blocks`), the broker's retained messages follow: {namespace}/blocked/{vehicle_id}, which the
 * plugin reads (docs/broker.md). One worker of a node does it. */
#ifndef KEYFOB_GATEWAY_BLOCKLIST_H
#define KEYFOB_GATEWAY_BLOCKLIST_H

#include <stdbool.h>

struct blocklist;
struct db;
struct loop;
struct mqtt_publish;

struct blocklist_options { /* borrowed for life */
	struct db *db;
	const char *namespace;
	void *owner;
	/* The message id, or -1: not sent, and never will be. */
	int (*publish)(void *owner, const struct mqtt_publish *);
};

/* making */
struct blocklist *blocklist_new(struct loop *, const struct blocklist_options *);
void blocklist_free(struct blocklist *); /* when it is quiet */

bool blocklist_is_quiet(const struct blocklist *);

/* changing */
void blocklist_on_link_up(struct blocklist *); /* the broker may be another than before: all are told anew */
void blocklist_on_link_down(struct blocklist *);
void blocklist_on_puback(struct blocklist *, int mid, int reason); /* also for publishes that are not its own */
void blocklist_stop(struct blocklist *);

#endif
