/* setting_types.c - how a value of each type is read: a row a type. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/config_lists.h"
#include "gateway/config_syntax.h"
#include "gateway/document.h"
#include "gateway/quantity.h"
#include "gateway/settings.h"

/* What every list of structs looks like, whatever the struct. */
struct groups {
	const void *items;
	size_t count;
};

/* One value on its way into its member. */
struct item {
	const struct settings_reading *reading;
	const struct setting *setting;
	const struct value *value;
	const char *name;
};

static bool read_text(const struct item *, void *member);
static bool read_file(const struct item *, void *member);
static bool read_folder(const struct item *, void *member);
static bool read_choice(const struct item *, void *member);
static bool read_integer(const struct item *, void *member);
static bool read_size(const struct item *, void *member);
static bool read_duration(const struct item *, void *member);
static bool read_seconds(const struct item *, void *member);
static bool read_fraction(const struct item *, void *member);
static bool read_rate(const struct item *, void *member);
static bool read_boolean(const struct item *, void *member);
static bool read_texts(const struct item *, void *member);
static bool read_addresses(const struct item *, void *member);
static bool read_numbers(const struct item *, void *member);
static bool read_choices(const struct item *, void *member);
static bool read_pairs(const struct item *, void *member);
static bool read_groups(const struct item *, void *member);
static bool read_value(const struct item *, void *member);

static const struct type {
	const char *what;
	bool (*read)(const struct item *, void *member);
	const struct unit *units; /* of min and max */
	bool structured;
} types[SETTING_TYPE_COUNT] = {
	[SETTING_TEXT] = { "a text", read_text, UNITS_NONE, false },
	[SETTING_SECRET] = { "a secret text", read_text, UNITS_NONE, false },
	[SETTING_FILE] = { "the name of a file", read_file, UNITS_NONE, false },
	[SETTING_FOLDER] = { "the name of a folder", read_folder, UNITS_NONE, false },
	[SETTING_CHOICE] = { "one of ", read_choice, UNITS_NONE, false },
	[SETTING_INTEGER] = { "a whole number", read_integer, UNITS_NONE, false },
	[SETTING_SIZE] = { "a size such as 64KiB or 1MiB", read_size, UNITS_SIZE, false },
	[SETTING_DURATION] = { "a duration such as 500ms, 30s, 5m, 24h or 90d", read_duration, UNITS_DURATION, false },
	[SETTING_SECONDS] = { "a duration of whole seconds such as 30s or 5m", read_seconds, UNITS_DURATION, false },
	[SETTING_FRACTION] = { "a number from 0 to 1", read_fraction, UNITS_NONE, false },
	[SETTING_RATE] = { "a rate such as \"50/s\", or \"0\" for none", read_rate, UNITS_NONE, false },
	[SETTING_BOOLEAN] = { "true or false", read_boolean, UNITS_NONE, false },
	[SETTING_TEXTS] = { "a list of texts", read_texts, UNITS_NONE, true },
	[SETTING_ADDRESSES] = { "a list of addresses", read_addresses, UNITS_NONE, true },
	[SETTING_NUMBERS] = { "a list of whole numbers", read_numbers, UNITS_NONE, true },
	[SETTING_CHOICES] = { "a list of ", read_choices, UNITS_NONE, true },
	[SETTING_PAIRS] = { "a map of texts", read_pairs, UNITS_NONE, true },
	[SETTING_GROUPS] = { "a list of maps", read_groups, UNITS_NONE, true },
	[SETTING_VALUE] = { "a value", read_value, UNITS_NONE, true },
};

static bool is_null(const struct setting *s, const struct value *v);
static bool refuse(const struct item *it, const struct value *v);
static bool read_quantity(const struct item *it, const struct value *v, int64_t *ret);
static bool read_name(const struct item *it, const struct value *v, int *ret);
static const char *text_of(const struct item *it, const struct value *v);
static void *make_list(const struct item *it, size_t size, size_t *ret_count);
static void add(char *out, size_t size, const char *text);
static void add_names(char *out, size_t size, const char *const *names);
static void add_limits(char *out, size_t size, const struct setting *s);

bool setting_is_structured(const struct setting *s)
{
	return types[s->type].structured;
}

