/* doctor.h - looks at everything that a node leans on, and says of each what is wrong and what to do.
 *
 * Blocking, in a program of its own. It changes nothing: what it publishes is denied or goes to nobody else, what it binds it lets go. */
#ifndef KEYFOB_GATEWAY_DOCTOR_DOCTOR_H
#define KEYFOB_GATEWAY_DOCTOR_DOCTOR_H

#include <stddef.h>

enum verdict { VERDICT_OK, VERDICT_WARNING, VERDICT_FAILED };

struct finding {
	const char *check; /* "ports"; a check may have several */
	enum verdict verdict;
	char said[512];	  /* what was found */
	char advice[512]; /* what to do; "": nothing */
};

struct report;

/* `file` is the node's configuration. The caller frees the result. */
struct report *doctor_examine(const char *file);
void report_free(struct report *);

size_t report_count(const struct report *);
const struct finding *report_at(const struct report *, size_t);
enum verdict report_worst(const struct report *);
/* "ok", "warning", "failed" */
const char *verdict_name(enum verdict);

#endif
