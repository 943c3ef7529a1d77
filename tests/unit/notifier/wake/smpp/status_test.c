/* status_test.c - the table of statuses, and that docs/smpp.md has every row of it. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "notifier/wake/smpp/status.h"
#include "tests/suite.h"

START_TEST(test_rows)
{
	for (size_t i = 0; i < smpp_status_count; i++) {
		ck_assert_ptr_eq(smpp_status_of(smpp_statuses[i].code), &smpp_statuses[i]); /* no code twice */
		ck_assert(i == 0 || smpp_statuses[i - 1].code < smpp_statuses[i].code);
	}
	ck_assert_str_eq(smpp_status_of(0x400)->word, "VENDOR_ERROR");
	ck_assert_int_eq(smpp_status_of(0x400)->follow, FOLLOW_FAILED);
	ck_assert_str_eq(smpp_status_of(0x0b)->word, "INVALID_ADDRESS");
}
END_TEST

static const char *const follows[] = {
	[FOLLOW_REFUSED] = "refused", [FOLLOW_FAILED] = "failed", [FOLLOW_AGAIN] = "again"
};

START_TEST(test_manual)
{
	static char manual[65536];
	FILE *file = fopen(MANUAL, "r");
	ck_assert_ptr_nonnull(file);
	manual[fread(manual, 1, sizeof manual - 1, file)] = '\0';
	fclose(file);
	for (size_t i = 0; i < smpp_status_count; i++) {
		char row[128];
		const struct smpp_status *s = &smpp_statuses[i];
		snprintf(row, sizeof row, "| 0x%03x `%s` | %s | `%s` |\n", s->code, s->name, follows[s->follow],
			s->word);
		ck_assert_msg(strstr(manual, row) != NULL, "docs/smpp.md lacks the row\n%s", row);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("status");
	TCase *tc = tcase_create("status");
	tcase_add_test(tc, test_rows);
	tcase_add_test(tc, test_manual);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
