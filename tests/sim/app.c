/* app.c - wishes, asks and watches.
 *
 *   wish ─ ask (a node, or none, or one that dies) ─┬─ promised ─ (taken back)
 *    ^                                              ├─ refused for good
 *    └──────── no answer, or "later" ───────────────┘ */
#include "tests/sim/app.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/rfc3339.h"
#include "gateway/api_internal.h"
#include "notifier/hub.h"
#include "tests/sim/access.h"
#include "tests/sim/chance.h"
#include "tests/sim/node.h"
#include "tests/sim/record.h"
#include "tests/sim/vehicle.h"
#include "tests/sim/world.h"

#define APPS_MAX 16
#define VEHICLES_MAX 32
#define PATIENCE_MS 8000
#define LOOK_MS 300

/* Where an app has come to in a vehicle's log. */
struct place {
	int64_t seq; /* -1: it has not begun */
	char epoch[64];
	struct watch *watch; /* NULL: it does not watch now */
	int64_t heard_us;    /* when it began or heard the last */
};

struct app {
	char name[32];
	struct caller caller;
	struct loop_timer next, look;
	struct place places[VEHICLES_MAX];
	bool watches[VEHICLES_MAX];
	unsigned wishes;
};

/* One subscription; stays behind with its node when that dies. */
struct watch {
	struct app *app;
	size_t vehicle;
	struct node *node;
	unsigned life;
	struct loop_timer begin; /* the node's */
	bool is_ready, is_over;
	int64_t begun_us, ready_us;
	struct hub_subscriber sub;
};

/* One command that an app wants. */
struct wish {
	struct list node;
	struct app *app;
	char key[40], vehicle_id[16], id[40];
	const char *name;
	int ttl_s, timeout_s, wait_s;
	bool wake, is_back; /* it is being taken back */
	unsigned tries;
	int64_t begun_us;
	struct ask *ask;	 /* NULL: nobody is asked now */
	struct loop_timer timer; /* the world's: patience, or the next try */
};

/* One call to one node. */
struct ask {
	struct wish *wish; /* NULL: the app has given it up */
	struct node *node;
	unsigned life;
	struct loop_timer begin;   /* the node's */
	struct loop_timer arrival; /* the world's: the answer */
	const struct fault *fault;
	char *body;
};

static struct app apps[APPS_MAX];
static size_t count;
static int64_t pace;
static bool is_calm;
static struct list wishes;

static void on_next(struct loop_timer *timer);
static void on_look(struct loop_timer *timer);
static void on_wish(struct loop_timer *timer);
static void on_ask(struct loop_timer *timer);
static void on_answer(struct api_call *call);
static void on_arrival(struct loop_timer *timer);
static void on_watch(struct loop_timer *timer);

void apps_begin(size_t n, int64_t pace_ms)
{
	count = n;
	pace = pace_ms;
	list_init(&wishes);
	for (size_t i = 0; i < n; i++) {
		struct app *a = &apps[i];
		snprintf(a->name, sizeof(a->name), "app-%zu", i);
		snprintf(a->caller.subject, sizeof(a->caller.subject), "%.15s", a->name);
		a->caller.scopes = i % 2 ? SCOPE_VEHICLES_READ | SCOPE_COMMANDS_WRITE : SCOPES_ALL;
		a->caller.expires_at_us = INT64_MAX;
		for (size_t v = 0; v < vehicles_count(); v++) {
			a->places[v].seq = -1;
			a->watches[v] = chance_of(600);
			if (i % 2)
				access_add(a->name, vehicle_id(v));
		}
		loop_timer_init(world_loop(), &a->next, on_next);
		loop_timer_init(world_loop(), &a->look, on_look);
		loop_timer_start(&a->next, 2000 + chance_below(2000));
		loop_timer_start(&a->look, 500 + chance_below(1000));
	}
}

void apps_calm(void)
{
	is_calm = true;
}

/* Any node that seems to be there: who is frozen, nobody can see. */
static struct node *some_node(void)
{
	size_t first = (size_t)chance_below((int64_t)nodes_count());

	for (size_t i = 0; i < nodes_count(); i++) {
		struct node *n = node_at((first + i) % nodes_count());
		if (node_is_up(n))
			return n;
	}
	return NULL;
}

/* Wishes. */

