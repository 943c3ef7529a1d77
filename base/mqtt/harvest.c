/* harvest.c - copies messages, each with its texts in one allocation. */
#include "base/mqtt/harvest.h"

#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static struct mqtt_message *next_of(struct harvest *);

/* The first user property of a name; the caller frees it. NULL: there is none. */
static char *user_property(const mosquitto_property *properties, const char *wanted)
{
	char *name = NULL, *value = NULL;
	const mosquitto_property *at =
		mosquitto_property_read_string_pair(properties, MQTT_PROP_USER_PROPERTY, &name, &value, false);

	while (at && strcmp(name, wanted) != 0) {
		free(name);
		free(value);
		name = value = NULL;
		at = mosquitto_property_read_string_pair(at, MQTT_PROP_USER_PROPERTY, &name, &value, true);
	}
	free(name);
	return value;
}

/* A text behind what was copied before it. */
static const char *put_text(char **end, const char *text)
{
	char *begin = *end;

	if (!text)
		return NULL;
	*end = stpcpy(begin, text) + 1;
	return begin;
}

static size_t size_of(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

/* Topic, NUL, payload, correlation data, trace context: the topic is the address of it all. */
void harvest_add(struct harvest *b, const struct mosquitto_message *from, const mosquitto_property *properties)
{
	void *correlation = NULL;
	uint16_t correlation_len = 0;
	uint32_t expiry = 0;
	mosquitto_property_read_binary(properties, MQTT_PROP_CORRELATION_DATA, &correlation, &correlation_len, false);
	mosquitto_property_read_int32(properties, MQTT_PROP_MESSAGE_EXPIRY_INTERVAL, &expiry, false);

	char *traceparent = user_property(properties, "traceparent");
	char *tracestate = traceparent ? user_property(properties, "tracestate") : NULL;
	size_t topic_size = strlen(from->topic) + 1, len = (size_t)from->payloadlen;
	size_t bytes = topic_size + len + correlation_len + size_of(traceparent) + size_of(tracestate);
	char *topic = memory_resize(NULL, bytes, 1), *payload = topic + topic_size;
	memcpy(topic, from->topic, topic_size);
	if (len)
		memcpy(payload, from->payload, len);
	if (correlation_len) /* where there was no memory for it, there is a length all the same */
		memcpy(payload + len, memory_need(correlation), correlation_len);
	char *end = payload + len + correlation_len;
	*next_of(b) = (struct mqtt_message){ .topic = topic,
		.payload = payload,
		.len = len,
		.correlation = correlation ? payload + len : NULL,
		.correlation_len = correlation_len,
		.traceparent = put_text(&end, traceparent),
		.tracestate = put_text(&end, tracestate),
		.retained = from->retain,
		.expiry_seconds = expiry };
	b->bytes += bytes;
	free(correlation);
	free(traceparent);
	free(tracestate);
}

static struct mqtt_message *next_of(struct harvest *b)
{
	if (b->count == b->size) {
		b->size = b->size ? 2 * b->size : 16;
		b->messages = memory_resize(b->messages, b->size, sizeof *b->messages);
	}
	return &b->messages[b->count++];
}

void harvest_clear(struct harvest *b)
{
	for (size_t i = 0; i < b->count; i++)
		free((char *)b->messages[i].topic);
	b->count = b->bytes = 0;
}

void harvest_free(struct harvest *b)
{
	harvest_clear(b);
	free(b->messages);
	*b = (struct harvest){ 0 };
}
