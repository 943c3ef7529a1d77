/* pdu_test.c - PDUs written and read again, octets by the standard, and PDUs that are none. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/smpp/pdu.h"
#include "tests/suite.h"

static uint8_t pdu[4096];
static struct smpp_header header;
static struct smpp_message read_back;

static const struct smpp_message wake_up = {
	.source = { SMPP_TON_ALPHANUMERIC, SMPP_NPI_UNKNOWN, "Keyfob" },
	.destination = { SMPP_TON_INTERNATIONAL, SMPP_NPI_ISDN, "4915550000001" },
	.registered_delivery = 1,
	.validity_period = "000000000130000R",
	.text = (const uint8_t *)"KEYFOB WAKE A",
	.text_len = 13,
	.state = SMPP_STATE_NONE,
};

/* A body behind a header that fits it. */
static size_t make(uint32_t command, const void *body, size_t len)
{
	smpp_write_header(pdu, command, 0, 7);
	memcpy(pdu + SMPP_HEADER_SIZE, body, len);
	pdu[2] = (uint8_t)((len + SMPP_HEADER_SIZE) >> 8);
	pdu[3] = (uint8_t)(len + SMPP_HEADER_SIZE);
	return len + SMPP_HEADER_SIZE;
}
#define MAKE(command, bytes) make(command, bytes, sizeof(bytes) - 1)

START_TEST(test_header)
{
	static const uint8_t expected[] = { 0, 0, 0, 16, 0x80, 0, 0, 0x15, 0, 0, 0, 0x58, 0, 0, 1, 2 };
	ck_assert_uint_eq(smpp_write_header(pdu, SMPP_ENQUIRE_LINK | SMPP_RESPONSE, SMPP_RTHROTTLED, 0x102), 16);
	ck_assert_mem_eq(pdu, expected, 16);
	ck_assert_int_eq(smpp_frame(pdu, 16, &header), SMPP_FRAME_WHOLE);
	ck_assert_uint_eq(header.length, 16);
	ck_assert_uint_eq(header.command, 0x80000015);
	ck_assert_uint_eq(header.status, SMPP_RTHROTTLED);
	ck_assert_uint_eq(header.sequence, 0x102);
}
END_TEST

START_TEST(test_frames)
{
	smpp_write_header(pdu, SMPP_UNBIND, 0, 1);
	for (size_t len = 0; len < 16; len++)
		ck_assert_int_eq(smpp_frame(pdu, len, &header), SMPP_FRAME_HALF);
	ck_assert_int_eq(smpp_frame(pdu, 4096, &header), SMPP_FRAME_WHOLE);
	pdu[3] = 15;
	ck_assert_int_eq(smpp_frame(pdu, 16, &header), SMPP_FRAME_WRONG);
	memcpy(pdu, (const uint8_t[]){ 0, 1, 0, 1 }, 4);
	ck_assert_int_eq(smpp_frame(pdu, 4, &header), SMPP_FRAME_WRONG);
	memcpy(pdu, (const uint8_t[]){ 0, 1, 0, 0 }, 4);
	ck_assert_int_eq(smpp_frame(pdu, 4, &header), SMPP_FRAME_HALF);
	memcpy(pdu, (const uint8_t[]){ 'H', 'T', 'T', 'P' }, 4);
	ck_assert_int_eq(smpp_frame(pdu, 4, &header), SMPP_FRAME_WRONG);
}
END_TEST

START_TEST(test_bind)
{
	struct smpp_bind bind = { "keyfob", "12345678" }, back;
	size_t len = smpp_write_bind(pdu, SMPP_BIND_TRANSCEIVER, 1, &bind);
	static const char body[] = "keyfob\0"
				   "12345678\0"
				   "\0\x34\0\0";
	ck_assert_uint_eq(len, SMPP_HEADER_SIZE + sizeof body);
	ck_assert_mem_eq(pdu + SMPP_HEADER_SIZE, body, sizeof body);
	ck_assert(smpp_read_bind(pdu, len, &back));
	ck_assert_str_eq(back.system_id, "keyfob");
	ck_assert_str_eq(back.password, "12345678");
	ck_assert(!smpp_read_bind(pdu, SMPP_HEADER_SIZE + 15, &back)); /* the password has no end */
	ck_assert(!smpp_read_bind(pdu, SMPP_HEADER_SIZE, &back));

	len = smpp_write_bind(pdu, SMPP_BIND_RECEIVER | SMPP_RESPONSE, 9, &bind);
	ck_assert_int_eq(smpp_frame(pdu, len, &header), SMPP_FRAME_WHOLE);
	ck_assert_uint_eq(header.command, 0x80000001);
	ck_assert_str_eq((const char *)pdu + SMPP_HEADER_SIZE, "keyfob");
}
END_TEST

