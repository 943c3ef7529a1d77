/* notice_params.c - name, payload and time of a notice, as callers write them. */
#include "gateway/operations/notice_params.h"

#include <string.h>

#include "gateway/api_internal.h"

#define NAME_MAX_LEN 64
#define PAYLOAD_MAX (64 * 1024)
#define CONTENT_TYPE_MAX 128
#define EXPIRES_MAX (366 * 24 * 3600) /* seconds */

static bool refuse(struct api_call *call, const char *why)
{
	api_call_fail(call, &FAULT_INVALID_PARAMS, "%s", why);
	return false;
}

bool notice_check_name(struct api_call *call)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	const char *name;

	if (!api_param_text(call, "name", &name))
		return false;
	if (!name || !*name || strlen(name) > NAME_MAX_LEN || name[strspn(name, allowed)])
		return refuse(call, "a notice's name has 1 to 64 of A-Z a-z 0-9 . _ -");
	return true;
}

static bool is_printable(const char *text)
{
	while (*text >= ' ' && *text <= '~')
		text++;
	return *text == '\0';
}

/* An empty payload would be a withdrawal, to the broker as to the vehicle. */
bool notice_check(struct api_call *call)
{
	const char *payload, *type;
	int64_t seconds;

	if (!notice_check_name(call) || !api_param_text(call, "payload", &payload) ||
		!api_param_text(call, "content_type", &type) ||
		!api_param_int(call, "expires_in_seconds", 0, 1, EXPIRES_MAX, &seconds))
		return false;
	if (!payload || !*payload)
		return refuse(call, "the payload is empty; DELETE withdraws a notice");
	if (strlen(payload) > PAYLOAD_MAX)
		return refuse(call, "the payload has at most 64 KiB");
	if (type && (strlen(type) > CONTENT_TYPE_MAX || !is_printable(type)))
		return refuse(call, "the content type has at most 128 printable characters");
	return true;
}
