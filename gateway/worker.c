/* worker.c - a thread with a loop, a back (flows) and a face (front); born whole, drained in order. */
#include "gateway/worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/list.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "gateway/access/token.h"
#include "gateway/api_internal.h"
#include "gateway/census.h"
#include "gateway/config.h"
#include "gateway/flows.h"
#include "gateway/front.h"

#define FAREWELL_MS 2000 /* how long open connections have to take their last bytes */
#define FAREWELL_LOOK_MS 20

struct worker {
	struct worker_options options;
	pthread_t thread;
	struct loop *loop;
	struct api api;
	struct flows *flows;
	struct front *front;
	struct census *census;	       /* worker 0's, for its node; NULL */
	bool has_database, has_broker; /* as counted in the node's readiness */
	uv_async_t wake;	       /* from the node's thread */
	struct loop_timer pulse;
	atomic_bool has_turned;
	struct loop_timer farewell;
	int64_t farewell_until_ms;

	pthread_mutex_t lock; /* of what follows: the node's orders */
	pthread_cond_t obeyed;
	const struct catalog *fresh_catalog;
	bool drain_ordered, draining, drained;
};

static void *run(void *arg);
static void on_wake(uv_async_t *wake);
static void on_pulse(struct loop_timer *pulse);
static void drain(struct worker *w);
static void on_farewell(struct loop_timer *timer);
static void on_flows_drained(void *owner);

/* The node's word for "this cannot go on": its main thread waits for it. */
static void on_fatal(void *owner)
{
	(void)owner;
	kill(getpid(), SIGUSR1);
}

static void count(bool now, bool *before, atomic_size_t *counter)
{
	if (now != *before)
		atomic_fetch_add(counter, now ? 1 : (size_t)-1);
	*before = now;
}

static void on_neighbour(void *owner)
{
	struct worker *w = owner;
	bool has_broker = flows_has_broker(w->flows);

	metric_add(METRIC_WORKERS_WITHOUT_BROKER, w->has_broker - has_broker); /* first: who is ready lacks none */
	count(flows_has_database(w->flows), &w->has_database, &w->options.readiness->databases);
	count(has_broker, &w->has_broker, &w->options.readiness->brokers);
}

static bool is_ready(void *owner, json_t **ret_details)
{
	const struct worker *w = owner;
	bool database = atomic_load(&w->options.readiness->databases) == w->options.workers;
	bool broker = atomic_load(&w->options.readiness->brokers) == w->options.workers;
	bool feeds =
		metric_value(METRIC_FEEDS_UNHEARD) == 0; /* the node's, whoever asks: said, and no want of readiness */
	bool issuers = token_trust_is_complete(w->options.trust);

	*ret_details = memory_need(json_pack("{s:s, s:s, s:s, s:s, s:s}", "database", database ? "ok" : "unavailable",
		"broker", broker ? "ok" : "unavailable", "feeds", feeds ? "ok" : "unheard", "issuers",
		issuers ? "ok" : "unavailable", "node", w->draining ? "draining" : "ok"));
	return database && broker && issuers && !w->draining;
}

struct worker *worker_start(const struct worker_options *options)
{
	struct worker *w = memory_new(sizeof(*w));

	w->options = *options;
	metric_add(METRIC_WORKERS_WITHOUT_BROKER, 1);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->obeyed, NULL);
	w->loop = loop_new();
	loop_timer_init(w->loop, &w->farewell, on_farewell);
	loop_timer_init(w->loop, &w->pulse, on_pulse);
	loop_timer_start(&w->pulse, 0);
	uv_async_init(loop_uv(w->loop), &w->wake, on_wake);
	list_init(&w->api.waiting);
	w->api.loop = w->loop;
	w->api.config = options->config;
	w->api.catalog = options->catalog;
	w->api.verifier = verifier_new(options->trust);
	w->flows = flows_new(w->loop,
		&(struct flows_options){ .config = options->config,
			.broker = options->broker,
			.node = options->node,
			.keeps_house = options->index == 0,
			.wake_enabled = options->wake_enabled,
			.owner = w,
			.on_fatal = on_fatal,
			.on_neighbour = on_neighbour,
			.node_workers = options->workers,
			.siblings = options->siblings },
		&w->api);
	w->front = front_new(w->loop,
		&(struct front_options){ .config = options->config,
			.certificate = options->certificate,
			.sockets = options->sockets,
			.answers_admin = options->index == 0,
			.owner = w,
			.is_ready = is_ready },
		&w->api);
	if (options->index == 0)
		w->census = census_new(w->loop, &(struct census_options){ .database_url = options->config->database.url,
							.node = options->node,
							.owner = w,
							.is_ready = is_ready });
	if (!w->front || pthread_create(&w->thread, NULL, run, w) != 0)
		return NULL; /* the process ends: what was made goes with it */
	return w;
}