START_TEST(test_submit)
{
	size_t len = smpp_write_message(pdu, SMPP_SUBMIT_SM, 3, &wake_up);
	ck_assert_int_eq(smpp_frame(pdu, len, &header), SMPP_FRAME_WHOLE);
	ck_assert_uint_eq(header.length, len);
	ck_assert_uint_eq(header.command, SMPP_SUBMIT_SM);
	static const char body[] = "\0\5\0Keyfob\0\1\1"
				   "4915550000001\0"
				   "\0\0\0\0"
				   "000000000130000R\0"
				   "\1\0\0\0\x0dKEYFOB WAKE A";
	ck_assert_uint_eq(len, SMPP_HEADER_SIZE + sizeof body - 1);
	ck_assert_mem_eq(pdu + SMPP_HEADER_SIZE, body, sizeof body - 1);
	ck_assert(smpp_read_message(pdu, len, &read_back));
	ck_assert_str_eq(read_back.destination.text, "4915550000001");
	ck_assert_str_eq(read_back.validity_period, "000000000130000R");
	ck_assert_uint_eq(read_back.registered_delivery, 1);
	ck_assert_int_eq(read_back.state, SMPP_STATE_NONE);
	ck_assert_uint_eq(read_back.text_len, 13);
}
END_TEST

START_TEST(test_what_cannot_be_written)
{
	static const uint8_t text[SMPP_TEXT_MAX + 1];
	struct smpp_message m = wake_up;
	m.destination.ton = 9;
	ck_assert_uint_eq(smpp_write_message(pdu, SMPP_SUBMIT_SM, 1, &m), 0);
	ck_assert_uint_eq(smpp_write_message(pdu, SMPP_DELIVER_SM, 1, &m), 0);
	m = wake_up;
	m.text = text;
	m.text_len = SMPP_TEXT_MAX;
	ck_assert_uint_gt(smpp_write_message(pdu, SMPP_SUBMIT_SM, 1, &m), SMPP_TEXT_MAX);
	m.text_len++;
	ck_assert_uint_eq(smpp_write_message(pdu, SMPP_SUBMIT_SM, 1, &m), 0);
}
END_TEST

START_TEST(test_receipt)
{
	struct smpp_message m = { .esm_class = SMPP_ESM_RECEIPT, .receipted_id = "0A1B", .state = SMPP_STATE_EXPIRED };
	m.text = (const uint8_t *)"id:0A1B stat:EXPIRED";
	m.text_len = 20;
	size_t len = smpp_write_message(pdu, SMPP_DELIVER_SM, 3, &m);
	ck_assert(smpp_read_message(pdu, len, &read_back));
	ck_assert_uint_eq(read_back.esm_class, SMPP_ESM_RECEIPT);
	ck_assert_str_eq(read_back.receipted_id, "0A1B");
	ck_assert_int_eq(read_back.state, SMPP_STATE_EXPIRED);
	ck_assert_mem_eq(read_back.text, "id:0A1B stat:EXPIRED", 20);
}
END_TEST

#define MESSAGE "\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0\0\0"

START_TEST(test_parameters)
{
	size_t len = MAKE(SMPP_DELIVER_SM, MESSAGE "\x14\x01\0\2xx"
						   "\0\x1e\0\3A1B"
						   "\4\x24\0\4text"
						   "\4\x27\0\1\2");
	ck_assert(smpp_read_message(pdu, len, &read_back));
	ck_assert_str_eq(read_back.receipted_id, "A1B"); /* without its NUL */
	ck_assert_int_eq(read_back.state, SMPP_STATE_DELIVERED);
	ck_assert_mem_eq(read_back.text, "text", 4);
	ck_assert_uint_eq(read_back.text_len, 4);

	len = MAKE(SMPP_DELIVER_SM, MESSAGE "\4\x27\0\2\2\2"
					    "\0\x1e\0\0");
	ck_assert(smpp_read_message(pdu, len, &read_back));
	ck_assert_int_eq(read_back.state, SMPP_STATE_NONE);
	ck_assert_str_eq(read_back.receipted_id, "");

	char body[256] = MESSAGE "\0\x1e\0\x41";
	memset(body + sizeof MESSAGE + 3, 'x', 65);
	len = make(SMPP_DELIVER_SM, body, sizeof MESSAGE + 3 + 65);
	ck_assert(smpp_read_message(pdu, len, &read_back));
	ck_assert_str_eq(read_back.receipted_id, "");
}
END_TEST

