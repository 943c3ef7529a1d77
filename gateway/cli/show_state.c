/* show_state.c - a vehicle's state, a row for each side of it. */
#include "gateway/cli/show_state.h"

#include "base/json.h"
#include "gateway/cli/print.h"
#include "gateway/cli/table.h"

void fact_add_value(struct table *t, const char *name, const json_t *value)
{
	if (!value || json_is_null(value) || (json_is_object(value) && json_object_size(value) == 0))
		return;
	struct text text = { 0 };
	text_add_values(&text, value);
	table_add(t, COLOUR_DIM, name);
	table_add(t, COLOUR_NONE, text.data);
	text_free(&text);
}

void state_add(struct table *t, const json_t *state)
{
	static const char *const sides[] = { "reported", "desired", "delta" };
	for (size_t i = 0; i < sizeof(sides) / sizeof(sides[0]); i++)
		fact_add_value(t, sides[i], json_object_get(state, sides[i]));
}
