/* detection.c - counts by the thresholds of the configuration, and raises what has become too much. */
#include "gateway/detection.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "gateway/access/suspicion.h"
#include "gateway/api_internal.h"
#include "gateway/config.h"
#include "state/lifecycle_event.h"

struct finding {
	const char *kind;
	int count;
	const char *subject, *address, *vehicle_id; /* NULL: none */
};

static bool is_too_much(const struct api *api, enum suspicion what, const char *key, int limit)
{
	return suspicion_note(what, key, limit, api->config->detection.window_ms, loop_monotonic_ms(api->loop));
}

/* The address is the operator's to know, not the owners'. */
static char *data_of(const struct api *api, const struct finding *f)
{
	json_auto_t *data = memory_need(json_pack("{s:s, s:i, s:I, s:s*}", "kind", f->kind, "count", f->count,
		"window_seconds", (json_int_t)(api->config->detection.window_ms / 1000), "subject", f->subject));
	return memory_need(json_dumps(data, JSON_COMPACT));
}

static void raise_alert(struct api *api, const struct finding *f)
{
	metric_add(METRIC_SECURITY_ALERTS, 1);
	log_warn("security", "something happens too often", LOG_TEXT("kind", f->kind), LOG_INT("count", f->count),
		LOG_TEXT("subject", f->subject ? f->subject : ""), LOG_TEXT("address", f->address ? f->address : ""),
		LOG_TEXT("vehicle_id", f->vehicle_id ? f->vehicle_id : ""));
	if (!api->raise || !f->vehicle_id)
		return;
	char *data = data_of(api, f);
	api->raise(api->alerts, f->vehicle_id, data);
	free(data);
}

static void refused(struct api *api, const char *subject, const char *address, const char *vehicle_id)
{
	int limit = api->config->detection.refusals;
	struct finding f = { "refusals", limit, subject, address, vehicle_id };

	metric_add(METRIC_REFUSALS, 1);
	bool subject_did = subject && is_too_much(api, SUSPICION_SUBJECT, subject, limit);
	bool address_did = *address && is_too_much(api, SUSPICION_ADDRESS, address, limit);
	if (subject_did || address_did)
		raise_alert(api, &f);
}

/* What may not be done, or must not even be known of. */
static bool is_refusal(const struct fault *fault)
{
	return fault == &FAULT_FORBIDDEN || fault == &FAULT_VEHICLE_NOT_FOUND || fault == &FAULT_FLEET_NOT_FOUND;
}

void detection_fault(struct api *api, const struct fault *fault, const struct caller *caller, const char *vehicle_id)
{
	if (is_refusal(fault))
		refused(api, caller->subject, caller->address, vehicle_id);
}

void detection_stranger(struct api *api, const char *address)
{
	refused(api, NULL, address, NULL);
}

void detection_forged(struct api *api, const char *vehicle_id)
{
	int limit = api->config->detection.forged_answers;

	if (is_too_much(api, SUSPICION_FORGERY, vehicle_id, limit))
		raise_alert(api, &(struct finding){ "forged_answers", limit, NULL, NULL, vehicle_id });
}

/* Who it was is the operator's to know: the log has it. */
void detection_connect(struct api *api, const struct lifecycle_refusal *refusal)
{
	int limit = api->config->detection.refused_connects;

	metric_add(METRIC_CONNECTS_REFUSED, 1 + refusal->untold);
	log_info("security", "a connect was refused", LOG_TEXT("vehicle_id", refusal->vehicle_id),
		LOG_TEXT("principal", refusal->principal), LOG_TEXT("address", refusal->address),
		LOG_INT("untold", refusal->untold));
	if (is_too_much(api, SUSPICION_CONNECT, refusal->vehicle_id, limit))
		raise_alert(api,
			&(struct finding){ "refused_connects", limit, NULL, refusal->address, refusal->vehicle_id });
}

void detection_command(struct api *api, const char *vehicle_id, const char *subject)
{
	int limit = api->config->detection.commands;

	if (is_too_much(api, SUSPICION_RATE, vehicle_id, limit))
		raise_alert(api, &(struct finding){ "commands", limit, subject, NULL, vehicle_id });
}
