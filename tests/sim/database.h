/* database.h - the simulated way to a real PostgreSQL: sql/db.h without libpq's socket on a loop.
 *
 * The statements, the schema and the locks are the real ones, and the server's clock is the world's (postgres.h). A unit is run when its
 * virtual time has come, at once or a statement after the other with other units in between, and its verdict travels back. */
#ifndef KEYFOB_TESTS_SIM_DATABASE_H
#define KEYFOB_TESTS_SIM_DATABASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct node;

/* So many units are run a statement at a time. */
void database_begin(uint64_t seed, unsigned stepwise_permille);

/* No connection of this node can be made. */
bool database_is_away_for(const struct node *);

/* faults */
/* Every connection ends, and none can be made until database_return(). `crashed`: what is not logged is gone. */
void database_leave(bool crashed);
void database_return(void);
/* Nothing is run for so long. */
void database_hang(int64_t ms);
/* The connections of a node end: it hears of it, unless it is dead. */
void database_lose(struct node *, bool is_dead);

#endif
