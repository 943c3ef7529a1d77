/* pattern.c - read once, from left to right; whatever stands for one character is a set of them, and is written as such. */
#include "gateway/pattern.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

#define ASCII 128
#define ESCAPES "a backslash stands before d, w, s, D, W, S, t, n, v, f, r or a sign alone"
#define BEYOND_ASCII "[\xc2-\xf4][\x80-\xbf]+" /* one character of UTF-8 */

/* Characters: of ASCII those that are in it, and all others or none. */
struct set {
	bool has[ASCII];
	bool beyond;
};

struct reading {
	const char *at;
	struct text out;
	const char *why; /* NULL: nothing is wrong yet */
	int depth;	 /* of groups */
	bool repeatable; /* what was read last */
};

static void read_one(struct reading *r);
static void read_group(struct reading *r);
static void read_repetition(struct reading *r);
static void read_class(struct reading *r);
static void read_escape(struct reading *r);
static void read_character(struct reading *r);

char *pattern_to_posix(const char *pattern, const char **ret_why)
{
	struct reading r = { .at = pattern };

	text_add(&r.out, "");
	while (*r.at && !r.why)
		read_one(&r);
	if (!r.why && r.depth > 0)
		r.why = "a group is not closed";
	if (!r.why)
		return text_take(&r.out);
	text_free(&r.out);
	*ret_why = r.why;
	return NULL;
}

static void read_one(struct reading *r)
{
	switch (*r->at) {
	case '(':
	case ')':
		read_group(r);
		break;
	case '*':
	case '+':
	case '?':
	case '{':
		read_repetition(r);
		break;
	case '[':
		read_class(r);
		break;
	case '\\':
		read_escape(r);
		break;
	default:
		read_character(r);
	}
}

/* Sets. */

static void add_range(struct set *s, int from, int to)
{
	for (int c = from; c <= to; c++)
		s->has[c] = true;
}

static void invert(struct set *s)
{
	for (int c = 0; c < ASCII; c++)
		s->has[c] = !s->has[c];
	s->beyond = !s->beyond;
}

static void add_all(struct set *s, const struct set *other)
{
	for (int c = 0; c < ASCII; c++)
		s->has[c] |= other->has[c];
	s->beyond |= other->beyond;
}

/* What \d, \w, \s and their opposites stand for; false: `name` is none of them. */
static bool set_of(char name, struct set *ret)
{
	*ret = (struct set){ 0 };
	switch (tolower((unsigned char)name)) {
	case 'd':
		add_range(ret, '0', '9');
		break;
	case 'w':
		add_range(ret, '0', '9');
		add_range(ret, 'A', 'Z');
		add_range(ret, 'a', 'z');
		ret->has['_'] = true;
		break;
	case 's':
		add_range(ret, '\t', '\r');
		ret->has[' '] = true;
		break;
	default:
		return false;
	}
	if (isupper((unsigned char)name))
		invert(ret);
	return true;
}

static void write_literal(struct text *out, int c)
{
	text_addf(out, strchr("^.[$()|*+?{\\", c) ? "\\%c" : "%c", c);
}

/* A bracket would take these for its own at these places. */
static void write_range(struct text *out, int from, int to)
{
	if (from == '^') {
		text_add(out, "\\^|");
		from++;
	}
	if (to == ']') {
		text_add(out, "]|");
		to--;
	}
	text_addf(out, "[%c-%c]", from, to);
}

static void write_set(struct reading *r, const struct set *s)
{
	const char *between = "(";

	for (int from = 1, to; from < ASCII; from = to + 1) { /* a text has no NUL */
		to = from;
		if (!s->has[from])
			continue;
		while (to + 1 < ASCII && s->has[to + 1])
			to++;
		if (to - from < 3) /* so that a range stays one where it loses an end */
			to = from;
		text_add(&r->out, between);
		if (to == from)
			write_literal(&r->out, from);
		else
			write_range(&r->out, from, to);
		between = "|";
	}
	if (s->beyond)
		text_addf(&r->out, "%s" BEYOND_ASCII, between);
	else if (*between == '(')
		r->why = "there is a class that no character is in";
	text_add(&r->out, ")");
	r->repeatable = true;
}

/* Pieces. */