bool setting_is_nullable(const struct setting *s)
{
	return s->initial && strcmp(s->initial, "null") == 0;
}

bool setting_read(const struct settings_reading *reading, const struct setting *s, const struct value *v,
	const char *name, void *member)
{
	const struct item it = { reading, s, v, name };

	/* members begin zeroed, and NULL or 0 is what null means to every setting that takes it */
	if (is_null(s, v) && setting_is_nullable(s))
		return true;
	if (is_null(s, v) && s->type != SETTING_VALUE)
		return refuse(&it, v);
	return types[s->type].read(&it, member);
}

static bool is_null(const struct setting *s, const struct value *v)
{
	if (v->kind == VALUE_BARE && setting_is_nullable(s))
		return !*v->text || (strcmp(v->text, "null") == 0 && s->type != SETTING_SECRET);
	return v->kind == VALUE_NULL;
}

/* scalars */

/* The text, if it is one and the rule allows it; else NULL and the error. */
static const char *text_of(const struct item *it, const struct value *v)
{
	const struct setting_rule *rule = it->setting->rule;
	bool empty_is_fine = it->setting->initial && strcmp(it->setting->initial, "\"\"") == 0;
	int index;

	if ((v->kind != VALUE_TEXT && v->kind != VALUE_BARE) || (!*v->text && !empty_is_fine) ||
		(rule && rule->is && !rule->is(v->text))) {
		refuse(it, v);
		return NULL;
	}
	if (rule && rule->names && !read_name(it, v, &index))
		return NULL;
	return v->text;
}

static bool read_text(const struct item *it, void *member)
{
	return (*(const char **)member = text_of(it, it->value)) != NULL;
}

static bool read_file(const struct item *it, void *member)
{
	const char *text = text_of(it, it->value);
	struct stat st;

	if (!text)
		return false;
	const char *path = settings_resolve(it->reading, text);
	*(const char **)member = path;
	if (it->reading->names_only)
		return true;
	if (access(path, R_OK) != 0 || stat(path, &st) != 0)
		return setting_refuse(
			it->reading, it->value, it->name, "names %s, which cannot be read: %s", path, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return setting_refuse(
			it->reading, it->value, it->name, "names %s, which is a folder, not a file", path);
	return true;
}

static bool read_folder(const struct item *it, void *member)
{
	const char *text = text_of(it, it->value);
	struct stat st;

	if (!text)
		return false;
	const char *path = settings_resolve(it->reading, text);
	if (!it->reading->names_only && (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)))
		return setting_refuse(it->reading, it->value, it->name, "names %s, which is not a folder", path);
	*(const char **)member = path;
	return true;
}

static bool read_choice(const struct item *it, void *member)
{
	return read_name(it, it->value, member);
}

static bool read_name(const struct item *it, const struct value *v, int *ret)
{
	const char *const *names = it->setting->rule->names;

	for (int i = 0; v->text && v->kind != VALUE_NULL && names[i]; i++)
		if (strcmp(v->text, names[i]) == 0) {
			*ret = i;
			return true;
		}
	return refuse(it, v);
}

/* A whole number or an amount, within the limits. A quoted plain number is a text and no number. */
static bool read_quantity(const struct item *it, const struct value *v, int64_t *ret)
{
	const struct unit *units = types[it->setting->type].units;
	bool kind_fits =
		v->kind == VALUE_INTEGER || v->kind == VALUE_BARE || (v->kind == VALUE_TEXT && units != UNITS_NONE);

	if (!kind_fits || !quantity_read(v->text, units, ret))
		return refuse(it, v);
	if ((it->setting->min || it->setting->max) && (*ret < it->setting->min || *ret > it->setting->max))
		return refuse(it, v);
	return true;
}

static bool read_integer(const struct item *it, void *member)
{
	int64_t n;

	if (!read_quantity(it, it->value, &n))
		return false;
	*(int *)member = (int)n; /* every row of this type has limits within it */
	return true;
}

static bool read_size(const struct item *it, void *member)
{
	int64_t n;

	if (!read_quantity(it, it->value, &n))
		return false;
	*(size_t *)member = (size_t)n;
	return true;
}

