/* siblings.c - a table of feeds, and a letter box for each worker; one lock, held for a few instructions. */
#include "gateway/siblings.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/list.h"
#include "base/loop.h"
#include "base/memory.h"
#include "commands/dispatch.h"
#include "commands/topic.h"

struct sibling {
	struct siblings *all;
	const char *worker;
	void *owner;
	void (*on_claim)(void *owner, const struct claim *);
	uv_async_t post; /* what came is in `letters` */
	struct list letters, node;
	bool has_left;
};

struct siblings {
	pthread_mutex_t lock; /* of everything here, and of the members' letters */
	struct list members;
	struct sibling *readers[FEED_COUNT];
};

/* A claim under way, with texts of its own. */
struct letter {
	struct list node;
	struct claim claim;
};

struct siblings *siblings_new(void)
{
	struct siblings *s = memory_new(sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
	list_init(&s->members);
	return s;
}

/* The texts of a claim, in the order of its members. */
#define EACH_TEXT(apply)                                                                                               \
	apply(vehicle_id) apply(id) apply(name) apply(params) apply(sealed_params) apply(issued_at) apply(expires_at)  \
		apply(traceparent) apply(tracestate) apply(session) apply(worker) apply(protocol)

static struct letter *letter_new(const struct claim *claim)
{
	struct letter *letter = memory_new(sizeof(*letter));
	letter->claim = *claim;
#define COPY(text) letter->claim.text = claim->text ? memory_need(strdup(claim->text)) : NULL;
	EACH_TEXT(COPY)
#undef COPY
	return letter;
}

static void letter_free(struct letter *letter)
{
#define FREE(text) free((char *)(uintptr_t)letter->claim.text);
	EACH_TEXT(FREE)
#undef FREE
	free(letter);
}

static void on_post(uv_async_t *post)
{
	struct sibling *s = container_of(post, struct sibling, post);
	struct list came;

	list_init(&came);
	pthread_mutex_lock(&s->all->lock);
	list_append_all(&came, &s->letters);
	pthread_mutex_unlock(&s->all->lock);
	while (!list_is_empty(&came)) {
		struct letter *letter = container_of(list_take_first(&came), struct letter, node);
		s->on_claim(s->owner, &letter->claim);
		letter_free(letter);
	}
}

struct sibling *sibling_join(struct siblings *all, struct loop *loop, const char *worker, void *owner,
	void (*on_claim)(void *owner, const struct claim *))
{
	struct sibling *s = memory_new(sizeof(*s));

	*s = (struct sibling){ .all = all, .worker = worker, .owner = owner, .on_claim = on_claim };
	list_init(&s->letters);
	uv_async_init(loop_uv(loop), &s->post, on_post);
	pthread_mutex_lock(&all->lock);
	list_append(&all->members, &s->node);
	pthread_mutex_unlock(&all->lock);
	return s;
}

void sibling_reads(struct sibling *s, unsigned feed, bool reads)
{
	pthread_mutex_lock(&s->all->lock);
	if (reads && !s->has_left)
		s->all->readers[feed] = s;
	else if (s->all->readers[feed] == s)
		s->all->readers[feed] = NULL;
	pthread_mutex_unlock(&s->all->lock);
}

void sibling_leave(struct sibling *s)
{
	pthread_mutex_lock(&s->all->lock);
	s->has_left = true;
	for (size_t i = 0; i < FEED_COUNT; i++) {
		if (s->all->readers[i] == s)
			s->all->readers[i] = NULL;
	}
	pthread_mutex_unlock(&s->all->lock);
	on_post(&s->post); /* what came until now */
}

const char *siblings_reader(struct siblings *all, unsigned feed)
{
	pthread_mutex_lock(&all->lock);
	const char *worker = all->readers[feed] ? all->readers[feed]->worker : NULL;
	pthread_mutex_unlock(&all->lock);
	return worker;
}

static struct sibling *find(struct siblings *all, const char *worker)
{
	for (struct list *n = all->members.next; n != &all->members; n = n->next) {
		struct sibling *s = container_of(n, struct sibling, node);
		if (strcmp(s->worker, worker) == 0)
			return s;
	}
	return NULL;
}

bool siblings_hand_over(struct siblings *all, const char *worker, const struct claim *claim)
{
	struct letter *letter = letter_new(claim);

	pthread_mutex_lock(&all->lock);
	struct sibling *s = find(all, worker);
	bool taken = s && !s->has_left;
	if (taken) {
		list_append(&s->letters, &letter->node);
		uv_async_send(&s->post);
	}
	pthread_mutex_unlock(&all->lock);
	if (!taken)
		letter_free(letter);
	return taken;
}
