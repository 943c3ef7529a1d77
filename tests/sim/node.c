/* node.c - keeps the nodes and turns their loops. */
#include "tests/sim/node.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/mqtt/link.h"
#include "gateway/api_internal.h"
#include "gateway/catalog.h"
#include "gateway/config.h"
#include "gateway/flows.h"
#include "gateway/siblings.h"
#include "tests/sim/app.h"
#include "tests/sim/broker.h"
#include "tests/sim/chance.h"
#include "tests/sim/database.h"
#include "tests/sim/world.h"

enum node_state { DOWN, UP, DRAINING };

struct node {
	size_t index;
	char name[32];
	unsigned life;
	enum node_state state;
	bool is_frozen, has_no_database, has_no_broker;
	bool says_database, says_broker; /* as of the last that it was told of its neighbours */
	int64_t stood_still_ms, clock_jump_us;
	struct loop *loop;
	struct api *api;
	struct flows *flows;
	struct loop_timer silence; /* the world's: lines that carry nothing are given up */
};

#define SILENT_MS 15000 /* keepalive and a half */

static struct {
	struct node nodes[NODES_MAX];
	size_t count;
	struct node *running;
	const struct config *config;
	const struct catalog *catalog;
	struct mqtt_broker broker;
	atomic_bool wake_enabled;
} all;

static void on_silence(struct loop_timer *timer);

/* What a run sets; everything else is the default. */
static const char *const CONFIG =
	"database: { url: \"%s\" }\n"
	"mqtt: { url: \"mqtt://127.0.0.1:1883\" }\n"
	"commands: { catalog: \"%s\" }\n"
	"auth:\n"
	"  issuers:\n"
	"    - { issuer: \"https://idp.example\", audience: keyfob, jwks_url: \"https://idp.example/keys\", "
	"scopes: [\"vehicles:read\", \"commands:write\", \"keyfob:admin\"] }\n"
	"limits: { per_subject: \"0\", per_vehicle: \"0\", per_address: \"0\", per_socket: \"0\" }\n"
	"detection: { refusals: 0, forged_answers: 0, commands: 0, subject_commands: 0, refused_connects: 0 }\n"
	"lifecycle: { verify_delay: 2s, return_delay: 5s }\n"
	"webhooks: { per_subject: 1000, retry_max: 1m, retry_for: 10m }\n"
	"wake: { providers: [smpp], min_interval: 10s, smpp: { url: \"smpp://keyfob@127.0.0.1:2775\" } }\n";

static void read_config(const char *url)
{
	char file[] = "/tmp/keyfob-sim-XXXXXX";
	struct config_error error = { 0 };
	int fd = mkstemp(file);
	FILE *out = fd < 0 ? NULL : fdopen(fd, "w");

	if (!out || fprintf(out, CONFIG, url, SOURCE_FOLDER "/tests/sim/catalog.yaml") < 0 || fclose(out) != 0) {
		perror(file);
		exit(2);
	}
	all.config = config_read(file, NULL, &error);
	if (all.config)
		all.catalog = catalog_read(all.config->commands.catalog, &error);
	remove(file);
	if (!all.catalog) {
		fprintf(stderr, "sim: %s\n", error.line);
		exit(2);
	}
}

void nodes_begin(size_t count, const char *url)
{
	read_config(url);
	all.count = count;
	atomic_store(&all.wake_enabled, true);
	mqtt_url_parse(all.config->mqtt.url, &all.broker);
	for (size_t i = 0; i < count; i++) {
		struct node *n = &all.nodes[i];
		n->index = i;
		snprintf(n->name, sizeof(n->name), "node-%zu", i);
		loop_timer_init(world_loop(), &n->silence, on_silence);
	}
}

struct node *node_at(size_t index)
{
	return &all.nodes[index];
}

size_t nodes_count(void)
{
	return all.count;
}

struct node *node_running(void)
{
	return all.running;
}

static bool is_turning(const struct node *n)
{
	return n->state != DOWN && !n->is_frozen;
}

int64_t nodes_next_ms(void)
{
	int64_t next_ms = INT64_MAX;

	for (size_t i = 0; i < all.count; i++) {
		int64_t ms = is_turning(&all.nodes[i]) ? loop_next_ms(all.nodes[i].loop) : INT64_MAX;
		next_ms = ms < next_ms ? ms : next_ms;
	}
	return next_ms;
}

void nodes_advance(int64_t ms)
{
	for (size_t i = 0; i < all.count; i++) {
		struct node *n = &all.nodes[i];
		if (n->state == DOWN)
			continue;
		if (n->is_frozen) {
			n->stood_still_ms += ms;
			continue;
		}
		all.running = n;
		if (n->stood_still_ms > 0)
			loop_stall(n->loop, n->stood_still_ms);
		n->stood_still_ms = 0;
		loop_advance(n->loop, ms);
		all.running = NULL;
	}
}

