/* request.c - from h2o's request to an operation, and from its reply to the wire.
 *
 *   head checked ─ rate of its address ─ route ─ token ─ rate of its subject ─ parameters (path, query, body, headers) ─ operation ─ reply
 *   each step may end in a problem (RFC 9457) */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "gateway/http/http_internal.h"

#define WAIT_MAX_S 60

static void authenticate_and_run(struct http_request *r);
static void on_keys(struct keys_wait *wait);
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

const char *http_reason_of(int status)
{
	static const struct {
		int status;
		const char *reason;
	} reasons[] = { { 200, "OK" }, { 201, "Created" }, { 202, "Accepted" }, { 204, "No Content" },
		{ 304, "Not Modified" }, { 400, "Bad Request" }, { 401, "Unauthorized" }, { 403, "Forbidden" },
		{ 404, "Not Found" }, { 405, "Method Not Allowed" }, { 409, "Conflict" },
		{ 412, "Precondition Failed" }, { 413, "Content Too Large" }, { 415, "Unsupported Media Type" },
		{ 422, "Unprocessable Content" }, { 426, "Upgrade Required" }, { 429, "Too Many Requests" },
		{ 503, "Service Unavailable" } };
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		if (reasons[i].status == status)
			return reasons[i].reason;
	}
	return "Internal Server Error";
}

static void log_answer(const struct http_request *r, int status)
{
	h2o_iovec_t path = http_path_to_log(r->req);

	if (!log_is_on(LOG_LEVEL_DEBUG))
		return;
	char *method = memory_need(strndup(r->req->method.base, r->req->method.len));
	char *name = memory_need(strndup(path.base, path.len));
	log_debug("http", "answered", LOG_TEXT("method", method), LOG_TEXT("path", name), LOG_INT("status", status),
		LOG_TEXT("subject", r->caller.subject), LOG_TEXT("request_id", r->request_id));
	free(method);
	free(name);
}

void http_reply(struct http_request *r, int status, const char *type, const char *body, size_t len)
{
	h2o_req_t *req = r->req;

	metric_add(METRIC_HTTP_REQUESTS, 1);
	metric_observe(METRIC_HTTP_REQUEST_SECONDS, loop_monotonic_us(r->http->loop) - r->began_us);
	log_answer(r, status);
	req->res.status = status;
	req->res.reason = http_reason_of(status);
	req->res.content_length = status == 204 || status == 304 ? SIZE_MAX : len; /* RFC 9110 §8.6 */
	if (len > 0)
		http_header(r, "content-type", type);
	if (h2o_find_header(&req->res.headers, H2O_TOKEN_CACHE_CONTROL, -1) < 0)
		http_header(r, "cache-control", "no-store");
	http_header(r, "x-request-id", r->request_id);
	http_add_rate(r);
	h2o_send_inline(req, body, len);
}

void http_log_problem(const struct http_request *r, const struct fault *fault)
{
	const struct route *route = r->route;

	if (!r->http->options.api)
		return; /* the admin listener's */
	api_log_problem(
		r->http->options.api, fault, r->request_id, route ? route->method : "", route ? route->path : "");
}

void http_challenge_scope(struct http_request *r, const char *scope)
{
	char text[128];

	snprintf(text, sizeof(text), "Bearer realm=\"keyfob\", error=\"insufficient_scope\", scope=\"%s\"", scope);
	http_header(r, "www-authenticate", text);
}

/* What stands behind "Bearer "; false: none was shown, but perhaps something of another kind. */
static bool bearer_of(const struct http_request *r, h2o_iovec_t *ret)
{
	h2o_iovec_t given = http_field(r->req, "authorization");

	if (given.len <= 7 || strncasecmp(given.base, "Bearer ", 7) != 0)
		return false;
	*ret = h2o_iovec_init(given.base + 7, given.len - 7);
	while (ret->len > 0 && *ret->base == ' ') { /* RFC 6750 §2.1: one or more */
		ret->base++;
		ret->len--;
	}
	return true;
}

/* RFC 6750 §3.1: who has shown no token is told of no error in it. */
static const char *challenge_of(const struct http_request *r)
{
	h2o_iovec_t token;
	return bearer_of(r, &token) ? "Bearer realm=\"keyfob\", error=\"invalid_token\"" : "Bearer realm=\"keyfob\"";
}

