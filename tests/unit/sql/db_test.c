/* db_test.c - the link against a real PostgreSQL: units, their verdicts, and every way to lose the way; a file of db/ for each. */
#include "tests/suite.h"
#include "tests/unit/sql/db/ground.h"

int main(void)
{
	Suite *suite = suite_create("sql/db");

	ground_open();
	add_units(suite);
	add_refusals(suite);
	add_waiting(suite);
	add_ways(suite);
	int failed = suite_run_here(suite);
	ground_close();
	return failed;
}
