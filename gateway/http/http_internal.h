/* http_internal.h - one request between h2o and the operations, for this room's files. */
#ifndef KEYFOB_GATEWAY_HTTP_INTERNAL_H
#define KEYFOB_GATEWAY_HTTP_INTERNAL_H

#define H2O_USE_LIBUV 1
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#pragma GCC diagnostic ignored "-Wcast-function-type"
#include <h2o.h>
#include <netinet/in.h>
#pragma GCC diagnostic pop

#include "base/json.h"
#include "gateway/api.h"
#include "gateway/http/http.h"
#include "notifier/hub.h"

#define BODY_MAX (64 * 1024)

/* BEGINS: a batch; MAKES: a webhook; STREAMS: when asked to; FOLLOWS: always, a fleet. MERGES: the body is a merge patch; CARRIES: it is the payload as
 * it stands; REPEATS: it may say what the path says, a vehicle's id. */
enum route_flag { PLAIN, SENDS, BEGINS, MAKES, STREAMS, FOLLOWS, MERGES, CARRIES, REPEATS };

struct route {
	const char *method, *path;
	const struct api_operation *operation;
	int status;
	const char *query; /* names, comma-separated */
	enum route_flag flag;
};
extern const struct route routes[];
extern const size_t route_count;

/* Every handler of ours begins so; h2o made the first part. */
struct http_handler {
	h2o_handler_t super;
	struct http *http;
};

struct http {
	struct loop *loop;
	struct http_options options;
	h2o_globalconf_t config;
	h2o_context_t context;
	h2o_accept_ctx_t accept;
	struct list streams, connections;
	size_t requests;
	char *policy_of_console, *console_config; /* the second is NULL without a console */
};

/* One request under way. Lives in the request's pool; dies with it. */
struct http_request {
	h2o_handler_t *handler;
	struct http *http;
	h2o_req_t *req;
	const struct route *route;
	json_t *params; /* of the path, then of all; NULL: none yet */
	struct keys_wait keys;
	struct api_call *call;
	char client[INET6_ADDRSTRLEN]; /* who asks, behind trusted proxies */
	struct caller caller;
	char request_id[37];
	int64_t began_us;	  /* monotonic */
	int64_t wait;		  /* Prefer: wait=N; -1: none */
	struct rate_verdict rate; /* of the bucket that was asked last */
	struct stream *stream;
	bool lingers; /* the client may still be sending: after the answer what comes is read, and thrown away */
};

/* A new one for h2o's request, in its pool. */
struct http_request *http_request_new(struct http *, h2o_req_t *);
/* The path as it was sent, without the query. */
h2o_iovec_t http_path(const h2o_req_t *);
h2o_iovec_t http_path_to_log(const h2o_req_t *);	     /* without a hook's secret */
bool http_is_of_api(const h2o_req_t *);			     /* /v1 and below; the rest is the console's */
h2o_iovec_t http_field(const h2o_req_t *, const char *name); /* of the head; .base is NULL when it is not there */

/* This problem is being answered: into the log. */
void http_log_problem(const struct http_request *, const struct fault *);
/* Answers with a problem (RFC 9457). `call` may be NULL. */
void http_problem(struct http_request *, const struct fault *, const char *detail, const struct api_call *call);
/* With the next answer: the token lacks this scope (RFC 6750 §3.1). */
void http_challenge_scope(struct http_request *, const char *scope);
/* No-store, unless a Cache-Control was added before. */
void http_reply(struct http_request *, int status, const char *type, const char *body, size_t len);
void http_header(struct http_request *, const char *name, const char *value);
const char *http_reason_of(int status); /* the phrase that stands behind it */

/* admin.c, request.c, connection.c: what h2o calls. The last comes first, and passes on what it does not refuse. */
int http_on_admin(h2o_handler_t *, h2o_req_t *);
int http_on_request(h2o_handler_t *, h2o_req_t *);
int http_on_any(h2o_handler_t *, h2o_req_t *);
/* connection.c: what is wrong with how the request came; NULL: nothing, or h2o knows better. */
const char *http_why_refused(const h2o_req_t *);
/* connection.c: what comes next in h2o answers it, a file mostly. */
void http_pass_on(struct http_request *);
/* connection.c: the one that was passed on; else a new one. */
struct http_request *http_request_of(struct http *, h2o_req_t *);
/* connection.c: h2o is about to close this request's connection; it is to be closed by linger.c instead. */
void http_linger(h2o_req_t *);
/* connection.c: an answer of so many bytes begins: a client that does not take it in time is cut off. */
void http_bound_answer(struct http *, const h2o_req_t *, size_t len);
/* linger.c: takes `fd`. `on_closed` as in http_options; `peer` is borrowed. */
void linger_begin(struct loop *, int fd, const char *peer, void (*on_closed)(const char *peer));
/* dress.c: every answer gets the security headers; what h2o answers by itself gets a request id, and what it refuses becomes
 * a problem. */
void http_dress(struct http *, h2o_pathconf_t *);
/* request_log.c: a line for each request, at debug. */
void http_log_requests(h2o_pathconf_t *);

/* cors.c: true when it comes from a page of a listed origin, which may then read the answer. */
bool cors_allow(struct http_request *);
/* True when such a page asks what it may send, which is answered then. */
bool cors_preflight(struct http_request *);

/* openapi.c: true when it was the description that was asked for, which is answered then. */
bool openapi_handle(struct http_request *);

/* hook.c: true when the path is a hook's: then it is answered, or will be. */
bool hook_handle(struct http_request *);

/* console.c: the files outside /v1. Its policy and what it is told are the caller's to free. */
void console_serve(struct http *, h2o_pathconf_t *);
char *console_policy(const struct http_console *); /* a Content-Security-Policy; NULL: of no console */
char *console_config(const struct http_console *); /* JSON */

/* limit.c */
void http_remember_peer(h2o_socket_t *, const char *peer);
/* False: it was answered with 429. */
bool http_may_ask(struct http_request *, enum rate, const char *key);
bool http_client_may_ask(struct http_request *);
void http_client_give_back(struct http_request *); /* what the last took: it was not the client's to spend */
/* The RateLimit fields, where there is a limit. */
void http_add_rate(struct http_request *);

/* stream.c: an event stream instead of a page */
void stream_begin(struct http_request *, json_t *params);
void stream_abandon(struct http_request *);
void stream_end_all(struct http *);

#endif
