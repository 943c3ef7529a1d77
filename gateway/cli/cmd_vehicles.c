/* cmd_vehicles.c - keyfob vehicles: the vehicles that the caller may see. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/listing.h"
#include "gateway/cli/table.h"

static void row_add(struct table *t, const json_t *vehicle)
{
	const json_t *connectivity = json_object_get(vehicle, "connectivity");
	const char *state = json_text_at(connectivity, "state");
	bool is_connected = state && strcmp(state, "connected") == 0;
	char local[LOCAL_TIME_SIZE];
	table_add(t, COLOUR_NONE, json_text_at(vehicle, "vehicle_id"));
	table_add(t, is_connected ? COLOUR_GREEN : COLOUR_DIM, state);
	table_add(t, COLOUR_NONE, local_time(json_text_at(connectivity, "since"), local));
	table_add(t, COLOUR_NONE, json_text_at(vehicle, "fleet_id"));
	table_add(t, COLOUR_NONE, json_text_at(vehicle, "display_name"));
}

static void print_vehicles(const json_t *items)
{
	static const char *const heads[] = { "VEHICLE", "CONNECTIVITY", "SINCE", "FLEET", "NAME" };
	struct table *t = table_new(5, 0);
	size_t i;
	const json_t *vehicle;
	for (i = 0; i < 5; i++)
		table_add(t, COLOUR_DIM, heads[i]);
	json_array_foreach (items, i, vehicle)
		row_add(t, vehicle);
	table_print(t);
	table_free(t);
}

static int run(struct cli *cli, const struct invocation *inv)
{
	char *filter = listing_filter("filter", option_text(inv, "--filter", NULL));
	int code = listing_show(cli, "/v1/vehicles", filter, option_number(inv, "--limit", 1000), print_vehicles);
	free(filter);
	return code;
}

static const struct option options[] = {
	{ "--filter", OPTION_TEXT, "FILTER", "only those that it finds" },
	{ "--limit", OPTION_NUMBER, "N", "at most so many (1000)" },
	{ 0 },
};

const struct cli_command CMD_VEHICLES = {
	.name = "vehicles",
	.arguments = "",
	.summary = "list the vehicles that you may see",
	.help = "A filter has terms, of which all must hold: reachability:connected or disconnected, unstable:true or "
		"false, fleet:ID,\n"
		"tag:TAG, vehicle:ID, name:NAME. * at the end of an ID or a NAME stands for anything:\n"
		"  keyfob vehicles --filter 'reachability:disconnected AND tag:vip AND NOT fleet:TEST*'\n"
		"  keyfob vehicles --filter 'name:\"van 7\"'\n",
	.options = options,
	.run = run,
};
