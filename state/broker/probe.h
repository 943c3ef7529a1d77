/* probe.h - asks the broker whether a session is subscribed to a request topic of its vehicle.
 *
 * A resumed session sends no SUBSCRIBE, and its subscriptions may be older than this process, so no table of the
 * plugin's own can be trusted. The broker knows: a message to the request topic makes it check the access of each
 * subscriber, by the client's pointer. The probe is such a message; the access check knows it by a secret, takes
 * the pointer as the answer and denies, so that nobody ever receives one. */
#ifndef KEYFOB_STATE_BROKER_PROBE_H
#define KEYFOB_STATE_BROKER_PROBE_H

#include <stdbool.h>

struct mosquitto_evt_acl_check;

#define PROBE_SECRET_SIZE 32

struct probe {
	unsigned char secret[PROBE_SECRET_SIZE];
};

/* making */
void probe_init(struct probe *);

/* asking */
/* The answers, if any, come as access checks before the broker handles the next packet. */
void probe_send(const struct probe *, const char *request_topic);
bool probe_is(const struct probe *, const struct mosquitto_evt_acl_check *event);

#endif
