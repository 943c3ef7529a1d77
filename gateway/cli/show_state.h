/* show_state.h - facts of a vehicle in a table of two columns, and its state among them. */
#ifndef KEYFOB_GATEWAY_CLI_SHOW_STATE_H
#define KEYFOB_GATEWAY_CLI_SHOW_STATE_H

#include <jansson.h>

struct table;

/* Two columns: the name, and the value as people type it. What is null or empty is left out. */
void fact_add_value(struct table *, const char *name, const json_t *value);
/* What is reported, what is desired, and the difference. */
void state_add(struct table *, const json_t *state);

#endif
