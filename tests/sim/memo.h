/* memo.h - what need not be asked again: nodes look for work several times a second, and mostly nothing was written since.
 *
 * A unit of looks alone is answered as the last time, until a transaction has written something that they read, or a moment has
 * come that was due then. Renewals of leases are answered, and written when something else is run (renewals.h). The answers are those
 * that the server would give: a run with and one without the memo leave the same trace (keyfob-sim --twice --no-memo sees to it). */
#ifndef KEYFOB_TESTS_SIM_MEMO_H
#define KEYFOB_TESTS_SIM_MEMO_H

#include <stdbool.h>
#include <stdint.h>

struct db_unit;

/* What not every run has. */
enum memo_feature { MEMO_GRANTS = 1, MEMO_WEBHOOKS = 2, MEMO_TWIN = 4 };

void memo_expect(enum memo_feature);
/* `yes` is the default. */
void memo_use(bool yes);
/* Whether the unit only looks. */
bool memo_is_look(const struct db_unit *);
/* True: its results are in the unit, as if it had run by itself, whole, at this time. */
bool memo_answer(struct db_unit *, int64_t at_us);
/* It is about to be run by the server. */
void memo_before_run(const struct db_unit *);
/* It has run: whole, or a statement at a time. */
void memo_note(const struct db_unit *, bool is_whole);
/* Whether what is taken for granted holds; else the run has failed. */
void memo_look(void);

#endif
