/* lifecycle_event.h - what a broker says of a vehicle's session, in AWS IoT Core's form (contract §6). */
#ifndef KEYFOB_STATE_LIFECYCLE_EVENT_H
#define KEYFOB_STATE_LIFECYCLE_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lifecycle_event {
	char vehicle_id[65];
	const char *kind; /* "connected", "disconnected", "subscribed", "unsubscribed" */
	char session[80]; /* sessionIdentifier */
	int64_t version;  /* versionNumber; 0 for subscribe events, which bear none */
	int64_t timestamp_ms;
	char reason[64];	/* disconnectReason; "" when there is none */
	bool concerns_requests; /* subscribe events: a filter matches the vehicle's request topic */
};

/* False: it is no such event. `prefix` is lifecycle.prefix. */
bool lifecycle_event_read(
	const char *prefix, const char *topic, const char *payload, size_t len, struct lifecycle_event *ret);
/* MQTT 5 §4.7: whether a topic filter matches a topic; `$share/…` matches nothing here. */
bool topic_filter_matches(const char *filter, const char *topic);

#endif
