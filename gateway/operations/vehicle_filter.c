/* vehicle_filter.c - reads a filter term by term. */
#include "gateway/operations/vehicle_filter.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"

/* A row a key; `values`, comma-separated, are all that it may have. */
static const struct key {
	const char *name;
	const char *values; /* NULL: any text */
	bool has_beginnings;
} keys[] = {
	{ "reachability", "connected,disconnected", false },
	{ "unstable", "true,false", false },
	{ "fleet", NULL, true },
	{ "tag", NULL, false },
	{ "vehicle", NULL, true },
	{ "name", NULL, true },
};
#define KEYS "reachability, unstable, fleet, tag, vehicle, name"

/* A filter as far as it was read. */
struct reading {
	const char *at, *term; /* where it stands; where the term began */
	json_t *terms;
	char *why;
	size_t why_size;
};

static bool read_term(struct reading *r);
static bool read_value(struct reading *r, const struct key *key, bool is_not);

/* The term as it was typed, cut to what a line can hold, and what is wrong with it. */
static bool refuse(struct reading *r, const char *wrong)
{
	size_t len = strcspn(r->term, " "), most = r->why_size / 3;

	len = len < most ? len : most;
	while (len > 0 && ((unsigned char)r->term[len] & 0xc0) == 0x80)
		len--; /* not amid a character */
	snprintf(r->why, r->why_size, "filter: \"%.*s\": %s", (int)len, r->term, wrong);
	return false;
}

/* Takes a word that stands alone. */
static bool takes_word(struct reading *r, const char *word)
{
	size_t len = strlen(word);

	if (strncmp(r->at, word, len) != 0 || (r->at[len] != ' ' && r->at[len] != '\0'))
		return false;
	r->at += len;
	r->at += strspn(r->at, " ");
	return true;
}

static bool read_all(struct reading *r)
{
	r->at += strspn(r->at, " ");
	do {
		if (!read_term(r))
			return false;
		r->at += strspn(r->at, " ");
		r->term = r->at;
	} while (takes_word(r, "AND"));
	return *r->at ? refuse(r, "AND must stand between two terms") : true;
}

char *vehicle_filter_read(const char *filter, char *ret_why, size_t why_size)
{
	struct reading r = { filter, filter, memory_need(json_array()), ret_why, why_size };
	char *text = NULL;

	if (strlen(filter) > FILTER_MAX)
		snprintf(ret_why, why_size, "filter has at most %d bytes", FILTER_MAX);
	else if (read_all(&r))
		text = json_canonical(r.terms);
	json_decref(r.terms);
	return text;
}

static const struct key *key_of(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (strlen(keys[i].name) == len && strncmp(keys[i].name, name, len) == 0)
			return &keys[i];
	}
	return NULL;
}

static bool read_term(struct reading *r)
{
	r->term = r->at;
	bool is_not = takes_word(r, "NOT");
	size_t len = strcspn(r->at, ": ");
	const struct key *key = r->at[len] == ':' ? key_of(r->at, len) : NULL;

	r->term = r->at;
	if (json_array_size(r->terms) == FILTER_TERMS_MAX)
		return refuse(r, "there are too many terms");
	if (!key)
		return refuse(r, "a term is key:value, and a key is one of " KEYS);
	r->at += len + 1;
	return read_value(r, key, is_not);
}

/* "…", with its escapes taken out. NULL: it does not end. The caller frees it. */
static char *take_quoted(struct reading *r)
{
	struct text value = { 0 };

	for (r->at++; *r->at && *r->at != '"'; r->at++) {
		if (*r->at == '\\' && r->at[1])
			r->at++;
		text_add_bytes(&value, r->at, 1);
	}
	if (*r->at != '"') {
		text_free(&value);
		return NULL;
	}
	r->at++;
	return text_take(&value);
}

static bool is_listed(const char *values, const char *value)
{
	size_t len = strlen(value);

	for (const char *at = values; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
		if (strcspn(at, ",") == len && strncmp(at, value, len) == 0)
			return true;
	}
	return false;
}

static bool check_value(struct reading *r, const struct key *key, const char *value, bool begins)
{
	char wrong[96];

	if (!begins && !value[0])
		return refuse(r, "a value is missing");
	if (begins && !key->has_beginnings)
		return refuse(r, "here * stands for itself, in quotes");
	if (!key->values || is_listed(key->values, value))
		return true;
	snprintf(wrong, sizeof(wrong), "the value is one of %s", key->values);
	return refuse(r, wrong);
}

static bool read_value(struct reading *r, const struct key *key, bool is_not)
{
	bool is_quoted = *r->at == '"', begins = false;
	size_t len = strcspn(r->at, " ");
	char *value = is_quoted ? take_quoted(r) : memory_need(strndup(r->at, len));

	if (!value)
		return refuse(r, "the quotes do not end");
	if (!is_quoted) {
		r->at += len;
		begins = len > 0 && value[len - 1] == '*';
		value[len - (begins ? 1 : 0)] = '\0';
	}
	bool fine = check_value(r, key, value, begins) &&
		    (*r->at == '\0' || *r->at == ' ' || refuse(r, "a space must follow the quotes"));
	if (fine)
		json_array_append_new(r->terms, memory_need(json_pack("{s:s, s:s, s:b, s:b}", "key", key->name, "value",
							value, "begins", begins, "not", is_not)));
	free(value);
	return fine;
}
