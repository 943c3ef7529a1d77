/* http.h - REST, server-sent events and the admin listener, through libh2o on the worker's loop; h2o is seen here alone. */
#ifndef KEYFOB_GATEWAY_HTTP_H
#define KEYFOB_GATEWAY_HTTP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct address;
struct api;
struct http;
struct loop;

struct http_options {
	struct api *api; /* borrowed; NULL for the admin listener */
	size_t max_connections;
	size_t max_queue; /* bytes that an event stream may be behind */
	/* the admin listener's: whether the node can work */
	void *owner;
	bool (*is_ready)(void *owner, json_t **ret_details);
};

struct http *http_new(struct loop *, const struct http_options *);
/* Listens besides the node's other workers (SO_REUSEPORT); false: the log says why not. */
bool http_listen(struct http *, const struct address *);
/* No new connections; streams end. */
void http_drain(struct http *);
bool http_is_empty(const struct http *); /* no request is under way */

#endif
