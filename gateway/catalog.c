/* catalog.c - reads the catalogue file, and finds and lists what is in it. */
#include "gateway/catalog.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "gateway/catalog_params.h"
#include "gateway/document.h"
#include "gateway/settings.h"

struct catalog {
	struct document *doc;		  /* owns every text */
	struct catalog_command *commands; /* ascending by name */
	size_t count;
	char *json;
};

/* As the rows below read it. */
struct draft {
	struct catalog_command command;
	const struct value *params;
};

static const char *const roles[] = { "viewer", "driver", "owner", NULL };
static const char *const redeliveries[] = { "on_reconnect", "never", NULL };
static const struct setting_rule RULE_ROLE = { .names = roles };
static const struct setting_rule RULE_REDELIVERY = { .names = redeliveries };
static const struct setting_rule RULE_NAME = { .what = "the name of a command", .is = catalog_is_name };

#define S(n) ((int64_t)(n)*1000)
#define H(n) (S(n) * 3600)
#define ROW(path, member, type, initial, min, max, rule)                                                               \
	{ path, SETTING_##type, offsetof(struct draft, member), initial, min, max, rule, true, NULL },
static const struct setting rows[] = { ROW("title", command.title, TEXT, "null", 0, 0, NULL) ROW(
	"role", command.role, CHOICE, "driver", 0, 0, &RULE_ROLE) ROW("ttl", command.ttl_seconds, SECONDS, "2m", S(1),
	H(168), NULL) ROW("max_ttl", command.max_ttl_seconds, SECONDS, "24h", S(1), H(168), NULL) ROW("timeout",
	command.timeout_seconds, SECONDS, "20s", S(1), H(24), NULL) ROW("wake", command.wake, BOOLEAN, "true", 0, 0,
	NULL) ROW("redelivery", command.redelivery, CHOICE, "on_reconnect", 0, 0, &RULE_REDELIVERY)
		ROW("supersedes", command.supersedes, TEXTS, "[]", 0, 0, &RULE_NAME)
			ROW("step_up", command.step_up_seconds, SECONDS, "null", S(1), H(24 * 365), NULL)
				ROW("params", params, VALUE, "null", 0, 0, NULL) };
static const struct setting_table COMMAND_TABLE = { rows, sizeof(rows) / sizeof(*rows), sizeof(struct draft) };

/* The file has one key. */
static const struct setting root_rows[] = { { .path = "commands", .type = SETTING_VALUE } };
static const struct setting_table ROOT_TABLE = { root_rows, 1, sizeof(const struct value *) };

static void write_texts(struct catalog_command *c);
static bool read_commands(struct catalog *c, const char *file, struct config_error *error);
static bool read_command(struct catalog *c, const struct settings_reading *r, const struct value *v);
static bool check_supersedes(const struct catalog *c, const struct settings_reading *r, const struct value *map);
static int compare(const void *a, const void *b);
static char *to_json(const struct catalog *c);

/* making */

const struct catalog *catalog_read(const char *file, struct config_error *ret)
{
	struct catalog *c = memory_new(sizeof(*c));

	c->doc = document_new();
	if (read_commands(c, file, ret)) {
		for (size_t i = 0; i < c->count; i++)
			write_texts(&c->commands[i]);
		c->json = to_json(c);
		return c;
	}
	catalog_free(c);
	return NULL;
}

void catalog_free(const struct catalog *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->count; i++) {
		catalog_params_free(&c->commands[i]);
		free(c->commands[i].supersedes_list);
		free(c->commands[i].said);
	}
	document_free(c->doc);
	free(c->json);
	free((void *)(uintptr_t)c);
}

static bool read_commands(struct catalog *c, const char *file, struct config_error *error)
{
	const struct settings_reading r = { .doc = c->doc, .folder = ".", .error = error };
	const struct value *root = document_read_file(c->doc, file, error), *map;

	if (!root || !settings_read(&r, &ROOT_TABLE, root, "", &map))
		return false;
	if (map->kind != VALUE_MAP)
		return setting_refuse(&r, map, "commands", "must be a map of commands, not %s", value_kind_name(map));
	c->commands = document_keep(c->doc, value_count(map) * sizeof(*c->commands));
	for (const struct value *v = map->first; v; v = v->next)
		if (!read_command(c, &r, v))
			return false;
	if (c->count)
		qsort(c->commands, c->count, sizeof(*c->commands), compare);
	return check_supersedes(c, &r, map);
}

