/* broker.c - the broker's plugin, before a mosquitto that follows a script: a line of the input is what one client does.
 *
 *  C0 ID USER   connects; K0: to its session       S0 FILTER   subscribes      D0   is gone; A0: its session stays
 *  c0 ID USER   connects with a wrong password     U0 FILTER   unsubscribes    T    the end of a round
 *  P0 TOPIC     publishes; R0: retained; p0: retained, and empty               L    SIGHUP
 *
 * What the plugin tells and allows is judged here by other words than its own: who may only meet topics with the own id in
 * their place, and each session begins before it goes on, and ends once. */
#include <assert.h>
#include <jansson.h>
#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/input.h"

#define CLIENTS 4
#define FILTERS_MAX 70
#define PREFIX "$aws/events/"

/* As the broker knows it; the plugin sees a pointer. */
struct mosquitto {
	char *id; /* NULL: there is nobody, or it was refused */
	char *username;
	char *filters[FILTERS_MAX];
	int filter_count;
	bool is_here; /* else it is nobody, or a session whose client is away */
};

static struct mosquitto clients[CLIENTS];

/* What the plugin gave to the broker until the packet in hand is done. */
struct sent {
	struct sent *next;
	char *topic;
	void *payload;
	size_t len;
};

static struct sent *sent;

/* A session that was told of. */
struct told {
	struct told *next;
	char *session, *id;
	json_int_t version, ms;
	bool is_over;
};

static struct told *told;
static json_int_t last_version;
static char shut_out[65]; /* whom the gateway shut out last */

static MOSQ_FUNC_generic_callback callbacks[MOSQ_EVT_DISCONNECT + 1];
static void *plugin;

/* ---- what mosquitto has for a plugin */

const char *mosquitto_client_id(const struct mosquitto *client)
{
	return client->id;
}

const char *mosquitto_client_username(const struct mosquitto *client)
{
	return client->username;
}

const char *mosquitto_client_address(const struct mosquitto *client)
{
	return client == &clients[0] ? NULL : "192.0.2.7";
}

void *mosquitto_client_certificate(const struct mosquitto *client)
{
	(void)client;
	return NULL;
}

int mosquitto_client_sub_count(const struct mosquitto *client)
{
	return client->filter_count;
}

int mosquitto_set_username(struct mosquitto *client, const char *username)
{
	(void)client, (void)username;
	abort(); /* for who has a certificate alone */
}

int mosquitto_callback_register(
	mosquitto_plugin_id_t *id, int event, MOSQ_FUNC_generic_callback callback, const void *event_data, void *owner)
{
	(void)id, (void)event_data, (void)owner; /* the plugin gives it to whoever made it, too */
	callbacks[event] = callback;
	return MOSQ_ERR_SUCCESS;
}

void mosquitto_log_printf(int level, const char *format, ...)
{
	va_list args;
	char line[1024];

	(void)level;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	assert(!strchr(line, '\n')); /* a line is a line, whatever a client calls itself */
}

void *mosquitto_malloc(size_t size)
{
	return malloc(size);
}

void mosquitto_free(void *memory)
{
	free(memory);
}

static void keep(const char *topic, void *payload, size_t len)
{
	struct sent **end = &sent;

	while (*end)
		end = &(*end)->next;
	*end = calloc(1, sizeof(**end));
	assert(*end && mosquitto_pub_topic_check(topic) == MOSQ_ERR_SUCCESS);
	**end = (struct sent){ .topic = strdup(topic), .payload = payload, .len = len };
}

int mosquitto_broker_publish(const char *client_id, const char *topic, int len, void *payload, int qos, bool retain,
	mosquitto_property *properties)
{
	(void)properties;
	assert(!client_id && qos == 1 && !retain);
	keep(topic, payload, (size_t)len);
	return MOSQ_ERR_SUCCESS;
}

int mosquitto_broker_publish_copy(const char *client_id, const char *topic, int len, const void *payload, int qos,
	bool retain, mosquitto_property *properties)
{
	(void)properties;
	assert(qos == 0 && !retain);
	if (!client_id) /* "" is nobody */
		keep(topic, input_copy(payload, (size_t)len), (size_t)len);
	return MOSQ_ERR_SUCCESS;
}

