/* visitor.c - one newcomer at the door, from accept until its head says where it belongs.
 *
 *   accepted ─ head arrives ─┬─ no WebSocket, as soon as that is plain ─ on_http
 *                            ├─ whole, and asks for one ─ on_websocket
 *                            └─ 10 s without a whole head ─ closed */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/loop.h"
#include "base/memory.h"
#include "gateway/door/door_internal.h"
#include "gateway/door/guests.h"
#include "gateway/door/head.h"

static const char ONLY_WEBSOCKETS[] =
	"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: close, upgrade\r\n"
	"Content-Length: 0\r\n\r\n";

struct visitor {
	struct list node;
	struct door *door;
	int fd;
	size_t seen; /* of the head, when it was last looked at */
	char peer[INET6_ADDRSTRLEN];
	uv_poll_t poll;
	struct loop_timer patience;
};

static void on_readable(uv_poll_t *poll, int status, int events);
static void on_patience_over(struct loop_timer *timer);
static void look(struct visitor *v, const char *head, size_t len);
static void send_to(struct visitor *v, enum belonging belonging);
static void refuse(struct visitor *v);

void visitor_begin(struct door *door, int fd, const char *peer)
{
	struct visitor *v = memory_new(sizeof(*v));

	v->door = door;
	v->fd = fd;
	snprintf(v->peer, sizeof(v->peer), "%s", peer);
	list_append(&door->visitors, &v->node);
	loop_timer_init(door->loop, &v->patience, on_patience_over);
	loop_timer_start(&v->patience, PATIENCE_MS);
	loop_poll_init(door->loop, &v->poll, fd);
	uv_poll_start(&v->poll, UV_READABLE, on_readable);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct visitor *v = container_of(poll, struct visitor, poll);
	char head[HEAD_MAX];

	(void)events;
	ssize_t len = recv(v->fd, head, sizeof(head), MSG_PEEK | MSG_DONTWAIT);
	if (len < 0 && errno == EAGAIN && status == 0)
		return;
	if (len <= 0 || (size_t)len <= v->seen) { /* woken without more: the other side has closed */
		refuse(v);
		return;
	}
	look(v, head, (size_t)len);
}

enum belonging visitor_belongs(const struct door *door, const char *head, size_t len, size_t seen)
{
	bool may_be_whole = memchr(head + seen, '\n', len - seen) != NULL;

	if (may_be_whole && head_asks_websocket(head, len))
		return BELONGS_TO_WEBSOCKET;
	if (!door->options.on_websocket || !head_may_ask_websocket(head, len) || len >= HEAD_MAX ||
		(may_be_whole && head_is_whole(head, len)))
		return BELONGS_TO_HTTP;
	return BELONGS_TO_NOBODY_YET;
}

door_room *visitor_room(const struct door *door, enum belonging belonging)
{
	bool upgrades = belonging == BELONGS_TO_WEBSOCKET && door->options.on_websocket;

	return upgrades ? door->options.on_websocket : door->options.on_http;
}

/* A half head that may still ask for a WebSocket waits. The kernel wakes us only when there is more of it: a
 * level-triggered poll of a socket that is merely peeked would spin. */
static void look(struct visitor *v, const char *head, size_t len)
{
	enum belonging belonging = visitor_belongs(v->door, head, len, v->seen);
	int more = (int)len + 1;

	v->seen = len;

	if (belonging == BELONGS_TO_NOBODY_YET)
		setsockopt(v->fd, SOL_SOCKET, SO_RCVLOWAT, &more, sizeof(more));
	else
		send_to(v, belonging);
}

static void on_patience_over(struct loop_timer *timer)
{
	refuse(container_of(timer, struct visitor, patience));
}

static void on_poll_closed(uv_handle_t *handle)
{
	free(container_of(handle, struct visitor, poll));
}

/* The poll handle lets go of the descriptor at once; the visitor is freed a turn later. */
static void let_go(struct visitor *v)
{
	list_remove(&v->node);
	loop_timer_stop(&v->patience);
	uv_close((uv_handle_t *)&v->poll, on_poll_closed);
}

static void send_to(struct visitor *v, enum belonging belonging)
{
	door_room *room = visitor_room(v->door, belonging);
	int one = 1;

	if (!room) {
		door_say(v->fd, ONLY_WEBSOCKETS, sizeof(ONLY_WEBSOCKETS) - 1);
		refuse(v);
		return;
	}
	let_go(v);
	setsockopt(v->fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
	room(v->door->options.owner, v->fd, v->peer);
}

static void refuse(struct visitor *v)
{
	let_go(v);
	close(v->fd);
	if (v->door->options.counts)
		guests_leave(v->peer);
}

void visitor_refuse(struct list *node)
{
	refuse(container_of(node, struct visitor, node));
}
