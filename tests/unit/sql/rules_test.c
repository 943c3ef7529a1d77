/* rules_test.c - the three rules of the database, each with one side stopped where it hurts: see after you lock, lock in one
 * order, tell nothing that is not durable. */
#include "tests/suite.h"
#include "tests/unit/sql/workers.h"

int main(void)
{
	Suite *suite = suite_create("sql/rules");

	workers_open();
	add_seeing(suite);
	add_order(suite);
	add_partitions(suite);
	add_telling(suite);
	int failed = suite_run_here(suite);
	workers_close();
	return failed;
}
