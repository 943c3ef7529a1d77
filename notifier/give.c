/* give.c - what of an event a subscriber may see, and what an event says about its rights. */
#include <string.h>

#include "base/json.h"
#include "base/metrics.h"
#include "notifier/hub_internal.h"

#define RANK_ALL 3 /* owners and managers see everybody's access.changed and webhook.disabled, and alerts */

static bool is_own(const struct hub_subscriber *s, struct hub_event *event)
{
	const char *subject = event_subject(event);

	return subject && strcmp(subject, s->subject) == 0;
}

static bool sees_all(const struct hub_subscriber *s)
{
	return s->admin || s->rank >= RANK_ALL;
}

/* The vehicle's grants do not touch a fleet's subscriber. The event itself is given: it explains the silence that follows. */
static void give_own(struct hub_subscriber *s, struct hub_event *event)
{
	s->on_event(s, event);
	if (s->hub && !s->admin && (s->channel || !event->vehicle_id))
		subscriber_doubt(s);
}

static void give_skipped(struct hub_subscriber *s, struct hub_event *event)
{
	struct hub_event *skipped = event_new_skipped(event);

	s->on_event(s, skipped);
	hub_event_unref(skipped);
}

/* An access.changed goes to its subject, to owners and managers; everybody else gets `skipped` in its place. */
static void give_access(struct hub_subscriber *s, struct hub_event *event)
{
	if (is_own(s, event)) {
		give_own(s, event);
	} else if (sees_all(s)) {
		s->on_event(s, event);
	} else {
		give_skipped(s, event);
	}
}

/* Whether it gets `skipped` in the event's place. */
static bool is_hidden(const struct hub_subscriber *s, struct hub_event *event)
{
	return (event_is(event, "security.alert") || (event_is(event, "webhook.disabled") && !is_own(s, event))) &&
	       !sees_all(s);
}

void subscriber_give(struct hub_subscriber *s, struct hub_event *event)
{
	s->next_seq = event->seq + 1;
	metric_add(METRIC_EVENTS_DELIVERED, 1);
	if (event->is_for_some && event_is(event, "access.changed"))
		give_access(s, event);
	else if (event->is_for_some && is_hidden(s, event))
		give_skipped(s, event);
	else
		s->on_event(s, event);
}

/* It has no seq: whoever may not see it misses nothing. */
void subscriber_give_alert(struct hub_subscriber *s, struct hub_event *event)
{
	if (s->ready && !s->subscribing && sees_all(s))
		s->on_event(s, event);
}

/* It has no seq, so nobody misses one that is not his. Who is not ready, or in doubt, reads his rights anew. */
void subscriber_give_access(struct hub_subscriber *s, struct hub_event *event)
{
	bool own = is_own(s, event);

	if (s->ready && own)
		give_own(s, event);
	else if (s->ready && !s->subscribing && sees_all(s))
		s->on_event(s, event);
	else if (own && s->subscribing)
		subscribe_begin(s);
}
