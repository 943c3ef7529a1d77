/* ground.c - a node of scripted operations, and a client of bytes. */
#include "tests/unit/gateway/http/ground.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/loop.h"
#include "base/memory.h"
#include "gateway/api_internal.h"
#include "gateway/certificate.h"
#include "gateway/config_lists.h"
#include "gateway/door/door.h"
#include "gateway/door/guests.h"
#include "gateway/door/head.h"
#include "gateway/door/tunnel.h"
#include "gateway/http/http.h"
#include "notifier/hub.h"
#include "tests/certificate.h"

struct config config;
const char *trusted_network;
SSL_CTX *client;
atomic_uint fetches, soon_seen;
atomic_bool unsubscribed;

static struct loop *loop;
static struct api api;
static struct http *http;
static struct door *door;
static const struct texts trusted = { &trusted_network, 1 };
static pthread_t server;

/* The scripted operations: each answers with its own name and parameters. */

static void answer_hugely(struct api_call *call)
{
	char *text = memory_new(HUGE_BYTES + 1);

	memset(text, '1', HUGE_BYTES);
	api_call_reply(call, text, HUGE_BYTES);
}

static void run_echo(struct api_call *call)
{
	const char *vehicle = json_text_at(call->params, "vehicle_id");

	if (vehicle && strcmp(vehicle, "HUGE") == 0) {
		answer_hugely(call);
		return;
	}
	json_auto_t *echo = json_pack("{s:s, s:O}", "operation", call->operation->name, "params", call->params);
	char *text = memory_need(json_dumps(echo, JSON_COMPACT | JSON_SORT_KEYS));

	snprintf(call->resource_id, sizeof(call->resource_id), "%s", "0192f3c8-0000-7000-8000-000000000001");
	if (call->operation == &API_COMMAND_LIST)
		snprintf(call->next_cursor, sizeof(call->next_cursor), "%s", "NEXT");
	if (call->operation == &API_VEHICLE_GET || call->operation == &API_STATE_PATCH)
		call->desired_version = 7;
	call->settled = json_object_get(call->params, "settle") != NULL;
	api_call_reply(call, text, strlen(text));
}

static const char *const everything[] = { "vehicle_id", "fleet_id", "id", "name", "params", "wait", "idempotency_key",
	"traceparent", "limit", "cursor", "status", "after", "subject", "settle", "display_name", "provider",
	"message_id", "delivered", "reason", "filter", "patch", "if_match", "payload", "content_type",
	"expires_in_seconds", NULL };
