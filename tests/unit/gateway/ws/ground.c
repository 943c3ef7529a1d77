/* ground.c - the room, its client, and the rest of the gateway as the test says. */
#include "tests/unit/gateway/ws/ground.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/list.h"
#include "base/metrics.h"
#include "gateway/ws/upgrade.h"

#define GUARD_MS 20000

struct loop *loop;
struct config config; /* no limits */
struct api api;
struct ws *ws;
static size_t adopted;
size_t gone;
static size_t clients; /* that are not done */

/* ---- what stands in for the rest of the gateway ---- */

int64_t lifetime_us; /* of the tokens that are made; from now on, leeway included */

const struct fault FAULT_KEYS_AWAITED = { .name = "unauthenticated", .http = 401 };

unsigned fetches;   /* with the first, the token "soon" is good */
unsigned soon_seen; /* how often it was shown */

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

struct api_call *held; /* asked for the vehicle HELD */

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

/* The kernel, or one that counts no bytes of TCP. */

bool counts_nothing;
size_t counts_asked;

int __real_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len);

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	int result = __real_getsockopt(fd, level, name, value, len);

	if (level != IPPROTO_TCP || name != TCP_INFO)
		return result;
	counts_asked++;
	if (counts_nothing && result == 0)
		memset(value, 0, *len);
	return result;
}

/* The hub: who watches what, until the test says something to them. */
static struct watcher {
	struct hub_subscriber *subscriber;
	char vehicle_id[65];
} watchers[1200];
size_t watcher_count;
size_t watched_ever;
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

struct hub_subscriber *watcher_of(const char *vehicle_id)
{
	for (size_t i = 0; i < watcher_count; i++) {
		if (strcmp(watchers[i].vehicle_id, vehicle_id) == 0)
			return watchers[i].subscriber;
	}
	return NULL;
}

void make_ready(const char *vehicle_id, int64_t seq)
{
	struct hub_subscriber *s = watcher_of(vehicle_id);
	s->ready = true;
	s->on_ready(s, &(struct hub_snapshot){ .vehicle = "{\"vehicle_id\":\"V\"}",
			       .vehicles = 3,
			       .epoch = "e1",
			       .seq = seq,
			       .recovered = s->after >= 0 });
}

void tell_by(const char *watched, const struct event_parts *parts)
{
	struct hub_subscriber *s = watcher_of(watched);
	struct hub_event *event = event_new(parts);
	s->on_event(s, event);
	hub_event_unref(event);
}

void tell(const char *vehicle_id, int64_t seq, const char *type, const char *data)
{
	tell_by(vehicle_id, &(struct event_parts){ .vehicle_id = vehicle_id,
				    .seq = seq,
				    .type = type,
				    .time = "2026-01-01T00:00:00.000000Z",
				    .data = data,
				    .data_len = strlen(data) });
}

void end_watch(const char *vehicle_id, const struct fault *fault)
{
	struct hub_subscriber *s = watcher_of(vehicle_id);
	hub_unsubscribe(NULL, s);
	s->on_end(s, fault);
}

/* ---- the app ---- */

static void on_guard(uv_timer_t *guard)
{
	(void)guard;
	ck_abort_msg("nothing came for %d ms", GUARD_MS);
}

static void on_guard_closed(uv_handle_t *handle)
{
	free(handle);
}

void run_until(bool (*is_so)(void *), void *context)
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

void read_on(struct client *c)
{
	uv_poll_start(&c->poll, UV_READABLE, on_readable);
}

