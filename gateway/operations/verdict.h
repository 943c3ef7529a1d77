/* verdict.h - what a changing statement says of itself, and the answer that it becomes. */
#ifndef KEYFOB_GATEWAY_OPERATIONS_VERDICT_H
#define KEYFOB_GATEWAY_OPERATIONS_VERDICT_H

#include <stdbool.h>

struct api_call;
struct db_unit;
struct fault;

/* A row for each outcome; a table ends with a row of zeros. */
struct verdict {
	const char *outcome;
	const struct fault *fault; /* NULL: it is done */
	const char *detail;
};

/* The row of `outcome`. Statements and table are one program: an outcome that it lacks is our mistake. */
const struct verdict *verdict_in(const struct verdict *table, const char *outcome);
/* False: the call has failed by it. */
bool verdict_let_pass(const struct verdict *, struct api_call *);
/* Fails the call by `fault`; of a statement that was refused the log has the reason, and the caller hears of an internal fault. */
void unit_fail_call(const struct db_unit *, struct api_call *, const struct fault *);

#endif