void http_problem(struct http_request *r, const struct fault *fault, const char *detail, const struct api_call *call)
{
	json_auto_t *problem = api_problem(fault, detail, r->request_id, call && call->retriable_by_key);
	char *body = memory_need(json_dumps(problem, JSON_COMPACT)), text[128];

	if (fault == &FAULT_UNAUTHENTICATED)
		http_header(r, "www-authenticate", challenge_of(r));
	if (fault == &FAULT_STEP_UP_REQUIRED) { /* RFC 9470 §3 */
		snprintf(text, sizeof(text), "Bearer error=\"insufficient_user_authentication\", %.24s", detail);
		http_header(r, "www-authenticate", text);
	}
	if (fault->retry == RETRY_LATER) {
		int after_s = call ? call->retry_after_s : r->rate.retry_after_s;
		snprintf(text, sizeof(text), "%d", after_s ? after_s : 1);
		http_header(r, "retry-after", text);
	}
	http_log_problem(r, fault);
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
		int high = from[i] == '%' && i + 2 < len ? hex_of(from[i + 1]) : -1;
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

/* Whether the path is the route's; its placeholders become parameters. What is no text is nobody's id: empty. */
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
		if (n == 0)
			return false;
		char *value = decode(path, n), *name = memory_need(strndup(pattern + 1, (size_t)(close - pattern) - 1));
		json_t *text = value ? json_string(value) : NULL;
		json_object_set_new(params, name, text ? text : json_string(""));
		free(value);
		free(name);
		pattern = close + 1;
		path += n;
	}
	return *pattern == '\0' && path == end;
}

/* Whether `name` is among the comma-separated ones. */
static bool is_listed(const char *names, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = names; at && len > 0; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
		if (strncmp(at, name, len) == 0 && (at[len] == ',' || at[len] == '\0'))
			return true;
	}
	return false;
}

/* Those that are numbers, with what they may be; the others are text. */
static json_t *value_of(const char *name, const char *text)
{
	static const struct {
		const char *name;
		long long min, max;
	} numbers[] = { { "limit", 1, 200 }, { "after", 0, INT64_MAX }, { "expires_in_seconds", 1, 31622400 },
		{ "minutes", 1, 1440 } };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (strcmp(name, numbers[i].name) != 0)
			continue;
		size_t digits = strspn(text, "0123456789");
		long long number = digits > 0 && digits < 19 && !text[digits] ? strtoll(text, NULL, 10) : -1;
		return number >= numbers[i].min && number <= numbers[i].max ? json_integer(number) : NULL;
	}
	return json_string(text);
}

/* What makes queries of forms writes a space so (URL standard §5.1), and a plus as %2B, as everybody else does. */
static void spaces_read(char *text)
{
	while ((text = strchr(text, '+')) != NULL)
		*text = ' ';
}

/* One `name=value`; each may be there once. */
static bool read_pair(const struct route *route, char *pair, json_t *params)
{
	char *equals = strchr(pair, '=');

	if (!equals)
		return false;
	*equals = '\0';
	if (!is_listed(route->query, pair) || json_object_get(params, pair))
		return false;
	spaces_read(equals + 1);
	char *text = decode(equals + 1, strlen(equals + 1));
	json_t *value = text ? value_of(pair, text) : NULL;
	free(text);
	return value && json_object_set_new(params, pair, value) == 0;
}

/* It has its name alone by now. */
static void refuse_pair(struct http_request *r, const char *pair)
{
	char why[160];

	snprintf(why, sizeof(why), "%.64s is not known here, stands twice, or has an impossible value", pair);
	http_problem(r, &FAULT_INVALID_QUERY, why, NULL);
}

static bool read_query(struct http_request *r, json_t *params)
{
	h2o_req_t *req = r->req;
	bool fine = true;
	char *pair;

	if (req->query_at == SIZE_MAX)
		return true;
	char *query = memory_need(strndup(req->path.base + req->query_at + 1, req->path.len - req->query_at - 1));
	for (char *rest = query; fine && (pair = strsep(&rest, "&")) != NULL;) {
		fine = !*pair || read_pair(r->route, pair, params);
		if (!fine)
			refuse_pair(r, pair);
	}
	free(query);
	return fine;
}

