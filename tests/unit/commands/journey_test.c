/* journey_test.c - one command's journey through accept, claim, PUBACK, answer, cancel and time: a file of journey/ for each. */
#include "tests/suite.h"
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
	int failed = suite_run_here(suite);
	ground_close();
	return failed;
}
