/* chance.h - the one source of all that is random in a simulated run: the seed decides everything.
 *
 * What the program under test asks of the system (getrandom, arc4random_uniform) comes from here, too: the linker wraps them. */
#ifndef KEYFOB_TESTS_SIM_CHANCE_H
#define KEYFOB_TESTS_SIM_CHANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void chance_seed(uint64_t seed);
int64_t chance_below(int64_t n);		   /* 0 … n-1 */
int64_t chance_between(int64_t low, int64_t high); /* both included */
bool chance_of(unsigned permille);
/* Mostly short, sometimes long: most delays are within `usual`, one in twenty within `seldom`. */
int64_t chance_delay_ms(int64_t usual, int64_t seldom);

#endif
