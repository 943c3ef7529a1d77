/* options.c - one pass over the command line; each word is an option's, its value, or a word. */
#include "gateway/cli/options.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* Where the reading of one command line stands. */
struct cursor {
	struct invocation *inv;
	char **at, **end;
	char *why;
	size_t why_size;
};

static bool refuse(struct cursor *c, const char *what, const char *about)
{
	snprintf(c->why, c->why_size, what, about);
	return false;
}

static const struct {
	char unit;
	int64_t seconds;
} units[] = { { '\0', 1 }, { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };

static bool number_read(const char *text, bool is_duration, int64_t *ret)
{
	char *end;
	if (*text < '0' || *text > '9')
		return false;
	long long n = strtoll(text, &end, 10);
	for (size_t i = 0; i < (is_duration ? sizeof(units) / sizeof(units[0]) : 1); i++) {
		if (end[0] != units[i].unit || (end[0] && end[1]))
			continue;
		*ret = n <= INT32_MAX ? n * units[i].seconds : 0;
		return *ret > 0;
	}
	return false;
}

static bool value_take(struct cursor *c, const struct option *o, const char *text)
{
	struct option_given *given = &c->inv->given[o - c->inv->options];
	bool is_number = o->kind == OPTION_NUMBER;
	given->is_given = true;
	given->text = text;
	if (o->kind == OPTION_FLAG || o->kind == OPTION_TEXT || number_read(text, !is_number, &given->number))
		return true;
	return refuse(c, is_number ? "%s wants a number from 1 on" : "%s wants a time: 30, 30s, 5m, 24h", o->name);
}

static const struct option *option_named(const struct option *options, const char *text, size_t len)
{
	for (const struct option *o = options; o && o->name; o++)
		if (strlen(o->name) == len && memcmp(o->name, text, len) == 0)
			return o;
	return NULL;
}

static bool stands_alone(const struct option *o)
{
	return o->kind == OPTION_FLAG || o->kind == OPTION_MAYBE_DURATION;
}

bool option_takes_next(const struct option *options, const char *word)
{
	const struct option *o = option_named(options, word, strlen(word));
	return o && !stands_alone(o);
}

static bool option_take(struct cursor *c)
{
	const char *word = *c->at++, *equals = strchr(word, '=');
	const struct option *o = option_named(c->inv->options, word, equals ? (size_t)(equals - word) : strlen(word));
	const struct option *letter = o ? NULL : option_named(c->inv->options, word, 2); /* -ojson */
	if (letter)
		return value_take(c, letter, word + 2);
	if (!o)
		return refuse(c, "there is no option %s", word);
	if (equals)
		return o->kind == OPTION_FLAG ? refuse(c, "%s takes no value", o->name) : value_take(c, o, equals + 1);
	if (stands_alone(o)) {
		c->inv->given[o - c->inv->options].is_given = true;
		return true;
	}
	if (c->at == c->end)
		return refuse(c, "%s wants a value", o->name);
	return value_take(c, o, *c->at++);
}

static bool words_read(struct cursor *c)
{
	bool options_end = false;
	while (c->at < c->end) {
		const char *word = *c->at;
		if (options_end || word[0] != '-' || word[1] == '\0')
			c->inv->words[c->inv->word_count++] = *c->at++;
		else if (strcmp(word, "--") == 0)
			options_end = c->at++ != NULL;
		else if (!option_take(c))
			return false;
	}
	return true;
}

bool invocation_read(
	struct invocation *ret, const struct option *options, size_t argc, char **argv, char *ret_why, size_t why_size)
{
	*ret = (struct invocation){ .options = options };
	ret->words = memory_new((argc + 1) * sizeof(*ret->words));
	struct cursor c = { ret, argv, argv + argc, ret_why, why_size };
	if (words_read(&c))
		return true;
	invocation_done(ret);
	return false;
}

void invocation_done(struct invocation *inv)
{
	free(inv->words);
	inv->words = NULL;
}

static const struct option_given *given(const struct invocation *inv, const char *name)
{
	const struct option *o = option_named(inv->options, name, strlen(name));
	assert(o);
	return &inv->given[o - inv->options];
}

bool option_is_given(const struct invocation *inv, const char *name)
{
	return given(inv, name)->is_given;
}

const char *option_text(const struct invocation *inv, const char *name, const char *otherwise)
{
	const struct option_given *g = given(inv, name);
	return g->is_given ? g->text : otherwise;
}

int64_t option_number(const struct invocation *inv, const char *name, int64_t otherwise)
{
	const struct option_given *g = given(inv, name);
	return g->is_given ? g->number : otherwise;
}
