/* show_batch.c - a batch in a few lines: what it is, how it stands, and how many are where. */
#include "gateway/cli/show_batch.h"

#include <string.h>

#include "base/json.h"
#include "gateway/cli/table.h"
#include "gateway/cli/verdict.h"

static long long number_at(const json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

bool batch_is_over(const json_t *batch)
{
	const char *state = json_text_at(batch, "state");
	return !state || strcmp(state, "running") != 0;
}

static bool is_completed(const json_t *batch)
{
	const char *state = json_text_at(batch, "state");
	return state && strcmp(state, "completed") == 0;
}

int batch_exit(const json_t *batch)
{
	if (!batch_is_over(batch))
		return CLI_TIMED_OUT;
	bool all = number_at(json_object_get(batch, "counts"), "succeeded") == number_at(batch, "total");
	return is_completed(batch) && all ? CLI_FINE : CLI_FAILED;
}

static enum colour colour_of(const json_t *batch)
{
	return !batch_is_over(batch) ? COLOUR_NONE : is_completed(batch) ? COLOUR_GREEN : COLOUR_RED;
}

static void print_headline(const json_t *batch)
{
	const char *state = json_text_at(batch, "state"), *name = json_text_at(batch, "name");
	const char *code = json_text_at(json_object_get(batch, "reason"), "code");
	int64_t us = us_between(json_text_at(batch, "created_at"), json_text_at(batch, "finished_at"));

	print_coloured(COLOUR_BOLD, name ? name : "-");
	printf(" to %lld vehicles of ", number_at(batch, "total"));
	print_plain(stdout, json_text_at(batch, "fleet_id"));
	fputs("  ", stdout);
	print_coloured(colour_of(batch), state ? state : "-");
	if (us > 0)
		printf(" after %.1f s", (double)us / 1000000);
	if (code) {
		fputs(": ", stdout);
		print_plain(stdout, code);
	}
	putchar('\n');
}

void show_batch(const json_t *batch)
{
	struct table *t = table_new(2, 2);
	const char *status;
	json_t *count;

	print_headline(batch);
	table_align_right(t, 1);
	json_object_foreach (json_object_get(batch, "counts"), status, count) {
		if (json_integer_value(count) == 0)
			continue;
		table_add(t, verdict_of(status)->colour, status);
		table_addf(t, COLOUR_NONE, "%lld", (long long)json_integer_value(count));
	}
	table_print(t);
	table_free(t);
	fputs("  batch ", stdout);
	print_plain(stdout, json_text_at(batch, "id"));
	putchar('\n');
}

static long long done_of(const json_t *batch)
{
	static const char *const open[] = { "pending", "accepted", "waiting", "sent", "in_progress" };
	long long done = number_at(batch, "total");

	for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++)
		done -= number_at(json_object_get(batch, "counts"), open[i]);
	return done;
}

void show_batches(const json_t *items)
{
	static const char *const heads[] = { "CREATED", "STATE", "NAME", "BY", "DONE", "FAILED", "ID" };
	struct table *t = table_new(7, 0);
	const json_t *batch;
	char local[LOCAL_TIME_SIZE];
	size_t i;

	table_align_right(t, 4);
	table_align_right(t, 5);
	for (i = 0; i < 7; i++)
		table_add(t, COLOUR_DIM, heads[i]);
	json_array_foreach (items, i, batch) {
		table_add(t, COLOUR_NONE, local_time(json_text_at(batch, "created_at"), local));
		table_add(t, colour_of(batch), json_text_at(batch, "state"));
		table_add(t, COLOUR_NONE, json_text_at(batch, "name"));
		table_add(t, COLOUR_NONE, json_text_at(batch, "issued_by"));
		table_addf(t, COLOUR_NONE, "%lld of %lld", done_of(batch), number_at(batch, "total"));
		table_addf(t, COLOUR_NONE, "%lld", number_at(batch, "failures"));
		table_add(t, COLOUR_DIM, json_text_at(batch, "id"));
	}
	table_print(t);
	table_free(t);
}

void show_batch_progress(FILE *file, const json_t *batch)
{
	const json_t *counts = json_object_get(batch, "counts");
	fprintf(file, "\r\x1b[Kkeyfob: %lld of %lld done, %lld failed, %lld wait, %lld to be sent …", done_of(batch),
		number_at(batch, "total"), number_at(batch, "failures"), number_at(counts, "waiting"),
		number_at(counts, "pending"));
	fflush(file);
}
