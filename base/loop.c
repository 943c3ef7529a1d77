/* loop.c - the event loop of one thread: timers, deferred calls and clocks, on libuv or on a virtual clock. */
#include "base/loop.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <uv.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/timer_heap.h"

#define NEVER_MS INT64_MAX
#define STANDSTILL_MS 1000
#define ROUNDS_MAX 4					 /* of deferred calls, before the sockets have their turn */
#define DELAY_MS_MAX (INT64_C(100) * 366 * 86400 * 1000) /* further away is a hundred years away */

enum loop_kind { LOOP_REAL, LOOP_VIRTUAL };

struct loop {
	enum loop_kind kind;
	struct timer_heap timers;
	uint64_t next_order;
	struct list soons, lasts;
	int64_t stood_still_ms; /* see loop_stood_still_ms() */

	/* real */
	uv_loop_t uv;
	uv_timer_t alarm; /* for the first of the heap; not counted among what keeps the loop running */
	int64_t alarm_ms; /* when it rings, NEVER_MS: not set */
	uv_idle_t idle;	  /* active while there are deferred calls: runs before the poll, and keeps it from blocking */
	uv_async_t stop;  /* keeps the loop running until loop_stop() */

	/* virtual */
	int64_t passed_us;
	int64_t began_unix_us;
};

static void open_handles(struct loop *);
static void on_alarm(uv_timer_t *);
static void on_idle(uv_idle_t *);
static void on_stop(uv_async_t *);
static void set_alarm(struct loop *);
static void run_due(struct loop *, int64_t now_ms);
static bool has_deferred(const struct loop *);
static void run_round(struct list *soons);
static void close_handles(struct loop *);

/* making */

static struct loop *new_of_kind(enum loop_kind kind)
{
	struct loop *loop = memory_new(sizeof *loop);
	loop->kind = kind;
	loop->alarm_ms = NEVER_MS;
	list_init(&loop->soons);
	list_init(&loop->lasts);
	return loop;
}

struct loop *loop_new(void)
{
	struct loop *loop = new_of_kind(LOOP_REAL);
	open_handles(loop);
	return loop;
}

struct loop *loop_new_virtual(int64_t unix_us)
{
	struct loop *loop = new_of_kind(LOOP_VIRTUAL);
	loop->began_unix_us = unix_us;
	return loop;
}

/* Only a process without descriptors or memory comes here. */
static void must(int result)
{
	if (result == 0)
		return;
	fprintf(stderr, "keyfob: the event loop cannot go on: %s\n", uv_strerror(result));
	abort();
}

static void open_handles(struct loop *loop)
{
	must(uv_loop_init(&loop->uv));
	must(uv_timer_init(&loop->uv, &loop->alarm));
	must(uv_idle_init(&loop->uv, &loop->idle));
	must(uv_async_init(&loop->uv, &loop->stop, on_stop));
	loop->alarm.data = loop->idle.data = loop->stop.data = loop;
	uv_unref((uv_handle_t *)&loop->alarm);
}

void loop_poll_init(struct loop *loop, uv_poll_t *poll, int fd)
{
	must(uv_poll_init(&loop->uv, poll, fd));
}

/* asking */

uv_loop_t *loop_uv(struct loop *loop)
{
	return loop->kind == LOOP_REAL ? &loop->uv : NULL;
}

