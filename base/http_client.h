/* http_client.h - outgoing HTTP on the loop: every call ends by itself, within its time and its size, of which 64 KiB are for the head.
 *
 * Redirects are not followed. Unless it may be repeated, a call never goes out on a connection that was used before: so it is sent
 * at most once. libcurl is seen in http_client.c and http_url.c alone; names are resolved off the loop, and a proxy is taken from the environment, as
 * libcurl does (https_proxy, no_proxy). Servers are believed that the system's authorities vouch for, or those of the file that
 * SSL_CERT_FILE names. */
#ifndef KEYFOB_BASE_HTTP_CLIENT_H
#define KEYFOB_BASE_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_client;
struct loop;

enum http_end {
	HTTP_ANSWERED, /* there is a status */
	HTTP_NOT_SENT, /* certainly nothing of the request has left (of one that may be repeated: probably) */
	HTTP_LOST,     /* it may have arrived; the answer did not */
};

struct http_answer { /* borrowed until on_done returns */
	enum http_end end;
	int status;
	const char *body; /* NUL-terminated */
	size_t len;
	bool cut;		   /* the body was longer than answer_max, or did not come whole */
	const char *why;	   /* of what was not answered: libcurl's word or ours, without URL or secret */
	int64_t retry_after_s;	   /* RFC 9110 §10.2.3: seconds, also where the header has a date; 0: not there */
	const char *cache_control; /* RFC 9111 §5.2: the header's text; NULL: not there */
	bool inside;		   /* every address that there is was refused by public_only */
};

/* Signs the request (AWS Signature Version 4). */
struct http_signature {
	const char *region, *service, *access_key_id, *secret_access_key;
};

/* Embedded in the asker, who keeps it and everything it points to until `on_done`. */
struct http_call {
	const char *method; /* "GET", "POST", "PUT" */
	const char *url;
	const char *const *headers; /* "Name: value", NULL-terminated; NULL: none */
	const char *body;	    /* NULL: none */
	size_t body_len;
	int64_t timeout_ms;			/* for all of it */
	size_t answer_max;			/* bytes of the body that are kept; past it the call ends */
	const struct http_signature *signature; /* NULL: none */
	bool public_only;			/* https, to public addresses, and never by a proxy */
	bool repeatable; /* it may arrive twice: connections are kept for the next call, and libcurl repeats one that was dead */
	void (*on_done)(struct http_call *, const struct http_answer *);
};

/* making */
struct http_client *http_client_new(struct loop *);
/* Ends the calls that are under way, frees it, then `on_closed`; everything from the loop. */
void http_client_close(struct http_client *, void (*on_closed)(void *owner), void *owner);

/* changing; on_done runs once, from the loop */
void http_client_call(struct http_client *, struct http_call *);

#endif
