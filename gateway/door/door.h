/* door.h - accepts connections, counts them, and sends each to the room that its first head asks for.
 *
 * Every worker has a door of its own and listens beside the others (SO_REUSEPORT), or accepts from one socket with them where the
 * service manager listens. The head is only looked at
 * (MSG_PEEK): whoever gets the socket reads it from the beginning. Where the door ends TLS (tunnel.h) the rooms get the
 * near end of a tunnel in its place, and see no difference. */
#ifndef KEYFOB_GATEWAY_DOOR_H
#define KEYFOB_GATEWAY_DOOR_H

#include <stdbool.h>
#include <stddef.h>

struct address;
struct door;
struct loop;
struct tunnels;

/* `fd` is the room's from now on; whoever closes it says guests_leave(peer) when the door counts. `peer` is the
 * client's numeric address, borrowed. */
typedef void door_room(void *owner, int fd, const char *peer);

struct door_options {
	bool counts;				 /* the limits hold; guests.h has the numbers */
	size_t max_connections, max_per_address; /* of the process */
	struct tunnels *tls;			 /* borrowed; whoever comes speaks TLS; NULL: plain */
	void *owner;
	door_room *on_http;	 /* NULL: this door is for WebSockets alone; others get 426 */
	door_room *on_websocket; /* NULL: an upgrade is a request like any other */
};

/* making */
struct door *door_new(struct loop *, const struct door_options *);
/* False: the log says why. */
bool door_listen(struct door *, const struct address *);
/* Accepts from a socket that listens and does not block, and that others accept from too; it stays the caller's. */
bool door_adopt(struct door *, int fd);
/* Stops listening. Whoever had come by then is still heard, and sent on. */
void door_drain(struct door *);
/* The same, and closes who has not asked for anything yet; frees it. NULL is fine. */
void door_close(struct door *);

/* asking */
/* Of the listener made first; for a listener on port 0. */
int door_port(const struct door *);

#endif
