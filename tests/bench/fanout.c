/* fanout.c - bench-fanout: what an event costs for each app that it goes to, at the node and at nchan, by the same apps.
 *
 *   publisher is up ─ apps open and subscribe ─ idle ─ events … each seen by all its apps … ─ nothing is under way
 *
 * At 0 seconds it ends when all are idle, and says what each of them takes of the server's memory: one that nobody has used yet.
 * Each vehicle has so many apps, each with a WebSocket of its own. So many vehicles have an event under way at a time; a vehicle's next
 * leaves when all of its apps have seen the one before, so that no two are ever on the way to one app, and none can be saved a
 * write by the other. Every message is looked at: one that is missing, twice, or not seen at the end, ends the program.
 *
 * A node's events are state reports over MQTT, by the gateway's account, which may publish for any vehicle. nchan's are POSTed, on
 * one connection, as many bytes as a node's frames have. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/ids.h"
#include "base/list.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/mqtt/link.h"
#include "tests/bench/clock.h"
#include "tests/bench/http.h"
#include "tests/bench/process.h"
#include "tests/bench/samples.h"
#include "tests/bench/websocket.h"

#define OPENING_AT_ONCE 64
#define WARM_UP_PART 10
#define SETTLE_MS 1000
#define BACKLOG_MS 10000 /* how long the last ones may take */
#define PROCESSES_MAX 4
#define ACCOUNT "keyfob" /* the gateway's, at the broker */

struct vehicle {
	char id[72], path[96], topic[112];
	unsigned awaited; /* apps that have not seen its event yet; 0: none is under way */
};

struct app {
	struct websocket socket;
	struct vehicle *vehicle;
	int64_t seq;
};

static struct {
	struct loop *loop;
	const char *label; /* of what is reported */
	struct vehicle *vehicles;
	struct app *apps;
	unsigned vehicle_count, apps_each, app_count, at_once, opened, ready, under_way;
	int port;
	char *token; /* NULL: it is nchan */
	size_t message_size;
	void (*publish)(struct vehicle *, int64_t number);
	struct mqtt_link *link;
	struct connection poster;
	int64_t published, version;

	struct process processes[PROCESSES_MAX];
	unsigned process_count;
	int64_t cpu_us[PROCESSES_MAX], memory;
	int64_t length_us, count_us, end_us;
	bool counting;
	uint64_t deliveries, bytes;
	struct loop_timer phase;
} run;

static void open_next(void);
static void on_ready(struct app *app);
static void on_idle(struct loop_timer *timer);
static void begin_counting(void);
static void finish(void);
static void report(void);

/* Publishers. */

/* Every one changes something, whatever a run before has left: else it would be no event. */
static void report_state(struct vehicle *v, int64_t number)
{
	char payload[192];
	int len = snprintf(payload, sizeof(payload),
		"{\"version\":%lld,\"state\":{\"trip\":%lld,\"odometer_km\":%lld,\"battery_percent\":%lld,\"doors\":{"
		"\"driver\":\"%s\"}}}",
		(long long)(run.version + number), (long long)run.version, 1000000 + (long long)number,
		10 + (long long)number % 90, number / run.vehicle_count % 2 ? "open" : "closed");
	if (link_publish(run.link,
		    &(struct mqtt_publish){ .topic = v->topic, .payload = payload, .len = (size_t)len, .qos = 1 }) < 0)
		give_up("a report could not be published");
}

static void on_link_up(void *owner, struct mqtt_link *link, bool session_present)
{
	(void)owner, (void)link, (void)session_present;
	for (unsigned i = 0; i < OPENING_AT_ONCE; i++)
		open_next();
}

static void on_link_down(void *owner, struct mqtt_link *link, const char *reason)
{
	(void)owner, (void)link;
	give_up("the broker: %s", reason);
}

static void open_link(const char *url, const char *password_file)
{
	static struct mqtt_broker broker = { .username = ACCOUNT };
	static char client_id[64];

	if (!mqtt_url_parse(url, &broker))
		give_up("%s is no mqtt://HOST:PORT", url);
	snprintf(client_id, sizeof(client_id), ACCOUNT "-bench-%d", (int)getpid());
	broker.password = token_read(password_file);
	run.link = link_new(run.loop, &broker,
		&(struct mqtt_link_options){ .client_id = client_id, .on_up = on_link_up, .on_down = on_link_down });
	link_start(run.link);
	run.publish = report_state;
}

