/* cmd_alerts.c - keyfob alerts: what happened too often with vehicles. */
#include <stdlib.h>

#include "base/json.h"
#include "gateway/cli/call.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/listing.h"
#include "gateway/cli/table.h"

static void row_add(struct table *t, const json_t *alert)
{
	char local[LOCAL_TIME_SIZE];
	table_add(t, COLOUR_NONE, local_time(json_text_at(alert, "time"), local));
	table_add(t, COLOUR_YELLOW, json_text_at(alert, "kind"));
	table_addf(t, COLOUR_NONE, "%lld in %lld s", (long long)json_integer_value(json_object_get(alert, "count")),
		(long long)json_integer_value(json_object_get(alert, "window_seconds")));
	table_add(t, COLOUR_NONE, json_text_at(alert, "vehicle_id"));
	table_add(t, COLOUR_NONE, json_text_at(alert, "fleet_id"));
	table_add(t, COLOUR_NONE, json_text_at(alert, "subject"));
}

static void print_alerts(const json_t *items)
{
	static const char *const heads[] = { "TIME", "KIND", "COUNT", "VEHICLE", "FLEET", "LAST BY" };
	struct table *t = table_new(6, 0);
	size_t i;
	const json_t *alert;
	for (i = 0; i < 6; i++)
		table_add(t, COLOUR_DIM, heads[i]);
	json_array_foreach (items, i, alert)
		row_add(t, alert);
	table_print(t);
	table_free(t);
}

static int run(struct cli *cli, const struct invocation *inv)
{
	const char *fleet = option_text(inv, "--fleet", NULL);
	char *path = fleet ? node_path("fleets", fleet, "alerts", NULL) : node_path("alerts", NULL);
	int code = listing_show(cli, path, NULL, option_number(inv, "--limit", 100), print_alerts);
	free(path);
	return code;
}

static const struct option options[] = {
	{ "--fleet", OPTION_TEXT, "FLEET", "of its vehicles alone" },
	{ "--limit", OPTION_NUMBER, "N", "at most so many (100)" },
	{ 0 },
};

const struct cli_command CMD_ALERTS = {
	.name = "alerts",
	.arguments = "",
	.summary = "list what happened too often, the newest first",
	.help = "Of all vehicles it needs keyfob:admin, of a fleet's its manager. docs/security.md has the kinds.\n",
	.options = options,
	.run = run,
};
