/* handed_test.c - ids that a centre writes in one way when it takes a message and in another in its receipt. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "notifier/wake/smpp/handed.h"
#include "tests/suite.h"

static struct handed handed;

static void assert_found(const char *asked, const char *expected)
{
	const struct handed_id *found = handed_find(&handed, asked);
	ck_assert_msg(!found == !expected, "%s is %sfound", asked, found ? "" : "not ");
	if (expected)
		ck_assert_str_eq(found->id, expected);
}

START_TEST(test_the_same_message)
{
	static const struct {
		const char *given, *receipted;
	} cases[] = {
		{ "3a7f", "3a7f" },
		{ "3a7f", "3A7F" },
		{ "3a7f", "00003A7F" },
		{ "3A7F", "14975" }, /* hexadecimal, and decimal in the receipt */
		{ "00003A7F", "14975" },
		{ "14975", "3a7f" }, /* and the other way round */
		{ "14975", "0000014975" },
		{ "0000014975", "14975" },
		{ "ffffffffffffffff", "18446744073709551615" },
		{ "0", "0000" },
		{ "a3e0c9d2-6d3b-4f0a-9a37-1a4b2c3d4e5f", "A3E0C9D2-6D3B-4F0A-9A37-1A4B2C3D4E5F" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		memset(&handed, 0, sizeof handed);
		handed_add(&handed, "7777777");
		handed_add(&handed, cases[i].given);
		handed_add(&handed, "8888888");
		assert_found(cases[i].receipted, cases[i].given);
	}
}
END_TEST

START_TEST(test_as_it_stands_comes_first)
{
	memset(&handed, 0, sizeof handed);
	handed_add(&handed, "16");
	handed_add(&handed, "10");
	handed_add(&handed, "22");
	assert_found("16", "16"); /* not 0x16 = 22, not 16 = 0x10 */
	assert_found("10", "10");
}
END_TEST

START_TEST(test_another_message)
{
	memset(&handed, 0, sizeof handed);
	assert_found("1", NULL);
	handed_add(&handed, "12345678901234567890123");
	assert_found("29DF6345DA2CD8DC8CB", NULL); /* more than 64 bits are a name, not a number */
	assert_found("12345678901234567890124", NULL);
	assert_found("", NULL);
	assert_found("xyz", NULL);
}
END_TEST

START_TEST(test_the_oldest_are_forgotten)
{
	char id[SMPP_ID_SIZE];
	memset(&handed, 0, sizeof handed);
	for (int i = 0; i <= HANDED_MAX; i++) {
		snprintf(id, sizeof id, "m%d", i);
		handed_add(&handed, id);
	}
	assert_found("m0", NULL);
	assert_found("m1", "m1");
	assert_found("m2048", "m2048");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("handed");
	TCase *tc = tcase_create("handed");
	tcase_add_test(tc, test_the_same_message);
	tcase_add_test(tc, test_as_it_stands_comes_first);
	tcase_add_test(tc, test_another_message);
	tcase_add_test(tc, test_the_oldest_are_forgotten);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
