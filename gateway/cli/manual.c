/* manual.c - prints keyfob(1) from the table of commands. */
#include <string.h>

#include "gateway/cli/commands.h"
#include "gateway/man.h"

static const char synopsis[] = ".Sh SYNOPSIS\n"
			       ".Nm\n"
			       ".Ar command\n"
			       ".Op Ar arguments\n"
			       ".Op Ar options\n"
			       ".Sh DESCRIPTION\n"
			       "A client of Keyfob's REST interface, for people and scripts.\n"
			       "Options may stand anywhere;\n"
			       ".Fl Fl\n"
			       "ends them.\n";

static const char ending[] = ".Sh ENVIRONMENT\n"
			     ".Bl -tag -width Ds\n"
			     ".It Ev KEYFOB_URL\n"
			     "The node, such as https://keyfob.example.\n"
			     ".It Ev KEYFOB_TOKEN\n"
			     "A bearer token for it.\n"
			     ".It Ev SSL_CERT_FILE\n"
			     "Certificate authorities to trust instead of the system's.\n"
			     ".El\n"
			     ".Sh EXIT STATUS\n"
			     "0: fine; 1: the command or the call failed; 2: wrong usage;\n"
			     "3: timed out: it may end yet.\n"
			     ".Sh SEE ALSO\n"
			     ".Xr keyfob-vehicle 1 ,\n"
			     ".Xr keyfob.yaml 5 ,\n"
			     ".Xr keyfobd 8\n";

static void write_options(FILE *f, const struct option *options)
{
	char left[64];

	fputs(".Bl -tag -width Ds\n", f);
	for (const struct option *o = options; o->name; o++) {
		option_write(o, left, sizeof(left));
		fputs(".It ", f);
		man_text(f, left);
		fputc('\n', f);
		man_text(f, o->help);
		fputs(".\n", f);
	}
	fputs(".El\n", f);
}

static void write_command(FILE *f, const struct cli_command *c)
{
	fprintf(f, ".Ss %s\n.Bd -ragged\n.Nm keyfob\n", c->name);
	man_text(f, c->name);
	if (*c->arguments) {
		fputc(' ', f);
		man_text(f, c->arguments);
	}
	fputs("\n.Ed\n.Pp\nTo ", f);
	man_text(f, c->summary);
	fputs(".\n", f);
	if (c->help) {
		fputs(strncmp(c->help, "  ", 2) == 0 ? "" : ".Pp\n", f);
		man_lines(f, c->help);
	}
	if (c->options)
		write_options(f, c->options);
}

void cli_write_man(FILE *f)
{
	man_begin(f, "keyfob", 1, "send commands to connected vehicles and see what becomes of them");
	fputs(synopsis, f);
	write_options(f, CLI_EVERYWHERE);
	fputs(".Sh COMMANDS\n", f);
	for (size_t i = 0; i < CLI_COMMAND_COUNT; i++)
		write_command(f, CLI_COMMANDS[i]);
	fputs(ending, f);
}
