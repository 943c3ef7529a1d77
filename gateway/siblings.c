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

#define UNREAD_MAX (16 << 20) /* bytes of events; what would be more goes by the broker, which has bounds of its own */

struct sibling {
	struct siblings *all;
	const char *worker;
	struct sibling_ears ears;
	uv_async_t post; /* what came is in `letters` */
	struct list letters, node;
	size_t unread; /* bytes of events in them, without those that are told in order */
	bool has_left;
};

struct siblings {
	pthread_mutex_t lock; /* of everything here, and of the members' letters */
	struct list members;
	struct sibling *readers[FEED_COUNT];
};

/* A claim under way, with texts of its own, or events. */
struct letter {
	struct list node;
	struct claim claim;
	char *events; /* NULL: it is a claim */
	size_t len;
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
	free(letter->events);
	free(letter);
}

static void read_letter(const struct sibling *s, const struct letter *letter)
{
	if (letter->events)
		s->ears.on_events(s->ears.owner, letter->events, letter->len);
	else
		s->ears.on_claim(s->ears.owner, &letter->claim);
}

static void on_post(uv_async_t *post)
{
	struct sibling *s = container_of(post, struct sibling, post);
	struct list came;

	list_init(&came);
	pthread_mutex_lock(&s->all->lock);
	list_append_all(&came, &s->letters);
	s->unread = 0;
	pthread_mutex_unlock(&s->all->lock);
	while (!list_is_empty(&came)) {
		struct letter *letter = container_of(list_take_first(&came), struct letter, node);
		read_letter(s, letter);
		letter_free(letter);
	}
}

struct sibling *sibling_join(
	struct siblings *all, struct loop *loop, const char *worker, const struct sibling_ears *ears)
{
	struct sibling *s = memory_new(sizeof(*s));

	*s = (struct sibling){ .all = all, .worker = worker, .ears = *ears };
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

void sibling_hear(struct sibling *s)
{
	on_post(&s->post);
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
	sibling_hear(s);
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

static bool takes(const struct sibling *s, size_t counted)
{
	return s && !s->has_left && s->unread + counted <= UNREAD_MAX;
}

static bool post(struct siblings *all, const char *worker, struct letter *letter, size_t counted)
{
	pthread_mutex_lock(&all->lock);
	struct sibling *s = find(all, worker);
	bool taken = takes(s, counted);
	if (taken) {
		list_append(&s->letters, &letter->node);
		s->unread += counted;
		uv_async_send(&s->post);
	}
	pthread_mutex_unlock(&all->lock);
	if (!taken)
		letter_free(letter);
	return taken;
}

bool siblings_hand_over(struct siblings *all, const char *worker, const struct claim *claim)
{
	return post(all, worker, letter_new(claim), 0);
}

/* Most are of other nodes: nothing is copied before it is known who takes it. */
bool siblings_tell(struct siblings *all, const char *worker, const char *text, size_t len, bool in_order)
{
	size_t counted = in_order ? 0 : len;

	pthread_mutex_lock(&all->lock);
	bool taken = takes(find(all, worker), counted);
	pthread_mutex_unlock(&all->lock);
	if (!taken)
		return false;
	struct letter *letter = memory_new(sizeof(*letter));
	letter->events = memory_raw(len);
	letter->len = len;
	memcpy(letter->events, text, len);
	return post(all, worker, letter, counted);
}
