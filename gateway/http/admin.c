/* admin.c - the admin listener: alive, ready, metrics. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/metrics.h"
#include "gateway/http/http_internal.h"

static void answer(h2o_req_t *req, int status, const char *type, char *body)
{
	h2o_iovec_t copy = h2o_strdup(&req->pool, body, SIZE_MAX);

	free(body);
	req->res.status = status;
	req->res.reason = status == 200 ? "OK" : status == 404 ? "Not Found" : "Service Unavailable";
	req->res.content_length = copy.len;
	h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL, type, strlen(type));
	h2o_send_inline(req, copy.base, copy.len);
}

static char *metrics_text(void)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = memory_need(open_memstream(&text, &size));
	metrics_write(out);
	fclose(out);
	return memory_need(text);
}

static bool is_path(const h2o_req_t *req, const char *path)
{
	return h2o_memis(req->path_normalized.base, req->path_normalized.len, path, strlen(path));
}

int http_on_admin(h2o_handler_t *handler, h2o_req_t *req)
{
	struct http *http = ((struct http_handler *)(void *)handler)->http;
	json_auto_t *details = NULL;

	if (is_path(req, "/healthz")) {
		answer(req, 200, "application/json", memory_need(strdup("{\"status\":\"ok\"}")));
	} else if (is_path(req, "/readyz")) {
		bool ready = http->options.is_ready(http->options.owner, &details);
		json_object_set_new(details, "status", json_string(ready ? "ready" : "not ready"));
		answer(req, ready ? 200 : 503, "application/json", memory_need(json_dumps(details, JSON_COMPACT)));
	} else if (is_path(req, "/metrics")) {
		answer(req, 200, "application/openmetrics-text; version=1.0.0; charset=utf-8", metrics_text());
	} else {
		answer(req, 404, "application/json", memory_need(strdup("{\"status\":\"no such path\"}")));
	}
	return 0;
}
