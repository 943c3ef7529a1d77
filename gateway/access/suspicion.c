/* suspicion.c - a small table of who is counted, searched from end to end: what comes here is rare, or should be. */
#include "gateway/access/suspicion.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

#define COUNTED_MAX 512
#define KEY_SIZE 260

struct counted {
	enum suspicion what;
	char key[KEY_SIZE];
	int count;		       /* 0: free */
	int64_t ends_ms;	       /* of its window */
	struct suspicion_trail *trail; /* NULL: it never had one */
};

static struct counted table[COUNTED_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The key's own place, or one for it: free, over, or else the least counted. */
static struct counted *place_of(enum suspicion what, const char *key, int64_t now_ms)
{
	struct counted *best = &table[0];

	for (size_t i = 0; i < COUNTED_MAX; i++) {
		struct counted *c = &table[i];
		if (c->count > 0 && c->ends_ms <= now_ms)
			c->count = 0;
		if (c->count > 0 && c->what == what && strcmp(c->key, key) == 0)
			return c;
		if (c->count < best->count)
			best = c;
	}
	best->count = 0;
	return best;
}

/* At the end; where there is no room, in the place of the oldest. */
static void trail_add(struct suspicion_trail *trail, const char *vehicle_id)
{
	for (size_t i = 0; i < trail->count; i++) {
		if (strcmp(trail->ids[i], vehicle_id) == 0)
			return;
	}
	if (trail->count == SUSPICION_TRAIL)
		memmove(trail->ids[0], trail->ids[1], --trail->count * sizeof(trail->ids[0]));
	snprintf(trail->ids[trail->count++], sizeof(trail->ids[0]), "%s", vehicle_id);
}

static void remember(struct counted *c, const char *vehicle_id)
{
	if (!c->trail)
		c->trail = memory_new(sizeof(*c->trail));
	trail_add(c->trail, vehicle_id);
}

static void tell(const struct counted *c, struct suspicion_trail *trail)
{
	for (size_t i = 0; c->trail && i < c->trail->count; i++)
		trail_add(trail, c->trail->ids[i]);
}

bool suspicion_note(enum suspicion what, const char *key, int limit, int64_t window_ms, int64_t now_ms)
{
	return suspicion_note_vehicle(what, key, NULL, limit, window_ms, now_ms, NULL);
}

bool suspicion_note_vehicle(enum suspicion what, const char *key, const char *vehicle_id, int limit, int64_t window_ms,
	int64_t now_ms, struct suspicion_trail *trail)
{
	if (limit == 0 || strlen(key) >= KEY_SIZE)
		return false;
	pthread_mutex_lock(&lock);
	struct counted *c = place_of(what, key, now_ms);
	if (c->count == 0) {
		c->what = what;
		c->ends_ms = now_ms + window_ms;
		snprintf(c->key, sizeof(c->key), "%s", key);
		if (c->trail)
			c->trail->count = 0;
	}
	if (vehicle_id)
		remember(c, vehicle_id);
	bool full = c->count < limit && ++c->count == limit;
	if (full && trail)
		tell(c, trail);
	pthread_mutex_unlock(&lock);
	return full;
}