static void post_message(struct vehicle *v, int64_t number)
{
	struct text *out = &run.poster.out;
	char begin[64];
	int len = snprintf(begin, sizeof(begin), "{\"seq\":%lld,\"fill\":\"",
		(long long)(number / run.vehicle_count + 1)); /* vehicles take turns */

	text_addf(out, "POST /pub%s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %zu\r\n\r\n%s", v->path + 4,
		run.message_size, begin);
	for (size_t at = (size_t)len; at < run.message_size - 2; at++)
		text_add_bytes(out, "x", 1);
	text_add(out, "\"}");
}

static void on_poster_open(struct connection *c)
{
	(void)c;
	on_link_up(NULL, NULL, false);
}

static size_t on_posted(struct connection *c)
{
	size_t taken = 0, more;
	int status;
	const char *body;
	struct text rest = c->in;

	while ((more = http_answer(&rest, &status, &body)) > 0) {
		if (status != 201)
			give_up("a message was not taken: %d %s", status, body);
		rest.data += more;
		rest.len -= more;
		taken += more;
	}
	return taken;
}

static void open_poster(void)
{
	run.poster.on_open = on_poster_open;
	run.poster.on_bytes = on_posted;
	tcp_open(&run.poster, loop_uv(run.loop), run.port);
	run.publish = post_message;
}

/* In turns: a vehicle that is still awaited holds up those behind it. */
static void publish_next(void)
{
	while (run.under_way < run.at_once && clock_us() < run.end_us) {
		struct vehicle *v = &run.vehicles[run.published % run.vehicle_count];
		if (v->awaited > 0)
			break;
		v->awaited = run.apps_each;
		run.under_way++;
		run.publish(v, run.published++);
	}
	tcp_flush(&run.poster);
}

/* Apps. */

static const char *find(const char *text, size_t len, const char *wanted)
{
	const char *at = memmem(text, len, wanted, strlen(wanted));
	return at ? at + strlen(wanted) : NULL;
}

static void on_open(struct websocket *w)
{
	struct app *app = container_of(w, struct app, socket);
	char text[256];

	if (!run.token) {
		on_ready(app);
		return;
	}
	int len = snprintf(text, sizeof(text),
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vehicle.subscribe\",\"params\":{\"vehicle_id\":\"%s\"}}",
		app->vehicle->id);
	websocket_send(w, text, (size_t)len);
}

static void on_reply(struct app *app, const char *text, size_t len)
{
	const char *epoch = find(text, len, "\"epoch\":");
	const char *seq = epoch ? find(epoch, len - (size_t)(epoch - text), "\"seq\":") : NULL;

	if (seq)
		app->seq = strtoll(seq, NULL, 10);
	else
		give_up("the node answered: %.*s", (int)len, text);
	on_ready(app);
}

static void on_all_seen(struct vehicle *v)
{
	int64_t now = clock_us();

	(void)v;
	run.under_way--;
	if (!run.counting && now >= run.count_us)
		begin_counting();
	publish_next();
	if (run.under_way == 0)
		finish();
}

static void on_text(struct websocket *w, const char *text, size_t len)
{
	static const char event[] = "{\"jsonrpc\":\"2.0\",\"method\":\"event\"";
	struct app *app = container_of(w, struct app, socket);

	if (run.token && (len < sizeof(event) || memcmp(text, event, sizeof(event) - 1) != 0)) {
		on_reply(app, text, len);
		return;
	}
	const char *seq = find(text, len, "\"seq\":");
	if (!seq || strtoll(seq, NULL, 10) != app->seq + 1 || app->vehicle->awaited == 0)
		give_up("%s: after %lld came %.*s", app->vehicle->id, (long long)app->seq, (int)len, text);
	app->seq++;
	run.deliveries++;
	run.bytes += len;
	if (--app->vehicle->awaited == 0)
		on_all_seen(app->vehicle);
}

static void open_next(void)
{
	if (run.opened == run.app_count)
		return;
	struct app *app = &run.apps[run.opened];
	app->vehicle = &run.vehicles[run.opened++ % run.vehicle_count];
	app->socket = (struct websocket){ .token = run.token, .on_open = on_open, .on_text = on_text };
	if (!run.token)
		app->socket.path = app->vehicle->path;
	websocket_open(&app->socket, loop_uv(run.loop), run.port);
}

