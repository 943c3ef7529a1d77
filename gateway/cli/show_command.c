/* show_command.c - prints one command: the verdict first, then the facts, then how it came about. */
#include "gateway/cli/show_command.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "gateway/cli/table.h"
#include "gateway/cli/verdict.h"

static void print_headline(const json_t *command);
static void print_facts(const json_t *command);
static void print_timeline(const json_t *command);

void show_command(const json_t *command)
{
	print_headline(command);
	print_facts(command);
	print_timeline(command);
}

static void print_headline(const json_t *command)
{
	const char *status = json_text_at(command, "status"), *name = json_text_at(command, "name");
	int64_t us = us_between(json_text_at(command, "created_at"), json_text_at(command, "finished_at"));
	print_coloured(COLOUR_BOLD, name ? name : "-");
	fputs("  ", stdout);
	print_coloured(verdict_of(status)->colour, status ? status : "-");
	if (us > 0)
		printf(" after %.1f ms", (double)us / 1000);
	if (json_is_true(json_object_get(command, "late")))
		fputs(", late", stdout);
	if (json_is_true(json_object_get(command, "may_have_executed")))
		fputs(", may have been executed", stdout);
	putchar('\n');
}

static bool is_empty(const json_t *value)
{
	return !value || json_is_null(value) || (json_is_object(value) && json_object_size(value) == 0);
}

static void fact_add(struct table *t, const char *name, const json_t *value)
{
	if (is_empty(value))
		return;
	struct text text = { 0 };
	text_add_values(&text, value);
	table_add(t, COLOUR_DIM, name);
	table_add(t, COLOUR_NONE, text.data);
	text_free(&text);
}

static void time_fact_add(struct table *t, const char *name, const char *time)
{
	char local[LOCAL_TIME_SIZE];
	if (!time)
		return;
	table_add(t, COLOUR_DIM, name);
	table_add(t, COLOUR_NONE, local_time(time, local));
}

char *reason_text(const json_t *command)
{
	const json_t *reason = json_object_get(command, "reason");
	const char *code = json_text_at(reason, "code"), *description = json_text_at(reason, "description");
	const char *by = json_text_at(reason, "by");
	struct text text = { 0 };
	text_add(&text, code ? code : "");
	if (description && *description)
		text_addf(&text, "%s%s", text.len ? ": " : "", description);
	if (by)
		text_addf(&text, " by %s", by);
	return text_take(&text);
}

static void print_facts(const json_t *command)
{
	struct table *t = table_new(2, 2);
	char *reason = reason_text(command);
	fact_add(t, "vehicle", json_object_get(command, "vehicle_id"));
	fact_add(t, "id", json_object_get(command, "id"));
	fact_add(t, "params", json_object_get(command, "params"));
	if (*reason) {
		table_add(t, COLOUR_DIM, "reason");
		table_add(t, COLOUR_NONE, reason);
	}
	fact_add(t, "result", json_object_get(command, "result"));
	fact_add(t, "sent by", json_object_get(command, "issued_by"));
	time_fact_add(t, "created", json_text_at(command, "created_at"));
	if (!verdict_of(json_text_at(command, "status"))->is_settled)
		time_fact_add(t, "expires", json_text_at(command, "expires_at"));
	table_print(t);
	table_free(t);
	free(reason);
}

/* Times count from the first step, in milliseconds: what a person asks is how long each step took. */
static void print_timeline(const json_t *command)
{
	const json_t *timeline = json_object_get(command, "timeline"), *item;
	const char *begin = json_text_at(json_array_get(timeline, 0), "time");
	size_t i;
	if (json_array_size(timeline) == 0)
		return;
	putchar('\n');
	struct table *t = table_new(3, 2);
	table_align_right(t, 0);
	json_array_foreach (timeline, i, item) {
		struct text detail = { 0 };
		if (!is_empty(json_object_get(item, "detail")))
			text_add_values(&detail, json_object_get(item, "detail"));
		table_addf(t, COLOUR_DIM, "%.1f ms", (double)us_between(begin, json_text_at(item, "time")) / 1000);
		table_add(t, COLOUR_NONE, json_text_at(item, "step"));
		table_add(t, COLOUR_DIM, detail.data ? detail.data : "");
		text_free(&detail);
	}
	table_print(t);
	table_free(t);
}
