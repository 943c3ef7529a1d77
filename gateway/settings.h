/* settings.h - from a document to a struct, by a table: a row a setting.
 *
 * A row says where the setting stands in the document, which member of the struct it fills, what it may
 * be, and the sentence that the manual prints of it. Reading refuses whatever the table does not know.
 * The configuration and the catalogue are read so. */
#ifndef KEYFOB_GATEWAY_SETTINGS_H
#define KEYFOB_GATEWAY_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config_error;
struct document;
struct setting_table;
struct value;

/* What a setting is, and the member that it fills. */
enum setting_type {
	SETTING_TEXT,	   /* const char * */
	SETTING_SECRET,	   /* const char *; "x" may be given as "x_file", whose content it is then */
	SETTING_FILE,	   /* const char *; must be readable */
	SETTING_FOLDER,	   /* const char *; must exist */
	SETTING_CHOICE,	   /* an enum: the index of the name in rule->names */
	SETTING_INTEGER,   /* int */
	SETTING_SIZE,	   /* size_t, bytes */
	SETTING_DURATION,  /* int64_t, milliseconds */
	SETTING_SECONDS,   /* int, whole seconds; a duration likewise; 0 for null */
	SETTING_FRACTION,  /* double, 0 to 1 */
	SETTING_RATE,	   /* double, per second; 0: no limit */
	SETTING_BOOLEAN,   /* bool */
	SETTING_TEXTS,	   /* struct texts */
	SETTING_ADDRESSES, /* struct addresses */
	SETTING_NUMBERS,   /* struct numbers */
	SETTING_CHOICES,   /* struct numbers: indices as of SETTING_CHOICE, none twice */
	SETTING_PAIRS,	   /* struct pairs */
	SETTING_GROUPS,	   /* struct { const T *items; size_t count; }, each T by rule->table */
	SETTING_VALUE,	   /* const struct value *: whoever reads the struct looks further; NULL when absent */
	SETTING_TYPE_COUNT
};

/* What a value must be besides its type. */
struct setting_rule {
	const char *what;	      /* "must be …" */
	bool (*is)(const char *text); /* of each text (of pairs: each key); NULL: any */
	const char *const *names;     /* NULL-terminated; NULL: any */
	const struct setting_table *table;
};

struct setting {
	const char *path; /* "http.tls.key" */
	enum setting_type type;
	size_t offset;
	const char *initial; /* the default, as YAML; NULL: it must be given */
	int64_t min, max;    /* in the member's unit; of seconds: milliseconds. Both 0: any */
	const struct setting_rule *rule;
	bool reloadable;
	const char *sentence; /* for the manual */
};

struct setting_table {
	const struct setting *rows;
	size_t count;
	size_t size; /* of the struct that it fills */
};

struct settings_reading {
	struct document *doc; /* owns what the struct points to */
	const char *folder;   /* where relative paths begin */
	struct config_error *error;
	bool names_only; /* files, folders and secrets are named, not looked at: they may be bad, or gone */
};

/* Fills `into` from `map`. `path` is where the map stands, for the errors; "" for the root. */
bool settings_read(const struct settings_reading *, const struct setting_table *, const struct value *map,
	const char *path, void *into);
/* Fills one member. `name` is how the error calls it. */
bool setting_read(
	const struct settings_reading *, const struct setting *, const struct value *, const char *name, void *member);
/* "must be given" and the like; returns false. */
bool setting_refuse(const struct settings_reading *, const struct value *, const char *name, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Whether the environment gives it as JSON. */
bool setting_is_structured(const struct setting *);
bool setting_is_nullable(const struct setting *);
/* What it may be, for the manual and the errors: "a duration from 1s to 24h". The result is `out`. */
const char *setting_describe(const struct setting *, char *out, size_t size);

/* `folder`/`path`, or `path` when it is absolute. Kept in the document. */
const char *settings_resolve(const struct settings_reading *, const char *path);

#endif
