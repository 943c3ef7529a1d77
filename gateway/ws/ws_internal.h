/* ws_internal.h - the room's own files and what passes between them.
 *
 *   ws.c            adopts, drains             upgrade.c       reads the upgrade request
 *   socket.c        one app's connection       origin.c        judges where it comes from
 *   outbox.c        what waits to be sent      refusal.c       answers one that is not let in
 *   session.c       who is there, until when   rpc.c           from a message to a call, and its answer
 *   subscription.c  what it watches            lws_border.c    libwebsockets
 *   unheard.c       what came in beside its messages */
#ifndef KEYFOB_GATEWAY_WS_INTERNAL_H
#define KEYFOB_GATEWAY_WS_INTERNAL_H

#include <netinet/in.h>

#include "base/json.h"
#include "base/list.h"
#include "base/loop.h"
#include "gateway/api.h"
#include "gateway/ws/lws_border.h"
#include "gateway/ws/outbox.h"
#include "gateway/ws/unheard.h"
#include "gateway/ws/ws.h"

#define WS_ROUTE "/v1/ws"
#define LOOK_MS 200 /* between two looks at what came in unheard, a part of the sockets each */

struct hub_event;
struct subscription;

/* Contract §5; the first three are RFC 6455 §7.4.1. */
enum close_code {
	CLOSE_UNMASKED = 1002,
	CLOSE_BINARY = 1003,
	CLOSE_TOO_BIG = 1009,
	CLOSE_RESTARTING = 1012,
	CLOSE_MALFORMED = 4400,
	CLOSE_UNAUTHENTICATED = 4401,
	CLOSE_FORBIDDEN = 4403,
	CLOSE_TOO_SLOW = 4408,
	CLOSE_TOO_MANY = 4429,
};

struct ws {
	struct loop *loop;
	struct api *api;
	struct ws_options options;
	struct border *border;
	struct list sockets, newcomers; /* the second wait for the keys of their token */
	size_t socket_count;
	struct loop_timer look; /* at what comes in unheard, while there are sockets */
	bool draining;
	struct subscription *subscriptions; /* all sockets', by socket and vehicle */
	struct list ended;		    /* subscriptions that are freed in the next turn */
	struct loop_soon bury;
	struct list due; /* sockets that were given something to send in this turn */
	struct loop_soon flush;
};

enum socket_state {
	SOCKET_STRANGER, /* has to send session.authenticate first */
	SOCKET_KNOWN,
	SOCKET_PARTING, /* the node drains: it is closed as soon as its calls are answered */
	SOCKET_CLOSING, /* sends what waits, then its close frame; hears nothing any more */
};

/* A session.authenticate that waits for the keys of its token. */
struct login {
	struct keys_wait keys;
	json_t *id, *token; /* NULL: none waits */
};

/* One app's connection. Owned by libwebsockets' end of it: on_closed frees it. */
struct socket {
	struct list node;
	struct ws *ws;
	struct border_link link;
	enum socket_state state;
	char peer[INET6_ADDRSTRLEN],
		client[INET6_ADDRSTRLEN]; /* the second stands behind a trusted proxy, or is the first */
	struct caller caller;		  /* from SOCKET_KNOWN on */
	struct login login;		  /* session.c: under way */
	struct loop_timer deadline;	  /* of its state */
	struct loop_timer ping;
	unsigned unanswered_pings;

	struct text message; /* the pieces of one that came in several */
	unsigned empty_pieces;
	struct unheard unheard;
	double allowance; /* messages that it may send now */
	int64_t allowance_at_ms;
	unsigned nonsense; /* in a row */

	struct list calls; /* rpc.c: what is under way */
	size_t call_count;
	struct list subscriptions; /* subscription.c */
	unsigned last_of_fleet;	   /* the serial of the event of a fleet itself that it heard last */
	size_t subscription_count;
	struct outbox outbox;
	struct list due; /* of the room's, until the end of the turn */
	bool held;	 /* a replay waits until the outbox is empty */
	enum close_code close_code;
	const char *close_reason;
};

/* socket.c */
extern const struct border_events socket_events;
void sockets_init(struct ws *);
void sockets_done(struct ws *);
/* `caller` NULL: a stranger. Eats `fd`; false: it is closed and on_gone is the asker's to tell. */
bool socket_adopt(
	struct ws *, int fd, const char *peer, const char *client, const char *key, const struct caller *caller);
/* Goes out at the end of the turn, with what else is sent in it. What cannot waits; past max_queue the socket is closed. The text is
 * taken and emptied. */
void socket_send(struct socket *, struct text *);
void socket_send_event(struct socket *, const struct hub_event *);
/* Counts what came unheard; who sends too much of it is closed, and cut off where that changes nothing. */
void socket_look(struct socket *);
/* Ends its calls and subscriptions at once. Again: the first close stands. */
void socket_close(struct socket *, enum close_code, const char *reason);
/* The node drains: closes it with 1012 when its calls are answered. */
void socket_part(struct socket *);
/* Starts the deadline of the present state. */
void socket_set_deadline(struct socket *, int64_t delay_ms);

/* session.c */
struct method;
/* The deadline of a socket that was just opened. */
void session_begin(struct socket *);
void session_authenticate(struct socket *, const struct method *, json_t *id, json_t *params);

/* Nobody waits for the answer any more. */
void session_abandon(struct socket *);

/* rpc.c */
void rpc_take(struct socket *, const char *text, size_t len);
/* Answers; `id` NULL is a notification: nobody is told. `result` is JSON text. */
void rpc_reply(struct socket *, const json_t *id, const char *result, size_t len);
/* An error with the fault's problem; `detail` may be empty. `method` is for the log. */
void rpc_fault(struct socket *, const json_t *id, const char *method, const struct fault *, const char *detail);
/* Nobody waits for the answers any more. */
void rpc_abandon(struct socket *);

/* subscription.c */
void subscription_begin(struct socket *, const struct method *, json_t *id, json_t *params);
void subscription_end(struct socket *, const struct method *, json_t *id, json_t *params);
void subscription_end_all(struct socket *);
/* Nothing waits any more: replays go on. */
void subscriptions_carry_on(struct socket *);
void subscriptions_init(struct ws *);
void subscriptions_done(struct ws *);

#endif