#define OPERATION(id) const struct api_operation id = { .name = #id, .params = everything, .run = run_echo };
OPERATION(API_COMMAND_SEND)
OPERATION(API_COMMAND_GET)
OPERATION(API_COMMAND_LIST)
OPERATION(API_COMMAND_CANCEL)
OPERATION(API_VEHICLE_GET)
OPERATION(API_VEHICLE_LIST)
OPERATION(API_VEHICLE_PUT)
OPERATION(API_VEHICLE_DELETE)
OPERATION(API_EVENT_LIST)
OPERATION(API_GRANT_LIST)
OPERATION(API_GRANT_GET)
OPERATION(API_GRANT_PUT)
OPERATION(API_GRANT_DELETE)
OPERATION(API_WAKEUP_LIST)
OPERATION(API_SMS_RECEIPT)
OPERATION(API_VEHICLE_TRANSFER)
OPERATION(API_AUDIT_LIST)
OPERATION(API_FLEET_LIST)
OPERATION(API_FLEET_GET)
OPERATION(API_FLEET_PUT)
OPERATION(API_FLEET_DELETE)
OPERATION(API_FLEET_GRANT_LIST)
OPERATION(API_FLEET_GRANT_GET)
OPERATION(API_FLEET_GRANT_PUT)
OPERATION(API_FLEET_GRANT_DELETE)
OPERATION(API_BATCH_CREATE)
OPERATION(API_BATCH_LIST)
OPERATION(API_BATCH_GET)
OPERATION(API_BATCH_COMMANDS)
OPERATION(API_BATCH_CANCEL)
OPERATION(API_VEHICLE_BLOCK)
OPERATION(API_VEHICLE_UNBLOCK)
OPERATION(API_SUBJECT_GET)
OPERATION(API_SUBJECT_ERASE)
OPERATION(API_STATE_PATCH)
OPERATION(API_NOTICE_LIST)
OPERATION(API_NOTICE_PUT)
OPERATION(API_NOTICE_DELETE)
OPERATION(API_FLEET_NOTICE_LIST)
OPERATION(API_FLEET_NOTICE_PUT)
OPERATION(API_FLEET_NOTICE_DELETE)
OPERATION(API_ALL_NOTICE_LIST)
OPERATION(API_ALL_NOTICE_PUT)
OPERATION(API_ALL_NOTICE_DELETE)
OPERATION(API_ALERT_LIST)
OPERATION(API_ALL_WAKEUP_LIST)
OPERATION(API_BLOCK_LIST)
OPERATION(API_FLEET_ALERT_LIST)
OPERATION(API_FLEET_BLOCK_LIST)
OPERATION(API_FLEET_STATS_GET)
OPERATION(API_FLEET_WAKEUP_LIST)
OPERATION(API_WEBHOOK_CREATE)
OPERATION(API_WEBHOOK_DELETE)
OPERATION(API_WEBHOOK_DELIVERIES)
OPERATION(API_WEBHOOK_DELIVERY_GET)
OPERATION(API_WEBHOOK_GET)
OPERATION(API_WEBHOOK_LIST)
OPERATION(API_WEBHOOK_PUT)
OPERATION(API_WEBHOOK_REDELIVER)
OPERATION(API_WEBHOOK_ROTATE)
OPERATION(API_NODE_LIST)
OPERATION(API_STATS_GET)
OPERATION(API_CATALOG_GET)
OPERATION(API_ME)

const struct fault FAULT_KEYS_AWAITED = { .name = "unauthenticated", .http = 401 };

unsigned verifier_fetches(const struct verifier *verifier)
{
	(void)verifier;
	return fetches;
}

const struct fault *token_verify(struct verifier *verifier, const char *token, size_t len, int64_t now_unix_us,
	struct caller *ret, char *ret_why, size_t why_size)
{
	bool is_late = len == 4 && memcmp(token, "late", 4) == 0; /* it ended, and is good for a second more */

	(void)verifier;
	snprintf(ret_why, why_size, "the test does not know it");
	if (len == 4 && memcmp(token, "soon", 4) == 0) {
		soon_seen++;
		if (fetches == 0)
			return &FAULT_KEYS_AWAITED;
		token = "good";
	}
	if (!is_late && (len != 4 || memcmp(token, "good", 4) != 0))
		return &FAULT_UNAUTHENTICATED;
	*ret = (struct caller){ .subject = "alice",
		.scopes = SCOPES_ALL,
		.expires_at_us = now_unix_us + (is_late ? 1000000 - TOKEN_LEEWAY_US : 60000000) };
	return NULL;
}

const char *token_scope_name(unsigned scope)
{
	return scope ? "a scope" : NULL;
}

/* The scripted hub: a snapshot, then two events; FLOOD gets more than anyone would read, QUIET nothing. */

static struct hub_subscriber *subscriber;
static struct loop_soon telling;
static bool floods, replays, is_quiet;

static void tell(int64_t seq, const char *data)
{
	struct hub_event event = { .vehicle_id = "CAR1",
		.seq = seq,
		.type = "command.updated",
		.time = "2026-01-31T08:09:10.123456Z",
		.data = data,
		.data_len = strlen(data) };
	if (subscriber)
		subscriber->on_event(subscriber, &event);
}

static void flood(void)
{
	char data[FLOOD_BYTES];

	memset(data, '1', sizeof(data));
	data[sizeof(data) - 1] = '\0';
	for (int64_t i = 0; i < FLOOD_EVENTS; i++)
		tell(8 + i, data);
}

