/* publish.h - one PUBLISH with its MQTT 5 properties. */
#ifndef KEYFOB_BASE_MQTT_PUBLISH_H
#define KEYFOB_BASE_MQTT_PUBLISH_H

struct mosquitto;
struct mqtt_publish;

/* libmosquitto's return code; what fits into the socket is written at once, the rest waits in the handle. */
int publish_send(struct mosquitto *, const struct mqtt_publish *, int *ret_mid);

#endif
