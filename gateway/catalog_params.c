/* catalog_params.c - the params of one command: read from the catalogue, checked, told as JSON Schema. */
#include "gateway/catalog_params.h"

#include <math.h>
#include <regex.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/json.h"
#include "base/memory.h"
#include "gateway/catalog.h"
#include "gateway/document.h"
#include "gateway/pattern.h"
#include "gateway/settings.h"

enum param_type { PARAM_STRING, PARAM_INTEGER, PARAM_NUMBER, PARAM_BOOLEAN };

/* As the rows below read it. */
struct draft {
	enum param_type type;
	bool required;
	const struct value *initial, *min, *max;
	struct texts allowed;
	int max_length; /* characters; 0: any */
	const char *pattern;
};

struct catalog_param {
	const char *name;
	enum param_type type;
	bool required;
	json_t *initial; /* NULL: no default */
	struct texts allowed;
	int max_length;
	const char *pattern;
	regex_t regex; /* compiled when there is a pattern */
	double min, max;
};

static const char *const type_names[] = { "string", "integer", "number", "boolean", NULL };
static const struct setting_rule RULE_TYPE = { .names = type_names };

#define ROW(path, member, type, initial, min, max, rule)                                                               \
	{ path, SETTING_##type, offsetof(struct draft, member), initial, min, max, rule, true, NULL },
static const struct setting rows[] = { ROW("type", type, CHOICE, NULL, 0, 0, &RULE_TYPE)
		ROW("required", required, BOOLEAN, "false", 0, 0, NULL)
			ROW("default", initial, VALUE, "null", 0, 0, NULL) ROW("min", min, VALUE, "null", 0, 0, NULL)
				ROW("max", max, VALUE, "null", 0, 0, NULL) ROW("enum", allowed, TEXTS, "[]", 0, 0, NULL)
					ROW("max_length", max_length, INTEGER, "null", 1, 32768, NULL)
						ROW("pattern", pattern, TEXT, "null", 0, 0, NULL) };
#undef ROW
static const struct setting_table TABLE = { rows, sizeof(rows) / sizeof(*rows), sizeof(struct draft) };

/* What each type makes of a JSON value, and how the type and its limits are told. */
static bool fits_string(const struct catalog_param *p, const json_t *value);
static bool fits_integer(const struct catalog_param *p, const json_t *value);
static bool fits_number(const struct catalog_param *p, const json_t *value);
static bool fits_boolean(const struct catalog_param *p, const json_t *value);

static const struct type {
	bool (*fits)(const struct catalog_param *, const json_t *value);
	const char *what;
	bool has_range, has_text_rules;
} types[] = {
	[PARAM_STRING] = { fits_string, "a string", false, true },
	[PARAM_INTEGER] = { fits_integer, "a whole number", true, false },
	[PARAM_NUMBER] = { fits_number, "a number", true, false },
	[PARAM_BOOLEAN] = { fits_boolean, "true or false", false, false },
};

static bool read_param(
	const struct settings_reading *r, const struct value *v, const char *name, struct catalog_param *p);
static bool check_rules_fit_type(
	const struct settings_reading *r, const struct value *v, const char *name, const struct draft *d);
static bool read_limit(
	const struct settings_reading *r, const struct value *v, const char *name, enum param_type type, double *limit);
static bool read_pattern(
	const struct settings_reading *r, const struct value *v, const char *name, struct catalog_param *p);
static bool read_initial(
	const struct settings_reading *r, const struct value *v, const char *name, struct catalog_param *p);
static const struct fault *refuse(char *detail, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static const struct catalog_param *find(const struct catalog_command *command, const char *name);
static void describe(const struct catalog_param *p, struct text *out);
static json_t *schema(const struct catalog_param *p);

/* reading */

bool catalog_params_read(
	const struct settings_reading *r, const struct value *map, const char *path, struct catalog_command *command)
{
	struct catalog_param *params;
	char name[512];

	if (!map)
		return true;
	if (map->kind != VALUE_MAP)
		return setting_refuse(r, map, path, "must be a map of params, not %s", value_kind_name(map));
	command->params = params = document_keep(r->doc, value_count(map) * sizeof(*params));
	for (const struct value *v = map->first; v; v = v->next) {
		snprintf(name, sizeof(name), "%s.%s", path, v->key);
		if (!catalog_is_name(v->key))
			return setting_refuse(
				r, v, name, "is no name of a param: 1 to 64 letters, digits, dots, _ or -");
		if (!read_param(r, v, name, &params[command->param_count++]))
			return false;
	}
	return true;
}

static bool read_param(
	const struct settings_reading *r, const struct value *v, const char *name, struct catalog_param *p)
{
	struct draft d = { 0 };

	if (!settings_read(r, &TABLE, v, name, &d) || !check_rules_fit_type(r, v, name, &d))
		return false;
	*p = (struct catalog_param){ .name = v->key,
		.type = d.type,
		.required = d.required,
		.allowed = d.allowed,
		.max_length = d.max_length,
		.min = -INFINITY,
		.max = INFINITY };
	if (!read_limit(r, d.min, name, d.type, &p->min) || !read_limit(r, d.max, name, d.type, &p->max))
		return false;
	if (p->min > p->max)
		return setting_refuse(r, v, name, "min must not be greater than max");
	p->pattern = d.pattern;
	return read_pattern(r, v, name, p) && read_initial(r, d.initial, name, p);
}

static bool check_rules_fit_type(
	const struct settings_reading *r, const struct value *v, const char *name, const struct draft *d)
{
	if ((d->min || d->max) && !types[d->type].has_range)
		return setting_refuse(
			r, v, name, "min and max are for an integer or a number, not for a %s", type_names[d->type]);
	if ((d->allowed.count || d->max_length || d->pattern) && !types[d->type].has_text_rules)
		return setting_refuse(r, v, name, "enum, max_length and pattern are for a string, not for type %s",
			type_names[d->type]);
	return true;
}

static bool read_limit(
	const struct settings_reading *r, const struct value *v, const char *name, enum param_type type, double *limit)
{
	if (!v)
		return true;
	if (v->kind != VALUE_INTEGER && (v->kind != VALUE_NUMBER || type == PARAM_INTEGER))
		return setting_refuse(
			r, v, name, "min and max must be %s", type == PARAM_INTEGER ? "whole numbers" : "numbers");
	*limit = strtod(v->text, NULL);
	return true;
}

static bool read_pattern(
	const struct settings_reading *r, const struct value *v, const char *name, struct catalog_param *p)
{
	const char *wrong = NULL;
	char why[160];

	if (!p->pattern)
		return true;
	char *posix = pattern_to_posix(p->pattern, &wrong);
	int code = posix ? regcomp(&p->regex, posix, REG_EXTENDED | REG_NOSUB) : 0;
	free(posix);
	if (!wrong && code == 0)
		return true;
	if (!wrong)
		regerror(code, &p->regex, why, sizeof(why));
	p->pattern = NULL; /* nothing was compiled that had to be freed */
	return setting_refuse(r, v, name, "pattern cannot be used: %s", wrong ? wrong : why);
}

static json_t *to_json(const struct value *v)
{
	switch (v->kind) {
	case VALUE_TEXT:
		return json_string(v->text);
	case VALUE_BOOLEAN:
		return json_boolean(*v->text == 't' || *v->text == 'T');
	case VALUE_INTEGER:
		return json_integer(strtoll(v->text, NULL, 10));
	case VALUE_NUMBER:
		return json_real(strtod(v->text, NULL));
	default:
		return NULL;
	}
}

static bool read_initial(
	const struct settings_reading *r, const struct value *v, const char *name, struct catalog_param *p)
{
	struct text what = { 0 };

	if (!v)
		return true;
	p->initial = to_json(v);
	if (p->initial && types[p->type].fits(p, p->initial))
		return true;
	describe(p, &what);
	setting_refuse(r, v, name, "default must be %s", what.data);
	text_free(&what);
	return false;
}

void catalog_params_free(struct catalog_command *command)
{
	for (size_t i = 0; i < command->param_count; i++) {
		struct catalog_param *p = (struct catalog_param *)(uintptr_t)&command->params[i];
		if (p->pattern)
			regfree(&p->regex);
		json_decref(p->initial);
	}
}

/* checking */

static const struct fault *check_given(
	const struct catalog_command *command, const json_t *params, char *detail, size_t size)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)(uintptr_t)params, key, value) {
		const struct catalog_param *p = find(command, key);
		if (!p && catalog_is_name(key))
			return refuse(detail, size, "params.%s: %s has no such param", key, command->name);
		if (!p)
			return refuse(detail, size, "params: %s has no param of such a name", command->name);
		if (types[p->type].fits(p, value))
			continue;
		struct text what = { 0 };
		describe(p, &what);
		const struct fault *f = refuse(detail, size, "params.%s: must be %s", key, what.data);
		text_free(&what);
		return f;
	}
	return NULL;
}

