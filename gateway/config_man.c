/* config_man.c - prints keyfob.yaml(5) from the table. */
#include <stdio.h>
#include <string.h>

#include "gateway/config.h"
#include "gateway/config_table.h"
#include "gateway/man.h"

static const char description[] =
	".Sh DESCRIPTION\n"
	"One YAML file, which\n"
	".Xr keyfobd 8\n"
	"reads at start.\n"
	"An unknown key, a wrong type or an impossible value stops the start with exit code 78 and a line that names "
	"file, line and key.\n"
	".Pp\n"
	"Durations are whole numbers with a unit (500ms, 30s, 5m, 24h, 90d), sizes likewise (64KiB, 1MiB), rates are\n"
	".Qq 50/s\n"
	"or\n"
	".Qq 50/m ,\n"
	"and\n"
	".Qq 0\n"
	"is no limit.\n"
	"Files that do not begin with a slash start at the folder of the configuration.\n"
	"A secret may stand in a file of its own: its key then ends in\n"
	".Li _file .\n"
	"SIGHUP reads the file again, and takes up what is marked\n"
	".Em reload .\n";

static const char ending[] = ".Sh ENVIRONMENT\n"
			     "Every key can be overridden:\n"
			     ".Ev KEYFOB_\n"
			     "and its path in upper case, joined with underscores, as in\n"
			     ".Ev KEYFOB_DATABASE_URL .\n"
			     "Lists and maps are JSON.\n"
			     ".Sh FILES\n"
			     ".Bl -tag -width Ds\n"
			     ".It Pa /etc/keyfob/keyfob.yaml\n"
			     "where the Debian package has it.\n"
			     ".El\n"
			     ".Sh SEE ALSO\n"
			     ".Xr keyfob 1 ,\n"
			     ".Xr keyfobd 8\n";

static void write_setting(FILE *f, const struct setting *s, const char *prefix)
{
	char what[512];

	fprintf(f, ".It Li %s%s%s", prefix, *prefix ? "." : "", s->path);
	fprintf(f, s->type == SETTING_SECRET ? " | %s_file\n" : "\n", s->path);
	if (s->type == SETTING_SECRET && s->rule)
		fputs("a secret text: ", f);
	man_text(f, setting_describe(s, what, sizeof(what)));
	if (s->initial) {
		fputs("; the default is ", f);
		man_text(f, s->initial);
	}
	fputs(".\n.br\n", f);
	man_text(f, s->sentence);
	fputs(s->reloadable ? "\n.Em Reload .\n" : "\n", f);
	if (s->type != SETTING_GROUPS)
		return;
	char group[160];
	snprintf(group, sizeof(group), "%s[]", s->path);
	for (size_t i = 0; i < s->rule->table->count; i++)
		write_setting(f, &s->rule->table->rows[i], group);
}

void config_write_man(FILE *f)
{
	man_begin(f, "keyfob.yaml", 5, "the configuration of keyfobd");
	fputs(description, f);
	fputs(".Sh SETTINGS\n.Bl -tag -width Ds\n", f);
	for (size_t i = 0; i < CONFIG_TABLE.count; i++)
		write_setting(f, &CONFIG_TABLE.rows[i], "");
	fputs(".El\n", f);
	fputs(ending, f);
}
