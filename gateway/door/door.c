/* door.c - the listening sockets, and who may come in. */
#include "gateway/door/door.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/fault.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "gateway/config_lists.h"
#include "gateway/door/door_internal.h"
#include "gateway/door/guests.h"
#include "gateway/door/head.h"

#define BACKLOG 1024
#define UNREAD_MS 30000 /* a peer that takes nothing in for so long is gone */
#define AT_ONCE 64
#define SHARED_AT_ONCE 1 /* of a socket that other loops wait for, too: so each gets its part */
#define EXHAUSTED_MS 100 /* without descriptors nothing is accepted for so long */

struct listener {
	struct list node;
	struct door *door;
	int fd, port;
	bool is_shared; /* others accept from it, too */
	uv_poll_t poll;
	struct loop_timer rest;
};

union any_address {
	struct sockaddr any;
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;
};

static struct listener *listener_new(struct door *door, bool is_shared);
static bool listener_start(struct listener *l, const struct address *address);
static void listener_await(struct listener *l, const char *address);
static void on_newcomers(uv_poll_t *poll, int status, int events);
static bool let_next_in(struct listener *l);
static void rest_without_descriptors(struct listener *l, int error);
static void on_rested(struct loop_timer *timer);
static void let_in(struct door *door, int fd, const union any_address *from);

struct door *door_new(struct loop *loop, const struct door_options *options)
{
	struct door *door = memory_new(sizeof(*door));

	door->loop = loop;
	door->options = *options;
	list_init(&door->listeners);
	list_init(&door->visitors);
	list_init(&door->arrivals);
	return door;
}

static int port_of(const union any_address *at)
{
	return ntohs(at->any.sa_family == AF_INET6 ? at->in6.sin6_port : at->in4.sin_port);
}

bool door_listen(struct door *door, const struct address *address)
{
	struct listener *l = listener_new(door, false);

	if (!listener_start(l, address)) {
		log_error(
			"door", "cannot listen", LOG_TEXT("address", address->text), LOG_TEXT("why", strerror(errno)));
		if (l->fd >= 0)
			close(l->fd);
		free(l);
		return false;
	}
	listener_await(l, address->text);
	return true;
}

bool door_adopt(struct door *door, int fd)
{
	struct listener *l = listener_new(door, true);
	union any_address at;
	socklen_t len = sizeof(at);

	l->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (l->fd < 0) {
		log_error("door", "cannot take over a socket", LOG_TEXT("why", strerror(errno)));
		free(l);
		return false;
	}
	getsockname(l->fd, &at.any, &len);
	l->port = port_of(&at);
	listener_await(l, "handed over");
	return true;
}

static struct listener *listener_new(struct door *door, bool is_shared)
{
	struct listener *l = memory_new(sizeof(*l));

	l->door = door;
	l->is_shared = is_shared;
	return l;
}

static void listener_await(struct listener *l, const char *address)
{
	struct door *door = l->door;

	loop_timer_init(door->loop, &l->rest, on_rested);
	loop_poll_init(door->loop, &l->poll, l->fd);
	uv_poll_start(&l->poll, UV_READABLE, on_newcomers);
	list_append(&door->listeners, &l->node);
	log_debug("door", "listening", LOG_TEXT("address", address), LOG_INT("port", l->port));
}

static socklen_t address_read(const struct address *a, union any_address *ret)
{
	*ret = (union any_address){ 0 };
	if (inet_pton(AF_INET6, a->host, &ret->in6.sin6_addr) == 1) {
		ret->in6.sin6_family = AF_INET6;
		ret->in6.sin6_port = htons(a->port);
		return sizeof(ret->in6);
	}
	inet_pton(AF_INET, a->host, &ret->in4.sin_addr);
	ret->in4.sin_family = AF_INET;
	ret->in4.sin_port = htons(a->port);
	return sizeof(ret->in4);
}

