/* params.h - a command's parameters as people type them: door=all minutes=5 heat=true. */
#ifndef KEYFOB_GATEWAY_CLI_PARAMS_H
#define KEYFOB_GATEWAY_CLI_PARAMS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* An object of the `key=value` words (ends with NULL): true, false, numbers and quoted strings as in JSON,
 * everything else a string. NULL: `ret_why` is one line for the user. The caller owns it. */
json_t *params_read(const char *const *words, char *ret_why, size_t why_size);
/* Whether there is one that is no string. */
bool params_have_values(const json_t *params);
/* Those that are strings by the JSON Schema of the params become what was typed: pin=1234 is a text where one is wanted. */
void params_take_texts(json_t *params, const char *const *words, const json_t *schema);

#endif
