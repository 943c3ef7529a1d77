/* waking.h - the wake-up flow and its SMS providers: which worker has them, and when.
 *
 * One worker of a node submits, so that there is one session with an SMS centre; where the account allows no second one, one worker of
 * all. Every worker has the flow: it joins commands to wake-ups, whoever submits these. */
#ifndef KEYFOB_GATEWAY_WAKING_H
#define KEYFOB_GATEWAY_WAKING_H

#include <stdatomic.h>
#include <stdbool.h>

struct config;
struct db;
struct loop;
struct wake;
struct wake_ports;
struct waking;

struct waking_options { /* borrowed for life */
	const struct config *config;
	struct db *writer, *reader;
	const struct wake_ports *ports;
	const atomic_bool *enabled;
	const char *worker, *node;
};

struct waking *waking_new(struct loop *, const struct waking_options *);
struct wake *waking_flow(const struct waking *); /* for the batch's stages, and for receipts */

/* In the worker that is its node's: the providers are made, now or once the account's session is ours. */
void waking_start(struct waking *);
void waking_stop(struct waking *);
bool waking_is_quiet(const struct waking *);

#endif
