/* smpp_test.c - the provider with a centre that behaves: what goes out, how each status ends, throttling, the window,
 * receipts, and the close. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "centre.h"
#include "notifier/wake/smpp/status.h"
#include "tests/suite.h"

static struct asked asked[32];

static void set_up_asked(void)
{
	set_up();
	memset(asked, 0, sizeof asked);
}

/* what goes out */

START_TEST(test_a_wake_up)
{
	centre.first_id = "A1B2";
	provider_start((struct smpp_options){ .registered_delivery = true });
	ck_assert_str_eq(provider->name, "smpp");
	ck_assert(provider->gives_receipts);
	ask(&asked[0]);
	run_until(asked[0].is_done);
	assert_outcome(&asked[0], SMS_TAKEN, NULL);
	ck_assert_str_eq(asked[0].message_id, "A1B2");
	ck_assert_str_eq(centre.bind.system_id, "keyfob");
	ck_assert_str_eq(centre.bind.password, "secret");

	const struct smpp_message *m = &centre.submit[0].message;
	ck_assert_int_eq(m->source.ton, SMPP_TON_ALPHANUMERIC);
	ck_assert_int_eq(m->source.npi, SMPP_NPI_UNKNOWN);
	ck_assert_str_eq(m->source.text, "Keyfob");
	ck_assert_int_eq(m->destination.ton, SMPP_TON_INTERNATIONAL);
	ck_assert_int_eq(m->destination.npi, SMPP_NPI_ISDN);
	ck_assert_str_eq(m->destination.text, "4915550000001");
	ck_assert_int_eq(m->registered_delivery, 1);
	ck_assert_int_eq(m->data_coding, 0);
	ck_assert_str_eq(m->validity_period, "000000000130000R"); /* 90 s */
	ck_assert_uint_eq(m->text_len, 29);
	ck_assert_mem_eq(centre.submit[0].text, "KEYFOB WAKE WKF00000000000001", 29);
}
END_TEST

START_TEST(test_sources)
{
	static const struct {
		const char *given, *text;
		int ton, npi;
	} cases[] = {
		{ "+4930123456", "4930123456", SMPP_TON_INTERNATIONAL, SMPP_NPI_ISDN },
		{ "4930123456", "4930123456", SMPP_TON_INTERNATIONAL, SMPP_NPI_ISDN },
		{ "12345", "12345", SMPP_TON_NETWORK, SMPP_NPI_UNKNOWN },
		{ "Auto 24", "Auto 24", SMPP_TON_ALPHANUMERIC, SMPP_NPI_UNKNOWN },
		{ "12345678901234567890", "12345678901234567890", SMPP_TON_INTERNATIONAL, SMPP_NPI_ISDN },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		provider_start((struct smpp_options){ .source = cases[i].given });
		ck_assert(!provider->gives_receipts);
		ask(&asked[i]);
		run_until(asked[i].is_done);
		const struct smpp_message *m = &centre.submit[i].message;
		ck_assert_str_eq(m->source.text, cases[i].text);
		ck_assert_int_eq(m->source.ton, cases[i].ton);
		ck_assert_int_eq(m->source.npi, cases[i].npi);
		ck_assert_int_eq(m->registered_delivery, 0);
		provider_close();
	}
}
END_TEST

START_TEST(test_validity_and_alphabet)
{
	provider_start((struct smpp_options){ 0 });
	asked[0].sms.validity_s = 1;
	asked[1].sms.validity_s = 2 * 86400 + 3 * 3600 + 4 * 60 + 5;
	asked[2].sms.validity_s = 2000000000;
	asked[2].sms.text = "Жук";
	for (int i = 0; i < 3; i++)
		ask(&asked[i]);
	run_until(told == 3);
	ck_assert_str_eq(centre.submit[0].message.validity_period, "000000000001000R");
	ck_assert_str_eq(centre.submit[1].message.validity_period, "000002030405000R");
	ck_assert_str_eq(centre.submit[2].message.validity_period, "000030000000000R");
	ck_assert_int_eq(centre.submit[2].message.data_coding, 8);
	ck_assert_mem_eq(centre.submit[2].text, "\x04\x16\x04\x43\x04\x3a", 6);
}
END_TEST

