/* faults.h - what goes wrong in a run: one thing after the other, and at once, as chance has it. */
#ifndef KEYFOB_TESTS_SIM_FAULTS_H
#define KEYFOB_TESTS_SIM_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

/* From now on something every so often, on average; 0: nothing. `restarts`: the broker may, too. */
void faults_begin(int64_t pace_ms, bool restarts);
/* Everything that is broken heals now, and nothing more breaks. */
void faults_end(void);

#endif
