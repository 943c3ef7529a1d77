/* rates.c - the token bucket as one number: the time at which it would be full again (ITU-T I.371, GCRA).
 *
 * Taking a token moves that time on by the time that a token takes to come; when it would lie further ahead than the bucket is
 * deep, there is none. The rows are a count-min sketch with conservative update: only what is lower is raised. */
#include "gateway/access/rates.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "gateway/network.h"

#define ROWS 4
#define SLOTS 65536 /* of a row: sixteen bits of the hash for each */
#define SECOND_US 1000000

static _Atomic int64_t full_at[RATE_COUNT][ROWS][SLOTS];
static uint64_t seeds[2];
static pthread_once_t seeded = PTHREAD_ONCE_INIT;

static const char *const policies[] = {
	[RATE_SUBJECT] = "subject", [RATE_VEHICLE] = "vehicle", [RATE_ADDRESS] = "address"
};

/* A rate in microseconds. */
struct pace {
	int64_t token, depth;
};

static void make_seeds(void)
{
	if (getrandom(seeds, sizeof(seeds), 0) != sizeof(seeds))
		seeds[0] = (uint64_t)(uintptr_t)&seeds;
}

/* The finisher of splitmix64. */
static uint64_t mixed(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static uint64_t hash_of(enum rate rate, const char *key)
{
	size_t left = strlen(key);
	uint64_t hash, piece;

	pthread_once(&seeded, make_seeds);
	if (rate == RATE_ADDRESS)
		return mixed(mixed(address_network(key) ^ seeds[0]) ^ seeds[1]);
	for (hash = seeds[0] + left; left > 0; key += sizeof(piece)) {
		size_t len = left < sizeof(piece) ? left : sizeof(piece);
		piece = 0;
		memcpy(&piece, key, len);
		hash = mixed(hash ^ piece);
		left -= len;
		if (left == 0)
			break;
	}
	return mixed(hash ^ seeds[1]);
}

static _Atomic int64_t *slot_of(enum rate rate, uint64_t hash, unsigned row)
{
	return &full_at[rate][row][(hash >> (16 * row)) % SLOTS];
}

static struct pace pace_of(double per_second)
{
	int64_t token = (int64_t)(SECOND_US / per_second);
	struct pace p = { .token = token > 0 ? token : 1, .depth = (int64_t)RATE_WINDOW_S * SECOND_US };

	if (p.depth < p.token)
		p.depth = p.token;
	return p;
}

static int seconds(int64_t us)
{
	return (int)((us + SECOND_US - 1) / SECOND_US);
}

/* The first of the lowest rows, and what stands there. */
static unsigned lowest(enum rate rate, uint64_t hash, int64_t *ret)
{
	unsigned lowest = 0;

	*ret = INT64_MAX;
	for (unsigned row = 0; row < ROWS; row++) {
		int64_t at = atomic_load_explicit(slot_of(rate, hash, row), memory_order_relaxed);
		if (at >= *ret)
			continue;
		*ret = at;
		lowest = row;
	}
	return lowest;
}

/* Whether it was lower and is `to` now. */
static bool raise_row(_Atomic int64_t *slot, int64_t to)
{
	int64_t was = atomic_load_explicit(slot, memory_order_relaxed);

	while (was < to) {
		if (atomic_compare_exchange_weak_explicit(slot, &was, to, memory_order_relaxed, memory_order_relaxed))
			return true;
	}
	return false;
}

/* The row that decides is moved last, and only from where it was seen: of two threads one gets that token and the other looks
 * again. False: look again. */
static bool move_on(enum rate rate, uint64_t hash, unsigned decides, int64_t from, int64_t to, unsigned *ret_rows)
{
	for (unsigned row = 0; row < ROWS; row++) {
		if (row != decides && raise_row(slot_of(rate, hash, row), to))
			*ret_rows |= 1u << row;
	}
	*ret_rows |= 1u << decides;
	return atomic_compare_exchange_strong_explicit(
		slot_of(rate, hash, decides), &from, to, memory_order_relaxed, memory_order_relaxed);
}

bool rate_take(enum rate rate, double per_second, const char *key, int64_t now_us, struct rate_verdict *ret)
{
	int64_t full, next;
	unsigned decides;

	*ret = (struct rate_verdict){ .allowed = true };
	if (per_second <= 0)
		return true;
	struct pace pace = pace_of(per_second);
	uint64_t hash = hash_of(rate, key);
	do {
		ret->rows = 0;
		decides = lowest(rate, hash, &full);
		next = (full > now_us ? full : now_us) + pace.token;
		ret->allowed = next - now_us <= pace.depth;
	} while (ret->allowed && !move_on(rate, hash, decides, full, next, &ret->rows));
	ret->policy = policies[rate];
	ret->quota = (unsigned)(pace.depth / pace.token);
	ret->left = ret->allowed ? (unsigned)((pace.depth - (next - now_us)) / pace.token) : 0;
	ret->reset_s = seconds((ret->allowed ? next : full) - now_us);
	ret->retry_after_s = ret->allowed ? 0 : seconds(next - now_us - pace.depth);
	return ret->allowed;
}

void rate_give_back(enum rate rate, double per_second, const char *key, const struct rate_verdict *verdict)
{
	if (!verdict->policy)
		return;
	int64_t token = pace_of(per_second).token;
	uint64_t hash = hash_of(rate, key);
	for (unsigned row = 0; row < ROWS; row++) {
		if (verdict->rows & (1u << row))
			atomic_fetch_sub_explicit(slot_of(rate, hash, row), token, memory_order_relaxed);
	}
}

bool rate_write(const struct rate_verdict *v, char ret_policy[RATE_FIELD_SIZE], char ret_limit[RATE_FIELD_SIZE])
{
	if (!v->policy)
		return false;
	snprintf(ret_policy, RATE_FIELD_SIZE, "\"%s\";q=%u;w=%d", v->policy, v->quota, RATE_WINDOW_S);
	snprintf(ret_limit, RATE_FIELD_SIZE, "\"%s\";r=%u;t=%d", v->policy, v->left, v->reset_s);
	return true;
}
