/* suspicion.c - a small table of who is counted, searched from end to end: what comes here is rare, or should be. */
#include "gateway/access/suspicion.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define COUNTED_MAX 512
#define KEY_SIZE 260

struct counted {
	enum suspicion what;
	char key[KEY_SIZE];
	int count;	 /* 0: free */
	int64_t ends_ms; /* of its window */
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

bool suspicion_note(enum suspicion what, const char *key, int limit, int64_t window_ms, int64_t now_ms)
{
	if (limit == 0 || strlen(key) >= KEY_SIZE)
		return false;
	pthread_mutex_lock(&lock);
	struct counted *c = place_of(what, key, now_ms);
	if (c->count == 0) {
		c->what = what;
		c->ends_ms = now_ms + window_ms;
		snprintf(c->key, sizeof(c->key), "%s", key);
	}
	bool full = c->count < limit && ++c->count == limit;
	pthread_mutex_unlock(&lock);
	return full;
}
