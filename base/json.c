/* json.c - reading what strangers sent, and merge patches (RFC 7396). */
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define DEPTH_MAX 32
#define WHOLE_MAX 9007199254740992.0 /* 2^53: up to there a double is exact */

static bool is_shallow(const char *text, size_t len);
static json_t *iterable(const json_t *value);
static void put(json_t *object, const char *key, json_t *value);
static void merge_target(json_t *result, const json_t *target, const json_t *patch);
static void merge_rest(json_t *result, const json_t *target, const json_t *patch);
static void diff_gone(json_t *diff, const json_t *from, const json_t *to);
static void diff_present(json_t *diff, const json_t *from, const json_t *to);
static void add_canonical(struct text *out, const json_t *value);

/* Without memory json_loadb() would call a vehicle's answer malformed, and it would be lost. */
__attribute__((constructor)) static void give_memory(void)
{
	json_set_alloc_funcs(memory_raw, free);
}

/* jansson itself would nest 2048 deep, and every walk over the value recurses: so the depth is counted first.
 * It refuses wrong UTF-8 and U+0000 in strings by itself. A whole number that 64 bits do not hold is JSON too: as a real. */
json_t *json_read(const char *text, size_t len)
{
	const size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY;
	json_error_t error;

	if (!is_shallow(text, len))
		return NULL;
	json_t *value = json_loadb(text, len, flags, &error);
	if (!value && json_error_code(&error) == json_error_numeric_overflow) {
		json_auto_t *reals = json_loadb(text, len, flags | JSON_DECODE_INT_AS_REAL, &error);
		value = reals ? json_as_whole(reals) : NULL;
	}
	return value;
}

json_t *json_as_whole(const json_t *value)
{
	const char *key;
	json_t *item, *copy;
	size_t i;

	if (json_is_object(value)) {
		copy = memory_need(json_object());
		json_object_foreach (iterable(value), key, item)
			put(copy, key, json_as_whole(item));
		return copy;
	}
	if (json_is_array(value)) {
		copy = memory_need(json_array());
		json_array_foreach (value, i, item)
			json_array_append_new(copy, json_as_whole(item));
		return copy;
	}
	int64_t whole;
	return json_whole(value, &whole) ? memory_need(json_integer(whole)) : json_incref(iterable(value));
}

bool json_whole(const json_t *value, int64_t *ret)
{
	double real = json_real_value(value);

	if (json_is_integer(value))
		*ret = json_integer_value(value);
	else if (json_is_real(value) && real > -WHOLE_MAX && real < WHOLE_MAX && real == (double)(int64_t)real)
		*ret = (int64_t)real;
	else
		return false;
	return true;
}

static bool is_shallow(const char *text, size_t len)
{
	bool in_string = false;
	int depth = 0;
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '"')
			in_string = !in_string;
		else if (in_string)
			i += text[i] == '\\';
		else if (text[i] == '[' || text[i] == '{')
			depth++;
		else if (text[i] == ']' || text[i] == '}')
			depth--;
		if (depth > DEPTH_MAX)
			return false;
	}
	return true;
}

/* jansson's iterators want a value that may be changed; nothing here changes it. */
static json_t *iterable(const json_t *value)
{
	return (json_t *)value;
}

static void put(json_t *object, const char *key, json_t *value)
{
	if (json_object_set_new_nocheck(object, key, memory_need(value)) != 0)
		memory_need(NULL);
}

json_t *json_merge_patch(const json_t *target, const json_t *patch)
{
	if (!json_is_object(patch))
		return memory_need(json_deep_copy(patch));
	json_t *result = memory_need(json_object());
	merge_target(result, target, patch);
	merge_rest(result, target, patch);
	return result;
}

static void merge_target(json_t *result, const json_t *target, const json_t *patch)
{
	const char *key;
	json_t *value;
	json_object_foreach (iterable(target), key, value) {
		json_t *change = json_object_get(patch, key);
		if (!change)
			put(result, key, json_deep_copy(value));
		else if (!json_is_null(change))
			put(result, key, json_merge_patch(value, change));
	}
}

static void merge_rest(json_t *result, const json_t *target, const json_t *patch)
{
	const char *key;
	json_t *value;
	json_object_foreach (iterable(patch), key, value) {
		if (!json_is_null(value) && !json_object_get(target, key))
			put(result, key, json_merge_patch(NULL, value));
	}
}

/* A merge patch cannot say that a member is null, so such a member counts as absent. */
static const json_t *member(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	return json_is_null(value) ? NULL : value;
}

json_t *json_merge_diff(const json_t *from, const json_t *to)
{
	if (!json_is_object(from) || !json_is_object(to))
		return json_equal(from, to) ? NULL : json_merge_patch(NULL, to);
	json_t *diff = memory_need(json_object());
	diff_gone(diff, from, to);
	diff_present(diff, from, to);
	if (json_object_size(diff) > 0)
		return diff;
	json_decref(diff);
	return NULL;
}