h2o_iovec_t http_field(const h2o_req_t *req, const char *name)
{
	ssize_t at = h2o_find_header_by_str(&req->headers, name, strlen(name), -1);
	return at < 0 ? (h2o_iovec_t){ 0 } : req->headers.entries[at].value;
}

/* Parameters that come from headers alone. */
static bool is_of_header(const char *name)
{
	static const char *const names[] = { "idempotency_key", "traceparent", "tracestate", "wait" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(name, names[i]) == 0)
			return true;
	}
	return false;
}

static bool is_type(h2o_iovec_t given, const char *type)
{
	size_t len = strlen(type);
	return given.len >= len && strncasecmp(given.base, type, len) == 0 &&
	       (given.len == len || strchr("; \t", given.base[len]));
}

static bool refuse_body(struct http_request *r, const struct fault *fault, const char *why)
{
	http_problem(r, fault, why, NULL);
	return false;
}

/* The body is the notice's payload, byte for byte. */
static bool read_payload(struct http_request *r, json_t *params)
{
	h2o_iovec_t body = r->req->entity, type = http_field(r->req, "content-type");
	json_t *text = memchr(body.base, '\0', body.len) ? NULL : json_stringn(body.base, body.len);

	if (!text)
		return refuse_body(r, &FAULT_MALFORMED_REQUEST, "the body is no UTF-8 text");
	json_object_set_new(params, "payload", text);
	if (type.len > 0)
		json_object_set_new(params, "content_type", json_stringn(type.base, type.len));
	return true;
}

static bool refuse_field(struct http_request *r, const char *name)
{
	char why[96];

	snprintf(why, sizeof(why), "%.64s is not known here", name);
	return refuse_body(r, &FAULT_UNKNOWN_FIELD, why);
}

/* A merge patch is a value for itself; the fields of any other object are parameters. */
static bool take_object(struct http_request *r, json_t *params, json_t *object)
{
	const char *key;
	json_t *value;

	if (r->route->flag == MERGES)
		return json_object_set(params, "patch", object) == 0;
	json_object_foreach (object, key, value) {
		const json_t *said = json_object_get(params, key);
		bool repeats = said && r->route->flag == REPEATS;
		if ((said && !repeats) || is_of_header(key))
			return refuse_field(r, key);
		if (repeats && !json_equal(said, value))
			return refuse_body(r, &FAULT_INVALID_VEHICLE, "the body's vehicle_id is not the path's");
	}
	return json_object_update(params, object) == 0;
}

/* RFC 9110 §8.4: what is compressed is something else than it says by its type. */
static bool is_coded(const h2o_req_t *req)
{
	h2o_iovec_t coding = http_field(req, "content-encoding");
	return coding.len > 0 && !h2o_lcstris(coding.base, coding.len, H2O_STRLIT("identity"));
}

static bool refuse_coding(struct http_request *r)
{
	http_header(r, "accept-encoding", "identity"); /* RFC 9110 §12.5.3 */
	return refuse_body(r, &FAULT_UNSUPPORTED_MEDIA_TYPE, "the body has a Content-Encoding, and none is read here");
}

static bool is_type_of_route(const struct http_request *r)
{
	h2o_iovec_t type = http_field(r->req, "content-type");
	return is_type(type, "application/json") ||
	       (r->route->flag == MERGES && is_type(type, "application/merge-patch+json"));
}

static bool refuse_type(struct http_request *r)
{
	if (r->route->flag != MERGES)
		return refuse_body(r, &FAULT_UNSUPPORTED_MEDIA_TYPE, "");
	http_header(r, "accept-patch", "application/merge-patch+json, application/json"); /* RFC 5789 §2.2 */
	return refuse_body(r, &FAULT_UNSUPPORTED_MEDIA_TYPE, "the body must be application/merge-patch+json");
}

