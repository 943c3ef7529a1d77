/* verdict.h - what a command's status means to someone who waits for it: a row a status. */
#ifndef KEYFOB_GATEWAY_CLI_VERDICT_H
#define KEYFOB_GATEWAY_CLI_VERDICT_H

#include <stdbool.h>

#include "gateway/cli/cli.h"
#include "gateway/cli/print.h"

struct verdict {
	const char *status;
	bool is_settled;    /* final, or timed out: there is nothing more to wait for */
	enum cli_exit exit; /* of `send --wait`, once it is settled */
	enum colour colour;
	const char *meanwhile; /* what to tell who waits, NULL when settled */
};

/* A status that is not in the table is as one that is under way. */
const struct verdict *verdict_of(const char *status);

#endif
