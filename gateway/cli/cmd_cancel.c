/* cmd_cancel.c - keyfob cancel: takes a command back that has not left yet. */
#include <stdlib.h>

#include "gateway/cli/call.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/print.h"
#include "gateway/cli/show_command.h"

static int run(struct cli *cli, const struct invocation *inv)
{
	char *path = node_path("vehicles", inv->words[0], "commands", inv->words[1], "cancel", NULL);
	struct reply r;
	call_make(cli, &(struct call){ .method = "POST", .path = path, .patience_ms = CALL_PATIENCE_MS }, &r);
	free(path);
	int code = reply_is_fine(&r) ? CLI_FINE : reply_report(&r);
	if (code == CLI_FINE && cli->json)
		print_json(r.body);
	else if (code == CLI_FINE)
		show_command(r.body);
	reply_done(&r);
	return code;
}

const struct cli_command CMD_CANCEL = {
	.name = "cancel",
	.arguments = "VEHICLE ID",
	.summary = "take a command back that has not left yet",
	.help = "Once the command may have left for the vehicle it is too late: exit code 1.\n",
	.words_min = 2,
	.words_max = 2,
	.run = run,
};
