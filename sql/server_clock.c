/* server_clock.c - which answer is believed. */
#include "sql/server_clock.h"

#include <stdbool.h>
#include <stdlib.h>

#define SLACK_US 1000 /* by which a trip may be longer, and two clocks may part, and nothing is meant by it */

struct answer {
	int64_t trip_us, offset_us;
};

/* As if it had been given half way. */
static struct answer answer_of(int64_t asked_us, int64_t answered_us, int64_t server_us)
{
	int64_t trip_us = answered_us - asked_us;
	return (struct answer){ .trip_us = trip_us, .offset_us = server_us - (asked_us + trip_us / 2) };
}

static void believe(struct server_clock *c, struct answer answer)
{
	c->trip_us = answer.trip_us;
	c->offset_us = answer.offset_us;
}

void server_clock_begin(struct server_clock *c, int64_t asked_us, int64_t answered_us, int64_t server_us)
{
	struct answer answer = answer_of(asked_us, answered_us, server_us);

	if (c->answers++ == 0 || answer.trip_us <= c->trip_us)
		believe(c, answer);
}

void server_clock_hear(struct server_clock *c, int64_t asked_us, int64_t answered_us, int64_t server_us)
{
	struct answer answer = answer_of(asked_us, answered_us, server_us);
	bool is_quick = answer.trip_us <= 2 * c->trip_us + SLACK_US;
	/* Each may have been given at either end of its trip. */
	bool disproves = llabs(answer.offset_us - c->offset_us) > (answer.trip_us + c->trip_us) / 2 + SLACK_US;

	if (is_quick || disproves)
		believe(c, answer);
}