START_TEST(test_what_never_goes_out)
{
	static char long_text[170];
	memset(long_text, 'x', 161);
	static const struct {
		const char *msisdn, *text, *word;
	} cases[] = {
		{ "4915550000001", NULL, "INVALID_ADDRESS" },
		{ "+", NULL, "INVALID_ADDRESS" },
		{ "+1234", NULL, "INVALID_ADDRESS" },
		{ "+1234567890123456", NULL, "INVALID_ADDRESS" },
		{ "+12345x", NULL, "INVALID_ADDRESS" },
		{ NULL, "\xff", "INVALID_TEXT" },
		{ NULL, long_text, "TEXT_TOO_LONG" },
	};
	int count = sizeof cases / sizeof *cases;
	provider_start((struct smpp_options){ 0 });
	for (int i = 0; i < count; i++) {
		asked[i].sms.msisdn = cases[i].msisdn;
		asked[i].sms.text = cases[i].text;
		ask(&asked[i]);
	}
	run_until(told == count);
	for (int i = 0; i < count; i++)
		assert_outcome(&asked[i], SMS_REFUSED, cases[i].word);
	ck_assert_int_eq(centre.submits, 0);
}
END_TEST

/* answers */

START_TEST(test_every_status)
{
	provider_start((struct smpp_options){ 0 });
	for (size_t i = 0; i < smpp_status_count; i++) {
		const struct smpp_status *s = &smpp_statuses[i];
		if (s->follow == FOLLOW_AGAIN)
			continue;
		centre.submit_status = s->code;
		ask(&asked[0]);
		run_until(asked[0].is_done);
		assert_outcome(&asked[0], s->follow == FOLLOW_REFUSED ? SMS_REFUSED : SMS_FAILED, s->word);
	}
	centre.submit_status = 0x4ff;
	ask(&asked[0]);
	run_until(asked[0].is_done);
	assert_outcome(&asked[0], SMS_FAILED, "VENDOR_ERROR");
	ck_assert_int_eq(centre.binds, 1);
}
END_TEST

START_TEST(test_ids_that_are_none)
{
	static const char *const bodies[] = { "", "a b", "\x1b[2J" };
	uint8_t pdu[SMPP_WRITE_SIZE];
	centre.ignores_submits = true;
	provider_start((struct smpp_options){ 0 });
	for (int i = 0; i < 4; i++) {
		ask(&asked[i]);
		run_until(centre.submits == i + 1);
		if (i < 3)
			centre_answer(&centre, i, bodies[i]);
		else /* no body at all */
			centre_send(&centre, pdu,
				smpp_write_header(pdu, SMPP_SUBMIT_SM | SMPP_RESPONSE, 0, centre.submit[i].sequence));
		run_until(asked[i].is_done);
		assert_outcome(&asked[i], SMS_TAKEN, NULL);
		ck_assert_str_eq(asked[i].message_id, "");
	}
}
END_TEST

START_TEST(test_nacked)
{
	centre.ignores_submits = true;
	provider_start((struct smpp_options){ 0 });
	ask(&asked[0]);
	run_until(centre.submits == 1);
	centre_send_header(&centre, SMPP_GENERIC_NACK, SMPP_RINVCMDID, 0x7654321); /* nobody's */
	centre_send_header(&centre, SMPP_GENERIC_NACK, SMPP_RINVCMDLEN, centre.submit[0].sequence);
	run_until(asked[0].is_done);
	assert_outcome(&asked[0], SMS_REFUSED, "INVALID_PDU");
}
END_TEST

static void throttled_then_taken(uint32_t status)
{
	centre.submit_status = status;
	centre.refusals = 3;
	provider_start((struct smpp_options){ 0 });
	ask(&asked[0]);
	ask(&asked[1]);
	run_until(told == 2);
	assert_outcome(&asked[0], SMS_TAKEN, NULL);
	assert_outcome(&asked[1], SMS_TAKEN, NULL);
	ck_assert_int_eq(centre.submits, 5);
}

START_TEST(test_throttled)
{
	throttled_then_taken(SMPP_RTHROTTLED);
}
END_TEST

START_TEST(test_their_queue_full)
{
	throttled_then_taken(SMPP_RMSGQFUL);
}
END_TEST

START_TEST(test_throttled_for_too_long)
{
	centre.submit_status = SMPP_RTHROTTLED;
	provider_start((struct smpp_options){ .patience_ms = 2000 });
	int64_t begun_ms = loop_monotonic_ms(loop);
	ask(&asked[0]);
	run_until(asked[0].is_done);
	assert_outcome(&asked[0], SMS_FAILED, "THROTTLED");
	ck_assert_int_le(loop_monotonic_ms(loop) - begun_ms, 5000);
	ck_assert_int_ge(centre.submits, 2);
	ck_assert_int_le(centre.submits, 6); /* no storm */
	centre.submit_status = 0;
	ask(&asked[1]);
	run_until(asked[1].is_done);
	ck_assert(asked[1].verdict == SMS_TAKEN || strcmp(asked[1].reason, "THROTTLED") == 0);
}
END_TEST