/* ---- judging */

/* The level of a topic's or filter's id, if the topic is one that vehicles have. */
static bool has_id_in_its_place(const char *topic, const char *id)
{
	size_t len = strlen(id);
	const char *at = strncmp(topic, "vehicles/", 9) == 0		    ? topic + 9
			 : strncmp(topic, "$aws/commands/things/", 21) == 0 ? topic + 21
									    : NULL;

	return at && strncmp(at, id, len) == 0 && at[len] == '/' && at[len + 1];
}

static void judge_filter(const char *filter, const char *id)
{
	static const char *const others[] = { "vehicles/%s/commands/request", "vehicles/%s/state",
		"vehicles/%s/notices/a", "vehicles/%s/commands/response/07",
		"$aws/commands/things/%s/executions/e/request/json", PREFIX "presence/connected/%s",
		"keyfob/blocked/%s", "keyfob/inbox/%s" };
	char other[80], topic[256];

	assert(has_id_in_its_place(filter, id) && strncmp(filter, "$share/", 7) != 0);
	snprintf(other, sizeof(other), "%sX", id);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		bool matches = false;
		snprintf(topic, sizeof(topic), others[i], other);
		mosquitto_topic_matches_sub(filter, topic, &matches);
		assert(!matches);
	}
}

static bool is_gateway(const struct mosquitto *client)
{
	return strcmp(client->username, "keyfob") == 0 && strncmp(client->id, "keyfob-", 7) == 0;
}

static void judge_allowed(const struct mosquitto *client, int access, const char *topic, bool retain)
{
	if (is_gateway(client)) {
		assert(access != MOSQ_ACL_WRITE || strncmp(topic, PREFIX, sizeof(PREFIX) - 1) != 0 ||
			(strcmp(topic, PREFIX "keyfob/resync") == 0 && !retain));
		return;
	}
	assert(strcmp(client->id, client->username) == 0 && !strpbrk(client->id, "/+# ") &&
		strncmp(client->id, "keyfob-", 7) != 0);
	if (access == MOSQ_ACL_SUBSCRIBE || access == MOSQ_ACL_UNSUBSCRIBE)
		judge_filter(topic, client->id);
	else
		assert(has_id_in_its_place(topic, client->id) && !(access == MOSQ_ACL_WRITE && retain));
}

static struct told *told_of(const char *session)
{
	struct told *t = told;

	while (t && strcmp(t->session, session) != 0)
		t = t->next;
	return t;
}

static const char *text_in(const json_t *body, const char *key)
{
	const char *text = json_string_value(json_object_get(body, key));

	assert(text);
	return text;
}

static void judge_session(const json_t *body, const char *kind)
{
	const char *session = text_in(body, "sessionIdentifier"), *id = text_in(body, "clientId");
	struct told *t = told_of(session);

	if (strcmp(kind, "connected") == 0 && !t) {
		t = calloc(1, sizeof(*t));
		assert(t);
		*t = (struct told){ .next = told,
			.session = strdup(session),
			.id = strdup(id),
			.version = json_integer_value(json_object_get(body, "versionNumber")) };
		assert(t->version > last_version);
		last_version = t->version;
		told = t;
	}
	json_int_t ms = json_integer_value(json_object_get(body, "timestamp"));
	assert(t && !t->is_over && strcmp(t->id, id) == 0 && ms > t->ms);
	t->ms = ms;
	t->is_over = strcmp(kind, "disconnected") == 0;
}

static void judge_event(const struct sent *s)
{
	const char *id = strrchr(s->topic, '/') + 1;
	json_auto_t *body = json_loadb(s->payload, s->len, JSON_REJECT_DUPLICATES, NULL);

	if (strcmp(s->topic, PREFIX "keyfob/resynced") == 0)
		return;
	assert(json_is_object(body) && strcmp(text_in(body, "clientId"), id) == 0 && !strpbrk(id, "+#$ "));
	const char *kind = text_in(body, "eventType");
	if (strcmp(kind, "connect_failed") != 0)
		judge_session(body, kind);
}

/* ---- the broker */

static int call(int event, void *data)
{
	return callbacks[event](event, data, plugin);
}

