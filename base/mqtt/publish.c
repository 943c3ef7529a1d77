/* publish.c - hands a message and its properties to libmosquitto. */
#include "base/mqtt/publish.h"

#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <stdint.h>
#include <string.h>

#include "base/mqtt/link.h"

static int add_properties(mosquitto_property **, const struct mqtt_publish *);

int publish_send(struct mosquitto *handle, const struct mqtt_publish *p, int *ret_mid)
{
	if (p->len > MQTT_MAX_PAYLOAD)
		return MOSQ_ERR_PAYLOAD_SIZE;
	mosquitto_property *properties = NULL;
	int rc = add_properties(&properties, p);
	if (rc == MOSQ_ERR_SUCCESS)
		rc = mosquitto_publish_v5(
			handle, ret_mid, p->topic, (int)p->len, p->payload, p->qos, p->retain, properties);
	mosquitto_property_free_all(&properties);
	return rc;
}

static int add_text(mosquitto_property **properties, int identifier, const char *text)
{
	return text ? mosquitto_property_add_string(properties, identifier, text) : MOSQ_ERR_SUCCESS;
}

static int add_correlation(mosquitto_property **properties, const char *text)
{
	if (!text)
		return MOSQ_ERR_SUCCESS;
	size_t len = strlen(text);
	if (len > UINT16_MAX)
		return MOSQ_ERR_INVAL;
	return mosquitto_property_add_binary(properties, MQTT_PROP_CORRELATION_DATA, text, (uint16_t)len);
}

static int add_expiry(mosquitto_property **properties, uint32_t seconds)
{
	if (!seconds)
		return MOSQ_ERR_SUCCESS;
	return mosquitto_property_add_int32(properties, MQTT_PROP_MESSAGE_EXPIRY_INTERVAL, seconds);
}

static int add_users(mosquitto_property **properties, const struct mqtt_publish *p)
{
	int rc = MOSQ_ERR_SUCCESS;
	for (size_t i = 0; !rc && i < sizeof p->user / sizeof *p->user && p->user[i].name; i++)
		rc = mosquitto_property_add_string_pair(
			properties, MQTT_PROP_USER_PROPERTY, p->user[i].name, p->user[i].value);
	return rc;
}

/* MQTT 5 §3.3.2.3 */
static int add_properties(mosquitto_property **properties, const struct mqtt_publish *p)
{
	int rc = add_text(properties, MQTT_PROP_RESPONSE_TOPIC, p->response_topic);
	if (!rc)
		rc = add_correlation(properties, p->correlation);
	if (!rc)
		rc = add_text(properties, MQTT_PROP_CONTENT_TYPE, p->content_type);
	if (!rc)
		rc = add_expiry(properties, p->expiry_seconds);
	return rc ? rc : add_users(properties, p);
}
