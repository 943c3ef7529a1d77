/* wire.c - the life of a connection:
 *
 *  resolving ─ dialling ─ (shaking hands) ─ open ─ lost
 *                 └ the next address, when one fails
 *
 * What libuv still holds when a wire is closed (a name being resolved, a handle being closed) is allocated apart, forgets
 * its wire, and frees itself. */
#include "notifier/wake/smpp/wire.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/loop.h"
#include "base/memory.h"
#include "base/smpp/pdu.h"
#include "notifier/wake/smpp/target.h"
#include "notifier/wake/smpp/tls.h"

#define RAW_SIZE ((size_t)16 << 10)
#define REASON_SIZE 256

enum wire_state { WIRE_RESOLVING, WIRE_DIALLING, WIRE_SHAKING, WIRE_OPEN, WIRE_LOST, WIRE_CLOSED };

struct resolving {
	uv_getaddrinfo_t request;
	struct wire *wire; /* NULL: forgotten */
};

struct dial {
	uv_tcp_t tcp;
	uv_connect_t request;
	struct wire *wire; /* NULL: forgotten */
	uint8_t raw[RAW_SIZE];
};

struct wire {
	struct wire_options options;
	enum wire_state state;
	struct loop_timer timer;
	struct loop_soon soon; /* tells that it is lost; frees it once closed */
	struct resolving *resolving;
	struct addrinfo *addresses, *address; /* the one being tried */
	struct dial *dial;
	struct tls *tls;
	uint8_t input[SMPP_PDU_MAX]; /* what came and is no whole PDU yet */
	size_t input_len;
	char reason[REASON_SIZE];
};

static void on_late(struct loop_timer *);
static void on_soon(struct loop_soon *);
static void resolve(struct wire *);
static void on_resolved(uv_getaddrinfo_t *, int status, struct addrinfo *);
static void dial_next(struct wire *, const char *reason);
static int dial_address(struct wire *, struct dial *);
static void on_connected(uv_connect_t *, int status);
static void give_buffer(uv_handle_t *, size_t suggested, uv_buf_t *);
static void on_read(uv_stream_t *, ssize_t len, const uv_buf_t *);
static void take_raw(struct wire *, const uint8_t *bytes, size_t len);
static void take_plain(struct wire *, const uint8_t *bytes, size_t len);
static void take_encrypted(struct wire *, const uint8_t *bytes, size_t len);
static void cut_pdus(struct wire *);
static void send_raw(struct wire *, const uint8_t *bytes, size_t len);
static void send_encrypted(struct wire *);
static void on_written(uv_write_t *, int status);
static void lose(struct wire *, const char *reason);
static void drop_dial(struct wire *);
static void free_dial(uv_handle_t *);

/* making */

struct wire *wire_open(const struct wire_options *options)
{
	struct wire *w = memory_new(sizeof *w);
	w->options = *options;
	loop_timer_init(options->loop, &w->timer, on_late);
	loop_soon_init(&w->soon, on_soon);
	loop_timer_start(&w->timer, WIRE_OPEN_MS_MAX);
	resolve(w);
	return w;
}

/* resolving */

static void resolve(struct wire *w)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct resolving *r = memory_new(sizeof *r);
	r->wire = w;
	int failed = uv_getaddrinfo(loop_uv(w->options.loop), &r->request, on_resolved, w->options.target->host,
		w->options.target->port, &hints);
	if (failed) {
		free(r);
		lose(w, uv_strerror(failed));
		return;
	}
	w->resolving = r;
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
	struct resolving *r = container_of(request, struct resolving, request);
	struct wire *w = r->wire;
	free(r);
	if (!w) {
		uv_freeaddrinfo(addresses);
		return;
	}
	w->resolving = NULL;
	w->addresses = w->address = addresses;
	if (status) {
		char reason[REASON_SIZE];
		snprintf(reason, sizeof reason, "its name cannot be resolved: %s", uv_strerror(status));
		lose(w, reason);
		return;
	}
	dial_next(w, "its name has no address");
}

