/* hub_internal.h - the inside of the hub, for its own files: hub.c, channel.c, fleet.c, fleet_tell.c, stage.c, subscribe.c, give.c, inbox.c. */
#ifndef KEYFOB_NOTIFIER_HUB_INTERNAL_H
#define KEYFOB_NOTIFIER_HUB_INTERNAL_H

#include "base/hash.h"
#include "base/json.h"
#include "notifier/hub.h"
#include "sql/batch.h"

#define ALL_VEHICLES "*" /* the fleet of all, watched by admin alone */

/* One vehicle that somebody here watches, by itself or through its fleet. */
struct hub_channel {
	UT_hash_handle hh;
	struct hub *hub;
	char vehicle_id[65];
	struct hub_fleet *fleet; /* that it is in, as far as was heard; NULL: none */
	int64_t seq;		 /* the last event delivered; -1: the head was not read yet */
	int64_t seen;		 /* the greatest seq heard of */
	struct list subscribers, watches;
	struct list stale_node; /* of the hub's, while it is stale */
	struct list fleet_node; /* of its fleet's watched ones, while it has subscribers */
	struct batch_item interest;
	bool registering;      /* the interest item is on its way */
	bool registered;       /* it has a row of interest of its own */
	bool stale;	       /* the interest must be written (again); nothing is delivered before */
	bool filling;	       /* the events after `seq`, or where they begin, are being read */
	int64_t idle_since_ms; /* nobody is here; 0: somebody is */
};

/* One fleet that somebody here watches, or that a vehicle is in which somebody watches. */
struct hub_fleet {
	UT_hash_handle hh;
	struct hub *hub;
	char fleet_id[65];
	struct list subscribers;
	size_t channels;       /* of its vehicles */
	struct list watched;   /* those of them that have subscribers of their own */
	int64_t version;       /* of its grants, as last heard or read; -1: not yet */
	bool registering;      /* interest is being written, or the heads are being read */
	bool registered;       /* it has a row of interest */
	bool live;	       /* the heads were read since */
	bool followed;	       /* they were, since somebody watches: who is not known by now has come in later */
	int64_t read_ms;       /* when the heads were read last, or asked for */
	int64_t rest_ms;       /* how long they are not read again for no other reason */
	unsigned joined;       /* vehicles of this reading that had come in unheard */
	bool anew;	       /* a resync came meanwhile: its interest is written again after this */
	char until[24];	       /* who had begun before that may not have seen the interest; "": they are over */
	char moment[24];       /* when the reading of the heads that is under way began, … */
	bool over;	       /* … whether they were over by then, … */
	char last[65];	       /* … and the last vehicle that it has come to; "": none */
	int64_t idle_since_ms; /* nobody watches; 0: somebody does */
};

struct hub {
	struct loop *loop;
	struct hub_options options;
	struct batch *batch;
	struct batch_stage interest, tell;
	struct hub_channel *channels;
	struct hub_fleet *fleets;
	struct list doubtful; /* subscribers whose rights are being read again */
	struct list stale;    /* channels */
	size_t subscribers;
	struct loop_timer tidy;
	unsigned ticks;
	/* Where those that go round all channels, a part in each tick, go on; NULL: at the first. */
	struct hub_channel *visited, *reconciled;
	bool reconciling, comparing;
	size_t units; /* database units whose answer is out */
};

/* event.c: frame and pieces of one event; the caller owns one reference. */
struct event_parts {
	const char *vehicle_id, *fleet_id, *left_fleet; /* "" is as good as NULL */
	int64_t seq;
	const char *type, *time, *data;
	size_t data_len;
};
struct hub_event *event_new(const struct event_parts *);
/* What somebody who may not see it gets in its place. */
struct hub_event *event_new_skipped(const struct hub_event *);
/* A move as the fleet that is left hears it: where the vehicle went is not its to know. */
struct hub_event *event_new_left(const struct hub_event *);
bool event_is(const struct hub_event *, const char *type);
/* Whom its data names as "subject"; NULL: nobody. Read once for all who get it. */
const char *event_subject(struct hub_event *);
/* Rights that come by the fleet change with it; a vehicle that is retired is nobody's. */
bool event_moves_rights(const struct hub_event *);

