/* request.c - from h2o's request to an operation, and from its reply to the wire.
 *
 *   head checked ─ route ─ token ─ parameters (path, query, body, headers) ─ operation ─ reply
 *   each step may end in a problem (RFC 9457) */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "gateway/http/http_internal.h"

#define WAIT_MAX_S 60
#define BODY_MAX (64 * 1024)

static void authenticate_and_run(struct http_request *r, json_t *params);
static void on_done(struct api_call *call);

const struct route routes[] = {
#define ROUTE(method, path, operation, status, query, flag) { method, path, &operation, status, query, flag },
#include "gateway/http/routes.tbl.h"
#undef ROUTE
};
const size_t route_count = sizeof(routes) / sizeof(routes[0]);

/* Answering. */

void http_header(struct http_request *r, const char *name, const char *value)
{
	h2o_req_t *req = r->req;
	h2o_iovec_t n = h2o_strdup(&req->pool, name, SIZE_MAX), v = h2o_strdup(&req->pool, value, SIZE_MAX);
	h2o_add_header_by_str(&req->pool, &req->res.headers, n.base, n.len, 1, NULL, v.base, v.len);
}

static const char *reason_of(int status)
{
	static const struct {
		int status;
		const char *reason;
	} reasons[] = { { 200, "OK" }, { 201, "Created" }, { 202, "Accepted" }, { 204, "No Content" },
		{ 400, "Bad Request" }, { 401, "Unauthorized" }, { 403, "Forbidden" }, { 404, "Not Found" },
		{ 405, "Method Not Allowed" }, { 409, "Conflict" }, { 413, "Content Too Large" },
		{ 415, "Unsupported Media Type" }, { 422, "Unprocessable Content" }, { 429, "Too Many Requests" },
		{ 503, "Service Unavailable" } };
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		if (reasons[i].status == status)
			return reasons[i].reason;
	}
	return "Internal Server Error";
}

void http_reply(struct http_request *r, int status, const char *type, const char *body, size_t len)
{
	h2o_req_t *req = r->req;

	metric_add(METRIC_HTTP_REQUESTS, 1);
	req->res.status = status;
	req->res.reason = reason_of(status);
	req->res.content_length = len;
	if (len > 0)
		http_header(r, "content-type", type);
	if (r->request_id[0])
		http_header(r, "x-request-id", r->request_id);
	h2o_send_inline(req, body, len);
}

void http_problem(struct http_request *r, const struct fault *fault, const char *detail, const struct api_call *call)
{
	json_auto_t *problem = api_problem(fault, detail, r->request_id, call && call->retriable_by_key);
	char *body = memory_need(json_dumps(problem, JSON_COMPACT)), text[128];

	if (fault == &FAULT_UNAUTHENTICATED)
		http_header(r, "www-authenticate", "Bearer realm=\"keyfob\", error=\"invalid_token\"");
	if (fault == &FAULT_STEP_UP_REQUIRED) { /* RFC 9470 §3 */
		snprintf(text, sizeof(text), "Bearer error=\"insufficient_user_authentication\", %.24s", detail);
		http_header(r, "www-authenticate", text);
	}
	if (fault->retry == RETRY_LATER) {
		snprintf(text, sizeof(text), "%d", call && call->retry_after_s ? call->retry_after_s : 1);
		http_header(r, "retry-after", text);
	}
	http_reply(r, fault->http, "application/problem+json", body, strlen(body));
	free(body);
}

/* Reading. */

static int hex_of(char c)
{
	return isdigit((unsigned char)c)    ? c - '0'
	       : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10
					    : -1;
}

/* Percent-decoded; NULL when it is no text (RFC 3986 §2.1). The caller frees it. */
static char *decode(const char *from, size_t len)
{
	char *out = memory_new(len + 1), *at = out;

	for (size_t i = 0; i < len; i++) {
		int high = from[i] == '%' && i + 2 < len + 0 ? hex_of(from[i + 1]) : -1;
		int low = high >= 0 ? hex_of(from[i + 2]) : -1;
		if (from[i] == '%' && low < 0)
			goto bad;
		*at = from[i] == '%' ? (char)(high * 16 + low) : from[i];
		i += from[i] == '%' ? 2 : 0;
		if (*at++ == '\0')
			goto bad;
	}
	return out;
bad:
	free(out);
	return NULL;
}

