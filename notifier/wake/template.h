/* template.h - texts with places for what an SMS has: {msisdn} {msisdn_digits} {iccid} {text} {vehicle_id}
 * {validity_seconds} {validity_minutes} {wakeup_id}. Other braces stay as they are. */
#ifndef KEYFOB_NOTIFIER_WAKE_TEMPLATE_H
#define KEYFOB_NOTIFIER_WAKE_TEMPLATE_H

#include <stdbool.h>

struct sms;
struct text;

/* What is filled in, so that a value cannot become more than a value. */
enum template_form {
	TEMPLATE_PLAIN,
	TEMPLATE_PERCENT, /* a URL or a form: percent-encoded (RFC 3986 §2.1) */
	TEMPLATE_JSON,	  /* inside a JSON string: escaped (RFC 8259 §7) */
	TEMPLATE_LINE,	  /* one line of a head: nothing that could end it */
};

/* Adds the filled template to `out`. false: a value is missing, or does not fit the form. */
bool template_fill(const char *template, enum template_form, const struct sms *, struct text *out);

#endif
