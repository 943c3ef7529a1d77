/* postgres.h - the real server of a run: its template, the run's own database, and what is asked of it from outside.
 *
 * Functions of the schema `public` stand before pg_catalog's now(), statement_timestamp(), clock_timestamp() and random(), so that its
 * statements have the world's time, which the session's settings `sim.began` and `sim.now` say. */
#ifndef KEYFOB_TESTS_SIM_POSTGRES_H
#define KEYFOB_TESTS_SIM_POSTGRES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libpq-fe.h>

struct test_postgres;

/* Before any run: the database that each run has a copy of. */
void postgres_make_template(const struct test_postgres *);
/* A run's own database, and the connection by which the oracles ask. */
void postgres_begin(const struct test_postgres *, const char *name, uint64_t seed);
void postgres_end(void);
const char *postgres_url(void);

/* Between units, by the oracles' connection, which has no clock of the world's. A question is known by its address, and is prepared once;
 * the caller clears the result. */
void postgres_do(const char *sql);
PGresult *postgres_ask(const char *sql, size_t count, const char *const params[]);

/* A session as a node has it; the caller's. */
PGconn *postgres_connect(void);
/* It waits for a lock that another one holds. */
bool postgres_is_blocked(const PGconn *);
/* Its backend has ended, and its locks are free, when this returns. */
void postgres_terminate(const PGconn *);

#endif
