/* ws_test.c - the WebSocket room as an app meets it: libwebsockets for real, a client that can misbehave, and in place of
 * operations, tokens and hub what the test says. Client and server share one loop, so nothing waits for time but what
 * is about time. */
#include "gateway/ws/ws.h"

#include <arpa/inet.h>
#include <check.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/json.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "gateway/api_internal.h"
#include "gateway/config.h"
#include "gateway/config_lists.h"
#include "gateway/network.h"
#include "gateway/ws/origin.h"
#include "gateway/ws/upgrade.h"
#include "gateway/ws/ws_internal.h"
#include "notifier/hub_internal.h"

#define GUARD_MS 20000
#define MAX_QUEUE 65536
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define CALL(id, method, params) "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"method\":\"" method "\",\"params\":" params "}"
#define SUBSCRIBE(id, vehicle) CALL(id, "vehicle.subscribe", "{\"vehicle_id\":\"" vehicle "\"}")

static struct loop *loop;
static struct config config; /* no limits */
static struct api api;
static struct ws *ws;
static size_t adopted, gone;
static size_t clients; /* that are not done */

/* ---- what stands in for the rest of the gateway ---- */

static int64_t lifetime_us; /* of the tokens that are made; from now on, leeway included */

const struct fault FAULT_KEYS_AWAITED = { .name = "unauthenticated", .http = 401 };

static unsigned fetches;   /* with the first, the token "soon" is good */
static unsigned soon_seen; /* how often it was shown */

unsigned verifier_fetches(const struct verifier *v)
{
	(void)v;
	return fetches;
}

/* A token is "SUBJECT" with all rights, "SUBJECT-SCOPES" with the given bits, or "forged". */
const struct fault *token_verify(struct verifier *v, const char *token, size_t len, int64_t now_unix_us,
	struct caller *ret, char *ret_why, size_t why_size)
{
	const char *dash = memchr(token, '-', len);

	(void)v;
	if (len >= 6 && memcmp(token, "forged", 6) == 0) {
		snprintf(ret_why, why_size, "the signature does not fit");
		return &FAULT_UNAUTHENTICATED;
	}
	soon_seen += len == 4 && memcmp(token, "soon", 4) == 0;
	if (len == 4 && memcmp(token, "soon", 4) == 0 && fetches == 0)
		return &FAULT_KEYS_AWAITED;
	*ret = (struct caller){ .scopes = dash ? (unsigned)(dash[1] - '0') : SCOPE_VEHICLES_READ | SCOPE_COMMANDS_WRITE,
		.expires_at_us = now_unix_us + lifetime_us - TOKEN_LEEWAY_US };
	size_t subject_len = dash ? (size_t)(dash - token) : len;
	snprintf(ret->subject, sizeof(ret->subject), "%.*s", (int)(subject_len < 32 ? subject_len : 32), token);
	return NULL;
}

const char *token_scope_name(unsigned scope)
{
	return scope == SCOPE_VEHICLES_READ ? "vehicles:read" : "commands:write";
}

static struct api_call *held; /* asked for the vehicle HELD */

static void run_echo(struct api_call *call)
{
	const char *vehicle_id = json_text_at(call->params, "vehicle_id");
	struct text body = { 0 };

	if (vehicle_id && strcmp(vehicle_id, "NONE") == 0) {
		api_call_fail(call, &FAULT_VEHICLE_NOT_FOUND, "%s", "");
		return;
	}
	if (vehicle_id && strcmp(vehicle_id, "HELD") == 0) {
		held = call;
		return;
	}
	char *params = json_canonical(call->params);
	text_addf(&body, "{\"did\":\"%s\",\"for\":\"%s\",\"with\":%s}", call->operation->name, call->caller.subject,
		params);
	free(params);
	size_t len = body.len;
	api_call_reply(call, text_take(&body), len);
}

static const char *const all_params[] = { "vehicle_id", "id", "name", "params", "sealed_params", "ttl_seconds",
	"timeout_seconds", "wake", "idempotency_key", "filter", "limit", "cursor", NULL };
#define OPERATION(id, name, scope) const struct api_operation API_##id = { name, scope, all_params, run_echo };
OPERATION(VEHICLE_GET, "vehicle.get", SCOPE_VEHICLES_READ)
OPERATION(VEHICLE_LIST, "vehicle.list", SCOPE_VEHICLES_READ)
OPERATION(COMMAND_SEND, "command.send", SCOPE_COMMANDS_WRITE)
OPERATION(COMMAND_GET, "command.get", SCOPE_VEHICLES_READ)
OPERATION(COMMAND_CANCEL, "command.cancel", SCOPE_COMMANDS_WRITE)

/* The hub: who watches what, until the test says something to them. */
static struct watcher {
	struct hub_subscriber *subscriber;
	char vehicle_id[65];
} watchers[1200];
static size_t watcher_count, watched_ever;
static struct hub *const some_hub = (struct hub *)(void *)&watchers;

static void watch(struct hub_subscriber *s, const char *id)
{
	s->hub = some_hub;
	watched_ever++;
	watchers[watcher_count].subscriber = s;
	snprintf(watchers[watcher_count++].vehicle_id, sizeof(watchers[0].vehicle_id), "%s", id);
}

void hub_subscribe(struct hub *hub, struct hub_subscriber *s, const char *vehicle_id)
{
	(void)hub;
	watch(s, vehicle_id);
}

/* Fleets and vehicles of the tests have different ids. */
void hub_subscribe_fleet(struct hub *hub, struct hub_subscriber *s, const char *fleet_id)
{
	(void)hub;
	watch(s, fleet_id);
}

void hub_carry_on(struct hub *hub, struct hub_subscriber *s)
{
	(void)hub, (void)s;
}

void hub_unsubscribe(struct hub *hub, struct hub_subscriber *s)
{
	(void)hub;
	s->hub = NULL;
	for (size_t i = 0; i < watcher_count; i++) {
		if (watchers[i].subscriber == s)
			watchers[i--] = watchers[--watcher_count];
	}
}

static struct hub_subscriber *watcher_of(const char *vehicle_id)
{
	for (size_t i = 0; i < watcher_count; i++) {
		if (strcmp(watchers[i].vehicle_id, vehicle_id) == 0)
			return watchers[i].subscriber;
	}
	return NULL;
}

static void make_ready(const char *vehicle_id, int64_t seq)
{
	struct hub_subscriber *s = watcher_of(vehicle_id);
	s->ready = true;
	s->on_ready(s, &(struct hub_snapshot){ .vehicle = "{\"vehicle_id\":\"V\"}",
			       .vehicles = 3,
			       .epoch = "e1",
			       .seq = seq,
			       .recovered = s->after >= 0 });
}

static void tell_by(const char *watched, const struct event_parts *parts)
{
	struct hub_subscriber *s = watcher_of(watched);
	struct hub_event *event = event_new(parts);
	s->on_event(s, event);
	hub_event_unref(event);
}

static void tell(const char *vehicle_id, int64_t seq, const char *type, const char *data)
{
	tell_by(vehicle_id, &(struct event_parts){ .vehicle_id = vehicle_id,
				    .seq = seq,
				    .type = type,
				    .time = "2026-01-01T00:00:00.000000Z",
				    .data = data,
				    .data_len = strlen(data) });
}

static void end_watch(const char *vehicle_id, const struct fault *fault)
{
	struct hub_subscriber *s = watcher_of(vehicle_id);
	hub_unsubscribe(NULL, s);
	s->on_end(s, fault);
}

/* ---- the app ---- */

struct client {
	int fd;
	uv_poll_t poll;
	struct text in;
	size_t read;
	size_t pieces; /* that it came in */
	bool ended, released;
};

