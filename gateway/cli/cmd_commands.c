/* cmd_commands.c - keyfob commands: the latest commands of a vehicle. */
#include <stdlib.h>

#include "base/json.h"
#include "gateway/cli/call.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/listing.h"
#include "gateway/cli/table.h"
#include "gateway/cli/verdict.h"

static void row_add(struct table *t, const json_t *command)
{
	const char *status = json_text_at(command, "status");
	char local[LOCAL_TIME_SIZE];
	struct text params = { 0 };
	text_add(&params, "");
	text_add_values(&params, json_object_get(command, "params"));
	table_add(t, COLOUR_NONE, local_time(json_text_at(command, "created_at"), local));
	table_add(t, verdict_of(status)->colour, status);
	table_add(t, COLOUR_NONE, json_text_at(command, "name"));
	table_add(t, COLOUR_NONE, json_text_at(command, "issued_by"));
	table_add(t, COLOUR_DIM, json_text_at(command, "id"));
	table_add(t, COLOUR_NONE, params.data);
	text_free(&params);
}

static void print_commands(const json_t *items)
{
	static const char *const heads[] = { "CREATED", "STATUS", "NAME", "BY", "ID", "PARAMS" };
	struct table *t = table_new(6, 0);
	size_t i;
	const json_t *command;
	for (i = 0; i < 6; i++)
		table_add(t, COLOUR_DIM, heads[i]);
	json_array_foreach (items, i, command)
		row_add(t, command);
	table_print(t);
	table_free(t);
}

static int run(struct cli *cli, const struct invocation *inv)
{
	char *path = node_path("vehicles", inv->words[0], "commands", NULL),
	     *filter = listing_filter("status", option_text(inv, "--status", NULL));
	int code = listing_show(cli, path, filter, option_number(inv, "--limit", 20), print_commands);
	free(path);
	free(filter);
	return code;
}

static const struct option options[] = {
	{ "--limit", OPTION_NUMBER, "N", "how many, newest first (20)" },
	{ "--status", OPTION_TEXT, "STATUS", "only those: accepted, waiting, sent, succeeded, …" },
	{ 0 },
};

const struct cli_command CMD_COMMANDS = {
	.name = "commands",
	.arguments = "VEHICLE",
	.summary = "list the latest commands of a vehicle",
	.options = options,
	.words_min = 1,
	.words_max = 1,
	.run = run,
};
