/* alphabet_test.c - what fits one SMS, in which alphabet, and what comes back out of it. */
#include <check.h>
#include <string.h>

#include "base/json.h"
#include "base/smpp/alphabet.h"
#include "tests/suite.h"

static uint8_t octets[SMS_SEPTETS_MAX], coding;
static size_t len;

static void assert_round(const char *text, uint8_t expected_coding, size_t expected_len)
{
	struct text back = { 0 };
	ck_assert_int_eq(sms_encode(text, octets, &len, &coding), SMS_FITS);
	ck_assert_uint_eq(coding, expected_coding);
	ck_assert_uint_eq(len, expected_len);
	sms_decode(coding, octets, len, &back);
	ck_assert_str_eq(back.data, text);
	text_free(&back);
}

START_TEST(test_wake_up_text)
{
	assert_round("KEYFOB WAKE WKF00000000000001", SMS_CODING_DEFAULT, 29);
	ck_assert_mem_eq(octets, "KEYFOB WAKE WKF00000000000001", 29);
	assert_round("a_b.c:d-e", SMS_CODING_DEFAULT, 9);
	ck_assert_uint_eq(octets[1], 0x11); /* '_' stands elsewhere than in ASCII */
}
END_TEST

START_TEST(test_alphabets)
{
	assert_round("", SMS_CODING_DEFAULT, 0);
	assert_round("@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ ¤¡ÄÖÑÜ§¿äöñüà", SMS_CODING_DEFAULT, 45);
	assert_round("{[~]}\\|^€\f", SMS_CODING_DEFAULT, 20); /* each takes two */
	assert_round("wach auf, Жук", SMS_CODING_UCS2, 26);
	assert_round("\xf0\x9f\x9a\x97", SMS_CODING_UCS2, 4); /* a car, beyond the first plane */
}
END_TEST

static enum sms_fit fit_of(const char *unit, size_t times)
{
	struct text t = { 0 };
	for (size_t i = 0; i < times; i++)
		text_add(&t, unit);
	enum sms_fit fit = sms_encode(t.data, octets, &len, &coding);
	text_free(&t);
	return fit;
}

START_TEST(test_one_sms_and_no_more)
{
	ck_assert_int_eq(fit_of("x", 160), SMS_FITS);
	ck_assert_int_eq(fit_of("x", 161), SMS_TOO_LONG);
	ck_assert_int_eq(fit_of("€", 80), SMS_FITS);
	ck_assert_int_eq(fit_of("€", 81), SMS_TOO_LONG);
	ck_assert_int_eq(fit_of("Ж", 70), SMS_FITS);
	ck_assert_int_eq(fit_of("Ж", 71), SMS_TOO_LONG);
	ck_assert_int_eq(fit_of("x", 100000), SMS_TOO_LONG);
}
END_TEST

START_TEST(test_not_utf8)
{
	static const char *const texts[] = { "\xff", "a\x80", "\xc3", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80",
		"\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xe2\x82" };
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		ck_assert_int_eq(sms_encode(texts[i], octets, &len, &coding), SMS_NOT_UTF8);
}
END_TEST

static void assert_decoded(uint8_t from, const char *bytes, size_t count, const char *expected)
{
	struct text t = { 0 };
	sms_decode(from, (const uint8_t *)bytes, count, &t);
	ck_assert_str_eq(t.data, expected);
	text_free(&t);
}

START_TEST(test_decodes_what_strangers_send)
{
	assert_decoded(SMS_CODING_ASCII, "a_b", 3, "a_b");
	assert_decoded(SMS_CODING_LATIN1, "\xe4", 1, "ä");
	assert_decoded(SMS_CODING_DEFAULT, "a\x1b", 2, "a\ufffd");
	assert_decoded(SMS_CODING_DEFAULT, "\x1b\x01\xff", 3, "\ufffd\ufffd");
	assert_decoded(SMS_CODING_UCS2, "\xd8\x3d\0A\0", 5, "\ufffdA");
	assert_decoded(SMS_CODING_DEFAULT, "", 0, "");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("alphabet");
	TCase *tc = tcase_create("alphabet");
	tcase_add_test(tc, test_wake_up_text);
	tcase_add_test(tc, test_alphabets);
	tcase_add_test(tc, test_one_sms_and_no_more);
	tcase_add_test(tc, test_not_utf8);
	tcase_add_test(tc, test_decodes_what_strangers_send);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