static void read_group(struct reading *r)
{
	bool opens = *r->at == '(';

	if (opens && r->at[1] == '?' && r->at[2] != ':')
		r->why = "a group may begin with ( or (?: alone";
	if (!opens && r->depth == 0)
		r->why = "there is a ) too many";
	r->depth += opens ? 1 : -1;
	r->repeatable = !opens;
	text_addf(&r->out, "%c", *r->at);
	r->at += opens && r->at[1] == '?' ? 3 : 1;
}

/* "{2}", "{2,}" or "{2,3}"; 0: it is none. */
static size_t length_of_counts(const char *at)
{
	static const char digits[] = "0123456789";
	size_t len = 1 + strspn(at + 1, digits);

	if (len == 1)
		return 0;
	if (at[len] == ',')
		len += 1 + strspn(at + len + 1, digits);
	return at[len] == '}' ? len + 1 : 0;
}

/* A lazy one finds something where the other does. */
static void read_repetition(struct reading *r)
{
	size_t len = *r->at == '{' ? length_of_counts(r->at) : 1;

	if (len == 0 || !r->repeatable)
		r->why = len == 0 ? "{ begins no number of times; a brace is \\{" : "there is nothing to repeat";
	text_add_bytes(&r->out, r->at, len);
	r->at += len;
	r->at += *r->at == '?';
	r->repeatable = false;
}

/* Behind the backslash, a character for itself; 0: it is none that we know. */
static int escaped(char c)
{
	static const char names[] = "tnvfr", meant[] = "\t\n\v\f\r";
	const char *name = c ? strchr(names, c) : NULL;

	return name ? meant[name - names] : ispunct((unsigned char)c) ? c : 0;
}

static void read_escape(struct reading *r)
{
	int c = escaped(r->at[1]);
	struct set set;

	if (!set_of(r->at[1], &set) && !c) {
		r->why = ESCAPES;
		return;
	}
	if (c)
		set.has[c] = true;
	write_set(r, &set);
	r->at += 2;
}

static void read_character(struct reading *r)
{
	struct set ends_of_lines = { 0 };
	size_t len = 1;

	while (len < 4 && ((unsigned char)r->at[len] & 0xc0) == 0x80)
		len++;
	r->repeatable = !strchr("^$|", *r->at);
	if (*r->at == '.') {
		ends_of_lines.has['\n'] = ends_of_lines.has['\r'] = true;
		invert(&ends_of_lines);
		write_set(r, &ends_of_lines);
	} else if (len > 1) { /* what repeats it repeats all its bytes */
		text_addf(&r->out, "(%.*s)", (int)len, r->at);
	} else {
		text_addf(&r->out, "%c", *r->at);
	}
	r->at += len;
}

/* In brackets. */

/* One character or a set of them; the character, or 0. */
static int read_member(struct reading *r, struct set *ret)
{
	bool is_escape = *r->at == '\\';
	int c = is_escape ? escaped(r->at[1]) : (unsigned char)*r->at;

	*ret = (struct set){ 0 };
	if (c >= ASCII)
		r->why = "brackets hold ASCII alone; others go between | in a group";
	else if (!is_escape && c == '[' && r->at[1] && strchr(":.=", r->at[1]))
		r->why = "brackets know no names of classes";
	else if (c == 0 && !set_of(r->at[1], ret))
		r->why = ESCAPES;
	else if (c)
		ret->has[c] = true;
	r->at += is_escape && r->at[1] ? 2 : 1;
	return r->why ? 0 : c;
}

static void read_members(struct reading *r, struct set *all)
{
	struct set set;
	int from = read_member(r, &set);

	if (from && r->at[0] == '-' && r->at[1] && r->at[1] != ']') {
		r->at++;
		int to = read_member(r, &set);
		if (!r->why && to < from)
			r->why = "a range in brackets goes from a lower to a higher character";
		add_range(&set, from, to);
	}
	add_all(all, &set);
}

static void read_class(struct reading *r)
{
	bool inverted = r->at[1] == '^';
	struct set all = { 0 };

	r->at += inverted ? 2 : 1;
	while (*r->at && *r->at != ']' && !r->why)
		read_members(r, &all);
	if (!r->why && !*r->at)
		r->why = "a bracket is not closed";
	if (r->why)
		return;
	if (inverted)
		invert(&all);
	write_set(r, &all);
	r->at++;
}
