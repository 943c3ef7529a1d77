/* webhooks.h - a node's part in sending events to platforms' own servers (docs/webhooks.md).
 *
 * One worker of each node does it, on a connection of its own to the database, where all is kept: how far the log was looked
 * through, what is to be sent, and what became of it. What one node has in hand when it dies another sends once its hold is over. */
#ifndef KEYFOB_NOTIFIER_WEBHOOK_WEBHOOKS_H
#define KEYFOB_NOTIFIER_WEBHOOK_WEBHOOKS_H

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct webhooks;

struct webhooks_options { /* borrowed for life */
	const char *database_url;
	bool synchronous;	/* database.synchronous */
	bool anywhere;		/* also by http, and to private addresses */
	int64_t timeout_ms;	/* of an attempt */
	int64_t retry_first_ms; /* the pause after the first that failed; it trebles */
	int64_t retry_max_ms;
	int64_t retry_for_ms;	   /* after the first attempt: one that fails later disables the webhook */
	int64_t kept_ms;	   /* deliveries, in the log of them */
	const char *key, *old_key; /* webhooks.key, webhooks.old_key */
	void *owner;
	/* A webhook was disabled over an event of this vehicle; `data` is webhook.disabled's, JSON text. Called again until the event is written,
	 * by whichever node. */
	void (*on_disabled)(void *owner, const char *vehicle_id, const char *data);
};

/* making */
struct webhooks *webhooks_new(struct loop *, const struct webhooks_options *);
void webhooks_start(struct webhooks *);
/* What is under way has a second to end; what has not is given back. Never freed: it lives as long as its worker. */
void webhooks_stop(struct webhooks *);

/* asking */
bool webhooks_is_quiet(const struct webhooks *); /* after webhooks_stop(): nothing is left to wait for */

#endif
