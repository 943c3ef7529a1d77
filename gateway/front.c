/* front.c - listens for apps and platforms, and on one worker for operators. */
#include "gateway/front.h"

#include <stdlib.h>

#include "base/memory.h"
#include "gateway/config.h"
#include "gateway/door/door.h"
#include "gateway/door/guests.h"
#include "gateway/door/tunnel.h"
#include "gateway/http/http.h"
#include "gateway/service.h"
#include "gateway/ws/ws.h"

struct front {
	struct http_hook hook;
	struct http_console console;
	struct http *rest, *admin;
	struct ws *ws;
	struct tunnels *tunnels; /* of http.listen when the node ends TLS */
	struct door *door, *ws_door, *admin_door;
};

static bool adopt_all(struct door *door, const struct numbers *sockets)
{
	for (size_t i = 0; i < sockets->count; i++) {
		if (!door_adopt(door, sockets->items[i]))
			return false;
	}
	return true;
}

/* Where sockets were handed over the setting does not count. */
static bool listen_all(struct door *door, const struct addresses *addresses, const struct numbers *sockets)
{
	if (sockets->count > 0)
		return adopt_all(door, sockets);
	for (size_t i = 0; i < addresses->count; i++) {
		if (!door_listen(door, &addresses->items[i]))
			return false;
	}
	return true;
}

static void on_rest(void *owner, int fd, const char *peer)
{
	http_accept(((struct front *)owner)->rest, fd, peer);
}

static void on_websocket(void *owner, int fd, const char *peer)
{
	ws_adopt(((struct front *)owner)->ws, fd, peer);
}

static void on_websocket_gone(void *owner, const char *peer)
{
	(void)owner;
	guests_leave(peer);
}

static void on_admin(void *owner, int fd, const char *peer)
{
	http_accept(((struct front *)owner)->admin, fd, peer);
}

/* NULL: nobody calls back. */
static const struct http_hook *make_hook(struct front *f, const struct config *config)
{
	const struct texts *delivered = &config->wake.http.callback.delivered,
			   *failed = &config->wake.http.callback.failed;

	f->hook = (struct http_hook){ .provider = "http",
		.secret = config->wake.http.hook_secret,
		.form = { .id = config->wake.http.callback.id,
			.status = config->wake.http.callback.status,
			.delivered = delivered->items,
			.delivered_count = delivered->count,
			.failed = failed->items,
			.failed_count = failed->count } };
	return f->hook.secret ? &f->hook : NULL;
}

/* NULL: none is served. */
static const struct http_console *make_console(struct front *f, const struct config *config)
{
	f->console = (struct http_console){ .web_root = config->http.web_root,
		.issuer = config->console.issuer,
		.client_id = config->console.client_id,
		.scope = config->console.scope,
		.parameters = &config->console.parameters,
		.connect = &config->console.connect_origins,
		.development = config->console.development };
	return f->console.web_root ? &f->console : NULL;
}

static void make_rooms(struct front *f, struct loop *loop, const struct config *config, struct api *api)
{
	f->rest = http_new(loop, &(struct http_options){ .api = api,
					 .max_queue = config->websocket.max_queue,
					 .cors_origins = &config->http.cors_origins,
					 .hook = make_hook(f, config),
					 .trusted_proxies = &config->http.trusted_proxies,
					 .secure = f->tunnels,
					 .console = make_console(f, config),
					 .on_closed = guests_leave });
	f->ws = ws_new(loop, api,
		&(struct ws_options){ .max_message = config->websocket.max_message,
			.max_queue = config->websocket.max_queue,
			.ping_interval_ms = config->websocket.ping_interval_ms,
			.per_socket = config->limits.per_socket,
			.cors_origins = &config->http.cors_origins,
			.trusted_proxies = &config->http.trusted_proxies,
			.owner = f,
			.on_gone = on_websocket_gone });
}

/* http.listen takes both; websocket.listen is for WebSockets alone, and plain. */
static bool open_public(struct front *f, struct loop *loop, const struct front_options *with)
{
	const struct config *config = with->config;
	struct door_options options = { .counts = true,
		.max_connections = (size_t)config->http.max_connections,
		.max_per_address = (size_t)config->http.per_address,
		.tls = f->tunnels,
		.owner = f,
		.on_http = on_rest,
		.on_websocket = on_websocket };

	f->door = door_new(loop, &options);
	options.tls = NULL;
	options.on_http = NULL;
	f->ws_door = door_new(loop, &options);
	return f->ws && listen_all(f->door, &config->http.listen, &with->sockets->http) &&
	       listen_all(f->ws_door, &config->websocket.listen, &with->sockets->websocket);
}

static bool open_admin(struct front *f, struct loop *loop, const struct front_options *options)
{
	f->admin = http_new(loop, &(struct http_options){ .owner = options->owner, .is_ready = options->is_ready });
	f->admin_door = door_new(loop, &(struct door_options){ .owner = f, .on_http = on_admin });
	return listen_all(f->admin_door, &options->config->admin.listen, &options->sockets->admin);
}

/* When this fails the process ends. */
struct front *front_new(struct loop *loop, const struct front_options *options, struct api *api)
{
	struct front *f = memory_new(sizeof(*f));

	if (options->certificate)
		f->tunnels = tunnels_new(loop, options->certificate, options->config->limits.per_socket);
	make_rooms(f, loop, options->config, api);
	if (!open_public(f, loop, options))
		return NULL;
	return options->answers_admin && !open_admin(f, loop, options) ? NULL : f;
}

void front_drain(struct front *f)
{
	door_drain(f->door);
	door_drain(f->ws_door);
	http_drain(f->rest);
	ws_drain(f->ws);
}

void front_close(struct front *f)
{
	door_close(f->door);
	door_close(f->ws_door);
	f->door = f->ws_door = NULL;
	http_close(f->rest);
}

bool front_is_empty(const struct front *f)
{
	return http_is_empty(f->rest) && ws_is_empty(f->ws) && tunnels_are_flushed(f->tunnels);
}
