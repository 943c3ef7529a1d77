/* hub_test.c - what subscribers of vehicles and fleets get, on two workers and a real PostgreSQL: every event once, in
 * order, without a hole, and nothing after their right has ended. */
#include "tests/unit/notifier/hub/ground.h"

int main(void)
{
	Suite *suite = suite_create("notifier/hub");

	ground_open();
	add_replays(suite);
	add_fleets(suite);
	add_rights(suite);
	SRunner *runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	ground_close();
	return failed ? 1 : 0;
}
