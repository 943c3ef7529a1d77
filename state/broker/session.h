/* session.h - the connections of the broker as far as the plugin can know them, and what is told of each.
 *
 * mosquitto 2.0 says that a CONNECT is about to be judged, that access to a topic is asked, and that a connection
 * ended; never that one began. So a session is *asked* from the CONNECT that passed our own check, and *connected*
 * at the first proof that the broker took it too: an access check, the end of the loop's round with its client id
 * still in place (a refused client has lost it), or the end of the older connection that it took over.
 *
 *   CONNECT ─ asked ─┬─ proof: connected ── subscribed, unsubscribed … ── disconnected
 *                    └─ refused (wrong password): its end is not told, nor was its beginning
 *
 * The table owns the sessions. The broker owns the client behind each; its pointer is good until its DISCONNECT. */
#ifndef KEYFOB_STATE_BROKER_SESSION_H
#define KEYFOB_STATE_BROKER_SESSION_H

#include "base/list.h"
#include "state/broker/identity.h"
#include "state/broker/probe.h"
#include "state/broker/version.h"

#include <jansson.h>
#include <uthash.h>

struct mosquitto;
struct settings;

#define SESSION_UUID_SIZE 37
#define SESSION_TOPIC_SIZE 160 /* $aws/commands/things/ID/executions/EXECUTION/request/json */

enum session_stage { SESSION_ASKED, SESSION_CONNECTED };

enum topic_change { TOPICS_SUBSCRIBED, TOPICS_UNSUBSCRIBED };

struct session {
	struct mosquitto *client;
	char *id;
	enum role role;
	enum session_stage stage;
	bool is_superseded;  /* a newer connection has its client id */
	unsigned subscribed; /* a bit for each of its request topics */
	bool was_denied;     /* said once at notice, afterwards only at debug */
	char uuid[SESSION_UUID_SIZE];
	struct version *clock; /* of all sessions */
	int64_t version;
	int64_t told_ms;	  /* the time of its last event, Unix ms */
	enum topic_change change; /* what `topics` tells of */
	json_t *topics;		  /* of the packet in hand, not yet told */
	struct list due;	  /* in sessions.due while there is something to settle */
	UT_hash_handle by_client, by_id;
};

struct sessions {
	const struct settings *settings;
	struct version version;
	struct probe probe;
	struct session *by_client; /* all */
	struct session *by_id;	   /* connected vehicles, the newest of each id */
	struct session *latest;	   /* asked last; NULL once it ended */
	struct list due;
};

/* making */
/* `settings` is borrowed until sessions_done(). */
void sessions_init(struct sessions *, const struct settings *settings);
void sessions_done(struct sessions *);
/* A CONNECT of this client passed our check; its client id and role are final. */
void session_ask(struct sessions *, struct mosquitto *client, enum role);

/* asking */
struct session *session_of(const struct sessions *, const struct mosquitto *client);

/* changing */
/* The client is surely connected: makes its session if BASIC_AUTH never fired for it, and tells `connected`. */
struct session *session_prove(struct sessions *, struct mosquitto *client);
/* An allowed SUBSCRIBE or UNSUBSCRIBE names `filter`; told at the end of the round, with the others of its packet. */
void session_note(struct sessions *, struct session *, enum topic_change, const char *filter);
/* A probe found the session subscribed to one of its request topics. */
void session_found(struct sessions *, struct session *, const char *topic);
/* The connection ended; `s` is gone afterwards. */
void session_end(struct sessions *, struct session *s);
/* The end of a round of the broker's loop: tells what became certain in it. */
void sessions_settle(struct sessions *);
/* Tells of every connected vehicle anew. */
void sessions_retell(struct sessions *);

#endif