static void on_next(struct loop_timer *timer)
{
	static const char *const names[] = { "doors.unlock", "doors.lock", "lights.flash", "lights.flash",
		"climate.start", "engine.start" };
	struct app *a = container_of(timer, struct app, next);

	if (is_calm)
		return;
	loop_timer_start(timer, world_slow(chance_between(pace / 4, 2 * pace)));
	for (int64_t burst = chance_of(100) ? chance_between(2, 6) : 1; burst > 0; burst--) {
		struct wish *w = memory_new(sizeof(*w));
		w->app = a;
		w->begun_us = world_us();
		snprintf(w->key, sizeof(w->key), "%s-%u", a->name, ++a->wishes);
		snprintf(w->vehicle_id, sizeof(w->vehicle_id), "%s",
			vehicle_id((size_t)chance_below((int64_t)vehicles_count())));
		w->name = names[chance_below(sizeof(names) / sizeof(*names))];
		w->ttl_s = (int)chance_between(2, world_slow(chance_of(200) ? 60 : 30));
		w->timeout_s = (int)chance_between(2, 20);
		w->wait_s = chance_of(300) ? (int)chance_between(1, 5) : 0;
		w->wake = chance_of(700);
		loop_timer_init(world_loop(), &w->timer, on_wish);
		loop_timer_start(&w->timer, 0);
		list_append(&wishes, &w->node);
	}
}

static void end_wish(struct wish *w)
{
	loop_timer_stop(&w->timer);
	list_remove(&w->node);
	free(w);
}

static void again(struct wish *w)
{
	if (w->ask)
		w->ask->wish = NULL;
	w->ask = NULL;
	loop_timer_start(&w->timer, chance_between(100, 2000));
}

/* Its patience is over, or it is time to ask. */
static void on_wish(struct loop_timer *timer)
{
	struct wish *w = container_of(timer, struct wish, timer);
	struct node *n = some_node();

	if (w->ask || !n) {
		again(w);
		return;
	}
	struct ask *k = w->ask = memory_new(sizeof(*k));
	w->tries++;
	k->wish = w;
	k->node = n;
	k->life = node_life(n);
	loop_timer_init(node_loop(n), &k->begin, on_ask);
	loop_timer_init(world_loop(), &k->arrival, on_arrival);
	loop_timer_start(&k->begin, chance_delay_ms(20, 500));
	loop_timer_start(timer, PATIENCE_MS);
}

static json_t *params_of(const struct wish *w)
{
	if (w->is_back)
		return json_pack("{s:s, s:s}", "vehicle_id", w->vehicle_id, "id", w->id);
	json_t *params = json_pack("{s:s, s:s, s:i, s:i, s:b, s:s}", "vehicle_id", w->vehicle_id, "name", w->name,
		"ttl_seconds", w->ttl_s, "timeout_seconds", w->timeout_s, "wake", w->wake, "idempotency_key", w->key);
	if (w->wait_s > 0)
		json_object_set_new(params, "wait", json_integer(w->wait_s));
	return params;
}

static void on_ask(struct loop_timer *timer)
{
	struct ask *k = container_of(timer, struct ask, begin);
	struct wish *w = k->wish;

	if (!w || !node_is_up(k->node))
		return;
	api_call_start(api_call_new(node_api(k->node), w->is_back ? &API_COMMAND_CANCEL : &API_COMMAND_SEND,
		&w->app->caller, memory_need(params_of(w)), NULL, k, on_answer));
}

/* The answer leaves the node; it may get lost. */
static void on_answer(struct api_call *call)
{
	struct ask *k = call->transport;

	k->fault = call->fault;
	k->body = call->body ? memory_need(strdup(call->body)) : NULL;
	api_call_free(call);
	if (!chance_of(30))
		loop_timer_start(&k->arrival, chance_delay_ms(20, 500));
}

static bool is_for_later(const struct fault *f)
{
	return f->http >= 500 || f->http == 429;
}

static void on_promised(struct wish *w, const char *body)
{
	json_auto_t *command = json_loads(body, 0, NULL);

	snprintf(w->id, sizeof(w->id), "%s", json_text_at(command, "id"));
	record_promise(w->key, w->vehicle_id, w->id);
	access_saw_promise(w->app->name, w->vehicle_id, w->id);
	if (!chance_of(150)) {
		end_wish(w);
		return;
	}
	w->is_back = true;
	loop_timer_start(&w->timer, chance_between(0, 4000));
}

static void on_arrival(struct loop_timer *timer)
{
	struct ask *k = container_of(timer, struct ask, arrival);
	struct wish *w = k->wish;

	if (!w) {
		/* nobody waits any more */
	} else if (k->fault && is_for_later(k->fault)) {
		again(w);
	} else if (k->fault) {
		if (!w->is_back && access_was_given(w->app->name, w->vehicle_id, w->begun_us))
			world_fail("answer", "%s of %s is refused: %s", w->name, w->key, k->fault->name);
		end_wish(w);
	} else if (w->is_back) {
		record_canceled(w->id);
		end_wish(w);
	} else {
		w->ask = NULL;
		on_promised(w, k->body);
	}
	free(k->body);
	free(k);
}

/* Watches. */

static void close_watch(struct place *p, bool in_order)
{
	struct watch *w = p->watch;

	p->watch = NULL;
	w->is_over = true;
	if (!in_order || node_life(w->node) != w->life)
		return;
	loop_timer_stop(&w->begin);
	if (w->sub.hub)
		hub_unsubscribe(w->sub.hub, &w->sub);
}