static void diff_gone(json_t *diff, const json_t *from, const json_t *to)
{
	const char *key;
	json_t *value;
	json_object_foreach (iterable(from), key, value) {
		if (!json_is_null(value) && !member(to, key))
			put(diff, key, json_null());
	}
}

static void diff_present(json_t *diff, const json_t *from, const json_t *to)
{
	const char *key;
	json_t *value;
	json_object_foreach (iterable(to), key, value) {
		if (json_is_null(value))
			continue;
		json_t *change = json_merge_diff(member(from, key), value);
		if (change)
			put(diff, key, change);
	}
}

/* With as few digits as read back equal; jansson knows one precision for a whole text, and of most numbers 17 digits show
 * what binary makes of them (21.699999999999999). */
static void add_real(struct text *out, const json_t *value)
{
	char digits[32] = "";

	for (size_t precision = 15; precision <= 17; precision++) {
		digits[json_dumpb(
			value, digits, sizeof(digits) - 1, JSON_ENCODE_ANY | JSON_REAL_PRECISION(precision))] = '\0';
		if (strtod(digits, NULL) == json_real_value(value))
			break;
	}
	text_add(out, digits);
}

static void add_array(struct text *out, const json_t *array)
{
	const json_t *item;
	size_t i;

	text_add_bytes(out, "[", 1);
	json_array_foreach (array, i, item) {
		if (i > 0)
			text_add_bytes(out, ",", 1);
		add_canonical(out, item);
	}
	text_add_bytes(out, "]", 1);
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void add_object(struct text *out, const json_t *object)
{
	size_t count = 0;
	const char **keys = memory_new((json_object_size(object) + 1) * sizeof(*keys)), *key;
	json_t *value;

	json_object_foreach (iterable(object), key, value)
		keys[count++] = key;
	qsort(keys, count, sizeof(*keys), compare_keys);
	text_add_bytes(out, "{", 1);
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			text_add_bytes(out, ",", 1);
		text_add_json_string(out, keys[i]);
		text_add_bytes(out, ":", 1);
		add_canonical(out, json_object_get(object, keys[i]));
	}
	text_add_bytes(out, "}", 1);
	free(keys);
}

static void add_canonical(struct text *out, const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		add_object(out, value);
		break;
	case JSON_ARRAY:
		add_array(out, value);
		break;
	case JSON_STRING:
		text_add_json_string(out, json_string_value(value));
		break;
	case JSON_INTEGER:
		text_addf(out, "%lld", (long long)json_integer_value(value));
		break;
	case JSON_REAL:
		add_real(out, value);
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		text_add(out, json_is_true(value) ? "true" : "false");
		break;
	case JSON_NULL:
		text_add(out, "null");
		break;
	}
}

char *json_canonical(const json_t *value)
{
	struct text out = { 0 };
	add_canonical(&out, value);
	return text_take(&out);
}

static bool is_listed(const char *const *list, const char *key)
{
	for (; *list; list++)
		if (strcmp(*list, key) == 0)
			return true;
	return false;
}

const char *json_unknown_key(const json_t *object, const char *const *known)
{
	const char *key;
	json_t *value;
	json_object_foreach (iterable(object), key, value) {
		if (!is_listed(known, key))
			return key;
	}
	return NULL;
}

const char *json_text_at(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static const char *skip_space(const char *at)
{
	return at + strspn(at, " \t\n\r");
}

/* From a quotation mark to behind the one that ends the string. */
static const char *skip_string(const char *at)
{
	for (at++; *at && *at != '"'; at++)
		at += *at == '\\' && at[1];
	return at + (*at == '"');
}

/* To the comma or bracket behind a value. */
static const char *skip_value(const char *at)
{
	for (int depth = 0; *at; at++) {
		if (*at == '"')
			at = skip_string(at);
		if (*at == '{' || *at == '[')
			depth++;
		else if (depth == 0 && (*at == ',' || *at == '}' || *at == ']'))
			break;
		else if (*at == '}' || *at == ']')
			depth--;
		if (!*at)
			break;
	}
	return at;
}

static bool copy_string(const char *at, char *out, size_t size)
{
	size_t len = *at == '"' ? strcspn(at + 1, "\"\\") : size;

	if (len >= size || at[len + 1] != '"')
		return false;
	memcpy(out, at + 1, len);
	out[len] = '\0';
	return true;
}

bool json_peek(const char *object, const char *key, char *out, size_t size)
{
	const char *at = skip_space(object);
	size_t len = strlen(key);

	while (*at == '{' || *at == ',') {
		const char *name = skip_space(at + 1);
		if (*name != '"')
			return false;
		at = skip_space(skip_string(name));
		if (*at != ':')
			return false;
		at = skip_space(at + 1);
		if (strncmp(name + 1, key, len) == 0 && name[len + 1] == '"')
			return copy_string(at, out, size);
		at = skip_value(at);
	}
	return false;
}
