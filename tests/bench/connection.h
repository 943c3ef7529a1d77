/* connection.h - a TCP connection to the node on libuv that gathers what is to be sent, and keeps what has come until it is
 * taken, by TLS where that is asked for. What cannot be sent or received ends the program: the benchmark measures no failures. */
#ifndef KEYFOB_BENCH_CONNECTION_H
#define KEYFOB_BENCH_CONNECTION_H

#include <stddef.h>
#include <uv.h>

#include "base/json.h"

typedef struct ssl_st SSL;

struct connection {
	uv_tcp_t tcp;
	SSL *tls; /* NULL: plain */
	uv_connect_t connect;
	struct text in, out;
	void (*on_open)(struct connection *);
	/* Looks at `in`, returns how much of its beginning it has taken. */
	size_t (*on_bytes)(struct connection *);
};

/* A port of the command line; after "tls:" all connections of the program speak TLS. Nobody's certificate is verified. */
int tcp_port(const char *argument);
/* Zero-initialise, set both callbacks. To 127.0.0.1. */
void tcp_open(struct connection *, uv_loop_t *, int port);
/* Sends what is in `out`. After on_open and on_bytes this happens by itself. */
void tcp_flush(struct connection *);
void tcp_close(struct connection *);

#endif
