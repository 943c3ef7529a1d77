/* http_test.c - the door and REST against raw sockets: routing, smuggling, limits, and the framing of event streams; all of
 * it twice, plain and through TLS that the door ends. The operations, the tokens and the hub are scripted here. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/json.h"
#include "base/loop.h"
#include "base/memory.h"
#include "gateway/api_internal.h"
#include "gateway/certificate.h"
#include "gateway/config.h"
#include "gateway/config_lists.h"
#include "gateway/door/door.h"
#include "gateway/door/guests.h"
#include "gateway/door/head.h"
#include "gateway/door/tunnel.h"
#include "gateway/http/http.h"
#include "notifier/hub.h"
#include "tests/certificate.h"
#include "wire.h"

#define PER_ADDRESS 4
#define FLOOD_EVENTS 4000
#define FLOOD_BYTES 4000
#define REPLAY_LAST 40
#define HUGE_BYTES (32 * 1024 * 1024) /* more than any buffers on the way hold */

static struct loop *loop;
static struct config config; /* no limits */
static struct api api;
static struct http *http;
static struct door *door;
static const char *trusted_network;
static const struct texts trusted = { &trusted_network, 1 };
static SSL_CTX *client; /* NULL: the door is plain */
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

static atomic_uint fetches; /* with the first, the token "soon" is good */
static atomic_uint soon_seen;

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
static atomic_bool unsubscribed;

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

static void put_file(const char *name, const char *text)
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

/* A client of bytes. */

static int dial(void)
{
	return wire_dial(door_port(door), client);
}