/* More than a stream may be behind, in one turn, as the hub's replay comes. */
static void replay(int64_t after)
{
	char data[FLOOD_BYTES];

	memset(data, '1', sizeof(data));
	data[sizeof(data) - 1] = '\0';
	for (int64_t seq = after + 1; seq <= REPLAY_LAST; seq++)
		tell(seq, data);
}

static void on_telling(struct loop_soon *soon)
{
	struct hub_snapshot snapshot = { .vehicle = "{}",
		.epoch = "e1",
		.seq = 7,
		.recovered = subscriber->epoch && strcmp(subscriber->epoch, "e1") == 0 &&
			     (subscriber->after == 5 || replays) };
	(void)soon;
	subscriber->on_ready(subscriber, &snapshot);
	if (is_quiet)
		return;
	if (floods) {
		flood();
		return;
	}
	if (replays) {
		replay(subscriber->after);
		return;
	}
	tell(8, "{\"a\":1}");
	tell(9, "{\"a\":2}");
	subscriber->on_end(subscriber, &FAULT_FORBIDDEN);
}

void hub_subscribe(struct hub *hub, struct hub_subscriber *s, const char *vehicle_id)
{
	(void)hub;
	subscriber = s;
	floods = strcmp(vehicle_id, "FLOOD") == 0;
	replays = strcmp(vehicle_id, "REPLAY") == 0;
	is_quiet = strcmp(vehicle_id, "QUIET") == 0;
	loop_soon_init(&telling, on_telling);
	loop_soon_call(loop, &telling);
}

/* No route of this test leads to a fleet. */
void hub_subscribe_fleet(struct hub *hub, struct hub_subscriber *s, const char *fleet_id)
{
	(void)hub, (void)s, (void)fleet_id;
	abort();
}

void hub_carry_on(struct hub *hub, struct hub_subscriber *s)
{
	(void)hub, (void)s;
}

void hub_unsubscribe(struct hub *hub, struct hub_subscriber *s)
{
	(void)hub, (void)s;
	subscriber = NULL;
	loop_soon_cancel(&telling);
	unsubscribed = true;
}

/* The node, on a thread of its own, for all tests of a case; it ends with the process. */

static void on_http(void *owner, int fd, const char *peer)
{
	http_accept(owner, fd, peer);
}

static void on_websocket(void *owner, int fd, const char *peer)
{
	char head[HEAD_MAX];

	(void)owner;
	ssize_t n = recv(fd, head, sizeof(head), MSG_DONTWAIT);
	ck_assert(n > 0 && head_is_whole(head, (size_t)n));
	ck_assert_int_eq(write(fd, "WEBSOCKET", 9), 9);
	close(fd);
	guests_leave(peer);
}

static void *serve(void *arg)
{
	loop_run(loop);
	return arg;
}

static char web_root[32];

