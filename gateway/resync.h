/* resync.h - asks the broker who is there: what vehicles did while nobody heard the lifecycle feed is told by no event.
 *
 * The worker that reads the feed asks, and nobody else. A broker that was restarted knows nobody whom it knew, whether it kept the feed's
 * session or not: it is asked each time. Where the session is gone, events are too: at once. Else it may have been the line
 * alone, and a line that flaps must not have a whole fleet named over and over.
 *
 * A question may get lost on its way, and so may the answer's end: it is asked again a minute later, twice at most. Many brokers know of no
 * resync, and answer nothing. */
#ifndef KEYFOB_GATEWAY_RESYNC_H
#define KEYFOB_GATEWAY_RESYNC_H

#include <stdbool.h>

struct loop;
struct mqtt_message;
struct mqtt_publish;
struct reachability;
struct resync;

struct resync_options { /* borrowed for life */
	const char *prefix, *namespace;
	struct reachability *reachability; /* has the question, and judges who is not named */
	void *owner;
	bool (*is_link_up)(void *owner);
	int (*publish)(void *owner, const struct mqtt_publish *);
};

struct resync *resync_new(struct loop *, const struct resync_options *);
void resync_stop(struct resync *); /* for good: the worker ends */

void resync_on_lease(struct resync *, bool held);		  /* the lifecycle feed's */
void resync_on_subscribed(struct resync *, bool session_present); /* to that feed */
void resync_on_link_up(struct resync *);
/* The last question has its answer. */
void resync_on_answer(struct resync *);
/* The broker has named all: what the feed brings last. */
bool resync_is_end(const struct resync *, const struct mqtt_message *);

#endif
