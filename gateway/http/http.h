/* http.h - REST, server-sent events and the admin listener, through libh2o on the worker's loop; h2o is seen here alone. */
#ifndef KEYFOB_GATEWAY_HTTP_H
#define KEYFOB_GATEWAY_HTTP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "notifier/wake/http_sms.h"

struct api;
struct http;
struct loop;
struct pairs;
struct texts;

/* Where an SMS provider calls back: /v1/hooks/sms/PROVIDER/SECRET. */
struct http_hook {
	const char *provider, *secret;
	struct sms_callback_form form;
};

/* The console and what it is told. Everything is borrowed. */
struct http_console {
	const char *web_root;		/* the folder whose files are served outside /v1 */
	const char *issuer;		/* where people sign in; NULL: nowhere */
	const char *client_id, *scope;	/* as whom, and for what */
	const struct pairs *parameters; /* besides, to the issuer */
	const struct texts *connect;	/* origins that its pages may connect to besides ours and the issuer's */
	bool development;		/* it takes a token from its address */
};

struct http_options {
	struct api *api;		     /* borrowed; NULL for the admin listener */
	size_t max_queue;		     /* bytes that an event stream may be behind */
	int64_t answer_ms;		     /* a client has so long to take its answer, 0: 10 s, … */
	size_t answer_rate;		     /* … and a second more for each so many bytes of it; 0: 8 KiB */
	const struct texts *cors_origins;    /* borrowed; NULL: none */
	const struct texts *trusted_proxies; /* likewise: whose X-Forwarded-For counts */
	bool secure;			     /* the node ends TLS: browsers are told to stay with it */
	const struct http_hook *hook;	     /* borrowed; NULL: nobody calls back */
	const struct http_console *console;  /* NULL: none */
	/* A connection from `peer` is closed. May be NULL. */
	void (*on_closed)(const char *peer);
	/* the admin listener's: whether the node can work */
	void *owner;
	bool (*is_ready)(void *owner, json_t **ret_details);
};

struct http *http_new(struct loop *, const struct http_options *);
/* Takes a connection of which nothing was read yet. `peer` is the client's numeric address, borrowed. */
void http_accept(struct http *, int fd, const char *peer);
/* Each connection ends with the answer under way; streams end. */
void http_drain(struct http *);
/* Ends every connection at once. */
void http_close(struct http *);
bool http_is_empty(const struct http *); /* no request is under way */

#endif
