/* commands.c - the table of commands, and what is understood everywhere. */
#include "gateway/cli/commands.h"

#include <stdio.h>

const struct cli_command *const CLI_COMMANDS[] = {
	&CMD_SEND,
	&CMD_WATCH,
	&CMD_VEHICLES,
	&CMD_VEHICLE,
	&CMD_STATE,
	&CMD_COMMANDS,
	&CMD_COMMAND,
	&CMD_CANCEL,
	&CMD_FLEETS,
	&CMD_FLEET_SEND,
	&CMD_BATCH_CANCEL, /* before the shorter name */
	&CMD_BATCH,
	&CMD_BATCHES,
	&CMD_GRANTS,
	&CMD_GRANT,
	&CMD_REVOKE,
	&CMD_WEBHOOKS,
	&CMD_WEBHOOK_ADD,
	&CMD_WEBHOOK_REMOVE,
	&CMD_WEBHOOK_DELIVERIES,
	&CMD_ALERTS,
	&CMD_NODES,
	&CMD_ADMIN_EXPORT,
	&CMD_ADMIN_ERASE,
	&CMD_ADMIN_BLOCK,
	&CMD_ADMIN_UNBLOCK,
	&CMD_TOKEN_INIT,
	&CMD_TOKEN_MINT,
	&CMD_DOCTOR,
	&CMD_CAPACITY,
	&CMD_COMPLETION,
};
const size_t CLI_COMMAND_COUNT = sizeof(CLI_COMMANDS) / sizeof(CLI_COMMANDS[0]);

const struct option CLI_EVERYWHERE[] = {
	{ "-o", OPTION_TEXT, "json", "print JSON, for scripts" },
	{ "--help", OPTION_FLAG, NULL, "print this" },
	{ "--version", OPTION_FLAG, NULL, "print the version" },
	{ 0 },
};

void option_write(const struct option *o, char *out, size_t size)
{
	const char *gap = o->kind == OPTION_MAYBE_DURATION || !o->value ? "" : " ";

	snprintf(out, size, "%s%s%s", o->name, gap, o->value ? o->value : "");
}
