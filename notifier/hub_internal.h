/* hub_internal.h - the inside of the hub, for its own files: hub.c, channel.c, stage.c, subscribe.c, inbox.c. */
#ifndef KEYFOB_NOTIFIER_HUB_INTERNAL_H
#define KEYFOB_NOTIFIER_HUB_INTERNAL_H

#include <uthash.h>

#include "base/json.h"
#include "notifier/hub.h"
#include "sql/batch.h"

/* One vehicle that somebody here watches. */
struct hub_channel {
	UT_hash_handle hh;
	struct hub *hub;
	char vehicle_id[65];
	int64_t seq;  /* the last event delivered; -1: the head was not read yet */
	int64_t seen; /* the greatest seq heard of */
	struct list subscribers, watches;
	struct batch_item interest;
	bool registering;      /* the interest item is on its way */
	bool stale;	       /* the interest must be written (again); nothing is delivered before */
	bool filling;	       /* the events after `seq` are being read */
	int64_t idle_since_ms; /* nobody is here; 0: somebody is */
};

struct hub {
	struct loop *loop;
	struct hub_options options;
	struct batch *batch;
	struct batch_stage interest, tell;
	struct hub_channel *channels;
	size_t subscribers;
	struct loop_timer tidy;
	size_t reconciled; /* how many channels the slow reconciliation has passed in this round */
	bool reconciling;
	size_t units; /* database units whose answer is out */
};

/* event.c: frame and pieces of one event; the caller owns one reference. */
struct hub_event *event_new(
	const char *vehicle_id, int64_t seq, const char *type, const char *time, const char *data, size_t data_len);
/* What somebody who may not see it gets in its place. */
struct hub_event *event_new_skipped(const struct hub_event *);

/* channel.c */
struct hub_channel *channel_find(struct hub *, const char *vehicle_id);
struct hub_channel *channel_get(struct hub *, const char *vehicle_id);	/* made when there is none */
void channel_register(struct hub_channel *);				/* submits its interest, if it is stale */
void channel_end_beginners(struct hub_channel *, const struct fault *); /* who subscribes, and is not ready */
void channel_on_registered(struct hub_channel *, int64_t head_seq);
/* An event was heard: delivered when it is the next, else the hole before it is filled first. */
void channel_take(struct hub_channel *, struct hub_event *);
/* The head is at `seq`: if that is ahead, what is missing is read. */
void channel_catch_up(struct hub_channel *, int64_t seq);
void channel_leave(struct hub_channel *); /* somebody left */
void channel_free(struct hub_channel *);

/* subscribe.c */
void subscribe_begin(struct hub_subscriber *); /* the channel's interest is committed */
void subscribe_abandon(struct hub_subscriber *);
void subscribe_keep(struct hub_subscriber *, struct hub_event *); /* it is not ready: for later */
void subscriber_give(struct hub_subscriber *, struct hub_event *);
void subscriber_end(struct hub_subscriber *, const struct fault *);

/* inbox.c */
void inbox_add(struct text *, const struct hub_event *);

/* stage.c */
void hub_stages_init(struct hub *);

#endif
