/* api.c - a call's life: made by a transport, checked, run by its operation, told once, freed. */
#include "gateway/api.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/json.h"
#include "base/list.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "gateway/api_internal.h"
#include "gateway/config.h"
#include "gateway/detection.h"

/* The call as this file sees it: the transport's part, and the turn in which it is told. */
struct told_call {
	struct api_call call;
	struct loop_soon soon;
	bool ended;
};

static void on_soon(struct loop_soon *soon);
static bool may_run(struct api_call *call);
static void end(struct api_call *call);

static struct told_call *told(struct api_call *call)
{
	return container_of(call, struct told_call, call);
}

struct api_call *api_call_new(struct api *api, const struct api_operation *operation, const struct caller *caller,
	json_t *params, const char *request_id, void *transport, void (*on_done)(struct api_call *))
{
	struct told_call *t = memory_new(sizeof(*t));
	struct api_call *call = &t->call;

	call->api = api;
	call->operation = operation;
	call->caller = *caller;
	call->params = params;
	call->transport = transport;
	call->on_done = on_done;
	call->desired_version = -1;
	if (request_id)
		snprintf(call->request_id, sizeof(call->request_id), "%s", request_id);
	else
		uuid7_draw(loop_unix_us(api->loop), call->request_id);
	loop_soon_init(&t->soon, on_soon);
	return call;
}

void api_call_start(struct api_call *call)
{
	call->running = true;
	if (may_run(call))
		call->operation->run(call);
}

static bool may_run(struct api_call *call)
{
	unsigned needed = call->operation->scope;

	if (call->api->draining) {
		api_call_fail(call, &FAULT_DRAINING, "the node is shutting down");
		return false;
	}
	if (needed && !(call->caller.scopes & (needed | SCOPE_ADMIN))) {
		call->missing_scope = token_scope_name(needed & -needed);
		api_call_refuse(call, "scope", &FAULT_FORBIDDEN, "the token lacks the scope %s", call->missing_scope);
		return false;
	}
	const char *unknown = json_unknown_key(call->params, call->operation->params);
	if (unknown) {
		api_call_fail(call, &FAULT_UNKNOWN_FIELD, "%.64s is not known here", unknown);
		return false;
	}
	return true;
}

void api_call_cancel(struct api_call *call)
{
	call->on_done = NULL;
	if (!call->running)
		api_call_free(call);
}

void api_call_free(struct api_call *call)
{
	struct told_call *t = told(call);

	loop_soon_cancel(&t->soon);
	if (call->free_state)
		call->free_state(call->state);
	json_decref(call->params);
	free(call->body);
	free(t);
}

static void fail(struct api_call *call, const struct fault *fault, const char *format, va_list args)
{
	detection_fault(call->api, fault, &call->caller, json_text_at(call->params, "vehicle_id"),
		json_text_at(call->params, "fleet_id"));
	call->fault = fault;
	vsnprintf(call->detail, sizeof(call->detail), format, args);
	if (fault->retry == RETRY_LATER && call->retry_after_s == 0)
		call->retry_after_s = 1;
	end(call);
}

void api_call_fail(struct api_call *call, const struct fault *fault, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fail(call, fault, format, args);
	va_end(args);
}

void api_call_refuse(struct api_call *call, const char *why, const struct fault *fault, const char *format, ...)
{
	va_list args;

	if (call->api->note_refused)
		call->api->note_refused(call->api->refused, call, why);
	va_start(args, format);
	fail(call, fault, format, args);
	va_end(args);
}

void api_call_reply(struct api_call *call, char *body, size_t len)
{
	call->body = body;
	call->body_len = len;
	end(call);
}

/* By whichever way it came. A command is named by the call, or was made by it. */
static void log_end(const struct api_call *call)
{
	const char *vehicle = json_text_at(call->params, "vehicle_id"), *named = json_text_at(call->params, "id");

	log_debug("api", call->fault ? "refused" : "done", LOG_TEXT("operation", call->operation->name),
		LOG_TEXT("fault", call->fault ? call->fault->name : ""), LOG_TEXT("request_id", call->request_id),
		LOG_TEXT("vehicle_id", vehicle ? vehicle : ""),
		LOG_TEXT("command_id", !vehicle		      ? ""
				       : call->resource_id[0] ? call->resource_id
				       : named		      ? named
							      : ""),
		LOG_TEXT("trace_id", call->trace_id));
}

static void end(struct api_call *call)
{
	struct told_call *t = told(call);

	if (log_is_on(LOG_LEVEL_DEBUG))
		log_end(call);

	assert(call->running && !t->ended);
	t->ended = true;
	loop_soon_call(call->api->loop, &t->soon);
}

static void on_soon(struct loop_soon *soon)
{
	struct api_call *call = &container_of(soon, struct told_call, soon)->call;

	call->running = false;
	if (call->on_done)
		call->on_done(call);
	else
		api_call_free(call);
}

