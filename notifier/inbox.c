/* inbox.c - events between workers: a line each, its fields parted by tabs, data last.
 *
 * JSON text has no raw tab or newline (RFC 8259 §7), and no other field may have one. A line without a vehicle is an
 * event of the fleet itself, and its number is the version of the fleet's grants: of an alert 0. */
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "notifier/hub_internal.h"

enum { VEHICLE, NUMBER, FLEET, LEFT, TYPE, TIME, DATA, FIELD_COUNT };

static void add_field(struct text *out, const char *text)
{
	if (text)
		text_add(out, text);
	text_add_bytes(out, "\t", 1);
}

static void add(struct text *out, const struct hub_event *e, int64_t number)
{
	char digits[INT_TEXT_SIZE];

	text_of_int(number, digits);
	add_field(out, e->vehicle_id);
	add_field(out, digits);
	add_field(out, e->fleet_id);
	add_field(out, e->left_fleet);
	add_field(out, e->type);
	add_field(out, e->time);
	text_add_bytes(out, e->data, e->data_len);
	text_add_bytes(out, "\n", 1);
}

void inbox_add(struct text *out, const struct hub_event *e)
{
	add(out, e, e->seq);
}

void inbox_add_of_fleet(struct text *out, const struct hub_event *e, int64_t version)
{
	add(out, e, version);
}

/* Such a line is a message by itself. */
bool hub_is_access(const char *text, size_t len)
{
	static const char type[] = "\taccess.changed\t";

	return len > 0 && text[0] == '\t' && memmem(text, len, type, sizeof(type) - 1);
}

static bool is_id_or_empty(const char *text)
{
	return !text[0] || topic_level_is_safe(text);
}

static bool is_short(const char *text)
{
	size_t len = strlen(text);
	return len > 0 && len < 64;
}

/* As many digits as surely fit, and 1 more does. */
static bool is_number(const char *text)
{
	size_t len = strspn(text, "0123456789");
	return len > 0 && len <= 18 && !text[len];
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
	return is_id_or_empty(fields[VEHICLE]) && is_id_or_empty(fields[FLEET]) && is_id_or_empty(fields[LEFT]) &&
	       (fields[VEHICLE][0] || fields[FLEET][0]) && is_number(fields[NUMBER]) && is_short(fields[TYPE]) &&
	       is_short(fields[TIME]);
}

static void take_line(struct hub *hub, char *line)
{
	char *fields[FIELD_COUNT];

	if (!split(line, fields)) {
		log_warn("hub", "an inbox line that cannot be read");
		return;
	}
	int64_t number = strtoll(fields[NUMBER], NULL, 10);
	struct hub_event *event = event_new(&(struct event_parts){ .vehicle_id = fields[VEHICLE],
		.fleet_id = fields[FLEET],
		.left_fleet = fields[LEFT],
		.seq = fields[VEHICLE][0] ? number : 0,
		.type = fields[TYPE],
		.time = fields[TIME],
		.data = fields[DATA],
		.data_len = strlen(fields[DATA]) });
	if (event->vehicle_id)
		channel_hear(hub, event);
	else
		fleet_take_own(hub, event, number);
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
