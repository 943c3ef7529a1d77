/* tunnel.c - one connection's TLS, from its handshake to its close.
 *
 *   shaking ─ hearing ─┬─ the head says which room ─ open ─┬─ the room ends: flushed ─ parting ─ closed
 *                      └─ 10 s ─ closed                    └─ the client ends, or breaks the rules ─ closed
 * What one side does not take is kept here, at most a record of it, and the other side is not read meanwhile. */
#include "gateway/door/tunnel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/json.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "gateway/certificate.h"
#include "gateway/door/door_internal.h"
#include "gateway/door/frames.h"
#include "gateway/door/guests.h"
#include "gateway/door/head.h"

#define RECORD 16384		 /* RFC 8446 §5.1: what TLS carries in one piece */
#define AT_ONCE 8		 /* records that one client may have in a turn of the loop */
#define UPDATES_MAX 16		 /* key updates and the like (RFC 8446 §4.6) in a row, without a byte of data */
#define ALLOWANCE_S 2		 /* seconds of control frames that may come at once */
#define NO_OPCODE 0x0f		 /* RFC 6455 §5.2: reserved */
#define FLUSH_MS 10000		 /* a client has so long for the last of what its room sent */
#define PARTING_MS 2000		 /* who says nothing for so long after that need not be heard to its end */
#define PARTED_MS 30000		 /* nor who talks on for so long: then the kernel may throw our last bytes away */
#define SEND_BUFFER (128 * 1024) /* of a WebSocket: the kernel's queue must not grow beside ours */

enum state { SHAKING, HEARING, OPEN, PARTING };

struct tunnels {
	struct loop *loop;
	struct certificate *certificate;
	double per_socket;
	struct list open;
	char scratch[RECORD];
};

struct tunnel {
	struct list node; /* of the door's arrivals, then of tunnels' open ones */
	struct tunnels *all;
	struct door *door; /* until it is open */
	enum state state;
	char peer[INET6_ADDRSTRLEN];
	bool counted, counts; /* came in by a door that counts; is a guest of ours, not of the room */
	SSL *ssl;
	int outer, inner; /* the client's socket, our end of the pair; -1: not yet */
	uv_poll_t outer_poll, inner_poll;
	int outer_wants, inner_wants; /* what the polls watch for */
	unsigned handles;	      /* libuv has not let go of */
	unsigned updates;	      /* handshake messages since the last data */
	bool has_frames;	      /* it leads to the WebSocket's room */
	struct frames frames;
	double allowance; /* control frames that may come now */
	int64_t allowance_at_ms;
	struct text up, down; /* to the room, to the client: what was not taken yet */
	bool client_ended;
	bool owes_update;	    /* an answer to a key update, which goes out before more is read */
	bool room_gone, room_ended; /* it sends no more; and all that it sent was read */
	bool room_deaf;		    /* it hears no more */
	bool broken;		    /* TLS failed, or the client broke the rules: nothing more is said in it */
	struct loop_timer patience;
	int64_t parted_at_ms;
	struct loop_soon again;
};

static void on_outer(uv_poll_t *poll, int status, int events);
static void on_inner(uv_poll_t *poll, int status, int events);
static void on_patience_over(struct loop_timer *timer);
static void on_again(struct loop_soon *soon);
static void step(struct tunnel *t);
static void shake(struct tunnel *t);
static void hear(struct tunnel *t);
static void open_up(struct tunnel *t, enum belonging belonging);
static void pump(struct tunnel *t);
static void part(struct tunnel *t);
static void outstay(struct tunnel *t);
static void cut(struct tunnel *t);

/* All of a worker's. */

struct tunnels *tunnels_new(struct loop *loop, struct certificate *certificate, double per_socket)
{
	struct tunnels *all = memory_new(sizeof(*all));

	all->loop = loop;
	all->certificate = certificate;
	all->per_socket = per_socket;
	list_init(&all->open);
	return all;
}

