/* outbox.c - a list of texts and events with the sum of their lengths. */
#include "gateway/ws/outbox.h"

#include <assert.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/memory.h"
#include "notifier/hub.h"

void outbox_init(struct outbox *o)
{
	list_init(&o->frames);
	o->bytes = 0;
	list_init(&o->alone.node);
}

static struct outbox_frame *frame_new(struct outbox *o)
{
	return list_is_empty(&o->alone.node) ? &o->alone : memory_raw(sizeof(struct outbox_frame));
}

static void frame_free(struct outbox *o, struct outbox_frame *f)
{
	hub_event_unref(f->event);
	free(f->text);
	if (f != &o->alone)
		free(f);
}

void outbox_clear(struct outbox *o)
{
	list_for_each_safe (node, &o->frames)
		frame_free(o, container_of(node, struct outbox_frame, node));
	outbox_init(o);
}

static struct outbox_frame *first(const struct outbox *o)
{
	assert(!outbox_is_empty(o));
	return container_of(o->frames.next, struct outbox_frame, node);
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

static struct outbox_frame *append(struct outbox *o, const char *data, size_t len)
{
	struct outbox_frame *f = frame_new(o);

	*f = (struct outbox_frame){ .data = data, .len = len };
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
	struct outbox_frame *f = first(o);

	list_remove(&f->node);
	o->bytes -= f->len;
	frame_free(o, f);
}
