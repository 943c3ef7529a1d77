/* http.c - h2o on the worker's loop: its configuration, its listeners, its end. */
#include "gateway/http/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "gateway/config_lists.h"
#include "gateway/http/http_internal.h"

#define READ_MAX (1024 * 1024) /* what is larger h2o refuses by itself, in plain text */
#define TIMEOUT_MS 10000
#define BACKLOG 1024

int http_on_request(h2o_handler_t *handler, h2o_req_t *req);
int http_on_admin(h2o_handler_t *handler, h2o_req_t *req);

struct handler {
	h2o_handler_t super;
	struct http *http;
};

struct listener {
	struct list node;
	struct http *http;
	uv_tcp_t tcp;
};

/* One accepted connection, until h2o closes it. */
struct connection {
	uv_tcp_t tcp;
	struct http *http;
};

static void on_connection(uv_stream_t *stream, int status);

struct http *http_new(struct loop *loop, const struct http_options *options)
{
	struct http *http = memory_new(sizeof(*http));

	http->loop = loop;
	http->options = *options;
	list_init(&http->listeners);
	list_init(&http->streams);
	h2o_config_init(&http->config);
	http->config.server_name = h2o_iovec_init(H2O_STRLIT("keyfob"));
	http->config.max_request_entity_size = READ_MAX;
	http->config.http1.upgrade_to_http2 = 0;
	http->config.http1.req_timeout = TIMEOUT_MS;
	h2o_hostconf_t *host = h2o_config_register_host(&http->config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
	h2o_pathconf_t *path = h2o_config_register_path(host, "/", 0);
	struct handler *handler = (struct handler *)(void *)h2o_create_handler(path, sizeof(*handler));
	handler->http = http;
	handler->super.on_req = options->api ? http_on_request : http_on_admin;
	h2o_context_init(&http->context, loop_uv(loop), &http->config);
	http->accept.ctx = &http->context;
	http->accept.hosts = http->config.hosts;
	return http;
}

static int open_socket(const struct address *a)
{
	bool v6 = strchr(a->host, ':') != NULL;
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(a->port) };
	struct sockaddr_in in4 = { .sin_family = AF_INET, .sin_port = htons(a->port) };
	int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;

	inet_pton(v6 ? AF_INET6 : AF_INET, a->host, v6 ? (void *)&in6.sin6_addr : (void *)&in4.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	int bound =
		v6 ? bind(fd, (struct sockaddr *)&in6, sizeof(in6)) : bind(fd, (struct sockaddr *)&in4, sizeof(in4));
	if (bound == 0)
		return fd;
	close(fd);
	return -1;
}

bool http_listen(struct http *http, const struct address *address)
{
	struct listener *l = memory_new(sizeof(*l));
	int fd = open_socket(address);

	l->http = http;
	uv_tcp_init(loop_uv(http->loop), &l->tcp);
	list_append(&http->listeners, &l->node);
	if (fd >= 0 && uv_tcp_open(&l->tcp, fd) == 0 && uv_listen((uv_stream_t *)&l->tcp, BACKLOG, on_connection) == 0)
		return true;
	log_error("http", "cannot listen", LOG_TEXT("address", address->text), LOG_TEXT("why", strerror(errno)));
	return false;
}

static void on_connection_closed(uv_handle_t *handle)
{
	struct connection *c = (struct connection *)(void *)handle;
	c->http->connections--;
	metric_add(METRIC_CONNECTIONS, -1);
	free(c);
}

static void on_connection(uv_stream_t *stream, int status)
{
	struct http *http = container_of(stream, struct listener, tcp)->http;

	if (status != 0)
		return;
	struct connection *c = memory_new(sizeof(*c));
	c->http = http;
	http->connections++;
	metric_add(METRIC_CONNECTIONS, 1);
	uv_tcp_init(loop_uv(http->loop), &c->tcp);
	if (uv_accept(stream, (uv_stream_t *)&c->tcp) != 0 || http->connections > http->options.max_connections) {
		metric_add(METRIC_DOOR_REFUSED, 1);
		uv_close((uv_handle_t *)&c->tcp, on_connection_closed);
		return;
	}
	uv_tcp_nodelay(&c->tcp, 1);
	h2o_accept(&http->accept, h2o_uv_socket_create((uv_stream_t *)&c->tcp, on_connection_closed));
}

static void on_listener_closed(uv_handle_t *handle)
{
	free(container_of(handle, struct listener, tcp));
}

void http_drain(struct http *http)
{
	stream_end_all(http);
	h2o_context_request_shutdown(&http->context);
	while (!list_is_empty(&http->listeners)) {
		struct listener *l = container_of(list_take_first(&http->listeners), struct listener, node);
		uv_close((uv_handle_t *)&l->tcp, on_listener_closed);
	}
}

bool http_is_empty(const struct http *http)
{
	return http->requests == 0;
}