/* What the first ones made the server set up is not counted as theirs. */
static void on_ready(struct app *app)
{
	(void)app;
	if (++run.ready == OPENING_AT_ONCE)
		run.memory = process_memory(&run.processes[0]);
	if (run.ready < run.app_count) {
		open_next();
		return;
	}
	loop_timer_init(run.loop, &run.phase, on_idle);
	loop_timer_start(&run.phase, SETTLE_MS);
}

static void on_backlog(struct loop_timer *timer)
{
	(void)timer;
	give_up("%u vehicles' events were not seen by all", run.under_way);
}

static void on_idle(struct loop_timer *timer)
{
	int64_t now = clock_us();

	if (run.length_us == 0) {
		report_number(run.label,
			(double)(process_memory(&run.processes[0]) - run.memory) / (run.app_count - OPENING_AT_ONCE));
		exit(0);
	}
	run.count_us = now + run.length_us / WARM_UP_PART;
	run.end_us = run.count_us + run.length_us;
	loop_timer_init(run.loop, timer, on_backlog);
	loop_timer_start(timer, (run.end_us - now) / 1000 + BACKLOG_MS);
	publish_next();
}

static void begin_counting(void)
{
	run.counting = true;
	run.deliveries = run.bytes = 0;
	run.count_us = clock_us();
	for (unsigned i = 0; i < run.process_count; i++)
		run.cpu_us[i] = process_cpu_us(&run.processes[i]);
}

static void finish(void)
{
	for (unsigned i = 0; i < run.process_count; i++)
		run.cpu_us[i] = process_cpu_us(&run.processes[i]) - run.cpu_us[i];
	run.length_us = clock_us() - run.count_us;
	report();
	exit(0);
}

static void report(void)
{
	char name[96];

	for (unsigned i = 0; i < run.process_count; i++) {
		snprintf(name, sizeof(name), "%s_us_%s", run.label, run.processes[i].name);
		report_number(name, (double)run.cpu_us[i] / (double)run.deliveries);
	}
	snprintf(name, sizeof(name), "%s_per_s_%s", run.label, run.processes[0].name);
	report_number(name, (double)run.deliveries * 1e6 / (double)run.length_us);
	snprintf(name, sizeof(name), "%s_bytes_%s", run.label, run.processes[0].name);
	report_number(name, (double)run.bytes / (double)run.deliveries);
}

static void make_vehicles(const char *prefix)
{
	run.vehicles = memory_new(run.vehicle_count * sizeof(*run.vehicles));
	for (unsigned i = 0; i < run.vehicle_count; i++) {
		struct vehicle *v = &run.vehicles[i];
		snprintf(v->id, sizeof(v->id), "%s%05u", prefix, i + 1);
		snprintf(v->path, sizeof(v->path), "/sub/%s.%d", v->id, (int)getpid()); /* a channel keeps its last */
		snprintf(v->topic, sizeof(v->topic), "vehicles/%s/state/%02u", v->id,
			crc32_of(v->id, strlen(v->id)) % 32);
	}
	run.apps = memory_new(run.app_count * sizeof(*run.apps));
}

int main(int argc, char **argv)
{
	if (argc < 12 || argc > 11 + PROCESSES_MAX)
		arguments_check(argc, argv, 11,
			"LABEL PORT PREFIX VEHICLES APPS-EACH AT-ONCE SECONDS "
			"{TOKEN-FILE MQTT-URL PASSWORD-FILE | nchan BYTES -} NAME=PID…");
	run.label = argv[1];
	log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
	run.loop = loop_new();
	run.port = tcp_port(argv[2]);
	run.vehicle_count = (unsigned)argument_number(argv[4]);
	run.apps_each = (unsigned)argument_number(argv[5]);
	run.at_once = (unsigned)argument_number(argv[6]);
	run.length_us = (int64_t)(argument_number(argv[7]) * 1e6);
	for (int i = 11; i < argc; i++)
		run.processes[run.process_count++] = process_read(argv[i]);
	run.app_count = run.vehicle_count * run.apps_each;
	if (run.at_once == 0 || run.at_once > run.vehicle_count || run.app_count <= OPENING_AT_ONCE)
		give_up("there are not enough vehicles or apps");
	make_vehicles(argv[3]);
	run.version = (int64_t)time(NULL) * 1000000;
	if (strcmp(argv[8], "nchan") == 0) {
		run.message_size = (size_t)argument_number(argv[9]);
		open_poster();
	} else {
		run.token = token_read(argv[8]);
		open_link(argv[9], argv[10]);
	}
	loop_run(run.loop);
	return 1;
}
