/* commands.h - every command of `keyfob`, for whoever runs, prints or completes them. */
#ifndef KEYFOB_GATEWAY_CLI_COMMANDS_H
#define KEYFOB_GATEWAY_CLI_COMMANDS_H

#include <stddef.h>
#include <stdio.h>

#include "gateway/cli/cli.h"

extern const struct cli_command *const CLI_COMMANDS[];
extern const size_t CLI_COMMAND_COUNT;
/* Understood everywhere, before or after the command; ends with a row without a name. */
extern const struct option CLI_EVERYWHERE[];

/* "--ttl TIME", "--wait[=TIME]" */
void option_write(const struct option *, char *out, size_t size);

/* keyfob(1) */
void cli_write_man(FILE *);

#endif
