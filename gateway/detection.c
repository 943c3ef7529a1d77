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
	const char *subject, *address, *object; /* NULL: none. As the audit table has it, the last that was meant */
	const struct suspicion_trail *all;	/* the objects whose people are told; NULL: that one's */
};

static const char fleet_prefix[] = "fleet/";

/* The fleet's id; NULL: it is a vehicle. */
static const char *fleet_of(const char *object)
{
	size_t len = strlen(fleet_prefix);

	return strncmp(object, fleet_prefix, len) == 0 ? object + len : NULL;
}

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

/* Of what does not exist nobody hears (alert.sql, fleet_watched.sql). */
static void tell_people_of(struct api *api, const char *object, const char *data)
{
	const char *fleet_id = fleet_of(object);

	if (fleet_id)
		api->raise_fleet(api->hub, fleet_id, data);
	else
		api->raise(api->alerts, object, data);
}

static void tell(struct api *api, const struct finding *f)
{
	if (!api->raise)
		return;
	char *data = data_of(api, f);
	if (f->all) {
		for (size_t i = 0; i < f->all->count; i++)
			tell_people_of(api, f->all->ids[i], data);
	} else if (f->object) {
		tell_people_of(api, f->object, data);
	}
	free(data);
}

static void raise_alert(struct api *api, const struct finding *f)
{
	metric_add(METRIC_SECURITY_ALERTS, 1);
	const char *fleet_id = f->object ? fleet_of(f->object) : NULL;
	log_warn("security", "something happens too often", LOG_TEXT("kind", f->kind), LOG_INT("count", f->count),
		LOG_TEXT("subject", f->subject ? f->subject : ""), LOG_TEXT("address", f->address ? f->address : ""),
		LOG_TEXT("vehicle_id", f->object && !fleet_id ? f->object : ""),
		LOG_TEXT("fleet_id", fleet_id ? fleet_id : ""));
	tell(api, f);
}

/* The last that was tried may be nobody's, and others are told all the same. */
static bool is_refused_too_often(
	struct api *api, enum suspicion what, const char *key, const char *object, struct suspicion_trail *trail)
{
	const struct config *config = api->config;
	return suspicion_note_object(what, key, object, config->detection.refusals, config->detection.window_ms,
		loop_monotonic_ms(api->loop), trail);
}

/* Not "*", which is the fleet of all vehicles and nobody's. */
static bool is_one(const char *object)
{
	const char *fleet_id = fleet_of(object);

	return topic_level_is_safe(fleet_id ? fleet_id : object);
}

/* Addresses are counted by their network, as their rates are. */
static void refused(struct api *api, const char *subject, const char *address, const char *object)
{
	struct suspicion_trail trail = { .count = 0 };
	struct finding f = { "refusals", api->config->detection.refusals, subject, address, object, &trail };
	const char *tried = object && is_one(object) ? object : NULL;
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

void detection_fault(struct api *api, const struct fault *fault, const struct caller *caller, const char *vehicle_id,
	const char *fleet_id)
{
	char object[OBJECT_SIZE];
	const char *meant = vehicle_id && topic_level_is_safe(vehicle_id) ? vehicle_id : NULL;

	if (!is_refusal(fault))
		return;
	if (fleet_id && topic_level_is_safe(fleet_id) && (!vehicle_id || fault == &FAULT_FLEET_NOT_FOUND)) {
		snprintf(object, sizeof(object), "%s%s", fleet_prefix, fleet_id);
		meant = object;
	}
	refused(api, caller->subject, caller->address, meant);
}

/* What is forbidden here is so for want of a scope, be it that of administrators. */
void detection_subscription(
	struct api *api, const struct fault *fault, const struct caller *caller, const char *action, const char *object)
{
	if (!is_refusal(fault))
		return;
	refused(api, caller->subject, caller->address, *object ? object : NULL);
	if (*object && api->note_refused_read)
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

/* Whoever spreads them over many vehicles is not seen by any one vehicle's count. */
void detection_command(struct api *api, const char *vehicle_id, const char *subject)
{
	int limit = api->config->detection.commands, subject_limit = api->config->detection.subject_commands;
	struct suspicion_trail trail = { .count = 0 };

	if (is_too_much(api, SUSPICION_RATE, vehicle_id, limit))
		raise_alert(api, &(struct finding){ "commands", limit, subject, NULL, vehicle_id, NULL });
	if (suspicion_note_object(SUSPICION_SENDER, subject, vehicle_id, subject_limit,
		    api->config->detection.window_ms, loop_monotonic_ms(api->loop), &trail))
		raise_alert(
			api, &(struct finding){ "subject_commands", subject_limit, subject, NULL, vehicle_id, &trail });
}
