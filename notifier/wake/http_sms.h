/* http_sms.h - the provider "http": any SMS provider with an HTTP API, by templates; and what it calls back.
 * docs/wake-up.md has presets for some providers. */
#ifndef KEYFOB_NOTIFIER_WAKE_HTTP_SMS_H
#define KEYFOB_NOTIFIER_WAKE_HTTP_SMS_H

#include <stdbool.h>
#include <stddef.h>

#include "notifier/wake/provider.h"

struct loop;
struct sms_provider;
struct sms_receipt;

struct http_sms_header {
	const char *name, *value; /* the value is a template */
};

struct http_sms_options { /* borrowed for life, what it points to as well */
	const char *url;  /* templates: template.h */
	const char *method;
	const struct http_sms_header *headers;
	size_t header_count;
	const char *body; /* NULL: none. JSON, unless a Content-Type says that it is a form or something else */
	const int *ok_status;
	size_t ok_status_count;
	/* Where the answer names the message: members and indices, joined by dots ("messages.0.message-id"). NULL: the
	 * provider hands our own id back. */
	const char *message_id;
	bool gives_receipts; /* it calls back */
};

struct sms_provider *http_sms_new(struct loop *, const struct http_sms_options *);

/* How a callback is read: the fields' names, and which statuses mean what; others mean nothing yet. */
struct sms_callback_form {
	const char *id, *status; /* as `message_id` above */
	const char *const *delivered;
	size_t delivered_count;
	const char *const *failed;
	size_t failed_count;
};

enum sms_callback { CALLBACK_MALFORMED, CALLBACK_NEWS, CALLBACK_NO_NEWS };

struct sms_callback_text {
	char message_id[SMS_ID_SIZE], status[64];
};

/* Reads a provider's callback: its fields stand in the query, in a form or in a JSON object. `ret_receipt` (without provider) and
 * what it borrows from `ret_text` are set on CALLBACK_NEWS. */
enum sms_callback sms_callback_read(const struct sms_callback_form *, const char *query, const char *content_type,
	const char *body, size_t len, struct sms_callback_text *ret_text, struct sms_receipt *ret_receipt);

#endif