static bool read_command(struct catalog *c, const struct settings_reading *r, const struct value *v)
{
	struct catalog_command *command = &c->commands[c->count++];
	struct draft d = { 0 };
	char name[256], params[300];

	snprintf(name, sizeof(name), "commands.%.200s", v->key);
	if (!catalog_is_name(v->key))
		return setting_refuse(r, v, name, "is no name of a command: 1 to 64 letters, digits, dots, _ or -");
	if (!settings_read(r, &COMMAND_TABLE, v, name, &d))
		return false;
	*command = d.command;
	command->name = v->key;
	if (!command->title)
		command->title = v->key;
	if (command->ttl_seconds > command->max_ttl_seconds)
		return setting_refuse(r, v, name, "ttl must not be greater than max_ttl");
	snprintf(params, sizeof(params), "%s.params", name);
	return catalog_params_read(r, d.params, params, command);
}

static bool check_supersedes(const struct catalog *c, const struct settings_reading *r, const struct value *map)
{
	char name[96];

	for (const struct value *v = map->first; v; v = v->next) {
		const struct catalog_command *command = catalog_find(c, v->key);
		snprintf(name, sizeof(name), "commands.%s", v->key);
		for (size_t i = 0; i < command->supersedes.count; i++)
			if (!catalog_find(c, command->supersedes.items[i]))
				return setting_refuse(r, v, name, "supersedes %s, which the catalogue does not have",
					command->supersedes.items[i]);
	}
	return true;
}

static int compare(const void *a, const void *b)
{
	const struct catalog_command *left = a, *right = b;

	return strcmp(left->name, right->name);
}

/* asking */

const struct catalog_command *catalog_find(const struct catalog *c, const char *name)
{
	const struct catalog_command key = { .name = name };

	return c->count ? bsearch(&key, c->commands, c->count, sizeof(*c->commands), compare) : NULL;
}

size_t catalog_count(const struct catalog *c)
{
	return c->count;
}

const struct catalog_command *catalog_at(const struct catalog *c, size_t index)
{
	return &c->commands[index];
}

static json_t *supersedes_json(const struct catalog_command *c)
{
	json_t *names = memory_need(json_array());

	for (size_t i = 0; i < c->supersedes.count; i++)
		json_array_append_new(names, json_string(c->supersedes.items[i]));
	return names;
}

static void write_texts(struct catalog_command *c)
{
	struct text names = { 0 };
	json_auto_t *said = memory_need(
		json_pack("{s:s, s:s, s:s, s:i, s:i, s:b, s:o}", "title", c->title, "role", catalog_role_name(c->role),
			"redelivery", catalog_redelivery_name(c->redelivery), "ttl_seconds", c->ttl_seconds,
			"timeout_seconds", c->timeout_seconds, "wake", c->wake, "supersedes", supersedes_json(c)));

	for (size_t i = 0; i < c->supersedes.count; i++)
		text_addf(&names, "%s%s", i ? "," : "", c->supersedes.items[i]);
	c->supersedes_list = text_take(&names);
	c->said = json_canonical(said);
}

static json_t *command_to_json(const struct catalog_command *c)
{
	return memory_need(json_pack("{s:s, s:s, s:i, s:i, s:i, s:b, s:s, s:o, s:o, s:o}", "title", c->title, "role",
		catalog_role_name(c->role), "ttl_seconds", c->ttl_seconds, "max_ttl_seconds", c->max_ttl_seconds,
		"timeout_seconds", c->timeout_seconds, "wake", c->wake, "redelivery",
		catalog_redelivery_name(c->redelivery), "supersedes", supersedes_json(c), "step_up_seconds",
		c->step_up_seconds ? json_integer(c->step_up_seconds) : json_null(), "params",
		catalog_params_schema(c)));
}

static char *to_json(const struct catalog *c)
{
	json_t *commands = memory_need(json_object());

	for (size_t i = 0; i < c->count; i++)
		json_object_set_new(commands, c->commands[i].name, command_to_json(&c->commands[i]));
	json_auto_t *all = memory_need(json_pack("{s:o}", "commands", commands));
	return memory_need(json_dumps(all, JSON_COMPACT));
}

const char *catalog_json(const struct catalog *c)
{
	return c->json;
}

const char *catalog_role_name(enum catalog_role role)
{
	return roles[role];
}

const char *catalog_redelivery_name(enum catalog_redelivery redelivery)
{
	return redeliveries[redelivery];
}

bool catalog_is_name(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	return len > 0 && len <= 64 && !name[len];
}
