/* timer_heap.h - started timers, the next one first; only loop.c uses it.
 *
 * A binary heap by due time, then by the order of starting. Each timer knows its place, so taking one
 * out costs no search. The timers belong to their owners; the heap owns only its array. */
#ifndef KEYFOB_BASE_TIMER_HEAP_H
#define KEYFOB_BASE_TIMER_HEAP_H

#include <stddef.h>

struct loop_timer;

/* Zero-initialise. */
struct timer_heap {
	struct loop_timer **slots; /* slots[1] is the first; slots[0] is not used, so that index 0 says "not started" */
	size_t count, size;
};

struct loop_timer *timer_heap_first(const struct timer_heap *); /* NULL: empty */
void timer_heap_add(struct timer_heap *, struct loop_timer *);
void timer_heap_remove(struct timer_heap *, struct loop_timer *);
/* Takes all timers out and frees the array. */
void timer_heap_done(struct timer_heap *);

#endif
