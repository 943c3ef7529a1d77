/* jwks_fetcher.c - one thread, one loop, and on it a timer and at most one call for each issuer.
 *
 *   due ─ (where the keys are) ─ call ─┬─ a set: put in force ───── due when it is old
 *    ↑                                 └─ anything else: log ────── due after a pause
 *    └─ unknown kid (not within 10 s of the last), SIGHUP
 * Where the keys are is asked of an issuer that has no URL here, until it is known, and again when what was there was no set. */
#include "gateway/access/jwks_fetcher.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <uv.h>

#include "base/http_client.h"
#include "base/list.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "gateway/access/discovery.h"
#include "gateway/access/jwks.h"

#define CALL_MS 5000
#define LOOK_AGAIN_MS (10 * 1000)
#define AGE_MS (60 * 60 * 1000LL)
#define AGE_LEAST_MS (5 * 60 * 1000LL)
#define AGE_MOST_MS (24 * 60 * 60 * 1000LL)
#define PAUSE_MS (60 * 1000)	     /* after a failure, while there is a set */
#define PAUSE_FIRST_MS 500	     /* while there is none, doubled each time */
#define PAUSE_WITHOUT_MS (10 * 1000) /* but no longer than that */

struct jwks_source {
	struct jwks_fetcher *fetcher;
	struct list node;
	const char *issuer;
	char *url;	 /* of the keys; NULL: the issuer is still to say where they are */
	char *discovery; /* where it says so; NULL: `url` was given */
	struct jwks *jwks;
	atomic_bool asked; /* for a kid that is not known; by any thread */

	struct http_call call;
	atomic_bool fetching;	/* any thread looks at it, and at kid_ms */
	bool for_kid;		/* the next fetch is one of those that come once in 10 s */
	bool at_once;		/* after the one under way, which may have read what was there before */
	_Atomic int64_t kid_ms; /* when a kid may make us fetch again */
	int64_t pause_ms;
	struct loop_timer due;
};

struct jwks_fetcher {
	struct loop *loop;
	struct http_client *http;
	pthread_t thread;
	bool started;
	uv_async_t wake;
	atomic_bool refresh, end;
	atomic_uint ended; /* fetches */
	struct list sources;

	pthread_mutex_t lock;
	pthread_cond_t put; /* some set came into force */
};

static void on_wake(uv_async_t *wake);
static void *run(void *arg);
static void on_due(struct loop_timer *timer);
static void fetch(struct jwks_source *s);
static void ask(struct jwks_source *s);
static void on_answer(struct http_call *call, const struct http_answer *answer);
static void on_http_closed(void *owner);

/* Making. */

struct jwks_fetcher *jwks_fetcher_new(void)
{
	struct jwks_fetcher *f = memory_new(sizeof(*f));
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&f->put, &attributes);
	pthread_condattr_destroy(&attributes);
	pthread_mutex_init(&f->lock, NULL);
	f->loop = loop_new();
	f->http = http_client_new(f->loop);
	uv_async_init(loop_uv(f->loop), &f->wake, on_wake);
	list_init(&f->sources);
	return f;
}

struct jwks_source *jwks_fetcher_add(struct jwks_fetcher *f, const char *issuer, const char *url, struct jwks *jwks)
{
	struct jwks_source *s = memory_new(sizeof(*s));

	s->fetcher = f;
	s->issuer = issuer;
	s->url = url ? memory_need(strdup(url)) : NULL;
	s->discovery = url ? NULL : discovery_url(issuer);
	s->jwks = jwks;
	s->pause_ms = PAUSE_FIRST_MS;
	loop_timer_init(f->loop, &s->due, on_due);
	loop_timer_start(&s->due, 0);
	list_append(&f->sources, &s->node);
	return s;
}

void jwks_fetcher_start(struct jwks_fetcher *f)
{
	f->started = pthread_create(&f->thread, NULL, run, f) == 0;
	if (!f->started)
		log_error("access", "there is no thread to fetch keys with");
}

static void *run(void *arg)
{
	struct jwks_fetcher *f = arg;
	loop_run(f->loop);
	return NULL;
}

/* Asking. */

static bool is_complete(const struct jwks_fetcher *f)
{
	list_for_each (node, &f->sources)
		if (jwks_generation(container_of(node, struct jwks_source, node)->jwks) == 0)
			return false;
	return true;
}

