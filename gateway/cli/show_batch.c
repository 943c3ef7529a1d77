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

void show_batch_progress(FILE *file, const json_t *batch)
{
	const json_t *counts = json_object_get(batch, "counts");
	long long total = number_at(batch, "total"), done = 0;
	static const char *const open[] = { "pending", "accepted", "waiting", "sent", "in_progress" };

	for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++)
		done += number_at(counts, open[i]);
	done = total - done;
	fprintf(file, "\r\x1b[Kkeyfob: %lld of %lld done, %lld failed, %lld wait, %lld to be sent …", done, total,
		number_at(batch, "failures"), number_at(counts, "waiting"), number_at(counts, "pending"));
	fflush(file);
}
