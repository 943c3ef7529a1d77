/* config_environment.h - KEYFOB_… variables laid over the configuration file.
 *
 * A variable's name is KEYFOB_ and the setting's path in upper case, joined with _. Scalars come as they
 * are, lists and maps (whole sections too) as JSON. A variable for a section replaces the whole of it; one
 * for something inside counts more. */
#ifndef KEYFOB_GATEWAY_CONFIG_ENVIRONMENT_H
#define KEYFOB_GATEWAY_CONFIG_ENVIRONMENT_H

#include <stdbool.h>

struct config_error;
struct document;
struct texts;
struct value;

/* Changes `root`; adds a sentence to `warnings` for each KEYFOB_ variable that names no setting. */
bool config_lay_environment(
	struct document *, struct value *root, char *const *environment, struct texts *warnings, struct config_error *);

/* A sentence more. */
void config_warn(struct document *, struct texts *warnings, const char *sentence);

#endif
