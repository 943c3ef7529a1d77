/* cmd_admin.c - keyfob admin export, erase, block, unblock: what administrators do for a person, and against a vehicle. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "gateway/cli/call.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/listing.h"
#include "gateway/cli/print.h"

#define ALL 10000000 /* an export is whole or it is none */

/* A call without a body; what it answers is not shown. */
static int make(struct cli *cli, const char *method, char *path)
{
	struct reply r;

	call_make(cli, &(struct call){ .method = method, .path = path, .patience_ms = CALL_PATIENCE_MS }, &r);
	free(path);
	int code = r.status == 204 || reply_is_fine(&r) ? CLI_FINE : reply_report(&r);
	reply_done(&r);
	return code;
}

static int run_export(struct cli *cli, const struct invocation *inv)
{
	char *path = node_path("subjects", inv->words[0], NULL);
	json_auto_t *list = listing_read(cli, path, NULL, ALL);

	free(path);
	if (!list)
		return CLI_FAILED;
	json_object_del(list, "next_cursor");
	json_object_set_new(list, "subject", json_string(inv->words[0]));
	print_json(list);
	return CLI_FINE;
}

static int run_erase(struct cli *cli, const struct invocation *inv)
{
	return make(cli, "DELETE", node_path("subjects", inv->words[0], NULL));
}

static int run_block(struct cli *cli, const struct invocation *inv)
{
	return make(cli, "PUT", node_path("vehicles", inv->words[0], "block", NULL));
}

static int run_unblock(struct cli *cli, const struct invocation *inv)
{
	return make(cli, "DELETE", node_path("vehicles", inv->words[0], "block", NULL));
}

const struct cli_command CMD_ADMIN_EXPORT = {
	.name = "admin export",
	.arguments = "SUBJECT",
	.summary = "print all that is kept of somebody, as JSON",
	.help = "Grants, addresses, commands, the keys of requests, and what the audit table has. For "
		"administrators.\n",
	.words_min = 1,
	.words_max = 1,
	.run = run_export,
};

const struct cli_command CMD_ADMIN_ERASE = {
	.name = "admin erase",
	.arguments = "SUBJECT",
	.summary = "erase what is kept of somebody",
	.help = "Their grants end, and neither what they sent nor the audit table names them any more, within "
		"seconds:\n"
		"`keyfob admin export` shows what is left. What is still under way keeps the name until it is over. "
		"For\n"
		"administrators.\n",
	.words_min = 1,
	.words_max = 1,
	.run = run_erase,
};

const struct cli_command CMD_ADMIN_BLOCK = {
	.name = "admin block",
	.arguments = "VEHICLE",
	.summary = "throw a vehicle out of the broker and keep it out",
	.words_min = 1,
	.words_max = 1,
	.run = run_block,
};

const struct cli_command CMD_ADMIN_UNBLOCK = {
	.name = "admin unblock",
	.arguments = "VEHICLE",
	.summary = "let a vehicle in again",
	.words_min = 1,
	.words_max = 1,
	.run = run_unblock,
};
