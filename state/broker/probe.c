/* probe.c - a message that nobody may read, sent to see who would have. */
#include "state/broker/probe.h"

#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void probe_init(struct probe *p)
{
	if (getrandom(p->secret, sizeof p->secret, 0) != (ssize_t)sizeof p->secret)
		abort();
}

/* The broker empties its queue of plugin messages in one walk, which ends at the last message when it gets there:
 * an answer published from within that one would wait for the next round, up to 100 ms. So a message to no client
 * follows, which is dropped, and keeps the walk going. */
void probe_send(const struct probe *p, const char *request_topic)
{
	mosquitto_broker_publish_copy(NULL, request_topic, sizeof p->secret, p->secret, 0, false, NULL);
	mosquitto_broker_publish_copy("", request_topic, 0, "", 0, false, NULL);
}

bool probe_is(const struct probe *p, const struct mosquitto_evt_acl_check *event)
{
	return event->access == MOSQ_ACL_READ && event->payloadlen == sizeof p->secret &&
	       memcmp(event->payload, p->secret, sizeof p->secret) == 0;
}
