/* receipt_test.c - delivery receipts as centres write them. */
#include <check.h>
#include <string.h>

#include "notifier/wake/smpp/receipt.h"
#include "tests/suite.h"

static struct smpp_receipt receipt;

static bool read_text(const char *text)
{
	struct smpp_message m = { .esm_class = SMPP_ESM_RECEIPT,
		.text = (const uint8_t *)text,
		.text_len = strlen(text),
		.state = SMPP_STATE_NONE };
	return smpp_receipt_read(&m, &receipt);
}

static bool read_state(int state)
{
	struct smpp_message m = { .esm_class = SMPP_ESM_RECEIPT, .receipted_id = "17", .state = state };
	return smpp_receipt_read(&m, &receipt);
}

#define BEGINNING "id:0123456789 sub:001 dlvrd:001 submit date:2611252300 done date:2611252300 "

START_TEST(test_outcomes)
{
	static const struct {
		int state;
		const char *text;
		bool is_final, delivered;
		const char *reason;
	} cases[] = {
		{ 1, BEGINNING "stat:ENROUTE err:000 text:", false, false, NULL },
		{ 2, BEGINNING "stat:DELIVRD err:000 text:KEYFOB", true, true, NULL },
		{ 3, BEGINNING "stat:EXPIRED err:001 text:", true, false, "EXPIRED" },
		{ 4, BEGINNING "stat:DELETED err:001 text:", true, false, "DELETED" },
		{ 5, BEGINNING "stat:UNDELIV err:001 text:", true, false, "UNDELIVERABLE" },
		{ 6, BEGINNING "stat:ACCEPTD err:000 text:", true, true, NULL },
		{ 7, BEGINNING "stat:UNKNOWN err:001 text:", true, false, "UNKNOWN" },
		{ 8, BEGINNING "stat:REJECTD err:001 text:", true, false, "REJECTED" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (int by_text = 0; by_text < 2; by_text++) {
			ck_assert(by_text ? read_text(cases[i].text) : read_state(cases[i].state));
			ck_assert_str_eq(receipt.ids[by_text], by_text ? "0123456789" : "17");
			ck_assert_int_eq(receipt.is_final, cases[i].is_final);
			ck_assert_int_eq(receipt.delivered, cases[i].delivered);
			ck_assert_pstr_eq(receipt.reason, cases[i].reason);
		}
}
END_TEST

START_TEST(test_liberties)
{
	ck_assert(read_text("ID:a1 STAT:delivrd"));
	ck_assert_str_eq(receipt.ids[1], "a1");
	ck_assert(read_text("stat:EXPIRED id:b2\r\n"));
	ck_assert_str_eq(receipt.ids[1], "b2");
	ck_assert(read_text("xid:no id:yes stat:DELIVRD"));
	ck_assert_str_eq(receipt.ids[1], "yes");
}
END_TEST

START_TEST(test_no_receipt)
{
	static const char *const texts[] = { "", "hello", "id: stat:DELIVRD", "id:1", "id:1 stat:SOMEHOW",
		"stat:DELIVRD", "sub:001 text:id:1 stat:DELIVRD", "id:\x01 stat:DELIVRD",
		"id:0123456789012345678901234567890123456789012345678901234567890123456789 stat:DELIVRD" };
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		ck_assert_msg(!read_text(texts[i]), "%s", texts[i]);
	ck_assert(!read_state(99));
	ck_assert(!read_state(SMPP_STATE_NONE));
}
END_TEST

/* What stands in the parameters counts more than the text. */
START_TEST(test_both)
{
	const char *text = "id:16 stat:DELIVRD";
	struct smpp_message m = { .esm_class = SMPP_ESM_RECEIPT, .receipted_id = "10", .state = SMPP_STATE_EXPIRED };
	m.text = (const uint8_t *)text;
	m.text_len = strlen(text);
	ck_assert(smpp_receipt_read(&m, &receipt));
	ck_assert_str_eq(receipt.ids[0], "10");
	ck_assert_str_eq(receipt.ids[1], "16");
	ck_assert_str_eq(receipt.reason, "EXPIRED");
	m.state = SMPP_STATE_NONE;
	ck_assert(smpp_receipt_read(&m, &receipt));
	ck_assert(receipt.delivered);
}
END_TEST

START_TEST(test_what_it_claims_to_be)
{
	struct smpp_message m = { .receipted_id = "10", .state = SMPP_STATE_DELIVERED };
	ck_assert(smpp_receipt_read(&m, &receipt)); /* esm_class forgotten */
	*m.receipted_id = '\0';
	m.text = (const uint8_t *)"id:1 stat:DELIVRD";
	m.text_len = 17;
	ck_assert(!smpp_receipt_read(&m, &receipt)); /* anybody with a phone can write that */
	m.esm_class = SMPP_ESM_INTERMEDIATE;
	ck_assert(!smpp_receipt_read(&m, &receipt));
	m.esm_class = 0x40 | SMPP_ESM_RECEIPT;
	ck_assert(smpp_receipt_read(&m, &receipt));
}
END_TEST

START_TEST(test_ucs2)
{
	static const uint8_t text[] = { 0, 'i', 0, 'd', 0, ':', 0, '7', 0, ' ', 0, 's', 0, 't', 0, 'a', 0, 't', 0, ':',
		0, 'D', 0, 'E', 0, 'L', 0, 'I', 0, 'V', 0, 'R', 0, 'D' };
	struct smpp_message m = { .esm_class = SMPP_ESM_RECEIPT,
		.data_coding = 8,
		.text = text,
		.text_len = sizeof text,
		.state = SMPP_STATE_NONE };
	ck_assert(smpp_receipt_read(&m, &receipt));
	ck_assert_str_eq(receipt.ids[1], "7");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("receipt");
	TCase *tc = tcase_create("receipt");
	tcase_add_test(tc, test_outcomes);
	tcase_add_test(tc, test_liberties);
	tcase_add_test(tc, test_no_receipt);
	tcase_add_test(tc, test_both);
	tcase_add_test(tc, test_what_it_claims_to_be);
	tcase_add_test(tc, test_ucs2);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
