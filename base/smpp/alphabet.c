/* alphabet.c - UTF-8 to septets or UCS-2, and back. */
#include "base/smpp/alphabet.h"

#include <stdbool.h>
#include <uchar.h>

#include "base/json.h"

#define ESCAPE 0x1b
#define REPLACEMENT 0xfffd

/* 3GPP TS 23.038 §6.2.1, sixteen a line; the escape stands for itself. */
static const char16_t basic[128 + 1] = u"@£$¥èéùìòÇ\nØø\rÅå"
				       u"Δ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ"
				       u" !\"#¤%&'()*+,-./"
				       u"0123456789:;<=>?"
				       u"¡ABCDEFGHIJKLMNO"
				       u"PQRSTUVWXYZÄÖÑÜ§"
				       u"¿abcdefghijklmno"
				       u"pqrstuvwxyzäöñüà";

/* §6.2.1.1: after an ESCAPE. */
static const struct extension {
	uint8_t septet;
	uint16_t character;
} extensions[] = {
	{ 0x0a, '\f' },
	{ 0x14, '^' },
	{ 0x28, '{' },
	{ 0x29, '}' },
	{ 0x2f, '\\' },
	{ 0x3c, '[' },
	{ 0x3d, '~' },
	{ 0x3e, ']' },
	{ 0x40, '|' },
	{ 0x65, 0x20ac },
};
#define EXTENSION_COUNT (sizeof extensions / sizeof *extensions)

/* The next character of UTF-8 (RFC 3629 §3); false: it is none. 0 is the end. */
static bool next_character(const char **utf8, uint32_t *ret)
{
	static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };
	const unsigned char *s = (const unsigned char *)*utf8;
	unsigned more = *s < 0x80 ? 0 : *s < 0xc0 ? 4 : *s < 0xe0 ? 1 : *s < 0xf0 ? 2 : *s < 0xf8 ? 3 : 4;
	if (more == 4)
		return false;
	uint32_t c = more ? *s & (0x3fu >> more) : *s;
	for (unsigned i = 1; i <= more; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return false;
		c = c << 6 | (s[i] & 0x3f);
	}
	*utf8 += 1 + more;
	*ret = c;
	return c >= least[more] && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);
}

/* septets */

/* How many septets it takes, written to `out`; 0: the alphabet lacks it. */
static size_t septets_of(uint32_t character, uint8_t out[2])
{
	for (size_t i = 0; i < 128; i++)
		if (basic[i] == character && i != ESCAPE) {
			out[0] = (uint8_t)i;
			return 1;
		}
	for (size_t i = 0; i < EXTENSION_COUNT; i++)
		if (extensions[i].character == character) {
			out[0] = ESCAPE;
			out[1] = extensions[i].septet;
			return 2;
		}
	return 0;
}

static size_t units_of(uint32_t character, uint8_t out[4])
{
	uint32_t units[2] = { character, 0 };
	size_t count = 1;
	if (character > 0xffff) {
		units[0] = 0xd800 + ((character - 0x10000) >> 10);
		units[count++] = 0xdc00 + (character & 0x3ff);
	}
	for (size_t i = 0; i < count; i++) {
		out[2 * i] = (uint8_t)(units[i] >> 8);
		out[2 * i + 1] = (uint8_t)units[i];
	}
	return count * 2;
}

enum attempt { FITS, TOO_LONG, NOT_UTF8, LACKS_ONE };

static enum attempt encode(
	const char *utf8, size_t (*octets_of)(uint32_t, uint8_t *), uint8_t *out, size_t max, size_t *ret_len)
{
	uint32_t character;
	size_t len = 0;
	bool fits = true;
	while (next_character(&utf8, &character)) {
		uint8_t octets[4];
		if (character == 0) {
			*ret_len = len;
			return fits ? FITS : TOO_LONG;
		}
		size_t count = octets_of(character, octets);
		if (count == 0)
			return LACKS_ONE;
		fits = fits && len + count <= max;
		for (size_t i = 0; fits && i < count; i++)
			out[len++] = octets[i];
	}
	return NOT_UTF8;
}

enum sms_fit sms_encode(const char *utf8, uint8_t out[SMS_SEPTETS_MAX], size_t *ret_len, uint8_t *ret_coding)
{
	static const enum sms_fit fit[] = { [FITS] = SMS_FITS, [TOO_LONG] = SMS_TOO_LONG, [NOT_UTF8] = SMS_NOT_UTF8 };
	enum attempt attempt = encode(utf8, septets_of, out, SMS_SEPTETS_MAX, ret_len);
	*ret_coding = SMS_CODING_DEFAULT;
	if (attempt == LACKS_ONE) {
		attempt = encode(utf8, units_of, out, SMS_UCS2_MAX, ret_len);
		*ret_coding = SMS_CODING_UCS2;
	}
	return fit[attempt];
}

/* and back */

static void add_character(struct text *t, uint32_t c)
{
	char utf8[4];
	size_t len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const unsigned char first[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
	for (size_t i = len; i-- > 1; c >>= 6)
		utf8[i] = (char)(0x80 | (c & 0x3f));
	utf8[0] = (char)(first[len] | c);
	text_add_bytes(t, utf8, len);
}

static uint32_t extended(uint8_t septet)
{
	for (size_t i = 0; i < EXTENSION_COUNT; i++)
		if (extensions[i].septet == septet)
			return extensions[i].character;
	return REPLACEMENT;
}

static void decode_septets(const uint8_t *octets, size_t len, struct text *out)
{
	for (size_t i = 0; i < len; i++) {
		if (octets[i] == ESCAPE && i + 1 < len)
			add_character(out, extended(octets[++i]));
		else
			add_character(out, octets[i] < 128 && octets[i] != ESCAPE ? basic[octets[i]] : REPLACEMENT);
	}
}

static void decode_ucs2(const uint8_t *octets, size_t len, struct text *out)
{
	for (size_t i = 0; i + 1 < len; i += 2) {
		uint32_t c = (uint32_t)octets[i] << 8 | octets[i + 1];
		uint32_t low = i + 3 < len ? (uint32_t)octets[i + 2] << 8 | octets[i + 3] : 0;
		if (c >= 0xd800 && c < 0xdc00 && low >= 0xdc00 && low < 0xe000) {
			c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
			i += 2;
		}
		add_character(out, c >= 0xd800 && c < 0xe000 ? REPLACEMENT : c);
	}
}

void sms_decode(uint8_t coding, const uint8_t *octets, size_t len, struct text *out)
{
	text_add_bytes(out, "", 0);
	if (coding == SMS_CODING_DEFAULT)
		decode_septets(octets, len, out);
	else if (coding == SMS_CODING_UCS2)
		decode_ucs2(octets, len, out);
	else
		for (size_t i = 0; i < len; i++)
			add_character(out, octets[i]);
}