START_TEST(test_window)
{
	centre.ignores_submits = true;
	provider_start((struct smpp_options){ .window = 3 });
	for (int i = 0; i < 10; i++)
		ask(&asked[i]);
	run_until(centre.submits == 3);
	for (int answered = 0; answered < 10; answered++) {
		centre_send_header(&centre, SMPP_ENQUIRE_LINK, 0, 1);
		run_until(centre.enquiry_answers == answered + 1); /* so long nothing else came */
		ck_assert_int_eq(centre.submits, answered + 3 < 10 ? answered + 3 : 10);
		centre_answer(&centre, answered, "x");
		run_until(asked[answered].is_done && centre.submits >= (answered + 4 < 10 ? answered + 4 : 10));
	}
	ck_assert_int_eq(told, 10);
}
END_TEST

START_TEST(test_queue_full)
{
	centre.ignores_submits = true;
	provider_start((struct smpp_options){ .window = 1, .queue_max = 2 });
	ask(&asked[0]);
	run_until(centre.submits == 1);
	for (int i = 1; i < 5; i++)
		ask(&asked[i]);
	run_until(told == 2);
	assert_outcome(&asked[3], SMS_FAILED, "QUEUE_FULL");
	assert_outcome(&asked[4], SMS_FAILED, "QUEUE_FULL");
	centre.ignores_submits = false;
	centre_answer(&centre, 0, "x");
	run_until(told == 5);
	assert_outcome(&asked[2], SMS_TAKEN, NULL);
}
END_TEST

START_TEST(test_slow_centre)
{
	centre.ignores_submits = true;
	provider_start((struct smpp_options){ .window = 1, .patience_ms = 1500 });
	ask(&asked[0]);
	run_until(centre.submits == 1);
	ask(&asked[1]);
	run_until(asked[0].is_done);
	assert_outcome(&asked[0], SMS_UNKNOWN, "NO_ANSWER");
	run_until(asked[1].is_done); /* it had the window for a moment, or never */
	ck_assert(asked[1].verdict == SMS_UNKNOWN || strcmp(asked[1].reason, "BUSY") == 0);
	centre_answer(&centre, 0, "late"); /* of no interest any more */
	centre.ignores_submits = false;
	ask(&asked[2]);
	run_until(asked[2].is_done);
	assert_outcome(&asked[2], SMS_TAKEN, NULL);
}
END_TEST

/* receipts */

static void on_closed(void *owner)
{
	*(bool *)owner = true;
}

static void take_one(const char *id)
{
	centre.first_id = id;
	provider_start((struct smpp_options){ .registered_delivery = true });
	ask(&asked[0]);
	run_until(asked[0].is_done);
}

/* What the provider has to say it has said when it answers what came after. */
static void settle(void)
{
	int before = centre.enquiry_answers;
	centre_send_header(&centre, SMPP_ENQUIRE_LINK, 0, 1);
	run_until(centre.enquiry_answers > before);
	uv_run(loop_uv(loop), UV_RUN_NOWAIT);
	uv_run(loop_uv(loop), UV_RUN_NOWAIT);
}

START_TEST(test_receipt_in_parameters)
{
	take_one("A1");
	centre_send_receipt(&centre, "A1", SMPP_STATE_DELIVERED, "");
	run_until(receipts == 1);
	ck_assert_str_eq(seen[0].id, "A1");
	ck_assert(seen[0].delivered);
	run_until(centre.deliver_answers == 1);
	ck_assert_uint_eq(centre.last_status, SMPP_ROK);
}
END_TEST

START_TEST(test_receipt_in_text)
{
	take_one("A1");
	centre_send_receipt(&centre, NULL, SMPP_STATE_NONE, "id:A1 sub:001 dlvrd:000 stat:UNDELIV err:034 text:");
	run_until(receipts == 1);
	ck_assert_str_eq(seen[0].id, "A1");
	ck_assert(!seen[0].delivered);
	ck_assert_str_eq(seen[0].reason, "UNDELIVERABLE");
}
END_TEST