struct frame {
	int opcode;
	char *text;
	size_t len;
};
enum { TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

static void on_guard(uv_timer_t *guard)
{
	(void)guard;
	ck_abort_msg("nothing came for %d ms", GUARD_MS);
}

static void on_guard_closed(uv_handle_t *handle)
{
	free(handle);
}

/* Runs the loop until `is_so`; that it never becomes so fails the test. */
static void run_until(bool (*is_so)(void *), void *context)
{
	uv_timer_t *guard = calloc(1, sizeof(*guard));
	uv_timer_init(loop_uv(loop), guard);
	uv_timer_start(guard, on_guard, GUARD_MS, 0);
	while (!is_so(context))
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	uv_close((uv_handle_t *)guard, on_guard_closed);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct client *c = container_of(poll, struct client, poll);
	char bytes[65536];

	(void)status, (void)events;
	ssize_t len = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	c->pieces += len > 0;
	if (len > 0)
		text_add_bytes(&c->in, bytes, (size_t)len);
	else
		c->ended = true;
	if (c->ended)
		uv_poll_stop(poll);
}

static void read_on(struct client *c)
{
	uv_poll_start(&c->poll, UV_READABLE, on_readable);
}

static void client_send(struct client *c, const void *bytes, size_t len)
{
	ck_assert_int_eq(send(c->fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* Connects, sends the head, and hands the other end to the room as the door does. */
static void client_open(struct client *c, const char *peer, const char *head)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	*c = (struct client){ .fd = socket(AF_INET, SOCK_STREAM, 0) };
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, len), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	getsockname(listener, (struct sockaddr *)&at, &len);
	ck_assert_int_eq(connect(c->fd, (struct sockaddr *)&at, len), 0);
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	close(listener);
	client_send(c, head, strlen(head));
	poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, -1);
	uv_poll_init(loop_uv(loop), &c->poll, c->fd);
	read_on(c);
	adopted++;
	clients++;
	ws_adopt(ws, fd, peer);
}

static bool has_head(void *context)
{
	struct client *c = context;
	return (c->in.data && strstr(c->in.data, "\r\n\r\n")) || c->ended;
}

/* The status; the head is passed over. */
static int client_status(struct client *c)
{
	run_until(has_head, c);
	ck_assert_ptr_nonnull(c->in.data);
	c->read = (size_t)(strstr(c->in.data, "\r\n\r\n") + 4 - c->in.data);
	return atoi(c->in.data + strlen("HTTP/1.1 "));
}

#define HEAD(more)                                                                                                     \
	"GET /v1/ws HTTP/1.1\r\nHost: app.example:8080\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"   \
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY "\r\n" more "\r\n"
#define GOOD_KEY "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY "\r\n"
#define UPGRADE_OF(more) "/v1/ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" OURS more "\r\n"
#define UPGRADE(more) "GET " UPGRADE_OF("Host: a\r\n" more)
#define OURS "Sec-WebSocket-Protocol: keyfob.v1\r\n"
#define STRANGER HEAD(OURS)
#define KNOWN HEAD(OURS "Authorization: Bearer alice\r\n")

static void on_released(uv_handle_t *handle)
{
	container_of(handle, struct client, poll)->released = true;
}

static bool is_released(void *context)
{
	return ((struct client *)context)->released;
}

/* The app is gone, without a word. */
static void client_drop(struct client *c)
{
	uv_close((uv_handle_t *)&c->poll, on_released);
	close(c->fd);
	run_until(is_released, c);
	text_free(&c->in);
	clients--;
}

static int status_of_head(const char *peer, const char *head)
{
	struct client c;
	client_open(&c, peer, head);
	int status = client_status(&c);
	client_drop(&c);
	return status;
}

/* In the head: a field as far as its number, which is at least and at most so much. */
static void expect_field(struct client *c, const char *field, int least, int most)
{
	const char *at = strstr(c->in.data, field);

	ck_assert_msg(at != NULL, "no %s in:\n%s", field, c->in.data);
	int number = atoi(at + strlen(field));
	ck_assert_msg(number >= least && number <= most, "%s%d", field, number);
}

static void open_known(struct client *c)
{
	client_open(c, "127.0.0.1", KNOWN);
	ck_assert_int_eq(client_status(c), 101);
}

/* One frame, masked (RFC 6455 §5.2); `bits` are FIN and opcode. */
static void send_frame(struct client *c, int bits, const char *text, size_t len)
{
	struct text frame = { 0 };
	const unsigned char mask[4] = { 1, 2, 3, 4 };
	char head[10] = { (char)bits, (char)(0x80 | (len < 126 ? len : len < 65536 ? 126 : 127)) };
	size_t wide = len < 126 ? 0 : len < 65536 ? 2 : 8;

	for (size_t i = 0; i < wide; i++)
		head[2 + i] = (char)(len >> (8 * (wide - 1 - i)));
	text_add_bytes(&frame, head, 2 + wide);
	text_add_bytes(&frame, (const char *)mask, 4);
	for (size_t i = 0; i < len; i++) {
		char byte = (char)(text[i] ^ mask[i % 4]);
		text_add_bytes(&frame, &byte, 1);
	}
	client_send(c, frame.data, frame.len);
	text_free(&frame);
}

static void say(struct client *c, const char *text)
{
	send_frame(c, 0x80 | TEXT, text, strlen(text));
}

static bool read_frame(struct client *c, struct frame *ret)
{
	const unsigned char *at = (const unsigned char *)c->in.data + c->read;
	size_t there = c->in.len - c->read, len, head = 2;

	if (there < 2)
		return false;
	len = at[1] & 0x7f;
	head += len == 126 ? 2 : len == 127 ? 8 : 0;
	if (there < head)
		return false;
	for (size_t i = 2, wide = 0; i < head; i++)
		len = wide = wide << 8 | at[i];
	if (there < head + len)
		return false;
	*ret = (struct frame){ .opcode = at[0] & 0xf, .text = strndup((const char *)at + head, len), .len = len };
	c->read += head + len;
	return true;
}

struct awaited {
	struct client *client;
	struct frame frame;
};

static bool has_frame(void *context)
{
	struct awaited *a = context;
	return read_frame(a->client, &a->frame) || a->client->ended;
}

static struct frame next_frame(struct client *c)
{
	struct awaited a = { .client = c };
	run_until(has_frame, &a);
	return a.frame;
}

static void expect(struct client *c, const char *text)
{
	struct frame f = next_frame(c);
	ck_assert_int_eq(f.opcode, TEXT);
	ck_assert_str_eq(f.text, text);
	free(f.text);
}

/* A text that has `part` in it. */
static void expect_part(struct client *c, const char *part)
{
	struct frame f = next_frame(c);
	ck_assert_int_eq(f.opcode, TEXT);
	ck_assert_msg(strstr(f.text, part) != NULL, "no %s in %s", part, f.text);
	free(f.text);
}

static void expect_error(struct client *c, const char *id, int code)
{
	char begin[128];
	snprintf(begin, sizeof(begin), "{\"jsonrpc\":\"2.0\",\"id\":%s,\"error\":{\"code\":%d,", id, code);
	expect_part(c, begin);
}

static bool has_ended(void *context)
{
	return ((struct client *)context)->ended;
}

/* This frame closes with `code`; answered, the connection ends. */
static void expect_close_in(struct client *c, const struct frame *f, int code)
{
	ck_assert_int_eq(f->opcode, CLOSE);
	ck_assert_int_eq((unsigned char)f->text[0] << 8 | (unsigned char)f->text[1], code);
	send_frame(c, 0x80 | CLOSE, f->text, 2);
	free(f->text);
	run_until(has_ended, c);
}

/* The next one does. */
static void expect_close(struct client *c, int code)
{
	struct frame f = next_frame(c);
	expect_close_in(c, &f, code);
}

static bool are_others_gone(void *context)
{
	(void)context;
	return gone >= adopted - clients;
}

static void client_done(struct client *c)
{
	client_drop(c);
	run_until(are_others_gone, NULL);
}

static bool is_watched(void *context)
{
	return watcher_of(context) != NULL;
}

static bool is_watched_anew(void *context)
{
	return watched_ever > *(size_t *)context;
}

static bool is_held(void *context)
{
	(void)context;
	return held != NULL;
}

static void subscribe(struct client *c, const char *vehicle_id, int64_t seq)
{
	char text[256];
	size_t before = watched_ever;
	snprintf(text, sizeof(text), SUBSCRIBE("1", "%s"), vehicle_id);
	say(c, text);
	run_until(is_watched_anew, &before);
	make_ready(vehicle_id, seq);
	snprintf(text, sizeof(text), "\"epoch\":\"e1\",\"seq\":%lld,\"recovered\":false}}", (long long)seq);
	expect_part(c, text);
}

/* ---- fixture ---- */

static const char *const listed[] = { "https://listed.example" }, *const proxies[] = { "10.0.0.0/8", "::1" };
static const struct texts origins = { listed, 1 }, trusted = { proxies, 2 };

static void on_gone(void *owner, const char *peer)
{
	ck_assert_ptr_eq(owner, &gone);
	ck_assert_str_ne(peer, "");
	gone++;
}

static void begin_with(int64_t ping_interval_ms, double per_socket)
{
	loop = loop_new();
	adopted = gone = clients = watcher_count = 0;
	fetches = soon_seen = 0;
	lifetime_us = 3600LL * 1000 * 1000;
	api = (struct api){ .loop = loop, .config = &config };
	ws = ws_new(loop, &api,
		&(struct ws_options){ .max_message = 65536,
			.max_queue = MAX_QUEUE,
			.ping_interval_ms = ping_interval_ms,
			.per_socket = per_socket,
			.cors_origins = &origins,
			.trusted_proxies = &trusted,
			.owner = &gone,
			.on_gone = on_gone });
	ck_assert_ptr_nonnull(ws);
}

static void begin(void)
{
	begin_with(25000, 0);
}

static void finish(void)
{
	ws_free(ws);
	loop_free(loop);
	ck_assert_uint_eq(watcher_count, 0);
	ck_assert_int_eq(metric_value(METRIC_WEBSOCKETS), 0);
}

/* ---- coming in ---- */

START_TEST(the_token_comes_by_header)
{
	struct client c;
	open_known(&c);
	ck_assert_ptr_nonnull(strstr(c.in.data, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
	ck_assert_ptr_nonnull(strstr(c.in.data, "Sec-WebSocket-Protocol: keyfob.v1\r\n"));
	say(&c, CALL("7", "vehicle.get", "{\"vehicle_id\":\"V1\"}"));
	expect(&c, "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"did\":\"vehicle.get\",\"for\":\"alice\",\"with\":{"
		   "\"vehicle_"
		   "id\":\"V1\"}}}");
	client_done(&c);
}
END_TEST

START_TEST(the_token_comes_by_subprotocol_of_eight_kilobytes)
{
	struct client c;
	struct text head = { 0 };
	char token[8001];
	memset(token, 'a', sizeof(token) - 1);
	token[sizeof(token) - 1] = '\0';
	text_addf(&head, HEAD("Sec-WebSocket-Protocol: keyfob.v1, bearer.%s\r\n"), token);
	client_open(&c, "127.0.0.1", head.data);
	ck_assert_int_eq(client_status(&c), 101);
	say(&c, CALL("1", "vehicle.list", "{}"));
	expect_part(&c, "\"result\"");
	client_done(&c);
	text_free(&head);
}
END_TEST

START_TEST(the_token_comes_by_the_first_message)
{
	struct client c;
	client_open(&c, "127.0.0.1", STRANGER);
	ck_assert_int_eq(client_status(&c), 101);
	say(&c, CALL("1", "session.authenticate", "{\"token\":\"bob\"}"));
	expect_part(&c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"subject\":\"bob\",\"expires_at\":\"20");
	say(&c, CALL("2", "vehicle.list", "{}"));
	expect_part(&c, "\"for\":\"bob\"");
	client_done(&c);
}
END_TEST

START_TEST(frames_right_behind_the_head_are_read)
{
	struct client c;
	struct text all = { 0 };
	char masked[64];
	const char *text = CALL("1", "vehicle.list", "{}");
	size_t len = strlen(text);
	text_add(&all, KNOWN);
	text_add_bytes(&all, (char[]){ (char)0x81, (char)(0x80 | len), 1, 2, 3, 4 }, 6);
	for (size_t i = 0; i < len; i++)
		masked[i] = (char)(text[i] ^ (char)(1 + i % 4));
	text_add_bytes(&all, masked, len);
	client_open(&c, "127.0.0.1", all.data);
	ck_assert_int_eq(client_status(&c), 101);
	expect_part(&c, "\"result\"");
	client_done(&c);
	text_free(&all);
}
END_TEST

/* RFC 6455 §5.1. libwebsockets 4.1.6 does not tell us, but too little came for masks to be in it; who has them is looked at beside. */
START_TEST(who_does_not_mask_is_closed)
{
	struct client c, other;
	const char *text = CALL("1", "vehicle.list", "{}");
	static const size_t sizes[] = { 125, 126, 65535 };
	static char large[65536];
	size_t len = strlen(text);

	open_known(&other);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		memset(large, ' ', sizes[i]);
		memcpy(large, text, len);
		large[sizes[i]] = '\0';
		say(&other, large);
		expect_part(&other, "\"result\"");
	}
	open_known(&c);
	client_send(&c, (char[]){ (char)0x81, (char)len }, 2);
	client_send(&c, text, len);
	expect_part(&c, "\"result\"");
	expect_close(&c, 1002);
	say(&other, text);
	expect_part(&other, "\"result\"");
	client_done(&c);
	client_done(&other);
}
END_TEST

START_TEST(what_is_no_upgrade_of_ours_is_refused)
{
	static const struct {
		const char *head;
		int status;
	} cases[] = {
		{ HEAD("Authorization: Bearer alice\r\n"), 400 },
		{ HEAD("Sec-WebSocket-Protocol: other.v1\r\n"), 400 },
		{ HEAD(OURS OURS), 101 },
		{ HEAD("Sec-WebSocket-Protocol: other.v1\r\n" OURS), 101 },
		{ HEAD(OURS "Host: other\r\n"), 400 },
		{ HEAD(OURS "Origin: https://evil.example\r\n"), 403 },
		{ HEAD(OURS "Origin: null\r\n"), 403 },
		{ HEAD(OURS "Authorization: Bearer forged\r\n"), 401 },
		{ HEAD(OURS "Authorization: Basic alice\r\n"), 401 },
		{ HEAD(OURS "Authorization: Bearer alice\r\nauthorization: Bearer alice\r\n"), 400 },
		{ HEAD("Sec-WebSocket-Protocol: keyfob.v1, bearer.forged\r\n"), 401 },
		{ UPGRADE("Sec-WebSocket-Version: 13\r\n"), 400 },
		{ UPGRADE("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n"), 400 },
		{ UPGRADE("Sec-WebSocket-Key: " KEY "\r\n"), 400 },
		{ UPGRADE("Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: " KEY "\r\n"), 426 },
		{ "GET http://app.example:8080" UPGRADE_OF(GOOD_KEY "Host: b\r\nOrigin: http://app.example:8080\r\n"),
			101 },
		{ "GET http://b" UPGRADE_OF(GOOD_KEY "Host: app.example:8080\r\nOrigin: http://app.example:8080\r\n"),
			403 },
		{ "GET ws://b" UPGRADE_OF(GOOD_KEY "Host: b\r\n"), 400 },
		{ "POST /v1/ws HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /v1/ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", 400 },
		{ "GET /v1/ws HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n", 400 },
		{ "GET /v1/ws HTTP/1.1\r\nHost: a\r\n", 400 },
		{ "\r\n\r\n", 400 },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_msg(status_of_head("127.0.0.1", cases[i].head) == cases[i].status, "case %zu", i);
}
END_TEST

START_TEST(a_refusal_is_a_problem_and_counts_as_gone)
{
	struct client c;
	client_open(&c, "127.0.0.1", HEAD(OURS "Authorization: Bearer forged\r\n"));
	ck_assert_int_eq(client_status(&c), 401);
	run_until(has_ended, &c);
	ck_assert_ptr_nonnull(strstr(c.in.data, "WWW-Authenticate: Bearer"));
	ck_assert_ptr_nonnull(strstr(c.in.data, "urn:keyfob:problem:unauthenticated"));
	ck_assert_uint_eq(gone, 1);
	client_done(&c);
}
END_TEST

START_TEST(another_version_hears_which_is_spoken)
{
	struct client c;

	client_open(&c, "127.0.0.1", UPGRADE("Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: " KEY "\r\n"));
	ck_assert_int_eq(client_status(&c), 426);
	run_until(has_ended, &c);
	ck_assert_ptr_nonnull(strstr(c.in.data, "\r\nSec-WebSocket-Version: 13\r\n"));
	ck_assert_ptr_nonnull(strstr(c.in.data, "\r\nUpgrade: websocket\r\n"));
	ck_assert_ptr_nonnull(strstr(c.in.data, "urn:keyfob:problem:upgrade-required"));
	client_done(&c);
}
END_TEST

#define FRONT "X-Forwarded-Host: front.example\r\n"
START_TEST(an_origin_is_the_hosts_own_or_listed)
{
	static const struct {
		const char *peer, *origin, *more;
		int status;
	} cases[] = {
		{ "127.0.0.1", "http://app.example:8080", "", 101 },
		{ "127.0.0.1", "HTTP://APP.example:8080", "", 101 }, { "127.0.0.1", "http://app.example", "", 403 },
		{ "127.0.0.1", "http://app.example:8081", "", 403 }, { "127.0.0.1", "https://listed.example", "", 101 },
		{ "127.0.0.1", "https://listed.example:8443", "", 403 },
		{ "10.1.2.3", "https://front.example", "X-Forwarded-Host: front.example\r\n", 101 },
		{ "::1", "https://front.example", "X-Forwarded-Host: front.example:443\r\n", 101 },
		{ "127.0.0.1", "https://front.example", "X-Forwarded-Host: front.example\r\n", 403 },
		{ "10.1.2.3", "http://app.example:8080", "X-Forwarded-Host: front.example\r\n", 403 },
		{ "10.1.2.3", "https://front.example", FRONT "X-Forwarded-Proto: https\r\n", 101 },
		{ "10.1.2.3", "http://front.example", FRONT "X-Forwarded-Proto: https\r\n", 403 },
		{ "10.1.2.3", "http://front.example:443", FRONT "X-Forwarded-Proto: https\r\n", 403 },
		{ "10.1.2.3", "HTTPS://front.example", FRONT "X-Forwarded-Proto: WSS\r\n", 101 },
		{ "10.1.2.3", "https://front.example", FRONT "X-Forwarded-Proto: http\r\n", 403 },
		{ "10.1.2.3", "https://front.example", FRONT "X-Forwarded-Proto: http, https\r\n", 101 },
		{ "10.1.2.3", "http://front.example", FRONT "X-Forwarded-Proto: http\r\nX-Forwarded-Proto: https\r\n",
			403 },
		{ "10.1.2.3", "http://front.example", FRONT "X-Forwarded-Proto: https, gopher\r\n", 101 },
		{ "10.1.2.3", "http://app.example:8080", "X-Forwarded-Proto: https\r\n", 403 },
		{ "10.1.2.3", "https://listed.example", "X-Forwarded-Proto: http\r\n", 101 },
		{ "127.0.0.1", "http://app.example:8080", "X-Forwarded-Proto: https\r\n",
			101 }, /* by nobody who is trusted */
	};
	char head[1024];
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(head, sizeof(head), HEAD(OURS "Origin: %s\r\n%s"), cases[i].origin, cases[i].more);
		ck_assert_msg(status_of_head(cases[i].peer, head) == cases[i].status, "case %zu", i);
	}
}
END_TEST

START_TEST(an_address_is_in_a_network)
{
	static const struct {
		const char *address, *network;
		bool is;
	} cases[] = {
		{ "10.255.0.1", "10.0.0.0/8", true },
		{ "11.0.0.1", "10.0.0.0/8", false },
		{ "10.0.0.1", "10.0.0.1", true },
		{ "10.0.0.2", "10.0.0.1", false },
		{ "fd00::5", "fd00::/8", true },
		{ "fe00::5", "fd00::/8", false },
		{ "::ffff:10.0.0.9", "10.0.0.0/8", true },
		{ "1.2.3.4", "0.0.0.0/0", true },
		{ "fd00::5", "0.0.0.0/0", false },
		{ "no address", "10.0.0.0/8", false },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct texts networks = { &cases[i].network, 1 };
		ck_assert_msg(address_is_in(cases[i].address, &networks) == cases[i].is, "case %zu", i);
	}
}
END_TEST

/* ---- who is there ---- */

START_TEST(a_stranger_says_who_it_is_first)
{
	static const char *const first[] = { CALL("1", "vehicle.list", "{}"), "nonsense", "[]", "{}" };
	for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
		struct client c;
		client_open(&c, "127.0.0.1", STRANGER);
		ck_assert_int_eq(client_status(&c), 101);
		say(&c, first[i]);
		expect_close(&c, 4401);
		client_done(&c);
	}
}
END_TEST

START_TEST(a_stranger_has_five_seconds)
{
	struct client c;
	int64_t begun_ms = loop_monotonic_ms(loop);
	client_open(&c, "127.0.0.1", STRANGER);
	ck_assert_int_eq(client_status(&c), 101);
	expect_close(&c, 4401);
	ck_assert_int_ge(loop_monotonic_ms(loop) - begun_ms, 4990);
	client_done(&c);
}
END_TEST

/* ---- a token of a key that is being fetched */

#define SOON HEAD(OURS "Authorization: Bearer soon\r\n")
#define SHOW_SOON(id) CALL(id, "session.authenticate", "{\"token\":\"soon\"}")

static bool is_seen(void *times)
{
	return soon_seen >= *(unsigned *)times;
}

static void until_seen(unsigned times)
{
	run_until(is_seen, &times);
}

START_TEST(an_upgrade_waits_for_the_keys_of_its_token)
{
	struct client stays, goes;

	client_open(&stays, "127.0.0.1", SOON);
	client_open(&goes, "127.0.0.1", SOON);
	ck_assert(!ws_is_empty(ws));
	client_drop(&goes);
	fetches = 1;
	ck_assert_int_eq(client_status(&stays), 101);
	say(&stays, CALL("1", "vehicle.list", "{}"));
	expect_part(&stays, "\"for\":\"soon\"");
	client_done(&stays);
}
END_TEST

START_TEST(a_first_message_waits_for_the_keys_of_its_token)
{
	struct client stays, goes;

	client_open(&stays, "127.0.0.1", STRANGER);
	client_open(&goes, "127.0.0.1", STRANGER);
	ck_assert_int_eq(client_status(&stays), 101);
	ck_assert_int_eq(client_status(&goes), 101);
	say(&goes, SHOW_SOON("1"));
	until_seen(1);
	client_done(&goes);
	say(&stays, SHOW_SOON("1"));
	say(&stays, SHOW_SOON("2"));
	expect_error(&stays, "1", -32000); /* the later one has taken its place */
	until_seen(3);
	fetches = 1;
	expect_part(&stays, "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{\"subject\":\"soon\"");
	client_done(&stays);
}
END_TEST

START_TEST(who_waits_for_keys_waits_so_long)
{
	struct client upgrade, message;

	client_open(&message, "127.0.0.1", STRANGER);
	ck_assert_int_eq(client_status(&message), 101);
	say(&message, SHOW_SOON("1"));
	until_seen(1);
	ck_assert_int_eq(status_of_head("127.0.0.1", SOON), 401);
	expect_error(&message, "1", -32000);
	expect_close(&message, 4401);
	client_done(&message);
	client_open(&upgrade, "127.0.0.1", SOON); /* when the node drains it is not kept */
	ws_drain(ws);
	ck_assert_int_eq(client_status(&upgrade), 503);
	client_drop(&upgrade);
}
END_TEST

/* Whoever makes up keys holds so many, and no more. */
START_TEST(so_many_wait_for_keys)
{
	struct client waiting[64];

	for (size_t i = 0; i < 64; i++)
		client_open(&waiting[i], "127.0.0.1", SOON);
	ck_assert_int_eq(status_of_head("127.0.0.1", SOON), 401);
	ck_assert_uint_eq(soon_seen, 65);
	fetches = 1;
	for (size_t i = 0; i < 64; i++) {
		ck_assert_int_eq(client_status(&waiting[i]), 101);
		client_drop(&waiting[i]);
	}
}
END_TEST

START_TEST(a_forged_first_token_is_told_and_closed)
{
	struct client c;
	client_open(&c, "127.0.0.1", STRANGER);
	ck_assert_int_eq(client_status(&c), 101);
	say(&c, CALL("\"x\"", "session.authenticate", "{\"token\":\"forged\"}"));
	expect_error(&c, "\"x\"", -32000);
	expect_close(&c, 4401);
	client_done(&c);
}
END_TEST

START_TEST(a_token_that_runs_out_closes_unless_it_is_renewed)
{
	struct client ends, lives;
	lifetime_us = 300 * 1000;
	open_known(&ends);
	open_known(&lives);
	lifetime_us = 3600LL * 1000 * 1000;
	say(&lives, CALL("1", "session.authenticate", "{\"token\":\"forged\"}"));
	expect_error(&lives, "1", -32000);
	say(&lives, CALL("2", "session.authenticate", "{\"token\":\"alice\"}"));
	expect_part(&lives, "\"subject\":\"alice\"");
	expect_close(&ends, 4401);
	say(&lives, CALL("3", "vehicle.list", "{}"));
	expect_part(&lives, "\"id\":3,\"result\"");
	client_done(&ends);
	client_done(&lives);
}
END_TEST

START_TEST(a_renewal_is_by_the_same_subject_and_keeps_what_is_watched)
{
	struct client c;
	open_known(&c);
	say(&c, CALL("1", "session.authenticate", "{\"token\":\"bob\"}"));
	expect_close(&c, 4403);
	client_done(&c);
	open_known(&c);
	subscribe(&c, "V1", 5);
	say(&c, CALL("2", "session.authenticate", "{\"token\":\"alice-2\"}"));
	expect_close(&c, 4403);
	client_done(&c);
}
END_TEST

START_TEST(a_renewal_changes_the_scopes)
{
	struct client c;
	open_known(&c);
	say(&c, CALL("1", "session.authenticate", "{\"token\":\"alice-2\"}"));
	expect_part(&c, "\"subject\":\"alice\"");
	say(&c, CALL("2", "vehicle.list", "{}"));
	expect_part(&c, "urn:keyfob:problem:forbidden");
	say(&c, SUBSCRIBE("3", "V1"));
	expect_part(&c, "urn:keyfob:problem:forbidden");
	client_done(&c);
}
END_TEST

/* ---- speaking ---- */

START_TEST(what_is_no_request_is_said_to_be_none)
{
	static const struct {
		const char *text, *id;
		int code;
	} cases[] = {
		{ "{\"jsonrpc\":", "null", -32700 },
		{ "\xff", NULL, 0 }, /* below */
		{ "7", "null", -32600 },
		{ "[" CALL("1", "vehicle.list", "{}") "]", "null", -32600 },
		{ "{\"jsonrpc\":\"1.0\",\"id\":4,\"method\":\"vehicle.list\"}", "4", -32600 },
		{ "{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"vehicle.list\"}", "null", -32600 },
		{ "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":6}", "5", -32600 },
		{ CALL("1", "vehicle.list", "6"), "1", -32600 },
		{ CALL("1", "vehicle.explode", "{}"), "1", -32601 },
		{ CALL("1", "fleet.subscribe", "{\"fleet_id\":\"*\"}"), "1", -32000 },
		{ CALL("1", "vehicle.list", "[]"), "1", -32602 },
		{ CALL("1.5", "vehicle.get", "{}"), "1.5", -32602 },
		{ CALL("\"a\"", "vehicle.get", "{\"vehicle_id\":7}"), "\"a\"", -32602 },
		{ CALL("1", "vehicle.subscribe", "{\"vehicle_id\":\"V1\",\"after\":-1}"), "1", -32602 },
		{ CALL("1", "command.send", "{\"vehicle_id\":\"V1\",\"name\":\"x\",\"params\":[]}"), "1", -32602 },
		{ CALL("1", "command.send", "{\"vehicle_id\":\"V1\",\"name\":\"x\",\"wait\":5}"), "1", -32000 },
		{ CALL("1", "vehicle.get", "{\"vehicle_id\":\"NONE\"}"), "1", -32000 },
		{ CALL("1", "vehicle.subscribe", "{\"vehicle_id\":\"a/b\"}"), "1", -32000 },
	};
	struct client c;
	open_known(&c);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (!cases[i].id)
			continue;
		say(&c, cases[i].text);
		expect_error(&c, cases[i].id, cases[i].code);
	}
	say(&c, "{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"vehicle.list\"}");
	expect_part(&c, "{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":");
	client_done(&c);
}
END_TEST

START_TEST(a_fault_carries_the_problem_of_rest)
{
	struct client c;
	open_known(&c);
	say(&c, CALL("1", "vehicle.get", "{\"vehicle_id\":\"NONE\"}"));
	struct frame f = next_frame(&c);
	json_auto_t *answer = json_loads(f.text, 0, NULL);
	const json_t *data = json_object_get(json_object_get(answer, "error"), "data");
	ck_assert_str_eq(json_text_at(data, "type"), "urn:keyfob:problem:vehicle-not-found");
	ck_assert_int_eq(json_integer_value(json_object_get(data, "status")), 404);
	ck_assert(json_is_false(json_object_get(data, "retriable")));
	ck_assert(json_is_false(json_object_get(data, "may_have_executed")));
	free(f.text);
	client_done(&c);
}
END_TEST

START_TEST(a_notification_gets_no_answer)
{
	struct client c;
	open_known(&c);
	say(&c, "{\"jsonrpc\":\"2.0\",\"method\":\"vehicle.get\",\"params\":{\"vehicle_id\":\"NONE\"}}");
	say(&c, "{\"jsonrpc\":\"2.0\",\"method\":\"vehicle.explode\"}");
	say(&c, "{\"jsonrpc\":\"2.0\",\"method\":\"vehicle.unsubscribe\",\"params\":{\"vehicle_id\":\"V1\"}}");
	say(&c, CALL("1", "vehicle.list", "{}"));
	expect_part(&c, "\"id\":1,\"result\"");
	client_done(&c);
}
END_TEST

START_TEST(ten_times_nonsense_in_a_row_closes)
{
	struct client c;
	open_known(&c);
	for (int i = 0; i < 9; i++) {
		say(&c, "nonsense");
		expect_error(&c, "null", -32700);
	}
	say(&c, CALL("1", "vehicle.list", "{}"));
	expect_part(&c, "\"result\"");
	for (int i = 0; i < 10; i++) {
		say(&c, i % 2 ? "nonsense" : "{}");
		expect_error(&c, "null", i % 2 ? -32700 : -32600);
	}
	expect_close(&c, 4400);
	client_done(&c);
}
END_TEST

START_TEST(messages_come_in_fragments_with_pings_between)
{
	struct client c;
	const char *text = CALL("1", "vehicle.get", "{\"vehicle_id\":\"\xc3\xa4\"}");
	open_known(&c);
	for (size_t i = 0, len = strlen(text); i < len; i++) {
		send_frame(&c, (i == 0 ? TEXT : 0) | (i + 1 == len ? 0x80 : 0), text + i, 1);
		if (i == len / 2)
			send_frame(&c, 0x80 | PING, "are you there", 13);
	}
	int seen = 0;
	for (int i = 0; i < 2; i++) {
		struct frame f = next_frame(&c);
		seen |= f.opcode == PONG && strcmp(f.text, "are you there") == 0 ? 1 : 0;
		seen |= f.opcode == TEXT && strstr(f.text, "\"with\":{\"vehicle_id\":\"\xc3\xa4\"}") ? 2 : 0;
		free(f.text);
	}
	ck_assert_int_eq(seen, 3);
	client_done(&c);
}
END_TEST

START_TEST(a_large_message_is_taken_and_a_larger_is_not)
{
	struct client c;
	struct text text = { 0 };
	open_known(&c);
	text_add(&text, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vehicle.list\",\"params\":{\"cursor\":\"");
	while (text.len < 65536 - 3)
		text_add(&text, "x");
	text_add(&text, "\"}}");
	say(&c, text.data);
	expect_part(&c, "xxx\"}}}");
	text_add(&text, " ");
	say(&c, text.data);
	expect_close(&c, 1009);
	client_done(&c);
	text_free(&text);
}
END_TEST

START_TEST(too_much_across_fragments_is_too_big)
{
	struct client c;
	static const char part[8192];
	open_known(&c);
	send_frame(&c, TEXT, part, sizeof(part));
	for (int i = 0; i < 8; i++)
		send_frame(&c, 0, part, sizeof(part));
	expect_close(&c, 1009);
	client_done(&c);
}
END_TEST

/* What has no bytes is no less a fragment. */
START_TEST(endless_fragments_are_refused)
{
	struct client c;
	open_known(&c);
	send_frame(&c, TEXT, "{", 1);
	for (int i = 0; i < 200; i++)
		send_frame(&c, 0, "", 0);
	expect_close(&c, 1009);
	client_done(&c);
}
END_TEST

START_TEST(a_flood_of_pongs_is_a_flood)
{
	struct client c;
	open_known(&c);
	for (int i = 0; i < 40; i++)
		send_frame(&c, 0x80 | PONG, "x", 1);
	expect_close(&c, 4429);
	client_done(&c);
}
END_TEST

static const struct {
	int opcode;
	const char *payload;
} silent_floods[] = { { PING, "x" }, { PING, "" }, { PONG, "" } };

/* libwebsockets tells nobody of a ping, nor of a pong without a payload. It keeps one pong: of the pings that it reads at once
 * it answers one. */
START_TEST(a_flood_that_nobody_is_told_of_is_a_flood)
{
	const char *payload = silent_floods[_i].payload;
	struct client c;
	struct frame f;
	int pongs = 0;

	open_known(&c);
	for (int i = 0; i < 2000; i++)
		send_frame(&c, 0x80 | silent_floods[_i].opcode, payload, strlen(payload));
	while ((f = next_frame(&c)).opcode == PONG) {
		pongs++;
		free(f.text);
	}
	ck_assert_msg(pongs <= 100, "%d pongs", pongs);
	expect_close_in(&c, &f, 4429);
	client_done(&c);
}
END_TEST

/* Few bytes, but a turn of the loop for each. */
START_TEST(pings_one_by_one_are_a_flood)
{
	struct client c;
	struct frame f = { .opcode = PONG };

	open_known(&c);
	for (int i = 0; i < 1000000 && f.opcode == PONG; i++) {
		free(f.text);
		send_frame(&c, 0x80 | PING, "", 0);
		f = next_frame(&c);
	}
	expect_close_in(&c, &f, 4429);
	client_done(&c);
}
END_TEST

static bool is_past(void *until_ms)
{
	return loop_monotonic_ms(loop) >= *(int64_t *)until_ms;
}

/* What was not told of while it lay unread is no flood, either. */
START_TEST(a_ping_now_and_then_is_none)
{
	struct client c;
	int64_t until_ms = loop_monotonic_ms(loop) + 1000;
	char *large = calloc(1, 60000);

	memset(large, ' ', 59999);
	memcpy(large, CALL("1", "vehicle.list", "{}"), strlen(CALL("1", "vehicle.list", "{}")));
	open_known(&c);
	for (int i = 0; i < 6; i++) {
		send_frame(&c, 0x80 | PING, "still there?", 12);
		struct frame f = next_frame(&c);
		ck_assert_int_eq(f.opcode, PONG);
		free(f.text);
	}
	say(&c, large);
	expect_part(&c, "\"result\"");
	run_until(is_past, &until_ms);
	say(&c, CALL("2", "vehicle.list", "{}"));
	expect_part(&c, "\"result\"");
	client_done(&c);
	free(large);
}
END_TEST

/* Each byte of a message in a frame is as many turns as bytes. */
START_TEST(a_flood_of_small_pieces_is_a_flood)
{
	struct client c;

	open_known(&c);
	send_frame(&c, TEXT, "{", 1);
	for (int i = 0; i < 2000; i++)
		send_frame(&c, 0, " ", 1);
	expect_close(&c, 4429);
	client_done(&c);
}
END_TEST

START_TEST(binary_and_wrong_utf8_are_refused)
{
	struct client c;
	open_known(&c);
	send_frame(&c, 0x80 | BINARY, "\1\2", 2);
	expect_close(&c, 1003);
	client_done(&c);
	open_known(&c);
	send_frame(&c, 0x80 | TEXT, "\xff\xfe", 2);
	expect_close(&c, 1007);
	client_done(&c);
}
END_TEST

START_TEST(an_app_may_not_flood)
{
	struct client c;
	open_known(&c);
	for (int i = 0; i < 40; i++)
		say(&c, CALL("1", "vehicle.list", "{}"));
	for (int i = 0; i < 20; i++) { /* two seconds' worth */
		struct frame f = next_frame(&c);
		if (f.opcode == CLOSE)
			ck_assert_int_eq((unsigned char)f.text[0] << 8 | (unsigned char)f.text[1], 4429);
		int opcode = f.opcode;
		free(f.text);
		if (opcode == CLOSE)
			break;
	}
	client_done(&c);
}
END_TEST

START_TEST(what_an_app_asks_counts_for_its_subject_and_address)
{
	struct client c;

	config.limits.per_subject = 1; /* two at once */
	open_known(&c);
	for (int i = 0; i < 2; i++) {
		say(&c, CALL("1", "vehicle.list", "{}"));
		expect_part(&c, "\"result\"");
	}
	say(&c, CALL("2", "vehicle.list", "{}"));
	expect_part(&c, "\"code\":-32000");
	say(&c, CALL("3", "vehicle.subscribe", "{\"vehicle_id\":\"V1\"}"));
	expect_part(&c, "urn:keyfob:problem:rate-limited");
	say(&c, CALL("4", "vehicle.list", "{}"));
	expect_part(&c, "\"retry_after_seconds\":1");
	ck_assert_uint_eq(watched_ever, 0);
	client_done(&c);
	config.limits.per_subject = 0;
	config.limits.per_address = 0.05; /* one in twenty seconds */
	open_known(&c);
	say(&c, CALL("1", "vehicle.list", "{}")); /* the upgrade was one */
	expect_part(&c, "rate-limited");
	client_done(&c);
	client_open(&c, "127.0.0.1", KNOWN);
	ck_assert_int_eq(client_status(&c), 429);
	expect_field(&c, "Retry-After: ", 2, 20);
	expect_field(&c, "RateLimit-Policy: \"address\";q=1;w=", 2, 2);
	expect_field(&c, "RateLimit: \"address\";r=0;t=", 2, 20);
	client_done(&c);
	client_open(&c, "192.0.2.1", KNOWN);
	ck_assert_int_eq(client_status(&c), 101);
	client_done(&c);
}
END_TEST

START_TEST(a_trusted_proxy_says_whose_the_upgrade_is)
{
	static const char *const first = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 198.51.100.1\r\n";
	static const char *const second = "X-Forwarded-For: 198.51.100.2\r\n";
	const char *const asks[] = { first, first, second };
	const int status[] = { 101, 429, 101 };
	struct client c;

	config.limits.per_address = 0.5; /* one */
	for (size_t i = 0; i < 3; i++) {
		struct text head = { 0 };
		text_addf(&head, HEAD("%sSec-WebSocket-Protocol: keyfob.v1\r\n"), asks[i]);
		client_open(&c, "10.1.1.1", head.data);
		ck_assert_int_eq(client_status(&c), status[i]);
		client_done(&c);
		text_free(&head);
	}
}
END_TEST

/* ---- watching ---- */

static void expect_event(struct client *c, const char *vehicle_id, int seq)
{
	char part[128];
	snprintf(part, sizeof(part), "\"method\":\"event\",\"params\":{\"vehicle_id\":\"%s\",\"seq\":%d,", vehicle_id,
		seq);
	expect_part(c, part);
}

START_TEST(events_follow_the_result_in_order)
{
	struct client c;
	open_known(&c);
	say(&c, CALL("9", "vehicle.subscribe", "{\"vehicle_id\":\"V1\",\"epoch\":\"e1\",\"after\":3}"));
	run_until(is_watched, (char[]){ "V1" });
	ck_assert_int_eq(watcher_of("V1")->after, 3);
	ck_assert_str_eq(watcher_of("V1")->epoch, "e1");
	ck_assert_str_eq(watcher_of("V1")->subject, "alice");
	make_ready("V1", 5);
	tell("V1", 4, "state.reported", "{}");
	tell("V1", 5, "state.reported", "{}");
	expect(&c, "{\"jsonrpc\":\"2.0\",\"id\":9,\"result\":{\"vehicle\":{\"vehicle_id\":\"V\"},\"epoch\":\"e1\","
		   "\"seq\":5,"
		   "\"recovered\":true}}");
	expect_event(&c, "V1", 4);
	expect_event(&c, "V1", 5);
	say(&c, CALL("10", "vehicle.unsubscribe", "{\"vehicle_id\":\"V1\"}"));
	expect(&c, "{\"jsonrpc\":\"2.0\",\"id\":10,\"result\":{}}");
	ck_assert_uint_eq(watcher_count, 0);
	client_done(&c);
}
END_TEST

START_TEST(what_is_sent_in_one_turn_comes_in_one_piece)
{
	struct client c;
	open_known(&c);
	say(&c, SUBSCRIBE("1", "V1"));
	run_until(is_watched, (char[]){ "V1" });
	c.pieces = 0;
	make_ready("V1", 5);
	tell("V1", 6, "state.reported", "{}");
	tell("V1", 7, "state.reported", "{}");
	expect_part(&c, "\"id\":1,\"result\"");
	expect_event(&c, "V1", 6);
	expect_event(&c, "V1", 7);
	ck_assert_uint_eq(c.pieces, 1);
	client_done(&c);
}
END_TEST

static void send_digits(char digit, size_t len)
{
	struct text text = { 0 };
	while (text.len < len)
		text_add_bytes(&text, &digit, 1);
	socket_send(container_of(ws->sockets.prev, struct socket, node), &text);
}

static void expect_digits(struct client *c, char digit, size_t len)
{
	struct frame f = next_frame(c);
	ck_assert_int_eq(f.opcode, TEXT);
	ck_assert_uint_eq(f.len, len);
	for (size_t i = 0; i < len; i++)
		ck_assert_int_eq(f.text[i], digit);
	free(f.text);
}

/* Where the frame's head becomes longer (RFC 6455 §5.2), alone, and behind others as far as a write has room. */
START_TEST(a_message_of_any_length_arrives_whole)
{
	static const size_t lens[] = { 0, 1, 124, 125, 126, 127, 65534, 65535, 65536, 100000 };
	struct client c;
	open_known(&c);
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		send_digits('a', lens[i]);
		expect_digits(&c, 'a', lens[i]);
		for (char digit = '0'; digit <= '9'; digit++)
			send_digits(digit, lens[i] % 1000);
		send_digits('b', lens[i]);
		send_digits('c', 3);
		for (char digit = '0'; digit <= '9'; digit++)
			expect_digits(&c, digit, lens[i] % 1000);
		expect_digits(&c, 'b', lens[i]);
		expect_digits(&c, 'c', 3);
	}
	client_done(&c);
}
END_TEST

