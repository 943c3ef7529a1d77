/* cmd_capacity.c - keyfob capacity: what a fleet needs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "gateway/cli/capacity.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/table.h"

#define FLEETS_MAX 8 /* side by side */

struct fleets {
	struct fleet of[FLEETS_MAX];
	size_t count;
};

static int refuse(const char *word)
{
	fprintf(stderr, "keyfob: `%.100s` is not name=number, as --assumptions lists them\n", word);
	return CLI_USAGE;
}

/* vehicles=1M,10M: a fleet each, of which all else is the same. */
static bool take_vehicles(struct fleets *fleets, const char *list)
{
	char word[64], *rest = memory_need(strdup(list)), *left = rest, *one;
	bool fine = true;

	fleets->count = 0;
	while (fine && (one = strsep(&left, ",")) != NULL) {
		snprintf(word, sizeof(word), "vehicles=%s", one);
		fine = fleets->count < FLEETS_MAX && fleet_take(&fleets->of[fleets->count], word);
		fleets->count++;
	}
	free(rest);
	return fine;
}

static bool take(struct fleets *fleets, const char *word)
{
	static const char list[] = "vehicles=";

	if (strncmp(word, list, strlen(list)) == 0)
		return take_vehicles(fleets, word + strlen(list));
	for (size_t i = 0; i < FLEETS_MAX; i++)
		if (!fleet_take(&fleets->of[i], word))
			return false;
	return true;
}

static void print_assumptions(const struct fleet *f)
{
	struct table *t = table_new(3, 0);

	for (const struct assumption *a = CAPACITY_ASSUMPTIONS; a->name; a++) {
		table_add(t, COLOUR_NONE, a->name);
		table_addf(t, COLOUR_BOLD, "%.12g", fleet_value(f, a));
		table_add(t, COLOUR_NONE, a->sentence);
	}
	table_align_right(t, 1);
	table_print(t);
	table_free(t);
}

static void print_costs(void)
{
	static const char *const heads[] = { "POSTGRESQL", "KEYFOBD", "BROKER", "WAL", "TAKES", "" };
	struct table *t = table_new(6, 0);

	for (int column = 0; column < 6; column++)
		table_add(t, COLOUR_DIM, heads[column]);
	for (const struct cost *c = CAPACITY_COSTS; c->what; c++) {
		const struct {
			double value;
			const char *unit;
		} cells[] = { { c->database_us, "us" }, { c->node_us, "us" }, { c->broker_us, "us" },
			{ c->wal_bytes, "B" }, { c->bytes, "B" } };
		for (size_t i = 0; i < 5; i++) {
			if (cells[i].value > 0)
				table_addf(t, COLOUR_NONE, "%.0f %s", cells[i].value, cells[i].unit);
			else
				table_add(t, COLOUR_NONE, "");
		}
		table_add(t, COLOUR_NONE, c->what);
	}
	for (int column = 0; column < 5; column++)
		table_align_right(t, column);
	table_print(t);
	table_free(t);
}

static void print_figures(const struct fleets *fleets)
{
	struct figure of[FLEETS_MAX][FIGURES_MAX];
	struct table *t = table_new((int)fleets->count + 2, 0);
	size_t count = 0;

	for (size_t i = 0; i < fleets->count; i++)
		count = fleet_figures(&fleets->of[i], of[i]);
	table_add(t, COLOUR_BOLD, "vehicles");
	for (size_t i = 0; i < fleets->count; i++)
		table_addf(t, COLOUR_BOLD, "%.0f", fleets->of[i].vehicles);
	table_add(t, COLOUR_NONE, "");
	for (size_t line = 0; line < count; line++) {
		const struct figure *f = &of[0][line];
		if (f->part) {
			table_addf(t, COLOUR_DIM, "%s:", f->part);
			for (size_t i = 0; i <= fleets->count; i++)
				table_add(t, COLOUR_NONE, "");
		}
		table_addf(t, COLOUR_NONE, "  %s", f->name);
		for (size_t i = 0; i < fleets->count; i++)
			table_addf(t, COLOUR_NONE, "%.*f", f->digits, of[i][line].value);
		table_add(t, COLOUR_NONE, f->unit);
	}
	for (size_t i = 0; i < fleets->count; i++)
		table_align_right(t, (int)i + 1);
	table_print(t);
	table_free(t);
}

static json_t *fleet_json(const struct fleet *f)
{
	struct figure figures[FIGURES_MAX];
	size_t count = fleet_figures(f, figures);
	json_t *assumed = json_object(), *reckoned = json_object();

	for (const struct assumption *a = CAPACITY_ASSUMPTIONS; a->name; a++)
		json_object_set_new(assumed, a->name, json_real(fleet_value(f, a)));
	for (size_t i = 0; i < count; i++)
		json_object_set_new(reckoned, figures[i].key, json_real(figures[i].value));
	return memory_need(json_pack("{s:o, s:o}", "assumed", assumed, "reckoned", reckoned));
}

static json_t *costs_json(void)
{
	json_t *costs = json_array();

	for (const struct cost *c = CAPACITY_COSTS; c->what; c++)
		json_array_append_new(costs, json_pack("{s:s, s:f, s:f, s:f, s:f, s:f}", "what", c->what, "database_us",
						     c->database_us, "node_us", c->node_us, "broker_us", c->broker_us,
						     "wal_bytes", c->wal_bytes, "bytes", c->bytes));
	return costs;
}

/* All of it, whatever was asked for. */
static void print_all_json(const struct fleets *fleets)
{
	json_t *list = json_array();

	for (size_t i = 0; i < fleets->count; i++)
		json_array_append_new(list, fleet_json(&fleets->of[i]));
	json_auto_t *all = memory_need(json_pack("{s:o, s:o}", "fleets", list, "costs", costs_json()));
	print_json(all);
}

static int run(struct cli *cli, const struct invocation *inv)
{
	struct fleets fleets = { .count = 1 };

	for (size_t i = 0; i < FLEETS_MAX; i++)
		fleet_assume(&fleets.of[i]);
	for (size_t i = 0; i < inv->word_count; i++)
		if (!take(&fleets, inv->words[i]))
			return refuse(inv->words[i]);
	if (cli->json)
		print_all_json(&fleets);
	else if (option_is_given(inv, "--costs"))
		print_costs();
	else if (option_is_given(inv, "--assumptions"))
		print_assumptions(&fleets.of[0]);
	else
		print_figures(&fleets);
	return CLI_FINE;
}

static const struct option options[] = {
	{ "--assumptions", OPTION_FLAG, NULL, "print what is assumed, and what it means" },
	{ "--costs", OPTION_FLAG, NULL, "print what was measured, which all is reckoned from" },
	{ 0 },
};

const struct cli_command CMD_CAPACITY = {
	.name = "capacity",
	.arguments = "[name=number…]",
	.summary = "reckon what a fleet needs: nodes, broker, database, and their settings",
	.help = "  keyfob capacity vehicles=300k commands=5 apps=0.03\n"
		"  keyfob capacity vehicles=1M,10M,100M broker_cores=16\n\n"
		"What is not said is assumed (--assumptions). It asks no node: what one command, report or app costs "
		"was\n"
		"measured once (--costs). docs/capacity.md says what the figures are good for.\n",
	.options = options,
	.words_max = 64,
	.is_local = true,
	.run = run,
};