/* channel.c */
struct hub_channel *channel_find(struct hub *, const char *vehicle_id);
struct hub_channel *channel_get(struct hub *, const char *vehicle_id); /* made when there is none */
/* One that lives by its fleet's interest, and has come to `seq`; made when there is none. */
void channel_adopt(struct hub *, const char *vehicle_id, const char *fleet_id, int64_t seq);
/* One of a vehicle that came into a fleet (ALL_VEHICLES) while that was followed, and nobody heard: from there on. */
void channel_join(struct hub *, const char *vehicle_id, const char *fleet_id);
void channel_set_fleet(struct hub_channel *, const char *fleet_id);
void channel_count_subscribers(struct hub_channel *); /* one has come or gone */
void channel_set_stale(struct hub_channel *, bool);
void channel_want(struct hub_channel *);     /* somebody comes: it needs interest of its own */
void channel_register(struct hub_channel *); /* submits its interest, if it is stale */
void channel_end_beginners(struct hub_channel *, const struct fault *); /* who subscribes, and is not ready */
void channel_on_registered(struct hub_channel *, int64_t head_seq, const char *fleet_id);
/* An event was heard: delivered when it is the next, else the hole before it is filled first. */
void channel_hear(struct hub *, struct hub_event *);
/* The head is at `seq`: if that is ahead, what is missing is read. */
void channel_catch_up(struct hub_channel *, int64_t seq);
bool channel_is_used(const struct hub_channel *);
void channel_free(struct hub_channel *);

/* fleet.c */
struct hub_fleet *fleet_find(struct hub *, const char *fleet_id); /* NULL for NULL */
struct hub_fleet *fleet_get(struct hub *, const char *fleet_id);
bool fleet_wants(struct hub *, const struct hub_event *); /* somebody watches the vehicle through a fleet */
bool fleet_covers(const struct hub_channel *);		  /* likewise, as far as was heard */
/* This fleet, or all vehicles, if it is followed: then a vehicle that has no channel came in unheard. Else NULL. */
const char *fleet_follows(struct hub *, const char *fleet_id);
void fleet_deliver(struct hub *, struct hub_event *); /* a vehicle's next event, to those who watch its fleet */
void fleet_take_own(struct hub *, struct hub_event *, int64_t version); /* an event of the fleet itself */
void fleet_register(struct hub_fleet *);
void fleet_resync(struct hub *);
void fleet_tidy(struct hub *);
void fleet_compare(struct hub *); /* the versions of all fleets' grants with the database's */
void hub_fleet_free(struct hub_fleet *);

/* subscribe.c */
void subscribe_begin(struct hub_subscriber *); /* the channel's interest is committed, or the fleet is live */
void subscribe_abandon(struct hub_subscriber *);
void subscribe_keep(struct hub_subscriber *, struct hub_event *); /* it is not ready, or in doubt: for later */
/* Its rights may have changed: nothing more is given before they were read again. */
void subscriber_doubt(struct hub_subscriber *);
void subscribe_tidy(struct hub *); /* reads again what could not be read */
void subscriber_end(struct hub_subscriber *, const struct fault *);

/* give.c */
void subscriber_give(struct hub_subscriber *, struct hub_event *);	  /* a vehicle's next event */
void subscriber_give_access(struct hub_subscriber *, struct hub_event *); /* a fleet's access.changed */
void subscriber_give_alert(struct hub_subscriber *, struct hub_event *);  /* a fleet's security.alert */

/* inbox.c */
void inbox_add(struct text *, const struct hub_event *);
void inbox_add_of_fleet(struct text *, const struct hub_event *, int64_t version);

/* stage.c */
void hub_stages_init(struct hub *);

#endif
