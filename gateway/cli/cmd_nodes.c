/* cmd_nodes.c - keyfob nodes: the nodes, whether they are fit, and how busy they are. */
#include <string.h>

#include "base/json.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/listing.h"
#include "gateway/cli/table.h"

static enum colour colour_of(const char *state)
{
	if (strcmp(state, "ready") == 0)
		return COLOUR_GREEN;
	return strcmp(state, "not_ready") == 0 ? COLOUR_RED : COLOUR_DIM;
}

static void add_number(struct table *t, const json_t *load, const char *name)
{
	table_addf(t, COLOUR_NONE, "%lld", (long long)json_integer_value(json_object_get(load, name)));
}

static void row_add(struct table *t, const json_t *node)
{
	const json_t *load = json_object_get(node, "load");
	const char *state = json_text_at(node, "state");
	char local[LOCAL_TIME_SIZE];
	table_add(t, COLOUR_NONE, json_text_at(node, "node"));
	table_add(t, colour_of(state ? state : ""), state);
	table_add(t, COLOUR_NONE, json_text_at(node, "version"));
	table_add(t, COLOUR_NONE, local_time(json_text_at(node, "started_at"), local));
	table_addf(t, COLOUR_NONE, "%zu", json_array_size(json_object_get(node, "leases")));
	add_number(t, load, "connections");
	add_number(t, load, "commands_per_minute");
	add_number(t, load, "cpu_percent");
}

static void print_nodes(const json_t *items)
{
	static const char *const heads[] = { "NODE", "STATE", "VERSION", "STARTED", "LEASES", "CONNECTIONS",
		"COMMANDS/MIN", "CPU %" };
	struct table *t = table_new(8, 0);
	size_t i;
	const json_t *node;
	for (i = 0; i < 8; i++)
		table_add(t, COLOUR_DIM, heads[i]);
	for (int column = 4; column < 8; column++)
		table_align_right(t, column);
	json_array_foreach (items, i, node)
		row_add(t, node);
	table_print(t);
	table_free(t);
}

static int run(struct cli *cli, const struct invocation *inv)
{
	return listing_show(cli, "/v1/nodes", NULL, option_number(inv, "--limit", 1000), print_nodes);
}

static const struct option options[] = {
	{ "--limit", OPTION_NUMBER, "N", "at most so many (1000)" },
	{ 0 },
};

const struct cli_command CMD_NODES = {
	.name = "nodes",
	.arguments = "",
	.summary = "list the nodes, and how they are",
	.help = "It needs keyfob:admin. -o json has what each holds, and its checks.\n",
	.options = options,
	.run = run,
};
