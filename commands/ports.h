/* ports.h - what the flows of commands need of others, filled in gateway/worker.c and faked in tests. */
#ifndef KEYFOB_COMMANDS_PORTS_H
#define KEYFOB_COMMANDS_PORTS_H

#include <stdbool.h>
#include <stdint.h>

struct batch_fence;
struct claim;
struct codec_response;
struct mqtt_publish;
struct receipt;

struct command_ports {
	void *owner;
	/* The send link is up and this worker's lease is alive: what it claims it can publish. */
	bool (*can_publish)(void *owner);
	/* Who is to publish a new command of this vehicle: the worker of this node that will hear its answer. NULL, the function or
	 * what it returns: this one. What is returned lives as long as the process. */
	const char *(*publisher)(void *owner, const char *vehicle_id);
	/* Hands a committed claim to it; false: it takes no more, and whoever claimed publishes. */
	bool (*hand_over)(void *owner, const struct claim *);
	/* The message id, or -1: not sent, and never will be. */
	int (*publish)(void *owner, const struct mqtt_publish *);
	/* Nobody subscribed to this vehicle's requests, for the session that the claim was made under. */
	void (*disprove)(void *owner, const char *vehicle_id, const char *session);
	/* A message came from this vehicle: it is there, if the message is not from the time before its feed was read. Opens and closes the
	 * receipt. */
	void (*prove)(void *owner, const struct batch_fence *, const char *vehicle_id, struct receipt *);
	/* This vehicle answered what it was not asked. NULL: nobody wants to know. */
	void (*forged)(void *owner, const char *vehicle_id);
	/* The vehicle's answer brought state, which counts if the answer does. Opens and closes the receipt. */
	void (*report_state)(void *owner, const struct batch_fence *, const struct codec_response *, struct receipt *);
};

#endif