START_TEST(test_receipt_in_the_other_base)
{
	take_one("3A7F");
	centre_send_receipt(&centre, NULL, SMPP_STATE_NONE, "id:0000014975 stat:DELIVRD");
	run_until(receipts == 1);
	ck_assert_str_eq(seen[0].id, "3A7F"); /* as it was handed out */
}
END_TEST

START_TEST(test_doubled_receipt)
{
	take_one("A1");
	centre_send_receipt(&centre, "A1", SMPP_STATE_ENROUTE, "");
	centre_send_receipt(&centre, "A1", SMPP_STATE_DELIVERED, "");
	centre_send_receipt(&centre, "A1", SMPP_STATE_DELIVERED, "");
	centre_send_receipt(&centre, NULL, SMPP_STATE_NONE, "id:a1 stat:DELIVRD");
	run_until(centre.deliver_answers == 4);
	settle();
	ck_assert_int_eq(receipts, 1);
}
END_TEST

START_TEST(test_receipt_of_another_node)
{
	provider_start((struct smpp_options){ 0 });
	run_until(centre.binds == 1);
	settle();
	centre_send_receipt(&centre, "B7", SMPP_STATE_EXPIRED, "id:999 stat:EXPIRED");
	run_until(receipts == 1);
	ck_assert_str_eq(seen[0].id, "B7");
	ck_assert_str_eq(seen[0].reason, "EXPIRED");
}
END_TEST

/* A centre whose receipts overtake its answers, and one that sends both in one segment. */
START_TEST(test_receipt_before_the_answer)
{
	centre.ignores_submits = true;
	provider_start((struct smpp_options){ .registered_delivery = true });
	ask(&asked[0]);
	run_until(centre.submits == 1);
	centre_send_receipt(&centre, "A1", SMPP_STATE_DELIVERED, "");
	settle();
	ck_assert_int_eq(receipts, 0);
	ck_assert_int_eq(centre.deliver_answers, 0);
	centre_answer(&centre, 0, "A1");
	run_until(centre.deliver_answers == 1);
	ck_assert_uint_eq(centre.last_status, SMPP_ROK);
	ck_assert_int_eq(receipts, 1);
	ck_assert_int_eq(seen[0].after_done, 1);
	assert_outcome(&asked[0], SMS_TAKEN, NULL);
}
END_TEST

/* Durable first: the centre keeps it until then. */
START_TEST(test_receipt_is_answered_when_it_is_on_record)
{
	keeps_receipts = true;
	take_one("A1");
	centre_send_receipt(&centre, "A1", SMPP_STATE_DELIVERED, "");
	run_until(receipts == 1);
	centre_send_receipt(&centre, "A1", SMPP_STATE_DELIVERED, ""); /* an impatient centre */
	settle();
	ck_assert_int_eq(centre.deliver_answers, 0);
	ck_assert_int_eq(receipts, 1);
	decide_receipts(NULL);
	run_until(centre.deliver_answers == 2);
	ck_assert_uint_eq(centre.last_status, SMPP_ROK);
	settle();
	ck_assert_int_eq(receipts, 1);
}
END_TEST

static const struct {
	const char *id;
	const struct fault *fault;
	uint32_t status;
} decisions[] = {
	{ "A1", &FAULT_STORAGE_UNKNOWN, SMPP_RX_T_APPN }, { "A1", &FAULT_OVERLOADED, SMPP_RX_T_APPN },
	{ "A1", &FAULT_NOT_FOUND, SMPP_RX_T_APPN }, /* it was handed out: its outcome is not on record yet */
	{ "Z9", &FAULT_STORAGE_UNKNOWN, SMPP_RX_T_APPN },
	{ "Z9", &FAULT_NOT_FOUND, SMPP_ROK }, /* somebody else's: it would come for ever */
};

START_TEST(test_receipt_that_is_not_on_record)
{
	keeps_receipts = true;
	take_one("A1");
	centre_send_receipt(&centre, decisions[_i].id, SMPP_STATE_DELIVERED, "");
	run_until(receipts == 1);
	decide_receipts(decisions[_i].fault);
	run_until(centre.deliver_answers == 1);
	ck_assert_uint_eq(centre.last_status, decisions[_i].status);
	keeps_receipts = false; /* and when it comes again … */
	centre_send_receipt(&centre, decisions[_i].id, SMPP_STATE_DELIVERED, "");
	run_until(centre.deliver_answers == 2);
	ck_assert_uint_eq(centre.last_status, SMPP_ROK);
	ck_assert_int_eq(receipts, 2);
}
END_TEST

