/* feed.h - one feed while this worker holds its lease: reads, hands on, and acknowledges after the commit. */
#ifndef KEYFOB_GATEWAY_FEED_H
#define KEYFOB_GATEWAY_FEED_H

#include <stdbool.h>
#include <stdint.h>

struct batch_fence;
struct db;
struct feed;
struct lifecycle_source;
struct loop;
struct mqtt_broker;
struct mqtt_message;
struct receipt;

struct feed_options {
	const struct mqtt_broker *broker; /* all borrowed for life */
	const char *namespace, *worker;
	const struct lifecycle_source *lifecycle;
	struct db *reader;
	void *owner;
	/* One message; whoever works on it opens and closes the receipt. */
	void (*on_message)(void *owner, const struct batch_fence *, const struct mqtt_message *, struct receipt *);
	/* It is connected and reads on; where its session was gone, what was said since the last connection is lost. */
	void (*on_subscribed)(void *owner, const struct batch_fence *, bool session_present);
	/* Whether requests may name it. */
	void (*on_reading)(void *owner, const struct feed *, bool is_reading);
	/* It has not been read for five seconds, as keyfob_feeds_unheard counts until it is. */
	void (*on_unheard)(void *owner, const struct feed *);
	/* The lease is another's: close it. */
	void (*on_fenced)(void *owner, struct feed *);
};

/* `name` is the lease's: "feed/07", "feed/lifecycle", "feed/state", "feed/aws-commands". */
struct feed *feed_new(struct loop *, const struct feed_options *, const char *name, int64_t epoch);
void feed_start(struct feed *);
/* Disconnects and frees it when what it handed on is settled; `on_closed` is the last call. */
void feed_close(struct feed *, void (*on_closed)(void *owner));

const char *feed_name(const struct feed *);
/* Of the feed whose fence `on_message` was given: whether what it reads may have been said before it was connected. */
bool feed_is_behind(const struct batch_fence *);

#endif
