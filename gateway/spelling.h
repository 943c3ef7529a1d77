/* spelling.h - which of the known names somebody probably meant. */
#ifndef KEYFOB_GATEWAY_SPELLING_H
#define KEYFOB_GATEWAY_SPELLING_H

#include <stddef.h>

/* How many letters must be added, dropped, changed or swapped with their neighbour to make `b` of `a`; for
 * names longer than 63 letters, the greater length. `b` is `b_len` letters long. */
size_t spelling_distance(const char *a, const char *b, size_t b_len);

#endif
