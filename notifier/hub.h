/* hub.h - a worker's fan-out: every event of a vehicle, in order, each once, without a hole, to every subscriber.
 *
 * The hub keeps a channel for each vehicle that somebody here watches, by itself or through its fleet, and tells the
 * database of it (interest).
 * Events come from this worker's own transactions, after their commit and without a hop, and from other workers by
 * the inbox. A hole (a message was lost, two batches crossed) is filled from the event table before anything later
 * is delivered; hub_resync() looks for holes everywhere. A frame is built once for all subscribers.
 *
 * A subscriber holds a grant. Where that may have changed (an access.changed, a move, its end) nothing more reaches the
 * subscriber before its rights were read again. */
#ifndef KEYFOB_NOTIFIER_HUB_H
#define KEYFOB_NOTIFIER_HUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "base/list.h"
#include "base/loop.h"

struct batch;
struct batch_stage;
struct db;
struct hub;
struct hub_channel;
struct hub_fleet;
struct subscribing;

/* One event, shared by all who get it; borrowed until on_event returns (hub_event_ref() to keep it). */
struct hub_event {
	const char *vehicle_id; /* NULL: an access.changed or a security.alert of the fleet itself, which has no seq */
	const char *fleet_id;	/* the vehicle's at that moment; NULL: none */
	const char *left_fleet; /* the one that it left by this; NULL: none */
	int64_t seq;
	unsigned serial;  /* of one of a fleet itself: it may come by several subscriptions */
	const char *type; /* "command.updated" */
	bool is_for_some; /* not everybody who watches may see it as it is */
	const char *time; /* RFC 3339 */
	const char *data; /* JSON text */
	size_t data_len;
	const char *frame; /* the WebSocket notification: {"jsonrpc":"2.0","method":"event","params":{…}} */
	size_t frame_len;
	char *subject;	       /* event_subject(), … */
	bool has_read_subject; /* … once somebody asked */
	unsigned refs;
};
struct hub_event *hub_event_ref(const struct hub_event *);
void hub_event_unref(struct hub_event *);

/* What a subscriber begins with; borrowed until on_ready returns. */
struct hub_snapshot {
	const char *
		vehicle; /* the vehicle's JSON, as GET /v1/vehicles/{id} shows it to this subject; NULL: it is a fleet */
	int64_t vehicles; /* a fleet's: how many it has */
	const char *epoch;
	int64_t seq; /* events with a greater seq follow, or greater than `after` when recovered */
	bool recovered;
};

/* One app's interest in one vehicle or fleet. Embedded in its owner; every callback comes from the loop. */
struct hub_subscriber {
	/* set by the owner before hub_subscribe() */
	const char *subject; /* borrowed while subscribed */
	bool admin;
	const char *epoch; /* with `after`: only this history is resumed; borrowed until on_ready; NULL: any */
	int64_t after;	   /* -1: none */
	void (*on_ready)(struct hub_subscriber *, const struct hub_snapshot *);
	void (*on_event)(struct hub_subscriber *, const struct hub_event *);
	/* Whether it can take more of a replay now; NULL: always. After a false the owner calls hub_carry_on(). */
	bool (*has_room)(const struct hub_subscriber *);
	/* It is over: VEHICLE_NOT_FOUND, FLEET_NOT_FOUND or a storage fault before on_ready; later FORBIDDEN when the
	 * grant ended, OVERLOADED when too much came before that was clear, or the log lost what a
	 * replay had not come to. Never called after hub_unsubscribe(). */
	void (*on_end)(struct hub_subscriber *, const struct fault *);

	/* the hub's */
	struct list node;
	struct hub *hub;		 /* NULL: not subscribed, or ended */
	struct hub_channel *channel;	 /* of a vehicle; NULL: */
	struct hub_fleet *fleet;	 /* of a fleet */
	struct subscribing *subscribing; /* until it is ready, and while its rights are read again */
	bool ready;
	bool replaying;		  /* since on_ready with `recovered`, until it has come to the present */
	int64_t next_seq;	  /* the next event it may see */
	int rank;		  /* of its role: from 3 on it sees everybody's access.changed */
	struct loop_timer expiry; /* of its grant */
};

/* One command that somebody waits for (Prefer: wait). Embedded in its owner. It watches from the moment of
 * hub_watch(), whose interest goes into the same transaction as an accept that follows in the same turn. */
struct hub_watch {
	void (*on_command)(struct hub_watch *,
		const char *command_json); /* each command.updated of the vehicle whose id is `command_id` */
	char command_id[37];
	struct list node;
	struct hub_channel *channel;
};

struct hub_options {
	const char *worker;	    /* this worker's id */
	struct db *writer, *reader; /* the batch's connection, and the one for reading */
	bool synchronous;	    /* database.synchronous: a promoted standby continues the history */
	void *owner;
	/* Sends `text` (lines, see inbox.c) to another worker's inbox; false when it cannot now: the other fills the hole. */
	bool (*forward)(void *owner, const char *worker, const char *text, size_t len);
	/* An event was given to those who watch here. NULL: nobody wants to know. */
	void (*given)(void *owner, const struct hub_event *);
};

/* making */
struct hub *hub_new(struct loop *, const struct hub_options *);
void hub_free(struct hub *); /* no subscriber may be left */
/* Its two stages of the batch: interest (before anything that writes events) and tell (after everything). */
struct batch_stage *hub_interest_stage(struct hub *);
struct batch_stage *hub_tell_stage(struct hub *);
void hub_attach(struct hub *, struct batch *);
/* The worker ends: nothing more is asked of the database. */
void hub_stop(struct hub *);

/* asking */
size_t hub_subscribers(const struct hub *);
bool hub_is_quiet(const struct hub *); /* nothing of its own is with the database */

/* changing */
void hub_subscribe(struct hub *, struct hub_subscriber *, const char *vehicle_id);
/* Every event of a fleet's vehicles from on_ready on ("*": all vehicles, for admin alone). `epoch` and `after` do not count. */
void hub_subscribe_fleet(struct hub *, struct hub_subscriber *, const char *fleet_id);
void hub_unsubscribe(struct hub *, struct hub_subscriber *); /* also one that has ended; never calls back */
/* It has room again: its replay goes on, if one waits. May call it back at once. */
void hub_carry_on(struct hub *, struct hub_subscriber *);
void hub_watch(struct hub *, struct hub_watch *, const char *vehicle_id);
void hub_unwatch(struct hub *, struct hub_watch *);
/* A grant on a fleet was made, changed or ended; its commit is known. `version` counts the changes of that fleet's grants,
 * `data` is access.changed's, `workers` who watches (comma-separated; NULL: nobody). */
void hub_tell_access(struct hub *, const char *fleet_id, int64_t version, const char *data, const char *workers);
/* Something was noticed of a fleet (`data` is security.alert's): told to its managers, and to admin who watches all. One that does not exist
 * has nobody to tell; while the database is away nobody is. */
void hub_tell_alert(struct hub *, const char *fleet_id, const char *data);
/* Whether an inbox message is a change of a fleet's grants: it has no number in a vehicle's order, and what follows must not overtake it. */
bool hub_is_access(const char *text, size_t len);
/* An inbox message of another worker. */
void hub_receive(struct hub *, const char *text, size_t len);
/* Writes all interest again and looks for holes: after every reconnect of database or broker, when a worker died,
 * when the lease was not renewed in time, and now and then. Delivers nothing in between. */
void hub_resync(struct hub *);

#endif
