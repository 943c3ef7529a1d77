/* network.h - names and connections in libuv's place, as far as notifier/wake/smpp/wire.c uses them: nothing happens there
 * until the target says so. What libuv forbids, and what a caller leaves open, ends the process. */
#ifndef KEYFOB_TESTS_FUZZ_NETWORK_H
#define KEYFOB_TESTS_FUZZ_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct network_owner {
	void (*on_open)(void); /* before the caller hears of it */
	/* `arrives` is false for what is refused at once. */
	void (*on_write)(const uint8_t *bytes, size_t len, bool arrives);
};

/* making: before each input */
void network_begin(const struct network_owner *); /* borrowed */

/* asking */
bool network_is_open(void); /* a connection stands */
bool network_is_idle(void); /* nobody looks up, connects or is connected, and nothing waits for network_turn() */

/* changing; what nobody waits for is nothing */
void network_resolve(int addresses); /* 0: the name is unknown */
void network_connect(bool accepts);
/* Bytes for the reader, as many as it takes at once: how many. */
size_t network_give(const uint8_t *bytes, size_t len);
void network_cut(int error); /* of libuv's, UV_EOF among them */
/* What is written stays: it, and `backlog` bytes besides, are not yet on their way. */
void network_hold(bool holds, size_t backlog);
void network_refuse_write(void); /* the next one fails */
/* A cancelled look-up ends as if it had been too late to cancel it. */
void network_be_late(void);
/* Ends what was closed or cancelled, and writes what is not held. */
void network_turn(void);

#endif
