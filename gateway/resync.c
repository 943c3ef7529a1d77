/* resync.c - a question that is due as soon as the link is up, though not too often. */
#include "gateway/resync.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/loop.h"
#include "base/memory.h"
#include "base/mqtt/link.h"
#include "state/reachability.h"

#define GAP_MS 10000
#define AGAIN_MS 1000
#define ANSWER_MS 60000 /* what takes longer is no answer (state/reachability.c) */
#define QUESTIONS_MAX 3 /* of a connection, in vain */

struct resync {
	struct loop *loop;
	struct resync_options options;
	char question[256], end[256]; /* topics */
	bool is_stopped, has_lease;
	bool is_due; /* not before due_ms */
	int64_t due_ms, asked_ms;
	unsigned questions; /* that are out since the feed has subscribed */
	struct loop_timer timer;
};

static void on_due(struct loop_timer *timer);
static void on_question(void *owner, const char *text);

struct resync *resync_new(struct loop *loop, const struct resync_options *options)
{
	struct resync *r = memory_new(sizeof(*r));

	r->loop = loop;
	r->options = *options;
	snprintf(r->question, sizeof(r->question), "%s/%s/resync", options->prefix, options->namespace);
	snprintf(r->end, sizeof(r->end), "%s/%s/resynced", options->prefix, options->namespace);
	loop_timer_init(loop, &r->timer, on_due);
	return r;
}

void resync_stop(struct resync *r)
{
	r->is_stopped = true;
	loop_timer_stop(&r->timer);
}

bool resync_is_end(const struct resync *r, const struct mqtt_message *m)
{
	return strcmp(m->topic, r->end) == 0;
}

/* Whoever reads the feed by now asks for itself: another's question has a whole fleet named and is answered to nobody. */
void resync_on_lease(struct resync *r, bool held)
{
	r->has_lease = held;
	r->is_due = r->is_due && held;
}

static void ask(struct resync *r)
{
	int64_t now_ms = loop_monotonic_ms(r->loop);

	if (r->is_stopped || !r->is_due || !r->options.is_link_up(r->options.owner))
		return;
	if (now_ms < r->due_ms) {
		loop_timer_start(&r->timer, r->due_ms - now_ms);
		return;
	}
	r->is_due = false;
	r->asked_ms = now_ms;
	reachability_resync_begin(r->options.reachability, on_question, r);
}

static void on_due(struct loop_timer *timer)
{
	ask(container_of(timer, struct resync, timer));
}

static void ask_at(struct resync *r, int64_t due_ms)
{
	r->is_due = true;
	r->due_ms = due_ms;
	ask(r);
}

void resync_on_subscribed(struct resync *r, bool session_present)
{
	r->questions = 0;
	ask_at(r, session_present && r->asked_ms > 0 ? r->asked_ms + GAP_MS : 0);
}

void resync_on_link_up(struct resync *r)
{
	ask(r);
}

/* That of a connection before says nothing to what this one has to ask. */
void resync_on_answer(struct resync *r)
{
	if (r->questions == 0)
		return;
	r->questions = 0;
	r->is_due = false;
	loop_timer_stop(&r->timer);
}

static void publish(struct resync *r, const char *text)
{
	r->options.publish(r->options.owner,
		&(struct mqtt_publish){ .topic = r->question, .payload = text, .len = strlen(text), .qos = 1 });
	if (r->is_due)
		return; /* the feed has connected anew meanwhile */
	if (++r->questions < QUESTIONS_MAX)
		ask_at(r, loop_monotonic_ms(r->loop) + ANSWER_MS);
}

/* Where the database or the broker has gone meanwhile, it begins again. */
static void on_question(void *owner, const char *text)
{
	struct resync *r = owner;

	if (r->is_stopped || !r->has_lease)
		return;
	if (text && r->options.is_link_up(r->options.owner))
		publish(r, text);
	else
		ask_at(r, loop_monotonic_ms(r->loop) + AGAIN_MS);
}