/* A whole number may come as 21.0; the vehicle gets 21. */
static json_t *normalised(const struct catalog_param *p, json_t *value)
{
	int64_t whole;
	return p->type == PARAM_INTEGER && json_whole(value, &whole) ? json_integer(whole) : json_incref(value);
}

const struct fault *catalog_check_params(
	const struct catalog_command *command, const json_t *params, json_t **ret_params, char *detail, size_t size)
{
	if (params && !json_is_object(params))
		return refuse(detail, size, "params: must be an object");
	const struct fault *f = params ? check_given(command, params, detail, size) : NULL;
	if (f)
		return f;
	json_auto_t *whole = memory_need(json_object());
	for (size_t i = 0; i < command->param_count; i++) {
		const struct catalog_param *p = &command->params[i];
		json_t *given = json_object_get(params, p->name);
		if (!given && p->required)
			return refuse(detail, size, "params.%s: must be given", p->name);
		if (given)
			json_object_set_new(whole, p->name, normalised(p, given));
		else if (p->initial)
			json_object_set_new(whole, p->name, json_deep_copy(p->initial));
	}
	*ret_params = json_incref(whole);
	return NULL;
}

static const struct fault *refuse(char *detail, size_t size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	int len = vsnprintf(detail, size, format, args);
	va_end(args);
	if (len < 0 || (size_t)len < size || size == 0)
		return &FAULT_INVALID_PARAMS;
	/* cut off: not in the middle of a UTF-8 sequence */
	size_t end = size - 1;
	while (end > 0 && ((unsigned char)detail[end - 1] & 0xc0) == 0x80)
		end--;
	if (end > 0 && (unsigned char)detail[end - 1] >= 0xc0)
		end--;
	detail[end] = '\0';
	return &FAULT_INVALID_PARAMS;
}

