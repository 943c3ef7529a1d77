/* journey.c - bench-journey: the whole way of a command, over WebSockets, from command.send to the event that shows its answer.
 *
 *   open ─ subscribe to every vehicle ─ send … seen … ─ end ─ nothing is sent any more ─ everything was seen
 *
 * Apps share the vehicles among them: each watches its own, and sends to them alone. At rate 0 so many commands are under way
 * all the time, the next leaving when the answer of one was seen, so that the rate is what the system yields; else commands
 * leave at their times (and not at all, which is counted, when every vehicle's answer is still awaited). Each goes to a vehicle that has answered. Every event is looked at: a hole in a vehicle's seq ends
 * the program, and so does a command whose answer is not seen when all is over. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/memory.h"
#include "tests/bench/clock.h"
#include "tests/bench/http.h"
#include "tests/bench/samples.h"
#include "tests/bench/websocket.h"

#define WARM_UP_PART 10
#define SUBSCRIBES_AT_ONCE 32
#define BACKLOG_S 10 /* how long the last answers may take */

struct vehicle {
	char id[72];
	long long seq;
	int64_t sent_us; /* 0: nothing is under way */
	struct app *app;
};

struct app {
	struct websocket socket;
	unsigned asked; /* the vehicle to subscribe to next: one of app_count is its own */
};

static struct {
	struct vehicle *vehicles;
	struct app *apps;
	unsigned vehicle_count, app_count, outstanding, subscribed, next;
	double rate;
	int64_t length_us, began_us, count_us, end_us;
	uint64_t due, sent, seen, events, counted;
	struct samples samples;
	uv_timer_t pace, backlog;
} run;

static void on_open(struct websocket *w);
static void subscribe_next(struct app *app);
static void on_text(struct websocket *w, const char *text, size_t len);
static void on_reply(struct app *app, const char *text, size_t len);
static void on_event(const char *text, size_t len);
static void begin(void);
static struct vehicle *next_free(void);
static void send_command(struct vehicle *v);
static void on_pace(uv_timer_t *timer);
static void on_seen(struct vehicle *v);
static void on_backlog(uv_timer_t *timer);

/* Opening. */

static void open_apps(int port, const char *token)
{
	run.apps = memory_new(run.app_count * sizeof(*run.apps));
	for (unsigned i = 0; i < run.vehicle_count; i++)
		run.vehicles[i].app = &run.apps[i % run.app_count];
	for (unsigned i = 0; i < run.app_count; i++) {
		struct app *app = &run.apps[i];
		app->asked = i;
		app->socket = (struct websocket){ .token = token, .on_open = on_open, .on_text = on_text };
		websocket_open(&app->socket, uv_default_loop(), port);
	}
}

/* The node bounds the calls of a socket that are under way. */
static void on_open(struct websocket *w)
{
	struct app *app = container_of(w, struct app, socket);
	for (unsigned i = 0; i < SUBSCRIBES_AT_ONCE; i++)
		subscribe_next(app);
}

static void subscribe_next(struct app *app)
{
	char text[256];
	unsigned number = app->asked;
	if (number >= run.vehicle_count)
		return;
	app->asked += run.app_count;
	int len = snprintf(text, sizeof(text),
		"{\"jsonrpc\":\"2.0\",\"id\":%u,\"method\":\"vehicle.subscribe\",\"params\":{\"vehicle_id\":\"%s\"}}",
		number, run.vehicles[number].id);
	websocket_send(&app->socket, text, (size_t)len);
}

/* Text is looked through for what is known to be there: the client shall not cost more than what it measures. */

static const char *find(const char *text, size_t len, const char *wanted)
{
	const char *at = memmem(text, len, wanted, strlen(wanted));
	return at ? at + strlen(wanted) : NULL;
}

static void on_text(struct websocket *w, const char *text, size_t len)
{
	static const char event[] = "{\"jsonrpc\":\"2.0\",\"method\":\"event\"";
	if (len > sizeof(event) && memcmp(text, event, sizeof(event) - 1) == 0)
		on_event(text, len);
	else
		on_reply(container_of(w, struct app, socket), text, len);
}

static void on_reply(struct app *app, const char *text, size_t len)
{
	if (find(text, len, "\"error\""))
		give_up("the node refused: %.*s", (int)len, text);
	if (run.subscribed == run.vehicle_count)
		return; /* a command was accepted */
	const char *id = find(text, len, "\"id\":"), *seq = find(text, len, "\"epoch\":");
	seq = seq ? find(seq, len - (size_t)(seq - text), "\"seq\":") : NULL;
	unsigned long number = id ? strtoul(id, NULL, 10) : run.vehicle_count;
	if (seq && number < run.vehicle_count)
		run.vehicles[number].seq = strtoll(seq, NULL, 10);
	else
		give_up("the node answered: %.*s", (int)len, text);
	subscribe_next(app);
	if (++run.subscribed == run.vehicle_count)
		begin();
}

/* Ids end with the vehicle's number, from 1 on. */
static struct vehicle *vehicle_of(const char *text, size_t len)
{
	const char *id = find(text, len, "\"vehicle_id\":\"");
	const char *end = id ? memchr(id, '"', len - (size_t)(id - text)) : NULL;
	unsigned long number = end && end - id > 5 ? strtoul(end - 5, NULL, 10) : 0;
	if (number < 1 || number > run.vehicle_count)
		give_up("an event of no vehicle: %.*s", (int)len, text);
	return &run.vehicles[number - 1];
}

