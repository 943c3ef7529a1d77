/* command_body.h - the request for a command, as it was typed: NAME [key=value…] and the options that go with it. */
#ifndef KEYFOB_GATEWAY_CLI_COMMAND_BODY_H
#define KEYFOB_GATEWAY_CLI_COMMAND_BODY_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct cli;
struct invocation;

/* Rows of a table of options that command_body_read() reads. */
#define COMMAND_BODY_OPTIONS                                                                                           \
	{ "--ttl", OPTION_DURATION, "TIME", "give it up when the vehicle was not reached in TIME" },                   \
		{ "--timeout", OPTION_DURATION, "TIME", "how long the vehicle may take to answer" },                   \
	{                                                                                                              \
		"--no-wake", OPTION_FLAG, NULL, "do not wake a sleeping vehicle for it"                                \
	}

/* Of the words from the second on (the first is whom it is for). What may be a text or something else the node's catalogue is asked
 * about, until `until_ms` (monotonic; 0: for as long as a call takes). NULL: `ret_why` is one line for the user. The caller owns it. */
json_t *command_body_read(struct cli *, const struct invocation *, int64_t until_ms, char *ret_why, size_t why_size);

#endif