/* Whether the path is the route's; its placeholders become parameters. */
static bool match(const char *pattern, const char *path, size_t len, json_t *params)
{
	const char *end = path + len;

	while (*pattern && path < end) {
		if (*pattern != '{') {
			if (*pattern++ != *path++)
				return false;
			continue;
		}
		const char *close = strchr(pattern, '}'), *slash = memchr(path, '/', (size_t)(end - path));
		size_t n = (size_t)((slash ? slash : end) - path);
		char *value = decode(path, n), *name = memory_need(strndup(pattern + 1, (size_t)(close - pattern) - 1));
		json_t *text = value && n > 0 ? json_string(value) : NULL;
		if (text)
			json_object_set_new(params, name, text);
		free(value);
		free(name);
		if (!text)
			return false;
		pattern = close + 1;
		path += n;
	}
	return *pattern == '\0' && path == end;
}

static bool read_query(struct http_request *r, json_t *params)
{
	h2o_req_t *req = r->req;

	if (req->query_at == SIZE_MAX)
		return true;
	char *query = memory_need(strndup(req->path.base + req->query_at + 1, req->path.len - req->query_at - 1)),
	     *rest = query, *pair;
	bool fine = true;
	while (fine && (pair = strsep(&rest, "&")) != NULL) {
		char *equals = strchr(pair, '='), *end;
		if (!*pair)
			continue;
		size_t n = equals ? (size_t)(equals - pair) : 0;
		const char *known = equals ? strstr(r->route->query, (*equals = '\0', pair)) : NULL;
		fine = n > 0 && known && (known == r->route->query || known[-1] == ',') &&
		       (known[n] == ',' || known[n] == '\0');
		char *value = fine ? decode(equals + 1, strlen(equals + 1)) : NULL;
		fine = value != NULL;
		long long number = fine ? strtoll(value, &end, 10) : 0;
		bool counts = strcmp(pair, "limit") == 0 || strcmp(pair, "after") == 0;
		if (fine && counts)
			fine = *value && *end == '\0' && number >= (pair[0] == 'l') &&
			       (pair[0] == 'a' || number <= 200);
		json_t *parsed = fine ? (counts ? json_integer(number) : json_string(value)) : NULL;
		fine = parsed && json_object_set_new(params, pair, parsed) == 0;
		free(value);
	}
	free(query);
	if (!fine)
		http_problem(r, &FAULT_INVALID_QUERY, "", NULL);
	return fine;
}

static h2o_iovec_t header(const h2o_req_t *req, const char *name)
{
	ssize_t at = h2o_find_header_by_str(&req->headers, name, strlen(name), -1);
	return at < 0 ? (h2o_iovec_t){ 0 } : req->headers.entries[at].value;
}

static bool read_body(struct http_request *r, json_t *params)
{
	h2o_iovec_t body = r->req->entity, type = header(r->req, "content-type");
	const char *key;
	json_t *value;

	if (body.len == 0)
		return true;
	if (body.len > BODY_MAX) {
		http_problem(r, &FAULT_TOO_LARGE, "", NULL);
		return false;
	}
	if (type.len < 16 || strncasecmp(type.base, "application/json", 16) != 0) {
		http_problem(r, &FAULT_UNSUPPORTED_MEDIA_TYPE, "", NULL);
		return false;
	}
	json_auto_t *object = json_read(body.base, body.len);
	if (!json_is_object(object)) {
		http_problem(r, &FAULT_MALFORMED_REQUEST, "the body is no JSON object", NULL);
		return false;
	}
	json_object_foreach (object, key, value) {
		if (json_object_get(params, key) || strcmp(key, "wait") == 0 || strcmp(key, "idempotency_key") == 0) {
			http_problem(r, &FAULT_UNKNOWN_FIELD, key, NULL);
			return false;
		}
	}
	json_object_update(params, object);
	return true;
}

/* What command.send takes from headers. */
static void read_send_headers(struct http_request *r, json_t *params)
{
	h2o_iovec_t key = header(r->req, "idempotency-key"), prefer = header(r->req, "prefer"),
		    trace = header(r->req, "traceparent");

	if (key.base)
		json_object_set_new(params, "idempotency_key", json_stringn(key.base, key.len));
	if (trace.base && trace.len < 128)
		json_object_set_new(params, "traceparent", json_stringn(trace.base, trace.len));
	if (prefer.len > 5 && strncasecmp(prefer.base, "wait=", 5) == 0) {
		r->wait = strtoll(prefer.base + 5, NULL, 10);
		r->wait = r->wait < 0 ? 0 : r->wait > WAIT_MAX_S ? WAIT_MAX_S : r->wait;
		json_object_set_new(params, "wait", json_integer(r->wait));
	}
}

/* Routing. */

static void dispose(void *data)
{
	struct http_request *r = data;

	stream_abandon(r);
	if (r->call)
		api_call_cancel(r->call);
	r->http->requests--;
}

