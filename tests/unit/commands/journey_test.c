/* journey_test.c - one command's journey through accept, claim, PUBACK, answer, cancel and time: a file of journey/ for each. */
#include "tests/unit/commands/journey/ground.h"

int main(void)
{
	Suite *suite = suite_create("commands/journey");

	ground_open();
	add_sending(suite);
	add_claims(suite);
	add_pubacks(suite);
	add_answers(suite);
	add_deadlines(suite);
	SRunner *runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	ground_close();
	return failed != 0;
}
