/* fault.h - everything that can go wrong for a caller, one row each.
 *
 * A fault is a constant: compared by address, never allocated, NULL is "fine". One row answers
 * every question that REST (RFC 9457), JSON-RPC and the log ask, so the answers cannot differ. */
#ifndef KEYFOB_BASE_FAULT_H
#define KEYFOB_BASE_FAULT_H

#include <stdbool.h>

enum fault_executed { EXECUTED_NO, EXECUTED_UNKNOWN };
enum fault_retry { RETRY_NEVER, RETRY_LATER };

struct fault {
	const char *name; /* "vehicle-not-found": the end of urn:keyfob:problem:… */
	int http;	  /* status code */
	enum fault_executed executed;
	enum fault_retry retry;
	const char *title;	  /* for the developer: what happened */
	const char *user_message; /* for the driver; NULL when no person reads it */
};

#define FAULT(id, name, http, executed, retry, title, user_message) extern const struct fault FAULT_##id;
#include "base/fault.tbl.h"
#undef FAULT

#endif
