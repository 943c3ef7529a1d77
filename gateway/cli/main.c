/* main.c - keyfob: finds the command in the table, reads its options, gives it the node, and runs it. */
#include <curl/curl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "gateway/cli/call.h"
#include "gateway/cli/commands.h"
#include "gateway/cli/target.h"

static void print_overview(FILE *file)
{
	fputs("keyfob - sends commands to connected vehicles and shows what becomes of them\n\n"
	      "usage: keyfob COMMAND [arguments] [options]\n\n",
		file);
	for (size_t i = 0; i < CLI_COMMAND_COUNT; i++)
		fprintf(file, "  %-14s  %s\n", CLI_COMMANDS[i]->name, CLI_COMMANDS[i]->summary);
	fputs("\n`keyfob COMMAND --help` tells more. `-o json` anywhere prints JSON, for scripts.\n\n"
	      "  KEYFOB_URL     the node, such as https://keyfob.example\n"
	      "  KEYFOB_TOKEN   a bearer token for it\n"
	      "  SSL_CERT_FILE  certificate authorities to trust instead of the system's\n"
	      "Where they are not set, they are looked for in .keyfob/run/env in this folder and above, as\n"
	      "`./dev run` leaves them there.\n\n"
	      "Exit codes: 0 fine, 1 the command or the call failed, 2 wrong usage, 3 timed out: it may end yet.\n",
		file);
}

static void print_option(FILE *file, const struct option *o)
{
	char left[64];
	option_write(o, left, sizeof(left));
	fprintf(file, "  %-24s  %s\n", left, o->help);
}

static void print_usage(FILE *file, const struct cli_command *c)
{
	fprintf(file, "usage: keyfob %s%s%s [options]\n", c->name, *c->arguments ? " " : "", c->arguments);
}

static void print_help(FILE *file, const struct cli_command *c)
{
	fprintf(file, "keyfob %s - %s\n\n", c->name, c->summary);
	print_usage(file, c);
	fputc('\n', file);
	for (const struct option *o = c->options; o && o->name; o++)
		print_option(file, o);
	for (const struct option *o = CLI_EVERYWHERE; o->name; o++)
		print_option(file, o);
	if (c->help)
		fprintf(file, "\n%s", c->help);
}

static bool is_word(const char *arg)
{
	return arg[0] != '-' || arg[1] == '\0';
}

/* What options take for their value is no word of the command's name. */
static size_t next_word(const struct option *options, char **argv, size_t argc, size_t from)
{
	while (from < argc && !is_word(argv[from]))
		from += option_takes_next(options, argv[from]) ? 2 : 1;
	return from < argc ? from : argc;
}

static void options_join(const struct cli_command *c, struct option out[OPTIONS_MAX])
{
	size_t count = 0;
	for (const struct option *o = c->options; o && o->name; o++)
		out[count++] = *o;
	for (const struct option *o = CLI_EVERYWHERE; o->name; o++)
		out[count++] = *o;
	out[count] = (struct option){ 0 };
}

static void take_out(char **argv, size_t *argc, size_t at)
{
	memmove(&argv[at], &argv[at + 1], (*argc - at - 1) * sizeof(*argv));
	argv[--*argc] = NULL;
}

static bool has_name(const struct cli_command *c, const char *first, const char *second)
{
	size_t len = strlen(first);
	if (strncmp(c->name, first, len) != 0)
		return false;
	return c->name[len] == '\0' || (c->name[len] == ' ' && second && strcmp(c->name + len + 1, second) == 0);
}

/* Takes the name's words out of `argv`, where they are this command's by its own options. */
static bool name_take(const struct cli_command *c, char **argv, size_t *argc)
{
	struct option options[OPTIONS_MAX];
	options_join(c, options);
	size_t first = next_word(options, argv, *argc, 0), second = next_word(options, argv, *argc, first + 1);
	if (first >= *argc || !has_name(c, argv[first], second < *argc ? argv[second] : NULL))
		return false;
	if (strchr(c->name, ' '))
		take_out(argv, argc, second);
	take_out(argv, argc, first);
	return true;
}

static const struct cli_command *command_take(char **argv, size_t *argc)
{
	for (size_t i = 0; i < CLI_COMMAND_COUNT; i++) {
		if (name_take(CLI_COMMANDS[i], argv, argc))
			return CLI_COMMANDS[i];
	}
	return NULL;
}

