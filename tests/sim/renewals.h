/* renewals.h - the renewal of leases, each second of each node, while nothing else happens.
 *
 * As long as nobody takes or gives back a lease and none runs out, a renewal changes nothing but times, and what it answers is known.
 * So it is owed: the server gets it, with the time of the last one, before it runs anything else. */
#ifndef KEYFOB_TESTS_SIM_RENEWALS_H
#define KEYFOB_TESTS_SIM_RENEWALS_H

#include <stdbool.h>
#include <stdint.h>

struct db_unit;

bool renewals_is(const struct db_unit *);
/* True: its results are in the unit, as if it had run at this time, and it is owed. */
bool renewals_answer(struct db_unit *, int64_t at_us);
/* The server gets what is owed. */
void renewals_pay(void);
/* Some unit has run: whole, or a statement at a time. */
void renewals_note(const struct db_unit *, bool is_whole);

#endif
