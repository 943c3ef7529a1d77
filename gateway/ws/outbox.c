/* outbox.c - a list of texts and events with the sum of their lengths. */
#include "gateway/ws/outbox.h"

#include <assert.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/memory.h"
#include "notifier/hub.h"

/* Either an event, held, or a text of its own. */
struct frame {
	struct list node;
	struct hub_event *event;
	char *text;
	const char *data;
	size_t len;
};

void outbox_init(struct outbox *o)
{
	list_init(&o->frames);
	o->bytes = 0;
}

static void frame_free(struct frame *f)
{
	hub_event_unref(f->event);
	free(f->text);
	free(f);
}

void outbox_clear(struct outbox *o)
{
	list_for_each_safe (node, &o->frames)
		frame_free(container_of(node, struct frame, node));
	outbox_init(o);
}

static struct frame *first(const struct outbox *o)
{
	assert(!outbox_is_empty(o));
	return container_of(o->frames.next, struct frame, node);
}

bool outbox_is_empty(const struct outbox *o)
{
	return list_is_empty(&o->frames);
}

const char *outbox_first(const struct outbox *o, size_t *ret_len)
{
	*ret_len = first(o)->len;
	return first(o)->data;
}

static struct frame *append(struct outbox *o, const char *data, size_t len)
{
	struct frame *f = memory_new(sizeof(*f));

	f->data = data;
	f->len = len;
	list_append(&o->frames, &f->node);
	o->bytes += len;
	return f;
}

void outbox_add(struct outbox *o, struct text *text)
{
	size_t len = text->len;
	char *taken = text_take(text);

	append(o, taken, len)->text = taken;
}

void outbox_add_event(struct outbox *o, const struct hub_event *event)
{
	append(o, event->frame, event->frame_len)->event = hub_event_ref(event);
}

void outbox_drop_first(struct outbox *o)
{
	struct frame *f = first(o);

	list_remove(&f->node);
	o->bytes -= f->len;
	frame_free(f);
}