/* As many as fit: libsmpp34's own reading writes out of bounds from some 40 on. */
START_TEST(test_a_thousand_parameters)
{
	static char body[4000] = MESSAGE;
	size_t len = sizeof MESSAGE - 1;
	for (; len + 5 < sizeof body - 64; len += 5)
		memcpy(body + len, (const uint8_t[]){ 4, 0x27, 0, 1, 2 }, 5);
	ck_assert(smpp_read_message(pdu, make(SMPP_DELIVER_SM, body, len), &read_back));
	ck_assert_int_eq(read_back.state, SMPP_STATE_DELIVERED);
	ck_assert(!smpp_read_message(pdu, make(SMPP_DELIVER_SM, body, len - 1), &read_back));
}
END_TEST

/* Cut anywhere, it is malformed: in an allocation of its own, so that the sanitizers see a read behind it. */
START_TEST(test_cut_anywhere)
{
	size_t len = MAKE(SMPP_DELIVER_SM, MESSAGE "\0\x1e\0\4A1B\0");
	for (size_t cut = SMPP_HEADER_SIZE; cut < len; cut++) {
		uint8_t *copy = malloc(cut);
		memcpy(copy, pdu, cut);
		bool whole = cut == SMPP_HEADER_SIZE + sizeof MESSAGE - 1; /* without the parameter */
		ck_assert_int_eq(smpp_read_message(copy, cut, &read_back), whole);
		free(copy);
	}
}
END_TEST

START_TEST(test_ids)
{
	static const struct {
		const char *body;
		size_t len;
		bool is_id;
	} cases[] = { { "A1-b.c", 7, true }, { "", 1, false }, { "A1", 2, false }, { "", 0, false },
		{ "a b", 4, false }, { "a\nb", 4, false }, { "\xc3\xa4", 3, false } };
	char id[SMPP_ID_SIZE];
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t len = make(SMPP_SUBMIT_SM | SMPP_RESPONSE, cases[i].body, cases[i].len);
		ck_assert_int_eq(smpp_read_id(pdu, len, id), cases[i].is_id);
		ck_assert(!cases[i].is_id || strcmp(id, cases[i].body) == 0);
	}
	char longest[66];
	memset(longest, 'x', 65);
	longest[65] = '\0';
	ck_assert(!smpp_read_id(pdu, make(SMPP_SUBMIT_SM | SMPP_RESPONSE, longest, 66), id));
	ck_assert(smpp_read_id(pdu, make(SMPP_SUBMIT_SM | SMPP_RESPONSE, longest + 1, 65), id));
	ck_assert_uint_eq(smpp_write_taken(pdu, SMPP_SUBMIT_SM | SMPP_RESPONSE, 5, "A1"), SMPP_HEADER_SIZE + 3);
	ck_assert_int_eq(smpp_frame(pdu, SMPP_HEADER_SIZE + 3, &header), SMPP_FRAME_WHOLE);
	ck_assert(smpp_read_id(pdu, SMPP_HEADER_SIZE + 3, id));
	ck_assert_str_eq(id, "A1");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pdu");
	TCase *tc = tcase_create("pdu");
	tcase_add_test(tc, test_header);
	tcase_add_test(tc, test_frames);
	tcase_add_test(tc, test_bind);
	tcase_add_test(tc, test_submit);
	tcase_add_test(tc, test_what_cannot_be_written);
	tcase_add_test(tc, test_receipt);
	tcase_add_test(tc, test_parameters);
	tcase_add_test(tc, test_a_thousand_parameters);
	tcase_add_test(tc, test_cut_anywhere);
	tcase_add_test(tc, test_ids);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