static void say(int fd, const char *text)
{
	ck_assert_int_eq(wire_send(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* Everything until `what` came, or the node closed. */
static const char *hear_until(int fd, const char *what)
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

static const char *hear(int fd)
{
	return hear_until(fd, NULL);
}

static const char *ask(const char *request)
{
	int fd = dial();
	say(fd, request);
	return hear(fd);
}

static void expect(const char *answer, const char *what)
{
	ck_assert_msg(strstr(answer, what) != NULL, "no \"%s\" in:\n%.2000s", what, answer);
}

#define HEAD "Host: h\r\nAuthorization: Bearer good\r\n"
#define LAST HEAD "Connection: close\r\n\r\n"

static void ask_expect(const char *request, const char *status, const char *what)
{
	const char *answer = ask(request);
	char line[64];

	snprintf(line, sizeof(line), "HTTP/1.1 %s ", status);
	ck_assert_msg(strncmp(answer, line, strlen(line)) == 0, "not %s:\n%.2000s", status, answer);
	expect(answer, what);
}

START_TEST(finds_what_a_path_names)
{
	ask_expect("GET /v1/vehicles/CAR1 HTTP/1.1\r\n" LAST, "200", "\"API_VEHICLE_GET\"");
	ask_expect("GET /v1/vehicles/C%2f%2541/grants/a%7Cb HTTP/1.1\r\n" LAST, "200",
		"{\"subject\":\"a|b\",\"vehicle_id\":\"C/%41\"}");
	ask_expect(
		"GET /v1/vehicles/C%00/grants/%ff HTTP/1.1\r\n" LAST, "200", "{\"subject\":\"\",\"vehicle_id\":\"\"}");
	ask_expect("GET /v1/vehicles//commands HTTP/1.1\r\n" LAST, "404", "problem:not-found");
	ask_expect("GET /v2 HTTP/1.1\r\n" LAST, "404", "application/problem+json");
	ask_expect("PATCH /v1/vehicles/CAR1 HTTP/1.1\r\n" LAST, "405", "allow: GET, PUT, DELETE");
	const char *head = ask("HEAD /v1/me HTTP/1.1\r\n" LAST);
	expect(head, "HTTP/1.1 200 ");
	ck_assert_str_eq(strstr(head, "\r\n\r\n"), "\r\n\r\n");
	ask_expect("GET /v1/me HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "401", "www-authenticate: Bearer");
}
END_TEST

/* As the WebSocket's upgrade: a proxy in front may have looked at the other. */
START_TEST(takes_one_token)
{
	ask_expect("GET /v1/me HTTP/1.1\r\nAuthorization: Bearer good\r\n" LAST, "400", "malformed-request");
	ask_expect("GET /v1/me HTTP/1.1\r\n" HEAD "authorization: Bearer bad\r\nConnection: close\r\n\r\n", "400",
		"malformed-request");
}
END_TEST

#define SOON "GET /v1/me HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer soon\r\nConnection: close\r\n\r\n"

static void until_seen(unsigned times)
{
	while (soon_seen < times)
		usleep(1000);
}

/* The first token after an issuer changed its keys. Who does not stay for it leaves nothing behind. */
START_TEST(waits_for_the_keys_of_a_token)
{
	fetches = soon_seen = 0;
	int first = dial(), gone = dial(), last;
	say(first, "POST /v1/vehicles/C/commands HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer soon\r\n"
		   "Content-Type: application/json\r\nContent-Length: 12\r\nConnection: close\r\n\r\n{\"name\":\"x\"}");
	until_seen(1);
	say(gone, SOON);
	until_seen(2);
	wire_close(gone);
	last = dial();
	say(last, SOON);
	until_seen(3);
	fetches = 1;
	expect(hear(first), "{\"name\":\"x\",\"vehicle_id\":\"C\"}");
	expect(hear(last), "\"API_ME\"");
	ask_expect(SOON, "200", "\"API_ME\"");
}
END_TEST

START_TEST(waits_so_long_for_keys)
{
	fetches = soon_seen = 0;
	ask_expect(SOON, "401", "the test does not know it");
	ck_assert_uint_eq(soon_seen, 2);
}
END_TEST

START_TEST(reads_queries)
{
	ask_expect("GET /v1/vehicles/C/commands?limit=5&status=sent&cursor=OLD HTTP/1.1\r\n" LAST, "200",
		"link: </v1/vehicles/C/commands?cursor=NEXT&limit=5&status=sent>; rel=\"next\"");
	ask_expect("GET /v1/vehicles/C/commands?limit=0 HTTP/1.1\r\n" LAST, "400", "invalid-query");
	ask_expect("GET /v1/vehicles/C/commands?limit=x HTTP/1.1\r\n" LAST, "400", "invalid-query");
	ask_expect("GET /v1/vehicles/C/commands?color=red HTTP/1.1\r\n" LAST, "400", "invalid-query");
	ask_expect("GET /v1/vehicles/C/commands?imit=1 HTTP/1.1\r\n" LAST, "400", "invalid-query");
	ask_expect("GET /v1/vehicles/C/commands?limit=1&limit=2 HTTP/1.1\r\n" LAST, "400", "invalid-query");
	ask_expect("GET /v1/vehicles/C/events?after=%2B1 HTTP/1.1\r\n" LAST, "400", "invalid-query");
	ask_expect("GET /v1/vehicles/C/events?after=99999999999999999999 HTTP/1.1\r\n" LAST, "400", "invalid-query");
}
END_TEST

static const char *post(const char *headers, const char *body)
{
	static char request[4096];

	snprintf(request, sizeof(request),
		"POST /v1/vehicles/C/commands HTTP/1.1\r\n%sContent-Length: %zu\r\n" LAST "%s", headers, strlen(body),
		body);
	return request;
}

START_TEST(reads_bodies_and_headers)
{
	const char *type = "Content-Type: application/json\r\n";
	char both[600], long_key[400];

	ask_expect(post(type, "{\"name\":\"x\"}"), "202", "location: /v1/vehicles/C/commands/0192f3c8-");
	ask_expect(post(type, "{\"name\":"), "400", "malformed-request");
	ask_expect(post(type, "{\"vehicle_id\":\"D\"}"), "422", "unknown-field");
	ask_expect(post(type, "{\"traceparent\":\"t\"}"), "422", "unknown-field");
	ask_expect(post("Content-Type: application/jsonx\r\n", "{}"), "415", "unsupported-media-type");
	snprintf(both, sizeof(both), "%sPrefer: respond-async, wait=7\r\nIdempotency-Key: k\r\n", type);
	ask_expect(post(both, "{}"), "202", "preference-applied: wait=7");
	ask_expect(post(both, "{\"settle\":1}"), "200", "\"idempotency_key\":\"k\"");
	snprintf(both, sizeof(both), "%sPrefer: wait=soon\r\nPrefer: return=minimal\r\nPrefer: wait=900\r\n", type);
	ask_expect(post(both, "{}"), "202", "preference-applied: wait=60");
	memset(long_key, 'k', 256);
	snprintf(both, sizeof(both), "%sIdempotency-Key: %.256s\r\n", type, long_key);
	ask_expect(post(both, "{}"), "400", "Idempotency-Key");
	snprintf(both, sizeof(both), "%sIdempotency-Key: a\r\nIdempotency-Key: b\r\n", type);
	ask_expect(post(both, "{}"), "400", "Idempotency-Key");
}
END_TEST

static const char *change(const char *what, const char *headers, const char *body)
{
	static char request[4096];

	snprintf(request, sizeof(request), "%s HTTP/1.1\r\n%sContent-Length: %zu\r\n" LAST "%s", what, headers,
		strlen(body), body);
	return request;
}

/* RFC 7396; RFC 9110 §13.1.1: any tag of the list will do, a weak one is none. */
START_TEST(reads_merge_patches)
{
	static const char what[] = "PATCH /v1/vehicles/C/state",
			  merge[] = "Content-Type: application/merge-patch+json\r\n";
	char both[256];

	/* whatever a patch's members are called, they are none of ours */
	ask_expect(change(what, merge, "{\"vehicle_id\":\"D\",\"wait\":null}"), "200",
		"{\"patch\":{\"vehicle_id\":\"D\",\"wait\":null},\"vehicle_id\":\"C\"}");
	ask_expect(change(what, "Content-Type: application/json\r\n", "{}"), "200", "etag: \"7\"");
	ask_expect(change(what, "Content-Type: text/plain\r\n", "{}"), "415", "unsupported-media-type");
	ask_expect(change("PUT /v1/vehicles/C", merge, "{}"), "415", "unsupported-media-type");
	ask_expect(change(what, merge, "[1]"), "400", "malformed-request");
	ask_expect("GET /v1/vehicles/C HTTP/1.1\r\n" LAST, "200", "etag: \"7\"");
	static const struct {
		const char *field, *status, *what;
	} fields[] = {
		{ "\"7\"", "200", "\"if_match\":[\"7\"]" },
		{ "\"6\" ,\t\"7\"", "200", "\"if_match\":[\"6\",\"7\"]" },
		{ "W/\"7\"", "200", "\"if_match\":[]" },
		{ "*", "200", "{\"patch\":{},\"vehicle_id\":\"C\"}" },
		{ "7", "400", "If-Match is a list" },
		{ "\"7", "400", "If-Match is a list" },
		{ "\"7\", *", "400", "If-Match is a list" },
		{ "\"6\"\r\nX-A: b\r\nif-match: W/\"8\", \"7\"", "200", "\"if_match\":[\"6\",\"7\"]" },
		{ "*\r\nIf-Match: \"7\"", "400", "If-Match is a list" },
		{ "\"7\"\r\nIf-Match: *", "400", "If-Match is a list" },
		{ "\"7\"\r\nIf-Match: 8", "400", "If-Match is a list" },
	};
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		snprintf(both, sizeof(both), "%sIf-Match: %s\r\n", merge, fields[i].field);
		ask_expect(change(what, both, "{}"), fields[i].status, fields[i].what);
	}
}
END_TEST

/* A notice's body is its payload, whatever it says it is. */
START_TEST(carries_payloads)
{
	static const char what[] = "PUT /v1/vehicles/C/notices/recall?expires_in_seconds=60";

	ask_expect(change(what, "Content-Type: text/plain\r\n", "{ \"name\":1 }"), "200",
		"{\"content_type\":\"text/plain\",\"expires_in_seconds\":60,\"name\":\"recall\",\"payload\":\"{ "
		"\\\"name\\\":1 }\",\"vehicle_id\":\"C\"}");
	ask_expect(change("PUT /v1/notices/recall", "", "x"), "200", "{\"name\":\"recall\",\"payload\":\"x\"}");
	ask_expect(change(what, "", "\xff"), "400", "malformed-request");
	ask_expect(change("PUT /v1/fleets/F/notices/a?expires_in_seconds=0", "", "x"), "400", "invalid-query");
	ask_expect("DELETE /v1/fleets/F/notices/a HTTP/1.1\r\n" LAST, "204", "");
}
END_TEST

/* RFC 9110 §8.6, RFC 9112 §6.3: no body, and no length of one; the connection goes on. */
START_TEST(an_answer_without_content_has_no_length)
{
	int fd = dial();

	say(fd, "DELETE /v1/fleets/F HTTP/1.1\r\n" HEAD "\r\nGET /v1/me HTTP/1.1\r\n" LAST);
	const char *answers = hear(fd), *second = strstr(answers, "\r\n\r\nHTTP/1.1 200 ");
	ck_assert_msg(strncmp(answers, "HTTP/1.1 204 ", 13) == 0 && second, "not one after the other:\n%s", answers);
	char *first = strndup(answers, (size_t)(second - answers));
	ck_assert_msg(!strcasestr(first, "\r\ncontent-length:") && !strcasestr(first, "\r\ntransfer-encoding:"),
		"a body is announced:\n%s", first);
	free(first);
	expect(second, "\"API_ME\"");
}
END_TEST

START_TEST(refuses_too_large_heads)
{
	char filler[HEAD_MAX], request[2 * HEAD_MAX];

	memset(filler, 'x', sizeof(filler) - 1);
	filler[sizeof(filler) - 1] = '\0';
	snprintf(request, sizeof(request), "GET /v1/me HTTP/1.1\r\nX-A: %s\r\n" HEAD "\r\n", filler);
	ask_expect(request, "400", "larger than 16 KiB");
}
END_TEST

#define POST_OF(framing)                                                                                               \
	"POST /v1/vehicles/C/commands HTTP/1.1\r\nContent-Type: application/json\r\n" framing "\r\n" HEAD "\r\n"
#define CHUNKED POST_OF("Transfer-Encoding: chunked")

/* A client that sends all it has before it looks: nothing of the answer may be lost, so the end is no reset. */
static const char *post_unheard(const char *head, const char *unit, size_t times)
{
	static char answer[4096];
	struct text all = { 0 };
	size_t len = 0;
	ssize_t n;
	int fd = dial();

	text_add(&all, head);
	for (size_t i = 0; i < times; i++)
		text_add(&all, unit);
	for (size_t at = 0; at < all.len; at += (size_t)n) {
		n = wire_send(fd, all.data + at, all.len - at < 65536 ? all.len - at : 65536);
		ck_assert_msg(n > 0, "the node hung up after %zu of %zu bytes", at, all.len);
	}
	while ((n = wire_recv(fd, answer + len, sizeof(answer) - 1 - len)) > 0)
		len += (size_t)n;
	ck_assert_msg(n == 0, "the node did not end in good order, after %zu bytes of its answer", len);
	answer[len] = '\0';
	wire_close(fd);
	text_free(&all);
	return answer;
}

static void assert_too_large(const char *answer)
{
	ck_assert_msg(strncmp(answer, "HTTP/1.1 413 ", 13) == 0, "not 413:\n%.200s", answer);
	expect(answer, "\r\nConnection: close\r\n");
	expect(answer, "\r\ncontent-type: application/problem+json\r\n");
	expect(answer, "\r\nx-request-id: ");
	expect(answer, "urn:keyfob:problem:too-large");
}

/* With and without an end, of one byte too many and of 5 MiB. */
START_TEST(refuses_too_large_bodies)
{
	char byte[] = "1", kib[1025], chunk[1034];

	memset(kib, '1', 1024);
	kib[1024] = '\0';
	snprintf(chunk, sizeof(chunk), "400\r\n%s\r\n", kib);
	ask_expect(POST_OF("Content-Length: 9999999"), "413", "urn:keyfob:problem:too-large");
	assert_too_large(post_unheard(POST_OF("Content-Length: 65538"), byte, 65538));
	for (int i = 0; i < 5; i++) {
		assert_too_large(post_unheard(POST_OF("Content-Length: 5242880"), kib, 5120));
		assert_too_large(post_unheard(CHUNKED, chunk, 5120));
	}
	assert_too_large(post_unheard(CHUNKED, chunk, 65));
	while (guests_count() > 0)
		uv_sleep(1);
}
END_TEST

/* Longer than anybody may be silent, but not silent: it is heard to its end. */
START_TEST(hears_a_slow_client_to_its_end)
{
	const struct timespec pace = { .tv_nsec = 250000000 };
	char piece[1024], answer[4096];
	ssize_t n, len = 0;
	int fd = dial();

	memset(piece, '1', sizeof(piece));
	say(fd, POST_OF("Content-Length: 9999999"));
	for (int i = 0; i < 12; i++) {
		ck_assert_int_eq(wire_send(fd, piece, sizeof(piece)), sizeof(piece));
		nanosleep(&pace, NULL);
	}
	while ((n = wire_recv(fd, answer + len, sizeof(answer) - 1 - (size_t)len)) > 0)
		len += n;
	ck_assert_int_eq(n, 0);
	answer[len] = '\0';
	assert_too_large(answer);
	wire_close(fd);
}
END_TEST

START_TEST(takes_a_body_of_64_kib)
{
	char body[65537], request[131072];

	memset(body, ' ', sizeof(body) - 1);
	memcpy(body, "{}", 2);
	body[65536] = '\0';
	snprintf(request, sizeof(request), "%s%s", POST_OF("Connection: close\r\nContent-Length: 65536"), body);
	ask_expect(request, "202", "API_COMMAND_SEND");
	snprintf(request, sizeof(request), "%s10000\r\n%s\r\n0\r\n\r\n",
		POST_OF("Connection: close\r\nTransfer-Encoding: chunked"), body);
	ask_expect(request, "202", "API_COMMAND_SEND");
	snprintf(request, sizeof(request), "%s%s ", POST_OF("Connection: close\r\nContent-Length: 65537"), body);
	ask_expect(request, "413", "too-large");
}
END_TEST

#define FIELDS_10 "A: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\n"
#define FIELDS_100 FIELDS_10 FIELDS_10 FIELDS_10 FIELDS_10 FIELDS_10 FIELDS_10 FIELDS_10 FIELDS_10 FIELDS_10 FIELDS_10

/* Each of them must be refused as a connection's first request, its second, and pipelined as the second and the hundredth. */
static const char *const smuggled[] = {
	"POST /v1/me HTTP/1.1\r\n" HEAD "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"POST /v1/me HTTP/1.1\r\n" HEAD "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
	"GET /v1/me HTTP/1.1\r\nHost: other\r\n" HEAD "\r\n",
	"GET /v1/me HTTP/1.1\r\nAuthorization: Bearer good\r\n\r\n",
	"GET /v1/me HTTP/1.1\nHost: h\nAuthorization: Bearer good\n\n",
	"GET /v1/me HTTP/1.1\r\nX-A: b\n" HEAD "\r\n",
	"GET /v1/me HTTP/1.1\r\n" HEAD "X-A : b\r\n\r\n",
	"GET /v1/me HTTP/1.1\r\n" HEAD "X-A: b\r\n folded\r\n\r\n",
	"POST /v1/me HTTP/1.1\r\n" HEAD "Content-Length: -1\r\n\r\n",
	"POST /v1/me HTTP/1.1\r\n" HEAD "Content-Length: 1x\r\n\r\n{}",
	"POST /v1/me HTTP/1.1\r\n" HEAD "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
	"POST /v1/me HTTP/1.0\r\n" HEAD "Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n",
	/* where a chunk ends */
	CHUNKED "2\n{}\r\n0\r\n\r\n",
	CHUNKED "2\r\n{}\n0\r\n\r\n",
	CHUNKED "2\r\n{}\r\n0\n\r\n",
	CHUNKED "2\r\n{}\r\n0\r\n\n",
	CHUNKED "0x2\r\n{}\r\n0\r\n\r\n",
	CHUNKED "-2\r\n{}\r\n0\r\n\r\n",
	CHUNKED "2 \r\n{}\r\n0\r\n\r\n",
	CHUNKED " 2\r\n{}\r\n0\r\n\r\n",
	CHUNKED ";\r\n{}\r\n0\r\n\r\n",
	CHUNKED "2;a\rb\r\n{}\r\n0\r\n\r\n",
	CHUNKED "2;a\nb\r\n{}\r\n0\r\n\r\n",
	CHUNKED "000000002\r\n{}\r\n0\r\n\r\n",
	CHUNKED "FFFFFFFFFFFFFFFF2\r\n{}\r\n0\r\n\r\n",
	CHUNKED "2\r\n{}0\r\n\r\n",
	CHUNKED "2\r\n{}xx0\r\n\r\n",
	CHUNKED "2\r\n{}\r\n0\r\nContent-Length: 5\r\n\r\n",
	"GET http:///v1/me HTTP/1.1\r\n" HEAD "\r\n",
	"GET http://h/v1/me HTTP/1.1\r\nAuthorization: Bearer good\r\n\r\n",
	/* what is no HTTP/1.1 at all */
	"GET /v1/me HTTP/1.x\r\n" HEAD "\r\n",
	"GET /v1/me HTTP/2.0\r\n" HEAD "\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"GET /v1/me\r\n" HEAD "\r\n",
	"G<T /v1/me HTTP/1.1\r\n" HEAD "\r\n",
	"GET /v1/\x01 HTTP/1.1\r\n" HEAD "\r\n",
	"GET /v1/me HTTP/1.1\r\nX-A: a\rb\r\n" HEAD "\r\n",
	"GET /v1/me HTTP/1.1\r\n: b\r\n" HEAD "\r\n",
	"hello\r\n",
	"\x16\x03\x01\x02", /* a TLS record begins so */
	"GET /v1/me HTTP/1.1\r\n" HEAD FIELDS_100 "\r\n",
};
static const char good[] = "GET /v1/me HTTP/1.1\r\n" HEAD "\r\n";

static void assert_malformed(const char *answer)
{
	ck_assert_msg(strncmp(answer, "HTTP/1.1 400 ", 13) == 0, "not 400:\n%.2000s", answer);
	expect(answer, "\r\nConnection: close\r\n");
	expect(answer, "\r\ncontent-type: application/problem+json\r\n");
	expect(answer, "\r\nx-request-id: ");
	expect(answer, "urn:keyfob:problem:malformed-request");
}

/* All of `before` are answered, then comes the refusal, and then nothing. */
static void ask_pipelined(size_t before, const char *bad)
{
	struct text all = { 0 };
	size_t answered = 0;

	for (size_t i = 0; i < before; i++)
		text_add(&all, good);
	text_add(&all, bad);
	text_add(&all, good);
	const char *answer = ask(all.data), *refused = strstr(answer, "HTTP/1.1 400 ");
	ck_assert_msg(refused != NULL, "not refused behind %zu: %.200s", before, bad);
	assert_malformed(refused);
	for (const char *at = answer; (at = strstr(at, "HTTP/1.1 200 ")) != NULL; at++, answered++)
		ck_assert(at < refused);
	ck_assert_uint_eq(answered, before);
	text_free(&all);
}

START_TEST(refuses_what_two_readers_read_differently)
{
	const char *bad = smuggled[_i];
	char piece[4096];

	assert_malformed(ask(bad));

	ask_pipelined(1, bad);
	ask_pipelined(99, bad);

	int fd = dial();
	say(fd, good);
	ck_assert_int_gt(wire_recv(fd, piece, sizeof(piece)), 0);
	say(fd, bad);
	assert_malformed(hear(fd));
}
END_TEST

/* Whatever becomes of a byte, no answer is h2o's own. */
START_TEST(answers_any_head_with_its_own_words)
{
	unsigned seed = 20260131;

	for (int i = 0; i < 300; i++) {
		struct text head = { 0 };
		text_add(&head, good);
		for (int k = rand_r(&seed) % 3; k >= 0; k--)
			head.data[(size_t)rand_r(&seed) % head.len] = (char)rand_r(&seed);
		text_add(&head, "\r\n\r\n"); /* whatever it was, it has an end */
		int fd = dial();
		wire_send(fd, head.data, head.len);
		const char *answer = hear(fd);
		ck_assert_msg(strncmp(answer, "HTTP/1.1 ", 9) == 0, "round %d: %.200s", i, answer);
		ck_assert_msg(strstr(answer, "text/plain") == NULL, "round %d: %.2000s", i, answer);
		text_free(&head);
	}
}
END_TEST

/* As a proxy is asked; an own node is asked so by who takes it for one. */
START_TEST(takes_targets_in_absolute_form)
{
	ask_expect("GET http://other.example/v1/me HTTP/1.1\r\n" LAST, "200", "API_ME");
	ask_expect("GET HTTPS://h:8443/v1/vehicles/C/commands?limit=5 HTTP/1.1\r\n" LAST, "200",
		"link: </v1/vehicles/C/commands?cursor=NEXT&limit=5>; rel=\"next\"");
	put_file("index.html", "<p>console");
	ask_expect("GET http://h HTTP/1.1\r\n" LAST, "200", "console");
	ask_expect("GET http://h?a=b HTTP/1.1\r\n" LAST, "200", "console");
	ask_expect("GET ftp://h/v1/me HTTP/1.1\r\n" LAST, "404", "not-found");
	int fd = dial();
	say(fd, "POST http://h/v1/vehicles/C/commands HTTP/1.1\r\nContent-Type: application/json\r\n"
		"Content-Length: 2\r\n" HEAD "\r\n{}GET http://h/v1/me HTTP/1.1\r\n" LAST);
	expect(hear_until(fd, "\"API_ME\""), "\"API_COMMAND_SEND\"");
}
END_TEST

/* A head in pieces behind a body in pieces, and what follows in the same piece. */
START_TEST(hears_requests_in_any_pieces)
{
	static const char two[] = "POST /v1/vehicles/C/commands HTTP/1.1\r\nContent-Type: application/json\r\n"
				  "Transfer-Encoding: chunked\r\n" HEAD "\r\n2\r\n{}\r\n0\r\n\r\n"
				  "GET /v1/me HTTP/1.1\r\n" LAST;

	for (size_t size = 1; size < sizeof(two); size += size < 8 ? 1 : 29) {
		int fd = dial();
		for (size_t at = 0; at < sizeof(two) - 1; at += size) {
			size_t left = sizeof(two) - 1 - at;
			ck_assert_int_gt(wire_send(fd, two + at, left < size ? left : size), 0);
		}
		const char *answer = hear(fd);
		expect(answer, "\"API_COMMAND_SEND\"");
		expect(answer, "\"API_ME\"");
	}
}
END_TEST

START_TEST(sends_upgrades_to_the_websocket_room)
{
	static const char upgrade[] =
		"GET /v1/ws HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
	int fd = dial();

	ck_assert_str_eq(ask(upgrade), "WEBSOCKET");
	for (const char *at = upgrade; *at; at++)
		ck_assert_int_eq(wire_send(fd, at, 1), 1);
	ck_assert_str_eq(hear(fd), "WEBSOCKET");
	ck_assert_str_eq(ask("GET https://h/v1/ws HTTP/1.1\r\nUpgrade: foo, websocket\r\n" LAST), "WEBSOCKET");
	ck_assert_str_eq(ask("GET /v1/ws?a=b HTTP/1.1\r\nUpgrade: websocket\r\n" LAST), "WEBSOCKET");
	ask_expect("GET /v1/ws HTTP/1.1\r\n" LAST, "426", "\r\nupgrade: websocket\r\n");
	ask_expect("GET /v1/ws HTTP/1.1\r\nUpgrade: h2c\r\n" LAST, "426", "urn:keyfob:problem:upgrade-required");
	ask_expect("GET /v1/ws HTTP/1.0\r\nUpgrade: websocket\r\n" LAST, "426", "upgrade-required");
	ask_expect("GET /v1/ws HTTP/1.1\r\nUpgrade: websocket\r\nContent-Length: 0\r\n" LAST, "426", "without a body");
	ask_expect("POST /v1/ws HTTP/1.1\r\n" LAST, "405", "allow: GET\r\n");
	ask_expect("GET /v1/wsx HTTP/1.1\r\n" LAST, "404", "not-found");
	ask_expect("GET /v1/ws HTTP/1.1\nHost: h\nUpgrade: websocket\nSec-WebSocket-Key: x\n\n", "400", "bare LF");
}
END_TEST

START_TEST(has_so_much_room_for_an_address)
{
	int fds[PER_ADDRESS];
	char piece[4096];

	for (size_t i = 0; i < PER_ADDRESS; i++) {
		fds[i] = dial();
		say(fds[i], good);
		ck_assert_int_gt(wire_recv(fds[i], piece, sizeof(piece)), 0);
	}
	if (client)
		ck_assert_int_eq(dial(), -1); /* before a handshake, which costs more than an answer is worth */
	else
		expect(hear(dial()), "HTTP/1.1 503 ");
	wire_end(fds[0]); /* the node sees it and closes, and then there is room again */
	hear(fds[0]);
	while (guests_count() == PER_ADDRESS)
		uv_sleep(1);
	ask_expect("GET /v1/me HTTP/1.1\r\n" LAST, "200", "API_ME");
	for (size_t i = 1; i < PER_ADDRESS; i++)
		wire_close(fds[i]);
	while (guests_count() > 0)
		uv_sleep(1);
}
END_TEST

static const char me[] = "GET /v1/me HTTP/1.1\r\n" LAST;

START_TEST(limits_a_subject)
{
	config.limits.per_subject = 1; /* two at once */
	ask_expect(me, "200", "ratelimit-policy: \"subject\";q=2;w=2\r\nratelimit: \"subject\";r=1;t=1\r\n");
	ask_expect(me, "200", "ratelimit: \"subject\";r=0;t=2\r\n");
	ask_expect(me, "429", "urn:keyfob:problem:rate-limited");
	ask_expect(me, "429", "retry-after: 1\r\n");
	ask_expect("GET /v1/vehicles/CAR1/events HTTP/1.1\r\nAccept: text/event-stream\r\n" LAST, "429",
		"\"retriable\":true");
	ask_expect("GET /v1/me HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "401", "unauthenticated");
}
END_TEST

/* Also who does not say who they are: tokens cannot be guessed faster. The console's files count, too. */
START_TEST(limits_an_address)
{
	put_file("index.html", "<p>console");
	config.limits.per_address = 1;
	ask_expect("GET /v1/me HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "401", "unauthenticated");
	ask_expect(me, "200", "\r\nratelimit: \"address\";r=0;t=2\r\n");
	ask_expect(me, "429", "ratelimit-policy: \"address\";q=2;w=2\r\n");
	ask_expect("GET /v1/me HTTP/1.1\r\nX-Forwarded-For: 192.0.2.9\r\n" LAST, "429", "rate-limited");
	ask_expect("GET / HTTP/1.1\r\n" LAST, "429", "rate-limited");
}
END_TEST

/* Whoever answers in the end. */
START_TEST(says_what_is_left_with_files_too)
{
#define FROM "X-Forwarded-For: 198.51.100.7\r\n"
	put_file("index.html", "<p>console");
	trusted_network = "127.0.0.0/8";
	config.limits.per_address = 2;
	ask_expect("GET / HTTP/1.1\r\n" FROM LAST, "200", "\r\nratelimit: \"address\";r=3;t=");
	ask_expect("GET /config.json HTTP/1.1\r\n" FROM LAST, "200", "\r\nratelimit: \"address\";r=2;t=");
	ask_expect("GET /none.js HTTP/1.1\r\n" FROM LAST, "404", "\r\nratelimit: \"address\";r=1;t=");
}
END_TEST

/* Guesses at its secret spend from the address's bucket, and so do those to come once it is empty; who knows it does not. */
START_TEST(limits_who_guesses_a_hooks_secret)
{
#define CALL_BACK(secret)                                                                                              \
	"POST /v1/hooks/sms/texts/" secret "?id=1&status=ok HTTP/1.1\r\nX-Forwarded-For: 198.51.100.3\r\n" LAST
	static const char wrong[] = CALL_BACK("0123456789abcdeF"), right[] = CALL_BACK("0123456789abcdef");

	trusted_network = "127.0.0.0/8";
	config.limits.per_address = 0.5; /* one */
	for (int i = 0; i < 5; i++)
		ask_expect(right, "204", "");
	ask_expect(wrong, "404", "problem:not-found");
	ask_expect(wrong, "429", "rate-limited");
	ask_expect(right, "429", "retry-after: ");
}
END_TEST

START_TEST(believes_a_trusted_proxy)
{
	static const char of_one[] = "GET /v1/me HTTP/1.1\r\nX-Forwarded-For: 6.6.6.6\r\n"
				     "X-Forwarded-For: 198.51.100.1, 127.0.0.9\r\n" LAST;

	trusted_network = "127.0.0.0/8";
	config.limits.per_address = 0.5;
	ask_expect(of_one, "200", "API_ME");
	ask_expect(of_one, "429", "rate-limited");
	ask_expect("GET /v1/me HTTP/1.1\r\nX-Forwarded-For: 198.51.100.2\r\n" LAST, "200", "API_ME");
}
END_TEST

START_TEST(frames_event_streams)
{
	const char *answer = ask("GET /v1/vehicles/CAR1/events HTTP/1.1\r\nAccept: text/event-stream\r\n"
				 "Last-Event-ID: e1:5\r\n" LAST);

	expect(answer, "content-type: text/event-stream");
	expect(answer, "event: snapshot\nid: e1:5\ndata: "
		       "{\"vehicle\":{},\"epoch\":\"e1\",\"seq\":7,\"recovered\":true}\n\n");
	expect(answer, "event: command.updated\nid: e1:8\ndata: {\"vehicle_id\":\"CAR1\",\"seq\":8,"
		       "\"type\":\"command.updated\",\"time\":\"2026-01-31T08:09:10.123456Z\",\"data\":{\"a\":1}}\n\n");
	expect(answer, "id: e1:9\n");
	answer = ask("GET /v1/vehicles/CAR1/events?after=5 HTTP/1.1\r\nAccept: text/event-stream\r\n" LAST);
	expect(answer, "id: e1:7\ndata: {\"vehicle\":{},\"epoch\":\"e1\",\"seq\":7,\"recovered\":false}");
	ask_expect("GET /v1/vehicles/a%2fb/events HTTP/1.1\r\nAccept: text/event-stream\r\n" LAST, "404",
		"vehicle-not-found");
}
END_TEST

/* Thirty seconds after its end, as a WebSocket; who came with it in that time is not sent away at once. */
START_TEST(ends_a_stream_with_its_token)
{
	uint64_t began_ns = uv_hrtime();
	const char *answer = ask("GET /v1/vehicles/QUIET/events HTTP/1.1\r\nAccept: text/event-stream\r\n"
				 "Host: h\r\nAuthorization: Bearer late\r\nConnection: close\r\n\r\n");

	expect(answer, "event: snapshot\n");
	ck_assert_uint_ge((uv_hrtime() - began_ns) / 1000000, 950);
}
END_TEST

/* Whoever reads it drop by drop is no other: what is not taken in time is not held for him. */
START_TEST(cuts_an_answer_that_is_not_taken)
{
	static char piece[65536];
	int fd = dial();

	say(fd, "GET /v1/vehicles/HUGE HTTP/1.1\r\n" LAST);
	for (int i = 0; i < 60; i++) {
		ck_assert_int_gt(wire_recv(fd, piece, 64), 0);
		uv_sleep(100);
	}
	size_t len = 0;
	for (ssize_t n; (n = wire_recv(fd, piece, sizeof(piece))) > 0;)
		len += (size_t)n;
	ck_assert_uint_lt(len, HUGE_BYTES / 2);
	wire_close(fd);
	fd = dial();
	say(fd, "GET /v1/vehicles/HUGE HTTP/1.1\r\n" LAST);
	for (len = 0; len < HUGE_BYTES;) {
		ssize_t n = wire_recv(fd, piece, sizeof(piece));
		ck_assert_int_gt(n, 0);
		len += (size_t)n;
	}
	wire_close(fd);
}
END_TEST

START_TEST(cuts_a_stream_that_is_not_read)
{
	int fd = dial();

	unsubscribed = false;
	say(fd, "GET /v1/vehicles/FLOOD/events HTTP/1.1\r\nAccept: text/event-stream\r\n" LAST);
	while (!unsubscribed)
		uv_sleep(1);
	ck_assert_uint_lt(strlen(hear(fd)), (size_t)FLOOD_EVENTS * FLOOD_BYTES);
}
END_TEST

/* A replay that is longer than a stream may be behind is cut; each resume brings some of it. */
START_TEST(gets_on_with_a_long_replay)
{
	long long seen = 0;

	for (int tries = 0; seen < REPLAY_LAST; tries++) {
		char request[256], last[32];
		ck_assert_msg(tries < REPLAY_LAST, "nothing after %lld", seen);
		snprintf(request, sizeof(request),
			"GET /v1/vehicles/REPLAY/events HTTP/1.1\r\nAccept: text/event-stream\r\n"
			"Last-Event-ID: e1:%lld\r\n" LAST,
			seen);
		int fd = dial();
		say(fd, request);
		const char *answer = hear_until(fd, "id: e1:40\n");
		for (long long next = seen + 1;; next++, seen++) {
			snprintf(last, sizeof(last), "id: e1:%lld\n", next);
			if (!strstr(answer, last))
				break;
		}
	}
}
END_TEST

START_TEST(lets_listed_origins_in)
{
	ask_expect(
		"OPTIONS /v1/me HTTP/1.1\r\nOrigin: https://app.example\r\nAccess-Control-Request-Method: GET\r\n" LAST,
		"204", "access-control-allow-origin: https://app.example");
	ask_expect("OPTIONS /v1/me HTTP/1.1\r\nOrigin: https://evil.example\r\nAccess-Control-Request-Method: "
		   "GET\r\n" LAST,
		"405", "vary: Origin");
	ck_assert_ptr_null(strstr(ask("GET /v1/me HTTP/1.1\r\nOrigin: https://evil.example\r\n" LAST), "allow-origin"));
}
END_TEST

/* Its own answers, h2o's refusals and files alike. */
START_TEST(tells_browsers_what_they_must_not_do)
{
	static const char *const requests[] = { "GET /v1/me HTTP/1.1\r\n" LAST, "GET /v1/none HTTP/1.1\r\n" LAST,
		"GET /v1/me HTTP/1.1\r\nHost: two\r\n" LAST,
		"GET /v1/vehicles/CAR1/events HTTP/1.1\r\n"
		"Accept: text/event-stream\r\n" LAST,
		"GET /page.html HTTP/1.1\r\n" LAST, "GET /config.json HTTP/1.1\r\n" LAST,
		"GET /none HTTP/1.1\r\n" LAST };

	put_file("page.html", "<p>page");
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		const char *answer = ask(requests[i]);
		expect(answer, "\r\nx-content-type-options: nosniff\r\n");
		expect(answer, "\r\nreferrer-policy: no-referrer\r\n");
		expect(answer, "\r\nx-frame-options: DENY\r\n");
		expect(answer, i < 4 ? "\r\ncontent-security-policy: default-src 'none'; frame-ancestors 'none'\r\n"
				     : "\r\ncontent-security-policy: default-src 'none'; script-src 'self'; ");
		ck_assert_ptr_null(strstr(answer, "unsafe-"));
		const char *stay = strstr(answer, "\r\nstrict-transport-security: max-age=31536000\r\n");
		ck_assert_int_eq(stay != NULL, client != NULL);
	}
}
END_TEST

START_TEST(serves_the_console)
{
	static const char *const ways_out[] = { "/../../etc/passwd", "/..%2f..%2fetc%2fpasswd",
		"/%2e%2e/%2e%2e/etc/passwd", "/assets/../../../etc/passwd", "/assets/..%2F..%2F..%2Fetc/passwd",
		"//etc/passwd", "/./../etc/passwd" };

	put_file("index.html", "<p>console");
	put_file("app.js", "go()");
	ask_expect("GET / HTTP/1.1\r\n" LAST, "200", "content-type: text/html");
	const char *script = ask("GET /app.js HTTP/1.1\r\n" LAST);
	expect(script, "javascript");
	expect(script, "cache-control: no-cache");
	expect(script, "x-request-id: ");
	ask_expect("POST /app.js HTTP/1.1\r\nContent-Length: 0\r\n" LAST, "405", "problem:method-not-allowed");
	ask_expect("GET /nothing.js HTTP/1.1\r\n" LAST, "404", "problem:not-found");
	for (size_t i = 0; i < sizeof(ways_out) / sizeof(ways_out[0]); i++) {
		char request[160];
		snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\n" LAST, ways_out[i]);
		ask_expect(request, "404", "problem:not-found");
	}
	ask_expect("GET / HTTP/1.1\r\nHost: other\r\n" LAST, "400", "two Hosts");
}
END_TEST

START_TEST(answers_the_consoles_own_paths_with_its_page)
{
	static const char *const pages[] = { "/fleet", "/live", "/access", "/vehicles/WKF.1:a_b-c",
		"/vehicles/A/audit" };
	static const char *const others[] = { "/fleets", "/none", "/livelihood/x", "/v1", "/v1/fleet",
		"/v1/vehicles/A/b" };
	char request[128];

	put_file("index.html", "<p>console");
	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\n" LAST, pages[i]);
		const char *answer = ask(request);
		expect(answer, "HTTP/1.1 200 ");
		expect(answer, "content-type: text/html");
		expect(answer, "cache-control: no-cache");
		expect(answer, "<p>console");
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\n" LAST, others[i]);
		ask_expect(request, "404", "problem:not-found");
	}
	ask_expect("POST /live HTTP/1.1\r\nContent-Length: 0\r\n" LAST, "405", "problem:method-not-allowed");
}
END_TEST

START_TEST(keeps_what_is_hashed_and_sends_it_compressed)
{
	put_file("assets/app-1.js", "plain()");
	put_file("assets/app-1.js.gz", "gz");
	put_file("assets/app-1.js.br", "br");
	const char *plain = ask("GET /assets/app-1.js HTTP/1.1\r\n" LAST);
	expect(plain, "plain()");
	expect(plain, "cache-control: public, max-age=31536000, immutable\r\n");
	expect(plain, "vary: accept-encoding\r\n");
	const char *br = ask("GET /assets/app-1.js HTTP/1.1\r\nAccept-Encoding: gzip, br\r\n" LAST);
	expect(br, "content-encoding: br\r\n");
	expect(br, "javascript");
	expect(br, "\r\n\r\nbr");
	ask_expect("GET /assets/app-1.js HTTP/1.1\r\nAccept-Encoding: gzip\r\n" LAST, "200", "content-encoding: gzip");
	const char *missing = ask("GET /assets/app-0.js HTTP/1.1\r\n" LAST);
	expect(missing, "HTTP/1.1 404 ");
	expect(missing, "cache-control: no-cache\r\n");
}
END_TEST

START_TEST(tells_the_console_where_it_is)
{
	put_file("config.json", "{\"api\":\"https://elsewhere.example\"}");
	const char *answer = ask("GET /config.json HTTP/1.1\r\n" LAST);
	expect(answer, "content-type: application/json\r\n");
	expect(answer, "cache-control: no-store\r\n");
	expect(answer, "; connect-src 'self' https://idp.example https://tokens.example\r\n");
	expect(answer,
		"\r\n\r\n{\"api\":\"\",\"issuer\":\"https://idp.example/realms/cars\",\"client_id\":\"console\","
		"\"scope\":\"openid\",\"parameters\":{\"resource\":\"https://keyfob.example\"},\"development\":false}");
}
END_TEST

static void add_tests(Suite *suite, const char *name, void (*set_up)(void))
{
	TCase *tests = tcase_create(name);

	tcase_add_unchecked_fixture(tests, set_up, tear_down);
	tcase_add_checked_fixture(tests, without_limits, NULL);
	tcase_set_timeout(tests, 30);
	tcase_add_test(tests, finds_what_a_path_names);
	tcase_add_test(tests, takes_one_token);
	tcase_add_test(tests, waits_for_the_keys_of_a_token);
	tcase_add_test(tests, waits_so_long_for_keys);
	tcase_add_test(tests, reads_queries);
	tcase_add_test(tests, reads_bodies_and_headers);
	tcase_add_test(tests, reads_merge_patches);
	tcase_add_test(tests, carries_payloads);
	tcase_add_test(tests, an_answer_without_content_has_no_length);
	tcase_add_test(tests, refuses_too_large_heads);
	tcase_add_test(tests, refuses_too_large_bodies);
	tcase_add_test(tests, hears_a_slow_client_to_its_end);
	tcase_add_test(tests, takes_a_body_of_64_kib);
	tcase_add_loop_test(
		tests, refuses_what_two_readers_read_differently, 0, (int)(sizeof(smuggled) / sizeof(smuggled[0])));
	tcase_add_test(tests, answers_any_head_with_its_own_words);
	tcase_add_test(tests, takes_targets_in_absolute_form);
	tcase_add_test(tests, hears_requests_in_any_pieces);
	tcase_add_test(tests, sends_upgrades_to_the_websocket_room);
	tcase_add_test(tests, has_so_much_room_for_an_address);
	tcase_add_test(tests, limits_a_subject);
	tcase_add_test(tests, limits_an_address);
	tcase_add_test(tests, says_what_is_left_with_files_too);
	tcase_add_test(tests, limits_who_guesses_a_hooks_secret);
	tcase_add_test(tests, believes_a_trusted_proxy);
	tcase_add_test(tests, frames_event_streams);
	tcase_add_test(tests, ends_a_stream_with_its_token);
	tcase_add_test(tests, cuts_an_answer_that_is_not_taken);
	tcase_add_test(tests, cuts_a_stream_that_is_not_read);
	tcase_add_test(tests, gets_on_with_a_long_replay);
	tcase_add_test(tests, lets_listed_origins_in);
	tcase_add_test(tests, tells_browsers_what_they_must_not_do);
	tcase_add_test(tests, serves_the_console);
	tcase_add_test(tests, answers_the_consoles_own_paths_with_its_page);
	tcase_add_test(tests, keeps_what_is_hashed_and_sends_it_compressed);
	tcase_add_test(tests, tells_the_console_where_it_is);
	suite_add_tcase(suite, tests);
}

int main(void)
{
	Suite *suite = suite_create("http");

	add_tests(suite, "plain", set_up_plain);
	add_tests(suite, "tls", set_up_tls);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
