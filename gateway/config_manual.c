/* config_manual.c - prints docs/configuration.md from the table. */
#include <stdio.h>
#include <string.h>

#include "gateway/config.h"
#include "gateway/config_table.h"

static const char introduction[] =
	"# Configuration\n"
	"\n"
	"<!-- Generated from gateway/config.tbl.h by keyfob-manual. -->\n"
	"\n"
	"`keyfobd --config FILE` reads one YAML file; `keyfobd --config FILE --check-config` reads it and says whether "
	"it is\n"
	"fit to start with. An unknown key, a wrong type or an impossible value stops the start with exit code 78 and "
	"one line that\n"
	"names file, line and key. Every key may be left out, but for those without a default.\n"
	"\n"
	"- **Durations** are whole numbers with a unit: `500ms`, `30s`, `5m`, `24h`, `90d`. **Sizes** likewise: "
	"`64KiB`, `1MiB`,\n"
	"  `1GiB`, or plain bytes. **Rates** are `\"50/s\"` (or `/m`, a minute); `\"0\"` is no limit.\n"
	"- **Files and folders** that do not begin with `/` start at the configuration file's folder.\n"
	"- **The environment** overrides the file: `KEYFOB_` and the path in upper case, joined with `_`\n"
	"  (`KEYFOB_DATABASE_URL`, `KEYFOB_HTTP_TLS_KEY`). Lists and maps are JSON\n"
	"  (`KEYFOB_HTTP_LISTEN='[\"[::]:8443\"]'`); a whole section may be given so too. An empty variable is null "
	"where null is allowed.\n"
	"  An unknown `KEYFOB_…` is a warning in the log.\n"
	"- **Secrets** (marked so below) may stand in a file of their own, which is read at start: "
	"`mqtt.password_file` in place of\n"
	"  `mqtt.password`, and likewise for the others. One line break at the end does not count.\n"
	"- **SIGHUP** reads the file again without dropping a connection. It changes what is marked *reload*, and "
	"takes up new content of the\n"
	"  files named by such keys (certificates, key sets, the catalogue); all else waits for a restart. Each is "
	"taken by itself: a bad\n"
	"  file is refused with a line in the log, and its old content stays.\n"
	"\n"
	"The smallest file that starts a node:\n"
	"\n"
	"```yaml\n"
	"database:\n"
	"  url: \"postgresql://keyfob@127.0.0.1/keyfob\"\n"
	"auth:\n"
	"  issuers:\n"
	"    - issuer: \"https://idp.example\"\n"
	"      jwks_file: jwks.json\n"
	"commands:\n"
	"  catalog: catalog.yaml\n"
	"```\n";

static void write_table(FILE *f, const struct setting_table *table, const char *prefix);
static void write_row(FILE *f, const struct setting *s, const char *prefix);
static size_t section_len(const char *path);
static void write_cell(FILE *f, const char *text);

void config_write_manual(FILE *f)
{
	fputs(introduction, f);
	write_table(f, &CONFIG_TABLE, "");
}

/* A heading for each section; what is in its items follows a list of groups. */
static void write_table(FILE *f, const struct setting_table *table, const char *prefix)
{
	const char *section = NULL;
	char group[160];

	for (size_t i = 0; i < table->count; i++) {
		const struct setting *s = &table->rows[i];
		size_t len = section_len(s->path);
		if (!section || (!*prefix && (strncmp(section, s->path, len + 1) != 0))) {
			section = s->path;
			fprintf(f, "\n## %s%.*s\n\n", prefix, *prefix ? 0 : (int)len, s->path);
			fputs("| key | what it may be | default | |\n| --- | --- | --- | --- |\n", f);
		}
		write_row(f, s, prefix);
		if (s->type == SETTING_GROUPS) {
			snprintf(group, sizeof(group), "%s[]", s->path);
			write_table(f, s->rule->table, group);
		}
	}
}

static void write_row(FILE *f, const struct setting *s, const char *prefix)
{
	char what[512];

	fprintf(f, "| `%s%s%s`", prefix, *prefix ? "." : "", s->path);
	fprintf(f, s->type == SETTING_SECRET ? " or `%s_file` | " : " | ", s->path);
	if (s->type == SETTING_SECRET && s->rule)
		fputs("a secret text: ", f);
	write_cell(f, setting_describe(s, what, sizeof(what)));
	if (s->initial)
		fprintf(f, " | `%s` | ", s->initial);
	else
		fputs(" | none: it must be given | ", f);
	write_cell(f, s->sentence);
	fputs(s->reloadable ? " *Reload.* |\n" : " |\n", f);
}

/* The letters of the first key; a setting at the root is a section of its own. */
static size_t section_len(const char *path)
{
	return strcspn(path, ".");
}

static void write_cell(FILE *f, const char *text)
{
	for (; *text; text++)
		fprintf(f, *text == '|' ? "\\%c" : "%c", *text);
}
