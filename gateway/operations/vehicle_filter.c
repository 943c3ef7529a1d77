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
	bool has_path; /* a member of something follows: its values have types, and can be compared */
} keys[] = {
	{ "reachability", "connected,disconnected", false, false },
	{ "unstable", "true,false", false, false },
	{ "fleet", NULL, true, false },
	{ "tag", NULL, false, false },
	{ "vehicle", NULL, true, false },
	{ "name", NULL, true, false },
	{ "state", NULL, true, true },
};
#define KEYS "reachability, unstable, fleet, tag, vehicle, name, state.PATH"

/* How a value is compared, as filter_sql() has it; longer ones first. */
static const char *const comparisons[] = { "<=", ">=", "<", ">" };

/* A filter as far as it was read. */
struct reading {
	const char *at, *term; /* where it stands; where the term began */
	json_t *terms;
	unsigned comparisons;
	char *why;
	size_t why_size;
};

static bool read_term(struct reading *r);
static bool read_path(struct reading *r, json_t *path);
static bool read_values(struct reading *r, const struct key *key, json_t *path, bool is_not);

/* The term as it was typed, cut to what a line can hold, and what is wrong with it. */
static bool refuse(struct reading *r, const char *wrong)
{
	size_t len = strcspn(r->term, " "), most = r->why_size / 3;

	len = len < most ? len : text_whole(r->term, most);
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
	struct reading r = { filter, filter, memory_need(json_array()), 0, ret_why, why_size };
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
	bool is_not = takes_word(r, "NOT"), fine;
	size_t len = strcspn(r->at, ".: ");
	const struct key *key = key_of(r->at, len);
	json_t *path = NULL;

	r->term = r->at;
	if (json_array_size(r->terms) == FILTER_TERMS_MAX)
		return refuse(r, "there are too many terms");
	if (!key || r->at[len] != (key->has_path ? '.' : ':'))
		return refuse(r, "a term is key:value, and a key is one of " KEYS);
	r->at += len + 1;
	if (key->has_path)
		path = memory_need(json_array());
	fine = (!path || read_path(r, path)) && read_values(r, key, path, is_not);
	json_decref(path);
	return fine;
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

/* The next text up to one of `ends`, or in quotes. NULL: the quotes do not end, or go on. The caller frees it. */
static char *take_text(struct reading *r, const char *ends, bool *ret_quoted)
{
	size_t len = strcspn(r->at, ends);
	char *text;

	*ret_quoted = *r->at == '"';
	if (!*ret_quoted) {
		text = memory_need(strndup(r->at, len));
		r->at += len;
	} else if (!(text = take_quoted(r))) {
		refuse(r, "the quotes do not end");
	} else if (*r->at && !strchr(ends, *r->at)) {
		free(text);
		text = NULL;
		refuse(r, "nothing may follow the quotes at once");
	}
	return text;
}

/* The members' names up to the colon. */
static bool read_path(struct reading *r, json_t *path)
{
	bool is_quoted, fine;

	do {
		char *member = take_text(r, ".: ", &is_quoted);
		if (!member)
			return false;
		fine = member[0] || is_quoted;
		json_array_append_new(path, memory_need(json_string(member)));
		free(member);
	} while (fine && *r->at == '.' && r->at++);
	return (fine && *r->at == ':' && r->at++) ||
	       refuse(r, "a path is the names of members with dots between them, and a colon");
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

/* What stands without quotes and is a number, true or false in JSON, is that. */
static json_t *typed(const char *value)
{
	json_t *json = strcmp(value, "null") == 0 ? NULL : json_read(value, strlen(value));

	if (json_is_number(json) || json_is_boolean(json))
		return json;
	json_decref(json);
	return memory_need(json_string(value));
}

static const char *take_comparison(struct reading *r)
{
	for (size_t i = 0; i < sizeof(comparisons) / sizeof(comparisons[0]); i++) {
		if (strncmp(r->at, comparisons[i], strlen(comparisons[i])) == 0) {
			r->at += strlen(comparisons[i]);
			return comparisons[i];
		}
	}
	return NULL;
}

/* One of a term's values, into `any`. */
static bool read_value(struct reading *r, const struct key *key, json_t *any)
{
	const char *comparison = key->has_path ? take_comparison(r) : NULL;
	bool is_quoted, begins = false, fine;
	char *value = take_text(r, ", ", &is_quoted);

	if (!value)
		return false;
	size_t len = strlen(value);
	if (!is_quoted && len > 0 && value[len - 1] == '*') {
		begins = true;
		value[len - 1] = '\0';
	}
	json_t *json = key->has_path && !is_quoted && !begins ? typed(value) : memory_need(json_string(value));
	fine = check_value(r, key, value, begins) &&
	       (!comparison || json_is_number(json) || refuse(r, "only a number can be compared")) &&
	       (!key->has_path || (!comparison && !begins) || r->comparisons++ < FILTER_COMPARISONS_MAX ||
		       refuse(r, "there are too many comparisons"));
	if (fine)
		json_array_append_new(any, memory_need(json_pack("{s:s, s:O}", "is",
						   comparison ? comparison
						   : begins   ? "begins"
							      : "=",
						   "value", json)));
	json_decref(json);
	free(value);
	return fine;
}

static bool read_values(struct reading *r, const struct key *key, json_t *path, bool is_not)
{
	json_t *any = memory_need(json_array());

	json_array_append_new(r->terms, memory_need(json_pack("{s:s, s:O*, s:b, s:o}", "key", key->name, "path", path,
						"not", is_not, "any", any)));
	do {
		if (!read_value(r, key, any))
			return false;
	} while (*r->at == ',' && r->at++);
	return true;
}
