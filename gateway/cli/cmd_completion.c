/* cmd_completion.c - keyfob completion: what a shell completes our words by, from the table of commands. */
#include <stdio.h>
#include <string.h>

#include "gateway/cli/commands.h"

/* Finds the command's words among those before the cursor; of options in front of them it knows -o alone. */
static const char head[] =
	"# bash completion for keyfob, from its own table of commands.\n"
	"_keyfob() {\n"
	"\tlocal word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} first='' second='' options='' "
	"next='' i\n"
	"\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	"\t\t[[ ${COMP_WORDS[i]} != -* && ${COMP_WORDS[i - 1]} != -o ]] || continue\n"
	"\t\tif [[ -z $first ]]; then first=${COMP_WORDS[i]}; elif [[ -z $second ]]; then second=${COMP_WORDS[i]}; fi\n"
	"\tdone\n"
	"\tCOMPREPLY=()\n"
	"\tcase $before in\n"
	"\t-o) mapfile -t COMPREPLY < <(compgen -W 'json text' -- \"$word\"); return ;;\n"
	"\t--dir) mapfile -t COMPREPLY < <(compgen -d -- \"$word\"); return ;;\n"
	"\t--config) mapfile -t COMPREPLY < <(compgen -f -- \"$word\"); return ;;\n"
	"\tesac\n"
	"\tcase \"$first $second\" in\n";
static const char tail[] = "\tesac\n"
			   "\tif [[ $word == -* ]]; then next=$options; fi\n"
			   "\tmapfile -t COMPREPLY < <(compgen -W \"$next\" -- \"$word\")\n"
			   "}\n"
			   "complete -o filenames -F _keyfob keyfob\n";

static size_t first_len(const struct cli_command *c)
{
	return strcspn(c->name, " ");
}

static bool begins_as(const struct cli_command *a, const struct cli_command *b)
{
	return first_len(a) == first_len(b) && strncmp(a->name, b->name, first_len(a)) == 0;
}

static bool is_first_of_its_word(size_t i)
{
	for (size_t k = 0; k < i; k++) {
		if (begins_as(CLI_COMMANDS[k], CLI_COMMANDS[i]))
			return false;
	}
	return true;
}

static void print_first_words(void)
{
	fputs("\t\" \") next='help", stdout);
	for (size_t i = 0; i < CLI_COMMAND_COUNT; i++) {
		if (is_first_of_its_word(i))
			printf(" %.*s", (int)first_len(CLI_COMMANDS[i]), CLI_COMMANDS[i]->name);
	}
	fputs("' options='", stdout);
	for (const struct option *o = CLI_EVERYWHERE; o->name; o++)
		printf("%s ", o->name);
	puts("' ;;");
}

/* "token" alone begins "token init" and "token mint". */
static void print_second_words(const struct cli_command *of)
{
	size_t count = 0;

	for (size_t i = 0; i < CLI_COMMAND_COUNT; i++) {
		const struct cli_command *c = CLI_COMMANDS[i];
		if (!begins_as(of, c) || !c->name[first_len(c)])
			continue;
		if (count++ == 0)
			printf("\t\"%.*s \") next='", (int)first_len(of), of->name);
		printf("%s ", c->name + first_len(c) + 1);
	}
	if (count > 0)
		fputs("' ;;&\n", stdout);
}

static void print_options(const struct cli_command *c)
{
	bool has_second = strchr(c->name, ' ');

	printf("\t\"%s%s\"*) options='", c->name, has_second ? "" : " ");
	for (const struct option *o = c->options; o && o->name; o++)
		printf("%s ", o->name);
	for (const struct option *o = CLI_EVERYWHERE; o->name; o++)
		printf("%s ", o->name);
	puts("' ;;");
}

static int run(struct cli *cli, const struct invocation *inv)
{
	(void)cli;
	if (strcmp(inv->words[0], "bash") != 0) {
		fprintf(stderr, "keyfob: there is completion for bash alone\n");
		return CLI_USAGE;
	}
	fputs(head, stdout);
	print_first_words();
	for (size_t i = 0; i < CLI_COMMAND_COUNT; i++) {
		if (is_first_of_its_word(i))
			print_second_words(CLI_COMMANDS[i]);
	}
	for (size_t i = 0; i < CLI_COMMAND_COUNT; i++)
		print_options(CLI_COMMANDS[i]);
	fputs(tail, stdout);
	return CLI_FINE;
}

const struct cli_command CMD_COMPLETION = {
	.name = "completion",
	.arguments = "bash",
	.summary = "print what a shell completes these words by",
	.help = "  . <(keyfob completion bash)\n"
		"\n"
		"The Debian package has it where bash-completion looks for it.\n",
	.words_min = 1,
	.words_max = 1,
	.is_local = true,
	.run = run,
};