void client_send(struct client *c, const void *bytes, size_t len)
{
	ck_assert_int_eq(send(c->fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

void client_open(struct client *c, const char *peer, const char *head)
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

int client_status(struct client *c)
{
	run_until(has_head, c);
	ck_assert_ptr_nonnull(c->in.data);
	c->read = (size_t)(strstr(c->in.data, "\r\n\r\n") + 4 - c->in.data);
	return atoi(c->in.data + strlen("HTTP/1.1 "));
}

static void on_released(uv_handle_t *handle)
{
	container_of(handle, struct client, poll)->released = true;
}

static bool is_released(void *context)
{
	return ((struct client *)context)->released;
}

void client_drop(struct client *c)
{
	uv_close((uv_handle_t *)&c->poll, on_released);
	close(c->fd);
	run_until(is_released, c);
	text_free(&c->in);
	clients--;
}

int status_of_head(const char *peer, const char *head)
{
	struct client c;
	client_open(&c, peer, head);
	int status = client_status(&c);
	client_drop(&c);
	return status;
}

void expect_field(struct client *c, const char *field, int least, int most)
{
	const char *at = strstr(c->in.data, field);

	ck_assert_msg(at != NULL, "no %s in:\n%s", field, c->in.data);
	int number = atoi(at + strlen(field));
	ck_assert_msg(number >= least && number <= most, "%s%d", field, number);
}

void open_known(struct client *c)
{
	client_open(c, "127.0.0.1", KNOWN);
	ck_assert_int_eq(client_status(c), 101);
}

void send_frame(struct client *c, int bits, const char *text, size_t len)
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

void say(struct client *c, const char *text)
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

struct frame next_frame(struct client *c)
{
	struct awaited a = { .client = c };
	run_until(has_frame, &a);
	return a.frame;
}

void expect(struct client *c, const char *text)
{
	struct frame f = next_frame(c);
	ck_assert_int_eq(f.opcode, TEXT);
	ck_assert_str_eq(f.text, text);
	free(f.text);
}

void expect_part(struct client *c, const char *part)
{
	struct frame f = next_frame(c);
	ck_assert_int_eq(f.opcode, TEXT);
	ck_assert_msg(strstr(f.text, part) != NULL, "no %s in %s", part, f.text);
	free(f.text);
}

void expect_error(struct client *c, const char *id, int code)
{
	char begin[128];
	snprintf(begin, sizeof(begin), "{\"jsonrpc\":\"2.0\",\"id\":%s,\"error\":{\"code\":%d,", id, code);
	expect_part(c, begin);
}

bool has_ended(void *context)
{
	return ((struct client *)context)->ended;
}

void expect_close_in(struct client *c, const struct frame *f, int code)
{
	ck_assert_int_eq(f->opcode, CLOSE);
	ck_assert_int_eq((unsigned char)f->text[0] << 8 | (unsigned char)f->text[1], code);
	send_frame(c, 0x80 | CLOSE, f->text, 2);
	free(f->text);
	run_until(has_ended, c);
}

void expect_close(struct client *c, int code)
{
	struct frame f = next_frame(c);
	expect_close_in(c, &f, code);
}

static bool are_others_gone(void *context)
{
	(void)context;
	return gone >= adopted - clients;
}

void client_done(struct client *c)
{
	client_drop(c);
	run_until(are_others_gone, NULL);
}

bool is_watched(void *context)
{
	return watcher_of(context) != NULL;
}

static bool is_watched_anew(void *context)
{
	return watched_ever > *(size_t *)context;
}

bool is_held(void *context)
{
	(void)context;
	return held != NULL;
}

void subscribe(struct client *c, const char *vehicle_id, int64_t seq)
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
static const struct texts origins = { listed, 1 };
const struct texts trusted = { proxies, 2 };

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
	counts_nothing = false;
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

void begin(void)
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

void begin_impatient(void)
{
	begin_with(60, 0);
}

void begin_strict(void)
{
	begin_with(25000, 5);
}

TCase *case_new(Suite *suite, const char *name, void (*setup)(void))
{
	TCase *cases = tcase_create(name);
	tcase_add_checked_fixture(cases, setup, finish);
	tcase_set_timeout(cases, 60);
	suite_add_tcase(suite, cases);
	return cases;
}
