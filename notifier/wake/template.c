/* template.c - fills the places of a template, each value in the template's own form. */
#include "notifier/wake/template.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "notifier/wake/provider.h"

static const char *msisdn_of(const struct sms *sms)
{
	return sms->msisdn;
}

/* As some providers want it: E.164 without the plus. */
static const char *digits_of(const struct sms *sms)
{
	return sms->msisdn && sms->msisdn[0] == '+' ? sms->msisdn + 1 : sms->msisdn;
}

static const char *iccid_of(const struct sms *sms)
{
	return sms->iccid;
}

static const char *text_of(const struct sms *sms)
{
	return sms->text;
}

static const char *vehicle_of(const struct sms *sms)
{
	return sms->vehicle_id;
}

static const char *id_of(const struct sms *sms)
{
	return sms->id;
}

static const char *validity_of(const struct sms *sms)
{
	static _Thread_local char text[16];
	snprintf(text, sizeof(text), "%d", sms->validity_s);
	return text;
}

/* As some providers want it; a started minute is none, but one there is. */
static const char *minutes_of(const struct sms *sms)
{
	static _Thread_local char text[16];
	snprintf(text, sizeof(text), "%d", sms->validity_s < 60 ? 1 : sms->validity_s / 60);
	return text;
}

static const struct place {
	const char *name;
	const char *(*value)(const struct sms *);
} places[] = {
	{ "{msisdn}", msisdn_of },
	{ "{msisdn_digits}", digits_of },
	{ "{iccid}", iccid_of },
	{ "{text}", text_of },
	{ "{vehicle_id}", vehicle_of },
	{ "{validity_seconds}", validity_of },
	{ "{validity_minutes}", minutes_of },
	{ "{wakeup_id}", id_of },
};

static bool add_plain(struct text *out, const char *value)
{
	text_add(out, value);
	return true;
}

static bool add_percent(struct text *out, const char *value)
{
	for (; *value; value++)
		text_addf(out, isalnum((unsigned char)*value) || strchr("-._~", *value) ? "%c" : "%%%02X",
			(unsigned char)*value);
	return true;
}

static bool add_json(struct text *out, const char *value)
{
	struct text quoted = { 0 };

	text_add_json_string(&quoted, value);
	text_add_bytes(out, quoted.data + 1, quoted.len - 2);
	text_free(&quoted);
	return true;
}

static bool add_line(struct text *out, const char *value)
{
	for (const char *at = value; *at; at++)
		if (iscntrl((unsigned char)*at))
			return false;
	return add_plain(out, value);
}

static bool (*const adders[])(struct text *, const char *) = {
	[TEMPLATE_PLAIN] = add_plain,
	[TEMPLATE_PERCENT] = add_percent,
	[TEMPLATE_JSON] = add_json,
	[TEMPLATE_LINE] = add_line,
};

static const struct place *place_at(const char *at)
{
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (strncmp(at, places[i].name, strlen(places[i].name)) == 0)
			return &places[i];
	return NULL;
}

bool template_fill(const char *template, enum template_form form, const struct sms *sms, struct text *out)
{
	for (const char *at = template; *at;) {
		const struct place *place = place_at(at);
		if (!place) {
			text_add_bytes(out, at++, 1);
			continue;
		}
		const char *value = place->value(sms);
		if (!value || !adders[form](out, value))
			return false;
		at += strlen(place->name);
	}
	return true;
}
