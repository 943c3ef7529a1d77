/* array_test.c - the text of array parameters; what PostgreSQL reads from it stands in db_test.c. */
#include <check.h>
#include <stdlib.h>

#include "sql/array.h"
#include "tests/suite.h"

static void expect(struct db_array *a, const char *text)
{
	char *taken = db_array_take(a);
	ck_assert_str_eq(taken, text);
	ck_assert_uint_eq(a->count, 0);
	free(taken);
}

START_TEST(empty_array)
{
	struct db_array a = { 0 };
	expect(&a, "{}");
}
END_TEST

START_TEST(every_kind)
{
	struct db_array a = { 0 };
	db_array_text(&a, "x");
	db_array_text(&a, NULL);
	db_array_int(&a, INT64_MIN);
	db_array_bool(&a, true);
	db_array_bool(&a, false);
	expect(&a, "{\"x\",NULL,-9223372036854775808,t,f}");
}
END_TEST

START_TEST(quotes_and_backslashes)
{
	struct db_array a = { 0 };
	db_array_text(&a, "");
	db_array_text(&a, "NULL");
	db_array_text(&a, "\"\\");
	db_array_text(&a, "a\"b\\c");
	expect(&a, "{\"\",\"NULL\",\"\\\"\\\\\",\"a\\\"b\\\\c\"}");
}
END_TEST

START_TEST(rows)
{
	struct db_array a = { 0 };
	struct db_row row = { 0 };
	db_row_text(&row, "x");
	db_row_text(&row, NULL);
	db_row_int(&row, -7);
	db_row_bool(&row, true);
	db_array_row(&a, &row);
	db_row_text(&row, "");
	db_row_text(&row, "a \"b\\,");
	db_array_row(&a, &row);
	expect(&a, "{\"(x,,-7,t)\",\"(\\\"\\\",\\\"a \\\\\\\"b\\\\\\\\,\\\")\"}");
	db_row_free(&row);
}
END_TEST

START_TEST(freed_unused)
{
	struct db_array a = { 0 };
	db_array_free(&a);
	for (int i = 0; i < 1000; i++)
		db_array_text(&a, "something longer than nothing");
	db_array_free(&a);
	ck_assert_ptr_null(a.data);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sql/array");
	TCase *tcase = tcase_create("text");
	tcase_add_test(tcase, empty_array);
	tcase_add_test(tcase, every_kind);
	tcase_add_test(tcase, quotes_and_backslashes);
	tcase_add_test(tcase, rows);
	tcase_add_test(tcase, freed_unused);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
