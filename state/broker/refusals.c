/* refusals.c - a bucket of tokens before the event. */
#include "state/broker/refusals.h"

#include "state/broker/event.h"
#include "state/broker/identity.h"

#include <mosquitto_broker.h>
#include <time.h>

#define TOKENS_MAX 50
#define TOKENS_A_SECOND 10

static double now_s(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int take_token(struct refusals *r)
{
	double now = now_s();
	double tokens = r->at_s > 0 ? r->tokens + (now - r->at_s) * TOKENS_A_SECOND : TOKENS_MAX;

	r->at_s = now;
	r->tokens = tokens < TOKENS_MAX ? tokens : TOKENS_MAX;
	if (r->tokens < 1)
		return 0;
	r->tokens--;
	return 1;
}

/* A client id that is no vehicle's concerns no vehicle. */
void refusals_tell(struct refusals *r, const struct settings *settings, const struct mosquitto *client)
{
	char buffer[IDENTITY_SIZE];
	const char *id = mosquitto_client_id(client);

	if (!id || !identity_is_vehicle(settings, id))
		return;
	if (!take_token(r)) {
		r->untold++;
		return;
	}
	event_connect_failed(
		settings, id, client_identity(client, buffer), mosquitto_client_address(client), r->untold);
	r->untold = 0;
}
