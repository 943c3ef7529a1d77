/* smpp_failure_test.c - the provider with a centre that dies, refuses, is silent, or sends what is no SMPP. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "centre.h"
#include "tests/suite.h"

static struct asked asked[64];

static void set_up_asked(void)
{
	set_up();
	memset(asked, 0, sizeof asked);
}

/* The provider is bound, and the centre's answer to the bind has been read. */
static void start_bound(struct smpp_options options)
{
	provider_start(options);
	run_until(centre.binds == 1);
	centre_send_header(&centre, SMPP_ENQUIRE_LINK, 0, 1);
	run_until(centre.enquiry_answers == 1);
}

START_TEST(test_dies_over_submissions)
{
	centre.ignores_submits = true;
	provider_start((struct smpp_options){ .window = 2 });
	for (int i = 0; i < 4; i++)
		ask(&asked[i]);
	run_until(centre.submits == 2);
	centre.ignores_submits = false;
	centre_cut(&centre);
	run_until(told == 4);
	assert_outcome(&asked[0], SMS_UNKNOWN, "CONNECTION_LOST"); /* written: it may have been taken */
	assert_outcome(&asked[1], SMS_UNKNOWN, "CONNECTION_LOST");
	assert_outcome(&asked[2], SMS_TAKEN, NULL); /* never written: by the next session */
	assert_outcome(&asked[3], SMS_TAKEN, NULL);
	ck_assert_int_eq(centre.submits, 4);
	ck_assert_int_eq(centre.binds, 2);
}
END_TEST

START_TEST(test_killed_and_back)
{
	start_bound((struct smpp_options){ 0 });
	centre_stop(&centre);
	run_until(!centre.connection);
	ask(&asked[0]);
	run_until(asked[0].is_done);
	ck_assert_int_ne(asked[0].verdict, SMS_TAKEN);
	do { /* until it has noticed */
		ask(&asked[1]);
		run_until(asked[1].is_done);
	} while (asked[1].verdict != SMS_FAILED);
	assert_outcome(&asked[1], SMS_FAILED, "UNREACHABLE");
	centre_start(&centre);
	run_until(centre.binds == 2);
	ask(&asked[2]);
	run_until(asked[2].is_done);
	assert_outcome(&asked[2], SMS_TAKEN, NULL);
}
END_TEST

START_TEST(test_nobody_there)
{
	centre_stop(&centre);
	provider_start((struct smpp_options){ 0 });
	ask(&asked[0]);
	run_until(asked[0].is_done);
	assert_outcome(&asked[0], SMS_FAILED, "UNREACHABLE");
	provider_close();
	provider_start((struct smpp_options){ .url = "smpp://keyfob@no-such-host.invalid:2775" });
	ask(&asked[1]);
	run_until(asked[1].is_done);
	assert_outcome(&asked[1], SMS_FAILED, "UNREACHABLE");
}
END_TEST

START_TEST(test_bind_refused)
{
	static const uint32_t codes[] = { SMPP_RALYBND, SMPP_RBINDFAIL, 0xe, 0xf, 0x4ff };
	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
		centre.bind_status = codes[i];
		provider_start((struct smpp_options){ 0 });
		ask(&asked[0]); /* waits for the bind */
		run_until(asked[0].is_done);
		assert_outcome(&asked[0], SMS_FAILED, "NOT_BOUND");
		ask(&asked[1]); /* need not wait */
		run_until(asked[1].is_done);
		assert_outcome(&asked[1], SMS_FAILED, "NOT_BOUND");
		provider_close();
	}
	ck_assert_int_eq(centre.submits, 0);
}
END_TEST

/* The account allows one bind, and the node before this one goes: as it is with one holder of the lease after another. */
START_TEST(test_bind_refused_then_granted)
{
	centre.bind_status = SMPP_RALYBND;
	provider_start((struct smpp_options){ 0 });
	run_until(centre.binds == 2);
	centre.bind_status = 0;
	run_until(centre.binds == 3);
	do {
		ask(&asked[0]);
		run_until(asked[0].is_done);
	} while (asked[0].verdict != SMS_TAKEN);
}
END_TEST

START_TEST(test_password_too_long)
{
	provider_start((struct smpp_options){ .password = "123456789" });
	ask(&asked[0]);
	run_until(asked[0].is_done);
	assert_outcome(&asked[0], SMS_FAILED, "NOT_BOUND");
	ck_assert_int_eq(centre.binds, 0); /* nothing of it has left */
}
END_TEST

