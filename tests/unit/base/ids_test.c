/* ids_test.c - UUIDv7, random tokens, CRC-32. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "tests/suite.h"

#define NOW_US INT64_C(1645557742000999) /* the example of RFC 9562, appendix A.6, and some microseconds */

START_TEST(writes_time_version_and_variant)
{
	char id[UUID_TEXT_SIZE];
	uuid7_make(NOW_US, id);
	ck_assert(uuid_is_text(id));
	ck_assert_int_eq(strncmp(id, "017f22e2-79b0-7", 15), 0);
	ck_assert_ptr_nonnull(strchr("89ab", id[19]));
}
END_TEST

START_TEST(uuid7_floor_is_the_smallest)
{
	char floor[UUID_TEXT_SIZE], next[UUID_TEXT_SIZE];
	uuid7_floor(NOW_US, floor);
	uuid7_floor(NOW_US + 1000, next);
	ck_assert_str_eq(floor, "017f22e2-79b0-7000-8000-000000000000");
	ck_assert_str_eq(next, "017f22e2-79b1-7000-8000-000000000000");
}
END_TEST

/* 20 000 in one millisecond are more than its counter holds. */
START_TEST(rises_while_the_clock_stands_and_when_it_runs_back)
{
	char before[UUID_TEXT_SIZE], id[UUID_TEXT_SIZE];
	uuid7_make(NOW_US, before);
	for (int i = 0; i < 20000; i++) {
		uuid7_make(NOW_US - (i % 3) * INT64_C(3600000000), id);
		ck_assert_str_lt(before, id);
		memcpy(before, id, sizeof id);
	}
	uuid7_make(NOW_US + INT64_C(1000000), id);
	ck_assert_str_lt(before, id);
	ck_assert_int_eq(strncmp(id, "017f22e2-7d98-7", 15), 0);
}
END_TEST

START_TEST(what_is_drawn_moves_no_other)
{
	char drawn[UUID_TEXT_SIZE], again[UUID_TEXT_SIZE], id[UUID_TEXT_SIZE];
	uuid7_draw(NOW_US + INT64_C(3600000000), drawn);
	uuid7_draw(NOW_US + INT64_C(3600000000), again);
	uuid7_make(NOW_US, id);
	ck_assert(uuid_is_text(drawn));
	ck_assert_int_eq(strncmp(drawn, "017f2319-6830-7", 15), 0);
	ck_assert_ptr_nonnull(strchr("89ab", drawn[19]));
	ck_assert_str_ne(drawn, again);
	ck_assert_int_eq(strncmp(id, "017f22e2-79b0-7", 15), 0);
}
END_TEST

START_TEST(takes_a_time_before_1970_as_1970)
{
	char id[UUID_TEXT_SIZE];
	uuid7_make(-1, id);
	ck_assert_int_eq(strncmp(id, "00000000-0000-7", 15), 0);
}
END_TEST

START_TEST(knows_a_uuid)
{
	ck_assert(uuid_is_text("0192f3c8-0000-7000-8000-00000000000f"));
	ck_assert(uuid_is_text("0192F3C8-0000-7000-8000-00000000000F"));
	ck_assert(!uuid_is_text(""));
	ck_assert(!uuid_is_text("0192f3c8-0000-7000-8000-00000000000"));
	ck_assert(!uuid_is_text("0192f3c8-0000-7000-8000-00000000000ff"));
	ck_assert(!uuid_is_text("0192f3c8-0000-7000-8000-00000000000g"));
	ck_assert(!uuid_is_text("0192f3c8000007000080000000000000000f"));
	ck_assert(!uuid_is_text("{192f3c8-0000-7000-8000-00000000000}"));
}
END_TEST

START_TEST(writes_random_bytes_as_hexadecimal)
{
	char a[65], b[65], none[1] = { 'x' };
	random_hex(32, a);
	random_hex(32, b);
	random_hex(0, none);
	ck_assert_uint_eq(strlen(a), 64);
	ck_assert_uint_eq(strspn(a, "0123456789abcdef"), 64);
	ck_assert_str_ne(a, b);
	ck_assert_str_eq(none, "");
}
END_TEST

START_TEST(gives_the_check_value_of_crc32)
{
	ck_assert_uint_eq(crc32_of("123456789", 9), 0xcbf43926u);
	ck_assert_uint_eq(crc32_of("", 0), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ids");
	TCase *tests = tcase_create("ids");
	tcase_add_test(tests, takes_a_time_before_1970_as_1970); /* first: a thread's ids only rise */
	tcase_add_test(tests, what_is_drawn_moves_no_other);
	tcase_add_test(tests, writes_time_version_and_variant);
	tcase_add_test(tests, uuid7_floor_is_the_smallest);
	tcase_add_test(tests, rises_while_the_clock_stands_and_when_it_runs_back);
	tcase_add_test(tests, knows_a_uuid);
	tcase_add_test(tests, writes_random_bytes_as_hexadecimal);
	tcase_add_test(tests, gives_the_check_value_of_crc32);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
