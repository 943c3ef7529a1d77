/* event.c - writes lifecycle events as AWS IoT Core does. */
#include "state/broker/event.h"

#include "state/broker/session.h"
#include "state/broker/settings.h"

#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void publish(const struct settings *, const char *kind, const char *id, json_t *body);
static json_t *event_new(struct session *, const char *type);
static void put(json_t *object, const char *key, json_t *value);
static void send_to(const char *topic, char *payload, size_t len);
static char *broker_memory(size_t size);
static json_int_t stamp(struct session *);
static json_int_t unix_ms(void);

void event_connected(const struct settings *settings, struct session *s)
{
	const char *address = mosquitto_client_address(s->client);
	json_auto_t *body = event_new(s, "connected");
	put(body, "ipAddress", address ? json_string(address) : json_null());
	put(body, "versionNumber", json_integer(s->version));
	publish(settings, "presence/connected", s->id, body);
}

void event_disconnected(const struct settings *settings, struct session *s, const char *reason)
{
	json_auto_t *body = event_new(s, "disconnected");
	put(body, "clientInitiatedDisconnect", json_false());
	put(body, "disconnectReason", json_string(reason));
	put(body, "versionNumber", json_integer(s->version));
	publish(settings, "presence/disconnected", s->id, body);
}

void event_topics(const struct settings *settings, struct session *s, const char *verb, json_t *topics)
{
	char kind[sizeof "subscriptions/unsubscribed"];
	snprintf(kind, sizeof kind, "subscriptions/%s", verb);
	json_auto_t *body = event_new(s, verb);
	put(body, "topics", json_incref(topics));
	publish(settings, kind, s->id, body);
}

/* AWS IoT Developer Guide, "Connect attempt failure event"; `untold` is ours. */
void event_connect_failed(
	const struct settings *settings, const char *id, const char *identity, const char *address, long untold)
{
	json_auto_t *body = json_object();
	if (!body)
		abort();
	json_t *principal = identity ? json_string(identity) : NULL;
	put(body, "clientId", json_string(id));
	put(body, "timestamp", json_integer(unix_ms()));
	put(body, "eventType", json_string("connect_failed"));
	put(body, "connectFailureReason", json_string("AUTHORIZATION_FAILED"));
	put(body, "principalIdentifier", principal ? principal : json_null()); /* none, or no UTF-8 */
	put(body, "ipAddress", address ? json_string(address) : json_null());
	put(body, "untold", json_integer(untold));
	publish(settings, "presence/connect_failed", id, body);
}

void event_resynced(const struct settings *settings, const void *payload, size_t len)
{
	char topic[PREFIX_MAX + NAMESPACE_MAX + sizeof "//resynced"];
	snprintf(topic, sizeof topic, "%s/%s/resynced", settings->prefix, settings->name_space);
	char *copy = broker_memory(len + 1);
	if (len > 0)
		memcpy(copy, payload, len);
	send_to(topic, copy, len);
}

/* A vehicle's identity is its client id: it would not be connected otherwise. */
static json_t *event_new(struct session *s, const char *type)
{
	json_t *body = json_object();
	if (!body)
		abort();
	put(body, "clientId", json_string(s->id));
	put(body, "timestamp", json_integer(stamp(s)));
	put(body, "eventType", json_string(type));
	put(body, "sessionIdentifier", json_string(s->uuid));
	put(body, "principalIdentifier", json_string(s->id));
	return body;
}

static void put(json_t *object, const char *key, json_t *value)
{
	if (json_object_set_new(object, key, value) != 0)
		abort();
}

static void publish(const struct settings *settings, const char *kind, const char *id, json_t *body)
{
	char topic[PREFIX_MAX + 128];
	snprintf(topic, sizeof topic, "%s/%s/%s", settings->prefix, kind, id);
	size_t len = json_dumpb(body, NULL, 0, JSON_COMPACT);
	char *payload = broker_memory(len + 1);
	json_dumpb(body, payload, len, JSON_COMPACT);
	send_to(topic, payload, len);
}

/* The broker frees the payload and counts it: memory of its own keeps memory_limit true. */
static char *broker_memory(size_t size)
{
	char *memory = mosquitto_malloc(size);
	if (!memory)
		abort();
	return memory;
}

static void send_to(const char *topic, char *payload, size_t len)
{
	if (mosquitto_broker_publish(NULL, topic, (int)len, payload, 1, false, NULL) == MOSQ_ERR_SUCCESS)
		return;
	mosquitto_log_printf(MOSQ_LOG_ERR, "keyfob: cannot publish on %s", topic);
	mosquitto_free(payload);
}

/* Later than the session's event before: who gets two of one millisecond in the wrong order could not know. By the clock that never goes back, since
 * what is older than the last word about a vehicle by some minutes counts no more. */
static json_int_t stamp(struct session *s)
{
	int64_t now_ms = version_now(s->clock) / 1000;
	s->told_ms = now_ms > s->told_ms ? now_ms : s->told_ms + 1;
	return s->told_ms;
}

static json_int_t unix_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (json_int_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