static bool check(struct mosquitto *client, int access, const char *topic, const void *payload, size_t len, bool retain)
{
	struct mosquitto_evt_acl_check event = { .client = client,
		.topic = topic,
		.payload = payload,
		.access = access,
		.payloadlen = (uint32_t)len,
		.qos = 1,
		.retain = retain };
	bool is_allowed = call(MOSQ_EVT_ACL_CHECK, &event) == MOSQ_ERR_SUCCESS;

	if (is_allowed)
		judge_allowed(client, access, topic, retain);
	return is_allowed;
}

static void deliver(const char *topic, const void *payload, size_t len)
{
	for (struct mosquitto *c = clients; c < clients + CLIENTS; c++) {
		bool matches = false;
		for (int i = 0; i < c->filter_count && !matches; i++)
			mosquitto_topic_matches_sub(c->filters[i], topic, &matches);
		if (matches)
			check(c, MOSQ_ACL_READ, topic, payload, len, false);
	}
}

/* What the plugin published is published; a probe's answer may be more. */
static void flush(void)
{
	for (struct sent *s; (s = sent);) {
		sent = s->next;
		if (strncmp(s->topic, PREFIX, sizeof(PREFIX) - 1) == 0)
			judge_event(s);
		deliver(s->topic, s->payload, s->len);
		free(s->topic);
		free(s->payload);
		free(s);
	}
}

static void forget_filters(struct mosquitto *client)
{
	while (client->filter_count > 0)
		free(client->filters[--client->filter_count]);
}

static void end(struct mosquitto *client)
{
	if (client->is_here)
		call(MOSQ_EVT_DISCONNECT, &(struct mosquitto_evt_disconnect){ .client = client });
	forget_filters(client);
	free(client->id);
	free(client->username);
	*client = (struct mosquitto){ 0 };
}

/* Its session stays, with what it has subscribed to. */
static void leave(struct mosquitto *client)
{
	if (client->is_here)
		call(MOSQ_EVT_DISCONNECT, &(struct mosquitto_evt_disconnect){ .client = client });
	client->is_here = false;
}

static struct mosquitto *holder_of(const char *id, const struct mosquitto *but)
{
	for (struct mosquitto *c = clients; c < clients + CLIENTS; c++)
		if (c != but && c->id && strcmp(c->id, id) == 0)
			return c;
	return NULL;
}

int mosquitto_kick_client_by_clientid(const char *client_id, bool with_will)
{
	struct mosquitto *client = holder_of(client_id, NULL);

	assert(!with_will);
	if (client && client->is_here)
		end(client);
	return MOSQ_ERR_SUCCESS;
}

static void inherit(struct mosquitto *client, struct mosquitto *older)
{
	memcpy(client->filters, older->filters, sizeof(client->filters));
	client->filter_count = older->filter_count;
	older->filter_count = 0;
}

/* Refused, it loses its id before its end is told; accepted, it takes over from who has it. */
static void join(struct mosquitto *client, const char *id, const char *username, bool knows_password, bool resumes)
{
	end(client);
	client->id = strdup(id);
	client->username = strdup(username);
	client->is_here = true;
	int verdict = call(MOSQ_EVT_BASIC_AUTH, &(struct mosquitto_evt_basic_auth){ .client = client });
	if (verdict != MOSQ_ERR_AUTH && knows_password) {
		assert(strcmp(id, shut_out) != 0);
		struct mosquitto *older = holder_of(id, client);
		if (older && resumes)
			inherit(client, older);
		if (older)
			end(older);
		return;
	}
	free(client->id);
	client->id = NULL;
	end(client);
}

static void subscribe(struct mosquitto *client, const char *filter)
{
	if (mosquitto_sub_topic_check(filter) != MOSQ_ERR_SUCCESS || client->filter_count == FILTERS_MAX)
		return;
	if (check(client, MOSQ_ACL_SUBSCRIBE, filter, NULL, 0, false))
		client->filters[client->filter_count++] = strdup(filter);
}

