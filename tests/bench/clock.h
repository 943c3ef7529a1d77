/* clock.h - a monotonic clock, and waiting for a moment of it. */
#ifndef KEYFOB_BENCH_CLOCK_H
#define KEYFOB_BENCH_CLOCK_H

#include <stdint.h>

int64_t clock_us(void);
/* Returns at once when it is past. */
void clock_wait_until(int64_t us);

#endif
