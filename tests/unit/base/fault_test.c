/* fault_test.c - what must be true of every row of the fault table. */
#include <check.h>
#include <string.h>

#include "base/fault.h"
#include "tests/suite.h"

static const struct fault *const faults[] = {
#define FAULT(id, ...) &FAULT_##id,
#include "base/fault.tbl.h"
#undef FAULT
};
enum { FAULT_COUNT = sizeof faults / sizeof *faults };

START_TEST(is_complete)
{
	const struct fault *f = faults[_i];
	ck_assert_uint_eq(strspn(f->name, "abcdefghijklmnopqrstuvwxyz-"), strlen(f->name));
	ck_assert_int_ge(f->http, 400);
	ck_assert_int_le(f->http, 599);
	ck_assert_ptr_nonnull(f->title);
}
END_TEST

/* One name has one status, whatever else its rows differ in. */
START_TEST(has_one_status_a_name)
{
	for (int i = 0; i < FAULT_COUNT; i++)
		if (strcmp(faults[i]->name, faults[_i]->name) == 0)
			ck_assert_int_eq(faults[i]->http, faults[_i]->http);
}
END_TEST

/* 429 and 503 are answered with Retry-After: each must mean "later". */
START_TEST(is_temporary_when_its_status_says_so)
{
	bool temporary = faults[_i]->http == 429 || faults[_i]->http == 503;
	ck_assert_int_eq(faults[_i]->retry == RETRY_LATER, temporary);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fault");
	TCase *tests = tcase_create("fault");
	tcase_add_loop_test(tests, is_complete, 0, FAULT_COUNT);
	tcase_add_loop_test(tests, has_one_status_a_name, 0, FAULT_COUNT);
	tcase_add_loop_test(tests, is_temporary_when_its_status_says_so, 0, FAULT_COUNT);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
