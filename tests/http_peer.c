/* http_peer.c - a socket that listens, and one connection at a time. */
#include "tests/http_peer.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

bool http_peer_has_heard(const struct http_peer *peer)
{
	const char *end = peer->heard.data ? strstr(peer->heard.data, "\r\n\r\n") : NULL;
	const char *length = end ? strcasestr(peer->heard.data, "content-length:") : NULL;
	size_t body = length && length < end ? strtoul(length + strlen("content-length:"), NULL, 10) : 0;

	return end && peer->heard.len >= (size_t)(end + 4 - peer->heard.data) + body;
}

static void on_hung_up(uv_handle_t *handle)
{
	struct http_peer *peer = handle->data;

	close(peer->fd);
	peer->fd = -1;
}

static void hang_up(struct http_peer *peer)
{
	if (peer->fd >= 0 && !uv_is_closing((uv_handle_t *)&peer->reading))
		uv_close((uv_handle_t *)&peer->reading, on_hung_up);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct http_peer *peer = poll->data;
	char data[4096];
	ssize_t n = read(peer->fd, data, sizeof(data));

	(void)status;
	(void)events;
	if (n <= 0) {
		hang_up(peer);
		return;
	}
	text_add_bytes(&peer->heard, data, (size_t)n);
	if (!http_peer_has_heard(peer))
		return;
	if (peer->says)
		ck_assert_int_eq(write(peer->fd, peer->says, strlen(peer->says)), (ssize_t)strlen(peer->says));
	if (!peer->stays)
		hang_up(peer);
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
	struct http_peer *peer = poll->data;

	(void)status;
	(void)events;
	if (peer->fd >= 0)
		return; /* the one before is about to close; this one is still there then */
	peer->fd = accept(peer->listener, NULL, NULL);
	peer->connections++;
	text_free(&peer->heard);
	uv_poll_init(poll->loop, &peer->reading, peer->fd);
	peer->reading.data = peer;
	uv_poll_start(&peer->reading, UV_READABLE, on_readable);
}

static void on_tick(struct loop_timer *timer)
{
	loop_timer_start(timer, 10);
}

void http_peer_start(struct http_peer *peer, struct loop *loop)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);

	unsetenv("http_proxy");
	*peer = (struct http_peer){ .listener = socket(AF_INET, SOCK_STREAM, 0), .fd = -1 };
	ck_assert_int_eq(bind(peer->listener, (struct sockaddr *)&address, len), 0);
	ck_assert_int_eq(listen(peer->listener, 8), 0);
	getsockname(peer->listener, (struct sockaddr *)&address, &len);
	peer->port = ntohs(address.sin_port);
	uv_poll_init(loop_uv(loop), &peer->accepting, peer->listener);
	peer->accepting.data = peer;
	uv_poll_start(&peer->accepting, UV_READABLE, on_connection);
	loop_timer_init(loop, &peer->tick, on_tick);
	loop_timer_start(&peer->tick, 10);
}

static void on_stopped(uv_handle_t *handle)
{
	const struct http_peer *peer = handle->data;
	close(peer->listener);
}

void http_peer_stop(struct http_peer *peer)
{
	hang_up(peer);
	loop_timer_stop(&peer->tick);
	uv_close((uv_handle_t *)&peer->accepting, on_stopped);
	text_free(&peer->heard);
}