START_TEST(a_second_subscription_takes_the_firsts_place)
{
	struct client c;
	open_known(&c);
	say(&c, SUBSCRIBE("1", "V1"));
	run_until(is_watched, (char[]){ "V1" });
	say(&c, SUBSCRIBE("2", "V1"));
	expect_error(&c, "1", -32000);
	ck_assert_uint_eq(watcher_count, 1);
	make_ready("V1", 5);
	expect_part(&c, "\"id\":2,\"result\"");
	subscribe(&c, "V1", 8);
	ck_assert_uint_eq(watcher_count, 1);
	tell("V1", 9, "state.reported", "{}");
	expect_event(&c, "V1", 9);
	client_done(&c);
}
END_TEST

START_TEST(a_vehicle_that_cannot_be_seen_is_a_fault)
{
	struct client c;
	open_known(&c);
	say(&c, SUBSCRIBE("1", "V1"));
	run_until(is_watched, (char[]){ "V1" });
	end_watch("V1", &FAULT_VEHICLE_NOT_FOUND);
	expect_part(&c, "urn:keyfob:problem:vehicle-not-found");
	client_done(&c);
}
END_TEST

static void tell_of_fleet(const char *watched, const char *vehicle_id, int64_t seq)
{
	tell_by(watched, &(struct event_parts){ .vehicle_id = vehicle_id,
				 .fleet_id = "F1",
				 .seq = seq,
				 .type = "state.reported",
				 .time = "2026-01-01T00:00:00.000000Z",
				 .data = "{}",
				 .data_len = 2 });
}

