/* json_place.c - walks down a foreign JSON value. */
#include "notifier/wake/json_place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* The member or the item that the next part names, and what is left of the place. */
static const json_t *step_down(const json_t *json, const char **place)
{
	const char *dot = strchr(*place, '.');
	size_t len = dot ? (size_t)(dot - *place) : strlen(*place);
	char name[128];

	if (len >= sizeof(name))
		return NULL;
	memcpy(name, *place, len);
	name[len] = '\0';
	*place += len + (dot ? 1 : 0);
	if (json_is_array(json))
		return strspn(name, "0123456789") == len && len > 0 ? json_array_get(json, strtoul(name, NULL, 10))
								    : NULL;
	return json_object_get(json, name);
}

char *json_place_text(const json_t *json, const char *place)
{
	char number[32];

	while (json && *place)
		json = step_down(json, &place);
	if (json_is_string(json))
		return memory_need(strdup(json_string_value(json)));
	if (!json_is_integer(json))
		return NULL;
	snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(json));
	return memory_need(strdup(number));
}