bool jwks_fetcher_wait(struct jwks_fetcher *f, int64_t ms)
{
	struct timespec until;
	int failed = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	int64_t ns = until.tv_nsec + ms % 1000 * 1000000;
	until.tv_sec += ms / 1000 + ns / 1000000000;
	until.tv_nsec = ns % 1000000000;
	pthread_mutex_lock(&f->lock);
	while (!is_complete(f) && failed == 0)
		failed = pthread_cond_timedwait(&f->put, &f->lock, &until);
	pthread_mutex_unlock(&f->lock);
	return failed == 0;
}

unsigned jwks_fetcher_ended(const struct jwks_fetcher *f)
{
	return atomic_load(&f->ended);
}

static bool is_directive(const char *text, size_t len, const char *name)
{
	return len == strlen(name) && strncasecmp(text, name, len) == 0;
}

int64_t jwks_fetcher_age_max_ms(const char *cache_control)
{
	int64_t age_ms = AGE_MS;

	for (const char *at = cache_control; at && *at; at += strcspn(at, ",")) {
		at += strspn(at, ", \t");
		size_t name = strcspn(at, "=, \t");
		if (is_directive(at, name, "no-store") || is_directive(at, name, "no-cache"))
			return AGE_LEAST_MS;
		if (!is_directive(at, name, "max-age") || at[name] != '=')
			continue;
		const char *digits = at + name + 1 + (at[name + 1] == '"');
		if (*digits < '0' || *digits > '9')
			continue;
		unsigned long long seconds = strtoull(digits, NULL, 10); /* too large a number is the largest */
		age_ms = seconds < AGE_MOST_MS / 1000 ? (int64_t)seconds * 1000 : AGE_MOST_MS;
	}
	return age_ms < AGE_LEAST_MS ? AGE_LEAST_MS : age_ms;
}

/* What others want. */

void jwks_fetcher_refresh(struct jwks_fetcher *f)
{
	atomic_store(&f->refresh, true);
	uv_async_send(&f->wake);
}

bool jwks_source_look_again(struct jwks_source *s)
{
	bool may_begin = jwks_generation(s->jwks) > 0 && loop_monotonic_ms(s->fetcher->loop) >= s->kid_ms;

	if (!atomic_exchange(&s->asked, true))
		uv_async_send(&s->fetcher->wake);
	return may_begin || s->fetching;
}

/* Never later than it was going to be. While there is no set, every kid is unknown: then the pause decides. */
static void fetch_for_kid(struct jwks_source *s)
{
	int64_t now_ms = loop_monotonic_ms(s->fetcher->loop), wait_ms = s->kid_ms > now_ms ? s->kid_ms - now_ms : 0;

	if (jwks_generation(s->jwks) == 0)
		return;
	s->for_kid = true;
	if (!s->fetching && (!loop_timer_is_started(&s->due) || s->due.due_ms > now_ms + wait_ms))
		loop_timer_start(&s->due, wait_ms);
}

static void fetch_now(struct jwks_source *s)
{
	if (s->fetching)
		s->at_once = true;
	else
		fetch(s);
}

static void close_all(struct jwks_fetcher *f)
{
	list_for_each (node, &f->sources)
		loop_timer_stop(&container_of(node, struct jwks_source, node)->due);
	http_client_close(f->http, on_http_closed, f);
	uv_close((uv_handle_t *)&f->wake, NULL);
}

static void on_wake(uv_async_t *wake)
{
	struct jwks_fetcher *f = container_of(wake, struct jwks_fetcher, wake);

	if (atomic_load(&f->end)) {
		close_all(f);
		return;
	}
	bool refresh = atomic_exchange(&f->refresh, false);
	list_for_each (node, &f->sources) {
		struct jwks_source *s = container_of(node, struct jwks_source, node);
		if (atomic_exchange(&s->asked, false))
			fetch_for_kid(s);
		if (refresh)
			fetch_now(s);
	}
}

/* One fetch. */

static void on_due(struct loop_timer *timer)
{
	fetch(container_of(timer, struct jwks_source, due));
}

static void fetch(struct jwks_source *s)
{
	loop_timer_stop(&s->due);
	log_debug("access", "fetching keys", LOG_TEXT("issuer", s->issuer));
	if (s->for_kid)
		s->kid_ms = loop_monotonic_ms(s->fetcher->loop) + LOOK_AGAIN_MS;
	s->for_kid = false;
	s->fetching = true;
	ask(s);
}

static void ask(struct jwks_source *s)
{
	static const char *const headers[] = { "Accept: application/jwk-set+json, application/json", NULL };

	s->call = (struct http_call){
		.method = "GET",
		.url = s->url ? s->url : s->discovery,
		.headers = headers,
		.timeout_ms = CALL_MS,
		.answer_max = JWKS_BYTES_MAX,
		.on_done = on_answer,
	};
	http_client_call(s->fetcher->http, &s->call);
}

