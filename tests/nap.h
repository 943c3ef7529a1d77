/* nap.h - between two looks at what another thread or server does, so that the looking does not keep it from it. */
#ifndef KEYFOB_TESTS_NAP_H
#define KEYFOB_TESTS_NAP_H

#include <time.h>

/* A millisecond. */
static inline void test_nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

#endif
