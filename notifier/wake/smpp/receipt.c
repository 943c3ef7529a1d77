/* receipt.c - a delivery receipt, SMPP 3.4 §5.3.2.12, §5.3.2.35 and appendix B:
 *
 *   id:0123456789 sub:001 dlvrd:001 submit date:2611252300 done date:2611252300 stat:DELIVRD err:000 text:KEYFOB WAK
 *
 * Centres take liberties with the text: other cases, missing fields. What follows "text:" is the message's own, and is
 * not believed. */
#include "notifier/wake/smpp/receipt.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/smpp/alphabet.h"

static const struct outcome {
	int state;
	const char *stat; /* of the text */
	bool is_final, delivered;
	const char *reason;
} outcomes[] = {
	{ SMPP_STATE_ENROUTE, "ENROUTE", false, false, NULL },
	{ SMPP_STATE_DELIVERED, "DELIVRD", true, true, NULL },
	{ SMPP_STATE_EXPIRED, "EXPIRED", true, false, "EXPIRED" },
	{ SMPP_STATE_DELETED, "DELETED", true, false, "DELETED" },
	{ SMPP_STATE_UNDELIVERABLE, "UNDELIV", true, false, "UNDELIVERABLE" },
	{ SMPP_STATE_ACCEPTED, "ACCEPTD", true, true, NULL },
	{ SMPP_STATE_UNKNOWN, "UNKNOWN", true, false, "UNKNOWN" },
	{ SMPP_STATE_REJECTED, "REJECTD", true, false, "REJECTED" },
};
#define OUTCOME_COUNT (sizeof outcomes / sizeof *outcomes)

static const struct outcome *outcome_of_state(int state)
{
	for (size_t i = 0; i < OUTCOME_COUNT; i++)
		if (outcomes[i].state == state)
			return &outcomes[i];
	return NULL;
}

static const struct outcome *outcome_of_stat(const char *stat)
{
	for (size_t i = 0; i < OUTCOME_COUNT; i++)
		if (strcasecmp(outcomes[i].stat, stat) == 0)
			return &outcomes[i];
	return NULL;
}

/* The word behind `key`, which stands at the beginning or behind a space. "" when there is none, or it is too long. */
static void copy_field(const char *text, const char *key, char *out, size_t size)
{
	const char *end = strcasestr(text, "text:"), *at = text;
	*out = '\0';
	while ((at = strcasestr(at, key)) && at != text && at[-1] != ' ')
		at++;
	if (!at || (end && at > end))
		return;
	at += strlen(key);
	size_t len = strcspn(at, " \r\n");
	if (len >= size)
		return;
	memcpy(out, at, len);
	out[len] = '\0';
}

/* Names and numbers are the same octets in every alphabet but UCS-2. */
static char *text_of(const struct smpp_message *m)
{
	struct text text = { 0 };
	sms_decode(
		m->data_coding == SMS_CODING_UCS2 ? SMS_CODING_UCS2 : SMS_CODING_LATIN1, m->text, m->text_len, &text);
	return text_take(&text);
}

/* Some centres forget to say in esm_class what it is, but do name the message and its state. */
static bool is_receipt(const struct smpp_message *m)
{
	return (m->esm_class & SMPP_ESM_KIND) == SMPP_ESM_RECEIPT || (*m->receipted_id && m->state != SMPP_STATE_NONE);
}

bool smpp_receipt_read(const struct smpp_message *m, struct smpp_receipt *ret)
{
	struct smpp_receipt r = { 0 };
	char stat[16];
	if (!is_receipt(m))
		return false;
	char *text = text_of(m);
	memcpy(r.ids[0], m->receipted_id, sizeof r.ids[0]);
	copy_field(text, "id:", r.ids[1], sizeof r.ids[1]);
	copy_field(text, "stat:", stat, sizeof stat);
	free(text);
	if (!smpp_id_is_plain(r.ids[1]))
		*r.ids[1] = '\0';
	const struct outcome *o = outcome_of_state(m->state);
	if (!o)
		o = outcome_of_stat(stat);
	if (!o || (!*r.ids[0] && !*r.ids[1]))
		return false;
	r.is_final = o->is_final;
	r.delivered = o->delivered;
	r.reason = o->reason;
	*ret = r;
	return true;
}
