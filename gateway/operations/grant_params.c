/* grant_params.c - subject, role and end of a grant, as callers write them. */
#include "gateway/operations/grant_params.h"

#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "base/rfc3339.h"
#include "gateway/access/token.h"
#include "gateway/api_internal.h"
#include "sql/db.h"

#define SUBJECT_MAX 255

static const struct {
	const char *names[4];
	const char *detail;
} roles[] = {
	[GRANT_ON_VEHICLE] = { { "owner", "driver", "viewer" }, "role is owner, driver or viewer" },
	[GRANT_ON_FLEET] = { { "manager", "operator", "viewer" }, "role is manager, operator or viewer" },
};

static bool refuse(struct api_call *call, const char *why)
{
	api_call_fail(call, &FAULT_INVALID_PARAMS, "%s", why);
	return false;
}

static bool is_subject(const char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c < 0x20 || c == 0x7f)
			return false;
	}
	return len >= 1 && len <= SUBJECT_MAX;
}

bool grant_check_subject(struct api_call *call)
{
	const char *subject;

	if (!api_param_text(call, "subject", &subject))
		return false;
	if (!subject || !is_subject(subject))
		return refuse(call, "subject has 1 to 255 bytes, none of them a control character");
	if (strcmp(subject, SUBJECT_ERASED) == 0)
		return refuse(call, "subject is nobody's name: it stands for who was erased");
	return true;
}

static bool is_role(enum grant_object object, const char *role)
{
	for (const char *const *name = roles[object].names; *name; name++) {
		if (strcmp(role, *name) == 0)
			return true;
	}
	return false;
}

/* It ends by the database's clock: this node's may have jumped. RFC 3339 has offsets that PostgreSQL does not read (+23:59); refused
 * there, they would undo the transaction for everybody in it. So the parameter becomes the same time as we write it. */
static bool check_end(struct api_call *call)
{
	const char *expires;
	char text[RFC3339_SIZE];
	int64_t at;

	if (!api_param_text(call, "expires_at", &expires))
		return false;
	if (!expires)
		return true;
	if (!rfc3339_read(expires, &at) || at <= db_now_us(call->api->writer))
		return refuse(call, "expires_at is an RFC 3339 time in the future, or null");
	rfc3339_write(at, text);
	json_object_set_new(call->params, "expires_at", memory_need(json_string(text)));
	return true;
}

bool grant_check(struct api_call *call, enum grant_object object)
{
	const char *role;

	if (!grant_check_subject(call) || !api_param_text(call, "role", &role))
		return false;
	if (!role || !is_role(object, role))
		return refuse(call, roles[object].detail);
	return check_end(call);
}
