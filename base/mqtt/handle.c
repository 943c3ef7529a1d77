/* handle.c - configures libmosquitto handles. */
#include "base/mqtt/handle.h"

#include <assert.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <pthread.h>
#include <string.h>

#include "base/memory.h"
#include "base/mqtt/link.h"

static void init_library(void);
static const char *set_up(struct mosquitto *, const struct mqtt_broker *, const struct mqtt_link_options *);
static const char *set_login(struct mosquitto *, const struct mqtt_broker *, const struct mqtt_link_options *);
static const char *set_tls(struct mosquitto *, const struct mqtt_broker *, const struct mqtt_link_options *);
static const char *set_will(struct mosquitto *, const struct mqtt_broker *, const struct mqtt_link_options *);
static const char *set_limits(struct mosquitto *, const struct mqtt_broker *, const struct mqtt_link_options *);
static const char *set_session(struct mosquitto *, const struct mqtt_broker *, const struct mqtt_link_options *);

struct mosquitto *handle_new(
	const struct mqtt_broker *broker, const struct mqtt_link_options *options, const char **ret_reason)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, init_library);
	struct mosquitto *handle = mosquitto_new(options->client_id, !options->feed, NULL);
	*ret_reason = handle ? set_up(handle, broker, options) : "the client id is not one";
	if (!*ret_reason)
		return handle;
	mosquitto_destroy(handle);
	return NULL;
}

static void init_library(void)
{
	mosquitto_lib_init();
}

static const char *set_up(
	struct mosquitto *handle, const struct mqtt_broker *broker, const struct mqtt_link_options *options)
{
	static const char *(*const steps[])(struct mosquitto *, const struct mqtt_broker *,
		const struct mqtt_link_options *) = { set_limits, set_login, set_tls, set_will, set_session };
	const char *reason = NULL;
	for (size_t i = 0; !reason && i < sizeof steps / sizeof *steps; i++)
		reason = steps[i](handle, broker, options);
	return reason;
}

/* "Threaded" is what keeps a feed's PUBACKs in the queue until mosquitto_loop_write(); no thread is involved. */
static const char *set_limits(
	struct mosquitto *handle, const struct mqtt_broker *broker, const struct mqtt_link_options *options)
{
	(void)broker;
	int receive_maximum = options->receive_maximum ? options->receive_maximum : FEED_RECEIVE_MAXIMUM;
	mosquitto_int_option(handle, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5);
	mosquitto_int_option(handle, MOSQ_OPT_TCP_NODELAY, 1);
	mosquitto_int_option(handle, MOSQ_OPT_RECEIVE_MAXIMUM, receive_maximum);
	mosquitto_int_option(handle, MOSQ_OPT_SEND_MAXIMUM, SEND_MAXIMUM);
	if (options->feed)
		mosquitto_threaded_set(handle, true);
	return NULL;
}

static const char *set_login(
	struct mosquitto *handle, const struct mqtt_broker *broker, const struct mqtt_link_options *options)
{
	(void)options;
	if (!broker->username)
		return NULL;
	int rc = mosquitto_username_pw_set(handle, broker->username, broker->password);
	return rc == MOSQ_ERR_SUCCESS ? NULL : "the broker's username cannot be used";
}

/* Without this OpenSSL asks the terminal for an encrypted key's password, and waits. */
static int no_password(char *out, int size, int rwflag, void *userdata)
{
	(void)out, (void)size, (void)rwflag, (void)userdata;
	return 0;
}

/* libmosquitto wants a file or a folder of CAs even where it loads the system's; a folder may be missing. */
static const char *set_tls(
	struct mosquitto *handle, const struct mqtt_broker *broker, const struct mqtt_link_options *options)
{
	(void)options;
	if (!broker->tls)
		return NULL;
	const char *folder = broker->ca ? NULL : "/etc/ssl/certs";
	mosquitto_int_option(handle, MOSQ_OPT_TLS_USE_OS_CERTS, !broker->ca);
	int rc = mosquitto_tls_set(handle, broker->ca, folder, broker->certificate, broker->key, no_password);
	return rc == MOSQ_ERR_SUCCESS ? NULL : "a TLS file (CA, certificate or key) cannot be read";
}

static const char *set_will(
	struct mosquitto *handle, const struct mqtt_broker *broker, const struct mqtt_link_options *options)
{
	(void)broker;
	if (!options->will_topic)
		return NULL;
	const char *payload = options->will_payload ? options->will_payload : "";
	int rc = mosquitto_will_set_v5(
		handle, options->will_topic, (int)strlen(payload), payload, 1, options->will_retain, NULL);
	return rc == MOSQ_ERR_SUCCESS ? NULL : "the will cannot be used";
}

/* The session expiry and the packet size are properties of CONNECT, and only the blocking connect takes such; it keeps them for the other.
 * A missing host makes it return before it does anything else. */
static const char *set_session(
	struct mosquitto *handle, const struct mqtt_broker *broker, const struct mqtt_link_options *options)
{
	(void)broker;
	if (!options->feed)
		return NULL;
	mosquitto_property *properties = NULL;
	int rc = mosquitto_property_add_int32(
		&properties, MQTT_PROP_SESSION_EXPIRY_INTERVAL, options->session_expiry_seconds);
	memory_need(rc == MOSQ_ERR_SUCCESS ? properties : NULL);
	rc = mosquitto_property_add_int32(&properties, MQTT_PROP_MAXIMUM_PACKET_SIZE, FEED_PACKET_MAX);
	memory_need(rc == MOSQ_ERR_SUCCESS ? properties : NULL);
	rc = mosquitto_connect_bind_v5(handle, NULL, 0, 0, NULL, properties);
	memory_need(rc != MOSQ_ERR_NOMEM ? handle : NULL);
	assert(rc == MOSQ_ERR_INVAL);
	mosquitto_property_free_all(&properties);
	return NULL;
}
