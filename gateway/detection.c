/* detection.c - counts by the thresholds of the configuration, and raises what has become too much. */
#include "gateway/detection.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/json.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "gateway/access/suspicion.h"
#include "gateway/api_internal.h"
#include "gateway/config.h"
#include "gateway/network.h"
#include "state/lifecycle_event.h"

struct finding {
	const char *kind;
	int count;
	const char *subject, *address, *vehicle_id; /* NULL: none. The vehicle is the last that was meant */
	const struct suspicion_trail *all;	    /* the vehicles whose people are told; NULL: that one's */
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

static void tell(struct api *api, const struct finding *f)
{
	if (!api->raise)
		return;
	char *data = data_of(api, f);
	if (f->all) {
		for (size_t i = 0; i < f->all->count; i++)
			api->raise(api->alerts, f->all->ids[i], data);
	} else if (f->vehicle_id) {
		api->raise(api->alerts, f->vehicle_id, data);
	}
	free(data);
}

static void raise_alert(struct api *api, const struct finding *f)
{
	metric_add(METRIC_SECURITY_ALERTS, 1);
	log_warn("security", "something happens too often", LOG_TEXT("kind", f->kind), LOG_INT("count", f->count),
		LOG_TEXT("subject", f->subject ? f->subject : ""), LOG_TEXT("address", f->address ? f->address : ""),
		LOG_TEXT("vehicle_id", f->vehicle_id ? f->vehicle_id : ""));
	tell(api, f);
}

/* One that is not there hears nothing (alert.sql): so the last that was tried may be nobody's, and others are told all the same. */
static bool is_refused_too_often(
	struct api *api, enum suspicion what, const char *key, const char *vehicle_id, struct suspicion_trail *trail)
{
	const struct config *config = api->config;
	return suspicion_note_vehicle(what, key, vehicle_id, config->detection.refusals, config->detection.window_ms,
		loop_monotonic_ms(api->loop), trail);
}

/* Addresses are counted by their network, as their rates are. */
static void refused(struct api *api, const char *subject, const char *address, const char *vehicle_id)
{
	struct suspicion_trail trail = { .count = 0 };
	struct finding f = { "refusals", api->config->detection.refusals, subject, address, vehicle_id, &trail };
	const char *tried = vehicle_id && topic_level_is_safe(vehicle_id) ? vehicle_id : NULL;
	char network[24];

	metric_add(METRIC_REFUSALS, 1);
	snprintf(network, sizeof(network), "%" PRIx64, address_network(address));
	bool subject_did = subject && is_refused_too_often(api, SUSPICION_SUBJECT, subject, tried, &trail);
	bool address_did = *address && is_refused_too_often(api, SUSPICION_ADDRESS, network, tried, &trail);
	if (subject_did || address_did)
		raise_alert(api, &f);
}

/* What may not be done, or must not even be known of. Not step-up-required: an honest app meets it, and asks its user. Nor is
 * what is missed in a vehicle, or among webhooks, of one's own. */
static bool is_refusal(const struct fault *fault)
{
	static const struct fault *const refusals[] = { &FAULT_FORBIDDEN, &FAULT_VEHICLE_NOT_FOUND,
		&FAULT_FLEET_NOT_FOUND, &FAULT_BATCH_NOT_FOUND, &FAULT_WEBHOOK_NOT_FOUND };

	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		if (refusals[i] == fault)
			return true;
	}
	return false;
}

void detection_fault(struct api *api, const struct fault *fault, const struct caller *caller, const char *vehicle_id)
{
	if (is_refusal(fault))
		refused(api, caller->subject, caller->address, vehicle_id);
}

/* What is forbidden here is so for want of a scope, be it that of administrators. */
void detection_subscription(
	struct api *api, const struct fault *fault, const struct caller *caller, const char *action, const char *object)
{
	bool is_vehicle = *object && strncmp(object, "fleet/", strlen("fleet/")) != 0;

	detection_fault(api, fault, caller, is_vehicle ? object : NULL);
	if (is_refusal(fault) && *object && api->note_refused_read)
		api->note_refused_read(api, caller, action, object, fault == &FAULT_FORBIDDEN ? "scope" : fault->name);
}

void detection_stranger(struct api *api, const char *address)
{
	refused(api, NULL, address, NULL);
}

void detection_forged(struct api *api, const char *vehicle_id)
{
	int limit = api->config->detection.forged_answers;

	if (is_too_much(api, SUSPICION_FORGERY, vehicle_id, limit))
		raise_alert(api, &(struct finding){ "forged_answers", limit, NULL, NULL, vehicle_id, NULL });
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
		raise_alert(api, &(struct finding){ "refused_connects", limit, NULL, refusal->address,
					 refusal->vehicle_id, NULL });
}

void detection_command(struct api *api, const char *vehicle_id, const char *subject)
{
	int limit = api->config->detection.commands;

	if (is_too_much(api, SUSPICION_RATE, vehicle_id, limit))
		raise_alert(api, &(struct finding){ "commands", limit, subject, NULL, vehicle_id, NULL });
}
