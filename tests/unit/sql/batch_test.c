/* batch_test.c - what goes into one transaction: whom it harms that one of it cannot be done, and whose turn it is. */
#include "tests/unit/sql/workers.h"

int main(void)
{
	Suite *suite = suite_create("sql/batch");

	workers_open();
	add_trouble(suite);
	add_turns(suite);
	SRunner *runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	workers_close();
	return failed != 0;
}