static bool read_body(struct http_request *r, json_t *params)
{
	h2o_iovec_t body = r->req->entity;

	if (body.len == 0)
		return true;
	if (body.len > BODY_MAX)
		return refuse_body(r, &FAULT_TOO_LARGE, "");
	if (is_coded(r->req))
		return refuse_coding(r);
	if (r->route->flag == CARRIES)
		return read_payload(r, params);
	if (!is_type_of_route(r))
		return refuse_type(r);
	json_auto_t *object = json_read(body.base, body.len);
	if (!json_is_object(object))
		return refuse_body(r, &FAULT_MALFORMED_REQUEST,
			"the body is no JSON object, has a member twice, or nests deeper than 32");
	return take_object(r, params, object);
}

/* "N" or ""N"", at most WAIT_MAX_S; -1: it cannot be read. */
static int64_t seconds_of(h2o_iovec_t value)
{
	int64_t seconds = -1;

	for (size_t i = value.len > 0 && value.base[0] == '"';
		i < value.len && isdigit((unsigned char)value.base[i]) && seconds <= WAIT_MAX_S; i++)
		seconds = (seconds < 0 ? 0 : seconds * 10) + (value.base[i] - '0');
	return seconds < WAIT_MAX_S ? seconds : WAIT_MAX_S;
}

/* RFC 7240 §2, §4.3: the first `wait` among the preferences, which may stand in several fields; with blanks around its "=", or
 * without; -1: none. */
static int64_t read_wait(h2o_req_t *req)
{
	const char *name;
	h2o_iovec_t value;
	size_t len;

	for (ssize_t at = -1; (at = h2o_find_header_by_str(&req->headers, H2O_STRLIT("prefer"), at)) >= 0;) {
		h2o_iovec_t rest = req->headers.entries[at].value;
		while ((name = h2o_next_token(&rest, ',', &len, &value)) != NULL) {
			int64_t seconds = h2o_lcstris(name, len, H2O_STRLIT("wait")) ? seconds_of(value) : -1;
			if (seconds >= 0)
				return seconds;
		}
	}
	return -1;
}

static bool stands_twice(const h2o_req_t *req, const char *name)
{
	ssize_t first = h2o_find_header_by_str(&req->headers, name, strlen(name), -1);
	return first >= 0 && h2o_find_header_by_str(&req->headers, name, strlen(name), first) >= 0;
}

/* 1 to 255 printable characters, and one header of that name. */
static bool read_key(struct http_request *r, json_t *params)
{
	static const char name[] = "idempotency-key";
	h2o_iovec_t key = http_field(r->req, name);
	bool fine = !stands_twice(r->req, name);

	if (!key.base)
		return true;
	for (size_t i = 0; i < key.len; i++)
		fine = fine && key.base[i] >= ' ' && key.base[i] <= '~';
	if (fine && key.len >= 1 && key.len <= 255)
		return json_object_set_new(params, "idempotency_key", json_stringn(key.base, key.len)) == 0;
	http_problem(
		r, &FAULT_MALFORMED_REQUEST, "Idempotency-Key must be one text of 1 to 255 printable characters", NULL);
	return false;
}

static bool makes_commands(const struct http_request *r)
{
	return r->route->flag == SENDS || r->route->flag == BEGINS;
}

/* The next entity tag of an If-Match, without its quotes; a weak one matches nothing (RFC 9110 §8.8.3, §13.1.1). */
static bool read_tag(h2o_iovec_t *rest, json_t *versions)
{
	bool weak = rest->len >= 2 && memcmp(rest->base, "W/", 2) == 0;
	const char *begin = rest->base + (weak ? 2 : 0), *all_end = rest->base + rest->len;
	const char *end =
		begin < all_end && *begin == '"' ? memchr(begin + 1, '"', (size_t)(all_end - begin - 1)) : NULL;

	if (!end)
		return false;
	if (!weak)
		json_array_append_new(versions, json_stringn(begin + 1, (size_t)(end - begin - 1)));
	for (end++; end < all_end && strchr(", \t", *end);)
		end++;
	*rest = h2o_iovec_init(end, (size_t)(all_end - end));
	return true;
}

static bool read_tags(h2o_iovec_t list, json_t *versions)
{
	while (list.len > 0) {
		if (!read_tag(&list, versions))
			return false;
	}
	return true;
}

