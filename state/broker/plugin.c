/* plugin.c - the plugin's face towards mosquitto 2.0: its entry points and the events that it listens to.
 *
 * The broker has one thread, and so has the plugin: every callback runs to its end before the next packet. */
#include "state/broker/blocked.h"
#include "state/broker/descriptors.h"
#include "state/broker/event.h"
#include "state/broker/identity.h"
#include "state/broker/permission.h"
#include "state/broker/refusals.h"
#include "state/broker/session.h"
#include "state/broker/settings.h"

#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>
#include <stdlib.h>
#include <string.h>

#define API_VERSION 5
#define VEHICLE_PAYLOAD_MAX (128 * 1024) /* contract §10: what is larger no gateway takes */

struct plugin {
	struct settings settings;
	struct sessions sessions;
	struct blocked blocked;
	struct refusals refusals;
	bool is_reloading; /* SIGHUP: BASIC_AUTH comes again for everybody, the offline included, until the tick */
};

static int on_basic_auth(int event, void *data, void *owner);
static int on_acl_check(int event, void *data, void *owner);
static int on_message(int event, void *data, void *owner);
static int on_disconnect(int event, void *data, void *owner);
static int on_reload(int event, void *data, void *owner);
static int on_tick(int event, void *data, void *owner);
static void cut(struct mosquitto_evt_message *);
static bool is_away(const struct plugin *, const struct mosquitto *client);
static bool is_blocked(const struct plugin *, const struct mosquitto *client, enum role);
static int accept_certificate(struct mosquitto *client);
static void log_refusal(const struct mosquitto *client);
static void judge_late(struct plugin *, const struct session *);
static bool is_proof(const struct mosquitto_evt_acl_check *);
static bool may(const struct plugin *, const struct session *, const struct mosquitto_evt_acl_check *);
static void log_denial(struct session *, const struct mosquitto_evt_acl_check *);

static const struct {
	int event;
	MOSQ_FUNC_generic_callback on;
} listeners[] = {
	{ MOSQ_EVT_BASIC_AUTH, on_basic_auth },
	{ MOSQ_EVT_ACL_CHECK, on_acl_check },
	{ MOSQ_EVT_MESSAGE, on_message },
	{ MOSQ_EVT_DISCONNECT, on_disconnect },
	{ MOSQ_EVT_RELOAD, on_reload },
	{ MOSQ_EVT_TICK, on_tick },
};

int mosquitto_plugin_version(int supported_version_count, const int *supported_versions)
{
	for (int i = 0; i < supported_version_count; i++)
		if (supported_versions[i] == API_VERSION)
			return API_VERSION;
	return -1;
}

int mosquitto_plugin_init(mosquitto_plugin_id_t *id, void **userdata, struct mosquitto_opt *options, int option_count)
{
	struct plugin *p = calloc(1, sizeof *p);
	if (!p)
		return MOSQ_ERR_NOMEM;
	if (!settings_read(&p->settings, options, option_count)) {
		settings_done(&p->settings);
		free(p);
		return MOSQ_ERR_INVAL;
	}
	sessions_init(&p->sessions, &p->settings);
	*userdata = p;
	for (size_t i = 0; i < sizeof listeners / sizeof *listeners; i++) {
		int rc = mosquitto_callback_register(id, listeners[i].event, listeners[i].on, NULL, p);
		if (rc != MOSQ_ERR_SUCCESS)
			return rc;
	}
	descriptors_raise();
	mosquitto_log_printf(MOSQ_LOG_INFO, "keyfob: lifecycle events below %s, client ids %s-… for %s alone",
		p->settings.prefix, p->settings.name_space, p->settings.gateway);
	return MOSQ_ERR_SUCCESS;
}

int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int option_count)
{
	struct plugin *p = userdata;
	(void)options, (void)option_count;
	if (!p)
		return MOSQ_ERR_SUCCESS;
	sessions_done(&p->sessions);
	blocked_done(&p->blocked);
	settings_done(&p->settings);
	free(p);
	return MOSQ_ERR_SUCCESS;
}

