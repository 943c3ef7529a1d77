/* suite.h - how a test program ends: it runs its suite, and its exit code says whether every check passed. */
#ifndef KEYFOB_TESTS_SUITE_H
#define KEYFOB_TESTS_SUITE_H

#include <check.h>

static inline int suite_end(SRunner *runner)
{
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}

/* With a process for each check or without, as CK_FORK says. */
static inline int suite_run(Suite *suite)
{
	return suite_end(srunner_create(suite));
}

/* All of it in this process, which has what its checks share. */
static inline int suite_run_here(Suite *suite)
{
	SRunner *runner = srunner_create(suite);

	srunner_set_fork_status(runner, CK_NOFORK);
	return suite_end(runner);
}

#endif
