/* connection.h - one connection, from a connecting socket to its loss.
 *
 * libmosquitto's callbacks come from within its calls, where it must not be called again in every way. They
 * only note the news here; the link reads the news when the library has returned.
 *
 * A feed's PUBACKs stand in the handle's queue from the moment a message is read, and any write takes them
 * along. Hence its discipline: it reads only when nothing waits to be written, and from the first message that was read
 * to connection_release() it is *held*: nothing is written, not even a ping, and nothing read. */
#ifndef KEYFOB_BASE_MQTT_CONNECTION_H
#define KEYFOB_BASE_MQTT_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mqtt/harvest.h"
#include "base/mqtt/mids.h"
#include "base/mqtt/reason.h"

struct loop;
struct mosquitto;
struct mqtt_publish;
struct watch;

#define OUTSTANDING_MAX 16384	 /* publishes not yet written or acknowledged; the next is refused */
#define UNWRITTEN_MAX (16 << 20) /* bytes of QoS 0 that wait for the socket; what would be more is refused, too */

struct puback {
	int mid, reason;
};

/* What the library told since connection_forget_news(). */
struct news {
	bool accepted; /* CONNACK, success */
	bool session_present;
	bool subscribed; /* every SUBSCRIBE so far is granted */
	struct puback *pubacks;
	size_t puback_count, puback_size;
	struct harvest batch;
	size_t told; /* how often the library told anything */
};

struct connection {
	struct mosquitto *handle; /* NULL: none */
	struct watch *watch;
	bool feed, tls;
	size_t batch_max;
	uint32_t session_expiry_seconds; /* a feed's, as it asks for it */

	bool is_accepted; /* the handshakes are over: CONNACK was read */
	bool is_held;
	bool has_more; /* reading ended for want of room; what TLS has decrypted no poll will tell */
	bool is_lost;
	char reason[REASON_SIZE]; /* why it is lost */
	char detail[REASON_SIZE]; /* the library's own words on a failed TLS handshake */

	uint16_t receive_maximum; /* as the CONNACK had it */
	bool retains;		  /* likewise: the broker keeps retained messages */
	unsigned subscribes;	  /* without their SUBACK */
	struct mids awaited;	  /* QoS 1, without their PUBACK */
	struct unwritten {	  /* QoS 0, not yet in the socket, … */
		size_t first, count, bytes;
		uint32_t *lens; /* … a ring of OUTSTANDING_MAX payloads, in order; NULL: there was none yet */
	} unwritten;
	struct news news;
};

/* making */
/* Zero-initialise. Eats the handle, whose socket is connecting; `on_ready` hears when connection_exchange() has work.
 * It may be lost at once. */
void connection_open(struct connection *, struct loop *, struct mosquitto *handle,
	void (*on_ready)(void *owner, int events), void *owner);
/* Drops it without a DISCONNECT; what the broker has not got by then, it never gets. Nothing happens when there is none. */
void connection_drop(struct connection *);
/* connection_drop(), and the memory of the news. */
void connection_free(struct connection *);

/* changing */
/* Writes and reads as `events` says (see watch.h), until the socket is dry or a batch is full. */
void connection_exchange(struct connection *, int events);
void connection_forget_news(struct connection *);
/* A feed's batch is committed: its PUBACKs may go out. */
void connection_release(struct connection *);
/* Each second: pings, and notices a broker that does not answer them. */
void connection_tick(struct connection *);
/* Sets what is polled for, after any of the others. While it is held that stays as it was: mostly it is released before anything more
 * comes, and what is polled for costs system calls to change. */
void connection_await(struct connection *);
/* Something came while it is held: nothing is polled for until it is released. */
void connection_rest(struct connection *);
/* Until it is let go, the kernel keeps what is written, unless that fills a segment. */
void connection_gather(struct connection *, bool yes);
/* The first reason stands. */
void connection_lose(struct connection *, const char *reason);
void connection_subscribe(struct connection *, const char *const *filters, size_t count, int qos);
/* The message id or -1: nothing was and nothing will be sent. */
int connection_publish(struct connection *, const struct mqtt_publish *);
/* Begins to say goodbye. */
void connection_disconnect(struct connection *);
/* false: the DISCONNECT has not left yet; `on_ready` tells when to ask again. */
bool connection_has_left(struct connection *);

#endif
