/* hub_test.c - what subscribers of vehicles and fleets get, on two workers and a real PostgreSQL: every event once, in
 * order, without a hole, and nothing after their right has ended. */
#include "tests/suite.h"
#include "tests/unit/notifier/hub/ground.h"

int main(void)
{
	Suite *suite = suite_create("notifier/hub");

	ground_open();
	add_replays(suite);
	add_fleets(suite);
	add_rights(suite);
	int failed = suite_run_here(suite);
	ground_close();
	return failed;
}
