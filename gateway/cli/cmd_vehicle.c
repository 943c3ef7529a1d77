/* cmd_vehicle.c - keyfob vehicle: one vehicle, its connectivity and its state. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "gateway/cli/call.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/show_state.h"
#include "gateway/cli/table.h"

static void fact_add(struct table *t, const char *name, const char *value)
{
	if (!value || !*value)
		return;
	table_add(t, COLOUR_DIM, name);
	table_add(t, COLOUR_NONE, value);
}

static void connectivity_add(struct table *t, const json_t *connectivity)
{
	const char *state = json_text_at(connectivity, "state"), *since = json_text_at(connectivity, "since");
	const char *reason = json_text_at(connectivity, "reason");
	char local[LOCAL_TIME_SIZE];
	struct text text = { 0 };
	text_add(&text, state ? state : "-");
	if (since)
		text_addf(&text, " since %s", local_time(since, local));
	if (reason)
		text_addf(&text, " (%s)", reason);
	if (json_is_true(json_object_get(connectivity, "verifying")))
		text_add(&text, ", being verified");
	table_add(t, COLOUR_DIM, "connectivity");
	table_add(t, state && strcmp(state, "connected") == 0 ? COLOUR_GREEN : COLOUR_NONE, text.data);
	text_free(&text);
}

static void tags_add(struct table *t, const json_t *tags)
{
	struct text text = { 0 };
	size_t i;
	const json_t *tag;
	json_array_foreach (tags, i, tag)
		text_addf(&text, "%s%s", i ? ", " : "", json_is_string(tag) ? json_string_value(tag) : "?");
	fact_add(t, "tags", text.data);
	text_free(&text);
}

static void print_vehicle(const json_t *vehicle)
{
	static const char *const names[] = { "display_name", "fleet_id", "msisdn", "iccid", "vehicle_protocol" };
	static const char *const titles[] = { "name", "fleet", "msisdn", "iccid", "protocol" };
	struct table *t = table_new(2, 2);
	connectivity_add(t, json_object_get(vehicle, "connectivity"));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		fact_add(t, titles[i], json_text_at(vehicle, names[i]));
	tags_add(t, json_object_get(vehicle, "tags"));
	state_add(t, json_object_get(vehicle, "state"));
	fact_add_value(t, "seq", json_object_get(vehicle, "seq"));
	print_coloured(COLOUR_BOLD, json_text_at(vehicle, "vehicle_id") ? json_text_at(vehicle, "vehicle_id") : "-");
	putchar('\n');
	table_print(t);
	table_free(t);
}

static int run(struct cli *cli, const struct invocation *inv)
{
	char *path = node_path("vehicles", inv->words[0], NULL);
	json_auto_t *vehicle = node_get(cli, path);
	free(path);
	if (!vehicle)
		return CLI_FAILED;
	if (cli->json)
		print_json(vehicle);
	else
		print_vehicle(vehicle);
	return CLI_FINE;
}

const struct cli_command CMD_VEHICLE = {
	.name = "vehicle",
	.arguments = "VEHICLE",
	.summary = "show one vehicle: connectivity and state",
	.words_min = 1,
	.words_max = 1,
	.run = run,
};
