/* event_line.c - what each type of event says in a line: a row a type. */
#include "gateway/cli/event_line.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "gateway/cli/print.h"
#include "gateway/cli/show_command.h"
#include "gateway/cli/verdict.h"

#define TYPE_WIDTH 20

typedef enum colour describe(struct text *, const json_t *data);
static describe describe_snapshot, describe_command, describe_connectivity, describe_state, describe_wakeup,
	describe_notice, describe_access, describe_other;

static const struct {
	const char *type;
	describe *describe;
} types[] = {
	{ "snapshot", describe_snapshot },
	{ "command.updated", describe_command },
	{ "connectivity.changed", describe_connectivity },
	{ "state.reported", describe_state },
	{ "state.desired", describe_state },
	{ "wakeup.updated", describe_wakeup },
	{ "notice.published", describe_notice },
	{ "notice.withdrawn", describe_notice },
	{ "access.changed", describe_access },
};

static describe *describe_of(const char *type)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(types[i].type, type) == 0)
			return types[i].describe;
	return describe_other;
}

/* The members that are there, a space between them. */
static void add_members(struct text *t, const json_t *data, const char *const *names)
{
	for (; *names; names++) {
		const json_t *value = json_object_get(data, *names);
		if (!value || json_is_null(value))
			continue;
		if (t->len)
			text_add(t, " ");
		text_add_values(t, value);
	}
}

static enum colour colour_of_state(const char *state)
{
	return state && strcmp(state, "connected") == 0 ? COLOUR_GREEN : COLOUR_YELLOW;
}

static enum colour describe_snapshot(struct text *t, const json_t *data)
{
	const json_t *connectivity = json_object_get(json_object_get(data, "vehicle"), "connectivity");
	const char *state = json_text_at(connectivity, "state");
	text_add(t, state ? state : "?");
	return colour_of_state(state);
}

static enum colour describe_command(struct text *t, const json_t *data)
{
	char *reason = reason_text(data);
	add_members(t, data, (const char *const[]){ "name", "status", NULL });
	if (*reason)
		text_addf(t, " (%s)", reason);
	if (json_is_true(json_object_get(data, "late")))
		text_add(t, " late");
	add_members(t, data, (const char *const[]){ "id", NULL });
	free(reason);
	return verdict_of(json_text_at(data, "status"))->colour;
}

static enum colour describe_connectivity(struct text *t, const json_t *data)
{
	add_members(t, data, (const char *const[]){ "state", "reason", NULL });
	return colour_of_state(json_text_at(data, "state"));
}

static enum colour describe_state(struct text *t, const json_t *data)
{
	add_members(t, data, (const char *const[]){ "patch", NULL });
	return COLOUR_NONE;
}

static enum colour describe_wakeup(struct text *t, const json_t *data)
{
	add_members(t, data, (const char *const[]){ "status", "provider", "reason", NULL });
	return COLOUR_NONE;
}

static enum colour describe_notice(struct text *t, const json_t *data)
{
	add_members(t, data, (const char *const[]){ "name", NULL });
	return COLOUR_NONE;
}

static enum colour describe_access(struct text *t, const json_t *data)
{
	add_members(t, data, (const char *const[]){ "subject", "role", NULL });
	if (json_is_null(json_object_get(data, "role")))
		text_add(t, " no longer has access");
	return COLOUR_YELLOW;
}

static enum colour describe_other(struct text *t, const json_t *data)
{
	if (data)
		text_add_values(t, data);
	return COLOUR_DIM;
}

static void print_text(const json_t *event)
{
	const char *type = json_text_at(event, "type"), *vehicle = json_text_at(event, "vehicle_id");
	json_int_t seq = json_integer_value(json_object_get(event, "seq"));
	char local[LOCAL_TIME_SIZE];
	struct text text = { 0 };
	text_add(&text, "");
	enum colour colour = describe_of(type ? type : "")(&text, json_object_get(event, "data"));
	print_coloured(COLOUR_DIM, local_clock(json_text_at(event, "time"), local));
	fputs("  ", stdout);
	print_plain(stdout, vehicle ? vehicle : "-");
	printf("  #%-5" JSON_INTEGER_FORMAT "  ", seq);
	print_plain(stdout, type ? type : "-");
	printf("%*s", type ? (int)(TYPE_WIDTH + 2 - (print_width(type) % (TYPE_WIDTH + 2))) : 2, "");
	print_coloured(colour, text.data);
	text_free(&text);
}

void event_line_print(const json_t *event, bool as_json)
{
	if (as_json)
		json_dumpf(event, stdout, JSON_COMPACT);
	else
		print_text(event);
	putchar('\n');
	fflush(stdout);
}
