/* timer_heap.c - a binary heap whose elements know their place. */
#include "base/timer_heap.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/loop.h"
#include "base/memory.h"

static void grow(struct timer_heap *);
static void rise(struct timer_heap *, size_t hole, struct loop_timer *);
static void sink(struct timer_heap *, size_t hole, struct loop_timer *);

struct loop_timer *timer_heap_first(const struct timer_heap *heap)
{
	return heap->count ? heap->slots[1] : NULL;
}

void timer_heap_add(struct timer_heap *heap, struct loop_timer *timer)
{
	assert(timer->heap_index == 0);
	if (heap->count + 1 >= heap->size)
		grow(heap);
	rise(heap, ++heap->count, timer);
}

void timer_heap_remove(struct timer_heap *heap, struct loop_timer *timer)
{
	size_t hole = timer->heap_index;
	assert(hole > 0 && hole <= heap->count && heap->slots[hole] == timer);
	struct loop_timer *last = heap->slots[heap->count--];
	timer->heap_index = 0;
	if (last == timer)
		return;
	sink(heap, hole, last);
	rise(heap, last->heap_index, last);
}

void timer_heap_done(struct timer_heap *heap)
{
	for (size_t i = 1; i <= heap->count; i++)
		heap->slots[i]->heap_index = 0;
	free(heap->slots);
	*heap = (struct timer_heap){ 0 };
}

static void grow(struct timer_heap *heap)
{
	heap->size = heap->size ? heap->size * 2 : 64;
	heap->slots = memory_resize(heap->slots, heap->size, sizeof *heap->slots);
}

static bool is_before(const struct loop_timer *a, const struct loop_timer *b)
{
	return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->order < b->order;
}

static void put(struct timer_heap *heap, size_t index, struct loop_timer *timer)
{
	heap->slots[index] = timer;
	timer->heap_index = index;
}

static void rise(struct timer_heap *heap, size_t hole, struct loop_timer *timer)
{
	for (; hole > 1 && is_before(timer, heap->slots[hole / 2]); hole /= 2)
		put(heap, hole, heap->slots[hole / 2]);
	put(heap, hole, timer);
}

static void sink(struct timer_heap *heap, size_t hole, struct loop_timer *timer)
{
	for (size_t child; (child = hole * 2) <= heap->count; hole = child) {
		if (child < heap->count && is_before(heap->slots[child + 1], heap->slots[child]))
			child++;
		if (!is_before(heap->slots[child], timer))
			break;
		put(heap, hole, heap->slots[child]);
	}
	put(heap, hole, timer);
}
