/* settings.c - from a document to a struct, by a table: walks the rows, and refuses the keys that no row knows. */
#include "gateway/settings.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "gateway/config_error.h"
#include "gateway/document.h"
#include "gateway/spelling.h"

#define PATH_SIZE 256
#define NAME_SIZE 512 /* a path below another */
#define SECRET_SIZE ((size_t)16 << 10)

/* One table read into one struct. */
struct walk {
	const struct settings_reading *reading;
	const struct setting_table *table;
	const struct value *map;
	const char *path; /* of the map in the document, "" for the root */
	char *into;
};

static bool check_keys(const struct walk *w, const struct value *map, const char *below);
static bool check_key(const struct walk *w, const struct value *v, const char *path);
static bool refuse_unknown(const struct walk *w, const struct value *v, const char *path);
static bool read_row(const struct walk *w, const struct setting *s);
static bool choose_secret(const struct walk *w, const struct setting *s, const struct value **v, char *name);
static struct value *read_secret(const struct walk *w, const char *path, const struct value *file, const char *name);
static struct value *initial_value(const struct walk *w, const struct setting *s);
static struct value nearest(const struct walk *w, const char *path);
static void full_name(const struct walk *w, const char *path, char name[NAME_SIZE]);

bool settings_read(const struct settings_reading *reading, const struct setting_table *table, const struct value *map,
	const char *path, void *into)
{
	struct walk w = { reading, table, map, path, into };

	if (map->kind != VALUE_MAP && map->kind != VALUE_NULL)
		return setting_refuse(reading, map, path, "must be a map of keys, not %s", value_kind_name(map));
	if (!check_keys(&w, map, ""))
		return false;
	for (size_t i = 0; i < table->count; i++)
		if (!read_row(&w, &table->rows[i]))
			return false;
	return true;
}

/* the keys */

static bool check_keys(const struct walk *w, const struct value *map, const char *below)
{
	char path[PATH_SIZE];

	for (const struct value *v = map->first; v; v = v->next) {
		snprintf(path, sizeof(path), "%s%s%s", below, *below ? "." : "", v->key);
		/* a dot inside a key would look like a section of its own */
		bool known = strlen(v->key) < 64 && !strchr(v->key, '.');
		if (known ? !check_key(w, v, path) : !refuse_unknown(w, v, path))
			return false;
	}
	return true;
}

static bool is_row(const struct setting *s, const char *path)
{
	size_t len = strlen(s->path);

	if (strncmp(s->path, path, len) != 0)
		return false;
	return !path[len] || (s->type == SETTING_SECRET && strcmp(path + len, "_file") == 0);
}

static bool check_key(const struct walk *w, const struct value *v, const char *path)
{
	size_t len = strlen(path);
	bool is_section = false;
	char name[NAME_SIZE];

	for (size_t i = 0; i < w->table->count; i++) {
		if (is_row(&w->table->rows[i], path))
			return true;
		is_section |= strncmp(w->table->rows[i].path, path, len) == 0 && w->table->rows[i].path[len] == '.';
	}
	if (!is_section)
		return refuse_unknown(w, v, path);
	full_name(w, path, name);
	if (v->kind != VALUE_MAP && v->kind != VALUE_NULL)
		return setting_refuse(w->reading, v, name, "must be a map of keys, not %s", value_kind_name(v));
	return check_keys(w, v, path);
}

/* The part of a row's path that stands at the place of the last key of `path`, and its length; 0: the row is elsewhere. */
static size_t sibling(const struct setting *s, const char *path, const char **ret_name)
{
	const char *dot = strrchr(path, '.');
	size_t below = dot ? (size_t)(dot - path) + 1 : 0;

	if (strncmp(s->path, path, below) != 0)
		return 0;
	*ret_name = s->path + below;
	return strcspn(*ret_name, ".");
}

static bool refuse_unknown(const struct walk *w, const struct value *v, const char *path)
{
	size_t best = strlen(v->key) / 3 + 2, best_len = 0; /* further away is no likeness */
	const char *meant = NULL, *candidate;
	char name[NAME_SIZE];

	for (size_t i = 0; i < w->table->count; i++) {
		size_t len = sibling(&w->table->rows[i], path, &candidate);
		size_t distance = len ? spelling_distance(v->key, candidate, len) : best;
		if (distance < best) {
			best = distance;
			best_len = len;
			meant = candidate;
		}
	}
	full_name(w, path, name);
	if (!meant)
		return setting_refuse(w->reading, v, name, "is not a known key");
	return setting_refuse(w->reading, v, name, "is not a known key; is %.*s meant?", (int)best_len, meant);
}