static bool listener_start(struct listener *l, const struct address *address)
{
	union any_address at;
	socklen_t len = address_read(address, &at);
	int one = 1;

	l->fd = socket(at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0)
		return false;
	setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(l->fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	if (bind(l->fd, &at.any, len) != 0 || listen(l->fd, BACKLOG) != 0)
		return false;
	getsockname(l->fd, &at.any, &len);
	l->port = port_of(&at);
	return true;
}

static void on_newcomers(uv_poll_t *poll, int status, int events)
{
	struct listener *l = container_of(poll, struct listener, poll);

	(void)status, (void)events;
	for (int i = 0; i < (l->is_shared ? SHARED_AT_ONCE : AT_ONCE); i++)
		if (!let_next_in(l)) {
			rest_without_descriptors(l, errno);
			return;
		}
}

static void rest_without_descriptors(struct listener *l, int error)
{
	if (error == EMFILE || error == ENFILE) {
		log_warn("door", "out of descriptors", LOG_INT("connections", guests_count()));
		uv_poll_stop(&l->poll);
		loop_timer_start(&l->rest, EXHAUSTED_MS);
	}
}

/* False: there is no next one, or no room for it. */
static bool let_next_in(struct listener *l)
{
	union any_address from = { 0 };
	socklen_t len = sizeof(from);
	int fd = accept4(l->fd, &from.any, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0)
		let_in(l->door, fd, &from);
	/* Any other error is of that one connection, and it is gone. */
	return fd >= 0 ||
	       (errno != EAGAIN && errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM);
}

static void on_rested(struct loop_timer *timer)
{
	struct listener *l = container_of(timer, struct listener, rest);
	uv_poll_start(&l->poll, UV_READABLE, on_newcomers);
}

void door_say(int fd, const char *answer, size_t len)
{
	char head[HEAD_MAX];

	(void)recv(fd, head, sizeof(head), MSG_DONTWAIT);
	(void)send(fd, answer, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* RFC 9457, by hand: this room knows of no operations. */
static void say_full(const struct door *door, int fd)
{
	const struct fault *f = &FAULT_OVERLOADED;
	char id[UUID_TEXT_SIZE], body[512], answer[1024];

	uuid7_draw(loop_unix_us(door->loop), id);
	int len = snprintf(body, sizeof(body),
		"{\"type\":\"urn:keyfob:problem:%s\",\"title\":\"%s\",\"status\":%d,\"detail\":\"%s\","
		"\"instance\":\"%s\",\"retriable\":true,\"may_have_executed\":false,\"user_message\":\"%s\"}",
		f->name, f->title, f->http, f->title, id, f->user_message);
	len = snprintf(answer, sizeof(answer),
		"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
		"Content-Type: application/problem+json\r\nX-Request-Id: %s\r\nContent-Length: %d\r\n\r\n%s",
		id, len, body);
	door_say(fd, answer, (size_t)len);
}

static void let_in(struct door *door, int fd, const union any_address *from)
{
	char peer[INET6_ADDRSTRLEN] = "";
	int one = 1, unread_ms = UNREAD_MS;

	if (from->any.sa_family == AF_INET6)
		inet_ntop(AF_INET6, &from->in6.sin6_addr, peer, sizeof(peer));
	else
		inet_ntop(AF_INET, &from->in4.sin_addr, peer, sizeof(peer));
	if (door->options.counts && !guests_enter(peer, door->options.max_connections, door->options.max_per_address)) {
		metric_add(METRIC_DOOR_REFUSED, 1);
		if (!door->options
				.tls) /* there it would be noise, and a handshake costs more than the newcomer is worth */
			say_full(door, fd);
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unread_ms, sizeof(unread_ms));
	if (door->options.tls)
		tunnel_begin(door, fd, peer);
	else
		visitor_begin(door, fd, peer);
}

static void on_listener_closed(uv_handle_t *handle)
{
	free(container_of(handle, struct listener, poll));
}

/* The kernel resets whoever waits to be let in when the listener is closed, unless others have it too. */
void door_drain(struct door *door)
{
	struct list *node;

	while ((node = list_take_first(&door->listeners)) != NULL) {
		struct listener *l = container_of(node, struct listener, node);
		loop_timer_stop(&l->rest);
		uv_close((uv_handle_t *)&l->poll, on_listener_closed);
		for (int i = 0; i < BACKLOG && !l->is_shared && let_next_in(l); i++)
			;
		close(l->fd);
	}
}

void door_close(struct door *door)
{
	struct list *node;

	if (!door)
		return;
	door_drain(door);
	while ((node = list_take_first(&door->visitors)) != NULL)
		visitor_refuse(node);
	while ((node = list_take_first(&door->arrivals)) != NULL)
		tunnel_refuse(node);
	free(door);
}

int door_port(const struct door *door)
{
	return list_is_empty(&door->listeners) ? 0 : container_of(door->listeners.next, struct listener, node)->port;
}
