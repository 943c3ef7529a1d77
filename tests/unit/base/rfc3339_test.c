/* rfc3339_test.c - times as text, there and back. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/rfc3339.h"
#include "tests/suite.h"

static const struct reading {
	const char *text;
	int64_t unix_us;
} readings[] = {
	{ "1970-01-01T00:00:00Z", 0 },
	{ "2026-01-31T08:09:10.123456Z", 1769846950123456 },
	{ "2026-01-31t08:09:10.123456z", 1769846950123456 },
	{ "2026-01-31T08:09:10.1234567Z", 1769846950123456 },
	{ "2026-01-31T08:09:10.123456999Z", 1769846950123456 },
	{ "2026-01-31T08:09:10.1Z", 1769846950100000 },
	{ "2026-01-31T10:09:10+02:00", 1769846950000000 },
	{ "2026-01-30T23:39:10-08:30", 1769846950000000 },
	{ "2026-01-31T08:09:10-00:00", 1769846950000000 },
	{ "1985-04-12T23:20:50.52Z", 482196050520000 },
	{ "1990-12-31T23:59:60Z", 662688000000000 },
	{ "1990-12-31T15:59:60-08:00", 662688000000000 },
	{ "1969-12-31T23:59:59.999999Z", -1 },
	{ "2000-02-29T00:00:00Z", 951782400000000 },
	{ "0000-01-01T00:00:00Z", -62167219200000000 },
	{ "9999-12-31T23:59:59.999999Z", 253402300799999999 },
};

static const char *const refused[] = {
	"",
	"2026-01-31",
	"2026-01-31 08:09:10Z",
	"2026-01-31T08:09:10",
	"2026-01-31T08:09Z",
	"2026-01-31T08:09:10.Z",
	"2026-01-31T08:09:10.1234567890Z",
	"2026-01-31T08:09:10,5Z",
	"2026-01-31T08:09:10Z ",
	" 2026-01-31T08:09:10Z",
	"2026-01-31T08:09:10+0200",
	"2026-01-31T08:09:10+24:00",
	"2026-01-31T08:09:10+02:60",
	"2026-01-31T24:00:00Z",
	"2026-01-31T08:60:00Z",
	"2026-01-31T08:09:60Z",
	"2026-01-31T08:09:61Z",
	"2026-13-01T00:00:00Z",
	"2026-00-01T00:00:00Z",
	"2026-01-00T00:00:00Z",
	"2026-04-31T00:00:00Z",
	"2026-02-29T00:00:00Z",
	"1900-02-29T00:00:00Z",
	"26-01-31T08:09:10Z",
	"+026-01-31T08:09:10Z",
	"2026-1-31T08:09:10Z",
};

START_TEST(reads)
{
	int64_t unix_us = 42;
	ck_assert_msg(rfc3339_read(readings[_i].text, &unix_us), "%s", readings[_i].text);
	ck_assert_int_eq(unix_us, readings[_i].unix_us);
}
END_TEST

START_TEST(refuses)
{
	int64_t unix_us = 42;
	ck_assert_msg(!rfc3339_read(refused[_i], &unix_us), "%s", refused[_i]);
	ck_assert_int_eq(unix_us, 42);
}
END_TEST

START_TEST(writes_utc_with_microseconds)
{
	char text[RFC3339_SIZE];
	rfc3339_write(1769846950123456, text);
	ck_assert_str_eq(text, "2026-01-31T08:09:10.123456Z");
	rfc3339_write(-1, text);
	ck_assert_str_eq(text, "1969-12-31T23:59:59.999999Z");
}
END_TEST

START_TEST(writes_what_has_no_four_digit_year_as_the_nearest)
{
	char text[RFC3339_SIZE];
	rfc3339_write(INT64_MAX, text);
	ck_assert_str_eq(text, "9999-12-31T23:59:59.999999Z");
	rfc3339_write(INT64_MIN, text);
	ck_assert_str_eq(text, "0000-01-01T00:00:00.000000Z");
}
END_TEST

/* 997 hours walk over every month, leap day and century from year 0 to 9999. */
START_TEST(agrees_with_the_c_library_and_comes_back)
{
	for (int64_t s = -62167219200; s <= 253402300799; s += 997 * 3600 + 1) {
		char text[RFC3339_SIZE], expected[64];
		time_t seconds = (time_t)s;
		struct tm tm;
		int64_t back;
		rfc3339_write(s * 1000000 + 7, text);
		strftime(expected, sizeof expected, "-%m-%dT%H:%M:%S.000007Z", gmtime_r(&seconds, &tm));
		if (atoi(text) != tm.tm_year + 1900 || strcmp(text + 4, expected) != 0)
			ck_abort_msg("%s is not %d%s", text, tm.tm_year + 1900, expected);
		if (!rfc3339_read(text, &back) || back != s * 1000000 + 7)
			ck_abort_msg("%s does not come back", text);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("rfc3339");
	TCase *tests = tcase_create("rfc3339");
	tcase_add_loop_test(tests, reads, 0, sizeof readings / sizeof *readings);
	tcase_add_loop_test(tests, refuses, 0, sizeof refused / sizeof *refused);
	tcase_add_test(tests, writes_utc_with_microseconds);
	tcase_add_test(tests, writes_what_has_no_four_digit_year_as_the_nearest);
	tcase_add_test(tests, agrees_with_the_c_library_and_comes_back);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