/* Whether the client may have this client id. A password is for the password_file to check, afterwards. */
static int on_basic_auth(int event, void *data, void *owner)
{
	const struct mosquitto_evt_basic_auth *auth = data;
	struct plugin *p = owner;
	(void)event;

	if (is_away(p, auth->client))
		return MOSQ_ERR_SUCCESS;
	enum role role = client_role(&p->settings, auth->client);
	if (role == ROLE_NOBODY || is_blocked(p, auth->client, role)) {
		log_refusal(auth->client);
		if (role == ROLE_NOBODY && !p->is_reloading)
			refusals_tell(&p->refusals, &p->settings, auth->client);
		return MOSQ_ERR_AUTH;
	}
	if (!p->is_reloading)
		session_ask(&p->sessions, auth->client, role);
	return client_has_certificate(auth->client) ? accept_certificate(auth->client) : MOSQ_ERR_PLUGIN_DEFER;
}

/* On SIGHUP mosquitto judges again also the sessions whose clients are away, without their passwords or
 * certificates, and 2.0.11 corrupts its list of expiring sessions where they fail. They are judged when they come
 * back. A client that is just connecting has no subscriptions yet, so it never passes for one that is away. */
static bool is_away(const struct plugin *p, const struct mosquitto *client)
{
	return p->is_reloading && !session_of(&p->sessions, client) && mosquitto_client_sub_count(client) > 0;
}

static bool is_blocked(const struct plugin *p, const struct mosquitto *client, enum role role)
{
	return role == ROLE_VEHICLE && blocked_has(&p->blocked, mosquitto_client_id(client));
}

/* The certificate is the proof. The broker keeps the username, not the certificate, with a session whose vehicle
 * is away. */
static int accept_certificate(struct mosquitto *client)
{
	char buffer[IDENTITY_SIZE];
	const char *identity = client_identity(client, buffer);
	const char *username = mosquitto_client_username(client);
	if (username && strcmp(username, identity) == 0)
		return MOSQ_ERR_SUCCESS;
	return mosquitto_set_username(client, identity);
}

static void log_refusal(const struct mosquitto *client)
{
	char buffer[IDENTITY_SIZE];
	const char *identity = client_identity(client, buffer);
	const char *address = mosquitto_client_address(client);
	mosquitto_log_printf(MOSQ_LOG_NOTICE, "keyfob: refused client id \"%.80s\" to \"%.80s\" from %s",
		mosquitto_client_id(client), identity ? identity : "", address ? address : "?");
}

static int on_acl_check(int event, void *data, void *owner)
{
	const struct mosquitto_evt_acl_check *check = data;
	struct plugin *p = owner;
	(void)event;

	struct session *s = session_of(&p->sessions, check->client);
	bool is_unasked = !s && is_proof(check);
	if (s || is_unasked)
		s = session_prove(&p->sessions, check->client);
	if (is_unasked)
		judge_late(p, s);
	if (probe_is(&p->sessions.probe, check)) {
		if (s)
			session_found(&p->sessions, s, check->topic);
		return MOSQ_ERR_ACL_DENIED;
	}
	if (!may(p, s, check)) {
		log_denial(s, check);
		return MOSQ_ERR_ACL_DENIED;
	}
	if (s && check->access == MOSQ_ACL_SUBSCRIBE)
		session_note(&p->sessions, s, TOPICS_SUBSCRIBED, check->topic);
	if (s && check->access == MOSQ_ACL_UNSUBSCRIBE)
		session_note(&p->sessions, s, TOPICS_UNSUBSCRIBED, check->topic);
	return MOSQ_ERR_SUCCESS;
}

/* Its CONNECT was asked of nobody. Who is not who it says has been made due to be closed with its session. */
static void judge_late(struct plugin *p, const struct session *s)
{
	if (s->role == ROLE_NOBODY) {
		log_refusal(s->client);
		refusals_tell(&p->refusals, &p->settings, s->client);
	}
	if (is_blocked(p, s->client, s->role)) {
		log_refusal(s->client);
		blocked_meet(&p->blocked, s->id);
	}
}

