/* ws.h - the room for apps: JSON-RPC 2.0 over WebSocket (RFC 6455), on the worker's loop.
 *
 * The door hands over connections whose upgrade request it has seen but not read. Each becomes a socket: it says who
 * it is, calls the operations of gateway/api.h and watches vehicles through the hub. What an app may be behind, send
 * and ask at once is bounded; past a bound the socket is closed with the code that says so (contract §5).
 * Everything here belongs to the worker's thread. */
#ifndef KEYFOB_GATEWAY_WS_H
#define KEYFOB_GATEWAY_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct api;
struct loop;
struct texts;
struct ws;

struct ws_options {
	size_t max_message;		     /* bytes, over all fragments; a larger one is closed with 1009 */
	size_t max_queue;		     /* bytes that may wait for one app; past them 4408 */
	int64_t ping_interval_ms;	     /* two pings without a pong: the app is gone */
	double per_socket;		     /* messages a second, two seconds deep; past them 4429; 0: no limit */
	const struct texts *cors_origins;    /* borrowed; origins besides the request's own host */
	const struct texts *trusted_proxies; /* borrowed; addresses and networks whose X-Forwarded-Host counts */
	void *owner;			     /* of on_gone */
	void (*on_gone)(void *, const char *peer); /* one that was adopted is closed, whatever became of it */
};

/* making */

/* NULL: libwebsockets cannot start; the log says so. `api` is borrowed for life. */
struct ws *ws_new(struct loop *, struct api *, const struct ws_options *);
/* Closes what is open without a word. After loop_run() has returned, or before it was called. NULL is fine. */
void ws_free(struct ws *);

/* asking */

/* No socket is open. */
bool ws_is_empty(const struct ws *);

/* changing */

/* Takes `fd`, a connected socket whose whole upgrade request waits unread in the kernel; one that is not fit to become
 * a WebSocket gets its HTTP answer and is closed. `peer` is the numeric address of the other side, copied. */
void ws_adopt(struct ws *, int fd, const char *peer);
/* The node goes down: what was asked is answered, then everybody is closed with 1012; newcomers get 503. */
void ws_drain(struct ws *);

#endif
