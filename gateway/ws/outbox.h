/* outbox.h - the frames that wait for one app, oldest first; an event's frame is shared by all who wait for it. */
#ifndef KEYFOB_GATEWAY_WS_OUTBOX_H
#define KEYFOB_GATEWAY_WS_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/list.h"

struct hub_event;
struct text;

/* Either an event, held, or a text of its own. */
struct outbox_frame {
	struct list node;
	struct hub_event *event;
	char *text;
	const char *data;
	size_t len;
};

struct outbox {
	struct list frames;
	size_t bytes;
	struct outbox_frame alone; /* where the first lies: mostly there is no second, and it costs no allocation */
};

void outbox_init(struct outbox *);
void outbox_clear(struct outbox *);

bool outbox_is_empty(const struct outbox *);
/* The oldest; there must be one. Borrowed until it is dropped. */
const char *outbox_first(const struct outbox *, size_t *ret_len);

void outbox_add(struct outbox *, struct text *); /* takes the text, which is empty then */
void outbox_add_event(struct outbox *, const struct hub_event *);
void outbox_drop_first(struct outbox *);

#endif
