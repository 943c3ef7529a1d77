/* lws_border.h - libwebsockets, with a typed function for each event in place of its one callback.
 *
 * lws_border.c alone includes libwebsockets.h. It frames, unmasks, checks UTF-8, answers pings and closes politely.
 * What it must not be trusted with is kept from it: it never meets a stranger's HTTP (4.1.6 has holes there, and cuts
 * subprotocols at 128 bytes) but a head that we write for it, and it never decides when to close. */
#ifndef KEYFOB_GATEWAY_LWS_BORDER_H
#define KEYFOB_GATEWAY_LWS_BORDER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/loop.h"

struct border;
struct lws;

/* One connection, embedded in its owner, which keeps it until on_closed. */
struct border_link {
	struct border *border;
	struct lws *lws; /* NULL: not adopted, or gone */
	int close_code;	 /* it is to be closed with this; 0: not */
	const char *close_reason;
	bool closed_by_app; /* and libwebsockets answers that */
	struct loop_soon close;
};

/* A frame's bytes come in pieces of at most so many. Each socket has a buffer of this size for as long as it is open: it holds most messages
 * whole, and a kibibyte would be a quarter of what an idle socket takes. */
#define BORDER_PIECE 256

struct border_events {
	void (*on_open)(struct border_link *); /* the upgrade was answered with 101 */
	/* A piece of a message, borrowed; `is_first` and `is_last` may both be set. Never after border_close(). */
	void (*on_text)(struct border_link *, const char *piece, size_t len, bool is_first, bool is_last);
	void (*on_binary)(struct border_link *);
	void (*on_pong)(struct border_link *);
	void (*on_writable)(struct border_link *); /* after border_want_writable(), or when what was cut is sent */
	void (*on_closed)(struct border_link *);   /* once; the link is not used any more */
};

/* making */

/* NULL: the log says why. `events` is borrowed for life. */
struct border *border_new(struct loop *, const struct border_events *);
/* Outside of loop_run(); every link that is open gets its on_closed. NULL is fine. */
void border_free(struct border *);

/* Takes `fd` and answers an upgrade with this Sec-WebSocket-Key. False: it could not, `fd` is closed and no event comes. */
bool border_adopt(struct border *, struct border_link *, int fd, const char *key);

/* asking */

/* What is sent now goes out now, at least its beginning. */
bool border_can_send(const struct border_link *);
/* In on_text: whether the piece ends where the buffer did, and its frame goes on. */
bool border_is_amid_frame(const struct border_link *);
/* Its descriptor, for questions to the kernel; -1: gone. */
int border_fd(const struct border_link *);

/* changing; none of these calls back */

/* Text messages that go out in one write: gathered one after the other, then sent, all of one link and with nothing else in between.
 * False: there is no room, and what was gathered is to be sent first; there always is for the first. */
bool border_gather(struct border_link *, const char *text, size_t len);
/* Only when border_can_send(); what the kernel does not take is kept and sent later. */
void border_send(struct border_link *);
void border_ping(struct border_link *); /* likewise */
void border_want_writable(struct border_link *);
/* Closes with a close frame, behind what was sent. `reason` lives for ever. */
void border_close(struct border_link *, int code, const char *reason);
/* Ends it without a word; on_closed comes from the loop. */
void border_kill(struct border_link *);

#endif
