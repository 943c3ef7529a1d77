/* manual_test.c - the pages of docs/ that are made from tables are as the tables make them. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/metrics.h"
#include "gateway/cli/commands.h"
#include "gateway/config.h"
#include "tests/suite.h"

static const struct page {
	const char *file;
	void (*write)(FILE *);
} pages[] = {
	{ SOURCE_FOLDER "/docs/configuration.md", config_write_manual },
	{ SOURCE_FOLDER "/docs/man/keyfob.1", cli_write_man },
	{ SOURCE_FOLDER "/docs/man/keyfob.yaml.5", config_write_man },
	{ SOURCE_FOLDER "/docs/metrics.md", metrics_write_manual },
};

static char *read_page(const char *file)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = fopen(file, "r");

	ck_assert_msg(f != NULL, "%s is missing: run keyfob-manual docs", file);
	ck_assert_int_gt(getdelim(&text, &size, EOF, f), 0);
	fclose(f);
	return text;
}

START_TEST(a_page_is_as_its_table_makes_it)
{
	char *made = NULL, *kept = read_page(pages[_i].file);
	size_t size;
	FILE *f = open_memstream(&made, &size);

	pages[_i].write(f);
	fclose(f);
	ck_assert_msg(strcmp(made, kept) == 0, "%s is not what its table says: run keyfob-manual docs", pages[_i].file);
	free(made);
	free(kept);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("manual");
	TCase *tests = tcase_create("manual");

	tcase_add_loop_test(tests, a_page_is_as_its_table_makes_it, 0, sizeof(pages) / sizeof(*pages));
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