/* The centre hears in time that it may come again; should it be on record by then, that is all. */
START_TEST(test_receipt_that_takes_too_long)
{
	keeps_receipts = true;
	centre.ignores_submits = true;
	provider_start((struct smpp_options){ .registered_delivery = true, .answer_ms = 300 });
	ask(&asked[0]);
	ask(&asked[1]);
	run_until(centre.submits == 2);
	centre_answer(&centre, 0, "A1");
	run_until(asked[0].is_done);
	centre_send_receipt(&centre, "A1", SMPP_STATE_DELIVERED, "");
	centre_send_receipt(&centre, "A1", SMPP_STATE_DELIVERED, ""); /* waits behind it */
	centre_send_receipt(&centre, "B2", SMPP_STATE_DELIVERED, ""); /* perhaps of the one that is not answered */
	run_until(centre.deliver_answers == 3);
	ck_assert_uint_eq(centre.last_status, SMPP_RX_T_APPN);
	ck_assert_int_eq(receipts, 1);
	decide_receipts(NULL);
	settle();
	centre_send_receipt(&centre, "A1", SMPP_STATE_DELIVERED, "");
	run_until(centre.deliver_answers == 4);
	ck_assert_uint_eq(centre.last_status, SMPP_ROK);
	ck_assert_int_eq(receipts, 1);
	centre_answer(&centre, 1, "B2");
	run_until(asked[1].is_done);
	centre_send_receipt(&centre, "B2", SMPP_STATE_DELIVERED, "");
	run_until(receipts == 2);
	decide_receipts(NULL);
	run_until(centre.deliver_answers == 5);
	ck_assert_uint_eq(centre.last_status, SMPP_ROK);
}
END_TEST

START_TEST(test_receipts_past_the_bound)
{
	static const char *const ids[] = { "X1", "X2", "X3" };
	keeps_receipts = true;
	provider_start((struct smpp_options){ .receipts_max = 2 });
	run_until(centre.binds == 1);
	settle();
	for (int i = 0; i < 3; i++)
		centre_send_receipt(&centre, ids[i], SMPP_STATE_DELIVERED, "");
	run_until(centre.deliver_answers == 1);
	ck_assert_uint_eq(centre.last_status, SMPP_RX_T_APPN);
	ck_assert_int_eq(receipts, 2);
	decide_receipts(NULL);
	run_until(centre.deliver_answers == 3);
	ck_assert_uint_eq(centre.last_status, SMPP_ROK);
}
END_TEST

/* An answer belongs to the connection that brought its question: sequence numbers begin anew on the next. */
START_TEST(test_receipt_whose_connection_is_gone)
{
	keeps_receipts = true;
	take_one("A1");
	centre_send_receipt(&centre, "A1", SMPP_STATE_DELIVERED, "");
	run_until(receipts == 1);
	centre_cut(&centre);
	run_until(centre.binds == 2);
	settle();
	decide_receipts(NULL);
	settle();
	ck_assert_int_eq(centre.deliver_answers, 0);
	centre_send_receipt(&centre, "A1", SMPP_STATE_DELIVERED, ""); /* as a centre does that heard nothing */
	run_until(centre.deliver_answers == 1);
	ck_assert_uint_eq(centre.last_status, SMPP_ROK);
	ck_assert_int_eq(receipts, 1);
}
END_TEST

/* What it passed on is its own until that is decided. */
START_TEST(test_close_waits_for_receipts)
{
	bool is_closed = false;
	keeps_receipts = true;
	take_one("A1");
	centre_send_receipt(&centre, "A1", SMPP_STATE_DELIVERED, "");
	run_until(receipts == 1);
	provider->close(provider->self, on_closed, &is_closed);
	run_until(centre.unbinds == 1 && !centre.connection);
	ck_assert(!is_closed);
	decide_receipts(NULL);
	run_until(is_closed);
	provider = NULL;
}
END_TEST

