/* params.h - a command's parameters as people type them: door=all minutes=5 heat=true. */
#ifndef KEYFOB_GATEWAY_CLI_PARAMS_H
#define KEYFOB_GATEWAY_CLI_PARAMS_H

#include <jansson.h>
#include <stddef.h>

/* An object of the `key=value` words (ends with NULL): true, false, numbers and quoted strings as in JSON,
 * everything else a string. NULL: `ret_why` is one line for the user. The caller owns it. */
json_t *params_read(const char *const *words, char *ret_why, size_t why_size);

#endif
