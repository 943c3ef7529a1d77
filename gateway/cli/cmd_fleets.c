/* cmd_fleets.c - keyfob fleets: the fleets that the caller may see. */
#include "base/json.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/listing.h"
#include "gateway/cli/table.h"

static void print_fleets(const json_t *items)
{
	struct table *t = table_new(2, 0);
	size_t i;
	const json_t *fleet;
	table_add(t, COLOUR_DIM, "FLEET");
	table_add(t, COLOUR_DIM, "TITLE");
	json_array_foreach (items, i, fleet) {
		table_add(t, COLOUR_NONE, json_text_at(fleet, "fleet_id"));
		table_add(t, COLOUR_NONE, json_text_at(fleet, "title"));
	}
	table_print(t);
	table_free(t);
}

static int run(struct cli *cli, const struct invocation *inv)
{
	return listing_show(cli, "/v1/fleets", NULL, option_number(inv, "--limit", 1000), print_fleets);
}

static const struct option options[] = {
	{ "--limit", OPTION_NUMBER, "N", "at most so many (1000)" },
	{ 0 },
};

const struct cli_command CMD_FLEETS = {
	.name = "fleets",
	.arguments = "",
	.summary = "list the fleets that you may see",
	.options = options,
	.run = run,
};
