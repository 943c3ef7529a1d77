/* dress.c - what every public answer wears: the headers that tell a browser what it must not do; and what h2o answers by
 * itself gets a request id, and as a refusal in plain text becomes a problem. */
#include <string.h>

#include "base/memory.h"
#include "base/metrics.h"
#include "gateway/http/http_internal.h"

struct dress {
	h2o_filter_t super;
	struct http *http;
};

struct dressed {
	h2o_ostream_t super;
	h2o_iovec_t body;
};

static void on_answer(h2o_filter_t *filter, h2o_req_t *req, h2o_ostream_t **slot);
static void dress_refusal(struct http_request *r, h2o_ostream_t **slot);

void http_dress(struct http *http, h2o_pathconf_t *path)
{
	struct dress *dress = (struct dress *)(void *)h2o_create_filter(path, sizeof(*dress));

	dress->super.on_setup_ostream = on_answer;
	dress->http = http;
}

/* Nobody frames us, guesses types, or learns from a Referer where somebody was. The API's answers are never a page. */
static const struct {
	const char *name, *value;
} guards[] = {
	{ "x-content-type-options", "nosniff" },
	{ "x-frame-options", "DENY" },
	{ "referrer-policy", "no-referrer" },
	{ "cross-origin-opener-policy", "same-origin" },
	{ "cross-origin-resource-policy", "same-origin" },
};
static const char POLICY_OF_API[] = "default-src 'none'; frame-ancestors 'none'";
static const char STAY_SECURE[] = "max-age=31536000"; /* a year, RFC 6797 §6.1.1 */

static void add(h2o_req_t *req, const char *name, const char *value)
{
	h2o_add_header_by_str(&req->pool, &req->res.headers, name, strlen(name), 1, NULL, value,
		strlen(value)); /* both live for ever */
}

static void guard(const struct http *http, h2o_req_t *req)
{
	for (size_t i = 0; i < sizeof(guards) / sizeof(guards[0]); i++)
		add(req, guards[i].name, guards[i].value);
	add(req, "content-security-policy", http_is_of_api(req) ? POLICY_OF_API : http->policy_of_console);
	if (http->options.secure)
		add(req, "strict-transport-security", STAY_SECURE);
}

/* An answer with a request id is ours. */
static void on_answer(h2o_filter_t *filter, h2o_req_t *req, h2o_ostream_t **slot)
{
	struct http *http = ((struct dress *)(void *)filter)->http;

	guard(http, req);
	if (h2o_find_header_by_str(&req->res.headers, H2O_STRLIT("x-request-id"), -1) < 0) {
		struct http_request *r = http_request_of(http, req);
		http_header(r, "x-request-id", r->request_id);
		http_add_rate(r);
		metric_add(METRIC_HTTP_REQUESTS, 1);
		if (req->res.status >= 400)
			dress_refusal(r, slot);
	}
	bool is_bare = req->res.status == 204 || req->res.status == 304;
	if (is_bare || req->res.content_length != SIZE_MAX) /* streams look after themselves */
		http_bound_answer(http, req, is_bare ? 0 : req->res.content_length);
	h2o_setup_next_ostream(req, slot);
}

static const struct fault *fault_of(int status)
{
	static const struct fault *const known[] = { &FAULT_TOO_LARGE, &FAULT_NOT_FOUND, &FAULT_METHOD_NOT_ALLOWED };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (known[i]->http == status)
			return known[i];
	}
	return status == 403 ? &FAULT_NOT_FOUND : &FAULT_MALFORMED_REQUEST; /* a file that cannot be read is none */
}

static void send_dressed(h2o_ostream_t *self, h2o_req_t *req, h2o_iovec_t *bufs, size_t count, h2o_send_state_t state)
{
	struct dressed *dressed = (struct dressed *)(void *)self;
	bool is_head = h2o_memis(req->input.method.base, req->input.method.len, H2O_STRLIT("HEAD"));

	(void)bufs, (void)count;
	h2o_ostream_send_next(self, req, &dressed->body, is_head ? 0 : 1, state);
}

/* h2o says it in one piece. */
static void dress_refusal(struct http_request *r, h2o_ostream_t **slot)
{
	h2o_req_t *req = r->req;
	const struct fault *fault = fault_of(req->res.status);
	const char *why = http_why_refused(req);
	json_auto_t *problem = api_problem(fault, why ? why : "", r->request_id, false);
	char *body = memory_need(json_dumps(problem, JSON_COMPACT));

	http_log_problem(r, fault);
	r->lingers = !req->http1_is_persistent;
	if (fault == &FAULT_MALFORMED_REQUEST)
		metric_add(METRIC_HTTP_REFUSED, 1);
	struct dressed *dressed = (void *)h2o_add_ostream(req, sizeof(*dressed), slot);
	dressed->super.do_send = send_dressed;
	dressed->body = h2o_strdup(&req->pool, body, SIZE_MAX);
	free(body);
	req->res.status = fault->http;
	req->res.reason = http_reason_of(fault->http);
	req->res.content_length = dressed->body.len;
	h2o_set_header(
		&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, H2O_STRLIT("application/problem+json"), 1);
}
