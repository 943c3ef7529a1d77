/* cmd_batch.c - keyfob batch, keyfob batch cancel, keyfob batches: how far a batch has come, its end, and those of a fleet. */
#include <stdlib.h>

#include "gateway/cli/call.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/listing.h"
#include "gateway/cli/print.h"
#include "gateway/cli/show_batch.h"

static int show(struct cli *cli, json_t *batch)
{
	if (!batch)
		return CLI_FAILED;
	if (cli->json)
		print_json(batch);
	else
		show_batch(batch);
	json_decref(batch);
	return CLI_FINE;
}

static int run(struct cli *cli, const struct invocation *inv)
{
	char *path = node_path("batches", inv->words[0], NULL);
	json_t *batch = node_get(cli, path);
	free(path);
	return show(cli, batch);
}

static int run_cancel(struct cli *cli, const struct invocation *inv)
{
	char *path = node_path("batches", inv->words[0], "cancel", NULL);
	json_t *batch =
		node_ask(cli, &(struct call){ .method = "POST", .path = path, .patience_ms = CALL_PATIENCE_MS });

	free(path);
	return show(cli, batch);
}

static int run_list(struct cli *cli, const struct invocation *inv)
{
	char *path = node_path("fleets", inv->words[0], "batches", NULL);
	int code = listing_show(cli, path, NULL, option_number(inv, "--limit", 20), show_batches);
	free(path);
	return code;
}

const struct cli_command CMD_BATCH = {
	.name = "batch",
	.arguments = "BATCH",
	.summary = "show how far a batch has come",
	.words_min = 1,
	.words_max = 1,
	.run = run,
};

const struct cli_command CMD_BATCH_CANCEL = {
	.name = "batch cancel",
	.arguments = "BATCH",
	.summary = "end a batch: nothing more is sent, and what has not left is taken back",
	.words_min = 1,
	.words_max = 1,
	.run = run_cancel,
};

static const struct option list_options[] = {
	{ "--limit", OPTION_NUMBER, "N", "how many, newest first (20)" },
	{ 0 },
};

const struct cli_command CMD_BATCHES = {
	.name = "batches",
	.arguments = "FLEET",
	.summary = "list the latest batches of a fleet",
	.options = list_options,
	.words_min = 1,
	.words_max = 1,
	.run = run_list,
};
