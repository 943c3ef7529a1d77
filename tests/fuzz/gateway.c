/* gateway.c - makes the front and turns its loop. */
#include "tests/fuzz/gateway.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/json.h"
#include "base/list.h"
#include "base/log.h"
#include "base/loop.h"
#include "commands/accept.h"
#include "commands/cancel.h"
#include "commands/dispatch.h"
#include "commands/ports.h"
#include "gateway/access/token.h"
#include "gateway/api_internal.h"
#include "gateway/catalog.h"
#include "gateway/cli/signing_key.h"
#include "gateway/config.h"
#include "gateway/door/door_internal.h"
#include "gateway/door/guests.h"
#include "gateway/http/http.h"
#include "gateway/operations/changes.h"
#include "gateway/operations/revocation.h"
#include "gateway/ws/ws.h"
#include "notifier/hub.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "tests/fuzz/input.h"

#define PEER "192.0.2.1"
#define IDLE_ROUNDS 8	     /* of the loop without a byte: it has nothing more to say */
#define GUARD_NS 5000000000u /* of our own work: a machine that is busy otherwise is no gateway that hangs */
#define FOR_EVER_S 4000000000LL

static const char catalogue[] = "commands:\n"
				"  doors.unlock:\n"
				"    title: Unlock\n"
				"    role: driver\n"
				"    ttl: 2m\n"
				"    timeout: 20s\n"
				"    params:\n"
				"      door: { type: string, enum: [all, driver], default: all }\n"
				"      note: { type: string, max_length: 20, pattern: '^[a-z]*$' }\n"
				"      degrees: { type: number, min: -10, max: 40 }\n"
				"      seats: { type: integer, min: 1, max: 9, required: true }\n"
				"      loud: { type: boolean }\n";

static struct gateway {
	struct loop *loop;
	struct config config; /* no limits */
	struct api api;
	struct door *door;
	struct http *http;
	struct ws *ws;
	char *token;
} * the_gateway;

static bool forward(void *owner, const char *worker, const char *text, size_t len)
{
	(void)owner, (void)worker, (void)text, (void)len;
	return false;
}

/* A key of its own, in the place of an issuer's. */
static void make_trust(struct gateway *g)
{
	char why[256];
	struct signing_key *key = signing_key_make("ES256");
	json_auto_t *set = signing_key_set(key);
	json_auto_t *claims = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "iss", "https://idp.example", "aud", "keyfob",
		"sub", "alice", "scope", "vehicles:read commands:write keyfob:admin", "exp", (json_int_t)FOR_EVER_S,
		"auth_time", (json_int_t)1);
	char *text = json_dumps(set, 0);

	g->token = signing_key_sign(key, claims);
	struct token_trust *trust = token_trust_new(&(struct token_issuer){ .issuer = "https://idp.example",
							    .audience = "keyfob",
							    .jwks_file = input_file(text, strlen(text)),
							    .scopes = SCOPES_ALL },
		1, why, sizeof(why));
	if (!g->token || !trust)
		abort();
	g->api.verifier = verifier_new(trust);
	free(text);
	signing_key_free(key);
}

static void make_catalogue(struct gateway *g)
{
	struct config_error error;

	g->api.catalog = catalog_read(input_file(catalogue, sizeof(catalogue) - 1), &error);
	if (!g->api.catalog)
		abort();
}

static bool can_publish(void *owner)
{
	(void)owner;
	return false;
}

static const struct command_ports ports = { .can_publish = can_publish };

