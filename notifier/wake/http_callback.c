/* http_callback.c - reads what an SMS provider calls back: an id and a status, wherever it puts them. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/memory.h"
#include "notifier/wake/http_sms.h"
#include "notifier/wake/json_place.h"
#include "notifier/wake/provider.h"

static int hex_of(char c)
{
	return isdigit((unsigned char)c)    ? c - '0'
	       : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10
					    : -1;
}

/* application/x-www-form-urlencoded; the caller frees it. What is wrongly encoded stays as it is. */
static char *decode(const char *from, size_t len)
{
	char *out = memory_new(len + 1), *at = out;

	for (size_t i = 0; i < len; i++) {
		int high = from[i] == '%' && i + 2 < len ? hex_of(from[i + 1]) : -1,
		    low = high >= 0 ? hex_of(from[i + 2]) : -1;
		if (low >= 0 && high * 16 + low > 0) {
			*at++ = (char)(high * 16 + low);
			i += 2;
		} else {
			*at++ = from[i] == '+' ? ' ' : from[i];
		}
	}
	return out;
}

/* The value of a field among `a=b&c=d`; NULL when it is not there. The caller frees it. */
static char *form_value(const char *form, size_t len, const char *name)
{
	const char *end = form + len;

	while (form < end) {
		const char *amp = memchr(form, '&', (size_t)(end - form)), *stop = amp ? amp : end;
		const char *equals = memchr(form, '=', (size_t)(stop - form));
		char *key = decode(form, (size_t)((equals ? equals : stop) - form));
		bool found = equals && strcmp(key, name) == 0;
		free(key);
		if (found)
			return decode(equals + 1, (size_t)(stop - equals - 1));
		form = stop + 1;
	}
	return NULL;
}

/* One field of the callback, from the body first. */
static bool read_field(
	const char *name, const char *query, const json_t *json, const char *body, size_t len, char *ret, size_t size)
{
	char *value = json ? json_place_text(json, name) : form_value(body, len, name);

	if (!value && query)
		value = form_value(query, strlen(query), name);
	bool fits = value && *value && strlen(value) < size;
	if (fits)
		snprintf(ret, size, "%s", value);
	free(value);
	return fits;
}

static bool is_among(const char *status, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcasecmp(status, names[i]) == 0)
			return true;
	return false;
}

/* A word for apps: "failed" becomes "FAILED"; what is none becomes "FAILED" too. */
static void write_reason(char *status)
{
	for (char *at = status; *at; at++) {
		*at = (char)toupper((unsigned char)*at);
		if (!isalnum((unsigned char)*at) && !strchr("_-", *at)) {
			strcpy(status, "FAILED");
			return;
		}
	}
}

enum sms_callback sms_callback_read(const struct sms_callback_form *form, const char *query, const char *content_type,
	const char *body, size_t len, struct sms_callback_text *ret_text, struct sms_receipt *ret_receipt)
{
	bool is_json = content_type && strncasecmp(content_type, "application/json", strlen("application/json")) == 0;
	json_auto_t *json = is_json ? json_read(body, len) : NULL;

	if ((is_json && !json) ||
		!read_field(form->id, query, json, body, len, ret_text->message_id, sizeof(ret_text->message_id)) ||
		!read_field(form->status, query, json, body, len, ret_text->status, sizeof(ret_text->status)))
		return CALLBACK_MALFORMED;
	bool delivered = is_among(ret_text->status, form->delivered, form->delivered_count);
	if (!delivered && !is_among(ret_text->status, form->failed, form->failed_count))
		return CALLBACK_NO_NEWS;
	write_reason(ret_text->status);
	*ret_receipt = (struct sms_receipt){ .message_id = ret_text->message_id,
		.delivered = delivered,
		.reason = delivered ? NULL : ret_text->status };
	return CALLBACK_NEWS;
}