START_TEST(a_fleet_is_watched)
{
	struct client c;
	open_known(&c);
	say(&c, CALL("1", "fleet.subscribe", "{\"fleet_id\":\"F1\"}"));
	run_until(is_watched, (char[]){ "F1" });
	make_ready("F1", 0);
	expect(&c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"fleet_id\":\"F1\",\"epoch\":\"e1\",\"vehicles\":3}}");
	tell_of_fleet("F1", "V7", 4);
	expect_event(&c, "V7", 4);
	end_watch("F1", &FAULT_FORBIDDEN);
	expect_part(&c, "\"params\":{\"fleet_id\":\"F1\",\"type\":\"access.changed\",");
	say(&c, CALL("2", "fleet.unsubscribe", "{\"fleet_id\":\"F1\"}"));
	expect(&c, "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}");
	say(&c, CALL("3", "fleet.subscribe", "{\"fleet_id\":\"a/b\"}"));
	expect_part(&c, "urn:keyfob:problem:fleet-not-found");
	say(&c, CALL("4", "fleet.subscribe", "{\"fleet_id\":\"*\"}"));
	expect_part(&c, "urn:keyfob:problem:forbidden");
	ck_assert_uint_eq(watcher_count, 0);
	client_done(&c);
}
END_TEST

/* What comes by a vehicle's own subscription does not come by its fleet's as well, nor a fleet's grant by each vehicle. */
START_TEST(an_event_comes_once_however_often_it_is_watched)
{
	struct client c;
	struct event_parts access = { .fleet_id = "F1",
		.type = "access.changed",
		.time = "2026-01-01T00:00:00.000000Z",
		.data = "{\"subject\":\"bob\",\"role\":null}",
		.data_len = 29 };
	open_known(&c);
	subscribe(&c, "V1", 1);
	say(&c, CALL("1", "fleet.subscribe", "{\"fleet_id\":\"F1\"}"));
	run_until(is_watched, (char[]){ "F1" });
	make_ready("F1", 0);
	expect_part(&c, "\"id\":1,\"result\"");
	tell_of_fleet("V1", "V1", 2);
	tell_of_fleet("F1", "V1", 2);
	tell_of_fleet("F1", "V2", 9);
	expect_event(&c, "V1", 2);
	expect_event(&c, "V2", 9);
	for (int i = 0; i < 2; i++) {
		struct hub_event *event = event_new(&access);
		event->serial = 7;
		watcher_of(i ? "F1" : "V1")->on_event(watcher_of(i ? "F1" : "V1"), event);
		hub_event_unref(event);
	}
	expect_part(&c, "\"params\":{\"fleet_id\":\"F1\",\"type\":\"access.changed\"");
	say(&c, CALL("2", "vehicle.list", "{}"));
	expect_part(&c, "\"id\":2,\"result\"");
	client_done(&c);
}
END_TEST

