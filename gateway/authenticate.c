/* authenticate.c - who calls. The first token after an issuer changed its keys is of a key that nobody knows: where the keys are
 * being fetched its caller waits until they are here, for so long and so many of them, and is judged then. */
#include <stdio.h>

#include "base/fault.h"
#include "base/list.h"
#include "base/metrics.h"
#include "gateway/api_internal.h"
#include "gateway/detection.h"

#define WAIT_MS 2000
#define WAITS_MAX 64 /* of a worker: whoever makes up keys holds no more than these */
#define LOOK_MS 20   /* they are fetched on another thread (jwks_fetcher.h) */

static void on_look(struct loop_timer *timer);

static bool may_wait(struct api *api, struct keys_wait *w)
{
	int64_t now_ms = loop_monotonic_ms(api->loop);

	if (!w->api) {
		w->api = api;
		w->until_ms = now_ms + WAIT_MS;
		loop_timer_init(api->loop, &w->look, on_look);
	}
	return now_ms < w->until_ms && api->keys_waits < WAITS_MAX && !api->draining;
}

static void wait_on(struct keys_wait *w, unsigned fetches)
{
	w->fetches = fetches;
	w->api->keys_waits++;
	loop_timer_start(&w->look, LOOK_MS);
}

static void on_look(struct loop_timer *timer)
{
	struct keys_wait *w = container_of(timer, struct keys_wait, look);
	struct api *api = w->api;

	if (verifier_fetches(api->verifier) == w->fetches && loop_monotonic_ms(api->loop) < w->until_ms) {
		loop_timer_start(&w->look, LOOK_MS);
		return;
	}
	api->keys_waits--;
	w->on_over(w);
}

void keys_wait_cancel(struct keys_wait *w)
{
	if (!loop_timer_is_started(&w->look))
		return;
	loop_timer_stop(&w->look);
	w->api->keys_waits--;
}

const struct fault *api_authenticate(struct api *api, const char *token, size_t len, const char *address,
	struct keys_wait *wait, struct caller *ret, char *ret_why, size_t why_size)
{
	unsigned fetches =
		verifier_fetches(api->verifier); /* before it is judged: what comes meanwhile is not missed */
	const struct fault *fault =
		token_verify(api->verifier, token, len, loop_unix_us(api->loop), ret, ret_why, why_size);

	if (fault == &FAULT_KEYS_AWAITED) {
		if (wait && may_wait(api, wait)) {
			wait_on(wait, fetches);
			return fault;
		}
		metric_add(METRIC_TOKENS_REFUSED, 1);
		fault = &FAULT_UNAUTHENTICATED;
	}
	if (fault)
		detection_stranger(api, address);
	else
		snprintf(ret->address, sizeof(ret->address), "%s", address);
	return fault;
}
