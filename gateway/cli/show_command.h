/* show_command.h - one command for a person: what became of it, and its timeline. */
#ifndef KEYFOB_GATEWAY_CLI_SHOW_COMMAND_H
#define KEYFOB_GATEWAY_CLI_SHOW_COMMAND_H

#include <jansson.h>

/* Prints a command as the node shows it, on standard output. */
void show_command(const json_t *command);
/* "DOOR_OPEN: the left rear door is open", "superseded by …"; "" without a reason. The caller frees it. */
char *reason_text(const json_t *command);

#endif
