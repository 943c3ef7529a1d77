/* lws_border.c - wraps libwebsockets 4.1's callback with a hundred reasons, once and for all.
 *
 * Sending goes to the socket at once, outside of the writeable callback: libwebsockets allows it as long as it holds
 * nothing back from before (lws_partial_buffered()), and it is three times faster than a callback a message. What goes to one socket
 * at once goes in one write, since a system call costs as much as all the rest: for this the frames' heads are written here. */
#include "gateway/ws/lws_border.h"

#include <libwebsockets.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/list.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"

#define HEAD_BYTES 1024			/* of the upgrade head, which is ours and short */
#define SEND_BUFFER (128 * 1024)	/* the kernel's queue must not grow beside ours */
#define GATHER_MAX (64 * 1024)		/* bytes of several frames in one write; one that is larger goes alone */
#define FRAME_HEAD_MAX 10		/* RFC 6455 §5.2, unmasked */
#define WHOLE_FRAME (256 * 1024 * 1024) /* in one write: libwebsockets would cut at the size of the read buffer */
#define DESCRIPTORS_MAX (1024 * 1024)
#define CLOSING_ROUNDS 16 /* of the loop, to let libuv close what libwebsockets opened on it */

struct border {
	struct loop *loop;
	const struct border_events *events;
	struct lws_context *context;
	struct lws_vhost *vhost;
	struct border_link *adopting; /* during border_adopt() */
	unsigned char *scratch;	      /* LWS_PRE bytes of room and the frames that were gathered */
	size_t scratch_size, gathered;
};

static int on_event(struct lws *lws, enum lws_callback_reasons reason, void *user, void *in, size_t len);
static void on_close_due(struct loop_soon *soon);

static const struct lws_protocols protocols[] = {
	{ .name = "keyfob.v1", .callback = on_event, .rx_buffer_size = BORDER_PIECE, .tx_packet_size = WHOLE_FRAME },
	{ 0 },
};

/* No keep-alive by libwebsockets: it walks a sorted list of all sockets for each pong. */
static const lws_retry_bo_t no_keepalive = { 0 };

static void on_log_line(int level, const char *line)
{
	char text[256];

	(void)level;
	snprintf(text, sizeof(text), "%.*s", (int)strcspn(line, "\n"), line);
	log_debug("lws", "libwebsockets says", LOG_TEXT("line", text));
}

/* making */

/* libwebsockets keeps tables as long as the limit of descriptors, and beyond ten million it gives up and takes 2560.
 * Containers often have a limit of a billion. 0: as it is. */
static int descriptor_limit(void)
{
	return sysconf(_SC_OPEN_MAX) > DESCRIPTORS_MAX ? DESCRIPTORS_MAX : 0;
}

struct border *border_new(struct loop *loop, const struct border_events *events)
{
	struct border *b = memory_new(sizeof(*b));
	void *loops[] = { loop_uv(loop) };

	b->loop = loop;
	b->events = events;
	lws_set_log_level(LLL_ERR | LLL_WARN, on_log_line);
	b->context = lws_create_context(&(struct lws_context_creation_info){ .port = CONTEXT_PORT_NO_LISTEN,
		.protocols = protocols,
		.foreign_loops = loops,
		.options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_VALIDATE_UTF8 |
			   LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_SKIP_SERVER_CANONICAL_NAME,
		.max_http_header_data = HEAD_BYTES,
		.rlimit_nofile = descriptor_limit(),
		.user = b });
	if (b->context)
		b->vhost = lws_create_vhost(
			b->context, &(struct lws_context_creation_info){ .port = CONTEXT_PORT_NO_LISTEN_SERVER,
					    .protocols = protocols,
					    .retry_and_idle_policy = &no_keepalive });
	if (b->vhost)
		return b;
	log_error("lws", "libwebsockets does not start; is libwebsockets-evlib-uv installed?");
	border_free(b);
	return NULL;
}

/* libuv closes handles at the end of a turn, libwebsockets its timers only when its sockets are closed: the first call
 * begins the end, and the second frees what the turns in between have let go. */
void border_free(struct border *b)
{
	if (!b)
		return;
	if (b->context) {
		lws_context_destroy(b->context);
		for (int i = 0; i < CLOSING_ROUNDS; i++)
			uv_run(loop_uv(b->loop), UV_RUN_NOWAIT);
		lws_context_destroy(b->context);
	}
	free(b->scratch);
	free(b);
}

