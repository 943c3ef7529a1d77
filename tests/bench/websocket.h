/* websocket.h - an app's WebSocket to the node, or to what it is compared with: text frames there, text frames back (RFC 6455). */
#ifndef KEYFOB_BENCH_WEBSOCKET_H
#define KEYFOB_BENCH_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>

#include "tests/bench/connection.h"

struct websocket {
	struct connection connection;
	const char *token; /* borrowed; NULL: none, and no protocol of ours */
	const char *path;  /* borrowed; NULL: the node's */
	bool is_open;
	void (*on_open)(struct websocket *);
	void (*on_text)(struct websocket *, const char *text, size_t len); /* not NUL-terminated */
};

/* Zero-initialise, set token or path, and callbacks. */
void websocket_open(struct websocket *, uv_loop_t *, int port);
/* Leaves when the callback that it is called from returns, or by tcp_flush(). */
void websocket_send(struct websocket *, const char *text, size_t len);

#endif
