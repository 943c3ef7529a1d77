/* catalog_params.h - the params of one command: read from the catalogue, checked, told as JSON Schema. */
#ifndef KEYFOB_GATEWAY_CATALOG_PARAMS_H
#define KEYFOB_GATEWAY_CATALOG_PARAMS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct catalog_command;
struct settings_reading;
struct value;

/* Fills command->params from the map (NULL: none); `path` names it in errors. On failure what was read so far
 * is there and wants catalog_params_free() all the same. */
bool catalog_params_read(
	const struct settings_reading *, const struct value *map, const char *path, struct catalog_command *command);
void catalog_params_free(struct catalog_command *);
/* JSON Schema 2020-12 of the whole params object. The caller owns it. */
json_t *catalog_params_schema(const struct catalog_command *);

#endif
