/* waking.c - gives the flow its providers, and takes them away, as the right to have them comes and goes. */
#include "gateway/waking.h"

#include "base/loop.h"
#include "base/memory.h"
#include "gateway/config.h"
#include "gateway/sole.h"
#include "gateway/wake.h"
#include "notifier/wake/provider.h"
#include "notifier/wake/wake.h"

#define PROVIDERS_MAX 8

struct waking {
	struct loop *loop;
	struct waking_options options;
	struct wake *flow;
	struct sms_setup *setup;
	struct sms_receipts receipts; /* the providers borrow it */
	struct sole *sole;	      /* NULL: each node has its providers, or this worker never */
};

static void on_providers_closed(void *owner);

struct waking *waking_new(struct loop *loop, const struct waking_options *options)
{
	struct waking *w = memory_new(sizeof(*w));
	const struct config *config = options->config;
	const char *const *names;

	w->loop = loop;
	w->options = *options;
	w->setup = sms_setup_new(config);
	size_t count = sms_setup_names(w->setup, &names);
	w->flow = wake_new(loop, &(struct wake_options){
					 .writer = options->writer,
					 .reader = options->reader,
					 .ports = options->ports,
					 .enabled = options->enabled,
					 .text = config->wake.text,
					 .receipt_timeout_ms = config->wake.receipt_timeout_ms,
					 .min_interval_ms = config->wake.min_interval_ms,
					 .validity_ms = config->wake.validity_ms,
					 .return_delay_ms = config->lifecycle.return_delay_ms,
					 .max_attempts = config->wake.max_attempts,
					 .daily_budget = config->wake.daily_budget,
					 .provider_names = names,
					 .provider_count = count,
					 .owner = w,
					 .on_rested = on_providers_closed,
				 });
	return w;
}

struct wake *waking_flow(const struct waking *w)
{
	return w->flow;
}

static void make_providers(void *owner)
{
	struct waking *w = owner;
	struct sms_provider *providers[PROVIDERS_MAX] = { 0 };

	w->receipts = wake_receipts(w->flow);
	sms_setup_make(w->setup, w->loop, &w->receipts, providers);
	wake_start(w->flow, providers);
}

static void close_providers(void *owner)
{
	struct waking *w = owner;
	wake_rest(w->flow);
}

static void on_providers_closed(void *owner)
{
	struct waking *w = owner;
	if (w->sole)
		sole_release(w->sole);
}

static bool can_submit(void *owner)
{
	const struct waking *w = owner;
	return w->options.ports->can_publish(w->options.ports->owner);
}

void waking_start(struct waking *w)
{
	if (!sms_setup_is_sole(w->setup)) {
		make_providers(w);
		return;
	}
	w->sole = sole_new(w->loop, w->options.reader,
		&(struct sole_options){
			.name = "sms/session",
			.worker = w->options.worker,
			.node = w->options.node,
			.owner = w,
			.is_useful = can_submit,
			.on_taken = make_providers,
			.on_dropped = close_providers,
		});
	sole_start(w->sole);
}

void waking_stop(struct waking *w)
{
	if (w->sole)
		sole_stop(w->sole);
	wake_stop(w->flow);
}

bool waking_is_quiet(const struct waking *w)
{
	return wake_is_quiet(w->flow) && (!w->sole || sole_is_quiet(w->sole));
}
