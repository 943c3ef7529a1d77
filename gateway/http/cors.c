/* cors.c - lets pages of the listed origins call REST (Fetch standard, "CORS protocol"). */
#include <string.h>

#include "gateway/config_lists.h"
#include "gateway/http/http_internal.h"

static bool is_allowed(const struct texts *origins, h2o_iovec_t origin)
{
	for (size_t i = 0; origins && i < origins->count; i++) {
		if (h2o_memis(origin.base, origin.len, origins->items[i], strlen(origins->items[i])))
			return true;
	}
	return false;
}

bool cors_allow(struct http_request *r)
{
	const struct texts *origins = r->http->options.cors_origins;
	h2o_iovec_t origin = http_field(r->req, "origin");

	if (origins && origins->count > 0)
		http_header(r, "vary", "Origin");
	if (!origin.base || !is_allowed(origins, origin))
		return false;
	http_header(r, "access-control-allow-origin", h2o_strdup(&r->req->pool, origin.base, origin.len).base);
	http_header(r, "access-control-expose-headers",
		"Location, Link, Retry-After, RateLimit, RateLimit-Policy, X-Request-Id, Idempotency-Replayed, "
		"Preference-Applied, ETag, WWW-Authenticate");
	return true;
}

bool cors_preflight(struct http_request *r)
{
	if (!http_field(r->req, "access-control-request-method").base ||
		!h2o_memis(r->req->method.base, r->req->method.len, H2O_STRLIT("OPTIONS")))
		return false;
	http_header(r, "access-control-allow-methods", "GET, POST, PUT, PATCH, DELETE");
	http_header(r, "access-control-allow-headers",
		"Authorization, Content-Type, Idempotency-Key, If-Match, Prefer, Last-Event-ID, traceparent, "
		"tracestate");
	http_header(r, "access-control-max-age", "600");
	http_reply(r, 204, NULL, NULL, 0);
	return true;
}
