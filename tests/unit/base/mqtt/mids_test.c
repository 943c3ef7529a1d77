/* mids_test.c - the set of packet identifiers. */
#include <check.h>

#include "base/mqtt/mids.h"
#include "tests/suite.h"

START_TEST(test_set)
{
	struct mids mids = { 0 };
	static const uint16_t some[] = { 0, 1, 63, 64, 65535 };
	for (size_t i = 0; i < 5; i++)
		mids_add(&mids, some[i]);
	mids_add(&mids, 64);
	ck_assert_uint_eq(mids.count, 5);
	ck_assert(mids_has(&mids, 65535));
	ck_assert(!mids_has(&mids, 65534));
	ck_assert(mids_remove(&mids, 63));
	ck_assert(!mids_remove(&mids, 63));
	ck_assert(!mids_remove(&mids, 2));
	ck_assert_uint_eq(mids.count, 4);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mids");
	TCase *set = tcase_create("set");
	tcase_add_test(set, test_set);
	suite_add_tcase(suite, set);
	return suite_run(suite);
}
