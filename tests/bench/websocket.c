/* websocket.c - the upgrade, and frames as libwebsockets sends them: whole and unmasked. */
#include "tests/bench/websocket.h"

#include <stdint.h>
#include <string.h>

#include "base/list.h"
#include "tests/bench/samples.h"

enum opcode { OP_TEXT = 0x1, OP_CLOSE = 0x8, OP_PING = 0x9, OP_PONG = 0xa };
#define FINAL 0x80
#define MASKED 0x80

static void on_connected(struct connection *c);
static size_t on_bytes(struct connection *c);
static size_t take_upgrade(struct websocket *w);
static size_t take_frame(struct websocket *w, const unsigned char *in, size_t len);
static void add_frame(struct text *out, enum opcode opcode, const char *bytes, size_t len);

static struct websocket *websocket_of(struct connection *c)
{
	return container_of(c, struct websocket, connection);
}

void websocket_open(struct websocket *w, uv_loop_t *loop, int port)
{
	w->connection.on_open = on_connected;
	w->connection.on_bytes = on_bytes;
	tcp_open(&w->connection, loop, port);
}

void websocket_send(struct websocket *w, const char *text, size_t len)
{
	add_frame(&w->connection.out, OP_TEXT, text, len);
}

static void on_connected(struct connection *c)
{
	const struct websocket *w = websocket_of(c);

	text_addf(&c->out,
		"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
		w->path ? w->path : "/v1/ws");
	if (w->token)
		text_addf(&c->out, "Sec-WebSocket-Protocol: keyfob.v1\r\nAuthorization: Bearer %s\r\n", w->token);
	text_add(&c->out, "\r\n");
}

static size_t on_bytes(struct connection *c)
{
	struct websocket *w = websocket_of(c);
	size_t taken = w->is_open ? 0 : take_upgrade(w), more;
	while (w->is_open && (more = take_frame(w, (const unsigned char *)c->in.data + taken, c->in.len - taken)) > 0)
		taken += more;
	return taken;
}

static size_t take_upgrade(struct websocket *w)
{
	const char *head = w->connection.in.data, *end = strstr(head, "\r\n\r\n");
	if (!end)
		return 0;
	if (strncmp(head, "HTTP/1.1 101", 12) != 0)
		give_up("no WebSocket: %.*s", (int)strcspn(head, "\r\n"), head);
	w->is_open = true;
	w->on_open(w);
	return (size_t)(end - head) + 4;
}

/* RFC 6455 §5.2 */
static size_t take_frame(struct websocket *w, const unsigned char *in, size_t len)
{
	if (len < 2)
		return 0;
	size_t head = 2, size = in[1], more = size == 126 ? 2 : size == 127 ? 8 : 0;
	if (len < head + more)
		return 0;
	for (size_t i = 0; i < more; i++)
		size = (i == 0 ? 0 : size << 8) | in[head + i];
	head += more;
	if (len < head + size)
		return 0;
	const char *body = (const char *)in + head;
	if (in[0] == (FINAL | OP_TEXT))
		w->on_text(w, body, size);
	else if (in[0] == (FINAL | OP_PING))
		add_frame(&w->connection.out, OP_PONG, body, size);
	else
		give_up("the node sent a frame %02x: %.*s", in[0], size > 2 ? (int)size - 2 : 0, body + 2);
	return head + size;
}

/* Masked with zeroes, which leaves the text as it is (RFC 6455 §5.3). */
static void add_frame(struct text *out, enum opcode opcode, const char *bytes, size_t len)
{
	char head[] = { (char)(FINAL | opcode), (char)(MASKED | (len < 126 ? len : 126)), (char)(len >> 8), (char)len };
	if (len > UINT16_MAX)
		give_up("a frame of %zu bytes was never meant to be sent", len);
	text_add_bytes(out, head, len < 126 ? 2 : 4);
	text_add_bytes(out, "\0\0\0\0", 4);
	text_add_bytes(out, bytes, len);
}
