/* gateway.h - the front of a node, whole but for its database, which is away: its door, REST, WebSocket, operations and
 * tokens, driven by one client after the other. There is one, made at the first use, until the process ends. */
#ifndef KEYFOB_TESTS_FUZZ_GATEWAY_H
#define KEYFOB_TESTS_FUZZ_GATEWAY_H

#include <stddef.h>

/* A token with every scope. Borrowed. */
const char *gateway_token(void);
/* A client comes, says this, says no more, and reads until the gateway has closed or has nothing more to say; then it goes.
 * Aborts when the gateway does not let go of it. */
void gateway_visit(const char *bytes, size_t len);

#endif