static void *run(void *arg)
{
	struct worker *w = arg;
	flows_start(w->flows);
	if (w->census)
		census_start(w->census);
	loop_run(w->loop);
	return NULL;
}

static void on_pulse(struct loop_timer *pulse)
{
	struct worker *w = container_of(pulse, struct worker, pulse);

	atomic_store(&w->has_turned, true);
	loop_timer_start(pulse, w->options.pulse_ms);
}

bool worker_has_turned(struct worker *w)
{
	return atomic_exchange(&w->has_turned, false);
}

/* The node's orders. */

void worker_set_catalog(struct worker *w, const struct catalog *catalog)
{
	pthread_mutex_lock(&w->lock);
	w->fresh_catalog = catalog;
	uv_async_send(&w->wake);
	while (w->fresh_catalog)
		pthread_cond_wait(&w->obeyed, &w->lock);
	pthread_mutex_unlock(&w->lock);
}

void worker_drain(struct worker *w)
{
	pthread_mutex_lock(&w->lock);
	w->drain_ordered = true;
	uv_async_send(&w->wake);
	pthread_mutex_unlock(&w->lock);
}

static void on_wake(uv_async_t *wake)
{
	struct worker *w = container_of(wake, struct worker, wake);

	pthread_mutex_lock(&w->lock);
	bool begin = w->drain_ordered && !w->draining;
	if (w->fresh_catalog) {
		w->api.catalog = w->fresh_catalog;
		w->fresh_catalog = NULL;
		pthread_cond_signal(&w->obeyed);
	}
	pthread_mutex_unlock(&w->lock);
	if (begin)
		drain(w);
}

/* The end: first the face, so that nothing new comes, then the back, then what is left of the face. */

static void drain(struct worker *w)
{
	w->draining = true;
	w->api.draining = true;
	command_send_drain(&w->api);
	front_drain(w->front);
	if (w->census)
		census_leave(w->census);
	w->farewell_until_ms = loop_monotonic_ms(w->loop) + FAREWELL_MS;
	loop_timer_start(&w->farewell, FAREWELL_LOOK_MS);
}

static void on_farewell(struct loop_timer *timer)
{
	struct worker *w = container_of(timer, struct worker, farewell);

	if (!front_is_empty(w->front) && loop_monotonic_ms(w->loop) < w->farewell_until_ms)
		loop_timer_start(timer, FAREWELL_LOOK_MS);
	else
		flows_drain(w->flows, on_flows_drained);
}

/* h2o keeps timers of its own on the loop for ever: the thread is left to the end of the process. */
static void on_flows_drained(void *owner)
{
	struct worker *w = owner;

	front_close(w->front);
	pthread_mutex_lock(&w->lock);
	w->drained = true;
	pthread_cond_signal(&w->obeyed);
	pthread_mutex_unlock(&w->lock);
	for (;;)
		pause(); /* nothing of this loop may run any more */
}

bool worker_join(struct worker *w, const struct timespec *until)
{
	int failed = 0;

	pthread_mutex_lock(&w->lock);
	while (!w->drained && failed == 0)
		failed = pthread_cond_timedwait(&w->obeyed, &w->lock, until);
	pthread_mutex_unlock(&w->lock);
	return failed == 0;
}
