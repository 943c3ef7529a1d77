/* wake_test.c - the policy of waking, on a real PostgreSQL: accepts, probes, slots, outcomes and receipts of one worker, a file of wake/
 * for each. */
#include "tests/suite.h"
#include "tests/unit/notifier/wake/ground.h"

int main(void)
{
	Suite *suite = suite_create("notifier/wake");

	ground_open();
	add_waking(suite);
	add_probing(suite);
	add_trying(suite);
	add_slots(suite);
	int failed = suite_run_here(suite);
	ground_close();
	return failed;
}
