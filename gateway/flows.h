/* flows.h - a worker's back: its database, its batch with every flow of commands, state and notifier, its feeds and its
 * send link, and which MQTT topic goes to which flow. */
#ifndef KEYFOB_GATEWAY_FLOWS_H
#define KEYFOB_GATEWAY_FLOWS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct api;
struct config;
struct flows;
struct loop;
struct mqtt_broker;
struct siblings;

struct flows_options { /* borrowed for life */
	const struct config *config;
	const struct mqtt_broker *broker;
	const char *node;
	size_t node_workers;
	struct siblings *siblings;	 /* the node's workers, this one too once it is made */
	bool keeps_house;		 /* one worker of a node sweeps, makes partitions and submits SMS */
	const atomic_bool *wake_enabled; /* wake.enabled as it is now */
	void *owner;
	/* The node must not run on; the log says why. */
	void (*on_fatal)(void *owner);
	/* The database or the broker came or went. */
	void (*on_neighbour)(void *owner);
};

/* Fills its part of `api`, which it uses for the life of the flows. */
struct flows *flows_new(struct loop *, const struct flows_options *, struct api *api);
void flows_start(struct flows *);
/* No new work: feeds are handed over, what is in hand is recorded, connections are closed; then `on_drained`. */
void flows_drain(struct flows *, void (*on_drained)(void *owner));

bool flows_has_database(const struct flows *);
bool flows_has_broker(const struct flows *);

#endif
