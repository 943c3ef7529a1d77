/* operations_test.c - who may do what, what they then see, and what a change takes with it, on a real PostgreSQL. */
#include "tests/unit/gateway/operations/ground.h"

int main(void)
{
	Suite *suite = suite_create("gateway/operations");

	ground_open();
	add_matrix(suite);
	add_reads(suite);
	add_grants(suite);
	add_fleets(suite);
	add_vehicles(suite);
	add_erasures(suite);
	add_waits(suite);
	add_twin(suite);
	add_failures(suite);
	SRunner *runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	ground_close();
	return failed ? 1 : 0;
}
