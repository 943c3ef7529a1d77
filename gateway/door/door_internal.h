/* door_internal.h - the door's own files: door.c listens, visitor.c looks at one newcomer. */
#ifndef KEYFOB_GATEWAY_DOOR_INTERNAL_H
#define KEYFOB_GATEWAY_DOOR_INTERNAL_H

#include "base/list.h"
#include "gateway/door/door.h"

struct door {
	struct loop *loop;
	struct door_options options;
	struct list listeners, visitors;
};

/* visitor.c: takes `fd`, looks at its head and sends it on. */
void visitor_begin(struct door *, int fd, const char *peer);
/* Closes it unheard. */
void visitor_refuse(struct list *node);

#endif