static void open_watch(struct app *a, size_t vehicle)
{
	struct node *n = some_node();

	if (!n)
		return;
	struct watch *w = a->places[vehicle].watch = memory_new(sizeof(*w));
	w->app = a;
	w->vehicle = vehicle;
	w->node = n;
	w->life = node_life(n);
	w->begun_us = world_us();
	loop_timer_init(node_loop(n), &w->begin, on_watch);
	loop_timer_start(&w->begin, chance_delay_ms(20, 500));
}

static bool is_gone(const struct watch *w)
{
	return w->is_over || !node_is_up(w->node) || node_life(w->node) != w->life;
}

static void on_look(struct loop_timer *timer)
{
	struct app *a = container_of(timer, struct app, look);

	loop_timer_start(timer, world_slow(LOOK_MS));
	for (size_t v = 0; v < vehicles_count(); v++) {
		struct place *p = &a->places[v];
		if (!a->watches[v])
			continue;
		if (p->watch && is_gone(p->watch))
			p->watch = NULL;
		else if (p->watch && !is_calm && chance_of(10))
			close_watch(p, true);
		else if (!p->watch)
			open_watch(a, v);
	}
}

static struct place *place_of(const struct watch *w)
{
	return &w->app->places[w->vehicle];
}

static void on_ready(struct hub_subscriber *sub, const struct hub_snapshot *snapshot)
{
	struct watch *w = container_of(sub, struct watch, sub);
	struct place *p = place_of(w);

	if (p->seq >= 0 && !snapshot->recovered && access_was_given(w->app->name, vehicle_id(w->vehicle), p->heard_us))
		world_fail("S11", "%s cannot resume %s after %lld", w->app->name, vehicle_id(w->vehicle),
			(long long)p->seq);
	if (!snapshot->recovered)
		p->seq = snapshot->seq;
	snprintf(p->epoch, sizeof(p->epoch), "%s", snapshot->epoch);
	w->is_ready = true;
	w->ready_us = p->heard_us = world_us();
}

/* L3 is judged of what came about while it watched. */
static void on_event(struct hub_subscriber *sub, const struct hub_event *event)
{
	struct watch *w = container_of(sub, struct watch, sub);
	struct place *p = place_of(w);
	int64_t at_us = 0;

	if (w->is_over)
		return;
	record_event(w->app->name, event->vehicle_id, p->seq, event->seq, event->type, event->data, event->data_len);
	access_saw_event(w->app->name, event->vehicle_id);
	p->seq = event->seq;
	p->heard_us = world_us();
	if (rfc3339_read(event->time, &at_us) && at_us > w->ready_us)
		record_told(w->app->name, event->vehicle_id, event->seq, at_us);
}

static void on_end(struct hub_subscriber *sub, const struct fault *fault)
{
	struct watch *w = container_of(sub, struct watch, sub);

	if (fault->http < 500 && access_was_given(w->app->name, vehicle_id(w->vehicle), w->begun_us))
		world_fail("S7", "%s may no longer watch %s: %s", w->app->name, vehicle_id(w->vehicle), fault->name);
	w->is_over = true;
}

static void on_watch(struct loop_timer *timer)
{
	struct watch *w = container_of(timer, struct watch, begin);
	const struct place *p = place_of(w);

	if (w->is_over || !node_is_up(w->node))
		return;
	w->sub = (struct hub_subscriber){
		.subject = w->app->caller.subject,
		.admin = w->app->caller.scopes & SCOPE_ADMIN,
		.epoch = p->seq >= 0 ? p->epoch : NULL,
		.after = p->seq,
		.on_ready = on_ready,
		.on_event = on_event,
		.on_end = on_end,
	};
	hub_subscribe(node_api(w->node)->hub, &w->sub, vehicle_id(w->vehicle));
}

void apps_leave(struct node *n)
{
	for (size_t i = 0; i < count; i++)
		for (size_t v = 0; v < vehicles_count(); v++)
			if (apps[i].places[v].watch && apps[i].places[v].watch->node == n)
				close_watch(&apps[i].places[v], true);
}

/* In the end. */

void apps_judge(void)
{
	list_for_each (node, &wishes) {
		const struct wish *w = container_of(node, struct wish, node);
		if (!w->is_back)
			world_fail("L4", "%s does not know what became of %s after %u tries", w->app->name, w->key,
				w->tries);
	}
	for (size_t i = 0; i < count; i++) {
		for (size_t v = 0; v < vehicles_count(); v++) {
			const struct place *p = &apps[i].places[v];
			if (apps[i].watches[v] && p->seq != record_head(vehicle_id(v)))
				world_fail("S11", "%s has seen %s up to %lld of %lld", apps[i].name, vehicle_id(v),
					(long long)p->seq, (long long)record_head(vehicle_id(v)));
		}
	}
}
