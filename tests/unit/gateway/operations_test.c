/* operations_test.c - who may do what, what they then see, and what a change takes with it, on a real PostgreSQL. */
#include "tests/suite.h"
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
	int failed = suite_run_here(suite);
	ground_close();
	return failed;
}