static void on_event(const char *text, size_t len)
{
	struct vehicle *v = vehicle_of(text, len);
	const char *seq = find(text, len, "\"seq\":");

	if (!seq || strtoll(seq, NULL, 10) != ++v->seq)
		give_up("%s: after %lld came %.*s", v->id, v->seq - 1, (int)len, text);
	run.events++;
	if (find(text, len, "\"status\" : \"succeeded\"") || find(text, len, "\"status\":\"succeeded\""))
		on_seen(v);
}

/* Sending. */

static void begin(void)
{
	run.began_us = clock_us();
	run.count_us = run.began_us + run.length_us / WARM_UP_PART;
	run.end_us = run.began_us + run.length_us;
	for (unsigned i = 0; run.rate == 0 && i < run.outstanding; i++)
		send_command(next_free());
	for (unsigned i = 0; i < run.app_count; i++)
		tcp_flush(&run.apps[i].socket.connection);
	if (run.rate > 0)
		uv_timer_start(&run.pace, on_pace, 0, 1);
	uv_timer_start(&run.backlog, on_backlog, (uint64_t)(run.length_us / 1000 + BACKLOG_S * 1000), 0);
}

static void send_command(struct vehicle *v)
{
	char text[256];
	int len = snprintf(text, sizeof(text),
		"{\"jsonrpc\":\"2.0\",\"id\":%llu,\"method\":\"command.send\","
		"\"params\":{\"vehicle_id\":\"%s\",\"name\":\"trunk.open\",\"params\":{}}}",
		(unsigned long long)run.sent++, v->id);
	v->sent_us = clock_us();
	websocket_send(&v->app->socket, text, (size_t)len);
}

static void send_and_flush(struct vehicle *v)
{
	send_command(v);
	tcp_flush(&v->app->socket.connection);
}

/* Whose last answer is still awaited is passed over; NULL: every one's is, the system has fallen behind. */
static struct vehicle *next_free(void)
{
	for (unsigned tries = 0; tries < run.vehicle_count; tries++) {
		struct vehicle *v = &run.vehicles[run.next++ % run.vehicle_count];
		if (v->sent_us == 0)
			return v;
	}
	return NULL;
}

static void stop_if_over(int64_t now)
{
	if (now >= run.end_us && run.seen == run.sent)
		uv_stop(uv_default_loop());
}

static void on_pace(uv_timer_t *timer)
{
	int64_t now = clock_us();

	if (now >= run.end_us) {
		uv_timer_stop(timer);
		stop_if_over(now);
		return;
	}
	for (; run.began_us + (int64_t)((double)run.due / run.rate * 1e6) <= now; run.due++) {
		struct vehicle *v = next_free();
		if (v)
			send_and_flush(v);
	}
}

/* Ending. */

static void on_seen(struct vehicle *v)
{
	int64_t now = clock_us();

	if (v->sent_us == 0)
		give_up("%s: an answer to nothing", v->id);
	if (v->sent_us >= run.count_us)
		samples_add(&run.samples, now - v->sent_us);
	run.counted += now >= run.count_us && now < run.end_us;
	run.seen++;
	v->sent_us = 0;
	if (now < run.end_us && run.rate == 0)
		send_and_flush(next_free());
	else
		stop_if_over(now);
}

static void on_backlog(uv_timer_t *timer)
{
	(void)timer;
	if (run.seen < run.sent)
		give_up("a backlog: %llu sent, %llu answers seen", (unsigned long long)run.sent,
			(unsigned long long)run.seen);
	uv_stop(uv_default_loop());
}

static void report(void)
{
	char name[32];
	if (run.rate == 0)
		report_number("journeys", (double)run.seen);
	if (run.rate == 0)
		report_number("journeys_per_s", (double)run.counted * 1e6 / (double)(run.end_us - run.count_us));
	snprintf(name, sizeof(name), "journey_%.0f", run.rate);
	report_latency(name, &run.samples);
	snprintf(name, sizeof(name), "journey_%.0f_events", run.rate);
	report_number(name, (double)run.events / (double)run.seen);
	if (run.rate > 0) {
		snprintf(name, sizeof(name), "journey_%.0f_unsent", run.rate);
		report_number(name, run.due > run.sent ? (double)(run.due - run.sent) / (double)run.due : 0);
	}
}

int main(int argc, char **argv)
{
	arguments_check(argc, argv, 8, "PORT TOKEN-FILE PREFIX VEHICLES APPS OUTSTANDING RATE SECONDS");
	char *token = token_read(argv[2]);
	run.vehicle_count = (unsigned)argument_number(argv[4]);
	run.app_count = (unsigned)argument_number(argv[5]);
	run.outstanding = (unsigned)argument_number(argv[6]);
	run.rate = argument_number(argv[7]);
	if (run.app_count == 0 || run.vehicle_count < run.app_count || run.vehicle_count < run.outstanding)
		give_up("there are not enough vehicles");
	run.vehicles = memory_new(run.vehicle_count * sizeof(*run.vehicles));
	for (unsigned i = 0; i < run.vehicle_count; i++)
		snprintf(run.vehicles[i].id, sizeof(run.vehicles[i].id), "%s%05u", argv[3], i + 1);
	run.length_us = (int64_t)(argument_number(argv[8]) * 1e6);
	uv_timer_init(uv_default_loop(), &run.pace);
	uv_timer_init(uv_default_loop(), &run.backlog);
	open_apps(tcp_port(argv[1]), token);
	uv_run(uv_default_loop(), UV_RUN_DEFAULT);
	report();
	samples_free(&run.samples);
	free(run.vehicles);
	free(run.apps);
	free(token);
	return 0;
}
