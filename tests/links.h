/* links.h - a server, a loop and the database links of a suite's workers, kept from check to check: what a session does first costs a hundred
 * times what it does later. Who keeps them has all checks in one process (CK_NOFORK).
 *
 * Nothing here returns a failure: a link that does not come up or close ends the process. */
#ifndef KEYFOB_TESTS_LINKS_H
#define KEYFOB_TESTS_LINKS_H

#include <stdbool.h>
#include <stddef.h>

struct db;
struct loop;
struct test_postgres;

#define TEST_LINKS_MAX 2 /* workers */

struct test_links {
	struct loop *loop;
	struct test_link {
		struct db *writer, *reader; /* closed by test_links_close() */
	} of[TEST_LINKS_MAX];
	size_t count, open; /* workers; links that are not closed */
};

/* Starts the server, with the schema, and the links of so many workers, all of them up. `commit_timeout_ms` 0: as a node has it. */
void test_links_open(struct test_links *, struct test_postgres *, size_t count, int commit_timeout_ms);
bool test_links_are_up(const struct test_links *);
bool test_links_are_idle(const struct test_links *); /* nothing was asked that has no answer */
/* Ends the server, too. */
void test_links_close(struct test_links *, struct test_postgres *);

#endif
