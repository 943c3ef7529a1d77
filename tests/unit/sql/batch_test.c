/* batch_test.c - what goes into one transaction: whom it harms that one of it cannot be done, and whose turn it is. */
#include "tests/suite.h"
#include "tests/unit/sql/workers.h"

int main(void)
{
	Suite *suite = suite_create("sql/batch");

	workers_open();
	add_trouble(suite);
	add_turns(suite);
	int failed = suite_run_here(suite);
	workers_close();
	return failed;
}