START_TEST(the_end_of_a_grant_is_told_once)
{
	struct client c;
	open_known(&c);
	subscribe(&c, "V1", 1);
	subscribe(&c, "V2", 1);
	tell("V1", 2, "access.changed", "{\"subject\":\"alice\",\"role\":null,\"expires_at\":null}");
	end_watch("V1", &FAULT_FORBIDDEN);
	tell("V2", 2, "access.changed", "{\"subject\":\"bob\",\"role\":null,\"expires_at\":null}");
	end_watch("V2", &FAULT_FORBIDDEN);
	expect_event(&c, "V1", 2);
	expect_event(&c, "V2", 2);
	expect_part(&c, "\"params\":{\"vehicle_id\":\"V2\",\"type\":\"access.changed\",");
	say(&c, CALL("3", "vehicle.list", "{}"));
	expect_part(&c, "\"id\":3,\"result\"");
	client_done(&c);
}
END_TEST

START_TEST(a_connection_has_at_most_a_thousand_subscriptions)
{
	struct client c;
	char text[256];
	open_known(&c);
	for (int i = 0; i < 1001; i++) {
		snprintf(text, sizeof(text), SUBSCRIBE("%d", "V%d"), i, i);
		say(&c, text);
		if (i % 100 == 99)
			run_until(is_watched, (snprintf(text, sizeof(text), "V%d", i), text));
	}
	expect_error(&c, "1000", -32000);
	ck_assert_uint_eq(watcher_count, 1000);
	client_done(&c);
}
END_TEST

