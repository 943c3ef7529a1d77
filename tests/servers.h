/* servers.h - real servers for the suites: private, on loopback, gone when the test process is.
 *
 * Nothing here returns a failure: a server that does not start ends the process with its own log. Root
 * runs PostgreSQL as the user `postgres`, since PostgreSQL refuses to be root. */
#ifndef KEYFOB_TESTS_SERVERS_H
#define KEYFOB_TESTS_SERVERS_H

#include <sys/types.h>

/* A TCP port of 127.0.0.1 that nobody uses at the moment. */
int test_free_port(void);

/* A cluster of its own, whose commits outlive its crash but not the machine's; the superuser is `keyfob`, who needs no password. A
 * copy of the one in the folder that the environment's KEYFOB_TEST_CLUSTER names (ctest has cluster.c make it, with all migrations);
 * new and empty without. */
struct test_postgres {
	int port;
	pid_t pid;     /* 0: halted */
	int lock;      /* on its folder: it has an owner */
	char dir[40];  /* the cluster, its log and its local socket */
	char url[128]; /* postgresql://keyfob@127.0.0.1:…/postgres */
};

void test_postgres_start(struct test_postgres *);
/* SIGINT: connections are ended in good order; SIGQUIT: as a crash. Returns when the server is gone. */
void test_postgres_halt(struct test_postgres *, int signal);
/* What a halted one holds, in place of `folder`: others can be copies of it. */
void test_postgres_keep(const struct test_postgres *, const char *folder);
/* On the same port, with the same data. */
void test_postgres_resume(struct test_postgres *);
/* Halts it if need be, and removes the data. That two of its transactions have waited for each other in a circle ends the process. */
void test_postgres_end(struct test_postgres *);
/* Runs SQL on a connection that the process keeps for it. The first value of the last statement, "" when there is none; valid until the next call. */
const char *test_postgres_ask(const struct test_postgres *, const char *sql);

#endif
