/* connection.c - one connection between its socket and h2o, which hears one request at a time, and no head or chunked body that
 * head.h or chunks.h refuses.
 *
 *   bytes ─ a whole head ─┬─ well formed ─ h2o: body ─┬─ handlers ─ answered ─ the next head
 *                         │                           └─ a chunk that is not: h2o hears one that it refuses, too ─┐
 *                         └─ not ─ h2o hears another in its place, and answers that with 400 and why ─ lingers, closed
 *
 * By itself h2o takes what two readers could read differently, and what it cannot parse it answers in plain text. So libuv's
 * reads go to an ear of ours, from which h2o is given what it may have: libuv's callbacks find their socket by the stream's
 * `data`, and that is the ear from the first read to the last. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "gateway/door/chunks.h"
#include "gateway/door/head.h"
#include "gateway/http/http_internal.h"

/* What h2o hears in the place of what it must not. It is HTTP/1.0, which ends with its answer. */
static const char REFUSED[] = "REFUSED /v1 HTTP/1.0\r\n\r\n";
static const char REFUSED_CHUNK[] = "refused";

struct http_connection {
	uv_tcp_t tcp;
	struct list node; /* of http->connections */
	struct http *http;
	h2o_socket_t *socket; /* h2o's */
	h2o_socket_t ear;     /* what came and h2o was not given yet */
	size_t checked;	      /* of a head in it that is not whole */
	struct loop_soon next;
	struct loop_timer taking;    /* the client may take so long for its answer */
	bool in_request;	     /* h2o was given a head, and is not done with it */
	struct head head;	     /* that one */
	struct chunks chunks;	     /* of its body */
	const char *refused;	     /* why it is another's; NULL: it is the client's own */
	struct http_request *passed; /* the request that goes on to the files; NULL: none */
	void (*on_closed)(const char *peer);
	char peer[INET6_ADDRSTRLEN];
};

static void on_heard(h2o_socket_t *ear, const char *err);
static void on_next(struct loop_soon *soon);
static void on_not_taken(struct loop_timer *timer);
static bool take_head(struct http_connection *c);
static void hand_on(struct http_connection *c);
static void hand_on_chunks(struct http_connection *c, size_t head_len);
static void on_socket_closing(void *data);
static void on_socket_closed(uv_handle_t *handle);

static struct http_connection *connection_of(const h2o_req_t *req)
{
	return req->conn->callbacks->get_socket(req->conn)->on_close.data;
}

void http_accept(struct http *http, int fd, const char *peer)
{
	struct http_connection *c = memory_new(sizeof(*c));

	c->http = http;
	list_init(&c->node);
	c->on_closed = http->options.on_closed;
	snprintf(c->peer, sizeof(c->peer), "%s", peer);
	loop_soon_init(&c->next, on_next);
	loop_timer_init(http->loop, &c->taking, on_not_taken);
	h2o_buffer_init(&c->ear.input, &h2o_socket_buffer_prototype);
	c->ear._cb.read = on_heard;
	uv_tcp_init(loop_uv(http->loop), &c->tcp);
	if (uv_tcp_open(&c->tcp, fd) != 0) {
		close(fd);
		uv_close((uv_handle_t *)&c->tcp, on_socket_closed);
		return;
	}
	c->socket = h2o_uv_socket_create((uv_stream_t *)&c->tcp, on_socket_closed);
	c->socket->on_close.cb = on_socket_closing;
	c->socket->on_close.data = c;
	http_remember_peer(c->socket, peer);
	c->tcp.data = &c->ear;
	list_append(&http->connections, &c->node);
	h2o_accept(&http->accept, c->socket);
}

/* Hearing. */

/* The end of what is heard counts when there is nothing left to answer; libuv says it again with the next read. */
static void on_heard(h2o_socket_t *ear, const char *err)
{
	struct http_connection *c = container_of(ear, struct http_connection, ear);

	if (c->in_request && c->head.is_chunked)
		hand_on_chunks(c, 0);
	else if (c->in_request)
		hand_on(c);
	else if (take_head(c) || !err)
		return;
	c->socket->_cb.read(c->socket, err);
}

static void replace(h2o_buffer_t **input, const char *text)
{
	size_t len = strlen(text);

	h2o_buffer_consume(input, (*input)->size);
	memcpy(h2o_buffer_reserve(input, len).base, text, len);
	(*input)->size += len;
}

/* Whether a head of which the first `from` bytes are fine, and not all, can have become whole or wrong with the rest: else one that comes
 * byte by byte would be read as often as it has bytes. */
static bool has_news(const char *head, size_t size, size_t from)
{
	for (size_t i = from > 0 ? from - 1 : 0; i < size; i++) {
		if ((unsigned char)head[i] < 0x20 || head[i] == 0x7f)
			return true;
	}
	return from == 0 || size >= HEAD_MAX;
}

/* False: the next head is not whole yet. */
static bool take_head(struct http_connection *c)
{
	h2o_buffer_t **input = &c->ear.input;
	size_t size = (*input)->size, checked = c->checked;

	c->checked = size;
	if (!has_news((*input)->bytes, size, checked))
		return false;
	const char *wrong = head_check((*input)->bytes, size < HEAD_MAX ? size : HEAD_MAX, &c->head);

	if (!wrong && c->head.len == 0 && size >= HEAD_MAX)
		wrong = "the head is larger than 16 KiB";
	if (!wrong && c->head.len == 0)
		return false;
	c->refused = wrong;
	if (wrong) {
		replace(input, REFUSED);
		c->head = (struct head){ .len = strlen(REFUSED) };
	} else {
		size_t fewer = head_to_origin_form((*input)->bytes, size);
		(*input)->size -= fewer;
		c->head.len -= fewer;
	}
	c->checked = 0;
	c->in_request = true;
	c->chunks = (struct chunks){ 0 };
	if (c->head.is_chunked)
		hand_on_chunks(c, c->head.len);
	else
		hand_on(c);
	c->socket->_cb.read(c->socket, NULL);
	return true;
}

