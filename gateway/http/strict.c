/* strict.c - refuses what h2o would take, before any other handler; and dresses what h2o itself refuses as a problem.
 *
 * While a handler runs, the raw head is still in the connection's buffer: it is read there a second time, for every
 * request, so that a pipelined one is held to the same rules as the first. */
#include <string.h>

#include "base/memory.h"
#include "base/metrics.h"
#include "gateway/door/head.h"
#include "gateway/http/http_internal.h"

struct dress {
	h2o_filter_t super;
	struct http *http;
};

struct dressed {
	h2o_ostream_t super;
	h2o_iovec_t body;
};

static void on_refusal(h2o_filter_t *filter, h2o_req_t *req, h2o_ostream_t **slot);

int http_on_any(h2o_handler_t *handler, h2o_req_t *req)
{
	h2o_socket_t *socket = req->conn->callbacks->get_socket(req->conn);
	const char *refused = head_check(socket->input->bytes, socket->input->size);

	if (!refused)
		return -1;
	metric_add(METRIC_HTTP_REFUSED, 1);
	req->http1_is_persistent = 0;
	struct http_request *r = http_request_new(((struct http_handler *)(void *)handler)->http, req);
	http_problem(r, &FAULT_MALFORMED_REQUEST, refused, NULL);
	return 0;
}

void http_dress_refusals(struct http *http, h2o_pathconf_t *path)
{
	struct dress *dress = (struct dress *)(void *)h2o_create_filter(path, sizeof(*dress));

	dress->super.on_setup_ostream = on_refusal;
	dress->http = http;
}

static void send_dressed(h2o_ostream_t *self, h2o_req_t *req, h2o_iovec_t *bufs, size_t count, h2o_send_state_t state)
{
	struct dressed *dressed = (struct dressed *)(void *)self;

	(void)bufs, (void)count;
	h2o_ostream_send_next(self, req, &dressed->body, 1, state);
}

/* h2o answers here what reaches no handler: a body that is too large or cannot be read. It says so in one piece. */
static void on_refusal(h2o_filter_t *filter, h2o_req_t *req, h2o_ostream_t **slot)
{
	const struct fault *fault = req->res.status == 413 ? &FAULT_TOO_LARGE : &FAULT_MALFORMED_REQUEST;
	struct http_request *r = http_request_new(((struct dress *)(void *)filter)->http, req);
	json_auto_t *problem = api_problem(fault, "", r->request_id, false);
	char *body = memory_need(json_dumps(problem, JSON_COMPACT));

	metric_add(METRIC_HTTP_REFUSED, 1);
	struct dressed *dressed = (void *)h2o_add_ostream(req, sizeof(*dressed), slot);
	dressed->super.do_send = send_dressed;
	dressed->body = h2o_strdup(&req->pool, body, SIZE_MAX);
	free(body);
	req->res.status = fault->http;
	req->res.content_length = dressed->body.len;
	h2o_set_header(
		&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, H2O_STRLIT("application/problem+json"), 1);
	http_header(r, "x-request-id", r->request_id);
}
