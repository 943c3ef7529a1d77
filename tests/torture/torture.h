/* torture.h - what the functions of this library that stand before others ask: whether this call is the one that fails. */
#ifndef KEYFOB_TESTS_TORTURE_H
#define KEYFOB_TESTS_TORTURE_H
#include <stdbool.h>

/* What may fail. */
enum kind { MEMORY = 1, WIRE = 2, DESCRIPTOR = 4, LIBRARY = 8 };

/* Counts a call of the function `where`, if its kind is armed; whether it is the one that fails. */
bool fails(enum kind kind, const char *where);

/* The function `name` of the next library that has it. */
void *find(const char *name);

/* The function that was meant, as `next`. */
#define NEXT(name)                                                                                                     \
	static __typeof__(&name) next;                                                                                 \
	if (!next)                                                                                                     \
	next = (__typeof__(&name))find(#name)

#endif
