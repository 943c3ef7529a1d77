/* wire.h - a client's connection to the door, plain or in TLS, by its descriptor; blocking, with a bound on each wait. */
#ifndef KEYFOB_TESTS_GATEWAY_WIRE_H
#define KEYFOB_TESTS_GATEWAY_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_st SSL;

/* The context of those that speak TLS: trusts `certificate_file` alone. The caller's. */
SSL_CTX *wire_context(const char *certificate_file);

/* To 127.0.0.1. `context` NULL: plain. -1: the other side closed before the handshake was done. */
int wire_dial(int port, SSL_CTX *context);
/* NULL: plain. */
SSL *wire_tls(int fd);

/* As send() and recv(). What recv() says of TLS that ends without a close_notify: -1 and EPROTO. */
ssize_t wire_send(int fd, const void *data, size_t len);
ssize_t wire_recv(int fd, void *data, size_t size);
void wire_end(int fd); /* nothing more will be sent: FIN, or close_notify */
void wire_close(int fd);

#endif
