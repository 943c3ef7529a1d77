/* event.c - one event, its frame built once for all who get it. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "notifier/hub_internal.h"

#define BEGIN_MAX 192 /* of a frame, without the texts in it */
#define HEAD "{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":"

static const char *or_empty(const char *text)
{
	return text ? text : "";
}

/* Everything lies in one allocation: the struct, then the frame with the data inside it, then the other texts. An
 * absent one is NULL. */
static char *put(char **at, const char *text)
{
	size_t size = strlen(or_empty(text)) + 1;
	char *begin = *at;

	if (size == 1)
		return NULL;
	memcpy(begin, text, size);
	*at += size;
	return begin;
}

static size_t size_of(const struct event_parts *p)
{
	return strlen(or_empty(p->vehicle_id)) + strlen(or_empty(p->fleet_id)) + strlen(or_empty(p->left_fleet)) +
	       strlen(p->type) + strlen(p->time) + 5;
}

/* Where its end is. */
static char *write_begin(const struct event_parts *p, char *at)
{
	if (p->vehicle_id && p->vehicle_id[0]) {
		at = stpcpy(stpcpy(at, HEAD "{\"vehicle_id\":\""), p->vehicle_id);
		at = stpcpy(at, "\",\"seq\":");
		at += text_of_int(p->seq, at);
	} else {
		at = stpcpy(stpcpy(stpcpy(at, HEAD "{\"fleet_id\":\""), or_empty(p->fleet_id)), "\"");
	}
	at = stpcpy(stpcpy(at, ",\"type\":\""), p->type);
	at = stpcpy(stpcpy(at, "\",\"time\":\""), p->time);
	return stpcpy(at, "\",\"data\":");
}

/* What give.c judges for each subscriber. */
static bool is_for_some(const char *type)
{
	return strcmp(type, "access.changed") == 0 || strcmp(type, "security.alert") == 0 ||
	       strcmp(type, "webhook.disabled") == 0;
}

struct hub_event *event_new(const struct event_parts *p)
{
	size_t texts = size_of(p);
	struct hub_event *e = memory_raw(sizeof(*e) + BEGIN_MAX + texts + p->data_len + 3 + texts);
	char *frame = (char *)(e + 1), *data = write_begin(p, frame), *at = data + p->data_len + 3;

	*e = (struct hub_event){ .frame = frame, .data = data, .data_len = p->data_len };
	memcpy(data, p->data, p->data_len);
	memcpy(data + p->data_len, "}}", 3);
	e->frame_len = (size_t)(at - frame) - 1;
	e->vehicle_id = put(&at, p->vehicle_id);
	e->fleet_id = put(&at, p->fleet_id);
	e->left_fleet = put(&at, p->left_fleet);
	e->type = put(&at, p->type);
	e->time = put(&at, p->time);
	e->seq = p->seq;
	e->is_for_some = is_for_some(p->type);
	e->refs = 1;
	return e;
}

static struct hub_event *with_data(const struct hub_event *e, const char *type, const char *data)
{
	return event_new(&(struct event_parts){ .vehicle_id = e->vehicle_id,
		.seq = e->seq,
		.type = type,
		.time = e->time,
		.data = data,
		.data_len = strlen(data) });
}

struct hub_event *event_new_skipped(const struct hub_event *e)
{
	return with_data(e, "skipped", "{}");
}

struct hub_event *event_new_left(const struct hub_event *e)
{
	return with_data(e, e->type, "{\"fleet_id\":null}");
}

bool event_is(const struct hub_event *e, const char *type)
{
	return strcmp(e->type, type) == 0;
}

const char *event_subject(struct hub_event *e)
{
	if (e->has_read_subject)
		return e->subject;
	json_auto_t *data = json_loadb(e->data, e->data_len, 0, NULL);
	const char *subject = json_text_at(data, "subject");

	e->has_read_subject = true;
	e->subject = subject ? memory_need(strdup(subject)) : NULL;
	return e->subject;
}

bool event_moves_rights(const struct hub_event *e)
{
	return event_is(e, "vehicle.moved") || event_is(e, "vehicle.retired");
}

struct hub_event *hub_event_ref(const struct hub_event *event)
{
	struct hub_event *e = (struct hub_event *)(uintptr_t)event;
	e->refs++;
	return e;
}

void hub_event_unref(struct hub_event *e)
{
	if (!e || --e->refs > 0)
		return;
	free(e->subject);
	free(e);
}
