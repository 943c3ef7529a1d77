/* lifecycle_event.h - what is said of a vehicle's sessions, whoever says it: one form for all (docs/reachability.md).
 *
 * AWS IoT Core's events, which the mosquitto plugin tells too; EMQX's; and birth and will messages of the vehicles
 * themselves (docs/vehicles.md). */
#ifndef KEYFOB_STATE_LIFECYCLE_EVENT_H
#define KEYFOB_STATE_LIFECYCLE_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mqtt_message;

enum lifecycle_broker {
	LIFECYCLE_AWS,
	LIFECYCLE_EMQX,
	LIFECYCLE_VEHICLES
}; /* in the order of the names of lifecycle.source */

struct lifecycle_source { /* borrowed */
	enum lifecycle_broker broker;
	const char *prefix;	/* lifecycle.prefix */
	const char *name_space; /* client ids that begin with it and '-' are no vehicles */
};

struct lifecycle_event {
	char vehicle_id[65];
	const char *kind; /* "connected", "disconnected", "subscribed", "unsubscribed" */
	char session[80]; /* "": the broker names none, and its clock ties the event to one */
	int64_t version;  /* rises with each connect; 0 for subscribe events, which bear none */
	int64_t timestamp_ms;
	char reason[64]; /* "DUPLICATE_CLIENTID": another connection took over; "" when there is none */
	/* Subscribe events: "keyfob", "aws-commands" or both, with a blank between: of which protocols the vehicle's
	 * request topic is matched by a filter. NULL: of none. */
	const char *protocols;
};

#define LIFECYCLE_EVENTS_MAX 2	/* in one message: a birth is a connect and a subscription */
#define LIFECYCLE_FILTERS_MAX 8 /* of one source */
#define LIFECYCLE_FILTER_SIZE 256

/* The topics to read; returns how many. */
size_t lifecycle_filters(
	const struct lifecycle_source *, char ret_filters[LIFECYCLE_FILTERS_MAX][LIFECYCLE_FILTER_SIZE]);
/* What a message says, in order; `now_ms` is the time of what bears none (milliseconds since 1970). 0: it is no event of
 * a vehicle; then *ret_malformed says whether it should have been one. */
size_t lifecycle_events_read(const struct lifecycle_source *, const struct mqtt_message *, int64_t now_ms,
	struct lifecycle_event ret[LIFECYCLE_EVENTS_MAX], bool *ret_malformed);

/* That the broker refused a connect under a vehicle's client id, since who connected is somebody else (AWS IoT Developer Guide, "Connect
 * attempt failure event"; the mosquitto plugin tells it likewise). */
struct lifecycle_refusal {
	char vehicle_id[65];
	char principal[256], address[64]; /* who, and from where; "": it is not said */
	int64_t untold;			  /* other refusals before it, of which nothing was said */
};
/* False: the message is none, and may be an event. */
bool lifecycle_refusal_read(
	const struct lifecycle_source *, const struct mqtt_message *, struct lifecycle_refusal *ret);
/* MQTT 5 §4.7: whether a topic filter matches a topic; `$share/…` matches nothing here, and a wildcard in front no `$…`. */
bool topic_filter_matches(const char *filter, const char *topic);

#endif
