/* document.c - a YAML or JSON text as a tree of values, each of which knows where it came from. */
#include "gateway/document.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/memory.h"
#include "gateway/config_error.h"

#define DEPTH_MAX 16
#define FILE_SIZE_MAX ((size_t)1 << 20)

struct block {
	struct block *next;
	max_align_t data[];
};

struct document {
	struct block *blocks;
};

/* One parse: libyaml's events become values. */
struct reading {
	struct document *doc;
	const char *source, *text;
	struct config_error *error;
	yaml_parser_t parser;
	yaml_event_t event; /* the one under the finger */
};

static char *read_whole(const char *file, size_t *ret_len, struct config_error *error);
static struct value *read_stream(struct reading *r);
static bool advance(struct reading *r);
static struct value *read_value(struct reading *r, int depth);
static struct value *read_scalar(struct reading *r);
static struct value *read_list(struct reading *r, int depth);
static struct value *read_map(struct reading *r, int depth);
static const char *read_key(struct reading *r, const struct value *map);
static struct value *json_value(struct document *doc, const char *source, json_t *json, int depth);
static struct value *value_new(struct document *doc, const char *source, enum value_kind kind, int line);
static enum value_kind plain_kind(const char *text);
static struct value *member(const struct value *map, const char *key, size_t len);
static void append(struct value *parent, struct value *child);

/* making */

struct document *document_new(void)
{
	return memory_new(sizeof(struct document));
}

void document_free(struct document *doc)
{
	if (!doc)
		return;
	for (struct block *b = doc->blocks, *next; b; b = next) {
		next = b->next;
		free(b);
	}
	free(doc);
}

void *document_keep(struct document *doc, size_t size)
{
	struct block *b = memory_new(sizeof(*b) + size);

	b->next = doc->blocks;
	doc->blocks = b;
	return b->data;
}

const char *document_keep_text(struct document *doc, const char *text, size_t len)
{
	return memcpy(document_keep(doc, len + 1), text, len);
}

struct value *document_bare(struct document *doc, const char *source, const char *text)
{
	struct value *v = value_new(doc, document_keep_text(doc, source, strlen(source)), VALUE_BARE, 0);

	v->text = document_keep_text(doc, text, strlen(text));
	return v;
}

struct value *document_read_file(struct document *doc, const char *file, struct config_error *error)
{
	size_t len = 0;
	char *text = read_whole(file, &len, error);

	if (!text)
		return NULL;
	struct value *root = document_read_yaml(doc, file, text, len, error);
	free(text);
	return root;
}

static char *read_whole(const char *file, size_t *ret_len, struct config_error *error)
{
	FILE *f = fopen(file, "re");
	char *text = memory_new(FILE_SIZE_MAX + 1);
	size_t len = 0;

	if (f)
		len = fread(text, 1, FILE_SIZE_MAX + 1, f);
	if (!f || ferror(f))
		config_error_set(error, file, 0, NULL, "cannot be read: %s", strerror(errno));
	else if (len > FILE_SIZE_MAX)
		config_error_set(error, file, 0, NULL, "is larger than 1 MiB");
	else
		*ret_len = len;
	bool good = f && !ferror(f) && len <= FILE_SIZE_MAX;
	if (f)
		fclose(f);
	if (good)
		return text;
	free(text);
	return NULL;
}

/* YAML */

struct value *document_read_yaml(
	struct document *doc, const char *source, const char *text, size_t len, struct config_error *error)
{
	struct reading r = {
		.doc = doc, .source = document_keep_text(doc, source, strlen(source)), .text = text, .error = error
	};

	memory_need(yaml_parser_initialize(&r.parser) ? &r : NULL);
	yaml_parser_set_input_string(&r.parser, (const yaml_char_t *)text, len);
	struct value *root = read_stream(&r);
	yaml_event_delete(&r.event);
	yaml_parser_delete(&r.parser);
	return root;
}

static int line_of(const struct reading *r)
{
	return (int)r->event.start_mark.line + 1;
}

/* stream start, document start, the value, document end, stream end: libyaml keeps this order itself */
static struct value *read_stream(struct reading *r)
{
	if (!advance(r) || !advance(r))
		return NULL;
	if (r->event.type == YAML_STREAM_END_EVENT)
		return value_new(r->doc, r->source, VALUE_MAP, 1);
	struct value *root = advance(r) ? read_value(r, 0) : NULL;
	if (!root || !advance(r) || !advance(r))
		return NULL;
	if (r->event.type == YAML_STREAM_END_EVENT)
		return root;
	config_error_set(r->error, r->source, line_of(r), NULL, "a second document begins here; there may be one");
	return NULL;
}

/* What is no text has an offset and no line. */
static size_t line_of_mistake(const struct reading *r)
{
	const yaml_parser_t *p = &r->parser;
	size_t line = 0;

	if (p->error != YAML_READER_ERROR)
		return p->problem_mark.line ? p->problem_mark.line : p->context_mark.line;
	for (size_t i = 0; i < p->problem_offset; i++)
		line += r->text[i] == '\n';
	return line;
}

