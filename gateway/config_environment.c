/* config_environment.c - KEYFOB_… variables laid over the configuration file. */
#include "gateway/config_environment.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "gateway/config_error.h"
#include "gateway/config_lists.h"
#include "gateway/config_table.h"
#include "gateway/document.h"

#define PREFIX "KEYFOB_"
#define PREFIX_LEN (sizeof(PREFIX) - 1)
#define NAME_SIZE 128
#define PATH_SIZE 128
#define DEPTH_MAX 4

/* What a variable's name stands for. */
struct target {
	char path[PATH_SIZE];
	int depth; /* how many keys; 0: it names no setting */
	bool structured;
};

static struct target find_target(const char *name);
static bool name_is_path(const char *name, const char *path, size_t len, const char *suffix);
static struct target target_of(const char *path, size_t len, const char *suffix, bool structured);
static bool is_for_the_command_line(const char *name);
static void warn(struct document *doc, struct texts *warnings, const char *name);
static bool lay(struct document *doc, struct value *root, const char *name, const char *text,
	const struct target *target, struct config_error *error);
static void drop_other_spelling(struct value *root, const char *path);

/* Sections before what is in them. */
bool config_lay_environment(struct document *doc, struct value *root, char *const *environment, struct texts *warnings,
	struct config_error *error)
{
	char name[NAME_SIZE];

	for (int depth = 0; depth <= DEPTH_MAX; depth++)
		for (char *const *variable = environment; variable && *variable; variable++) {
			const char *equals = strchr(*variable, '=');
			if (!equals || strncmp(*variable, PREFIX, PREFIX_LEN) != 0)
				continue;
			snprintf(name, sizeof(name), "%.*s", (int)(equals - *variable), *variable);
			const struct target target = find_target(name);
			if (target.depth != depth || is_for_the_command_line(name))
				continue;
			if (depth == 0)
				warn(doc, warnings, name);
			else if (!lay(doc, root, name, equals + 1, &target, error))
				return false;
		}
	return true;
}

/* `keyfob` reads these; whoever has them set may start a node as well. */
static bool is_for_the_command_line(const char *name)
{
	return strcmp(name, PREFIX "URL") == 0 || strcmp(name, PREFIX "TOKEN") == 0;
}

static struct target find_target(const char *name)
{
	for (size_t i = 0; i < CONFIG_TABLE.count; i++) {
		const struct setting *s = &CONFIG_TABLE.rows[i];
		size_t len = strlen(s->path);
		if (name_is_path(name, s->path, len, ""))
			return target_of(s->path, len, "", setting_is_structured(s));
		if (s->type == SETTING_SECRET && name_is_path(name, s->path, len, "_file"))
			return target_of(s->path, len, "_file", false);
		for (const char *dot = strchr(s->path, '.'); dot; dot = strchr(dot + 1, '.'))
			if (name_is_path(name, s->path, (size_t)(dot - s->path), ""))
				return target_of(s->path, (size_t)(dot - s->path), "", true);
	}
	return (struct target){ .depth = 0 };
}

/* Whether `name` is KEYFOB_ and `path`, of which `len` letters count, and `suffix`. */
static bool name_is_path(const char *name, const char *path, size_t len, const char *suffix)
{
	char expected[NAME_SIZE];

	snprintf(expected, sizeof(expected), PREFIX "%.*s%s", (int)len, path, suffix);
	for (char *c = expected; *c; c++)
		*c = *c == '.' ? '_' : (char)toupper((unsigned char)*c);
	return strcmp(name, expected) == 0;
}

static struct target target_of(const char *path, size_t len, const char *suffix, bool structured)
{
	struct target t = { .depth = 1, .structured = structured };

	snprintf(t.path, sizeof(t.path), "%.*s%s", (int)len, path, suffix);
	for (const char *c = t.path; *c; c++)
		t.depth += *c == '.';
	return t;
}

/* The value may be a secret whose variable was misspelt. */
static void warn(struct document *doc, struct texts *warnings, const char *name)
{
	char sentence[NAME_SIZE + 64];

	snprintf(sentence, sizeof(sentence), "%s names no setting and is ignored", name);
	config_warn(doc, warnings, sentence);
}

void config_warn(struct document *doc, struct texts *warnings, const char *sentence)
{
	const char **items = document_keep(doc, (warnings->count + 1) * sizeof(*items));

	if (warnings->count)
		memcpy(items, warnings->items, warnings->count * sizeof(*items));
	items[warnings->count++] = document_keep_text(doc, sentence, strlen(sentence));
	warnings->items = items;
}

static bool lay(struct document *doc, struct value *root, const char *name, const char *text,
	const struct target *target, struct config_error *error)
{
	struct value *v =
		target->structured ? document_read_json(doc, name, text, error) : document_bare(doc, name, text);

	if (!v)
		return false;
	drop_other_spelling(root, target->path);
	if (value_put(doc, root, target->path, v))
		return true;
	config_error_set(error, name, 0, target->path, "the file has something else than a map of keys above it");
	return false;
}

/* A secret's variable also overrides the other way to give it in the file: "x" and "x_file" are one setting. */
static void drop_other_spelling(struct value *root, const char *path)
{
	size_t len = strlen(path);
	char other[PATH_SIZE + 8];
	bool is_file = len > 5 && strcmp(path + len - 5, "_file") == 0;

	snprintf(other, sizeof(other), is_file ? "%.*s" : "%.*s_file", (int)(is_file ? len - 5 : len), path);
	const struct value *v = value_at(root, other);
	if (v && v->line)
		value_remove(root, other);
}
