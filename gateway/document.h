/* document.h - a YAML or JSON text as a tree of values, each of which knows where it came from.
 *
 * Strict where YAML is lax: one document, no aliases, no tags, no key twice, nested no deeper than 16, no
 * NUL in a text, and only `true` and `false` are booleans (YAML 1.2 §10.3). A document owns its values
 * and whatever else is kept in it, until document_free(). */
#ifndef KEYFOB_GATEWAY_DOCUMENT_H
#define KEYFOB_GATEWAY_DOCUMENT_H

#include <stdbool.h>
#include <stddef.h>

struct config_error;
struct document;

enum value_kind {
	VALUE_NULL,
	VALUE_BOOLEAN,
	VALUE_INTEGER,
	VALUE_NUMBER, /* not whole */
	VALUE_TEXT,   /* quoted, or plain and none of the above */
	VALUE_BARE,   /* from the environment: a text that may be meant as any scalar */
	VALUE_LIST,
	VALUE_MAP,
};

struct value {
	enum value_kind kind;
	const char *source;  /* the file's name, or the variable's */
	int line;	     /* 0: none */
	const char *key;     /* in a map */
	const char *text;    /* scalars, as written; NULL for lists and maps */
	struct value *first; /* lists and maps */
	struct value *next;
};

/* making */
struct document *document_new(void);
void document_free(struct document *);

/* Each returns NULL and sets the error when the text is not what it should be. An empty file is an empty map. */
struct value *document_read_file(struct document *, const char *file, struct config_error *);
struct value *document_read_yaml(
	struct document *, const char *source, const char *text, size_t len, struct config_error *);
struct value *document_read_json(struct document *, const char *source, const char *text, struct config_error *);
struct value *document_bare(struct document *, const char *source, const char *text);

/* Zeroed memory, and copies, that live as long as the document. Never NULL. */
void *document_keep(struct document *, size_t size);
const char *document_keep_text(struct document *, const char *text, size_t len);

/* asking */
/* What is at "a.b.c" below a map; NULL when there is nothing. */
struct value *value_at(const struct value *map, const char *path);
size_t value_count(const struct value *); /* of a list's or map's members */
bool value_is_scalar(const struct value *);
/* "a list", "a number", …: what the value is, for an error. */
const char *value_kind_name(const struct value *);

/* changing */
/* Puts `value` at `path` below `map`, in place of what is there; makes the maps between. False when something
 * between is no map. */
bool value_put(struct document *, struct value *map, const char *path, struct value *value);
void value_remove(struct value *map, const char *path);

#endif
