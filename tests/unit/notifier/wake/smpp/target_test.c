/* target_test.c - URLs of SMS centres, and what is none. */
#include <check.h>
#include <stdlib.h>

#include "notifier/wake/smpp/smpp.h"
#include "notifier/wake/smpp/target.h"
#include "tests/suite.h"

START_TEST(test_parts)
{
	static const struct {
		const char *url, *system_id, *host, *port;
		bool tls;
	} cases[] = {
		{ "smpp://user@host:2775", "user", "host", "2775", false },
		{ "smpps://user@sms.example:3550", "user", "sms.example", "3550", true },
		{ "smpp://user@[::1]:1", "user", "::1", "1", false },
		{ "smpp://a%40b%3a@127.0.0.1:65535", "a@b:", "127.0.0.1", "65535", false },
		{ "smpp://123456789012345@h:2775", "123456789012345", "h", "2775", false },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct smpp_target t;
		ck_assert_msg(target_parse(cases[i].url, &t), "%s", cases[i].url);
		ck_assert_str_eq(t.system_id, cases[i].system_id);
		ck_assert_str_eq(t.host, cases[i].host);
		ck_assert_str_eq(t.port, cases[i].port);
		ck_assert_int_eq(t.tls, cases[i].tls);
		target_done(&t);
	}
}
END_TEST

START_TEST(test_none)
{
	static const char *const urls[] = { "", "smpp://", "http://u@h:1", "smpp://h:2775", "smpp://@h:2775",
		"smpp://u@h", "smpp://u@:2775", "smpp://u@h:0", "smpp://u@h:65536", "smpp://u@h:2775/",
		"smpp://u@h:27x", "smpp://user:secret@h:2775", "smpp://1234567890123456@h:2775", "smpp://u%@h:1",
		"smpp://u%0@h:1", "smpp://u%00@h:1", "smpp://u%zz@h:1", "smpp://u@[::1:2775", "smpp://u@[::1]2775",
		"smpp://u@[]:1" };
	for (size_t i = 0; i < sizeof urls / sizeof *urls; i++)
		ck_assert_msg(!smpp_url_is_valid(urls[i]), "%s", urls[i]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("target");
	TCase *tc = tcase_create("target");
	tcase_add_test(tc, test_parts);
	tcase_add_test(tc, test_none);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
