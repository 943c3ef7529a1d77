/* socket.c - one app's connection: what comes in, what goes out, and how it ends.
 *
 *   adopted ─ open ─┬─ stranger ─┬─ known ─┬─ parting ─┬─ closing ─ closed
 *                   └────────────┘         └───────────┘
 * A deadline goes with each state: to say who it is, the token's end, the last calls' answers, and the time to take what
 * was sent before the line is cut. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "gateway/ws/ws_internal.h"
#include "notifier/hub.h"

#define PARTING_MS 1000	 /* of the ten seconds that a node has to end */
#define CLOSING_MS 30000 /* for a slow app to reach its close frame */
#define ALLOWANCE_S 2	 /* seconds of messages that may come at once */
#define UNANSWERED_MAX 2
#define PONG_MAX 125	     /* bytes of payload, RFC 6455 §5.5 */
#define TURN_MAX (16 * 1024) /* bytes that wait for the end of the turn, if the kernel takes them before */
#define EMPTY_MAX 100	     /* pieces of one message without a byte */
#define PIECES 64 /* of a message beside its last cost as much as one, and so many kibibytes, in whatever frames */

static void on_open(struct border_link *link);
static void on_text(struct border_link *link, const char *piece, size_t len, bool is_first, bool is_last);
static void on_binary(struct border_link *link);
static void on_pong(struct border_link *link);
static void on_writable(struct border_link *link);
static void on_closed(struct border_link *link);
static void on_flush(struct loop_soon *soon);
static void on_deadline(struct loop_timer *timer);
static void on_ping_due(struct loop_timer *timer);

const struct border_events socket_events = {
	.on_open = on_open,
	.on_text = on_text,
	.on_binary = on_binary,
	.on_pong = on_pong,
	.on_writable = on_writable,
	.on_closed = on_closed,
};

static struct socket *socket_of(struct border_link *link)
{
	return container_of(link, struct socket, link);
}

void sockets_init(struct ws *ws)
{
	list_init(&ws->sockets);
	list_init(&ws->due);
	loop_soon_init(&ws->flush, on_flush);
}

void sockets_done(struct ws *ws)
{
	loop_soon_cancel(&ws->flush);
}

/* Coming. */

static struct socket *socket_new(struct ws *ws, const char *peer, const char *client, const struct caller *caller)
{
	struct socket *s = memory_new(sizeof(*s));

	s->ws = ws;
	s->state = caller ? SOCKET_KNOWN : SOCKET_STRANGER;
	if (caller)
		s->caller = *caller;
	snprintf(s->peer, sizeof(s->peer), "%s", peer);
	snprintf(s->client, sizeof(s->client), "%s", client);
	s->allowance = ws->options.per_socket * ALLOWANCE_S;
	s->allowance_at_ms = loop_monotonic_ms(ws->loop);
	list_init(&s->calls);
	list_init(&s->subscriptions);
	list_init(&s->due);
	outbox_init(&s->outbox);
	loop_timer_init(ws->loop, &s->deadline, on_deadline);
	loop_timer_init(ws->loop, &s->ping, on_ping_due);
	list_append(&ws->sockets, &s->node);
	if (ws->socket_count++ == 0)
		loop_timer_start(&ws->look, LOOK_MS);
	metric_add(METRIC_WEBSOCKETS, 1);
	return s;
}

static void socket_free(struct socket *s)
{
	loop_timer_stop(&s->deadline);
	loop_timer_stop(&s->ping);
	session_abandon(s);
	rpc_abandon(s);
	subscription_end_all(s);
	outbox_clear(&s->outbox);
	text_free(&s->message);
	list_remove(&s->due);
	list_remove(&s->node);
	if (--s->ws->socket_count == 0)
		loop_timer_stop(&s->ws->look);
	metric_add(METRIC_WEBSOCKETS, -1);
	free(s);
}

bool socket_adopt(
	struct ws *ws, int fd, const char *peer, const char *client, const char *key, const struct caller *caller)
{
	struct socket *s = socket_new(ws, peer, client, caller);

	if (border_adopt(ws->border, &s->link, fd, key))
		return true;
	socket_free(s);
	return false;
}

