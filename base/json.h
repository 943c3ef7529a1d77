/* json.h - what jansson lacks: reading what strangers sent, merge patches, and text building. */
#ifndef KEYFOB_BASE_JSON_H
#define KEYFOB_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A stranger's JSON text: UTF-8, no duplicate keys, nested no deeper than 32, no NUL in strings.
 * NULL when it is not; the caller owns the result. */
json_t *json_read(const char *text, size_t len);
/* RFC 7396; neither argument is changed, the caller owns the result. `target` may be NULL: absent. */
json_t *json_merge_patch(const json_t *target, const json_t *patch);
/* The smallest merge patch that makes `from` into `to`; NULL when they are equal. The caller owns it.
 * A merge patch cannot set a member to null: in both, such a member counts as absent. `from` may be NULL. */
json_t *json_merge_diff(const json_t *from, const json_t *to);
/* Compact, keys sorted, numbers as short as they read back equal: equal values give equal text (1 and 1.0 are two values).
 * The caller frees it. */
char *json_canonical(const json_t *);
/* The same value, its reals as whole numbers where that says the same: 1.0 is 1. The caller owns it. */
json_t *json_as_whole(const json_t *);
/* Whether it is a whole number; 21.0 is one, too (JSON Schema 2020-12, validation §6.1.1), but past 2^53 a real is not exact. */
bool json_whole(const json_t *, int64_t *ret);
/* The first key of `object` that is not in `known` (NULL-terminated), or NULL. */
const char *json_unknown_key(const json_t *object, const char *const *known);
/* The string at `key`, or NULL when it is absent or no string. Borrowed. */
const char *json_text_at(const json_t *object, const char *key);
/* The string at `key` of an object's text that is known to be JSON, as the database wrote it: copied without reading the rest as values.
 * False when it is absent, no string, has an escape or does not fit. */
bool json_peek(const char *object, const char *key, char *out, size_t size);

/* A growing buffer of text; .data is NUL-terminated once anything was added. Zero-initialise; text_free() when done. */
struct text {
	char *data;
	size_t len, size;
};
void text_add(struct text *, const char *);
void text_add_bytes(struct text *, const char *, size_t);
void text_addf(struct text *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Quoted and escaped; NULL is null, a byte that is no UTF-8 becomes U+FFFD. */
void text_add_json_string(struct text *, const char *);
/* In decimal digits; their number. Ten times as fast as snprintf(). */
#define INT_TEXT_SIZE 21
size_t text_of_int(int64_t, char out[INT_TEXT_SIZE]);
/* How much of the first `len` bytes of a longer text there is without a character that is cut. */
size_t text_whole(const char *utf8, size_t len);
char *text_take(struct text *); /* the buffer, the caller's from now on; never NULL; the text is empty then */
void text_free(struct text *);

#endif
