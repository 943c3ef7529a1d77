/* db_test.c - the link against a real PostgreSQL: units, their verdicts, and every way to lose the way; a file of db/ for each. */
#include "tests/unit/sql/db/ground.h"

int main(void)
{
	Suite *suite = suite_create("sql/db");

	ground_open();
	add_units(suite);
	add_refusals(suite);
	add_waiting(suite);
	add_ways(suite);
	SRunner *runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	ground_close();
	return failed ? 1 : 0;
}
