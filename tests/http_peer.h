/* http_peer.h - a scripted HTTP server on the test's own loop: it hears one request after the other, and says to each what the
 * test wants it to say. */
#ifndef KEYFOB_TESTS_HTTP_PEER_H
#define KEYFOB_TESTS_HTTP_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/json.h"
#include "base/loop.h"

struct http_peer {
	const char *says;  /* NULL or "": nothing */
	bool stays;	   /* does not close after it */
	struct text heard; /* of the last connection: the head and the body that it announced */
	size_t connections;
	int port;

	int listener, fd; /* fd -1: nobody is connected */
	uv_poll_t accepting, reading;
	struct loop_timer
		tick; /* uv_run() runs timers and then waits for more, though one of them was what the test waits for */
};

void http_peer_start(struct http_peer *, struct loop *);
bool http_peer_has_heard(const struct http_peer *); /* a whole request */
void http_peer_stop(struct http_peer *);	    /* before the loop's last run */

#endif
