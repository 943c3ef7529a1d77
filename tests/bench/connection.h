/* connection.h - a TCP connection to the node on libuv that gathers what is to be sent, and keeps what has come until it is
 * taken. What cannot be sent or received ends the program: the benchmark measures no failures. */
#ifndef KEYFOB_BENCH_CONNECTION_H
#define KEYFOB_BENCH_CONNECTION_H

#include <stddef.h>
#include <uv.h>

#include "base/json.h"

struct connection {
	uv_tcp_t tcp;
	uv_connect_t connect;
	struct text in, out;
	void (*on_open)(struct connection *);
	/* Looks at `in`, returns how much of its beginning it has taken. */
	size_t (*on_bytes)(struct connection *);
};

/* Zero-initialise, set both callbacks. To 127.0.0.1. */
void connection_open(struct connection *, uv_loop_t *, int port);
/* Sends what is in `out`. After on_open and on_bytes this happens by itself. */
void connection_flush(struct connection *);
void connection_close(struct connection *);

#endif
