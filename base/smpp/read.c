/* read.c - reads PDUs that strangers sent: a cursor that never passes the end, and one function a body. */
#include <string.h>

#include "base/smpp/pdu.h"

/* What is left of a PDU. Once something did not fit it is broken, and everything read from then on is zero. */
struct cursor {
	const uint8_t *at, *end;
	bool is_broken;
};

static const uint8_t *take(struct cursor *c, size_t len)
{
	if (c->is_broken || (size_t)(c->end - c->at) < len) {
		c->is_broken = true;
		return NULL;
	}
	c->at += len;
	return c->at - len;
}

static uint8_t take_8(struct cursor *c)
{
	const uint8_t *b = take(c, 1);
	return b ? b[0] : 0;
}

static uint32_t take_16(struct cursor *c)
{
	uint32_t high = take_8(c);
	return high << 8 | take_8(c);
}

static uint32_t take_32(struct cursor *c)
{
	uint32_t high = take_16(c);
	return high << 16 | take_16(c);
}

/* A C-octet string (§3.1): it ends with a NUL, which must come within `size` bytes. */
static void take_text(struct cursor *c, char *out, size_t size)
{
	size_t left = c->is_broken ? 0 : (size_t)(c->end - c->at);
	const uint8_t *nul = left ? memchr(c->at, 0, left < size ? left : size) : NULL;
	if (!nul) {
		c->is_broken = true;
		*out = '\0';
		return;
	}
	size_t len = (size_t)(nul - c->at) + 1;
	memcpy(out, take(c, len), len);
}

static void take_address(struct cursor *c, struct smpp_address *out)
{
	out->ton = take_8(c);
	out->npi = take_8(c);
	take_text(c, out->text, sizeof out->text);
}

static struct cursor body_of(const uint8_t *pdu, size_t len)
{
	return (struct cursor){ .at = pdu + SMPP_HEADER_SIZE, .end = pdu + len };
}

/* the frame */

enum smpp_frame smpp_frame(const uint8_t *bytes, size_t len, struct smpp_header *ret)
{
	struct cursor c = { .at = bytes, .end = bytes + len };
	struct smpp_header h = { .length = take_32(&c) };
	if (c.is_broken)
		return SMPP_FRAME_HALF;
	if (h.length < SMPP_HEADER_SIZE || h.length > SMPP_PDU_MAX)
		return SMPP_FRAME_WRONG;
	if (len < h.length)
		return SMPP_FRAME_HALF;
	h.command = take_32(&c);
	h.status = take_32(&c);
	h.sequence = take_32(&c);
	*ret = h;
	return SMPP_FRAME_WHOLE;
}

/* bodies */

/* §4.1.1; what follows the password (system_type, version, addresses) decides nothing here. */
bool smpp_read_bind(const uint8_t *pdu, size_t len, struct smpp_bind *ret)
{
	struct cursor c = body_of(pdu, len);
	take_text(&c, ret->system_id, sizeof ret->system_id);
	take_text(&c, ret->password, sizeof ret->password);
	return !c.is_broken;
}

/* It goes into the database, to apps and into URLs: nothing but what is printed plainly. */
bool smpp_id_is_plain(const char *id)
{
	for (const char *c = id; *c; c++)
		if (*c <= ' ' || *c > '~')
			return false;
	return *id != '\0';
}

/* Optional parameters (§5.3.2). One of another length than it may have counts as absent. */

static void take_payload(struct smpp_message *m, const uint8_t *value, size_t len)
{
	m->text = value;
	m->text_len = len;
}

static void take_state(struct smpp_message *m, const uint8_t *value, size_t len)
{
	if (len == 1)
		m->state = *value;
}

/* With its NUL by the book, without it from some. */
static void take_receipted_id(struct smpp_message *m, const uint8_t *value, size_t len)
{
	size_t used = len ? strnlen((const char *)value, len) : 0;
	if (used >= sizeof m->receipted_id)
		return;
	memcpy(m->receipted_id, value, used);
	m->receipted_id[used] = '\0';
	if (!smpp_id_is_plain(m->receipted_id))
		m->receipted_id[0] = '\0';
}

/* Those that matter; all others are skipped. */
static const struct parameter {
	uint32_t tag;
	void (*take)(struct smpp_message *, const uint8_t *value, size_t len);
} parameters[] = {
	{ 0x001e, take_receipted_id },
	{ 0x0424, take_payload },
	{ 0x0427, take_state },
};

static void take_parameter(struct cursor *c, struct smpp_message *m)
{
	uint32_t tag = take_16(c), len = take_16(c);
	const uint8_t *value = take(c, len);
	for (size_t i = 0; value && i < sizeof parameters / sizeof *parameters; i++)
		if (parameters[i].tag == tag)
			parameters[i].take(m, value, len);
}

/* A deliver_sm has the same fields; that its two times are empty (§4.6.1) is not asked of it. */
bool smpp_read_message(const uint8_t *pdu, size_t len, struct smpp_message *ret)
{
	struct cursor c = body_of(pdu, len);
	struct smpp_message m = { .state = SMPP_STATE_NONE };
	char ignored[SMPP_TIME_SIZE];
	take_text(&c, ignored, 6); /* service_type */
	take_address(&c, &m.source);
	take_address(&c, &m.destination);
	m.esm_class = take_8(&c);
	take(&c, 2);				/* protocol_id, priority_flag */
	take_text(&c, ignored, sizeof ignored); /* schedule_delivery_time */
	take_text(&c, m.validity_period, sizeof m.validity_period);
	m.registered_delivery = take_8(&c);
	take_8(&c); /* replace_if_present_flag */
	m.data_coding = take_8(&c);
	take_8(&c); /* sm_default_msg_id */
	m.text_len = take_8(&c);
	m.text = take(&c, m.text_len);
	while (!c.is_broken && c.at < c.end)
		take_parameter(&c, &m);
	if (c.is_broken)
		return false;
	*ret = m;
	return true;
}

bool smpp_read_id(const uint8_t *pdu, size_t len, char ret[SMPP_ID_SIZE])
{
	struct cursor c = body_of(pdu, len);
	take_text(&c, ret, SMPP_ID_SIZE);
	return !c.is_broken && smpp_id_is_plain(ret);
}
