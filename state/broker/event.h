/* event.h - publishes lifecycle events with the topics and the JSON of AWS IoT Core
 * (AWS IoT Developer Guide, "Lifecycle events"), at QoS 1.
 *
 * The broker delivers them in the order of the calls, before it handles the next packet. The timestamps of a session rise with
 * each, so that whoever gets them in another order knows which was last. */
#ifndef KEYFOB_STATE_BROKER_EVENT_H
#define KEYFOB_STATE_BROKER_EVENT_H

#include <jansson.h>
#include <stddef.h>

struct session;
struct settings;

/* mosquitto 2.0 tells a plugin no reason: of AWS's names only these two can be told apart. */
#define REASON_DUPLICATE "DUPLICATE_CLIENTID"
#define REASON_UNKNOWN "UNKNOWN"

void event_connected(const struct settings *, struct session *);
void event_disconnected(const struct settings *, struct session *, const char *reason);
/* `verb` is "subscribed" or "unsubscribed"; `topics` is a JSON array, borrowed. */
void event_topics(const struct settings *, struct session *, const char *verb, json_t *topics);
/* A connect under client id `id` was refused: who connected is somebody else (`identity`, NULL: nobody). `untold` others were before it,
 * of which nothing was said. */
void event_connect_failed(
	const struct settings *, const char *id, const char *identity, const char *address, long untold);
/* PREFIX/NAMESPACE/resynced, with the request's payload. */
void event_resynced(const struct settings *, const void *payload, size_t len);

#endif
