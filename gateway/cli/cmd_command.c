/* cmd_command.c - keyfob command: one command with its timeline. */
#include <stdlib.h>

#include "gateway/cli/call.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/print.h"
#include "gateway/cli/show_command.h"

static int run(struct cli *cli, const struct invocation *inv)
{
	char *path = node_path("vehicles", inv->words[0], "commands", inv->words[1], NULL);
	json_auto_t *command = node_get(cli, path);
	free(path);
	if (!command)
		return CLI_FAILED;
	if (cli->json)
		print_json(command);
	else
		show_command(command);
	return CLI_FINE;
}

const struct cli_command CMD_COMMAND = {
	.name = "command",
	.arguments = "VEHICLE ID",
	.summary = "show one command with its timeline",
	.help = "The timeline says what happened to the command, step by step, and why.\n",
	.words_min = 2,
	.words_max = 2,
	.run = run,
};
