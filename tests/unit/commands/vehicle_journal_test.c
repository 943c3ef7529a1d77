/* vehicle_journal_test.c - the journal's lines: one JSON object each, appended, with what strangers sent escaped. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/loop.h"
#include "commands/vehicle/journal.h"
#include "tests/suite.h"

static char path[] = "/tmp/keyfob-journal-XXXXXX";
static struct loop *loop;

static void set_up(void)
{
	strcpy(path + strlen(path) - 6, "XXXXXX");
	close(mkstemp(path));
	loop = loop_new_virtual(INT64_C(1769846950123456));
}

static void tear_down(void)
{
	unlink(path);
	loop_free(loop);
}

static void assert_file_is(const char *expected)
{
	char text[1024] = { 0 };
	FILE *file = fopen(path, "r");
	ck_assert_uint_gt(fread(text, 1, sizeof(text) - 1, file), 0);
	fclose(file);
	ck_assert_str_eq(text, expected);
}

START_TEST(a_line_has_the_time_the_vehicle_and_what_happened)
{
	struct journal *journal = journal_open(loop, path);
	journal_line(journal, "WKF1", "connected", NULL);
	journal_line(journal, "WKF1", "answered", "a\"b", LOG_TEXT("status", "succeeded"), LOG_TEXT("code", NULL),
		LOG_INT("times", 2));
	journal_close(journal);
	assert_file_is("{\"time\":\"2026-01-31T08:09:10.123456Z\",\"vehicle_id\":\"WKF1\",\"what\":\"connected\"}\n"
		       "{\"time\":\"2026-01-31T08:09:10.123456Z\",\"vehicle_id\":\"WKF1\",\"what\":\"answered\","
		       "\"request_id\":\"a\\\"b\",\"status\":\"succeeded\",\"times\":2}\n");
}
END_TEST

START_TEST(a_second_run_appends)
{
	for (int run = 0; run < 2; run++) {
		struct journal *journal = journal_open(loop, path);
		journal_line(journal, "A", "connected", NULL);
		journal_close(journal);
	}
	assert_file_is("{\"time\":\"2026-01-31T08:09:10.123456Z\",\"vehicle_id\":\"A\",\"what\":\"connected\"}\n"
		       "{\"time\":\"2026-01-31T08:09:10.123456Z\",\"vehicle_id\":\"A\",\"what\":\"connected\"}\n");
}
END_TEST

START_TEST(without_a_journal_nothing_is_recorded)
{
	journal_line((struct journal *)NULL, "A", "connected", NULL);
	ck_assert_ptr_null(journal_open(loop, "/nowhere/at/all"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("journal");
	TCase *tests = tcase_create("journal");
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, a_line_has_the_time_the_vehicle_and_what_happened);
	tcase_add_test(tests, a_second_run_appends);
	tcase_add_test(tests, without_a_journal_nothing_is_recorded);
	suite_add_tcase(suite, tests);

	return suite_run(suite);
}