void put_file(const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", web_root, name);
	FILE *file = fopen(path, "w");
	ck_assert(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void tear_down(void)
{
	static const char *const made[] = { "index.html", "app.js", "page.html", "config.json", "certificate.pem",
		"key.pem", "assets/app-1.js", "assets/app-1.js.gz", "assets/app-1.js.br" };
	char path[128];

	for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", web_root, made[i]);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/assets", web_root);
	rmdir(path);
	rmdir(web_root);
}

static struct tunnels *make_tunnels(void)
{
	char chain[128], key[128], why[256];

	snprintf(chain, sizeof(chain), "%s/certificate.pem", web_root);
	snprintf(key, sizeof(key), "%s/key.pem", web_root);
	certificate_write("IP:127.0.0.1", chain, key);
	client = wire_context(chain);
	struct certificate *certificate = certificate_new(chain, key, why, sizeof(why));
	ck_assert_msg(certificate != NULL, "%s", why);
	return tunnels_new(loop, certificate, 0);
}

static void set_up_door(bool tls)
{
	static const char *const connects[] = { "https://tokens.example" };
	static const struct texts connect = { connects, 1 };
	static const struct pair pair = { "resource", "https://keyfob.example" };
	static const struct pairs parameters = { &pair, 1 };
	static const struct http_console console = { .web_root = web_root,
		.issuer = "https://idp.example/realms/cars",
		.client_id = "console",
		.scope = "openid",
		.parameters = &parameters,
		.connect = &connect };
	static const char *const origin = "https://app.example";
	static const struct texts origins = { &origin, 1 };
	static const struct http_hook hook = {
		.provider = "texts", .secret = "0123456789abcdef", .form = { .id = "id", .status = "status" }
	};
	struct address address = { .text = "127.0.0.1:0", .host = "127.0.0.1" };

	signal(SIGPIPE, SIG_IGN); /* as keyfobd does */
	loop = loop_new();
	api.loop = loop;
	api.config = &config;
	char assets[64];

	snprintf(web_root, sizeof(web_root), "/tmp/keyfob-web-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(web_root));
	snprintf(assets, sizeof(assets), "%s/assets", web_root);
	ck_assert_int_eq(mkdir(assets, 0755), 0);
	list_init(&api.waiting);
	http = http_new(loop, &(struct http_options){ .api = &api,
				      .max_queue = 65536,
				      .answer_ms = 500,
				      .answer_rate = HUGE_BYTES / 5,
				      .cors_origins = &origins,
				      .trusted_proxies = &trusted,
				      .secure = tls,
				      .hook = &hook,
				      .console = &console,
				      .on_closed = guests_leave });
	door = door_new(loop, &(struct door_options){ .counts = true,
				      .max_connections = 100,
				      .max_per_address = PER_ADDRESS,
				      .tls = tls ? make_tunnels() : NULL,
				      .owner = http,
				      .on_http = on_http,
				      .on_websocket = on_websocket });
	ck_assert(door_listen(door, &address));
	ck_assert_int_eq(pthread_create(&server, NULL, serve, NULL), 0);
}

static void without_limits(void)
{
	config = (struct config){ 0 };
	trusted_network = "192.0.2.0/24";
}

static void set_up_plain(void)
{
	set_up_door(false);
}

static void set_up_tls(void)
{
	set_up_door(true);
}

TCase *case_new(const char *name, bool tls)
{
	TCase *tc = tcase_create(name);

	tcase_add_unchecked_fixture(tc, tls ? set_up_tls : set_up_plain, tear_down);
	tcase_add_checked_fixture(tc, without_limits, NULL);
	tcase_set_timeout(tc, 30);
	return tc;
}

/* A client of bytes. */

int dial(void)
{
	return wire_dial(door_port(door), client);
}

void say(int fd, const char *text)
{
	ck_assert_int_eq(wire_send(fd, text, strlen(text)), (ssize_t)strlen(text));
}

const char *hear_until(int fd, const char *what)
{
	static struct text all;
	char piece[65536];
	ssize_t n;

	text_free(&all);
	text_add(&all, "");
	do {
		n = wire_recv(fd, piece, sizeof(piece));
		if (n > 0)
			text_add_bytes(&all, piece, (size_t)n);
	} while (n > 0 && !(what && strstr(all.data, what)));
	ck_assert_msg(n >= 0 || errno == ECONNRESET, "the node does not close the connection: %.200s", all.data);
	wire_close(fd);
	return all.data;
}

const char *hear(int fd)
{
	return hear_until(fd, NULL);
}

const char *ask(const char *request)
{
	int fd = dial();
	say(fd, request);
	return hear(fd);
}

void expect(const char *answer, const char *what)
{
	ck_assert_msg(strstr(answer, what) != NULL, "no \"%s\" in:\n%.2000s", what, answer);
}

void ask_expect(const char *request, const char *status, const char *what)
{
	const char *answer = ask(request);
	char line[64];

	snprintf(line, sizeof(line), "HTTP/1.1 %s ", status);
	ck_assert_msg(strncmp(answer, line, strlen(line)) == 0, "not %s:\n%.2000s", status, answer);
	expect(answer, what);
}
