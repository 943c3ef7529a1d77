/* database.h - the simulated way to a real PostgreSQL: sql/db.h without libpq's socket on a loop.
 *
 * The statements, the schema and the locks are the real ones, and the server's clock is the world's: functions of the schema
 * `public` stand before pg_catalog's now(), statement_timestamp(), clock_timestamp() and random(). A unit is run when its virtual time
 * has come, at once or a statement after the other with other units in between, and its verdict travels back. */
#ifndef KEYFOB_TESTS_SIM_DATABASE_H
#define KEYFOB_TESTS_SIM_DATABASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libpq-fe.h>

struct node;
struct test_postgres;

/* Before any run: the database that each run has a copy of. */
void database_make_template(const struct test_postgres *);
/* A run's own database, and the connection by which the oracles ask. So many units are run a statement at a time. */
void database_begin(const struct test_postgres *, const char *name, uint64_t seed, unsigned stepwise_permille);
void database_end(void);
const char *database_url(void);
/* Between units, by the oracles' connection, which has no clock of the world's. A question is known by its address, and is prepared once;
 * the caller clears the result. */
void database_do(const char *sql);
PGresult *database_ask(const char *sql, size_t count, const char *const params[]);

/* faults */
/* Every connection ends, and none can be made until database_return(). `crashed`: what is not logged is gone. */
void database_leave(bool crashed);
void database_return(void);
/* Nothing is run for so long. */
void database_hang(int64_t ms);
/* The connections of a node end: it hears of it, unless it is dead. */
void database_lose(struct node *, bool is_dead);

#endif
