/* batch.h - messages copied out of libmosquitto, which frees its own when its callback returns. */
#ifndef KEYFOB_BASE_MQTT_BATCH_H
#define KEYFOB_BASE_MQTT_BATCH_H

#include <stddef.h>

#include "base/mqtt/link.h"

struct mosquitto_message;
typedef struct mqtt5__property mosquitto_property;

/* Zero-initialise; batch_free() when done. */
struct batch {
	struct mqtt_message *messages;
	size_t count, size;
	size_t bytes; /* of topics and payloads */
};

void batch_add(struct batch *, const struct mosquitto_message *, const mosquitto_property *);
void batch_clear(struct batch *);
void batch_free(struct batch *);

#endif
