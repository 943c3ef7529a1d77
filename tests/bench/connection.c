/* connection.c - reads in large pieces, writes once for all that one piece brought about. */
#include "tests/bench/connection.h"

#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/memory.h"
#include "tests/bench/samples.h"

#define READ_SIZE (256 * 1024)

static void on_connected(uv_connect_t *connect, int status);
static void on_room(uv_handle_t *handle, size_t wanted, uv_buf_t *buf);
static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf);

static struct connection *connection_of(void *tcp)
{
	return container_of((uv_tcp_t *)tcp, struct connection, tcp);
}

void connection_open(struct connection *c, uv_loop_t *loop, int port)
{
	struct sockaddr_in to;
	uv_ip4_addr("127.0.0.1", port, &to);
	uv_tcp_init(loop, &c->tcp);
	uv_tcp_connect(&c->connect, &c->tcp, (const struct sockaddr *)&to, on_connected);
}

static void on_connected(uv_connect_t *connect, int status)
{
	struct connection *c = connection_of(connect->handle);
	if (status != 0)
		give_up("no connection to the node: %s", uv_strerror(status));
	uv_tcp_nodelay(&c->tcp, 1);
	uv_read_start((uv_stream_t *)&c->tcp, on_room, on_read);
	c->on_open(c);
	connection_flush(c);
}

static void on_room(uv_handle_t *handle, size_t wanted, uv_buf_t *buf)
{
	static char room[READ_SIZE]; /* taken out of before the next read */
	(void)handle, (void)wanted;
	*buf = uv_buf_init(room, sizeof(room));
}

static void take(struct connection *c)
{
	size_t taken = c->on_bytes(c);
	memmove(c->in.data, c->in.data + taken, c->in.len - taken + 1);
	c->in.len -= taken;
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
	struct connection *c = connection_of(stream);
	if (count < 0)
		give_up("the node hung up: %s", uv_strerror((int)count));
	text_add_bytes(&c->in, buf->base, (size_t)count);
	take(c);
	connection_flush(c);
}

/* What the socket does not take at once. */
struct rest {
	uv_write_t write;
	char bytes[];
};

static void on_written(uv_write_t *write, int status)
{
	if (status != 0 && status != UV_ECANCELED)
		give_up("the node hung up: %s", uv_strerror(status));
	free(container_of(write, struct rest, write));
}

void connection_flush(struct connection *c)
{
	if (c->out.len == 0)
		return;
	uv_buf_t all = uv_buf_init(c->out.data, (unsigned)c->out.len);
	int sent = uv_try_write((uv_stream_t *)&c->tcp, &all, 1);
	size_t done = sent > 0 ? (size_t)sent : 0;
	if (done < c->out.len) {
		struct rest *rest = memory_new(sizeof(*rest) + c->out.len - done);
		memcpy(rest->bytes, c->out.data + done, c->out.len - done);
		uv_buf_t buf = uv_buf_init(rest->bytes, (unsigned)(c->out.len - done));
		uv_write(&rest->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written);
	}
	c->out.len = 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct connection *c = connection_of(handle);
	text_free(&c->in);
	text_free(&c->out);
}

void connection_close(struct connection *c)
{
	uv_close((uv_handle_t *)&c->tcp, on_closed);
}
