/* target.h - which node to talk to, and as whom: the environment, or what `./dev run` left behind. */
#ifndef KEYFOB_GATEWAY_CLI_TARGET_H
#define KEYFOB_GATEWAY_CLI_TARGET_H

#include <stdbool.h>
#include <stddef.h>

/* KEYFOB_URL and KEYFOB_TOKEN; what is not set comes from `.keyfob/run/env` in this folder or one above,
 * but a token only together with its own URL; likewise SSL_CERT_FILE, which is set in our environment then. False: `ret_why` is one line for the user. The caller frees both. */
bool target_find(char **ret_url, char **ret_token, char *ret_why, size_t why_size);

#endif
