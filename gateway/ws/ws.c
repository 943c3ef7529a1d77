/* ws.c - the room as a whole: it adopts or refuses, counts, and drains. */
#include "gateway/ws/ws.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ids.h"
#include "base/memory.h"
#include "gateway/network.h"
#include "gateway/ws/origin.h"
#include "gateway/ws/refusal.h"
#include "gateway/ws/upgrade.h"
#include "gateway/ws/ws_internal.h"

#define HEAD_MAX (16 * 1024)
#define LOOKED_AT_MIN 64  /* sockets in a look, or … */
#define LOOKED_AT_PART 10 /* … this part of all: each is looked at every two seconds */

/* What a newcomer is judged by. */
struct newcomer {
	struct ws *ws;
	struct list node;
	int fd;
	char peer[INET6_ADDRSTRLEN];
	char client[INET6_ADDRSTRLEN];
	char head[HEAD_MAX + 1];
	struct upgrade upgrade;
	struct keys_wait keys;
	struct caller caller;
	bool known;		  /* `caller` is filled */
	struct rate_verdict rate; /* of its address */
	char detail[256];
};

static const struct fault *judge(struct newcomer *n);
static void on_keys(struct keys_wait *wait);
static void on_look(struct loop_timer *timer);
static void settle(struct newcomer *n, const struct fault *fault);

struct ws *ws_new(struct loop *loop, struct api *api, const struct ws_options *options)
{
	struct ws *ws = memory_new(sizeof(*ws));

	ws->loop = loop;
	ws->api = api;
	ws->options = *options;
	list_init(&ws->newcomers);
	loop_timer_init(loop, &ws->look, on_look);
	sockets_init(ws);
	subscriptions_init(ws);
	ws->border = border_new(loop, &socket_events);
	if (ws->border)
		return ws;
	free(ws);
	return NULL;
}

void ws_free(struct ws *ws)
{
	if (!ws)
		return;
	list_for_each_safe (node, &ws->newcomers) {
		struct newcomer *n = container_of(node, struct newcomer, node);
		keys_wait_cancel(&n->keys);
		close(n->fd);
		free(n);
	}
	border_free(ws->border);
	loop_timer_stop(&ws->look);
	sockets_done(ws);
	subscriptions_done(ws);
	free(ws);
}

bool ws_is_empty(const struct ws *ws)
{
	return list_is_empty(&ws->sockets) && list_is_empty(&ws->newcomers);
}

void ws_adopt(struct ws *ws, int fd, const char *peer)
{
	struct newcomer *n = memory_new(sizeof(*n));

	n->ws = ws;
	n->fd = fd;
	n->keys.on_over = on_keys;
	snprintf(n->peer, sizeof(n->peer), "%s", peer);
	list_append(&ws->newcomers, &n->node);
	settle(n, judge(n));
}

/* Whoever waits for keys stays where they are. */
static void settle(struct newcomer *n, const struct fault *fault)
{
	struct ws *ws = n->ws;
	char request_id[UUID_TEXT_SIZE];

	if (fault == &FAULT_KEYS_AWAITED)
		return;
	list_remove(&n->node);
	if (fault) {
		uuid7_draw(loop_unix_us(ws->loop), request_id);
		api_log_problem(ws->api, fault, request_id, "GET", WS_ROUTE); /* first: who hears of it looks for it */
		refusal_send(n->fd, fault, n->detail, request_id, &n->rate);
	}
	if (fault || !socket_adopt(ws, n->fd, n->peer, n->client, n->upgrade.key, n->known ? &n->caller : NULL))
		ws->options.on_gone(ws->options.owner, n->peer);
	free(n);
}

static const struct fault *fail(struct newcomer *n, const struct fault *fault, const char *why)
{
	snprintf(n->detail, sizeof(n->detail), "%s", why);
	return fault;
}