/* A client without a session is one that is away (a message for its queue, its will), or one whose listener has
 * use_identity_as_username, where BASIC_AUTH does not fire. Only the second subscribes or has a live certificate. */
static bool is_proof(const struct mosquitto_evt_acl_check *check)
{
	return (check->access & (MOSQ_ACL_SUBSCRIBE | MOSQ_ACL_UNSUBSCRIBE)) || client_has_certificate(check->client);
}

static bool may(const struct plugin *p, const struct session *s, const struct mosquitto_evt_acl_check *check)
{
	enum role role = s ? s->role : client_role(&p->settings, check->client);
	switch (role) {
	case ROLE_VEHICLE:
		return !is_blocked(p, check->client, role) && vehicle_may(check);
	case ROLE_GATEWAY:
		return gateway_may(&p->settings, check);
	case ROLE_NOBODY:
		break;
	}
	return false;
}

/* Once for each connection, since an MQTT 3.1.1 client cannot see it otherwise; a flood stays out of the log. */
static void log_denial(struct session *s, const struct mosquitto_evt_acl_check *check)
{
	if (!s || check->access == MOSQ_ACL_READ)
		return;
	mosquitto_log_printf(s->was_denied ? MOSQ_LOG_DEBUG : MOSQ_LOG_NOTICE, "keyfob: denied %s to %s %.160s%s",
		s->id, check->access == MOSQ_ACL_WRITE ? "publish on" : "subscribe to", check->topic,
		check->access == MOSQ_ACL_WRITE && check->retain ? " (retained)" : "");
	s->was_denied = true;
}

/* It passed the access check, so only the gateway gets to the resync topic, or below the namespace. */
static int on_message(int event, void *data, void *owner)
{
	struct mosquitto_evt_message *message = data;
	struct plugin *p = owner;
	(void)event;

	if (message->payloadlen > VEHICLE_PAYLOAD_MAX && client_role(&p->settings, message->client) == ROLE_VEHICLE)
		cut(message);
	if (topic_is_resync(&p->settings, message->topic)) {
		sessions_retell(&p->sessions);
		event_resynced(&p->settings, message->payload, message->payloadlen);
	}
	blocked_read(&p->blocked, p->settings.name_space, message->topic, message->payloadlen);
	return MOSQ_ERR_SUCCESS;
}

/* To a byte too many: the gateway refuses it as too large, says so to the vehicle and counts it, and is sent no more. Whole it might be more than the
 * gateway takes in a packet; that mosquitto 2.0.11 drops, and with each one a place of the gateway's 512 in flight, for good. */
static void cut(struct mosquitto_evt_message *message)
{
	void *start = mosquitto_malloc(VEHICLE_PAYLOAD_MAX + 1);
	if (!start)
		abort();
	memcpy(start, message->payload, VEHICLE_PAYLOAD_MAX + 1);
	message->payload = start; /* the broker frees the other */
	message->payloadlen = VEHICLE_PAYLOAD_MAX + 1;
}

static int on_disconnect(int event, void *data, void *owner)
{
	const struct mosquitto_evt_disconnect *end = data;
	struct plugin *p = owner;
	(void)event;

	struct session *s = session_of(&p->sessions, end->client);
	if (s)
		session_end(&p->sessions, s);
	return MOSQ_ERR_SUCCESS;
}

static int on_reload(int event, void *data, void *owner)
{
	struct plugin *p = owner;
	(void)event, (void)data;
	p->is_reloading = true;
	return MOSQ_ERR_PLUGIN_DEFER;
}

static int on_tick(int event, void *data, void *owner)
{
	struct plugin *p = owner;
	(void)event, (void)data;
	p->is_reloading = false;
	sessions_settle(&p->sessions);
	blocked_kick(&p->blocked);
	return MOSQ_ERR_SUCCESS;
}
