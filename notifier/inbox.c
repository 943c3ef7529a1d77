/* inbox.c - events between workers: a line each, its fields parted by tabs, data last.
 *
 * JSON text has no raw tab or newline (RFC 8259 §7), and no other field may have one. */
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "notifier/hub_internal.h"

enum { VEHICLE, SEQ, TYPE, TIME, DATA, FIELD_COUNT };

void inbox_add(struct text *out, const struct hub_event *e)
{
	text_addf(out, "%s\t%lld\t%s\t%s\t", e->vehicle_id, (long long)e->seq, e->type, e->time);
	text_add_bytes(out, e->data, e->data_len);
	text_add(out, "\n");
}

/* Splits a line in place; false when it has not all fields. */
static bool split(char *line, char *fields[FIELD_COUNT])
{
	for (int i = 0; i < FIELD_COUNT; i++) {
		fields[i] = line;
		if (i == FIELD_COUNT - 1)
			break;
		line = strchr(line, '\t');
		if (!line)
			return false;
		*line++ = '\0';
	}
	return topic_level_is_safe(fields[VEHICLE]) && strlen(fields[TYPE]) < 64 && strlen(fields[TIME]) < 64;
}

static void take_line(struct hub *hub, char *line)
{
	char *fields[FIELD_COUNT];

	if (!split(line, fields)) {
		log_warn("hub", "an inbox line that cannot be read");
		return;
	}
	struct hub_channel *ch = channel_find(hub, fields[VEHICLE]);
	if (!ch)
		return; /* nobody here any more */
	struct hub_event *event = event_new(fields[VEHICLE], strtoll(fields[SEQ], NULL, 10), fields[TYPE], fields[TIME],
		fields[DATA], strlen(fields[DATA]));
	channel_take(ch, event);
	hub_event_unref(event);
}

void hub_receive(struct hub *hub, const char *text, size_t len)
{
	char *copy = memory_need(strndup(text, len)), *rest = copy, *line;

	while ((line = strsep(&rest, "\n")) != NULL) {
		if (*line)
			take_line(hub, line);
	}
	free(copy);
}
