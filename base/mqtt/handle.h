/* handle.h - libmosquitto handles, ready to connect: protocol, credentials, TLS, will, limits. */
#ifndef KEYFOB_BASE_MQTT_HANDLE_H
#define KEYFOB_BASE_MQTT_HANDLE_H

struct mosquitto;
struct mqtt_broker;
struct mqtt_link_options;

#define FEED_RECEIVE_MAXIMUM 512 /* unless the options say otherwise; a send link's inbox has the same */
#define FEED_PACKET_MAX                                                                                                \
	(1 << 20) /* a larger one the broker throws away (MQTT 5 §3.1.2.11.4): no codec reads an eighth of it */
#define SEND_MAXIMUM 1024 /* QoS 1 publishes in flight, unless the broker's CONNACK says otherwise */

/* The caller destroys it with mosquitto_destroy(). NULL: the options are wrong, `ret_reason` says in a sentence how. */
struct mosquitto *handle_new(const struct mqtt_broker *, const struct mqtt_link_options *, const char **ret_reason);

#endif
