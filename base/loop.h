/* loop.h - one thread's event loop and its clocks.
 *
 * A real loop runs on libuv. A virtual loop (for tests) has the same timers on a clock that moves
 * only when loop_advance() says so; it has no uv_loop_t. Timers and deferred calls live in their
 * owners and cost no handle: the loop keeps them in a heap behind a single uv_timer_t.
 *
 * Everything here belongs to the thread that runs the loop, but for loop_stop(). */
#ifndef KEYFOB_BASE_LOOP_H
#define KEYFOB_BASE_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

typedef struct uv_loop_s uv_loop_t;
typedef struct uv_poll_s uv_poll_t;
struct loop;

/* Embedded in its owner; init once, then start and stop as often as you like. Not owned by the loop. */
struct loop_timer {
	struct loop *loop;
	void (*on_due)(struct loop_timer *);
	int64_t due_ms;	   /* monotonic, milliseconds */
	uint64_t order;	   /* two timers of the same millisecond run in the order they were started */
	size_t heap_index; /* 0: not started */
};

/* A call that is made from the loop, never from inside the one that asked for it. */
struct loop_soon {
	struct list node;
	void (*run)(struct loop_soon *);
};

/* making */
struct loop *loop_new(void);
/* `unix_us` is where the virtual wall clock begins, microseconds since 1970. */
struct loop *loop_new_virtual(int64_t unix_us);
/* After loop_run() has returned. Timers and calls that are still asked for are forgotten. NULL is fine. */
void loop_free(struct loop *);
/* uv_poll_init() of a socket that is there: it fails for want of memory alone, and then the process ends, as libuv would end it. Real loops. */
void loop_poll_init(struct loop *, uv_poll_t *, int fd);

/* asking */
uv_loop_t *loop_uv(struct loop *);		/* NULL for a virtual loop */
int64_t loop_unix_us(const struct loop *);	/* wall clock, microseconds since 1970; may jump */
int64_t loop_monotonic_ms(const struct loop *); /* never jumps */
int64_t loop_monotonic_us(const struct loop *);
/* Monotonic: when it last went on after it had run nothing for a second, though a timer was due (its process was stopped, or a call
 * took as long); now, where it is about to; 0: never. */
int64_t loop_stood_still_ms(const struct loop *);
/* Virtual loops: milliseconds until something is due, 0 at once, INT64_MAX never. */
int64_t loop_next_ms(const struct loop *);

/* changing */
/* Real loops: until loop_stop() was called, the last handle is closed and no deferred call is left.
 * Timers alone do not hold it up then. */
void loop_run(struct loop *);
/* From any thread; also before loop_run(), which then only finishes what is open. */
void loop_stop(struct loop *);
/* Virtual loops: runs what is due, in order, until `ms` milliseconds have passed. */
void loop_advance(struct loop *, int64_t ms);
/* Virtual loops: `ms` milliseconds pass and nothing runs, as for a process that was stopped. */
void loop_stall(struct loop *, int64_t ms);
/* Virtual loops: jumps the wall clock alone. */
void loop_jump_wall_clock(struct loop *, int64_t us);

void loop_timer_init(struct loop *, struct loop_timer *, void (*on_due)(struct loop_timer *));
/* Never early; 0 or less is due at once, from the loop. A started one is moved. */
void loop_timer_start(struct loop_timer *, int64_t delay_ms);
void loop_timer_stop(struct loop_timer *);
bool loop_timer_is_started(const struct loop_timer *);

void loop_soon_init(struct loop_soon *, void (*run)(struct loop_soon *));
void loop_soon_call(struct loop *, struct loop_soon *); /* once, however often it is asked for */
/* Likewise, behind all that are asked for by loop_soon_call() in this turn, and no more than once in it: for what gathers until nothing
 * more comes, and for who may have but so much at once. */
void loop_last_call(struct loop *, struct loop_soon *);
void loop_soon_cancel(struct loop_soon *);

#endif