START_TEST(test_nack_to_the_bind)
{
	centre.ignores_binds = true;
	provider_start((struct smpp_options){ 0 });
	ask(&asked[0]);
	run_until(centre.binds == 1);
	centre_send_header(&centre, SMPP_GENERIC_NACK, SMPP_RINVCMDID, 1);
	run_until(asked[0].is_done);
	assert_outcome(&asked[0], SMS_FAILED, "NOT_BOUND");
}
END_TEST

START_TEST(test_bind_unanswered)
{
	centre.ignores_binds = true;
	provider_start((struct smpp_options){ 0 });
	ask(&asked[0]);
	run_until(asked[0].is_done); /* after 5 s */
	assert_outcome(&asked[0], SMS_FAILED, "UNREACHABLE");
	centre.ignores_binds = false;
	run_until(centre.binds == 2);
}
END_TEST

/* keeping alive */

START_TEST(test_enquires_when_silent)
{
	start_bound((struct smpp_options){ .enquire_ms = 100 });
	run_until(centre.enquiries == 5);
	ck_assert_int_eq(centre.connections, 1);
}
END_TEST

START_TEST(test_silent_centre)
{
	centre.ignores_enquiries = centre.ignores_submits = true;
	provider_start((struct smpp_options){ .enquire_ms = 100 });
	ask(&asked[0]);
	run_until(asked[0].is_done);
	assert_outcome(&asked[0], SMS_UNKNOWN, "CONNECTION_LOST");
	ck_assert_int_ge(centre.enquiries, 1);
	run_until(centre.binds == 2);
}
END_TEST

START_TEST(test_unbinds)
{
	start_bound((struct smpp_options){ 0 });
	centre_send_header(&centre, SMPP_UNBIND, 0, 9);
	run_until(centre.unbind_answers == 1 && centre.binds == 2);
	ask(&asked[0]);
	run_until(asked[0].is_done);
	assert_outcome(&asked[0], SMS_TAKEN, NULL);
}
END_TEST

START_TEST(test_requests_that_it_does_not_know)
{
	start_bound((struct smpp_options){ 0 });
	centre_send_header(&centre, 0x103, 0, 9); /* data_sm */
	run_until(centre.nacks == 1);
	ck_assert_uint_eq(centre.last_status, SMPP_RINVCMDID);
	centre_send_header(&centre, SMPP_ALERT_NOTIFICATION, 0, 10);
	centre_send_header(&centre, SMPP_OUTBIND, 0, 11);
	centre_send_header(&centre, 0x80000103, 0, 12);
	centre_send_header(&centre, SMPP_BIND_TRANSCEIVER | SMPP_RESPONSE, SMPP_RBINDFAIL, 13);
	centre_send_header(&centre, SMPP_ENQUIRE_LINK, 0, 0); /* a sequence number that the standard lacks */
	run_until(centre.enquiry_answers == 2);
	ck_assert_int_eq(centre.nacks, 1);
	ck_assert_int_eq(centre.connections, 1);
}
END_TEST

/* bytes */

START_TEST(test_no_smpp)
{
	static const char *const greetings[] = { "HTTP/1.1 400 Bad Request\r\n\r\n", "\xff\xff\xff\xff\0\0\0\5",
		"SSH-2.0-x" };
	start_bound((struct smpp_options){ 0 });
	for (int i = 0; i < 3; i++) {
		centre_send(&centre, greetings[i], strlen(greetings[i]) ? strlen(greetings[i]) : 8);
		run_until(centre.binds == i + 2);
	}
	ask(&asked[0]);
	run_until(asked[0].is_done);
	assert_outcome(&asked[0], SMS_TAKEN, NULL);
}
END_TEST

START_TEST(test_lengths)
{
	static uint8_t pdu[SMPP_PDU_MAX + 1] = { 0, 1, 0, 0, 0x80, 0, 0, 5 };
	start_bound((struct smpp_options){ 0 });
	centre_send(&centre, pdu, SMPP_PDU_MAX); /* as long as it may be */
	centre_send_header(&centre, SMPP_ENQUIRE_LINK, 0, 1);
	run_until(centre.enquiry_answers == 2);
	ck_assert_int_eq(centre.connections, 1);
	pdu[3] = 1;
	centre_send(&centre, pdu, sizeof pdu);
	run_until(centre.binds == 2);
	memcpy(pdu, (const uint8_t[]){ 0, 0, 0, 15 }, 4);
	centre_send(&centre, pdu, 15);
	run_until(centre.binds == 3);
}
END_TEST

