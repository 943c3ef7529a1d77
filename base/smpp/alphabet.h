/* alphabet.h - the text of one SMS as the network carries it: the GSM 7-bit default alphabet (3GPP TS 23.038 §6.2.1), or
 * UCS-2 where that lacks a character. SMPP 3.4 carries a septet in an octet of its own. */
#ifndef KEYFOB_BASE_SMPP_ALPHABET_H
#define KEYFOB_BASE_SMPP_ALPHABET_H

#include <stddef.h>
#include <stdint.h>

struct text;

#define SMS_SEPTETS_MAX ((size_t)160) /* of one SMS */
#define SMS_UCS2_MAX ((size_t)140)    /* octets: 70 characters */

/* data_coding (SMPP 3.4 §5.2.19) */
enum { SMS_CODING_DEFAULT = 0, SMS_CODING_ASCII = 1, SMS_CODING_LATIN1 = 3, SMS_CODING_UCS2 = 8 };

enum sms_fit { SMS_FITS, SMS_TOO_LONG, SMS_NOT_UTF8 };

/* Into the shorter of the two that can say it; SMS_FITS: *ret_len octets of *ret_coding. */
enum sms_fit sms_encode(const char *utf8, uint8_t out[SMS_SEPTETS_MAX], size_t *ret_len, uint8_t *ret_coding);
/* As UTF-8; what has no character becomes U+FFFD. Codings that are no text (binary) are read as Latin-1. */
void sms_decode(uint8_t coding, const uint8_t *octets, size_t len, struct text *out);

#endif
