/* command_draft.h - what a caller wants to be sent, checked against the catalogue: to one vehicle or to many. */
#ifndef KEYFOB_GATEWAY_OPERATIONS_COMMAND_DRAFT_H
#define KEYFOB_GATEWAY_OPERATIONS_COMMAND_DRAFT_H

#include <stdbool.h>

#include "base/trace.h"

struct api_call;
struct catalog_command;

/* Owned by its reader; the other texts are borrowed from the call and the catalogue. */
struct command_draft {
	const struct catalog_command *known;
	const char *sealed_params;	     /* NULL: `params` it is */
	const char *tracestate, *key;	     /* NULL: none */
	char *params, *catalog, *supersedes; /* JSON texts, and names, comma-separated */
	char fingerprint[65];		     /* of the request, when there is a key */
	char traceparent[TRACEPARENT_SIZE];  /* "": none, or none that can be read */
	const char *name, *redelivery;
	int ttl_s, timeout_s, needs;
	bool wake;
};

/* Reads name, params, sealed_params, ttl_seconds, timeout_seconds, wake, idempotency_key, traceparent and tracestate, and looks whether the
 * caller's login is recent enough. False: the call has ended. */
bool command_draft_read(struct api_call *, struct command_draft *ret);
void command_draft_done(struct command_draft *);

#endif