/* The versions that the caller changes; without the field, or with `*`, any. Several lines are one list (RFC 9110 §5.3). */
static bool read_if_match(struct http_request *r, json_t *params)
{
	static const char name[] = "if-match";
	const h2o_headers_t *headers = &r->req->headers;
	json_auto_t *versions = memory_need(json_array());
	size_t lines = 0;
	bool any = false;

	for (ssize_t at = -1; (at = h2o_find_header_by_str(headers, name, sizeof(name) - 1, at)) >= 0; lines++) {
		h2o_iovec_t value = headers->entries[at].value;
		bool is_any = h2o_memis(value.base, value.len, H2O_STRLIT("*"));
		any = any || is_any;
		if ((any && lines > 0) || (!is_any && !read_tags(value, versions)))
			return refuse_body(r, &FAULT_MALFORMED_REQUEST, "If-Match is a list of entity tags");
	}
	if (lines > 0 && !any)
		json_object_set(params, "if_match", versions);
	return true;
}

/* What is no UTF-8 is passed over. */
static void take_field(struct http_request *r, json_t *params, const char *name)
{
	h2o_iovec_t field = http_field(r->req, name);

	if (field.base)
		json_object_set_new(params, name, json_stringn(field.base, field.len));
}

/* Several lines are one list (RFC 9110 §5.3). */
static void take_tracestate(struct http_request *r, json_t *params)
{
	static const char name[] = "tracestate";
	const h2o_headers_t *headers = &r->req->headers;
	struct text list = { 0 };

	for (ssize_t at = -1; (at = h2o_find_header_by_str(headers, name, sizeof(name) - 1, at)) >= 0;) {
		text_add(&list, list.len > 0 ? "," : "");
		text_add_bytes(&list, headers->entries[at].value.base, headers->entries[at].value.len);
	}
	if (list.len > 0)
		json_object_set_new(params, name, json_stringn(list.data, list.len));
	text_free(&list);
}

/* What command.send and batch.create take from headers; nobody waits for a batch. */
static bool read_send_headers(struct http_request *r, json_t *params)
{
	take_field(r, params, "traceparent");
	if (r->route->flag == SENDS)
		take_tracestate(r, params);
	r->wait = r->route->flag == SENDS ? read_wait(r->req) : -1;
	if (r->wait >= 0)
		json_object_set_new(params, "wait", json_integer(r->wait));
	return read_key(r, params);
}

static bool read_headers(struct http_request *r, json_t *params)
{
	switch (r->route->flag) {
	case SENDS:
	case BEGINS:
		return read_send_headers(r, params);
	case MERGES:
		return read_if_match(r, params);
	default:
		return true;
	}
}

/* Routing. */

static void dispose(void *data)
{
	struct http_request *r = data;

	stream_abandon(r);
	keys_wait_cancel(&r->keys);
	if (r->call)
		api_call_cancel(r->call);
	json_decref(r->params);
	if (r->lingers && !r->http->options.secure) /* a tunnel does it by itself */
		http_linger(r->req);
	r->http->requests--;
}

/* Not h2o's path_normalized: there %2F is a slash already, and what was escaped twice would be read twice. */
h2o_iovec_t http_path(const h2o_req_t *req)
{
	return h2o_iovec_init(req->path.base, req->query_at == SIZE_MAX ? req->path.len : req->query_at);
}

/* HEAD is a GET of which h2o keeps the body to itself (RFC 9110 §9.3.2). */
static bool is_method(h2o_iovec_t asked, const char *method)
{
	if (h2o_memis(asked.base, asked.len, H2O_STRLIT("HEAD")))
		return strcmp(method, "GET") == 0;
	return h2o_memis(asked.base, asked.len, method, strlen(method));
}

static bool find_route(struct http_request *r, json_t *params)
{
	h2o_req_t *req = r->req;
	h2o_iovec_t path = http_path(req);
	char allowed[64] = "";

	for (size_t i = 0; i < route_count; i++) {
		json_object_clear(params);
		if (!match(routes[i].path, path.base, path.len, params))
			continue;
		if (is_method(req->method, routes[i].method)) {
			r->route = &routes[i];
			return true;
		}
		snprintf(allowed + strlen(allowed), sizeof(allowed) - strlen(allowed), "%s%s", allowed[0] ? ", " : "",
			is_method(h2o_iovec_init(H2O_STRLIT("HEAD")), routes[i].method) ? "GET, HEAD"
											: routes[i].method);
	}
	if (allowed[0])
		http_header(r, "allow", allowed);
	http_problem(r, allowed[0] ? &FAULT_METHOD_NOT_ALLOWED : &FAULT_NOT_FOUND, "", NULL);
	return false;
}