/* A worker's flows, as far as operations reach them. Never started: the connections stay away. */
static void make_flows(struct gateway *g)
{
	struct api *api = &g->api;
	struct db_options options = { .url = "postgresql://127.0.0.1:1/none", .queue_max = 1000 };
	struct batch_stage *stages[CHANGES_STAGES + REVOCATION_STAGES + 4];
	size_t n = 0;

	api->writer = db_new(g->loop, &options);
	api->reader = db_new(g->loop, &options);
	struct dispatch *dispatch =
		dispatch_new(g->loop, &(struct dispatch_options){ .db = api->writer, .worker = "w1", .ports = &ports });
	api->accept = accept_new(g->loop, api->writer, dispatch, 100);
	api->cancel = cancel_new();
	api->changes = changes_new(false);
	api->hub = hub_new(
		g->loop, &(struct hub_options){
				 .worker = "w1", .writer = api->writer, .reader = api->reader, .forward = forward });
	api->revocation = revocation_new(g->loop, api->writer, api->reader, api->hub);
	stages[n++] = hub_interest_stage(api->hub);
	changes_stages(api->changes, &stages[n]);
	n += CHANGES_STAGES;
	revocation_stages(api->revocation, &stages[n]);
	n += REVOCATION_STAGES;
	stages[n++] = cancel_stage(api->cancel);
	stages[n++] = accept_stage(api->accept);
	stages[n++] = hub_tell_stage(api->hub);
	api->batch = batch_new(
		g->loop, api->writer, &(struct batch_options){ .items_max = 1000, .holder = "w1" }, stages, n);
	changes_attach(api->changes, api->batch);
	revocation_attach(api->revocation, api->batch);
	cancel_attach(api->cancel, api->batch);
	accept_attach(api->accept, api->batch);
	hub_attach(api->hub, api->batch);
}

static void on_http(void *owner, int fd, const char *peer)
{
	http_accept(((struct gateway *)owner)->http, fd, peer);
}

static void on_websocket(void *owner, int fd, const char *peer)
{
	ws_adopt(((struct gateway *)owner)->ws, fd, peer);
}

static void on_websocket_gone(void *owner, const char *peer)
{
	(void)owner;
	guests_leave(peer);
}

static void make_rooms(struct gateway *g)
{
	g->http = http_new(
		g->loop, &(struct http_options){ .api = &g->api, .max_queue = 65536, .on_closed = guests_leave });
	g->ws = ws_new(g->loop, &g->api,
		&(struct ws_options){ .max_message = 65536,
			.max_queue = 65536,
			.ping_interval_ms = 25000,
			.owner = g,
			.on_gone = on_websocket_gone });
	g->door = door_new(g->loop, &(struct door_options){ .counts = true,
					    .max_connections = 10,
					    .max_per_address = 10,
					    .owner = g,
					    .on_http = on_http,
					    .on_websocket = on_websocket });
	if (!g->ws)
		abort();
}

static struct gateway *gateway_get(void)
{
	if (the_gateway)
		return the_gateway;
	struct gateway *g = the_gateway = calloc(1, sizeof(*g));
	if (!g)
		abort();
	signal(SIGPIPE, SIG_IGN);
	log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
	g->loop = loop_new();
	g->config.namespace = "acme";
	g->api.loop = g->loop;
	g->api.config = &g->config;
	list_init(&g->api.waiting);
	make_trust(g);
	make_catalogue(g);
	make_flows(g);
	make_rooms(g);
	return g;
}

const char *gateway_token(void)
{
	return gateway_get()->token;
}

/* True when something came; *ret_ended when nothing more will. */
static bool read_some(int fd, bool *ret_ended)
{
	char heard[16384];
	ssize_t n = read(fd, heard, sizeof(heard));

	*ret_ended = n == 0 || (n < 0 && errno != EAGAIN);
	return n > 0;
}

/* Nanoseconds of the processor. */
static uint64_t spent(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void turn(struct gateway *g, uint64_t until)
{
	uv_run(loop_uv(g->loop), UV_RUN_NOWAIT);
	if (spent() < until)
		return;
	fprintf(stderr, "the gateway does not let go of a client that is gone\n");
	abort();
}

void gateway_visit(const char *bytes, size_t len)
{
	struct gateway *g = gateway_get();
	uint64_t until = spent() + GUARD_NS;
	bool ended = false;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0 ||
		!guests_enter(PEER, 10, 10))
		abort();
	visitor_begin(g->door, ends[0], PEER);
	for (int idle = 0; idle < IDLE_ROUNDS && !ended;) {
		ssize_t n = len ? send(ends[1], bytes, len, MSG_NOSIGNAL) : 0;
		bytes += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
		if (len == 0)
			shutdown(ends[1], SHUT_WR);
		turn(g, until);
		idle = read_some(ends[1], &ended) || n > 0 ? 0 : idle + 1;
	}
	close(ends[1]);
	while (guests_count() > 0)
		turn(g, until);
}
