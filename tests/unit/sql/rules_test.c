/* rules_test.c - the three rules of the database, each with one side stopped where it hurts: see after you lock, lock in one
 * order, tell nothing that is not durable. */
#include "tests/unit/sql/workers.h"

int main(void)
{
	Suite *suite = suite_create("sql/rules");

	workers_open();
	add_seeing(suite);
	add_order(suite);
	add_partitions(suite);
	add_telling(suite);
	SRunner *runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	workers_close();
	return failed != 0;
}