static bool is_unwatched(void *context)
{
	(void)context;
	return watcher_count == 0;
}

static const char filler[] = "{\"filler\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"}";

/* What waits in the node for the app that came last; how much the kernel takes before is the kernel's affair. */
static size_t bytes_behind(void)
{
	return container_of(ws->sockets.prev, struct socket, node)->outbox.bytes;
}

/* Tells an app that does not read, until it is `behind` by so many bytes or was given up; how many events it was. */
static int64_t tell_unread(struct client *c, size_t behind)
{
	int64_t seq = 0;
	open_known(c);
	subscribe(c, "V1", 0);
	uv_poll_stop(&c->poll);
	while (watcher_count > 0 && bytes_behind() < behind)
		tell("V1", ++seq, "state.reported", filler);
	return seq;
}

START_TEST(a_slow_app_is_closed_and_learns_why)
{
	struct client c;
	int64_t slow = metric_value(METRIC_WEBSOCKET_SLOW);
	int code = 0;
	tell_unread(&c, SIZE_MAX);
	ck_assert_int_eq(metric_value(METRIC_WEBSOCKET_SLOW), slow + 1);
	read_on(&c);
	for (int i = 1; code == 0; i++) {
		struct frame f = next_frame(&c);
		char part[32];
		snprintf(part, sizeof(part), "\"seq\":%d,", i);
		if (f.opcode == CLOSE)
			code = (unsigned char)f.text[0] << 8 | (unsigned char)f.text[1];
		else
			ck_assert(strstr(f.text, part));
		free(f.text);
	}
	ck_assert_int_eq(code, 4408);
	client_done(&c);
}
END_TEST