static bool advance(struct reading *r)
{
	yaml_event_delete(&r->event);
	if (yaml_parser_parse(&r->parser, &r->event))
		return true;
	const yaml_parser_t *p = &r->parser;
	config_error_set(r->error, r->source, (int)line_of_mistake(r) + 1, NULL, "is not YAML: %s%s%s",
		p->context ? p->context : "", p->context ? ", " : "", p->problem ? p->problem : "unreadable");
	return false;
}

static const yaml_char_t *tag_of(const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_SCALAR_EVENT:
		return event->data.scalar.tag;
	case YAML_SEQUENCE_START_EVENT:
		return event->data.sequence_start.tag;
	case YAML_MAPPING_START_EVENT:
		return event->data.mapping_start.tag;
	default:
		return NULL;
	}
}

/* The event under the finger begins the value; afterwards it is the value's last. */
static struct value *read_value(struct reading *r, int depth)
{
	if (depth == DEPTH_MAX || tag_of(&r->event)) {
		config_error_set(r->error, r->source, line_of(r), NULL,
			depth == DEPTH_MAX ? "is nested too deeply" : "tags (!name) are not read: leave it out");
		return NULL;
	}
	switch (r->event.type) {
	case YAML_SCALAR_EVENT:
		return read_scalar(r);
	case YAML_SEQUENCE_START_EVENT:
		return read_list(r, depth);
	case YAML_MAPPING_START_EVENT:
		return read_map(r, depth);
	default:
		config_error_set(
			r->error, r->source, line_of(r), NULL, "aliases (*name) are not read: write the value out");
		return NULL;
	}
}

static struct value *read_scalar(struct reading *r)
{
	const char *text = (const char *)r->event.data.scalar.value;
	size_t len = r->event.data.scalar.length;
	bool plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;

	if (strlen(text) != len) {
		config_error_set(r->error, r->source, line_of(r), NULL, "has a NUL character in a text");
		return NULL;
	}
	struct value *v = value_new(r->doc, r->source, plain ? plain_kind(text) : VALUE_TEXT, line_of(r));
	v->text = document_keep_text(r->doc, text, len);
	return v;
}

static struct value *read_list(struct reading *r, int depth)
{
	struct value *list = value_new(r->doc, r->source, VALUE_LIST, line_of(r));

	while (advance(r)) {
		if (r->event.type == YAML_SEQUENCE_END_EVENT)
			return list;
		struct value *v = read_value(r, depth + 1);
		if (!v)
			return NULL;
		append(list, v);
	}
	return NULL;
}

static struct value *read_map(struct reading *r, int depth)
{
	struct value *map = value_new(r->doc, r->source, VALUE_MAP, line_of(r));

	while (advance(r)) {
		if (r->event.type == YAML_MAPPING_END_EVENT)
			return map;
		const char *key = read_key(r, map);
		struct value *v = key && advance(r) ? read_value(r, depth + 1) : NULL;
		if (!v)
			return NULL;
		v->key = key;
		append(map, v);
	}
	return NULL;
}

static const char *read_key(struct reading *r, const struct value *map)
{
	if (r->event.type != YAML_SCALAR_EVENT) {
		config_error_set(r->error, r->source, line_of(r), NULL, "a key must be a plain word");
		return NULL;
	}
	const char *key = (const char *)r->event.data.scalar.value;
	size_t len = r->event.data.scalar.length;
	if (strlen(key) != len || member(map, key, len)) {
		config_error_set(r->error, r->source, line_of(r), key, "is there twice");
		return NULL;
	}
	return document_keep_text(r->doc, key, len);
}

/* What a plain scalar is, by YAML 1.2 §10.3.2, without octal, hexadecimal and the infinities. */
static enum value_kind plain_kind(const char *text)
{
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL" };
	static const char *const booleans[] = { "true", "True", "TRUE", "false", "False", "FALSE" };
	const char *digits = text + (*text == '-' || *text == '+');
	char *end;

	for (size_t i = 0; i < sizeof(nulls) / sizeof(*nulls); i++)
		if (strcmp(text, nulls[i]) == 0)
			return VALUE_NULL;
	for (size_t i = 0; i < sizeof(booleans) / sizeof(*booleans); i++)
		if (strcmp(text, booleans[i]) == 0)
			return VALUE_BOOLEAN;
	if (*digits && strspn(digits, "0123456789") == strlen(digits))
		return VALUE_INTEGER;
	if (strspn(digits, "0123456789.eE+-") != strlen(digits) || !strpbrk(digits, "0123456789"))
		return VALUE_TEXT;
	strtod(text, &end);
	return *end ? VALUE_TEXT : VALUE_NUMBER;
}

/* JSON */

struct value *document_read_json(struct document *doc, const char *source, const char *text, struct config_error *error)
{
	json_error_t why;
	json_t *json = json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);

	if (!json) {
		config_error_set(error, source, 0, NULL, "is not JSON: %s", why.text);
		return NULL;
	}
	struct value *v = json_value(doc, document_keep_text(doc, source, strlen(source)), json, 0);
	json_decref(json);
	if (!v)
		config_error_set(error, source, 0, NULL, "is nested too deeply");
	return v;
}

