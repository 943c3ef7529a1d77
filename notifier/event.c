/* event.c - one event, its frame built once for all who get it. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "notifier/hub_internal.h"

/* Everything lies in one allocation: the struct, then the frame with the data inside it, then the other texts. */
static char *put(char **at, const char *text)
{
	size_t size = strlen(text) + 1;
	char *begin = *at;
	memcpy(begin, text, size);
	*at += size;
	return begin;
}

struct hub_event *event_new(
	const char *vehicle_id, int64_t seq, const char *type, const char *time, const char *data, size_t data_len)
{
	static const char head[] =
		"{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"vehicle_id\":\"%s\",\"seq\":%lld,"
		"\"type\":\"%s\",\"time\":\"%s\",\"data\":";
	char begin[512];
	size_t begin_len = (size_t)snprintf(begin, sizeof(begin), head, vehicle_id, (long long)seq, type, time);
	size_t frame_len = begin_len + data_len + 2;
	struct hub_event *e =
		memory_new(sizeof(*e) + frame_len + 1 + strlen(vehicle_id) + strlen(type) + strlen(time) + 3);
	char *at = (char *)(e + 1);

	memcpy(at, begin, begin_len);
	memcpy(at + begin_len, data, data_len);
	memcpy(at + begin_len + data_len, "}}", 3);
	e->frame = at;
	e->frame_len = frame_len;
	e->data = at + begin_len;
	e->data_len = data_len;
	at += frame_len + 1;
	e->vehicle_id = put(&at, vehicle_id);
	e->type = put(&at, type);
	e->time = put(&at, time);
	e->seq = seq;
	e->refs = 1;
	return e;
}

struct hub_event *event_new_skipped(const struct hub_event *e)
{
	return event_new(e->vehicle_id, e->seq, "skipped", e->time, "{}", 2);
}

struct hub_event *hub_event_ref(const struct hub_event *event)
{
	struct hub_event *e = (struct hub_event *)(uintptr_t)event;
	e->refs++;
	return e;
}

void hub_event_unref(struct hub_event *e)
{
	if (e && --e->refs == 0)
		free(e);
}
