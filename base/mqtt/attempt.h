/* attempt.h - one attempt to open a connection, on a thread of libuv's pool, for libmosquitto resolves the broker's
 * name with getaddrinfo().
 *
 * Only the name is waited for there: how long is the resolver's affair (resolv.conf(5): by default twice 5 s for
 * each name server), and a link has at most one attempt under way, so it never holds more than one thread. The
 * TCP and the TLS handshake are begun there and completed on the loop, where the link's timer bounds them. */
#ifndef KEYFOB_BASE_MQTT_ATTEMPT_H
#define KEYFOB_BASE_MQTT_ATTEMPT_H

#include "base/loop.h"

struct attempt;
struct mosquitto;
struct mqtt_broker;

/* The handle belongs to the attempt until `on_done`, which hands it back: with a socket that is connecting, or NULL
 * with a reason (a sentence, borrowed). It never runs inside this call. */
struct attempt *attempt_start(uv_loop_t *, struct mosquitto *handle, const struct mqtt_broker *, int keepalive_seconds,
	void (*on_done)(void *owner, struct mosquitto *handle, const char *reason), void *owner);
/* `on_done` never runs, and the attempt ends by itself, with the handle. NULL is fine. */
void attempt_abandon(struct attempt *);

#endif
