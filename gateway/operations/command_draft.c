/* command_draft.c - from a request to a command that could be sent. */
#include "gateway/operations/command_draft.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/loop.h"
#include "base/memory.h"
#include "gateway/api_internal.h"
#include "gateway/catalog.h"

#define TTL_MAX_S 604800
#define TIMEOUT_MAX_S 86400
#define SEALED_MAX (32 * 1024)
#define KEY_MAX 255

static bool read_known(struct api_call *call, struct command_draft *d);
static bool read_params(struct api_call *call, struct command_draft *d);
static bool read_times(struct api_call *call, struct command_draft *d);
static bool read_trace(struct api_call *call, struct command_draft *d);
static bool read_key(struct api_call *call, struct command_draft *d);
static void write_fingerprint(const struct api_call *call, struct command_draft *d);
static bool has_stepped_up(struct api_call *call, const struct command_draft *d);

bool command_draft_read(struct api_call *call, struct command_draft *d)
{
	if (!read_known(call, d) || !read_params(call, d) || !read_times(call, d) || !read_key(call, d) ||
		!read_trace(call, d) || !has_stepped_up(call, d))
		return false;
	d->needs = (int)d->known->role + 1;
	d->redelivery = catalog_redelivery_name(d->known->redelivery);
	/* What the catalogue says of the command today is stored with it: it may be another by then. */
	d->catalog = memory_need(strdup(d->known->said));
	d->supersedes = memory_need(strdup(d->known->supersedes_list));
	return true;
}

void command_draft_done(struct command_draft *d)
{
	free(d->params);
	free(d->catalog);
	free(d->supersedes);
}

/* Each of these ends the call when it returns false. */

static bool read_known(struct api_call *call, struct command_draft *d)
{
	if (!api_param_text(call, "name", &d->name))
		return false;
	if (!d->name) {
		api_call_fail(call, &FAULT_INVALID_PARAMS, "name is required");
		return false;
	}
	d->known = catalog_find(call->api->catalog, d->name);
	if (!d->known)
		api_call_fail(call, &FAULT_UNKNOWN_COMMAND, "the catalogue has no command %.64s", d->name);
	return d->known;
}

static bool read_params(struct api_call *call, struct command_draft *d)
{
	const json_t *given = json_object_get(call->params, "params");
	json_auto_t *checked = NULL;

	if (!api_param_text(call, "sealed_params", &d->sealed_params))
		return false;
	given = json_is_null(given) ? NULL : given;
	if (d->sealed_params) {
		if (!given && strlen(d->sealed_params) <= SEALED_MAX)
			return true;
		api_call_fail(
			call, &FAULT_INVALID_PARAMS, "sealed_params stands in place of params and has at most 32 KiB");
		return false;
	}
	const struct fault *fault = catalog_check_params(d->known, given, &checked, call->detail, sizeof(call->detail));
	if (fault) {
		char detail[sizeof(call->detail)];
		memcpy(detail, call->detail, sizeof(detail));
		api_call_fail(call, fault, "%s", detail);
		return false;
	}
	d->params = json_canonical(checked);
	return true;
}

static bool read_times(struct api_call *call, struct command_draft *d)
{
	int64_t ttl, timeout, max_ttl = d->known->max_ttl_seconds < TTL_MAX_S ? d->known->max_ttl_seconds : TTL_MAX_S;

	if (!api_param_int(call, "ttl_seconds", d->known->ttl_seconds, 1, max_ttl, &ttl) ||
		!api_param_int(call, "timeout_seconds", d->known->timeout_seconds, 1, TIMEOUT_MAX_S, &timeout))
		return false;
	d->ttl_s = (int)ttl;
	d->timeout_s = (int)timeout;
	return api_param_bool(call, "wake", d->known->wake, &d->wake);
}

/* What cannot be read is as good as not there, and takes the tracestate with it (Trace Context §3.2.2.4, §3.3). */
static bool read_trace(struct api_call *call, struct command_draft *d)
{
	const char *given, *state;

	if (!api_param_text(call, "traceparent", &given) || !api_param_text(call, "tracestate", &state))
		return false;
	if (given && traceparent_read(given, strlen(given), d->traceparent))
		d->tracestate = state && tracestate_is_fine(state) ? state : NULL;
	return true;
}

static bool read_key(struct api_call *call, struct command_draft *d)
{
	if (!api_param_text(call, "idempotency_key", &d->key))
		return false;
	if (!d->key)
		return true;
	size_t len = strlen(d->key);
	if (len < 1 || len > KEY_MAX) {
		api_call_fail(call, &FAULT_INVALID_PARAMS, "the idempotency key has 1 to %d bytes", KEY_MAX);
		return false;
	}
	call->retriable_by_key = true;
	write_fingerprint(call, d);
	return true;
}

/* Of what makes a request this request: the vehicle or fleet, and the JSON value, not how it is sent or waited for. Who writes it anew may
 * write 21 as 21.0. */
static void write_fingerprint(const struct api_call *call, struct command_draft *d)
{
	json_auto_t *value = json_as_whole(call->params);
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	json_object_del(value, "idempotency_key");
	json_object_del(value, "wait");
	json_object_del(value, "traceparent");
	json_object_del(value, "tracestate");
	char *text = json_canonical(value);
	if (!EVP_Digest(text, strlen(text), digest, &len, EVP_sha256(), NULL))
		memory_out(); /* another fingerprint would be another request */
	free(text);
	for (unsigned i = 0; i < 32; i++)
		snprintf(d->fingerprint + 2 * i, 3, "%02x", digest[i]);
}

/* A login that is yet to come is none: of an issuer that counts in milliseconds it would never be old. */
static bool has_stepped_up(struct api_call *call, const struct command_draft *d)
{
	int64_t age_us = loop_unix_us(call->api->loop) - call->caller.auth_time_us;
	int64_t age_us_max = (int64_t)d->known->step_up_seconds * 1000000;

	if (age_us_max == 0 || (age_us <= age_us_max && age_us >= -TOKEN_LEEWAY_US))
		return true;
	api_call_refuse(call, "step-up", &FAULT_STEP_UP_REQUIRED, "max_age=%d", d->known->step_up_seconds);
	return false;
}
