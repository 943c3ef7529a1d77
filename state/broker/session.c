/* session.c - the table of connections, and the moments at which an event is told. */
#include "state/broker/session.h"

#include "state/broker/event.h"
#include "state/broker/settings.h"

#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define TOPICS_MAX 64 /* in one event */

/* By which topics a vehicle's requests come: Keyfob's own, and that of AWS IoT Commands. Which of them is meant, the
 * gateway knows. In the second the execution stands for any. */
static const struct {
	const char *root, *rest, *rest_of_filter;
} requests[] = {
	{ "vehicles/", "/commands/request", "/commands/request" },
	{ "$aws/commands/things/", "/executions/00000000-0000-0000-0000-000000000000/request/json",
		"/executions/+/request/json" },
};
#define REQUESTS (sizeof requests / sizeof *requests)

static struct session *session_new(struct sessions *, struct mosquitto *client, enum role);
static void session_free(struct sessions *, struct session *);
static void settle(struct sessions *, struct session *);
static void mark_connected(struct sessions *, struct session *);
static void supersede(struct sessions *, const char *id);
static void settle_taker(struct sessions *, const struct session *old);
static void tell_topics(struct sessions *, struct session *);
static void tell_subscribed(struct sessions *, struct session *, size_t request);
static void ask_broker(struct sessions *, const struct session *);
static void request_topic(const struct session *, size_t request, char topic[SESSION_TOPIC_SIZE]);
static bool covers_request(const struct session *, size_t request, const char *filter);
static void make_due(struct sessions *, struct session *);
static void uuid_make(char out[SESSION_UUID_SIZE]);

void sessions_init(struct sessions *all, const struct settings *settings)
{
	*all = (struct sessions){ .settings = settings };
	list_init(&all->due);
	version_init(&all->version, settings->state_file);
	probe_init(&all->probe);
}

void sessions_done(struct sessions *all)
{
	struct session *s, *next;
	HASH_ITER (by_client, all->by_client, s, next)
		session_free(all, s);
	version_done(&all->version);
}

struct session *session_of(const struct sessions *all, const struct mosquitto *client)
{
	struct session *s;
	HASH_FIND(by_client, all->by_client, &client, sizeof client, s);
	return s;
}

void session_ask(struct sessions *all, struct mosquitto *client, enum role role)
{
	struct session *s = session_of(all, client);
	if (s)
		session_free(all, s);
	all->latest = session_new(all, client, role);
	make_due(all, all->latest);
}

static struct session *session_new(struct sessions *all, struct mosquitto *client, enum role role)
{
	struct session *s = calloc(1, sizeof *s);
	if (!s)
		abort();
	s->client = client;
	s->clock = &all->version;
	s->role = role;
	s->stage = SESSION_ASKED;
	s->id = strdup(mosquitto_client_id(client));
	s->topics = json_array();
	if (!s->id || !s->topics)
		abort();
	uuid_make(s->uuid);
	list_init(&s->due);
	HASH_ADD(by_client, all->by_client, client, sizeof s->client, s);
	return s;
}

void sessions_settle(struct sessions *all)
{
	struct list *node;
	while ((node = list_take_first(&all->due)))
		settle(all, container_of(node, struct session, due));
}

static void settle(struct sessions *all, struct session *s)
{
	bool was_refused = mosquitto_client_id(s->client) == NULL;
	if (was_refused)
		return;
	if (s->role == ROLE_NOBODY) {
		/* Only a listener with use_identity_as_username, which asks no plugin, lets it get this far. */
		mosquitto_kick_client_by_clientid(mosquitto_client_id(s->client), false);
		return;
	}
	mark_connected(all, s);
	tell_topics(all, s);
}

struct session *session_prove(struct sessions *all, struct mosquitto *client)
{
	struct session *s = session_of(all, client);
	if (!s) {
		s = session_new(all, client, client_role(all->settings, client));
		if (s->role == ROLE_NOBODY)
			make_due(all, s);
	}
	mark_connected(all, s);
	return s;
}

static void mark_connected(struct sessions *all, struct session *s)
{
	if (s->stage == SESSION_CONNECTED)
		return;
	s->stage = SESSION_CONNECTED;
	if (s->role != ROLE_VEHICLE)
		return;
	supersede(all, s->id);
	HASH_ADD_KEYPTR(by_id, all->by_id, s->id, strlen(s->id), s);
	s->version = version_next(&all->version);
	event_connected(all->settings, s);
	/* Before its first SUBSCRIBE only a resumed session has any. */
	if (mosquitto_client_sub_count(s->client) > 0)
		ask_broker(all, s);
}

static void supersede(struct sessions *all, const char *id)
{
	struct session *old;
	HASH_FIND(by_id, all->by_id, id, strlen(id), old);
	if (!old)
		return;
	old->is_superseded = true;
	HASH_DELETE(by_id, all->by_id, old);
}