/* The first ping comes somewhere in the interval, so that those who came together are not asked together. */
static void on_open(struct border_link *link)
{
	struct socket *s = socket_of(link);
	int64_t interval_ms = s->ws->options.ping_interval_ms;

	unheard_begin(&s->unheard, border_fd(link));
	session_begin(s);
	loop_timer_start(&s->ping, interval_ms / 2 + random() % (interval_ms / 2 + 1));
}

static void on_closed(struct border_link *link)
{
	struct socket *s = socket_of(link);
	struct ws *ws = s->ws;
	char peer[sizeof(s->peer)];

	log_debug("ws", "closed", LOG_TEXT("peer", s->peer), LOG_INT("code", s->close_code));
	memcpy(peer, s->peer, sizeof(peer));
	socket_free(s);
	ws->options.on_gone(ws->options.owner, peer);
}

/* What comes in. */

/* As much as `messages` of them. */
static bool is_allowed(struct socket *s, double messages)
{
	double per_second = s->ws->options.per_socket;
	int64_t now_ms = loop_monotonic_ms(s->ws->loop);

	if (per_second <= 0)
		return true;
	s->allowance += (double)(now_ms - s->allowance_at_ms) / 1000 * per_second;
	s->allowance_at_ms = now_ms;
	if (s->allowance > per_second * ALLOWANCE_S)
		s->allowance = per_second * ALLOWANCE_S;
	s->allowance -= messages;
	return s->allowance >= 0;
}

/* What ends a frame costs as much as a kibibyte amid one. */
static double cost_of_piece(const struct socket *s, size_t len)
{
	return (border_is_amid_frame(&s->link) ? (double)len / 1024 : 1) / PIECES;
}

static void take_message(struct socket *s, const char *text, size_t len)
{
	metric_add(METRIC_WEBSOCKET_MESSAGES, 1);
	if (is_allowed(s, 1))
		rpc_take(s, text, len);
	else
		socket_close(s, CLOSE_TOO_MANY, "too many messages");
}

static void on_text(struct border_link *link, const char *piece, size_t len, bool is_first, bool is_last)
{
	struct socket *s = socket_of(link);

	unheard_told(&s->unheard, len, !border_is_amid_frame(link));
	if (is_last)
		unheard_whole(&s->unheard, s->message.len + len);
	if (s->state == SOCKET_CLOSING)
		return;
	s->empty_pieces = is_first || is_last ? 0 : s->empty_pieces + (len == 0);
	if (s->message.len + len > s->ws->options.max_message || s->empty_pieces > EMPTY_MAX) {
		socket_close(s, CLOSE_TOO_BIG, "the message is too big");
	} else if (!is_last && !is_allowed(s, cost_of_piece(s, len))) {
		socket_close(s, CLOSE_TOO_MANY, "too many pieces of messages");
	} else if (is_first && is_last) {
		take_message(s, piece, len);
	} else {
		text_add_bytes(&s->message, piece, len);
		if (!is_last)
			return;
		take_message(s, s->message.data, s->message.len);
		text_free(&s->message);
	}
}

static void on_binary(struct border_link *link)
{
	socket_close(socket_of(link), CLOSE_BINARY, "messages are text");
}

/* What goes out. */

/* As much as the kernel takes. */
static void write_out(struct socket *s)
{
	while (!outbox_is_empty(&s->outbox) && border_can_send(&s->link)) {
		size_t len;
		const char *data = outbox_first(&s->outbox, &len);
		while (data && border_gather(&s->link, data, len)) {
			outbox_drop_first(&s->outbox);
			data = outbox_is_empty(&s->outbox) ? NULL : outbox_first(&s->outbox, &len);
		}
		border_send(&s->link);
	}
}

/* An answer and the events that go with it, or the events of a whole transaction, cost one system call. */
static void send_soon(struct socket *s)
{
	list_remove(&s->due);
	list_append(&s->ws->due, &s->due);
	loop_last_call(s->ws->loop, &s->ws->flush);
	if (s->outbox.bytes > TURN_MAX || s->outbox.bytes > s->ws->options.max_queue)
		write_out(s);
	if (s->outbox.bytes <= s->ws->options.max_queue)
		return;
	metric_add(METRIC_WEBSOCKET_SLOW, 1);
	outbox_clear(&s->outbox);
	socket_close(s, CLOSE_TOO_SLOW, "too far behind");
}

void socket_send(struct socket *s, struct text *text)
{
	if (s->state != SOCKET_CLOSING) {
		outbox_add(&s->outbox, text);
		send_soon(s);
	}
	text_free(text);
}

