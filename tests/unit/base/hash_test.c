/* hash_test.c - a table that has no memory to grow ends the process as everything else does: by one line and SIGABRT. */
#include <check.h>
#include <signal.h>
#include <sys/resource.h>

#include "base/hash.h"
#include "tests/suite.h"

#define ITEMS 500000

struct item {
	UT_hash_handle hh;
	int key;
};

static struct item items[ITEMS];

START_TEST(without_memory_it_aborts)
{
	struct rlimit none = { 0, 0 };
	struct item *table = NULL;

	ck_assert_int_eq(setrlimit(RLIMIT_AS, &none), 0); /* what the process has it keeps */
	for (int i = 0; i < ITEMS; i++) {
		items[i].key = i;
		HASH_ADD_INT(table, key, &items[i]);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("hash");
	TCase *tests = tcase_create("hash");
	tcase_add_test_raise_signal(tests, without_memory_it_aborts, SIGABRT);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