static void move(h2o_buffer_t **from, size_t at, h2o_buffer_t **to)
{
	size_t len = (*from)->size - at;

	if (len == 0)
		return;
	memcpy(h2o_buffer_reserve(to, len).base, (*from)->bytes + at, len);
	(*to)->size += len;
	(*from)->size = at;
}

static void hand_on(struct http_connection *c)
{
	h2o_buffer_t *empty = c->socket->input;

	c->socket->bytes_read = c->ear.bytes_read;
	if (empty->size > 0) {
		move(&c->ear.input, 0, &c->socket->input);
	} else { /* most often: nothing is copied */
		c->socket->input = c->ear.input;
		c->ear.input = empty;
	}
}

static void give(struct http_connection *c, const char *bytes, size_t len)
{
	memcpy(h2o_buffer_reserve(&c->socket->input, len).base, bytes, len);
	c->socket->input->size += len;
}

/* Of a chunked body, with its head where that has just come. What h2o reads no further than to its end stays in the ear. */
static void hand_on_chunks(struct http_connection *c, size_t head_len)
{
	h2o_buffer_t **heard = &c->ear.input;
	const char *wrong;
	size_t len = head_len + chunks_pass(&c->chunks, (*heard)->bytes + head_len, (*heard)->size - head_len, &wrong);

	c->socket->bytes_read = c->ear.bytes_read;
	give(c, (*heard)->bytes, len);
	h2o_buffer_consume(heard, len);
	if (!wrong)
		return;
	c->refused = wrong;
	c->chunks.part = CHUNKS_OVER;
	give(c, REFUSED_CHUNK, strlen(REFUSED_CHUNK));
	h2o_buffer_consume(heard, (*heard)->size);
}

/* Requests, as h2o comes to their handlers. */

const char *http_why_refused(const h2o_req_t *req)
{
	return connection_of(req)->refused;
}

void http_pass_on(struct http_request *r)
{
	connection_of(r->req)->passed = r;
}

struct http_request *http_request_of(struct http *http, h2o_req_t *req)
{
	struct http_request *passed = connection_of(req)->passed;

	return passed ? passed : http_request_new(http, req);
}

static void on_request_over(void *passage)
{
	struct http_connection *c = *(struct http_connection **)passage;

	c->in_request = false;
	c->refused = NULL;
	c->passed = NULL;
	loop_timer_stop(&c->taking);
	if (c->ear.input->size > 0)
		loop_last_call(c->http->loop, &c->next); /* one a turn */
}

static void on_next(struct loop_soon *soon)
{
	struct http_connection *c = container_of(soon, struct http_connection, next);

	if (!c->in_request)
		take_head(c);
}

/* What came behind the request is the next one's, and h2o would read it unasked. */
static void take_back(struct http_connection *c, h2o_iovec_t entity)
{
	h2o_buffer_t **input = &c->socket->input;

	move(input, entity.base ? (size_t)(entity.base - (*input)->bytes) + entity.len : c->head.len, &c->ear.input);
}

int http_on_any(h2o_handler_t *handler, h2o_req_t *req)
{
	struct http_connection *c = connection_of(req);
	struct http_connection **passage = h2o_mem_alloc_shared(&req->pool, sizeof(*passage), on_request_over);

	*passage = c;
	take_back(c, req->entity);
	if (!c->refused)
		return -1;
	metric_add(METRIC_HTTP_REFUSED, 1);
	struct http_request *r = http_request_new(((struct http_handler *)(void *)handler)->http, req);
	r->lingers = true;
	http_problem(r, &FAULT_MALFORMED_REQUEST, c->refused, NULL);
	return 0;
}

/* The end. */

void http_linger(h2o_req_t *req)
{
	struct http_connection *c = connection_of(req);
	int fd = dup(h2o_socket_get_fd(c->socket));

	if (fd < 0)
		return;
	linger_begin(c->http->loop, fd, c->peer, c->on_closed);
	c->on_closed = NULL;
}

/* Below h2o, which then disposes of what is under way. */
static void cut(const struct http_connection *c)
{
	shutdown(h2o_socket_get_fd(c->socket), SHUT_RDWR);
}

void http_close(struct http *http)
{
	list_for_each (node, &http->connections)
		cut(container_of(node, struct http_connection, node));
}

/* h2o keeps an answer until all of it is taken, and waits for ever. */
void http_bound_answer(struct http *http, const h2o_req_t *req, size_t len)
{
	int64_t more_ms = (int64_t)(len / http->options.answer_rate) * 1000;

	loop_timer_start(&connection_of(req)->taking, http->options.answer_ms + more_ms);
}

static void on_not_taken(struct loop_timer *timer)
{
	cut(container_of(timer, struct http_connection, taking));
}

static void on_socket_closing(void *data)
{
	struct http_connection *c = data;

	list_remove(&c->node);
	loop_soon_cancel(&c->next);
	loop_timer_stop(&c->taking);
	c->tcp.data = c->socket;
}

static void on_socket_closed(uv_handle_t *handle)
{
	struct http_connection *c = container_of(handle, struct http_connection, tcp);

	h2o_buffer_dispose(&c->ear.input);
	if (c->on_closed)
		c->on_closed(c->peer);
	free(c);
}
