/* connection.c - reads in large pieces, writes once for all that one piece brought about. */
#include "tests/bench/connection.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/memory.h"
#include "tests/bench/samples.h"

#define READ_SIZE (256 * 1024)

static SSL_CTX *tls; /* NULL: plain */

static void on_connected(uv_connect_t *connect, int status);
static void on_room(uv_handle_t *handle, size_t wanted, uv_buf_t *buf);
static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf);
static void send_bytes(struct connection *c, const char *bytes, size_t len);

static struct connection *connection_of(void *tcp)
{
	return container_of((uv_tcp_t *)tcp, struct connection, tcp);
}

int tcp_port(const char *argument)
{
	if (strncmp(argument, "tls:", 4) != 0)
		return (int)argument_number(argument);
	tls = memory_need(SSL_CTX_new(TLS_client_method()));
	return (int)argument_number(argument + 4);
}

void tcp_open(struct connection *c, uv_loop_t *loop, int port)
{
	struct sockaddr_in to;
	uv_ip4_addr("127.0.0.1", port, &to);
	uv_tcp_init(loop, &c->tcp);
	if (tls) {
		c->tls = memory_need(SSL_new(tls));
		SSL_set_connect_state(c->tls);
		SSL_set_bio(c->tls, memory_need(BIO_new(BIO_s_mem())), memory_need(BIO_new(BIO_s_mem())));
	}
	uv_tcp_connect(&c->connect, &c->tcp, (const struct sockaddr *)&to, on_connected);
}

/* What OpenSSL has to say leaves in one write. */
static void send_records(struct connection *c)
{
	char *records;
	long len = BIO_get_mem_data(SSL_get_wbio(c->tls), &records);

	if (len > 0)
		send_bytes(c, records, (size_t)len);
	(void)BIO_reset(SSL_get_wbio(c->tls));
}

static void shake(struct connection *c)
{
	int result = SSL_do_handshake(c->tls);

	if (result != 1 && SSL_get_error(c->tls, result) != SSL_ERROR_WANT_READ)
		give_up("no TLS with the node: %s", ERR_error_string(ERR_get_error(), NULL));
	send_records(c);
	if (result != 1)
		return;
	c->on_open(c);
	tcp_flush(c);
}

static void take_records(struct connection *c, const char *bytes, size_t len)
{
	static char room[16 * 1024]; /* RFC 8446 §5.1: a record holds no more */
	int count;

	BIO_write(SSL_get_rbio(c->tls), bytes, (int)len);
	if (!SSL_is_init_finished(c->tls))
		shake(c);
	while (SSL_is_init_finished(c->tls) && (count = SSL_read(c->tls, room, sizeof(room))) > 0)
		text_add_bytes(&c->in, room, (size_t)count);
}

static void on_connected(uv_connect_t *connect, int status)
{
	struct connection *c = connection_of(connect->handle);
	if (status != 0)
		give_up("no connection to the node: %s", uv_strerror(status));
	uv_tcp_nodelay(&c->tcp, 1);
	uv_read_start((uv_stream_t *)&c->tcp, on_room, on_read);
	if (c->tls) {
		shake(c);
		return;
	}
	c->on_open(c);
	tcp_flush(c);
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
	if (c->tls)
		take_records(c, buf->base, (size_t)count);
	else
		text_add_bytes(&c->in, buf->base, (size_t)count);
	if (c->in.len > 0)
		take(c);
	tcp_flush(c);
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

static void send_bytes(struct connection *c, const char *bytes, size_t len)
{
	uv_buf_t all = uv_buf_init((char *)(uintptr_t)bytes, (unsigned)len);
	int sent = uv_try_write((uv_stream_t *)&c->tcp, &all, 1);
	size_t done = sent > 0 ? (size_t)sent : 0;
	if (done == len)
		return;
	struct rest *rest = memory_new(sizeof(*rest) + len - done);
	memcpy(rest->bytes, bytes + done, len - done);
	uv_buf_t buf = uv_buf_init(rest->bytes, (unsigned)(len - done));
	uv_write(&rest->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written);
}

void tcp_flush(struct connection *c)
{
	if (c->out.len == 0)
		return;
	if (c->tls) {
		SSL_write(c->tls, c->out.data, (int)c->out.len);
		send_records(c);
	} else {
		send_bytes(c, c->out.data, c->out.len);
	}
	c->out.len = 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct connection *c = connection_of(handle);
	text_free(&c->in);
	text_free(&c->out);
	SSL_free(c->tls);
}

void tcp_close(struct connection *c)
{
	uv_close((uv_handle_t *)&c->tcp, on_closed);
}