static struct value *json_scalar(struct document *doc, const char *source, const json_t *json)
{
	static const enum value_kind kinds[] = {
		[JSON_STRING] = VALUE_TEXT,
		[JSON_INTEGER] = VALUE_INTEGER,
		[JSON_REAL] = VALUE_NUMBER,
		[JSON_TRUE] = VALUE_BOOLEAN,
		[JSON_FALSE] = VALUE_BOOLEAN,
		[JSON_NULL] = VALUE_NULL,
	};
	struct value *v = value_new(doc, source, kinds[json_typeof(json)], 0);
	char *dump =
		json_is_string(json) ? NULL : memory_need(json_dumps(json, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15)));
	const char *text = dump ? dump : json_string_value(json);

	v->text = document_keep_text(doc, text, strlen(text));
	free(dump);
	return v;
}

static struct value *json_list(struct document *doc, const char *source, const json_t *json, int depth)
{
	struct value *list = value_new(doc, source, VALUE_LIST, 0);

	for (size_t i = 0; i < json_array_size(json); i++) {
		struct value *item = json_value(doc, source, json_array_get(json, i), depth + 1);
		if (!item)
			return NULL;
		append(list, item);
	}
	return list;
}

static struct value *json_map(struct document *doc, const char *source, json_t *json, int depth)
{
	struct value *map = value_new(doc, source, VALUE_MAP, 0);
	const char *key;
	json_t *json_member;

	json_object_foreach (json, key, json_member) {
		struct value *v = json_value(doc, source, json_member, depth + 1);
		if (!v)
			return NULL;
		v->key = document_keep_text(doc, key, strlen(key));
		append(map, v);
	}
	return map;
}

static struct value *json_value(struct document *doc, const char *source, json_t *json, int depth)
{
	if (depth == DEPTH_MAX)
		return NULL;
	if (json_is_array(json))
		return json_list(doc, source, json, depth);
	if (json_is_object(json))
		return json_map(doc, source, json, depth);
	return json_scalar(doc, source, json);
}

/* asking */

struct value *value_at(const struct value *map, const char *path)
{
	for (;;) {
		size_t len = strcspn(path, ".");
		struct value *v = map->kind == VALUE_MAP ? member(map, path, len) : NULL;
		if (!v || !path[len])
			return v;
		map = v;
		path += len + 1;
	}
}

size_t value_count(const struct value *v)
{
	size_t count = 0;

	for (const struct value *child = v->first; child; child = child->next)
		count++;
	return count;
}

bool value_is_scalar(const struct value *v)
{
	return v->kind != VALUE_LIST && v->kind != VALUE_MAP;
}

const char *value_kind_name(const struct value *v)
{
	static const char *const names[] = {
		[VALUE_NULL] = "null",
		[VALUE_BOOLEAN] = "a boolean",
		[VALUE_INTEGER] = "a number",
		[VALUE_NUMBER] = "a number",
		[VALUE_TEXT] = "a text",
		[VALUE_BARE] = "a text",
		[VALUE_LIST] = "a list",
		[VALUE_MAP] = "a map",
	};

	return names[v->kind];
}

/* changing */

bool value_put(struct document *doc, struct value *map, const char *path, struct value *value)
{
	size_t len = strcspn(path, ".");

	if (map->kind == VALUE_NULL)
		*map = (struct value){ VALUE_MAP, map->source, map->line, map->key, NULL, NULL, map->next };
	if (map->kind != VALUE_MAP)
		return false;
	struct value *there = member(map, path, len);
	if (path[len] && !there) {
		there = value_new(doc, value->source, VALUE_MAP, value->line);
		there->key = document_keep_text(doc, path, len);
		append(map, there);
	}
	if (path[len])
		return value_put(doc, there, path + len + 1, value);
	value_remove(map, path);
	value->key = document_keep_text(doc, path, len);
	append(map, value);
	return true;
}

void value_remove(struct value *map, const char *path)
{
	const char *dot = strrchr(path, '.');
	const char *key = dot ? dot + 1 : path;

	if (dot) {
		char parent[128];
		if ((size_t)(dot - path) >= sizeof(parent))
			return;
		snprintf(parent, sizeof(parent), "%.*s", (int)(dot - path), path);
		map = value_at(map, parent);
	}
	for (struct value **at = map ? &map->first : NULL; at && *at; at = &(*at)->next)
		if ((*at)->key && strcmp((*at)->key, key) == 0) {
			*at = (*at)->next;
			return;
		}
}

static struct value *value_new(struct document *doc, const char *source, enum value_kind kind, int line)
{
	struct value *v = document_keep(doc, sizeof(*v));

	v->kind = kind;
	v->source = source;
	v->line = line;
	return v;
}

static struct value *member(const struct value *map, const char *key, size_t len)
{
	for (struct value *v = map->first; v; v = v->next)
		if (v->key && strncmp(v->key, key, len) == 0 && !v->key[len])
			return v;
	return NULL;
}

static void append(struct value *parent, struct value *child)
{
	struct value **end = &parent->first;

	while (*end)
		end = &(*end)->next;
	*end = child;
}
