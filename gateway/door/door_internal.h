/* door_internal.h - the door's own files: door.c listens, visitor.c looks at one newcomer, tunnel.c at one that speaks TLS. */
#ifndef KEYFOB_GATEWAY_DOOR_INTERNAL_H
#define KEYFOB_GATEWAY_DOOR_INTERNAL_H

#include "base/list.h"
#include "gateway/door/door.h"

struct door {
	struct loop *loop;
	struct door_options options;
	struct list listeners, visitors, arrivals; /* the last: tunnels that lead nowhere yet */
};

/* door.c: the last word to a newcomer. What it has said is read first: left unread it would make the kernel take the answer away. */
void door_say(int fd, const char *answer, size_t len);

enum belonging { BELONGS_TO_NOBODY_YET, BELONGS_TO_HTTP, BELONGS_TO_WEBSOCKET };

/* visitor.c: takes `fd`, looks at its head and sends it on. */
void visitor_begin(struct door *, int fd, const char *peer);
/* Closes it unheard. */
void visitor_refuse(struct list *node);
/* Who is to read what begins like this; it was nobody's yet when it had `seen` bytes. */
enum belonging visitor_belongs(const struct door *, const char *head, size_t len, size_t seen);
/* NULL: nobody here. */
door_room *visitor_room(const struct door *, enum belonging);

/* tunnel.c: likewise */
void tunnel_begin(struct door *, int fd, const char *peer);
void tunnel_refuse(struct list *node);

/* How long a newcomer may take to say what it wants, the TLS handshake included. */
#define PATIENCE_MS 10000

#endif
