/* ready.h - whether a node knows what of its neighbours is there: what /readyz says of it (L5). */
#ifndef KEYFOB_TESTS_SIM_READY_H
#define KEYFOB_TESTS_SIM_READY_H

/* From now on every node is looked at, twice a second. */
void ready_begin(void);

#endif