struct http_request *http_request_new(struct http *http, h2o_req_t *req)
{
	struct http_request *r = h2o_mem_alloc_shared(&req->pool, sizeof(*r), dispose);

	*r = (struct http_request){ .http = http, .req = req, .wait = -1, .began_us = loop_monotonic_us(http->loop) };
	http->requests++;
	uuid7_draw(loop_unix_us(http->loop), r->request_id);
	return r;
}

bool http_is_of_api(const h2o_req_t *req)
{
	h2o_iovec_t path = http_path(req);
	return path.len >= 3 && memcmp(path.base, "/v1", 3) == 0 && (path.len == 3 || path.base[3] == '/');
}

/* Who opens a WebSocket rightly never comes here: the door has sent them to their own room. True: it was answered. */
static bool refuse_websocket(struct http_request *r)
{
	h2o_req_t *req = r->req;
	h2o_iovec_t path = http_path(req);

	if (!h2o_memis(path.base, path.len, H2O_STRLIT("/v1/ws")))
		return false;
	if (!is_method(req->method, "GET")) {
		http_header(r, "allow", "GET");
		http_problem(r, &FAULT_METHOD_NOT_ALLOWED, "", NULL);
		return true;
	}
	req->http1_is_persistent = 0;
	http_header(r, "upgrade", "websocket"); /* RFC 9110 §15.5.22, and §7.8 for the option */
	http_header(r, "connection", "upgrade");
	http_problem(r, &FAULT_UPGRADE_REQUIRED,
		"a WebSocket is opened by the first request of a connection, over HTTP/1.1 and without a body", NULL);
	return true;
}

/* With a console, what is outside /v1 is a file, or h2o's own 404 (which dress.c dresses). */
int http_on_request(h2o_handler_t *handler, h2o_req_t *req)
{
	struct http *http = ((struct http_handler *)(void *)handler)->http;

	struct http_request *r = http_request_new(http, req);
	if (http->options.console && !http_is_of_api(req)) {
		http_pass_on(r);
		return http_client_may_ask(r) ? -1 : 0;
	}
	bool is_listed = cors_allow(r);
	if (hook_handle(r) || !http_client_may_ask(r) || (is_listed && cors_preflight(r)) || refuse_websocket(r) ||
		openapi_handle(r))
		return 0;
	r->params = memory_need(json_object());
	r->keys.on_over = on_keys;
	if (find_route(r, r->params))
		authenticate_and_run(r);
	return 0;
}

/* False: it was answered, or its caller waits. */
static bool authenticate(struct http_request *r)
{
	const struct fault *fault = &FAULT_UNAUTHENTICATED;
	h2o_iovec_t token;
	char why[256] = "";

	if (stands_twice(r->req, "authorization")) { /* a proxy in front may have looked at the other */
		http_problem(r, &FAULT_MALFORMED_REQUEST, "Authorization stands twice", NULL);
		return false;
	}
	if (bearer_of(r, &token))
		fault = api_authenticate(
			r->http->options.api, token.base, token.len, r->client, &r->keys, &r->caller, why, sizeof(why));
	if (fault && fault != &FAULT_KEYS_AWAITED)
		http_problem(r, fault, why, NULL);
	return !fault;
}

static void on_keys(struct keys_wait *wait)
{
	authenticate_and_run(container_of(wait, struct http_request, keys));
}

/* "0" with or without decimals, the weight of what is not acceptable (RFC 9110 §12.4.2). */
static bool is_weightless(h2o_iovec_t weight)
{
	for (size_t i = 0; i < weight.len; i++) {
		if (weight.base[i] != '0' && (i != 1 || weight.base[i] != '.'))
			return false;
	}
	return weight.len > 0;
}

static bool is_unwanted(h2o_iovec_t range)
{
	const char *name;
	h2o_iovec_t value;
	size_t len;

	while ((name = h2o_next_token(&range, ';', &len, &value)) != NULL) {
		if (len == 1 && (*name == 'q' || *name == 'Q') && is_weightless(value))
			return true;
	}
	return false;
}

