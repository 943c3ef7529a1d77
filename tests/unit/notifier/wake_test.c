/* wake_test.c - the policy of waking, on a real PostgreSQL: accepts, probes, slots, outcomes and receipts of one worker, a file of wake/
 * for each. */
#include "tests/unit/notifier/wake/ground.h"

int main(void)
{
	Suite *suite = suite_create("notifier/wake");

	ground_open();
	add_waking(suite);
	add_probing(suite);
	add_trying(suite);
	add_slots(suite);
	SRunner *runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	ground_close();
	return failed != 0;
}