static bool read_duration(const struct item *it, void *member)
{
	return read_quantity(it, it->value, member);
}

static bool read_seconds(const struct item *it, void *member)
{
	int64_t ms;

	if (!read_quantity(it, it->value, &ms))
		return false;
	if (ms % 1000)
		return refuse(it, it->value);
	*(int *)member = (int)(ms / 1000);
	return true;
}

static bool read_fraction(const struct item *it, void *member)
{
	const char *text = it->value->text;
	char *end = NULL;
	double fraction = text && strspn(text, "0123456789.") > 0 ? strtod(text, &end) : -1;

	if (it->value->kind == VALUE_BOOLEAN || !end || *end || !(fraction >= 0 && fraction <= 1))
		return refuse(it, it->value);
	*(double *)member = fraction;
	return true;
}

static bool read_rate(const struct item *it, void *member)
{
	double rate;

	if (!it->value->text || it->value->kind == VALUE_BOOLEAN || !rate_read(it->value->text, &rate) ||
		(it->setting->max && rate > (double)it->setting->max))
		return refuse(it, it->value);
	*(double *)member = rate;
	return true;
}

static bool read_boolean(const struct item *it, void *member)
{
	const struct value *v = it->value;
	bool kind_fits = v->kind == VALUE_BOOLEAN || v->kind == VALUE_BARE;

	if (!kind_fits || (strcasecmp(v->text, "true") != 0 && strcasecmp(v->text, "false") != 0))
		return refuse(it, v);
	*(bool *)member = strcasecmp(v->text, "true") == 0;
	return true;
}

/* lists and maps */

/* Room for the items of a list, and how many they are; NULL and the error when it is no list. */
static void *make_list(const struct item *it, size_t size, size_t *ret_count)
{
	if (it->value->kind != VALUE_LIST) {
		refuse(it, it->value);
		return NULL;
	}
	*ret_count = value_count(it->value);
	return document_keep(it->reading->doc, *ret_count * size);
}

static bool read_texts(const struct item *it, void *member)
{
	struct texts *texts = member;
	const char **items = make_list(it, sizeof(*items), &texts->count);
	size_t i = 0;

	if (!items)
		return false;
	for (const struct value *v = it->value->first; v; v = v->next)
		if (!(items[i++] = text_of(it, v)))
			return false;
	texts->items = items;
	return true;
}

static bool read_addresses(const struct item *it, void *member)
{
	struct addresses *addresses = member;
	struct address *items = make_list(it, sizeof(*items), &addresses->count);
	char host[INET6_ADDRSTRLEN];
	size_t i = 0;

	if (!items)
		return false;
	for (const struct value *v = it->value->first; v; v = v->next, i++) {
		if (!(items[i].text = text_of(it, v)) || !syntax_split_listen(v->text, host, &items[i].port))
			return false;
		items[i].host = document_keep_text(it->reading->doc, host, strlen(host));
	}
	addresses->items = items;
	return true;
}

static bool read_numbers(const struct item *it, void *member)
{
	struct numbers *numbers = member;
	int *items = make_list(it, sizeof(*items), &numbers->count);
	size_t i = 0;

	if (!items)
		return false;
	for (const struct value *v = it->value->first; v; v = v->next) {
		int64_t n = 0;
		if (!read_quantity(it, v, &n))
			return false;
		items[i++] = (int)n;
	}
	numbers->items = items;
	return true;
}

static bool read_choices(const struct item *it, void *member)
{
	struct numbers *numbers = member;
	int *items = make_list(it, sizeof(*items), &numbers->count);
	size_t i = 0;

	if (!items)
		return false;
	for (const struct value *v = it->value->first; v; v = v->next, i++) {
		if (!read_name(it, v, &items[i]))
			return false;
		for (size_t k = 0; k < i; k++)
			if (items[k] == items[i])
				return setting_refuse(it->reading, v, it->name, "has %s twice", v->text);
	}
	numbers->items = items;
	return true;
}