/* Exactly the head is taken from the kernel: frames that came right behind it are libwebsockets' to read. */
static const struct fault *take_head(struct newcomer *n)
{
	int fd = n->fd;
	ssize_t seen = recv(fd, n->head, HEAD_MAX, MSG_PEEK | MSG_DONTWAIT);
	const char *end = seen > 0 ? memmem(n->head, (size_t)seen, "\r\n\r\n", 4) : NULL, *why = "";

	if (seen >= 0 && !end)
		return fail(n, &FAULT_MALFORMED_REQUEST, "the head does not end");
	size_t len = end ? (size_t)(end - n->head) + 4 : 0;
	if (!end || recv(fd, n->head, len, MSG_DONTWAIT) !=
			    (ssize_t)len) /* the door had seen it: it is not the client's fault */
		return fail(n, &FAULT_OVERLOADED, "the head cannot be read");
	n->head[len] = '\0';
	const struct fault *fault = upgrade_read(n->head, len, &n->upgrade, &why);
	return fault ? fail(n, fault, why) : NULL;
}

static bool has_good_origin(const struct newcomer *n)
{
	const struct upgrade *u = &n->upgrade;
	bool by_proxy = address_is_in(n->peer, n->ws->options.trusted_proxies);
	const char *host = by_proxy && u->forwarded_host ? u->forwarded_host : u->host;

	return !u->origin ||
	       origin_is_allowed(u->origin, by_proxy ? u->forwarded_scheme : NULL, host, n->ws->options.cors_origins);
}

static bool client_may_ask(struct newcomer *n)
{
	struct text forwarded = { 0 };

	for (size_t i = 0; i < n->upgrade.forwarded_count; i++)
		text_addf(&forwarded, ",%s", n->upgrade.forwarded_for[i]);
	address_of_client(n->peer, n->ws->options.trusted_proxies, forwarded.data, n->client);
	text_free(&forwarded);
	return api_may_ask(n->ws->api, RATE_ADDRESS, n->client, &n->rate);
}

static const struct fault *check_token(struct newcomer *n)
{
	const char *token = NULL;

	if (n->ws->draining)
		return fail(n, &FAULT_DRAINING, "the node is shutting down");
	if (!upgrade_token(&n->upgrade, &token))
		return fail(n, &FAULT_UNAUTHENTICATED, "Authorization has no bearer token");
	n->known = token != NULL;
	return token ? api_authenticate(n->ws->api, token, strlen(token), n->client, &n->keys, &n->caller, n->detail,
			       sizeof(n->detail))
		     : NULL;
}

static const struct fault *judge(struct newcomer *n)
{
	const struct fault *wrong = take_head(n);

	if (n->ws->draining)
		return fail(n, &FAULT_DRAINING, "the node is shutting down");
	if (!client_may_ask(n))
		return fail(n, &FAULT_RATE_LIMITED, "too many requests from this address");
	if (wrong)
		return wrong;
	if (!has_good_origin(n))
		return fail(n, &FAULT_FORBIDDEN, "this origin may not open a WebSocket here");
	return check_token(n);
}

static void on_keys(struct keys_wait *wait)
{
	struct newcomer *n = container_of(wait, struct newcomer, keys);
	settle(n, check_token(n));
}

/* Round and round: who was looked at is last in the list. */
static void on_look(struct loop_timer *timer)
{
	struct ws *ws = container_of(timer, struct ws, look);
	size_t left = ws->socket_count / LOOKED_AT_PART;

	if (left < LOOKED_AT_MIN)
		left = ws->socket_count < LOOKED_AT_MIN ? ws->socket_count : LOOKED_AT_MIN;
	for (; left > 0; left--) {
		struct list *node = list_take_first(&ws->sockets);
		list_append(&ws->sockets, node);
		socket_look(container_of(node, struct socket, node));
	}
	loop_timer_start(timer, LOOK_MS);
}

void ws_drain(struct ws *ws)
{
	ws->draining = true;
	list_for_each (node, &ws->sockets)
		socket_part(container_of(node, struct socket, node));
}
