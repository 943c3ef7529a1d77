/* chance.c - splitmix64. */
#include "tests/sim/chance.h"

#include <string.h>
#include <sys/types.h>

ssize_t __wrap_getrandom(void *out, size_t len, unsigned flags);
uint32_t __wrap_arc4random_uniform(uint32_t bound);

static uint64_t state;

void chance_seed(uint64_t seed)
{
	state = seed * 0x9e3779b97f4a7c15u + 1;
}

static uint64_t next(void)
{
	uint64_t z = state += 0x9e3779b97f4a7c15u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

int64_t chance_below(int64_t n)
{
	return n > 0 ? (int64_t)(next() % (uint64_t)n) : 0;
}

int64_t chance_between(int64_t low, int64_t high)
{
	return low + chance_below(high - low + 1);
}

bool chance_of(unsigned permille)
{
	return chance_below(1000) < (int64_t)permille;
}

int64_t chance_delay_ms(int64_t usual, int64_t seldom)
{
	return chance_below(chance_of(50) ? seldom + 1 : usual + 1);
}

/* What the program under test calls. */

ssize_t __wrap_getrandom(void *out, size_t len, unsigned flags)
{
	unsigned char *at = out;
	(void)flags;
	for (size_t i = 0; i < len; i++)
		at[i] = (unsigned char)next();
	return (ssize_t)len;
}

uint32_t __wrap_arc4random_uniform(uint32_t bound)
{
	return (uint32_t)chance_below(bound);
}
