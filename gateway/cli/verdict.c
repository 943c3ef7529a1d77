/* verdict.c - the statuses of a command, as a person sees them. */
#include "gateway/cli/verdict.h"

#include <string.h>

static const struct verdict verdicts[] = {
	{ "accepted", false, CLI_TIMED_OUT, COLOUR_NONE, "accepted" },
	{ "waiting", false, CLI_TIMED_OUT, COLOUR_YELLOW, "the vehicle is not reachable; the command waits for it" },
	{ "sent", false, CLI_TIMED_OUT, COLOUR_NONE, "sent to the vehicle" },
	{ "in_progress", false, CLI_TIMED_OUT, COLOUR_NONE, "the vehicle is at it" },
	{ "succeeded", true, CLI_FINE, COLOUR_GREEN, NULL },
	{ "failed", true, CLI_FAILED, COLOUR_RED, NULL },
	{ "rejected", true, CLI_FAILED, COLOUR_RED, NULL },
	{ "expired", true, CLI_FAILED, COLOUR_RED, NULL },
	{ "canceled", true, CLI_FAILED, COLOUR_DIM, NULL },
	{ "timed_out", true, CLI_TIMED_OUT, COLOUR_YELLOW, NULL },
};

static const struct verdict unknown = { "?", false, CLI_TIMED_OUT, COLOUR_NONE, "under way" };

const struct verdict *verdict_of(const char *status)
{
	for (size_t i = 0; status && i < sizeof(verdicts) / sizeof(verdicts[0]); i++)
		if (strcmp(verdicts[i].status, status) == 0)
			return &verdicts[i];
	return &unknown;
}