/* Nothing goes out any more, so nothing waits to. */
START_TEST(test_close_ends_a_pause)
{
	bool is_closed = false;
	keeps_receipts = true;
	take_one("A1");
	centre_send_receipt(&centre, "A1", SMPP_STATE_DELIVERED, "");
	run_until(receipts == 1);
	centre.submit_status = SMPP_RTHROTTLED;
	ask(&asked[1]);
	run_until(centre.submits == 2);
	settle();
	provider->close(provider->self, on_closed, &is_closed);
	run_until(asked[1].is_done && !centre.connection);
	assert_outcome(&asked[1], SMS_FAILED, "CLOSED");
	int64_t longest_pause_ms = loop_monotonic_ms(loop) + 300;
	run_until(loop_monotonic_ms(loop) >= longest_pause_ms);
	ck_assert(!is_closed);
	decide_receipts(NULL);
	run_until(is_closed);
	provider = NULL;
}
END_TEST

START_TEST(test_an_sms_from_a_phone)
{
	uint8_t pdu[SMPP_WRITE_SIZE];
	struct smpp_message m = {
		.text = (const uint8_t *)"id:A1 stat:DELIVRD", .text_len = 18, .state = SMPP_STATE_NONE
	};
	take_one("A1");
	centre_send(&centre, pdu, smpp_write_message(pdu, SMPP_DELIVER_SM, 5, &m));
	run_until(centre.deliver_answers == 1);
	ck_assert_uint_eq(centre.last_status, SMPP_ROK);
	settle();
	ck_assert_int_eq(receipts, 0);
}
END_TEST

/* closing */

START_TEST(test_close_hears_the_answer)
{
	centre.ignores_submits = centre.ignores_unbinds = true;
	provider_start((struct smpp_options){ .window = 1 });
	ask(&asked[0]);
	ask(&asked[1]);
	run_until(centre.submits == 1);
	bool is_closed = false;
	provider->close(provider->self, on_closed, &is_closed);
	run_until(centre.unbinds == 1 && asked[1].is_done);
	assert_outcome(&asked[1], SMS_FAILED, "CLOSED");
	ask(&asked[2]);
	centre_answer(&centre, 0, "A1");
	run_until(asked[0].is_done);
	assert_outcome(&asked[0], SMS_TAKEN, NULL);
	assert_outcome(&asked[2], SMS_FAILED, "CLOSED");
	ck_assert(!is_closed);
	centre_send_header(&centre, SMPP_UNBIND | SMPP_RESPONSE, 0, 3);
	run_until(is_closed);
	provider = NULL;
}
END_TEST

START_TEST(test_close_is_bounded)
{
	centre.ignores_submits = centre.ignores_unbinds = true;
	provider_start((struct smpp_options){ 0 });
	ask(&asked[0]);
	run_until(centre.submits == 1);
	int64_t begun_ms = loop_monotonic_ms(loop);
	provider_close();
	ck_assert_int_lt(loop_monotonic_ms(loop) - begun_ms, 5000);
	assert_outcome(&asked[0], SMS_UNKNOWN, "CONNECTION_LOST");
}
END_TEST

START_TEST(test_close_at_once)
{
	provider_start((struct smpp_options){ 0 });
	ask(&asked[0]);
	provider_close();
	assert_outcome(&asked[0], SMS_FAILED, "CLOSED");
	provider_start((struct smpp_options){ .url = "smpp://keyfob@no-such-host.invalid:2775" });
	uv_run(loop_uv(loop), UV_RUN_NOWAIT);
	provider_close();
	provider_start((struct smpp_options){ 0 });
	run_until(centre.connections >= 1);
	provider_close();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { test_a_wake_up, test_sources, test_validity_and_alphabet,
		test_what_never_goes_out, test_every_status, test_ids_that_are_none, test_nacked, test_throttled,
		test_their_queue_full, test_throttled_for_too_long, test_window, test_queue_full, test_slow_centre,
		test_receipt_in_parameters, test_receipt_in_text, test_receipt_in_the_other_base, test_doubled_receipt,
		test_receipt_of_another_node, test_receipt_before_the_answer, test_an_sms_from_a_phone,
		test_receipt_is_answered_when_it_is_on_record, test_receipt_that_takes_too_long,
		test_receipts_past_the_bound, test_receipt_whose_connection_is_gone, test_close_waits_for_receipts,
		test_close_ends_a_pause, test_close_hears_the_answer, test_close_is_bounded, test_close_at_once };
	Suite *suite = suite_create("smpp");
	TCase *tc = tcase_create("smpp");
	tcase_add_checked_fixture(tc, set_up_asked, tear_down);
	tcase_set_timeout(tc, 60);
	for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
		tcase_add_test(tc, tests[i]);
	tcase_add_loop_test(tc, test_receipt_that_is_not_on_record, 0, (int)(sizeof decisions / sizeof *decisions));
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
