/* suspects.c - a table of them, the one that was refused the longest ago making room. */
#include "sql/suspects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "sql/batch.h"
#include "sql/cut.h"

#define SUSPECTS_MAX 256
#define TRIES 4	    /* alone, each with others' items done since the one before */
#define FORGOTTEN 3 /* times the patience: who was not refused for that time is none any more */

/* A vehicle over which the server was in trouble, in a stage, when it went alone. */
struct suspect {
	char vehicle_id[SUSPECT_NAME_MAX];
	const struct batch_stage *stage;
	int64_t since_ms, refused_ms; /* monotonic: the first of the tries that count, and the last */
	unsigned tries;
	bool others_done; /* items of the stage, since the last try */
};

struct suspects {
	struct suspect of[SUSPECTS_MAX];
	size_t count;
	int64_t patience_ms;
};

struct suspects *suspects_new(int64_t patience_ms)
{
	struct suspects *suspects = memory_new(sizeof(*suspects));

	suspects->patience_ms = patience_ms;
	return suspects;
}

void suspects_free(struct suspects *suspects)
{
	free(suspects);
}

static bool is_about(const struct suspect *s, const struct batch_item *item)
{
	return s->stage == item->stage && strcmp(s->vehicle_id, item->vehicle_id) == 0;
}

static struct suspect *find(struct suspects *suspects, const struct batch_item *item)
{
	for (size_t i = 0; i < suspects->count; i++) {
		if (is_about(&suspects->of[i], item))
			return &suspects->of[i];
	}
	return NULL;
}

bool suspects_have(struct suspects *suspects, const struct batch_item *item)
{
	return find(suspects, item) != NULL;
}

static struct suspect *make_room(struct suspects *suspects)
{
	struct suspect *oldest = &suspects->of[0];

	if (suspects->count < SUSPECTS_MAX)
		return &suspects->of[suspects->count++];
	for (size_t i = 1; i < SUSPECTS_MAX; i++) {
		if (suspects->of[i].refused_ms < oldest->refused_ms)
			oldest = &suspects->of[i];
	}
	return oldest;
}

static void add(struct suspects *suspects, const struct batch_item *item, int64_t now_ms)
{
	struct suspect *s = make_room(suspects);

	*s = (struct suspect){ .stage = item->stage, .since_ms = now_ms, .refused_ms = now_ms, .tries = 1 };
	snprintf(s->vehicle_id, sizeof(s->vehicle_id), "%s", item->vehicle_id);
}

/* Against their own vehicles' suspects, too: a vehicle says more than one thing, and one of them may be done each time. So a suspect is
 * cleared by time alone. */
void suspects_note_done(struct suspects *suspects, const struct batch_cut *cut, int64_t now_ms)
{
	for (size_t i = suspects->count; i-- > 0;) {
		struct suspect *s = &suspects->of[i];
		if (now_ms - s->refused_ms > FORGOTTEN * suspects->patience_ms)
			*s = suspects->of[--suspects->count];
		else if (cut_has(cut, s->stage))
			s->others_done = true;
	}
}

/* Where nothing was done meanwhile, it says nothing. */
bool suspects_refused(struct suspects *suspects, const struct batch_item *item, int64_t now_ms)
{
	struct suspect *s = find(suspects, item);

	if (!s) {
		add(suspects, item, now_ms);
		return false;
	}
	s->refused_ms = now_ms;
	if (!s->others_done)
		return false;
	s->others_done = false;
	s->tries++;
	if (s->tries < TRIES || now_ms - s->since_ms < suspects->patience_ms)
		return false;
	s->tries = 0; /* the next thing that is said of it is tried for as long */
	s->since_ms = now_ms;
	return true;
}