START_TEST(test_byte_by_byte)
{
	uint8_t pdu[SMPP_WRITE_SIZE];
	struct smpp_message m = { .esm_class = SMPP_ESM_RECEIPT, .receipted_id = "A1", .state = SMPP_STATE_DELIVERED };
	start_bound((struct smpp_options){ 0 });
	size_t len = smpp_write_message(pdu, SMPP_DELIVER_SM, 5, &m);
	for (size_t i = 0; i < len; i++) {
		centre_send(&centre, pdu + i, 1);
		uv_run(loop_uv(loop), UV_RUN_NOWAIT);
	}
	run_until(receipts == 1 && centre.deliver_answers == 1);
}
END_TEST

START_TEST(test_half_a_pdu)
{
	centre.ignores_enquiries = true;
	start_bound((struct smpp_options){ .enquire_ms = 100 });
	centre_send(&centre, "\0\0\0\x20\0\0\0\5", 8);
	run_until(centre.binds == 2); /* what never ends is silence */
}
END_TEST

START_TEST(test_malformed_receipt)
{
	uint8_t pdu[SMPP_WRITE_SIZE];
	struct smpp_message m = { .esm_class = SMPP_ESM_RECEIPT, .receipted_id = "A1", .state = SMPP_STATE_DELIVERED };
	start_bound((struct smpp_options){ 0 });
	size_t len = smpp_write_message(pdu, SMPP_DELIVER_SM, 5, &m);
	pdu[3] = (uint8_t)(len - 1); /* its last parameter has no end */
	centre_send(&centre, pdu, len - 1);
	run_until(centre.deliver_answers == 1);
	ck_assert_uint_eq(centre.last_status, SMPP_RX_P_APPN);
	ck_assert_int_eq(receipts, 0);
	ck_assert_int_eq(centre.connections, 1);
}
END_TEST

/* Everything that comes is a PDU changed at random; the provider lives, binds again, and works afterwards. */
START_TEST(test_a_lying_centre)
{
	const char *given = getenv("KEYFOB_SEED");
	unsigned long seed = given ? strtoul(given, NULL, 10) : (unsigned long)time(NULL);
	unsigned short state[3];
	memcpy(state, &seed, sizeof state);
	printf("KEYFOB_SEED=%lu\n", seed);
	static const uint32_t commands[] = { SMPP_DELIVER_SM, SMPP_SUBMIT_SM | SMPP_RESPONSE, SMPP_GENERIC_NACK,
		SMPP_ENQUIRE_LINK, SMPP_BIND_TRANSCEIVER | SMPP_RESPONSE, SMPP_UNBIND | SMPP_RESPONSE };
	centre.ignores_submits = true;
	start_bound((struct smpp_options){ .patience_ms = 500 });
	for (int round = 0; round < 2000; round++) {
		uint8_t pdu[512];
		size_t len = SMPP_HEADER_SIZE + (size_t)nrand48(state) % 480;
		for (size_t i = SMPP_HEADER_SIZE; i < len; i++)
			pdu[i] = nrand48(state) % 2 ? 0 : (uint8_t)nrand48(state);
		uint8_t header[SMPP_WRITE_SIZE];
		smpp_write_header(header, commands[(size_t)nrand48(state) % 6], (uint32_t)(nrand48(state) % 2),
			(uint32_t)(nrand48(state) % 40));
		memcpy(pdu, header, SMPP_HEADER_SIZE);
		pdu[2] = (uint8_t)(len >> 8);
		pdu[3] = (uint8_t)len;
		if (nrand48(state) % 50 == 0)
			pdu[nrand48(state) % 4] = (uint8_t)nrand48(state);
		if (round % 200 == 0 && asked[round / 200].submission.on_done == NULL)
			ask(&asked[round / 200]);
		centre_send(&centre, pdu, len);
		uv_run(loop_uv(loop), UV_RUN_NOWAIT);
	}
	run_until(told == 10);
	centre.ignores_submits = false;
	do {
		ask(&asked[20]);
		run_until(asked[20].is_done);
	} while (asked[20].verdict != SMS_TAKEN);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { test_dies_over_submissions, test_killed_and_back, test_nobody_there,
		test_bind_refused, test_bind_refused_then_granted, test_password_too_long, test_nack_to_the_bind,
		test_bind_unanswered, test_enquires_when_silent, test_silent_centre, test_unbinds,
		test_requests_that_it_does_not_know, test_no_smpp, test_lengths, test_byte_by_byte, test_half_a_pdu,
		test_malformed_receipt, test_a_lying_centre };
	Suite *suite = suite_create("smpp_failure");
	TCase *tc = tcase_create("failure");
	tcase_add_checked_fixture(tc, set_up_asked, tear_down);
	tcase_set_timeout(tc, 60);
	for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
		tcase_add_test(tc, tests[i]);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