void tunnels_free(struct tunnels *all)
{
	if (!all)
		return;
	while (!list_is_empty(&all->open))
		cut(container_of(all->open.next, struct tunnel, node));
	uv_run(loop_uv(all->loop), UV_RUN_NOWAIT);
	free(all);
}

static bool is_flushed(const struct tunnel *t)
{
	int waiting = 0;

	return t->down.len == 0 && (t->room_ended || ioctl(t->inner, FIONREAD, &waiting) != 0 || waiting == 0);
}

bool tunnels_are_flushed(const struct tunnels *all)
{
	if (!all)
		return true;
	list_for_each (node, &all->open) {
		if (!is_flushed(container_of(node, struct tunnel, node)))
			return false;
	}
	return true;
}

/* Coming. */

static void on_tls_message(
	int is_written, int version, int type, const void *message, size_t len, SSL *ssl, void *tunnel)
{
	struct tunnel *t = tunnel;

	(void)version, (void)message, (void)len, (void)ssl;
	t->updates += !is_written && type == SSL3_RT_HANDSHAKE;
}

void tunnel_begin(struct door *door, int fd, const char *peer)
{
	struct tunnel *t = memory_new(sizeof(*t));

	t->all = door->options.tls;
	t->door = door;
	t->counted = t->counts = door->options.counts;
	t->outer = fd;
	t->inner = -1;
	snprintf(t->peer, sizeof(t->peer), "%s", peer);
	t->ssl = memory_need(certificate_start(t->all->certificate, fd));
	SSL_set_msg_callback(t->ssl, on_tls_message);
	SSL_set_msg_callback_arg(t->ssl, t);
	list_append(&door->arrivals, &t->node);
	loop_soon_init(&t->again, on_again);
	loop_timer_init(door->loop, &t->patience, on_patience_over);
	loop_timer_start(&t->patience, PATIENCE_MS);
	loop_poll_init(door->loop, &t->outer_poll, fd);
	t->handles = 1;
	t->outer_wants = UV_READABLE;
	uv_poll_start(&t->outer_poll, UV_READABLE, on_outer);
}

void tunnel_refuse(struct list *node)
{
	cut(container_of(node, struct tunnel, node));
}

/* Starting a poll anew costs system calls even when it is to watch for the same. */
static void watch(uv_poll_t *poll, int *wants, int events, uv_poll_cb on_event)
{
	if (events == *wants)
		return;
	*wants = events;
	if (events)
		uv_poll_start(poll, events, on_event);
	else
		uv_poll_stop(poll);
}

static void on_outer(uv_poll_t *poll, int status, int events)
{
	struct tunnel *t = container_of(poll, struct tunnel, outer_poll);

	(void)events;
	if (status < 0)
		cut(t);
	else
		step(t);
}

static void on_inner(uv_poll_t *poll, int status, int events)
{
	struct tunnel *t = container_of(poll, struct tunnel, inner_poll);

	if (status < 0) /* it closed with something unread; libuv has stopped watching */
		t->room_deaf = true;
	if (status < 0 || (events & UV_DISCONNECT))
		outstay(t);
	step(t);
}

static void on_again(struct loop_soon *soon)
{
	step(container_of(soon, struct tunnel, again));
}

static void on_patience_over(struct loop_timer *timer)
{
	struct tunnel *t = container_of(timer, struct tunnel, patience);

	if (t->state == SHAKING)
		metric_add(METRIC_TLS_REFUSED, 1);
	cut(t);
}

static void step(struct tunnel *t)
{
	static void (*const steps[])(
		struct tunnel *) = { [SHAKING] = shake, [HEARING] = hear, [OPEN] = pump, [PARTING] = part };
	steps[t->state](t);
}

