/* harvest.c - copies messages, each with its texts in one allocation. */
#include "base/mqtt/harvest.h"

#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static struct mqtt_message *next_of(struct harvest *);

/* Topic, NUL, payload, correlation data: the topic is the address of it all. */
void harvest_add(struct harvest *b, const struct mosquitto_message *from, const mosquitto_property *properties)
{
	void *correlation = NULL;
	uint16_t correlation_len = 0;
	uint32_t expiry = 0;
	mosquitto_property_read_binary(properties, MQTT_PROP_CORRELATION_DATA, &correlation, &correlation_len, false);
	mosquitto_property_read_int32(properties, MQTT_PROP_MESSAGE_EXPIRY_INTERVAL, &expiry, false);

	size_t topic_size = strlen(from->topic) + 1, len = (size_t)from->payloadlen;
	size_t bytes = topic_size + len + correlation_len;
	char *topic = memory_resize(NULL, bytes, 1), *payload = topic + topic_size;
	memcpy(topic, from->topic, topic_size);
	if (len)
		memcpy(payload, from->payload, len);
	if (correlation_len)
		memcpy(payload + len, correlation, correlation_len);
	*next_of(b) = (struct mqtt_message){ .topic = topic,
		.payload = payload,
		.len = len,
		.correlation = correlation ? payload + len : NULL,
		.correlation_len = correlation_len,
		.retained = from->retain,
		.expiry_seconds = expiry };
	b->bytes += bytes;
	free(correlation);
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