static bool find_route(struct http_request *r, json_t *params)
{
	h2o_req_t *req = r->req;
	char allowed[64] = "";

	for (size_t i = 0; i < route_count; i++) {
		json_object_clear(params);
		if (!match(routes[i].path, req->path_normalized.base, req->path_normalized.len, params))
			continue;
		if (h2o_memis(req->method.base, req->method.len, routes[i].method, strlen(routes[i].method))) {
			r->route = &routes[i];
			return true;
		}
		snprintf(allowed + strlen(allowed), sizeof(allowed) - strlen(allowed), "%s%s", allowed[0] ? ", " : "",
			routes[i].method);
	}
	if (allowed[0])
		http_header(r, "allow", allowed);
	http_problem(r, allowed[0] ? &FAULT_METHOD_NOT_ALLOWED : &FAULT_NOT_FOUND, "", NULL);
	return false;
}

int http_on_request(h2o_handler_t *handler, h2o_req_t *req);

struct rest_handler {
	h2o_handler_t super;
	struct http *http;
};

int http_on_request(h2o_handler_t *handler, h2o_req_t *req)
{
	struct http_request *r = h2o_mem_alloc_shared(&req->pool, sizeof(*r), dispose);
	h2o_socket_t *socket = req->conn->callbacks->get_socket(req->conn);

	*r = (struct http_request){ .http = ((struct rest_handler *)(void *)handler)->http, .req = req, .wait = -1 };
	r->http->requests++;
	uuid7_make(loop_unix_us(r->http->loop), r->request_id);
	const char *refused = head_check(socket->input->bytes, socket->input->size);
	if (refused) {
		metric_add(METRIC_HTTP_REFUSED, 1);
		req->http1_is_persistent = 0;
		http_problem(r, &FAULT_MALFORMED_REQUEST, refused, NULL);
		return 0;
	}
	json_t *params = json_object();
	if (find_route(r, params))
		authenticate_and_run(r, params);
	else
		json_decref(params);
	return 0;
}

static bool authenticate(struct http_request *r)
{
	h2o_iovec_t given = header(r->req, "authorization");
	char why[256] = "";

	if (given.len > 7 && strncasecmp(given.base, "Bearer ", 7) == 0 &&
		!api_authenticate(r->http->options.api, given.base + 7, given.len - 7, &r->caller, why, sizeof(why)))
		return true;
	http_problem(r, &FAULT_UNAUTHENTICATED, why, NULL);
	return false;
}

static bool wants_stream(const struct http_request *r)
{
	h2o_iovec_t accept = header(r->req, "accept");
	return r->route->flag == STREAMS && accept.len >= 17 &&
	       memmem(accept.base, accept.len, "text/event-stream", 17);
}

static void authenticate_and_run(struct http_request *r, json_t *params)
{
	if (!authenticate(r) || !read_query(r, params) || !read_body(r, params)) {
		json_decref(params);
		return;
	}
	if (r->route->flag == SENDS)
		read_send_headers(r, params);
	if (wants_stream(r)) {
		if (r->caller.scopes & (SCOPE_VEHICLES_READ | SCOPE_ADMIN)) {
			stream_begin(r, params);
			return;
		}
		json_decref(params);
		http_problem(r, &FAULT_FORBIDDEN, "the token lacks the scope vehicles:read", NULL);
		return;
	}
	r->call =
		api_call_new(r->http->options.api, r->route->operation, &r->caller, params, r->request_id, r, on_done);
	api_call_start(r->call);
}

static void add_links(struct http_request *r, const struct api_call *call)
{
	char text[512];
	const char *vehicle = json_text_at(call->params, "vehicle_id");

	if (call->next_cursor[0]) {
		snprintf(text, sizeof(text), "<%.*s?cursor=%s>; rel=\"next\"", (int)r->req->path_normalized.len,
			r->req->path_normalized.base, call->next_cursor);
		http_header(r, "link", text);
	}
	if (r->route->flag == SENDS) {
		snprintf(text, sizeof(text), "/v1/vehicles/%s/commands/%s", vehicle, call->resource_id);
		http_header(r, "location", text);
		if (call->replayed)
			http_header(r, "idempotency-replayed", "true");
	}
	if (r->wait >= 0) {
		snprintf(text, sizeof(text), "wait=%lld", (long long)r->wait);
		http_header(r, "preference-applied", text);
	}
}

static void on_done(struct api_call *call)
{
	struct http_request *r = call->transport;
	int status = r->route->status;

	if (call->fault) {
		http_problem(r, call->fault, call->detail, call);
	} else {
		status = call->created ? 201 : r->wait >= 0 && call->settled ? 200 : status;
		add_links(r, call);
		http_reply(r, status, "application/json", call->body, status == 204 ? 0 : call->body_len);
	}
	r->call = NULL;
	api_call_free(call);
}
