/* suspicion.c - a table of who is counted, in sets by their keys' hash: each accepted command comes here, and looks at one set alone. */
#include "gateway/access/suspicion.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/memory.h"

#define SETS 256
#define SET_SIZE 16
#define KEY_SIZE 260

struct counted {
	enum suspicion what;
	char key[KEY_SIZE];
	int count;		       /* 0: free */
	int64_t ends_ms;	       /* of its window */
	struct suspicion_trail *trail; /* NULL: it never had one */
};

static struct set {
	pthread_mutex_t lock;
	struct counted all[SET_SIZE];
} sets[SETS];
static uint64_t seed; /* nobody can choose keys to fill another's set */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_sets(void)
{
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		seed = (uint64_t)(uintptr_t)&seed;
	for (size_t i = 0; i < SETS; i++)
		pthread_mutex_init(&sets[i].lock, NULL);
}

/* FNV-1a, begun with the seed. */
static struct set *set_of(enum suspicion what, const char *key)
{
	uint64_t hash = seed ^ what;

	for (; *key; key++)
		hash = (hash ^ (unsigned char)*key) * 0x100000001b3u;
	hash = (hash ^ (hash >> 32)) * 0x9e3779b97f4a7c15u; /* its upper bits know of all */
	return &sets[(hash >> 48) % SETS];
}

static void begin(struct counted *c, enum suspicion what, const char *key, int64_t ends_ms)
{
	c->what = what;
	c->count = 0;
	c->ends_ms = ends_ms;
	snprintf(c->key, sizeof(c->key), "%s", key);
	if (c->trail)
		c->trail->count = 0;
}

/* The key's own place, or one for it: free, over, or else the least counted. */
static struct counted *place_of(
	struct set *set, enum suspicion what, const char *key, int64_t window_ms, int64_t now_ms)
{
	struct counted *best = &set->all[0];

	for (size_t i = 0; i < SET_SIZE; i++) {
		struct counted *c = &set->all[i];
		if (c->count > 0 && c->ends_ms <= now_ms)
			c->count = 0;
		if (c->count > 0 && c->what == what && strcmp(c->key, key) == 0)
			return c;
		if (c->count < best->count)
			best = c;
	}
	begin(best, what, key, now_ms + window_ms);
	return best;
}

static bool trail_has(const struct suspicion_trail *trail, const char *id)
{
	for (size_t i = 0; i < trail->count; i++) {
		if (strcmp(trail->ids[i], id) == 0)
			return true;
	}
	return false;
}

/* At the end; where there is no room, in the place of the oldest. */
static void trail_add(struct suspicion_trail *trail, const char *object)
{
	if (trail_has(trail, object))
		return;
	if (trail->count == SUSPICION_TRAIL)
		memmove(trail->ids[0], trail->ids[1], --trail->count * sizeof(trail->ids[0]));
	snprintf(trail->ids[trail->count++], sizeof(trail->ids[0]), "%s", object);
}

static void remember(struct counted *c, const char *object)
{
	if (!c->trail)
		c->trail = memory_new(sizeof(*c->trail));
	trail_add(c->trail, object);
}

static void tell(const struct counted *c, struct suspicion_trail *trail)
{
	for (size_t i = 0; c->trail && i < c->trail->count; i++)
		trail_add(trail, c->trail->ids[i]);
}

bool suspicion_note(enum suspicion what, const char *key, int limit, int64_t window_ms, int64_t now_ms)
{
	return suspicion_note_object(what, key, NULL, limit, window_ms, now_ms, NULL);
}

bool suspicion_note_object(enum suspicion what, const char *key, const char *object, int limit, int64_t window_ms,
	int64_t now_ms, struct suspicion_trail *trail)
{
	if (limit == 0 || strlen(key) >= KEY_SIZE)
		return false;
	pthread_once(&once, make_sets);
	struct set *set = set_of(what, key);
	pthread_mutex_lock(&set->lock);
	struct counted *c = place_of(set, what, key, window_ms, now_ms);
	if (object && c->count < limit)
		remember(c, object);
	bool full = c->count < limit && ++c->count == limit;
	if (full && trail)
		tell(c, trail);
	pthread_mutex_unlock(&set->lock);
	return full;
}

bool suspicion_is_new(enum suspicion what, const char *key, const char *object, int64_t window_ms, int64_t now_ms)
{
	if (strlen(key) >= KEY_SIZE)
		return false;
	pthread_once(&once, make_sets);
	struct set *set = set_of(what, key);
	pthread_mutex_lock(&set->lock);
	struct counted *c = place_of(set, what, key, window_ms, now_ms);
	bool is_new = c->count < SUSPICION_TRAIL && !(c->trail && trail_has(c->trail, object));
	if (is_new) {
		c->count++;
		remember(c, object);
	}
	pthread_mutex_unlock(&set->lock);
	return is_new;
}