static int usage_error(const struct cli_command *c, const char *why)
{
	fprintf(stderr, "keyfob: %s\n", why);
	print_usage(stderr, c);
	fprintf(stderr, "`keyfob %s --help` tells more.\n", c->name);
	return CLI_USAGE;
}

static bool json_is_asked(const struct invocation *inv, bool *ret_known)
{
	const char *format = option_text(inv, "-o", "text");
	*ret_known = strcmp(format, "json") == 0 || strcmp(format, "text") == 0;
	return strcmp(format, "json") == 0;
}

/* libcurl's global state is set up by the first user, and taken down for the sake of leak checkers. */
static int run_on_node(const struct cli_command *c, struct cli *cli, const struct invocation *inv)
{
	char why[256];
	if (!target_find(&cli->url, &cli->token, why, sizeof(why))) {
		fprintf(stderr, "keyfob: %s\n", why);
		return CLI_USAGE;
	}
	curl_global_init(CURL_GLOBAL_DEFAULT);
	cli->curl = memory_need(curl_easy_init());
	int code = c->run(cli, inv);
	curl_easy_cleanup(cli->curl);
	curl_global_cleanup();
	free(cli->url);
	free(cli->token);
	return code;
}

static int invoke(const struct cli_command *c, const struct invocation *inv)
{
	bool is_known_format;
	struct cli cli = { .json = json_is_asked(inv, &is_known_format) };
	if (option_is_given(inv, "--help")) {
		print_help(stdout, c);
		return CLI_FINE;
	}
	if (!is_known_format)
		return usage_error(c, "-o wants json or text");
	if (inv->word_count < c->words_min)
		return usage_error(c, "an argument is missing");
	if (inv->word_count > c->words_max)
		return usage_error(c, "there are too many arguments");
	return c->is_local ? c->run(&cli, inv) : run_on_node(c, &cli, inv);
}

static int run(const struct cli_command *c, size_t argc, char **argv)
{
	struct option options[OPTIONS_MAX];
	struct invocation inv;
	char why[256];
	options_join(c, options);
	if (!invocation_read(&inv, options, argc, argv, why, sizeof(why)))
		return usage_error(c, why);
	int code = invoke(c, &inv);
	invocation_done(&inv);
	return code;
}

static bool has_argument(char **argv, size_t argc, const char *wanted)
{
	for (size_t i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], wanted) == 0)
			return true;
	return false;
}

/* "token" alone names no command, but begins two. */
static bool print_begun(FILE *file, const char *word)
{
	size_t len = strlen(word), begun = 0;
	for (size_t i = 0; i < CLI_COMMAND_COUNT; i++) {
		if (strncmp(CLI_COMMANDS[i]->name, word, len) != 0 || CLI_COMMANDS[i]->name[len] != ' ')
			continue;
		print_usage(file, CLI_COMMANDS[i]);
		begun++;
	}
	return begun > 0;
}

static int unknown_command(const char *word)
{
	fprintf(stderr, "keyfob: there is no command `%.64s`\n", word);
	if (!print_begun(stderr, word))
		fputs("`keyfob --help` lists them.\n", stderr);
	return CLI_USAGE;
}

static int run_without_command(size_t argc, char **argv)
{
	size_t at = next_word(CLI_EVERYWHERE, argv, argc, 0);
	const char *word = at < argc && strcmp(argv[at], "help") != 0 ? argv[at] : NULL;
	bool helps = (at < argc && !word) || has_argument(argv, argc, "--help");
	if (word)
		return helps && print_begun(stdout, word) ? CLI_FINE : unknown_command(word);
	print_overview(helps ? stdout : stderr);
	return helps ? CLI_FINE : CLI_USAGE;
}

/* A script that closes our output ends us, silently, as it ends any filter. What could not be written is a failure. */
static int finish(int code)
{
	bool lost = fflush(stdout) != 0 || ferror(stdout);
	if (lost)
		perror("keyfob: standard output");
	return lost && code == CLI_FINE ? CLI_FAILED : code;
}

int main(int argc, char **argv)
{
	size_t count = (size_t)argc - 1;
	char **args = argv + 1;
	if (has_argument(args, count, "--version")) {
		puts("keyfob " KEYFOB_VERSION);
		return finish(CLI_FINE);
	}
	/* `keyfob help send` is `keyfob send --help`. */
	static char help[] = "--help";
	if (count > 1 && strcmp(args[0], "help") == 0)
		args[0] = help;
	const struct cli_command *c = command_take(args, &count);
	return finish(c ? run(c, count, args) : run_without_command(count, args));
}