START_TEST(an_app_that_catches_up_in_time_misses_nothing)
{
	struct client c;
	int64_t bearable = tell_unread(&c, MAX_QUEUE / 2);
	ck_assert_uint_eq(watcher_count, 1);
	read_on(&c);
	for (int seq = 1; seq <= bearable; seq++)
		expect_event(&c, "V1", seq);
	tell("V1", bearable + 1, "state.reported", filler);
	expect_event(&c, "V1", (int)bearable + 1);
	client_done(&c);
}
END_TEST

/* ---- being there, and going ---- */

START_TEST(an_app_is_asked_whether_it_is_there)
{
	struct client c;
	open_known(&c);
	for (int i = 0; i < 6; i++) {
		struct frame f = next_frame(&c);
		ck_assert_int_eq(f.opcode, PING);
		send_frame(&c, 0x80 | PONG, f.text, f.len);
		free(f.text);
	}
	for (int i = 0; i < 2; i++) {
		struct frame f = next_frame(&c);
		ck_assert_int_eq(f.opcode, PING);
		free(f.text);
	}
	run_until(has_ended, &c);
	ck_assert_uint_eq(c.in.len, c.read);
	client_done(&c);
}
END_TEST

START_TEST(an_app_that_goes_leaves_nothing)
{
	struct client c;
	open_known(&c);
	subscribe(&c, "V1", 1);
	say(&c, CALL("1", "vehicle.get", "{\"vehicle_id\":\"HELD\"}"));
	run_until(is_held, NULL);
	client_done(&c);
	run_until(is_unwatched, NULL);
	ck_assert(ws_is_empty(ws));
	api_call_reply(held, strdup("{}"), 2);
	held = NULL;
}
END_TEST

