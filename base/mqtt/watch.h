/* watch.h - a socket of libmosquitto's on the uv loop.
 *
 * The watch polls a duplicate of the descriptor. libmosquitto closes its own whenever it likes, also from within
 * a read; were that one polled, its number could belong to somebody else before the poll is stopped. */
#ifndef KEYFOB_BASE_MQTT_WATCH_H
#define KEYFOB_BASE_MQTT_WATCH_H

#include "base/loop.h"

struct watch;

/* `events` are UV_READABLE and UV_WRITABLE, or -1: the socket has failed, watch_error() says how. Nothing is
 * watched until watch_set(). NULL when the process has no descriptor left. */
struct watch *watch_new(uv_loop_t *, int fd, void (*on_ready)(void *owner, int events), void *owner);
/* 0 watches nothing. */
void watch_set(struct watch *, int events);
/* The socket's own error, an errno; taking it clears it. */
int watch_error(const struct watch *);
/* Also from within `on_ready`, which does not run any more; the memory goes from the loop. NULL is fine. */
void watch_close(struct watch *);

#endif
