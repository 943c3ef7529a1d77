/* options.h - reads a command line by a table: options may stand anywhere, `--` ends them. */
#ifndef KEYFOB_GATEWAY_CLI_OPTIONS_H
#define KEYFOB_GATEWAY_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_kind {
	OPTION_FLAG,
	OPTION_TEXT,
	OPTION_NUMBER,	       /* a whole number from 1 on */
	OPTION_DURATION,       /* seconds: 30, 30s, 5m, 24h, 7d; at least one */
	OPTION_MAYBE_DURATION, /* --wait or --wait=30 */
};

struct option {
	const char *name; /* "--ttl" */
	enum option_kind kind;
	const char *value; /* how the help calls it: "SECONDS" */
	const char *help;
};

#define OPTIONS_MAX 16

struct option_given {
	bool is_given;
	const char *text;
	int64_t number; /* OPTION_NUMBER, _DURATION in seconds; 0: --wait alone */
};

/* One command line, read. Borrows from argv. */
struct invocation {
	const struct option *options;
	const char **words; /* what is no option; NULL-terminated */
	size_t word_count;
	struct option_given given[OPTIONS_MAX];
};

/* Reads `argv` by `options` (ends with a row without a name). False: `ret_why` is one line for the user. */
bool invocation_read(
	struct invocation *ret, const struct option *options, size_t argc, char **argv, char *ret_why, size_t why_size);
void invocation_done(struct invocation *);
/* `word` is an option of the table whose value is the next word. */
bool option_takes_next(const struct option *options, const char *word);

/* `name` must be in the table. */
bool option_is_given(const struct invocation *, const char *name);
const char *option_text(const struct invocation *, const char *name, const char *otherwise);
int64_t option_number(const struct invocation *, const char *name, int64_t otherwise);

#endif