static void unsubscribe(struct mosquitto *client, const char *filter)
{
	if (mosquitto_sub_topic_check(filter) != MOSQ_ERR_SUCCESS ||
		!check(client, MOSQ_ACL_UNSUBSCRIBE, filter, NULL, 0, false))
		return;
	for (int i = client->filter_count - 1; i >= 0; i--)
		if (strcmp(client->filters[i], filter) == 0) {
			free(client->filters[i]);
			client->filters[i] = client->filters[--client->filter_count];
		}
}

static void note_blocked(const char *topic, bool is_blocked)
{
	char id[65], more;

	if (sscanf(topic, "keyfob/blocked/%64[^/]%c", id, &more) != 1 || strncmp(id, "keyfob-", 7) == 0)
		return; /* that is no vehicle's id, and the gateway does not shut itself out */
	if (is_blocked || strcmp(id, shut_out) == 0)
		snprintf(shut_out, sizeof(shut_out), "%s", is_blocked ? id : "");
}

static void publish(struct mosquitto *client, const char *topic, bool retain, const char *payload)
{
	if (mosquitto_pub_topic_check(topic) != MOSQ_ERR_SUCCESS ||
		!check(client, MOSQ_ACL_WRITE, topic, payload, strlen(payload), retain))
		return;
	note_blocked(topic, *payload);
	char *copy = input_copy(payload, strlen(payload) + 1);
	call(MOSQ_EVT_MESSAGE, &(struct mosquitto_evt_message){ .client = client,
				       .topic = (char *)(uintptr_t)topic,
				       .payload = copy,
				       .payloadlen = (uint32_t)strlen(payload),
				       .qos = 1,
				       .retain = retain });
	deliver(topic, payload, strlen(payload));
	free(copy);
}

static void end_round(void)
{
	call(MOSQ_EVT_TICK, &(struct mosquitto_evt_tick){ 0 });
}

static void reload(void)
{
	call(MOSQ_EVT_RELOAD, &(struct mosquitto_evt_reload){ 0 });
	for (struct mosquitto *c = clients; c < clients + CLIENTS; c++)
		if (c->id &&
			call(MOSQ_EVT_BASIC_AUTH, &(struct mosquitto_evt_basic_auth){ .client = c }) == MOSQ_ERR_AUTH)
			end(c);
	end_round();
}

static void act(const char *line)
{
	char word[3][200] = { "", "", "" };
	unsigned number = line[0] ? (unsigned)(unsigned char)line[1] % CLIENTS : 0;
	struct mosquitto *client = &clients[number];

	if (mosquitto_validate_utf8(line, (int)strlen(line)) != MOSQ_ERR_SUCCESS)
		return; /* the broker does not take it */
	sscanf(line, "%199s %199s %199s", word[0], word[1], word[2]);
	switch (line[0]) {
	case 'C':
	case 'K':
	case 'c':
		join(client, word[1], word[2], line[0] != 'c', line[0] == 'K');
		break;
	case 'T':
		end_round();
		break;
	case 'L':
		reload();
		break;
	case 'D':
		end(client);
		break;
	case 'A':
		leave(client);
		break;
	default:
		if (!client->is_here)
			break;
		if (line[0] == 'S')
			subscribe(client, word[1]);
		if (line[0] == 'U')
			unsubscribe(client, word[1]);
		if (line[0] == 'P' || line[0] == 'R' || line[0] == 'p')
			publish(client, word[1], line[0] != 'P', line[0] == 'p' ? "" : "{}");
	}
	flush();
}

static void forget_what_was_told(void)
{
	for (struct told *t; (t = told);) {
		assert(t->is_over);
		told = t->next;
		free(t->session);
		free(t->id);
		free(t);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct input in = { (const char *)bytes, len };
	void *made = NULL;

	plugin = NULL;
	shut_out[0] = '\0';
	if (mosquitto_plugin_init(NULL, &made, NULL, 0) != MOSQ_ERR_SUCCESS)
		abort();
	plugin = made;
	while (in.left > 0) {
		char *line = input_line(&in);
		act(line);
		free(line);
	}
	for (size_t i = 0; i < CLIENTS; i++)
		end(&clients[i]);
	end_round();
	flush();
	forget_what_was_told();
	mosquitto_plugin_cleanup(plugin, NULL, 0);
	return 0;
}