static bool read_pairs(const struct item *it, void *member)
{
	struct pairs *pairs = member;
	struct pair *items = document_keep(it->reading->doc, value_count(it->value) * sizeof(*items));

	if (it->value->kind != VALUE_MAP)
		return refuse(it, it->value);
	for (const struct value *v = it->value->first; v; v = v->next) {
		const struct setting_rule *rule = it->setting->rule;
		if (v->kind != VALUE_TEXT || (rule && !rule->is(v->key)) || strpbrk(v->text, "\r\n"))
			return setting_refuse(it->reading, v, it->name, "%s is not fit: must be %s", v->key,
				rule ? rule->what : "a text");
		items[pairs->count++] = (struct pair){ v->key, v->text };
	}
	pairs->items = items;
	return true;
}

static bool read_groups(const struct item *it, void *member)
{
	const struct setting_table *table = it->setting->rule->table;
	struct groups groups = { 0 };
	char *items = make_list(it, table->size, &groups.count);
	size_t i = 0;
	char name[160];

	if (!items)
		return false;
	for (const struct value *v = it->value->first; v; v = v->next, i++) {
		snprintf(name, sizeof(name), "%s[%zu]", it->name, i);
		if (!settings_read(it->reading, table, v, name, items + i * table->size))
			return false;
	}
	groups.items = items;
	memcpy(member, &groups, sizeof(groups));
	return true;
}

static bool read_value(const struct item *it, void *member)
{
	*(const struct value **)member = it->value;
	return true;
}

/* what a setting may be */

static bool refuse(const struct item *it, const struct value *v)
{
	char what[512];
	const char *must = setting_describe(it->setting, what, sizeof(what));

	/* a secret is never repeated, not even one that cannot be right; nor what may be a URL with a password */
	bool secret = it->setting->type == SETTING_SECRET || (v->text && strchr(v->text, '@'));
	if (secret || !v->text || v->kind == VALUE_NULL)
		return setting_refuse(it->reading, v, it->name, "must be %s, not %s", must, value_kind_name(v));
	if (v->kind == VALUE_TEXT || v->kind == VALUE_BARE)
		return setting_refuse(it->reading, v, it->name, "must be %s, not \"%.80s\"", must, v->text);
	bool text_was_meant = it->setting->type == SETTING_TEXT || it->setting->type == SETTING_TEXTS;
	return setting_refuse(it->reading, v, it->name, "must be %s, not %s%.80s%s", must,
		text_was_meant ? "the bare " : "", v->text, text_was_meant ? ": put it in quotes" : "");
}

const char *setting_describe(const struct setting *s, char *out, size_t size)
{
	const struct setting_rule *rule = s->rule;

	*out = '\0';
	if (!rule || rule->names || rule->table)
		add(out, size, types[s->type].what);
	else if (types[s->type].structured)
		snprintf(out, size, "%s, each ", types[s->type].what);
	if (rule && rule->what)
		add(out, size, rule->what);
	if (rule && rule->names)
		add_names(out, size, rule->names);
	if (s->min || s->max)
		add_limits(out, size, s);
	if (setting_is_nullable(s))
		add(out, size, ", or null");
	return out;
}

static void add(char *out, size_t size, const char *text)
{
	size_t used = strlen(out);

	snprintf(out + used, size - used, "%s", text);
}

static void add_names(char *out, size_t size, const char *const *names)
{
	for (size_t i = 0; names[i]; i++) {
		add(out, size, i == 0 ? "" : names[i + 1] ? ", " : " or ");
		add(out, size, names[i]);
	}
}

static void add_limits(char *out, size_t size, const struct setting *s)
{
	const struct unit *units = types[s->type].units;
	char limit[32];

	add(out, size, ", from ");
	quantity_write(s->min, units, limit, sizeof(limit));
	add(out, size, limit);
	add(out, size, " to ");
	quantity_write(s->max, units, limit, sizeof(limit));
	add(out, size, limit);
	if (s->type == SETTING_RATE)
		add(out, size, "/s");
}

const char *settings_resolve(const struct settings_reading *reading, const char *path)
{
	char whole[4096];

	if (*path == '/' || strcmp(reading->folder, ".") == 0)
		return document_keep_text(reading->doc, path, strlen(path));
	int len = snprintf(whole, sizeof(whole), "%s/%s", reading->folder, path);
	return document_keep_text(reading->doc, whole, strnlen(whole, (size_t)len));
}