/* For a Unix socket, behind which a tunnel sits, there is no Nagle to switch off. */
static void set_options(int fd)
{
	int one = 1, size = SEND_BUFFER;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

bool border_adopt(struct border *b, struct border_link *link, int fd, const char *key)
{
	char head[HEAD_BYTES];
	int len = snprintf(head, sizeof(head),
		"GET /v1/ws HTTP/1.1\r\nHost: keyfob\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %.64s\r\nSec-WebSocket-Protocol: keyfob.v1\r\n\r\n",
		key);

	*link = (struct border_link){ .border = b };
	loop_soon_init(&link->close, on_close_due);
	set_options(fd);
	b->adopting = link;
	struct lws *lws = lws_adopt_socket_vhost_readbuf(b->vhost, fd, head, (size_t)len);
	b->adopting = NULL;
	if (lws)
		return true;
	if (link->lws) /* it closes on the loop, and nobody is to hear of it */
		lws_set_opaque_user_data(link->lws, NULL);
	return false;
}

/* The events. */

/* While it is adopted a socket has no owner yet; this is the first that libwebsockets tells of it. */
static int on_adopted(struct border *b, struct border_link *link, struct lws *lws)
{
	(void)link;
	b->adopting->lws = lws;
	lws_set_opaque_user_data(lws, b->adopting);
	return 0;
}

static int on_open(struct border *b, struct border_link *link, struct lws *lws)
{
	(void)lws;
	b->events->on_open(link);
	return 0;
}

static int on_pong(struct border *b, struct border_link *link, struct lws *lws)
{
	(void)lws;
	b->events->on_pong(link);
	return 0;
}

static int on_close_by_app(struct border *b, struct border_link *link, struct lws *lws)
{
	(void)b, (void)lws;
	link->closed_by_app = true;
	return 0;
}

static int on_writable(struct border *b, struct border_link *link, struct lws *lws)
{
	(void)lws;
	if (!link->close_code)
		b->events->on_writable(link);
	return 0;
}

/* Told when it is closed, or destroyed without ever having been open; the second time nobody listens any more. */
static int on_gone(struct border *b, struct border_link *link, struct lws *lws)
{
	lws_set_opaque_user_data(lws, NULL);
	link->lws = NULL;
	loop_soon_cancel(&link->close);
	if (link != b->adopting)
		b->events->on_closed(link);
	return 0;
}

static int on_received(struct border *b, struct border_link *link, struct lws *lws, const char *piece, size_t len)
{
	if (link->close_code)
		return 0;
	if (lws_frame_is_binary(lws))
		b->events->on_binary(link);
	else
		b->events->on_text(link, piece, len, lws_is_first_fragment(lws), lws_is_final_fragment(lws));
	return 0;
}

static const struct {
	enum lws_callback_reasons reason;
	int (*run)(struct border *, struct border_link *, struct lws *);
} reasons[] = {
	{ LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED, on_adopted },
	{ LWS_CALLBACK_ESTABLISHED, on_open },
	{ LWS_CALLBACK_SERVER_WRITEABLE, on_writable },
	{ LWS_CALLBACK_RECEIVE_PONG, on_pong },
	{ LWS_CALLBACK_WS_PEER_INITIATED_CLOSE, on_close_by_app },
	{ LWS_CALLBACK_CLOSED, on_gone },
	{ LWS_CALLBACK_WSI_DESTROY, on_gone },
};

static int on_event(struct lws *lws, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	struct lws_context *context = lws_get_context(lws);
	struct border *b = context ? lws_context_user(context) : NULL;
	struct border_link *link = b ? lws_get_opaque_user_data(lws) : NULL;

	(void)user;
	if (!b || (!link && reason != LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED))
		return 0;
	if (reason == LWS_CALLBACK_RECEIVE)
		return on_received(b, link, lws, in, len);
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		if (reasons[i].reason == reason)
			return reasons[i].run(b, link, lws);
	}
	return 0;
}

/* Sending. */

/* Nothing goes out behind a close frame (RFC 6455 §5.5.1): ours, the answer to the app's, or one that libwebsockets has made ready for
 * what it does not take, text that is no UTF-8, say. Of that it tells nothing but that it has its payload. */
