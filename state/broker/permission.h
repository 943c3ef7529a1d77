/* permission.h - which topics a client may read, write and subscribe to. */
#ifndef KEYFOB_STATE_BROKER_PERMISSION_H
#define KEYFOB_STATE_BROKER_PERMISSION_H

#include <stdbool.h>

struct mosquitto_evt_acl_check;
struct settings;

/* asking */
/* The client of `event` is a vehicle: its own topics alone. */
bool vehicle_may(const struct mosquitto_evt_acl_check *event);
/* The client is the gateway: everything but forging lifecycle events. */
bool gateway_may(const struct settings *, const struct mosquitto_evt_acl_check *event);
/* PREFIX/NAMESPACE/resync */
bool topic_is_resync(const struct settings *, const char *topic);

#endif
