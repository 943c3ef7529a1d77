/* http.c - h2o on the worker's loop: its configuration, and its end. */
#include "gateway/http/http.h"

#include <string.h>

#include "base/loop.h"
#include "base/memory.h"
#include "gateway/http/http_internal.h"

#define READ_MAX (BODY_MAX + 1) /* h2o refuses a chunked body that reaches it, and a length that is past it */
#define TIMEOUT_MS 10000
#define ANSWER_MS 10000
#define ANSWER_RATE 8192 /* what GPRS carries in a second */

static void add_handler(struct http *http, h2o_pathconf_t *path, int (*on_req)(h2o_handler_t *, h2o_req_t *));

struct http *http_new(struct loop *loop, const struct http_options *options)
{
	struct http *http = memory_new(sizeof(*http));

	http->loop = loop;
	http->options = *options;
	if (!options->answer_ms)
		http->options.answer_ms = ANSWER_MS;
	if (!options->answer_rate)
		http->options.answer_rate = ANSWER_RATE;
	list_init(&http->streams);
	list_init(&http->connections);
	h2o_config_init(&http->config);
	http->config.server_name = h2o_iovec_init(H2O_STRLIT("keyfob"));
	http->config.max_request_entity_size = READ_MAX;
	http->config.http1.upgrade_to_http2 = 0;
	http->config.http1.req_timeout = TIMEOUT_MS;
	h2o_hostconf_t *host = h2o_config_register_host(&http->config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
	h2o_pathconf_t *path = h2o_config_register_path(host, "/", 0);
	if (options->api) {
		http_dress(http, &host->fallback_path);
		http_dress(http, path);
		http_log_requests(path);
		http_log_requests(&host->fallback_path);
	}
	add_handler(http, path, http_on_any);
	add_handler(http, path, options->api ? http_on_request : http_on_admin);
	http->policy_of_console = console_policy(options->console);
	if (options->console) {
		http->console_config = console_config(options->console);
		console_serve(http, path);
	}
	h2o_context_init(&http->context, loop_uv(loop), &http->config);
	http->accept.ctx = &http->context;
	http->accept.hosts = http->config.hosts;
	return http;
}

static void add_handler(struct http *http, h2o_pathconf_t *path, int (*on_req)(h2o_handler_t *, h2o_req_t *))
{
	struct http_handler *handler = (struct http_handler *)(void *)h2o_create_handler(path, sizeof(*handler));

	handler->http = http;
	handler->super.on_req = on_req;
}

void http_drain(struct http *http)
{
	stream_end_all(http);
	h2o_context_request_shutdown(&http->context);
}

bool http_is_empty(const struct http *http)
{
	return http->requests == 0;
}