static bool is_closing(const struct border_link *link)
{
	return link->close_code || link->closed_by_app || lws_get_close_length(link->lws) > 0;
}

bool border_can_send(const struct border_link *link)
{
	return link->lws && !is_closing(link) && !lws_partial_buffered(link->lws);
}

bool border_is_amid_frame(const struct border_link *link)
{
	return lws_remaining_packet_payload(link->lws) > 0;
}

int border_fd(const struct border_link *link)
{
	return link->lws ? lws_get_socket_fd(link->lws) : -1;
}

static void make_room(struct border *b, size_t size)
{
	if (b->scratch_size >= size)
		return;
	b->scratch_size = size < GATHER_MAX ? GATHER_MAX : size;
	b->scratch = memory_resize(b->scratch, LWS_PRE + b->scratch_size, 1);
}

static void shrink(struct border *b)
{
	if (b->scratch_size <= GATHER_MAX)
		return;
	free(b->scratch);
	b->scratch = NULL;
	b->scratch_size = 0;
}

/* RFC 6455 §5.2: a whole text message, as a server sends it. */
static size_t write_head(unsigned char *at, size_t len)
{
	size_t bytes = len < 126 ? 0 : len <= UINT16_MAX ? 2 : 8;

	at[0] = 0x81;
	at[1] = bytes == 0 ? (unsigned char)len : bytes == 2 ? 126 : 127;
	for (size_t i = 0; i < bytes; i++)
		at[2 + i] = (unsigned char)(len >> 8 * (bytes - 1 - i));
	return 2 + bytes;
}

bool border_gather(struct border_link *link, const char *text, size_t len)
{
	struct border *b = link->border;
	size_t size = b->gathered + FRAME_HEAD_MAX + len;

	if (b->gathered > 0 && size > GATHER_MAX)
		return false;
	make_room(b, size);
	unsigned char *at = b->scratch + LWS_PRE + b->gathered;
	size_t head = write_head(at, len);
	memcpy(at + head, text, len);
	b->gathered += head + len;
	return true;
}

/* Straight to the socket, since nothing waits before it; libwebsockets keeps what the kernel does not take. */
void border_send(struct border_link *link)
{
	struct border *b = link->border;
	unsigned char *frames = b->scratch + LWS_PRE;
	ssize_t sent = send(lws_get_socket_fd(link->lws), frames, b->gathered, MSG_NOSIGNAL | MSG_DONTWAIT);
	size_t taken = sent > 0 ? (size_t)sent : 0;

	if (taken < b->gathered && lws_write(link->lws, frames + taken, b->gathered - taken, LWS_WRITE_RAW) < 0)
		border_kill(link);
	b->gathered = 0;
	shrink(b);
}

/* Of a pong without payload libwebsockets says nothing: so there is one. */
void border_ping(struct border_link *link)
{
	unsigned char frame[LWS_PRE + 6] = { [LWS_PRE] = 'k', 'e', 'y', 'f', 'o', 'b' };

	if (lws_write(link->lws, frame + LWS_PRE, sizeof(frame) - LWS_PRE, LWS_WRITE_PING) < 0)
		border_kill(link);
}

void border_want_writable(struct border_link *link)
{
	if (link->lws && !is_closing(link))
		lws_callback_on_writable(link->lws);
}

void border_close(struct border_link *link, int code, const char *reason)
{
	link->close_code = code;
	link->close_reason = reason;
	loop_soon_call(link->border->loop, &link->close);
}

/* "Kill" sends the prepared close frame and waits five seconds for the other side's. The documented way, -1 from the
 * writeable callback, does not: Debian's build tests itself there by closing twice, and the second time is for good. */
static void on_close_due(struct loop_soon *soon)
{
	struct border_link *link = container_of(soon, struct border_link, close);
	unsigned char reason[123]; /* RFC 6455 §5.5: what a control frame has room for beside the code */
	size_t len = strnlen(link->close_reason, sizeof(reason));

	memcpy(reason, link->close_reason, len);
	lws_close_reason(link->lws, (enum lws_close_status)link->close_code, reason, len);
	lws_set_timeout(link->lws, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_SYNC);
}

/* Both directions are shut, so that the loop finds it ended: libwebsockets closes it from its own hand, and never inside
 * a call of ours. */
void border_kill(struct border_link *link)
{
	if (link->lws)
		shutdown(lws_get_socket_fd(link->lws), SHUT_RDWR);
}