void socket_send_event(struct socket *s, const struct hub_event *event)
{
	if (s->state == SOCKET_CLOSING)
		return;
	outbox_add_event(&s->outbox, event);
	send_soon(s);
}

static void carry_on(struct socket *s)
{
	write_out(s);
	if (!outbox_is_empty(&s->outbox))
		border_want_writable(&s->link);
	else if (s->state == SOCKET_CLOSING && border_can_send(&s->link))
		border_close(&s->link, (int)s->close_code, s->close_reason);
	else if (s->held)
		subscriptions_carry_on(s);
}

static void on_flush(struct loop_soon *soon)
{
	struct ws *ws = container_of(soon, struct ws, flush);
	struct list round, *node;

	list_init(&round);
	list_append_all(&round, &ws->due);
	while ((node = list_take_first(&round)))
		carry_on(container_of(node, struct socket, due));
}

/* Whoever takes what waits is there, however long its pong is in coming. */
static void on_writable(struct border_link *link)
{
	struct socket *s = socket_of(link);

	s->unanswered_pings = 0;
	carry_on(s);
}

static void on_pong(struct border_link *link)
{
	struct socket *s = socket_of(link);

	unheard_told(&s->unheard, PONG_MAX, true);
	unheard_whole(&s->unheard, 0);
	if (s->unanswered_pings == 0 && !is_allowed(s, 1)) /* one that was not asked for is a message like others */
		socket_close(s, CLOSE_TOO_MANY, "too many messages");
	s->unanswered_pings = 0;
}

/* Whoever floods on keeps libwebsockets from sending the close frame: a pong goes before it. */
void socket_look(struct socket *s)
{
	bool unmasked;
	double frames = unheard_look(&s->unheard, border_fd(&s->link), &unmasked);

	if (unmasked && s->state != SOCKET_CLOSING)
		socket_close(s, CLOSE_UNMASKED, "a frame has no mask");
	if (frames == 0 || is_allowed(s, frames))
		return;
	if (s->state == SOCKET_CLOSING)
		border_kill(&s->link);
	else
		socket_close(s, CLOSE_TOO_MANY, "too many control frames");
}

static void on_ping_due(struct loop_timer *timer)
{
	struct socket *s = container_of(timer, struct socket, ping);

	if (s->unanswered_pings++ >= UNANSWERED_MAX) {
		border_kill(&s->link);
		return;
	}
	if (border_can_send(&s->link))
		border_ping(&s->link);
	loop_timer_start(timer, s->ws->options.ping_interval_ms);
}

/* Ending. */

void socket_set_deadline(struct socket *s, int64_t delay_ms)
{
	loop_timer_start(&s->deadline, delay_ms);
}

static void on_deadline(struct loop_timer *timer)
{
	static const struct {
		enum close_code code;
		const char *reason;
	} ends[] = {
		[SOCKET_STRANGER] = { CLOSE_UNAUTHENTICATED, "session.authenticate did not come" },
		[SOCKET_KNOWN] = { CLOSE_UNAUTHENTICATED, "the token has expired" },
		[SOCKET_PARTING] = { CLOSE_RESTARTING, "the node restarts" },
	};
	struct socket *s = container_of(timer, struct socket, deadline);

	if (s->state == SOCKET_CLOSING)
		border_kill(&s->link);
	else
		socket_close(s, ends[s->state].code, ends[s->state].reason);
}

/* libwebsockets would cut the line without a close frame while a frame is half sent: so it is asked only when
 * everything is out, in on_writable(). */
void socket_close(struct socket *s, enum close_code code, const char *reason)
{
	if (s->state == SOCKET_CLOSING)
		return;
	s->state = SOCKET_CLOSING;
	s->close_code = code;
	s->close_reason = reason;
	text_free(&s->message);
	loop_timer_stop(&s->ping);
	session_abandon(s);
	rpc_abandon(s);
	subscription_end_all(s);
	socket_set_deadline(s, CLOSING_MS);
	border_want_writable(&s->link);
}

void socket_part(struct socket *s)
{
	if (s->state != SOCKET_KNOWN || s->call_count == 0) {
		socket_close(s, CLOSE_RESTARTING, "the node restarts");
		return;
	}
	s->state = SOCKET_PARTING;
	socket_set_deadline(s, PARTING_MS);
}
