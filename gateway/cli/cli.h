/* cli.h - what every command of `keyfob` is given, and what it is to the table of commands in main.c. */
#ifndef KEYFOB_GATEWAY_CLI_CLI_H
#define KEYFOB_GATEWAY_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/cli/options.h"

typedef void CURL;

/* Exit codes are part of the contract: scripts branch on them. */
enum cli_exit { CLI_FINE = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_TIMED_OUT = 3 };

struct cli {
	char *url, *token; /* the node, without a slash at the end; NULL for commands that need none */
	CURL *curl;	   /* kept between calls, and with it the connection */
	bool json;	   /* -o json */
};

struct cli_command {
	const char *name;	      /* one word or two: "send", "token mint" */
	const char *arguments;	      /* "VEHICLE NAME [key=value…]" */
	const char *summary;	      /* a line of the overview */
	const char *help;	      /* what --help says besides: sentences and examples */
	const struct option *options; /* ends with a row without a name; NULL: none */
	size_t words_min, words_max;
	bool is_local; /* needs no node */
	int (*run)(struct cli *, const struct invocation *);
};

extern const struct cli_command CMD_ADMIN_BLOCK, CMD_ADMIN_ERASE, CMD_ADMIN_EXPORT, CMD_ADMIN_UNBLOCK, CMD_ALERTS,
	CMD_BATCH, CMD_BATCHES, CMD_BATCH_CANCEL, CMD_CANCEL, CMD_CAPACITY, CMD_COMMAND, CMD_COMMANDS, CMD_COMPLETION,
	CMD_DOCTOR, CMD_FLEETS, CMD_FLEET_SEND, CMD_GRANT, CMD_GRANTS, CMD_NODES, CMD_REVOKE, CMD_SEND, CMD_STATE,
	CMD_TOKEN_INIT, CMD_TOKEN_MINT, CMD_VEHICLE, CMD_VEHICLES, CMD_WATCH, CMD_WEBHOOKS, CMD_WEBHOOK_ADD,
	CMD_WEBHOOK_DELIVERIES, CMD_WEBHOOK_REMOVE;

#endif
