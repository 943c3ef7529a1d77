/* cluster.c - makes the cluster of which the suites' are copies: initdb and all migrations cost seconds, and a copy a fifth of one. */
#include <signal.h>

#include "sql/migrate.h"
#include "tests/servers.h"

/* cluster FOLDER */
int main(int argc, char **argv)
{
	struct test_postgres postgres;
	if (argc != 2)
		return 2;
	test_postgres_start(&postgres);
	int status = migrate_run(postgres.url);
	test_postgres_halt(&postgres, SIGINT);
	if (status == 0)
		test_postgres_keep(&postgres, argv[1]);
	test_postgres_end(&postgres);
	return status;
}