/* dialling: one address after the other; `reason` is why the last one failed */

static void dial_next(struct wire *w, const char *reason)
{
	drop_dial(w);
	if (!w->address) {
		lose(w, reason);
		return;
	}
	struct dial *d = memory_new(sizeof *d);
	d->wire = w;
	w->dial = d;
	w->state = WIRE_DIALLING;
	uv_tcp_init(loop_uv(w->options.loop), &d->tcp);
	loop_timer_start(&w->timer, WIRE_OPEN_MS_MAX);
	int failed = dial_address(w, d);
	if (failed)
		dial_next(w, uv_strerror(failed));
}

static int dial_address(struct wire *w, struct dial *d)
{
	const struct sockaddr *to = w->address->ai_addr;
	w->address = w->address->ai_next;
	return uv_tcp_connect(&d->request, &d->tcp, to, on_connected);
}

static void on_connected(uv_connect_t *request, int status)
{
	struct dial *d = container_of(request, struct dial, request);
	struct wire *w = d->wire;
	if (!w)
		return;
	if (status) {
		dial_next(w, uv_strerror(status));
		return;
	}
	uv_tcp_nodelay(&d->tcp, 1);
	uv_read_start((uv_stream_t *)&d->tcp, give_buffer, on_read);
	if (w->options.target->tls) {
		w->state = WIRE_SHAKING;
		w->tls = wire_tls_new(w->options.target->host, w->options.ca);
		take_encrypted(w, NULL, 0);
		return;
	}
	loop_timer_stop(&w->timer);
	w->state = WIRE_OPEN;
	w->options.on_open(w->options.owner);
}

static void on_late(struct loop_timer *timer)
{
	struct wire *w = container_of(timer, struct wire, timer);
	if (w->state == WIRE_RESOLVING)
		lose(w, "its name was not resolved in 5 s");
	else if (w->state == WIRE_DIALLING)
		dial_next(w, "it did not answer in 5 s");
	else
		lose(w, "TLS: the handshake took more than 5 s");
}

/* reading */

static void give_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	struct dial *d = container_of(handle, struct dial, tcp);
	(void)suggested;
	*buffer = uv_buf_init((char *)d->raw, RAW_SIZE);
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buffer)
{
	struct wire *w = container_of(stream, struct dial, tcp)->wire;
	if (!w || len == 0)
		return;
	if (len < 0)
		lose(w, len == UV_EOF ? "it closed the connection" : uv_strerror((int)len));
	else
		take_raw(w, (const uint8_t *)buffer->base, (size_t)len);
}

static void take_raw(struct wire *w, const uint8_t *bytes, size_t len)
{
	if (w->options.target->tls)
		take_encrypted(w, bytes, len);
	else
		take_plain(w, bytes, len);
}

static void take_encrypted(struct wire *w, const uint8_t *bytes, size_t len)
{
	uint8_t plain[4096];
	if (!w->tls) {
		lose(w, "TLS: the file of certificates cannot be used");
		return;
	}
	enum tls_state state = wire_tls_bring(w->tls, bytes, len);
	send_encrypted(w); /* the handshake's next step, or the alert that ends it */
	if (state == TLS_OPEN && w->state == WIRE_SHAKING) {
		loop_timer_stop(&w->timer);
		w->state = WIRE_OPEN;
		w->options.on_open(w->options.owner);
	}
	while (state == TLS_OPEN && w->state == WIRE_OPEN && (len = wire_tls_read(w->tls, plain, sizeof plain)) > 0)
		take_plain(w, plain, len);
	if (w->state == WIRE_OPEN || state == TLS_BROKEN)
		if (wire_tls_bring(w->tls, NULL, 0) == TLS_BROKEN)
			lose(w, wire_tls_reason(w->tls));
}

static void take_plain(struct wire *w, const uint8_t *bytes, size_t len)
{
	while (len > 0 && w->state == WIRE_OPEN) {
		size_t room = sizeof w->input - w->input_len;
		size_t part = len < room ? len : room;
		memcpy(w->input + w->input_len, bytes, part);
		w->input_len += part;
		bytes += part;
		len -= part;
		cut_pdus(w);
	}
}

