/* params.c - key=value words to JSON. */
#include "gateway/cli/params.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"

/* null, arrays and objects stay text: nobody means them who did not say so, and the catalogue knows none. */
static json_t *value_read(const char *text)
{
	json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
	if (json_is_boolean(value) || json_is_number(value) || json_is_string(value))
		return value;
	json_decref(value);
	return json_string(text);
}

static const char *param_add(json_t *params, const char *word)
{
	const char *equals = strchr(word, '=');
	if (!equals || equals == word)
		return "a parameter is written key=value, not `%.100s`";
	char *key = memory_need(strndup(word, (size_t)(equals - word)));
	bool is_twice = json_object_get(params, key) != NULL;
	int failed = json_object_set_new(params, key, value_read(equals + 1));
	free(key);
	if (failed)
		return "`%.100s` is not UTF-8";
	return is_twice ? "a parameter is given twice: `%.100s`" : NULL;
}

json_t *params_read(const char *const *words, char *ret_why, size_t why_size)
{
	json_t *params = json_object();
	for (; *words; words++) {
		const char *why = param_add(params, *words);
		if (!why)
			continue;
		snprintf(ret_why, why_size, why, *words);
		json_decref(params);
		return NULL;
	}
	return params;
}

bool params_have_values(const json_t *params)
{
	const char *key;
	json_t *value;
	json_object_foreach ((json_t *)(uintptr_t)params, key, value) {
		if (!json_is_string(value))
			return true;
	}
	return false;
}

static bool is_string_in(const json_t *schema, const char *key)
{
	const char *type = json_text_at(json_object_get(json_object_get(schema, "properties"), key), "type");
	return type && strcmp(type, "string") == 0;
}

void params_take_texts(json_t *params, const char *const *words, const json_t *schema)
{
	for (; *words; words++) {
		const char *equals = strchr(*words, '=');
		char *key = memory_need(strndup(*words, (size_t)(equals - *words)));
		if (!json_is_string(json_object_get(params, key)) && is_string_in(schema, key))
			json_object_set_new(params, key, json_string(equals + 1));
		free(key);
	}
}