/* The problem object. */

/* What a detail quotes may have been cut amid a character. */
static json_t *text_of(const char *detail)
{
	struct text quoted = { 0 };

	text_add_json_string(&quoted, detail);
	json_t *text = memory_need(json_loads(quoted.data, JSON_DECODE_ANY, NULL));
	text_free(&quoted);
	return text;
}

json_t *api_problem(const struct fault *fault, const char *detail, const char *request_id, bool retriable_by_key)
{
	bool unknown = fault->executed == EXECUTED_UNKNOWN;
	char type[128];

	snprintf(type, sizeof(type), "urn:keyfob:problem:%s", fault->name);
	json_t *problem = json_pack("{s:s, s:s, s:i, s:o, s:s*, s:b, s:b}", "type", type, "title", fault->title,
		"status", fault->http, "detail", text_of(detail && detail[0] ? detail : fault->title), "instance",
		request_id, "retriable", fault->retry == RETRY_LATER && (!unknown || retriable_by_key),
		"may_have_executed", unknown);
	if (fault->user_message)
		json_object_set_new(problem, "user_message", json_string(fault->user_message));
	return memory_need(problem);
}

/* For the transports. */

struct hub *api_hub(struct api *api)
{
	return api->hub;
}

bool api_is_draining(const struct api *api)
{
	return api->draining;
}

int64_t api_caller_left_ms(const struct api *api, const struct caller *caller)
{
	return (caller->expires_at_us + TOKEN_LEEWAY_US - loop_unix_us(api->loop)) / 1000;
}

static double limit_of(const struct api *api, enum rate rate)
{
	const struct config *config = api->config;
	const double limits[] = { [RATE_SUBJECT] = config->limits.per_subject,
		[RATE_VEHICLE] = config->limits.per_vehicle,
		[RATE_ADDRESS] = config->limits.per_address };
	return limits[rate];
}

bool api_may_ask(struct api *api, enum rate rate, const char *key, struct rate_verdict *ret)
{
	bool may = rate_take(rate, limit_of(api, rate), key, loop_monotonic_us(api->loop), ret);

	metric_add(METRIC_RATE_LIMITED, !may);
	return may;
}

void api_give_back(struct api *api, enum rate rate, const char *key, const struct rate_verdict *verdict)
{
	rate_give_back(rate, limit_of(api, rate), key, verdict);
}

/* For operations. */

bool api_caller_is_admin(const struct api_call *call)
{
	return call->caller.scopes & SCOPE_ADMIN;
}

bool api_may_name(const struct api_call *call, const char *id)
{
	const char *namespace = call->api->config->namespace;
	size_t len = strlen(namespace);
	return topic_level_is_safe(id) && !(strncmp(id, namespace, len) == 0 && id[len] == '-');
}

bool api_param_text(struct api_call *call, const char *name, const char **ret)
{
	const json_t *value = json_object_get(call->params, name);

	*ret = NULL;
	if (!value || json_is_null(value))
		return true;
	*ret = json_string_value(value);
	if (*ret && strlen(*ret) == json_string_length(value))
		return true;
	api_call_fail(call, &FAULT_INVALID_PARAMS, "%s must be a text", name);
	return false;
}

bool api_param_int(struct api_call *call, const char *name, int64_t absent, int64_t min, int64_t max, int64_t *ret)
{
	const json_t *value = json_object_get(call->params, name);

	*ret = absent;
	if (!value || json_is_null(value))
		return true;
	if (json_whole(value, ret) && *ret >= min && *ret <= max)
		return true;
	api_call_fail(call, &FAULT_INVALID_PARAMS, "%s must be an integer from %lld to %lld", name, (long long)min,
		(long long)max);
	return false;
}

bool api_param_bool(struct api_call *call, const char *name, bool absent, bool *ret)
{
	const json_t *value = json_object_get(call->params, name);

	*ret = absent;
	if (!value || json_is_null(value))
		return true;
	*ret = json_is_true(value);
	if (json_is_boolean(value))
		return true;
	api_call_fail(call, &FAULT_INVALID_PARAMS, "%s must be true or false", name);
	return false;
}

static bool param_id(struct api_call *call, const char *name, const struct fault *missing, const char **ret)
{
	const json_t *value = json_object_get(call->params, name);

	*ret = json_string_value(value);
	if (*ret && strlen(*ret) == json_string_length(value) && topic_level_is_safe(*ret))
		return true;
	api_call_fail(call, missing, "%s", "");
	return false;
}

bool api_param_vehicle(struct api_call *call, const char **ret)
{
	return param_id(call, "vehicle_id", &FAULT_VEHICLE_NOT_FOUND, ret);
}

bool api_param_fleet(struct api_call *call, const char **ret)
{
	return param_id(call, "fleet_id", &FAULT_FLEET_NOT_FOUND, ret);
}