/* Among the media ranges, which may stand in several fields (RFC 9110 §12.5.1). */
static bool accepts_stream(const h2o_req_t *req)
{
	const char *range;
	size_t len;

	for (ssize_t at = -1; (at = h2o_find_header_by_str(&req->headers, H2O_STRLIT("accept"), at)) >= 0;) {
		h2o_iovec_t rest = req->headers.entries[at].value;
		while ((range = h2o_next_token(&rest, ',', &len, NULL)) != NULL) {
			h2o_iovec_t given = h2o_iovec_init(range, len);
			if (is_type(given, "text/event-stream") && !is_unwanted(given))
				return true;
		}
	}
	return false;
}

static bool wants_stream(const struct http_request *r)
{
	bool is_get = r->req->method.len == 3; /* a HEAD of a stream would not end */

	if (r->route->flag == FOLLOWS)
		return is_get;
	return r->route->flag == STREAMS && is_get && accepts_stream(r->req);
}

static void authenticate_and_run(struct http_request *r)
{
	if (!authenticate(r) || !http_may_ask(r, RATE_SUBJECT, r->caller.subject) || !read_query(r, r->params) ||
		!read_body(r, r->params) || !read_headers(r, r->params))
		return;
	json_t *params = r->params;
	r->params = NULL;
	if (wants_stream(r)) {
		stream_begin(r, params);
		return;
	}
	r->call =
		api_call_new(r->http->options.api, r->route->operation, &r->caller, params, r->request_id, r, on_done);
	api_call_start(r->call);
}

/* RFC 3986 §2.3: what is not unreserved is percent-encoded. */
static void add_encoded(struct text *out, const char *value)
{
	for (; *value; value++)
		text_addf(out, isalnum((unsigned char)*value) || strchr("-._~", *value) ? "%c" : "%%%02X",
			(unsigned char)*value);
}

/* The same query with another cursor (RFC 8288). */
static void add_next(struct http_request *r, const char *cursor)
{
	h2o_req_t *req = r->req;
	h2o_iovec_t path = http_path(req);
	struct text link = { 0 };

	text_add(&link, "<");
	text_add_bytes(&link, path.base, path.len);
	text_add(&link, "?cursor=");
	add_encoded(&link, cursor);
	char *query = memory_need(strndup(path.base + path.len, req->path.len - path.len)), *rest = query, *pair;
	while ((pair = strsep(&rest, "?&")) != NULL) {
		if (*pair && strncmp(pair, "cursor=", 7) != 0)
			text_addf(&link, "&%s", pair);
	}
	text_add(&link, ">; rel=\"next\"");
	http_header(r, "link", link.data);
	free(query);
	text_free(&link);
}

static void add_links(struct http_request *r, const struct api_call *call)
{
	char text[512];
	const char *vehicle = json_text_at(call->params, "vehicle_id");

	if (call->next_cursor[0])
		add_next(r, call->next_cursor);
	if (makes_commands(r)) {
		if (r->route->flag == BEGINS)
			snprintf(text, sizeof(text), "/v1/batches/%s", call->resource_id);
		else
			snprintf(text, sizeof(text), "/v1/vehicles/%s/commands/%s", vehicle, call->resource_id);
		http_header(r, "location", text);
		if (call->replayed)
			http_header(r, "idempotency-replayed", "true");
	}
	if (r->route->flag == MAKES) {
		snprintf(text, sizeof(text), "/v1/webhooks/%s", call->resource_id);
		http_header(r, "location", text);
	}
	if (call->desired_version >= 0) {
		snprintf(text, sizeof(text), "\"%lld\"", (long long)call->desired_version);
		http_header(r, "etag", text);
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
		if (call->fault == &FAULT_RATE_LIMITED)
			r->rate = call->rate;
		if (call->missing_scope)
			http_challenge_scope(r, call->missing_scope);
		http_problem(r, call->fault, call->detail, call);
	} else {
		status = call->created ? 201 : r->wait >= 0 && call->settled ? 200 : status;
		add_links(r, call);
		http_reply(r, status, "application/json", call->body, status == 204 ? 0 : call->body_len);
	}
	r->call = NULL;
	api_call_free(call);
}