static const struct catalog_param *find(const struct catalog_command *command, const char *name)
{
	for (size_t i = 0; i < command->param_count; i++)
		if (strcmp(command->params[i].name, name) == 0)
			return &command->params[i];
	return NULL;
}

static int characters(const char *utf8)
{
	int count = 0;

	for (; *utf8; utf8++)
		count += ((unsigned char)*utf8 & 0xc0) != 0x80;
	return count;
}

static bool fits_string(const struct catalog_param *p, const json_t *value)
{
	const char *text = json_string_value(value);

	if (!text || strlen(text) != json_string_length(value) || (p->max_length && characters(text) > p->max_length))
		return false;
	if (p->pattern && regexec(&p->regex, text, 0, NULL, 0) != 0)
		return false;
	for (size_t i = 0; i < p->allowed.count; i++)
		if (strcmp(p->allowed.items[i], text) == 0)
			return true;
	return p->allowed.count == 0;
}

static bool fits_number(const struct catalog_param *p, const json_t *value)
{
	double n = json_number_value(value);

	return json_is_number(value) && n >= p->min && n <= p->max;
}

static bool fits_integer(const struct catalog_param *p, const json_t *value)
{
	int64_t whole;
	return json_whole(value, &whole) && fits_number(p, value);
}

static bool fits_boolean(const struct catalog_param *p, const json_t *value)
{
	(void)p;
	return json_is_boolean(value);
}

/* telling */

static void describe(const struct catalog_param *p, struct text *out)
{
	text_add(out, p->allowed.count ? "one of " : types[p->type].what);
	for (size_t i = 0; i < p->allowed.count; i++)
		text_addf(out, "%s%s", i ? ", " : "", p->allowed.items[i]);
	if (p->min > -INFINITY)
		text_addf(out, ", at least %g", p->min);
	if (p->max < INFINITY)
		text_addf(out, ", at most %g", p->max);
	if (p->max_length)
		text_addf(out, ", of at most %d characters", p->max_length);
	if (p->pattern)
		text_addf(out, ", that matches %s", p->pattern);
}

json_t *catalog_params_schema(const struct catalog_command *command)
{
	json_t *properties = memory_need(json_object());
	json_t *required = memory_need(json_array());

	for (size_t i = 0; i < command->param_count; i++) {
		const struct catalog_param *p = &command->params[i];
		json_object_set_new(properties, p->name, schema(p));
		if (p->required)
			json_array_append_new(required, json_string(p->name));
	}
	return memory_need(
		json_pack("{s:s, s:s, s:o, s:o, s:b}", "$schema", "https://json-schema.org/draft/2020-12/schema",
			"type", "object", "properties", properties, "required", required, "additionalProperties", 0));
}

static json_t *limit(const struct catalog_param *p, double n)
{
	return p->type == PARAM_INTEGER ? json_integer((json_int_t)n) : json_real(n);
}

static json_t *schema(const struct catalog_param *p)
{
	json_t *o = memory_need(json_pack("{s:s}", "type", type_names[p->type]));
	json_t *allowed = memory_need(json_array());

	for (size_t i = 0; i < p->allowed.count; i++)
		json_array_append_new(allowed, json_string(p->allowed.items[i]));
	if (p->allowed.count)
		json_object_set(o, "enum", allowed);
	json_decref(allowed);
	if (p->max_length)
		json_object_set_new(o, "maxLength", json_integer(p->max_length));
	if (p->pattern)
		json_object_set_new(o, "pattern", json_string(p->pattern));
	if (p->min > -INFINITY)
		json_object_set_new(o, "minimum", limit(p, p->min));
	if (p->max < INFINITY)
		json_object_set_new(o, "maximum", limit(p, p->max));
	if (p->initial)
		json_object_set(o, "default", p->initial);
	return o;
}
