/* linger.c - the end of a connection of which not all was read (RFC 9112 §9.6).
 *
 *   FIN sent ─ what still comes is thrown away ─┬─ the client closes ─┬─ closed
 *                                               ├─ 2 s of silence ────┤
 *                                               └─ 30 s, or 64 MiB ───┘
 * Whoever closes with something unread makes the kernel reset the connection, and the client that is still sending loses the
 * answer that says why it need not. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/memory.h"
#include "gateway/http/http_internal.h"

#define SILENCE_MS 2000
#define LINGER_MS 30000
#define BYTES_MAX (64 * 1024 * 1024)

struct lingering {
	uv_poll_t poll;
	int fd;
	size_t heard;
	int64_t until_ms;
	struct loop *loop;
	struct loop_timer silence;
	void (*on_closed)(const char *peer);
	char peer[INET6_ADDRSTRLEN];
};

static void on_readable(uv_poll_t *poll, int status, int events);
static void on_silence(struct loop_timer *timer);
static void finish(struct lingering *l);

void linger_begin(struct loop *loop, int fd, const char *peer, void (*on_closed)(const char *peer))
{
	struct lingering *l = memory_new(sizeof(*l));

	l->fd = fd;
	l->loop = loop;
	l->until_ms = loop_monotonic_ms(loop) + LINGER_MS;
	l->on_closed = on_closed;
	snprintf(l->peer, sizeof(l->peer), "%s", peer);
	shutdown(fd, SHUT_WR);
	loop_timer_init(loop, &l->silence, on_silence);
	loop_timer_start(&l->silence, SILENCE_MS);
	loop_poll_init(loop, &l->poll, fd);
	uv_poll_start(&l->poll, UV_READABLE, on_readable);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct lingering *l = container_of(poll, struct lingering, poll);
	char rest[65536];
	ssize_t len = recv(l->fd, rest, sizeof(rest), MSG_DONTWAIT);
	int64_t left_ms = l->until_ms - loop_monotonic_ms(l->loop);

	(void)events;
	if (len < 0 && errno == EAGAIN && status == 0)
		return;
	if (len > 0)
		l->heard += (size_t)len;
	if (len <= 0 || l->heard >= BYTES_MAX || left_ms <= 0)
		finish(l);
	else
		loop_timer_start(&l->silence, left_ms < SILENCE_MS ? left_ms : SILENCE_MS);
}

static void on_silence(struct loop_timer *timer)
{
	finish(container_of(timer, struct lingering, silence));
}

static void on_poll_closed(uv_handle_t *handle)
{
	free(container_of(handle, struct lingering, poll));
}

static void finish(struct lingering *l)
{
	loop_timer_stop(&l->silence);
	uv_close((uv_handle_t *)&l->poll, on_poll_closed);
	close(l->fd);
	if (l->on_closed)
		l->on_closed(l->peer);
}