int64_t loop_unix_us(const struct loop *loop)
{
	if (loop->kind == LOOP_VIRTUAL)
		return loop->began_unix_us + loop->passed_us;
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t loop_monotonic_us(const struct loop *loop)
{
	return loop->kind == LOOP_VIRTUAL ? loop->passed_us : (int64_t)(uv_hrtime() / 1000);
}

int64_t loop_monotonic_ms(const struct loop *loop)
{
	return loop_monotonic_us(loop) / 1000;
}

static bool is_overdue(const struct loop *loop, int64_t now_ms)
{
	const struct loop_timer *first = timer_heap_first(&loop->timers);
	return first && now_ms - first->due_ms >= STANDSTILL_MS;
}

int64_t loop_stood_still_ms(const struct loop *loop)
{
	int64_t now_ms = loop_monotonic_ms(loop);
	return is_overdue(loop, now_ms) ? now_ms : loop->stood_still_ms;
}

int64_t loop_next_ms(const struct loop *loop)
{
	const struct loop_timer *first = timer_heap_first(&loop->timers);
	if (has_deferred(loop))
		return 0;
	if (!first)
		return NEVER_MS;
	int64_t left_us = first->due_ms * 1000 - loop->passed_us;
	return left_us > 0 ? (left_us + 999) / 1000 : 0;
}

/* timers */

void loop_timer_init(struct loop *loop, struct loop_timer *timer, void (*on_due)(struct loop_timer *))
{
	*timer = (struct loop_timer){ .loop = loop, .on_due = on_due };
}

/* The millisecond that is under way has partly passed: it is rounded up, so that no timer is early. */
static int64_t due_in(const struct loop *loop, int64_t delay_ms)
{
	if (delay_ms <= 0)
		return loop_monotonic_ms(loop);
	return (loop_monotonic_us(loop) + 999) / 1000 + (delay_ms < DELAY_MS_MAX ? delay_ms : DELAY_MS_MAX);
}

void loop_timer_start(struct loop_timer *timer, int64_t delay_ms)
{
	struct loop *loop = timer->loop;
	loop_timer_stop(timer);
	timer->due_ms = due_in(loop, delay_ms);
	timer->order = loop->next_order++;
	timer_heap_add(&loop->timers, timer);
	set_alarm(loop);
}

/* The alarm stays as it is: most timers are stopped long before they are due, and ringing once for nothing
 * is cheaper than moving it each time. */
void loop_timer_stop(struct loop_timer *timer)
{
	if (loop_timer_is_started(timer))
		timer_heap_remove(&timer->loop->timers, timer);
}

bool loop_timer_is_started(const struct loop_timer *timer)
{
	return timer->heap_index != 0;
}

/* uv_timer_start() counts from libuv's own, cached time; so counted, the alarm rings at due_ms on the clock itself. */
static void set_alarm(struct loop *loop)
{
	const struct loop_timer *first = timer_heap_first(&loop->timers);
	if (loop->kind == LOOP_VIRTUAL || !first || first->due_ms >= loop->alarm_ms)
		return;
	int64_t delay_ms = first->due_ms - (int64_t)uv_now(&loop->uv);
	loop->alarm_ms = first->due_ms;
	uv_timer_start(&loop->alarm, on_alarm, delay_ms > 0 ? (uint64_t)delay_ms : 0, 0);
}

static void on_alarm(uv_timer_t *alarm)
{
	struct loop *loop = alarm->data;
	loop->alarm_ms = NEVER_MS;
	run_due(loop, loop_monotonic_ms(loop));
	set_alarm(loop);
}

/* Of those that are due the first is the one that has been for the longest. */
static void run_timer(struct loop *loop, struct loop_timer *timer)
{
	loop->stood_still_ms = loop_stood_still_ms(loop);
	timer_heap_remove(&loop->timers, timer);
	timer->on_due(timer);
}

/* What is started while this runs waits for the next round, after input and output had their turn. */
static void run_due(struct loop *loop, int64_t now_ms)
{
	uint64_t end = loop->next_order;
	struct loop_timer *first;
	while ((first = timer_heap_first(&loop->timers)) && first->due_ms <= now_ms && first->order < end)
		run_timer(loop, first);
}

/* deferred calls */

void loop_soon_init(struct loop_soon *soon, void (*run)(struct loop_soon *))
{
	list_init(&soon->node);
	soon->run = run;
}

static void defer(struct loop *loop, struct list *soons, struct loop_soon *soon)
{
	if (!list_is_empty(&soon->node))
		return;
	list_append(soons, &soon->node);
	if (loop->kind == LOOP_REAL)
		uv_idle_start(&loop->idle, on_idle);
}

void loop_soon_call(struct loop *loop, struct loop_soon *soon)
{
	defer(loop, &loop->soons, soon);
}

void loop_last_call(struct loop *loop, struct loop_soon *soon)
{
	defer(loop, &loop->lasts, soon);
}

void loop_soon_cancel(struct loop_soon *soon)
{
	list_remove(&soon->node);
}

static bool has_deferred(const struct loop *loop)
{
	return !list_is_empty(&loop->soons) || !list_is_empty(&loop->lasts);
}

/* What is asked for meanwhile mostly follows at once: it would cost a look at the sockets in between. */
static void on_idle(uv_idle_t *idle)
{
	struct loop *loop = idle->data;
	for (int round = 0; round < ROUNDS_MAX && !list_is_empty(&loop->soons); round++)
		run_round(&loop->soons);
	run_round(&loop->lasts);
	if (!has_deferred(loop))
		uv_idle_stop(idle);
}

/* What is asked for meanwhile belongs to the next. Each is out of the list before it runs, so it may free itself, ask
 * again, or cancel another. */
static void run_round(struct list *soons)
{
	struct list round, *node;
	list_init(&round);
	list_append_all(&round, soons);
	while ((node = list_take_first(&round))) {
		struct loop_soon *soon = container_of(node, struct loop_soon, node);
		soon->run(soon);
	}
}

/* running */

void loop_run(struct loop *loop)
{
	assert(loop->kind == LOOP_REAL);
	uv_ref((uv_handle_t *)&loop->stop);
	uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *loop)
{
	if (loop->kind == LOOP_REAL)
		uv_async_send(&loop->stop);
}

/* Not uv_stop(): what is closing must be heard to the end. */
static void on_stop(uv_async_t *stop)
{
	uv_unref((uv_handle_t *)stop);
}

static void drain_soons(struct loop *loop)
{
	while (has_deferred(loop))
		run_round(list_is_empty(&loop->soons) ? &loop->lasts : &loop->soons);
}

void loop_advance(struct loop *loop, int64_t ms)
{
	assert(loop->kind == LOOP_VIRTUAL);
	int64_t end_us = loop->passed_us + ms * 1000;
	struct loop_timer *first;
	drain_soons(loop);
	while ((first = timer_heap_first(&loop->timers)) && first->due_ms * 1000 <= end_us) {
		if (first->due_ms * 1000 > loop->passed_us)
			loop->passed_us = first->due_ms * 1000;
		run_timer(loop, first);
		drain_soons(loop);
	}
	loop->passed_us = end_us;
}

void loop_stall(struct loop *loop, int64_t ms)
{
	assert(loop->kind == LOOP_VIRTUAL);
	loop->passed_us += ms * 1000;
}

void loop_jump_wall_clock(struct loop *loop, int64_t us)
{
	assert(loop->kind == LOOP_VIRTUAL);
	loop->began_unix_us += us;
}

/* the end */

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	while (list_take_first(&loop->soons) || list_take_first(&loop->lasts))
		;
	timer_heap_done(&loop->timers);
	if (loop->kind == LOOP_REAL)
		close_handles(loop);
	free(loop);
}

/* A close callback may close another handle, hence some rounds. A handle that stays open is its owner's
 * mistake: said, and not waited for. */
static void close_handles(struct loop *loop)
{
	uv_close((uv_handle_t *)&loop->alarm, NULL);
	uv_close((uv_handle_t *)&loop->idle, NULL);
	uv_close((uv_handle_t *)&loop->stop, NULL);
	int result = UV_EBUSY;
	for (int round = 0; round < 16 && result == UV_EBUSY; round++) {
		uv_run(&loop->uv, UV_RUN_NOWAIT);
		result = uv_loop_close(&loop->uv);
	}
	if (result != 0)
		log_error("loop", "handles were left open");
	assert(result == 0);
}
