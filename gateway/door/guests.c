/* guests.c - counts connections for all workers of the process. */
#include "gateway/door/guests.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/random.h>

#include "base/metrics.h"
#include "gateway/network.h"

#define SLOTS 65536

static atomic_uint all, by_address[SLOTS];
static uint64_t seed[2];
static pthread_once_t seeded = PTHREAD_ONCE_INIT;

static void make_seed(void)
{
	if (getrandom(seed, sizeof(seed), 0) != sizeof(seed))
		seed[0] = (uint64_t)(uintptr_t)&seed;
}

/* The finisher of splitmix64: every bit of the address moves every bit of the slot. */
static uint64_t mixed(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static atomic_uint *slot_of(const char *peer)
{
	pthread_once(&seeded, make_seed);
	return &by_address[mixed(mixed(address_network(peer) ^ seed[0]) ^ seed[1]) % SLOTS];
}

/* One more, unless that is more than `max`. */
static bool count_up(atomic_uint *count, size_t max)
{
	if (atomic_fetch_add_explicit(count, 1, memory_order_relaxed) < max)
		return true;
	atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
	return false;
}

bool guests_enter(const char *peer, size_t max, size_t max_per_address)
{
	if (!count_up(&all, max))
		return false;
	if (!count_up(slot_of(peer), max_per_address)) {
		atomic_fetch_sub_explicit(&all, 1, memory_order_relaxed);
		return false;
	}
	metric_add(METRIC_CONNECTIONS, 1);
	return true;
}

void guests_stay(const char *peer)
{
	atomic_fetch_add_explicit(&all, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(slot_of(peer), 1, memory_order_relaxed);
	metric_add(METRIC_CONNECTIONS, 1);
}

void guests_leave(const char *peer)
{
	atomic_fetch_sub_explicit(slot_of(peer), 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&all, 1, memory_order_relaxed);
	metric_add(METRIC_CONNECTIONS, -1);
}

size_t guests_count(void)
{
	return atomic_load_explicit(&all, memory_order_relaxed);
}