void session_note(struct sessions *all, struct session *s, enum topic_change change, const char *filter)
{
	if (s->role != ROLE_VEHICLE)
		return;
	if (s->change != change || json_array_size(s->topics) == TOPICS_MAX)
		tell_topics(all, s);
	s->change = change;
	if (json_array_append_new(s->topics, json_string(filter)) != 0)
		abort();
	for (size_t i = 0; i < REQUESTS; i++)
		if (covers_request(s, i, filter))
			s->subscribed =
				change == TOPICS_SUBSCRIBED ? s->subscribed | 1u << i : s->subscribed & ~(1u << i);
	make_due(all, s);
}

/* After an unsubscribe another filter may still cover the request topic: the broker knows. */
static void tell_topics(struct sessions *all, struct session *s)
{
	static const char *const verbs[] = {
		[TOPICS_SUBSCRIBED] = "subscribed",
		[TOPICS_UNSUBSCRIBED] = "unsubscribed",
	};
	if (json_array_size(s->topics) == 0)
		return;
	event_topics(all->settings, s, verbs[s->change], s->topics);
	json_array_clear(s->topics);
	if (s->change == TOPICS_UNSUBSCRIBED && mosquitto_client_sub_count(s->client) > 0)
		ask_broker(all, s);
}

static void ask_broker(struct sessions *all, const struct session *s)
{
	for (size_t i = 0; i < REQUESTS; i++) {
		char topic[SESSION_TOPIC_SIZE];
		request_topic(s, i, topic);
		probe_send(&all->probe, topic);
	}
}

void session_found(struct sessions *all, struct session *s, const char *topic)
{
	if (s->role != ROLE_VEHICLE || s->stage != SESSION_CONNECTED)
		return;
	for (size_t i = 0; i < REQUESTS; i++) {
		char request[SESSION_TOPIC_SIZE];
		request_topic(s, i, request);
		if ((s->subscribed & 1u << i) || strcmp(topic, request) != 0)
			continue;
		s->subscribed |= 1u << i;
		tell_subscribed(all, s, i);
	}
}

static void tell_subscribed(struct sessions *all, struct session *s, size_t request)
{
	char filter[SESSION_TOPIC_SIZE];
	snprintf(filter, sizeof filter, "%s%s%s", requests[request].root, s->id, requests[request].rest_of_filter);
	json_auto_t *topics = json_pack("[s]", filter);
	if (!topics)
		abort();
	event_topics(all->settings, s, "subscribed", topics);
}

/* The taker is told first: whoever reads in order never sees the vehicle gone. */
void session_end(struct sessions *all, struct session *s)
{
	bool was_refused = mosquitto_client_id(s->client) == NULL;
	if (s->role == ROLE_VEHICLE && !was_refused) {
		mark_connected(all, s);
		tell_topics(all, s);
		settle_taker(all, s);
		event_disconnected(all->settings, s, s->is_superseded ? REASON_DUPLICATE : REASON_UNKNOWN);
	}
	session_free(all, s);
}

/* A connection that is taken over ends inside the handling of the CONNECT that takes it over, after that one was
 * accepted: the session asked last is the taker, and this end is the proof that it is connected. */
static void settle_taker(struct sessions *all, const struct session *old)
{
	struct session *taker = all->latest;
	if (!taker || taker == old || taker->stage != SESSION_ASKED || taker->role != ROLE_VEHICLE)
		return;
	if (mosquitto_client_id(taker->client) && strcmp(taker->id, old->id) == 0)
		mark_connected(all, taker);
}

void sessions_retell(struct sessions *all)
{
	sessions_settle(all);
	struct session *s, *next;
	HASH_ITER (by_id, all->by_id, s, next) {
		event_connected(all->settings, s);
		for (size_t i = 0; i < REQUESTS; i++)
			if (s->subscribed & 1u << i)
				tell_subscribed(all, s, i);
	}
}

static void session_free(struct sessions *all, struct session *s)
{
	bool is_newest = s->role == ROLE_VEHICLE && s->stage == SESSION_CONNECTED && !s->is_superseded;
	if (is_newest)
		HASH_DELETE(by_id, all->by_id, s);
	HASH_DELETE(by_client, all->by_client, s);
	list_remove(&s->due);
	if (all->latest == s)
		all->latest = NULL;
	json_decref(s->topics);
	free(s->id);
	free(s);
}

static void make_due(struct sessions *all, struct session *s)
{
	list_remove(&s->due);
	list_append(&all->due, &s->due);
}

static bool covers_request(const struct session *s, size_t request, const char *filter)
{
	char topic[SESSION_TOPIC_SIZE];
	bool covers = false;
	request_topic(s, request, topic);
	return mosquitto_topic_matches_sub(filter, topic, &covers) == MOSQ_ERR_SUCCESS && covers;
}

static void request_topic(const struct session *s, size_t request, char topic[SESSION_TOPIC_SIZE])
{
	snprintf(topic, SESSION_TOPIC_SIZE, "%s%s%s", requests[request].root, s->id, requests[request].rest);
}

/* RFC 9562 §5.4. */
static void uuid_make(char out[SESSION_UUID_SIZE])
{
	unsigned char b[16];
	if (getrandom(b, sizeof b, 0) != (ssize_t)sizeof b)
		abort();
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	snprintf(out, SESSION_UUID_SIZE, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
		b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}