/* A whole PDU of the greatest length fills the buffer, so there is always room for more. */
static void cut_pdus(struct wire *w)
{
	struct smpp_header header;
	enum smpp_frame frame = SMPP_FRAME_HALF;
	size_t at = 0;
	while (w->state == WIRE_OPEN &&
		(frame = smpp_frame(w->input + at, w->input_len - at, &header)) == SMPP_FRAME_WHOLE) {
		w->options.on_pdu(w->options.owner, &header, w->input + at);
		at += header.length;
	}
	if (w->state != WIRE_OPEN)
		return;
	if (frame == SMPP_FRAME_WRONG) {
		lose(w, "what it sent is no SMPP");
		return;
	}
	memmove(w->input, w->input + at, w->input_len - at);
	w->input_len -= at;
}

/* writing */

struct sending {
	uv_write_t request;
	uint8_t bytes[];
};

static void send_raw(struct wire *w, const uint8_t *bytes, size_t len)
{
	uv_stream_t *stream = (uv_stream_t *)&w->dial->tcp;
	if (uv_stream_get_write_queue_size(stream) + len > WIRE_UNWRITTEN_MAX) {
		lose(w, "it does not read what is sent");
		return;
	}
	struct sending *s = memory_new(sizeof *s + len);
	memcpy(s->bytes, bytes, len);
	const uv_buf_t buffer = uv_buf_init((char *)s->bytes, (unsigned)len);
	int failed = uv_write(&s->request, stream, &buffer, 1, on_written);
	if (!failed)
		return;
	free(s);
	lose(w, uv_strerror(failed));
}

/* That it failed is seen by the reader, too. */
static void on_written(uv_write_t *request, int status)
{
	(void)status;
	free(container_of(request, struct sending, request));
}

static void send_encrypted(struct wire *w)
{
	uint8_t bytes[4096];
	for (size_t len; w->dial && (len = wire_tls_take(w->tls, bytes, sizeof bytes)) > 0;)
		send_raw(w, bytes, len);
}

void wire_write(struct wire *w, const uint8_t *bytes, size_t len)
{
	if (w->state != WIRE_OPEN)
		return;
	if (!w->tls)
		send_raw(w, bytes, len);
	else if (wire_tls_write(w->tls, bytes, len))
		send_encrypted(w);
	else
		lose(w, wire_tls_reason(w->tls));
}

/* the end */

static void lose(struct wire *w, const char *reason)
{
	if (w->state >= WIRE_LOST)
		return;
	w->state = WIRE_LOST;
	snprintf(w->reason, sizeof w->reason, "%s", reason);
	loop_timer_stop(&w->timer);
	drop_dial(w);
	loop_soon_call(w->options.loop, &w->soon);
}

static void drop_dial(struct wire *w)
{
	if (!w->dial)
		return;
	w->dial->wire = NULL;
	uv_close((uv_handle_t *)&w->dial->tcp, free_dial);
	w->dial = NULL;
}

static void free_dial(uv_handle_t *handle)
{
	free(container_of(handle, struct dial, tcp));
}

static void on_soon(struct loop_soon *soon)
{
	struct wire *w = container_of(soon, struct wire, soon);
	if (w->state == WIRE_LOST) {
		w->options.on_lost(w->options.owner, w->reason);
		return;
	}
	uv_freeaddrinfo(w->addresses);
	wire_tls_free(w->tls);
	free(w);
}

/* It may be called from one of its own callbacks: it is freed from the loop. */
void wire_close(struct wire *w)
{
	if (!w)
		return;
	w->state = WIRE_CLOSED;
	loop_timer_stop(&w->timer);
	drop_dial(w);
	if (w->resolving) {
		w->resolving->wire = NULL;
		uv_cancel((uv_req_t *)&w->resolving->request);
		w->resolving = NULL;
	}
	loop_soon_call(w->options.loop, &w->soon);
}