static bool is_whole(const struct http_answer *answer, char *ret_why, size_t why_size)
{
	if (answer->end != HTTP_ANSWERED)
		snprintf(ret_why, why_size, "%s", answer->why ? answer->why : "there was no answer");
	else if (answer->status != 200)
		snprintf(ret_why, why_size, "it answered with status %d", answer->status);
	else if (answer->cut)
		snprintf(ret_why, why_size, "its answer is larger than 1 MiB, or did not come whole");
	else
		return true;
	return false;
}

/* True: now its keys are asked for, with the same fetch. */
static bool discover(struct jwks_source *s, const struct http_answer *answer, char *ret_why, size_t why_size)
{
	if (is_whole(answer, ret_why, why_size))
		s->url = discovery_read(s->issuer, answer->body, answer->len, ret_why, why_size);
	return s->url;
}

static bool take(struct jwks_source *s, const struct http_answer *answer, char *ret_why, size_t why_size)
{
	if (is_whole(answer, ret_why, why_size) && jwks_put(s->jwks, answer->body, answer->len, ret_why, why_size))
		return true;
	if (s->discovery) { /* they may have moved */
		free(s->url);
		s->url = NULL;
	}
	return false;
}

/* A set that came, or the pause after none did: until the next time, milliseconds. */
static int64_t on_set(struct jwks_source *s, const struct http_answer *answer)
{
	struct jwks_fetcher *f = s->fetcher;

	metric_add(METRIC_ISSUER_KEYS_FETCHED, 1);
	s->pause_ms = PAUSE_FIRST_MS;
	pthread_mutex_lock(&f->lock);
	pthread_cond_broadcast(&f->put);
	pthread_mutex_unlock(&f->lock);
	return jwks_fetcher_age_max_ms(answer->cache_control);
}

static int64_t on_failure(struct jwks_source *s, const char *why)
{
	bool has_set = jwks_generation(s->jwks) > 0;
	int64_t pause_ms = has_set ? PAUSE_MS : s->pause_ms;

	metric_add(METRIC_ISSUER_KEYS_FAILED, 1);
	log_error("access", has_set ? "keys not fetched, the old ones stay" : "keys not fetched, there are none yet",
		LOG_TEXT("issuer", s->issuer), LOG_TEXT("reason", why));
	s->pause_ms = s->pause_ms * 2 < PAUSE_WITHOUT_MS ? s->pause_ms * 2 : PAUSE_WITHOUT_MS;
	return pause_ms;
}

static void on_answer(struct http_call *call, const struct http_answer *answer)
{
	struct jwks_source *s = container_of(call, struct jwks_source, call);
	unsigned before = jwks_generation(s->jwks);
	char why[256];

	if (atomic_load(&s->fetcher->end)) {
		s->fetching = false;
		return; /* it was given up, which says nothing about the issuer */
	}
	bool discovering = !s->url;
	bool fine = discovering ? discover(s, answer, why, sizeof(why)) : take(s, answer, why, sizeof(why));
	if (discovering && fine) {
		ask(s);
		return;
	}
	s->fetching = false;
	atomic_fetch_add(&s->fetcher->ended, 1);
	int64_t delay_ms = fine ? on_set(s, answer) : on_failure(s, why);
	loop_timer_start(&s->due, s->at_once ? 0 : delay_ms);
	s->at_once = false;
	if (jwks_generation(s->jwks) != before)
		log_info("access", "keys fetched", LOG_TEXT("issuer", s->issuer));
	if (s->for_kid)
		fetch_for_kid(s); /* the answer may have been on its way before the key was new */
}

/* The end. */

static void on_http_closed(void *owner)
{
	struct jwks_fetcher *f = owner;
	loop_stop(f->loop);
}

static void free_sources(struct jwks_fetcher *f)
{
	list_for_each_safe (node, &f->sources) {
		struct jwks_source *s = container_of(node, struct jwks_source, node);
		free(s->url);
		free(s->discovery);
		free(s);
	}
}

/* A fetcher that never ran is turned here, so that its handles end all the same. */
void jwks_fetcher_free(struct jwks_fetcher *f)
{
	if (!f)
		return;
	atomic_store(&f->end, true);
	uv_async_send(&f->wake);
	if (f->started)
		pthread_join(f->thread, NULL);
	else
		run(f);
	loop_free(f->loop);
	pthread_cond_destroy(&f->put);
	pthread_mutex_destroy(&f->lock);
	free_sources(f);
	free(f);
}