/* the rows */

static bool read_row(const struct walk *w, const struct setting *s)
{
	const struct value *v = value_at(w->map, s->path);
	char name[NAME_SIZE];

	full_name(w, s->path, name);
	if (s->type == SETTING_SECRET && !choose_secret(w, s, &v, name))
		return false;
	if (!v && w->reading->names_only && s->type == SETTING_SECRET)
		return true;
	if (!v && !s->initial) {
		struct value place = nearest(w, s->path);
		return setting_refuse(w->reading, &place, name, "must be given: it has no default");
	}
	if (!v)
		v = initial_value(w, s);
	return setting_read(w->reading, s, v, name, w->into + s->offset);
}

/* A secret stands at its own key or, as a file's name, at the one with _file: then *v is what is in the file; NULL when
 * that is not asked for. */
static bool choose_secret(const struct walk *w, const struct setting *s, const struct value **v, char *name)
{
	char file_path[PATH_SIZE], file_name[NAME_SIZE];
	const char *secret;

	snprintf(file_path, sizeof(file_path), "%s_file", s->path);
	full_name(w, file_path, file_name);
	const struct value *file = value_at(w->map, file_path);
	if (!file || file->kind == VALUE_NULL || (file->kind == VALUE_BARE && !*file->text))
		return true;
	if (*v && (*v)->kind != VALUE_NULL)
		return setting_refuse(w->reading, file, file_name, "and %s are both given; leave one out", name);
	if (!setting_read(w->reading, &(struct setting){ .type = SETTING_FILE }, file, file_name, &secret))
		return false;
	snprintf(name, NAME_SIZE, "%s", file_name);
	*v = NULL;
	if (w->reading->names_only)
		return true;
	*v = read_secret(w, secret, file, file_name);
	return *v != NULL;
}

/* The file's content without the line break that editors leave at its end. */
static struct value *read_secret(const struct walk *w, const char *path, const struct value *file, const char *name)
{
	char content[SECRET_SIZE];
	FILE *f = fopen(path, "re");
	size_t len = f ? fread(content, 1, sizeof(content), f) : 0;
	bool failed = !f || ferror(f);

	if (f)
		fclose(f);
	while (len > 0 && len < sizeof(content) && (content[len - 1] == '\n' || content[len - 1] == '\r'))
		len--;
	if (failed || len == 0 || len == sizeof(content) || memchr(content, '\0', len)) {
		setting_refuse(w->reading, file, name, "names %s, which must hold a text of at most 16 KiB", path);
		return NULL;
	}
	struct value *v = document_bare(w->reading->doc, file->source, "");
	v->line = file->line;
	v->kind = VALUE_TEXT;
	v->text = document_keep_text(w->reading->doc, content, len);
	explicit_bzero(content, sizeof(content));
	return v;
}

/* The default goes the way of every value. */
static struct value *initial_value(const struct walk *w, const struct setting *s)
{
	struct document *doc = w->reading->doc;
	struct value *v = document_read_yaml(doc, w->map->source, s->initial, strlen(s->initial), w->reading->error);

	assert(v);
	v->line = nearest(w, s->path).line;
	return v;
}

/* Where the innermost section begins that the file has of `path`: the line to name when the rest is missing. */
static struct value nearest(const struct walk *w, const char *path)
{
	struct value place = { .source = w->map->source, .line = w->map->line };
	char section[PATH_SIZE];

	for (const char *dot = strchr(path, '.'); dot; dot = strchr(dot + 1, '.')) {
		snprintf(section, sizeof(section), "%.*s", (int)(dot - path), path);
		const struct value *v = value_at(w->map, section);
		if (v && v->line)
			place.line = v->line;
	}
	return place;
}

bool setting_refuse(
	const struct settings_reading *reading, const struct value *v, const char *name, const char *format, ...)
{
	char what[768];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	config_error_set(reading->error, v->source, v->line, name, "%s", what);
	return false;
}

static void full_name(const struct walk *w, const char *path, char name[NAME_SIZE])
{
	snprintf(name, NAME_SIZE, "%s%s%s", w->path, *w->path ? "." : "", path);
}