/* Asking. */

size_t node_index(const struct node *n)
{
	return n->index;
}

struct loop *node_loop(struct node *n)
{
	return n->loop;
}

struct api *node_api(struct node *n)
{
	return n->api;
}

bool node_is_up(const struct node *n)
{
	return n->state == UP;
}

bool node_is_frozen(const struct node *n)
{
	return n->is_frozen;
}

bool node_says_database(const struct node *n)
{
	return n->state == DOWN || n->says_database;
}

bool node_says_broker(const struct node *n)
{
	return n->state == DOWN || n->says_broker;
}

bool node_is_draining(const struct node *n)
{
	return n->state == DRAINING;
}

unsigned node_life(const struct node *n)
{
	return n->life;
}

bool node_is_cut_from_database(const struct node *n)
{
	return n->has_no_database;
}

bool node_is_cut_from_broker(const struct node *n)
{
	return n->has_no_broker;
}

/* Changing. */

static void on_fatal(void *owner)
{
	struct node *n = owner;
	world_fail("fatal", "%s gives up", n->name);
}

static void on_neighbour(void *owner)
{
	struct node *n = owner;

	if (!n->flows)
		return;
	n->says_database = flows_has_database(n->flows);
	n->says_broker = flows_has_broker(n->flows);
}

void node_start(struct node *n)
{
	assert(n->state == DOWN);
	n->state = UP;
	n->life++;
	n->is_frozen = false;
	n->stood_still_ms = 0;
	n->flows = NULL;
	n->says_database = n->says_broker = false;
	n->loop = loop_new_virtual(world_us() + n->clock_jump_us);
	n->api = memory_new(sizeof(*n->api));
	list_init(&n->api->waiting);
	n->api->loop = n->loop;
	n->api->config = all.config;
	n->api->catalog = all.catalog;
	world_note("%s starts", n->name);
	all.running = n;
	n->flows = flows_new(n->loop,
		&(struct flows_options){ .config = all.config,
			.broker = &all.broker,
			.node = n->name,
			.node_workers = 1,
			.siblings = siblings_new(),
			.keeps_house = true,
			.wake_enabled = &all.wake_enabled,
			.owner = n,
			.on_fatal = on_fatal,
			.on_neighbour = on_neighbour },
		n->api);
	flows_start(n->flows);
	all.running = NULL;
}

void node_crash(struct node *n)
{
	if (n->state == DOWN)
		return;
	world_note("%s crashes", n->name);
	n->state = DOWN;
	database_lose(n, true);
	broker_lose(n, true);
}

static void on_drained(void *owner)
{
	struct node *n = owner;
	world_note("%s has ended", n->name);
	n->state = DOWN;
}

void node_drain(struct node *n)
{
	if (n->state != UP || n->is_frozen)
		return;
	world_note("%s drains", n->name);
	n->state = DRAINING;
	n->api->draining = true;
	apps_leave(n);
	all.running = n;
	command_send_drain(n->api);
	flows_drain(n->flows, on_drained);
	all.running = NULL;
}

void node_freeze(struct node *n, bool yes)
{
	if (n->state == DOWN || n->is_frozen == yes)
		return;
	world_note("%s %s", n->name, yes ? "stands still" : "goes on");
	n->is_frozen = yes;
}

void node_cut_from_database(struct node *n, bool yes)
{
	if (n->has_no_database == yes)
		return;
	world_note("%s %s the database", n->name, yes ? "is cut from" : "reaches");
	n->has_no_database = yes;
	if (yes && n->state != DOWN)
		database_lose(n, false);
}

void node_cut_from_broker(struct node *n, bool yes)
{
	if (n->has_no_broker == yes)
		return;
	world_note("%s %s the broker", n->name, yes ? "is cut from" : "reaches");
	n->has_no_broker = yes;
	if (yes)
		loop_timer_start(&n->silence, SILENT_MS);
	else
		loop_timer_stop(&n->silence);
}

static void on_silence(struct loop_timer *timer)
{
	struct node *n = container_of(timer, struct node, silence);
	if (n->state != DOWN)
		broker_lose(n, false);
}

void node_jump_clock(struct node *n, int64_t us)
{
	world_note("%s: its clock jumps by %lld s", n->name, (long long)(us / 1000000));
	n->clock_jump_us += us;
	if (n->state != DOWN)
		loop_jump_wall_clock(n->loop, us);
}