START_TEST(a_close_of_the_app_is_answered)
{
	struct client c;
	open_known(&c);
	send_frame(&c, 0x80 | CLOSE, "\x03\xe8", 2);
	struct frame f = next_frame(&c);
	ck_assert_int_eq(f.opcode, CLOSE);
	ck_assert_int_eq((unsigned char)f.text[0] << 8 | (unsigned char)f.text[1], 1000);
	free(f.text);
	run_until(has_ended, &c);
	client_done(&c);
}
END_TEST

START_TEST(draining_answers_what_was_asked_and_closes)
{
	struct client idle, busy;
	open_known(&idle);
	open_known(&busy);
	say(&busy, CALL("1", "vehicle.get", "{\"vehicle_id\":\"HELD\"}"));
	run_until(is_held, NULL);
	api.draining = true;
	ws_drain(ws);
	expect_close(&idle, 1012);
	say(&busy, CALL("2", "vehicle.list", "{}"));
	expect_part(&busy, "urn:keyfob:problem:draining");
	api_call_reply(held, strdup("{}"), 2);
	held = NULL;
	expect(&busy, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}");
	expect_close(&busy, 1012);
	ck_assert_int_eq(status_of_head("127.0.0.1", KNOWN), 503);
	client_done(&idle);
	client_done(&busy);
}
END_TEST

START_TEST(the_room_is_torn_down_with_everybody_in_it)
{
	struct client c;
	open_known(&c);
	subscribe(&c, "V1", 1);
	client_drop(&c);
}
END_TEST

static void begin_impatient(void)
{
	begin_with(60, 0);
}

static void begin_strict(void)
{
	begin_with(25000, 5);
}

static TCase *add_case(Suite *suite, const char *name, void (*setup)(void))
{
	TCase *cases = tcase_create(name);
	tcase_add_checked_fixture(cases, setup, finish);
	tcase_set_timeout(cases, 60);
	suite_add_tcase(suite, cases);
	return cases;
}

int main(void)
{
	Suite *suite = suite_create("gateway/ws");
	TCase *cases = add_case(suite, "ws", begin);

	tcase_add_test(cases, the_token_comes_by_header);
	tcase_add_test(cases, the_token_comes_by_subprotocol_of_eight_kilobytes);
	tcase_add_test(cases, the_token_comes_by_the_first_message);
	tcase_add_test(cases, an_upgrade_waits_for_the_keys_of_its_token);
	tcase_add_test(cases, a_first_message_waits_for_the_keys_of_its_token);
	tcase_add_test(cases, who_waits_for_keys_waits_so_long);
	tcase_add_test(cases, so_many_wait_for_keys);
	tcase_add_test(cases, frames_right_behind_the_head_are_read);
	tcase_add_test(cases, who_does_not_mask_is_closed);
	tcase_add_test(cases, what_is_no_upgrade_of_ours_is_refused);
	tcase_add_test(cases, a_refusal_is_a_problem_and_counts_as_gone);
	tcase_add_test(cases, another_version_hears_which_is_spoken);
	tcase_add_test(cases, an_origin_is_the_hosts_own_or_listed);
	tcase_add_test(cases, an_address_is_in_a_network);
	tcase_add_test(cases, a_stranger_says_who_it_is_first);
	tcase_add_test(cases, a_stranger_has_five_seconds);
	tcase_add_test(cases, a_forged_first_token_is_told_and_closed);
	tcase_add_test(cases, a_token_that_runs_out_closes_unless_it_is_renewed);
	tcase_add_test(cases, a_renewal_is_by_the_same_subject_and_keeps_what_is_watched);
	tcase_add_test(cases, a_renewal_changes_the_scopes);
	tcase_add_test(cases, what_is_no_request_is_said_to_be_none);
	tcase_add_test(cases, a_fault_carries_the_problem_of_rest);
	tcase_add_test(cases, a_notification_gets_no_answer);
	tcase_add_test(cases, ten_times_nonsense_in_a_row_closes);
	tcase_add_test(cases, messages_come_in_fragments_with_pings_between);
	tcase_add_test(cases, a_large_message_is_taken_and_a_larger_is_not);
	tcase_add_test(cases, too_much_across_fragments_is_too_big);
	tcase_add_test(cases, endless_fragments_are_refused);
	tcase_add_test(cases, binary_and_wrong_utf8_are_refused);
	tcase_add_test(cases, what_an_app_asks_counts_for_its_subject_and_address);
	tcase_add_test(cases, a_trusted_proxy_says_whose_the_upgrade_is);
	tcase_add_test(cases, events_follow_the_result_in_order);
	tcase_add_test(cases, what_is_sent_in_one_turn_comes_in_one_piece);
	tcase_add_test(cases, a_message_of_any_length_arrives_whole);
	tcase_add_test(cases, a_second_subscription_takes_the_firsts_place);
	tcase_add_test(cases, a_vehicle_that_cannot_be_seen_is_a_fault);
	tcase_add_test(cases, a_fleet_is_watched);
	tcase_add_test(cases, an_event_comes_once_however_often_it_is_watched);
	tcase_add_test(cases, the_end_of_a_grant_is_told_once);
	tcase_add_test(cases, a_connection_has_at_most_a_thousand_subscriptions);
	tcase_add_test(cases, a_slow_app_is_closed_and_learns_why);
	tcase_add_test(cases, an_app_that_catches_up_in_time_misses_nothing);
	tcase_add_test(cases, an_app_that_goes_leaves_nothing);
	tcase_add_test(cases, a_close_of_the_app_is_answered);
	tcase_add_test(cases, draining_answers_what_was_asked_and_closes);
	tcase_add_test(cases, the_room_is_torn_down_with_everybody_in_it);
	tcase_add_test(add_case(suite, "impatient", begin_impatient), an_app_is_asked_whether_it_is_there);
	cases = add_case(suite, "strict", begin_strict);
	tcase_add_test(cases, an_app_may_not_flood);
	tcase_add_test(cases, a_flood_of_pongs_is_a_flood);
	tcase_add_loop_test(
		cases, a_flood_that_nobody_is_told_of_is_a_flood, 0, sizeof(silent_floods) / sizeof(silent_floods[0]));
	tcase_add_test(cases, pings_one_by_one_are_a_flood);
	tcase_add_test(cases, a_ping_now_and_then_is_none);
	tcase_add_test(cases, a_flood_of_small_pieces_is_a_flood);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