/* What OpenSSL waits for. False: the connection cannot go on. */
static bool can_go_on(struct tunnel *t, int result)
{
	switch (SSL_get_error(t->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		watch(&t->outer_poll, &t->outer_wants, UV_READABLE, on_outer);
		return true;
	case SSL_ERROR_WANT_WRITE:
		watch(&t->outer_poll, &t->outer_wants, UV_WRITABLE, on_outer);
		return true;
	default:
		return false;
	}
}

static void refuse_handshake(struct tunnel *t)
{
	const char *reason = ERR_reason_error_string(ERR_peek_error());

	metric_add(METRIC_TLS_REFUSED, 1);
	log_debug("tls", "no handshake", LOG_TEXT("peer", t->peer), LOG_TEXT("why", reason ? reason : "closed"));
	cut(t);
}

static void shake(struct tunnel *t)
{
	ERR_clear_error();
	int result = SSL_do_handshake(t->ssl);

	if (result == 1) {
		metric_add(METRIC_TLS_HANDSHAKES, 1);
		t->state = HEARING;
		t->updates = 0;
		hear(t);
	} else if (!can_go_on(t, result)) {
		refuse_handshake(t);
	}
}

/* As a plain visitor is heard, but that what was read is kept here, not in the kernel. */
static void hear(struct tunnel *t)
{
	enum belonging belonging = BELONGS_TO_NOBODY_YET;

	while (belonging == BELONGS_TO_NOBODY_YET) {
		ERR_clear_error();
		int len = SSL_read(t->ssl, t->all->scratch, (int)(HEAD_MAX - t->up.len));
		if (len <= 0) {
			if (t->updates > UPDATES_MAX || !can_go_on(t, len))
				cut(t);
			return;
		}
		t->updates = 0;
		text_add_bytes(&t->up, t->all->scratch, (size_t)len);
		belonging = visitor_belongs(t->door, t->up.data, t->up.len, t->up.len - (size_t)len);
	}
	open_up(t, belonging);
}

static void watch_frames(struct tunnel *t)
{
	t->has_frames = true;
	t->allowance = t->all->per_socket * ALLOWANCE_S;
	t->allowance_at_ms = loop_monotonic_ms(t->all->loop);
}

static bool may_control(struct tunnel *t, size_t count)
{
	double most = t->all->per_socket * ALLOWANCE_S;

	if (count == 0 || t->all->per_socket == 0)
		return true;
	int64_t now_ms = loop_monotonic_ms(t->all->loop);
	t->allowance += (double)(now_ms - t->allowance_at_ms) / 1000 * t->all->per_socket;
	t->allowance = (t->allowance < most ? t->allowance : most) - (double)count;
	t->allowance_at_ms = now_ms;
	return t->allowance >= 0;
}

/* False: there are too many control frames in it. A frame without a mask reaches the room as one of no kind that there is, so that the room
 * closes with 1002 (RFC 6455 §5.1, §5.2); where a part of its head is there already nothing more is said. */
static bool are_allowed(struct tunnel *t, char *data, size_t len)
{
	if (!t->has_frames)
		return true;
	struct frames_seen seen = frames_see(&t->frames, data, len);
	if (seen.unmasked && seen.at >= 0)
		data[seen.at] |= NO_OPCODE;
	return may_control(t, seen.control) && (!seen.unmasked || seen.at >= 0);
}

/* Frames may be right behind the head. */
static void begin_frames(struct tunnel *t)
{
	char *end = memmem(t->up.data, t->up.len, "\r\n\r\n", 4);

	watch_frames(t);
	if (end)
		t->broken = !are_allowed(t, end + 4, t->up.len - (size_t)(end + 4 - t->up.data));
}

/* The first bytes are in the pair before the room gets its end: it finds a head there as on a plain socket. */
static void open_up(struct tunnel *t, enum belonging belonging)
{
	door_room *room = visitor_room(t->door, belonging);
	void *owner = t->door->options.owner;
	int pair[2], size = SEND_BUFFER;

	if (!room || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
		cut(t);
		return;
	}
	if (belonging == BELONGS_TO_WEBSOCKET) {
		setsockopt(t->outer, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		begin_frames(t);
	}
	t->inner = pair[0];
	t->state = OPEN;
	t->door = NULL;
	t->counts = false;
	list_remove(&t->node);
	list_append(&t->all->open, &t->node);
	loop_timer_stop(&t->patience);
	loop_poll_init(t->all->loop, &t->inner_poll, t->inner);
	t->handles++;
	ssize_t sent = send(t->inner, t->up.data, t->up.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent == (ssize_t)t->up.len)
		text_free(&t->up);
	room(owner, pair[1], t->peer);
	pump(t);
}

/* Open. */

static void keep(struct text *text, const char *data, size_t len)
{
	if (len > 0)
		text_add_bytes(text, data, len);
}

static void drop(struct text *text, size_t len)
{
	if (len == text->len) {
		text_free(text);
		return;
	}
	memmove(text->data, text->data + len, text->len - len);
	text->len -= len;
}

/* How much the room takes. One that has closed is deaf, and what it would not hear is gone. */
static size_t tell_room(struct tunnel *t, const char *data, size_t len)
{
	ssize_t sent = t->room_deaf ? (ssize_t)len : send(t->inner, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (sent >= 0)
		return (size_t)sent;
	t->room_deaf = errno != EAGAIN;
	return t->room_deaf ? len : 0;
}

/* How much the client takes. */
static size_t tell_client(struct tunnel *t, const char *data, size_t len)
{
	ERR_clear_error();
	int sent = SSL_write(t->ssl, data, (int)len);

	if (sent > 0)
		return (size_t)sent;
	int error = SSL_get_error(t->ssl, sent);
	t->broken = t->broken || (error != SSL_ERROR_WANT_WRITE && error != SSL_ERROR_WANT_READ);
	return 0;
}

/* One record at most. False: there is nothing more for now, or it was none of data: the poll tells of the next. */
static bool hear_client(struct tunnel *t)
{
	ERR_clear_error();
	int len = SSL_read(t->ssl, t->all->scratch, RECORD);

	if (len > 0) {
		t->updates = 0;
		t->broken = !are_allowed(t, t->all->scratch, (size_t)len);
		size_t taken = tell_room(t, t->all->scratch, (size_t)len);
		keep(&t->up, t->all->scratch + taken, (size_t)len - taken);
		return t->up.len == 0 && !t->broken;
	}
	int error = SSL_get_error(t->ssl, len);
	t->client_ended = error == SSL_ERROR_ZERO_RETURN;
	t->owes_update = error == SSL_ERROR_WANT_WRITE;
	t->broken = t->updates > UPDATES_MAX ||
		    (!t->client_ended && error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE);
	if (t->client_ended)
		shutdown(t->inner, SHUT_WR);
	return false;
}

static bool hear_room(struct tunnel *t)
{
	ssize_t len = recv(t->inner, t->all->scratch, RECORD, MSG_DONTWAIT);

	if (len < 0 && errno == EAGAIN)
		return false;
	if (len <= 0) {
		t->room_ended = true;
		outstay(t);
		return false;
	}
	size_t taken = tell_client(t, t->all->scratch, (size_t)len);
	keep(&t->down, t->all->scratch + taken, (size_t)len - taken);
	return t->down.len == 0 && !t->broken;
}

static bool flush_up(struct tunnel *t)
{
	if (t->up.len > 0)
		drop(&t->up, tell_room(t, t->up.data, t->up.len));
	return t->up.len == 0;
}

static bool flush_down(struct tunnel *t)
{
	if (t->down.len > 0)
		drop(&t->down, tell_client(t, t->down.data, t->down.len));
	return t->down.len == 0 && !t->broken;
}

/* False: it was cut short, and the next turn goes on; no poll tells of what TLS has decrypted already. */
static bool move_up(struct tunnel *t)
{
	for (int i = 0; i < AT_ONCE; i++) {
		if (!flush_up(t) || t->client_ended || t->broken || !hear_client(t))
			return true;
	}
	return SSL_pending(t->ssl) == 0;
}

static bool move_down(struct tunnel *t)
{
	for (int i = 0; i < AT_ONCE; i++) {
		if (!flush_down(t) || t->room_ended || t->broken || !hear_room(t))
			return true;
	}
	return false;
}

/* What a room left behind waits in the pair: it is read as the client takes it, without a poll. */
static void watch_both(struct tunnel *t)
{
	bool hears_client = !t->client_ended && t->up.len == 0, hears_room = t->down.len == 0;

	int up = !hears_client ? 0 : t->owes_update ? UV_WRITABLE : UV_READABLE;

	watch(&t->outer_poll, &t->outer_wants, up | (t->down.len > 0 ? UV_WRITABLE : 0), on_outer);
	watch(&t->inner_poll, &t->inner_wants,
		t->room_gone ? 0 : UV_DISCONNECT | (hears_room ? UV_READABLE : 0) | (t->up.len > 0 ? UV_WRITABLE : 0),
		on_inner);
}

/* The room has said goodbye for it, and it is still there. */
static void outstay(struct tunnel *t)
{
	if (t->room_gone)
		return;
	t->room_gone = true;
	loop_timer_start(&t->patience, FLUSH_MS);
	t->counts = t->counted;
	if (t->counts)
		guests_stay(t->peer);
}

static void begin_parting(struct tunnel *t)
{
	t->state = PARTING;
	ERR_clear_error();
	SSL_shutdown(t->ssl);
	shutdown(t->outer, SHUT_WR);
	watch(&t->inner_poll, &t->inner_wants, 0, on_inner);
	watch(&t->outer_poll, &t->outer_wants, UV_READABLE, on_outer);
	t->parted_at_ms = loop_monotonic_ms(t->all->loop) + PARTED_MS;
	loop_timer_start(&t->patience, PARTING_MS);
	part(t);
}

static void pump(struct tunnel *t)
{
	bool done = move_up(t);

	done = move_down(t) && done;
	if (t->broken) {
		cut(t);
	} else if (t->room_ended && t->down.len == 0) {
		begin_parting(t);
	} else {
		watch_both(t);
		if (!done)
			loop_last_call(
				t->all->loop, &t->again); /* once a turn, however many rounds of calls that has */
	}
}

/* Going. */

static void part(struct tunnel *t)
{
	int64_t left_ms = t->parted_at_ms - loop_monotonic_ms(t->all->loop);
	ssize_t len = recv(t->outer, t->all->scratch, RECORD, MSG_DONTWAIT);

	if (len < 0 && errno == EAGAIN)
		return;
	if (len <= 0 || left_ms <= 0)
		cut(t);
	else
		loop_timer_start(&t->patience, left_ms < PARTING_MS ? left_ms : PARTING_MS);
}

/* Both handles are in the tunnel; the last frees it. */
static void let_go(struct tunnel *t)
{
	if (--t->handles == 0)
		free(t);
}

static void on_outer_closed(uv_handle_t *handle)
{
	let_go(container_of(handle, struct tunnel, outer_poll));
}

static void on_inner_closed(uv_handle_t *handle)
{
	let_go(container_of(handle, struct tunnel, inner_poll));
}

static void cut(struct tunnel *t)
{
	list_remove(&t->node);
	loop_timer_stop(&t->patience);
	loop_soon_cancel(&t->again);
	uv_close((uv_handle_t *)&t->outer_poll, on_outer_closed);
	if (t->inner >= 0) {
		uv_close((uv_handle_t *)&t->inner_poll, on_inner_closed);
		close(t->inner);
	}
	SSL_free(t->ssl);
	ERR_clear_error();
	close(t->outer);
	text_free(&t->up);
	text_free(&t->down);
	if (t->counts)
		guests_leave(t->peer);
}
