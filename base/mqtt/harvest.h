/* harvest.h - messages copied out of libmosquitto, which frees its own when its callback returns. */
#ifndef KEYFOB_BASE_MQTT_HARVEST_H
#define KEYFOB_BASE_MQTT_HARVEST_H

#include <stddef.h>

#include "base/mqtt/link.h"

struct mosquitto_message;
typedef struct mqtt5__property mosquitto_property;

/* Zero-initialise; harvest_free() when done. */
struct harvest {
	struct mqtt_message *messages;
	size_t count, size;
	size_t bytes; /* of topics and payloads */
};

void harvest_add(struct harvest *, const struct mosquitto_message *, const mosquitto_property *);
void harvest_clear(struct harvest *);
void harvest_free(struct harvest *);

#endif
