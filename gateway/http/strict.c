/* strict.c - refuses what h2o would take, before any other handler.
 *
 * While a handler runs, the raw head is still in the connection's buffer: it is read there a second time, for every
 * request, so that a pipelined one is held to the same rules as the first. */
#include "base/metrics.h"
#include "gateway/door/head.h"
#include "gateway/http/http_internal.h"

/* h2o itself would take a head of 400 KiB. */
static const char *check(const char *head, size_t len)
{
	if (!head_is_whole(head, len < HEAD_MAX ? len : HEAD_MAX))
		return "the head is larger than 16 KiB";
	return head_check(head, len);
}

int http_on_any(h2o_handler_t *handler, h2o_req_t *req)
{
	h2o_socket_t *socket = req->conn->callbacks->get_socket(req->conn);
	const char *refused = check(socket->input->bytes, socket->input->size);

	if (!refused)
		return -1;
	metric_add(METRIC_HTTP_REFUSED, 1);
	req->http1_is_persistent = 0;
	struct http_request *r = http_request_new(((struct http_handler *)(void *)handler)->http, req);
	http_problem(r, &FAULT_MALFORMED_REQUEST, refused, NULL);
	return 0;
}
