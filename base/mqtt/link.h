/* link.h - one MQTT 5 session on the loop, by libmosquitto's external loop (socket, read, write, misc).
 *
 * Two kinds. A *send link* starts clean, publishes, and may subscribe (its inbox); PUBACKs to what it
 * receives go out at once. A *feed link* only receives: its session persists at the broker, it reads
 * until the socket is dry, hands over what it read as one batch, and neither reads on nor
 * acknowledges until link_acknowledge() says that the batch is committed. So what was read and not
 * committed comes again after a crash (docs/decisions/, libmosquitto 2.0.11).
 *
 * A lost connection is never reused: the link makes a new libmosquitto handle, waits (backoff with
 * jitter, 100 ms to 5 s) and connects again, to the next of the broker's hosts where it has several (to the same where its owner dropped it: a
 * cluster may refuse a session for a while that has moved about). The broker's name is resolved in uv_queue_work, bounded by the
 * resolver; TCP, TLS and CONNACK happen on the loop and have 5 s together. Before every connect it asks
 * `may_connect`. Every callback runs from the loop, and any function here may be called in it. */
#ifndef KEYFOB_BASE_MQTT_LINK_H
#define KEYFOB_BASE_MQTT_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct mqtt_link;

struct mqtt_broker { /* where; borrowed for the life of the link */
	const char *host;
	int port;
	struct mqtt_broker *next;	 /* another host of it, of which host, port and tls count; NULL: none */
	const char *username, *password; /* NULL: none */
	bool tls;
	const char *ca, *certificate, *key; /* files; NULL: the system's CAs, no client certificate */
};

/* Borrowed until the callback returns; on feed links until link_acknowledge(), link_reconnect() or link_close(). Of a
 * feed's, none makes a packet of more than a mebibyte. */
struct mqtt_message {
	const char *topic;
	const char *payload; /* not NUL-terminated */
	size_t len;
	const char *correlation; /* Correlation Data, NULL when absent; not NUL-terminated */
	size_t correlation_len;
	const char *traceparent, *tracestate; /* user properties of those names, as they came; NULL when absent */
	bool retained;
	uint32_t expiry_seconds; /* what the broker says is left of its life (MQTT 5 §3.3.2.3.3), 0: no limit */
};

/* Properties of a publish; zeroed fields are not sent. */
struct mqtt_publish {
	const char *topic;
	const void *payload;
	size_t len;
	bool retain;
	int qos; /* 0 or 1 */
	const char *response_topic;
	const char *correlation; /* text */
	const char *content_type;
	uint32_t expiry_seconds; /* 0: none */
	struct mqtt_user_property {
		const char *name, *value;
	} user[4];
};

struct mqtt_link_options {
	const char *client_id;
	bool feed;			 /* a feed link; else a send link */
	uint32_t session_expiry_seconds; /* feed links */
	uint16_t receive_maximum;	 /* feed links: how much a batch may hold; 0: 512 */
	int keepalive_seconds;		 /* 0: 10 */
	const char *will_topic;		 /* NULL: none */
	const char *will_payload;
	bool will_retain;
	void *owner; /* handed to every callback */

	/* asked before every CONNECT, may be NULL: answer by link_may_connect(), now or later */
	void (*may_connect)(void *owner, struct mqtt_link *);
	void (*on_up)(void *owner, struct mqtt_link *, bool session_present);
	/* The connection is gone, or an attempt failed (`reason` is a sentence). What was published and not
	 * acknowledged has no on_puback any more. */
	void (*on_down)(void *owner, struct mqtt_link *, const char *reason);
	/* Every link_subscribe() of this connection is granted. A refused one is a lost connection. */
	void (*on_subscribed)(void *owner, struct mqtt_link *);
	/* send links: one message */
	void (*on_message)(void *owner, struct mqtt_link *, const struct mqtt_message *);
	/* feed links: all that could be read, at least one, or what makes 8 MiB; the link stands still until
	 * link_acknowledge(), and does not notice before that its connection is gone */
	void (*on_batch)(void *owner, struct mqtt_link *, const struct mqtt_message *, size_t count);
	/* `reason` is the MQTT 5 reason code (§3.4.2.1): 0 success, 0x10 no matching subscribers */
	void (*on_puback)(void *owner, struct mqtt_link *, int mid, int reason);
};

/* making */
struct mqtt_link *link_new(struct loop *, const struct mqtt_broker *, const struct mqtt_link_options *);
void link_start(struct mqtt_link *);
/* Ends it: DISCONNECT when connected (no will; a feed link that holds a batch goes without), then freed from the loop;
 * `on_closed` (may be NULL) is the last call. */
void link_close(struct mqtt_link *, void (*on_closed)(void *owner));

/* asking */
bool link_is_up(const struct mqtt_link *);
/* How many QoS 1 publishes the broker takes that it has not acknowledged (MQTT 5 §3.2.2.3.3); while the link is up. */
unsigned link_receive_maximum(const struct mqtt_link *);
/* Whether the broker keeps retained messages (MQTT 5 §3.2.2.3.5); while the link is up. Where it does not, they are published as others. */
bool link_retains(const struct mqtt_link *);
size_t link_unacknowledged(const struct mqtt_link *); /* QoS 1 publishes whose PUBACK is out */

/* changing */
void link_may_connect(struct mqtt_link *, bool yes); /* no: it waits and asks again */
/* Of a link that was made with a will: its payload from the next connect on. */
void link_set_will(struct mqtt_link *, const char *payload);
/* From on_up on; does nothing when the link is down. */
void link_subscribe(struct mqtt_link *, const char *const *filters, size_t count, int qos);
/* The message id (for on_puback), or -1 when the link is down, 16 384 publishes are outstanding, 16 MiB of QoS 0 wait to be written, or this
 * cannot be a message (its topic, its size): then nothing was and nothing will be sent. */
int link_publish(struct mqtt_link *, const struct mqtt_publish *);
void link_acknowledge(struct mqtt_link *); /* feed links: the batch is committed */
/* Drops the connection and connects again: what was read and not acknowledged comes again. The batch is gone, and
 * must not be acknowledged any more. Until one is, the waits grow as with failures. Does nothing when there is no connection. */
void link_reconnect(struct mqtt_link *);

/* Splits mqtt://host:port,host:port… or mqtts://…; allocates ret->host and ret->next, for mqtt_broker_forget(). false: not such a
 * URL. */
bool mqtt_url_parse(const char *url, struct mqtt_broker *ret);
/* Frees what mqtt_url_parse() allocated. */
void mqtt_broker_forget(struct mqtt_broker *);

#endif
