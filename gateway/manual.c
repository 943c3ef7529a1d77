/* manual.c - keyfob-manual FOLDER: writes the pages of docs/ that are made from tables. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/metrics.h"
#include "commands/lifecycle.h"
#include "gateway/cli/commands.h"
#include "gateway/config.h"

static const struct page {
	const char *file;
	void (*write)(FILE *);
} pages[] = {
	{ "command-lifecycle.md", lifecycle_write_manual },
	{ "configuration.md", config_write_manual },
	{ "man/keyfob.1", cli_write_man },
	{ "man/keyfob.yaml.5", config_write_man },
	{ "metrics.md", metrics_write_manual },
};

static int write_page(const char *folder, const struct page *page)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", folder, page->file);
	FILE *f = fopen(path, "we");
	if (f)
		page->write(f);
	bool failed = !f || ferror(f);
	if ((f && fclose(f) != 0) || failed) {
		fprintf(stderr, "keyfob-manual: %s: %s\n", path, strerror(errno));
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fputs("usage: keyfob-manual FOLDER\n", stderr);
		return 2;
	}
	for (size_t i = 0; i < sizeof(pages) / sizeof(*pages); i++)
		if (write_page(argv[1], &pages[i]) != 0)
			return 1;
	return 0;
}
