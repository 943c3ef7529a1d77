/* request_log.c - a line for each request, at debug: what was asked, what was answered, how long it took. */
#include <stdio.h>

#include "base/log.h"
#include "gateway/http/http_internal.h"

/* 0: the connection was lost before the answer was out. */
static int64_t us_between(struct timeval from, struct timeval to)
{
	return to.tv_sec == 0 ? 0 : (int64_t)(to.tv_sec - from.tv_sec) * 1000000 + (to.tv_usec - from.tv_usec);
}

/* Without the query: what stands there is the caller's. */
static void on_logged(h2o_logger_t *logger, h2o_req_t *req)
{
	char method[16], path[256];
	h2o_iovec_t asked = http_path_to_log(req);

	(void)logger;
	if (!log_is_on(LOG_LEVEL_DEBUG))
		return;
	snprintf(method, sizeof(method), "%.*s", (int)req->input.method.len, req->input.method.base);
	snprintf(path, sizeof(path), "%.*s", (int)asked.len, asked.base);
	log_debug("http", "answered", LOG_TEXT("method", method), LOG_TEXT("path", path),
		LOG_INT("status", req->res.status), LOG_INT("bytes", req->bytes_sent),
		LOG_INT("us", us_between(req->timestamps.request_begin_at, req->timestamps.response_end_at)));
}

void http_log_requests(h2o_pathconf_t *path)
{
	h2o_create_logger(path, sizeof(h2o_logger_t))->log_access = on_logged;
}
