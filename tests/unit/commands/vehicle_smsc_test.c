/* vehicle_smsc_test.c - the vehicles' SMS centre: with the gateway's own client of it, and with callers that misbehave. */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/smpp/pdu.h"
#include "commands/vehicle/smsc.h"
#include "notifier/wake/smpp/smpp.h"
#include "tests/suite.h"

#define PATIENCE_MS 15000
#define run_until(condition)                                                                                           \
	do {                                                                                                           \
		int64_t end_ms = loop_monotonic_ms(loop) + PATIENCE_MS;                                                \
		while (!(condition)) {                                                                                 \
			ck_assert_msg(loop_monotonic_ms(loop) < end_ms, "waited in vain for " #condition);             \
			uv_run(loop_uv(loop), UV_RUN_ONCE);                                                            \
		}                                                                                                      \
	} while (0)

static struct loop *loop;
static struct loop_timer heartbeat;
static struct smsc *smsc;
static bool is_phone; /* what on_sms answers */
static int sms_count;
static char last_text[256], last_source[32], last_destination[32];

static void on_heartbeat(struct loop_timer *timer)
{
	loop_timer_start(timer, 50);
}

static bool on_sms(void *owner, const struct smsc_sms *sms)
{
	ck_assert_ptr_eq(owner, &sms_count);
	sms_count++;
	snprintf(last_text, sizeof last_text, "%s", sms->text);
	snprintf(last_source, sizeof last_source, "%s", sms->source);
	snprintf(last_destination, sizeof last_destination, "%s", sms->destination);
	return is_phone;
}

static void set_up(void)
{
	struct sockaddr_in address;
	const char *reason;
	signal(SIGPIPE, SIG_IGN);
	log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
	sms_count = 0;
	is_phone = true;
	loop = loop_new();
	loop_timer_init(loop, &heartbeat, on_heartbeat);
	loop_timer_start(&heartbeat, 50);
	uv_ip4_addr("127.0.0.1", 0, &address);
	smsc = smsc_open(loop,
		&(struct smsc_options){ .address = (struct sockaddr *)&address, .owner = &sms_count, .on_sms = on_sms },
		&reason);
	ck_assert_ptr_nonnull(smsc);
}

static void tear_down(void)
{
	smsc_close(smsc);
	loop_stop(loop);
	loop_run(loop);
	loop_free(loop);
}

/* with the gateway's client */

static struct sms_outcome outcome;
static char taken_id[SMPP_ID_SIZE];
static bool is_done, is_closed, was_delivered;
static int receipts;

static void on_done(struct sms_submission *submission, const struct sms_outcome *o)
{
	(void)submission;
	outcome = *o;
	snprintf(taken_id, sizeof taken_id, "%s", o->message_id ? o->message_id : "");
	is_done = true;
}

static struct sms_news *news;

static void on_recorded(struct loop_soon *soon)
{
	(void)soon;
	news->on_done(news, NULL);
}

static struct loop_soon recorded;

static void on_receipt(void *owner, struct sms_news *told)
{
	(void)owner;
	ck_assert_str_eq(told->receipt.message_id, taken_id);
	was_delivered = told->receipt.delivered;
	receipts++;
	news = told;
	loop_soon_init(&recorded, on_recorded);
	loop_soon_call(loop, &recorded);
}

static void on_closed(void *owner)
{
	(void)owner;
	is_closed = true;
}

static void submit(const char *text, bool wants_receipt)
{
	static const struct sms_receipts to = { NULL, on_receipt };
	char url[64];
	snprintf(url, sizeof url, "smpp://keyfob@127.0.0.1:%d", smsc_port(smsc));
	struct sms_provider *provider = smpp_new(loop,
		&(struct smpp_options){ .url = url, .source = "Keyfob", .registered_delivery = wants_receipt }, &to);
	struct sms sms = { .msisdn = "+4915550000001", .vehicle_id = "A", .text = text, .validity_s = 60 };
	struct sms_submission submission = { .on_done = on_done };
	is_done = is_closed = false;
	receipts = 0;
	provider->submit(provider->self, &sms, &submission);
	run_until(is_done && receipts == wants_receipt);
	provider->close(provider->self, on_closed, NULL);
	run_until(is_closed);
}

START_TEST(test_delivered)
{
	submit("KEYFOB WAKE a_b", true);
	ck_assert_int_eq(outcome.verdict, SMS_TAKEN);
	ck_assert(was_delivered);
	ck_assert_str_eq(last_text, "KEYFOB WAKE a_b");
	ck_assert_str_eq(last_source, "Keyfob");
	ck_assert_str_eq(last_destination, "4915550000001");
	submit("Жук", false);
	ck_assert_str_eq(last_text, "Жук");
	ck_assert_int_eq(sms_count, 2);
}
END_TEST

START_TEST(test_no_such_phone)
{
	is_phone = false;
	submit("KEYFOB WAKE a", true);
	ck_assert_int_eq(outcome.verdict, SMS_TAKEN);
	ck_assert(!was_delivered);
}
END_TEST

/* with callers of our own: blocking sockets, whose other end is this thread's loop */

static int call(void)
{
	struct sockaddr_in address;
	uv_ip4_addr("127.0.0.1", smsc_port(smsc), &address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	return fd;
}

/* The next PDU; 0: it hung up. */
static size_t hear(int fd, uint8_t *pdu, struct smpp_header *h)
{
	size_t len = 0;
	int64_t end_ms = loop_monotonic_ms(loop) + PATIENCE_MS;
	while (smpp_frame(pdu, len, h) != SMPP_FRAME_WHOLE) {
		ck_assert_int_lt(loop_monotonic_ms(loop), end_ms);
		uv_run(loop_uv(loop), UV_RUN_NOWAIT);
		ssize_t n = recv(fd, pdu + len, len < 4 ? 4 - len : h->length - len, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return 0;
		len += n > 0 ? (size_t)n : 0;
		if (len == 4)
			h->length = (uint32_t)pdu[2] << 8 | pdu[3];
	}
	return len;
}

static void say(int fd, const void *pdu, size_t len)
{
	ck_assert_int_eq(send(fd, pdu, len, MSG_NOSIGNAL), (ssize_t)len);
}

static struct smpp_header header;
static uint8_t heard[4096];

static void ask_header(int fd, uint32_t command)
{
	uint8_t pdu[SMPP_WRITE_SIZE];
	say(fd, pdu, smpp_write_header(pdu, command, 0, 5));
	ck_assert_uint_gt(hear(fd, heard, &header), 0);
	ck_assert_uint_eq(header.sequence, 5);
}

static void bind_as(int fd, uint32_t command)
{
	uint8_t pdu[SMPP_WRITE_SIZE];
	say(fd, pdu, smpp_write_bind(pdu, command, 1, &(struct smpp_bind){ "me", "pw" }));
	ck_assert_uint_gt(hear(fd, heard, &header), 0);
	ck_assert_uint_eq(header.command, command | SMPP_RESPONSE);
}

static void submit_by(int fd, uint8_t registered_delivery)
{
	uint8_t pdu[SMPP_WRITE_SIZE];
	struct smpp_message m = { .source = { 5, 0, "me" },
		.destination = { 1, 1, "4915" },
		.registered_delivery = registered_delivery,
		.text = (const uint8_t *)"hello",
		.text_len = 5 };
	say(fd, pdu, smpp_write_message(pdu, SMPP_SUBMIT_SM, 9, &m));
	ck_assert_uint_gt(hear(fd, heard, &header), 0);
	ck_assert_uint_eq(header.command, SMPP_SUBMIT_SM | SMPP_RESPONSE);
}

START_TEST(test_order_of_things)
{
	int fd = call();
	ask_header(fd, SMPP_SUBMIT_SM);
	ck_assert_uint_eq(header.status, SMPP_RINVBNDSTS);
	bind_as(fd, SMPP_BIND_TRANSMITTER);
	ck_assert_uint_eq(header.status, SMPP_ROK);
	bind_as(fd, SMPP_BIND_TRANSCEIVER);
	ck_assert_uint_eq(header.status, SMPP_RALYBND);
	ask_header(fd, SMPP_ENQUIRE_LINK);
	ck_assert_uint_eq(header.command, SMPP_ENQUIRE_LINK | SMPP_RESPONSE);
	ask_header(fd, 0x3); /* query_sm */
	ck_assert_uint_eq(header.command, SMPP_GENERIC_NACK);
	ask_header(fd, SMPP_SUBMIT_SM); /* no body */
	ck_assert_uint_eq(header.status, SMPP_RINVMSGLEN);
	ask_header(fd, SMPP_UNBIND);
	ck_assert_uint_eq(header.status, SMPP_ROK);
	ck_assert_uint_eq(hear(fd, heard, &header), 0);
	close(fd);
	ck_assert_int_eq(sms_count, 0);
}
END_TEST

/* A transmitter submits; the receiver of the same name binds later, and finds what waits for it. */
START_TEST(test_receipts_wait_for_a_receiver)
{
	struct smpp_message m;
	int transmitter = call(), receiver = call();
	bind_as(transmitter, SMPP_BIND_TRANSMITTER);
	submit_by(transmitter, 0); /* asks for none */
	submit_by(transmitter, 2); /* only when it fails: it does not */
	submit_by(transmitter, 1);
	char id[SMPP_ID_SIZE];
	ck_assert(smpp_read_id(heard, header.length, id));
	bind_as(receiver, SMPP_BIND_RECEIVER);
	size_t len = hear(receiver, heard, &header);
	ck_assert_uint_eq(header.command, SMPP_DELIVER_SM);
	ck_assert(smpp_read_message(heard, len, &m));
	ck_assert_str_eq(m.receipted_id, id);
	ck_assert_int_eq(m.state, SMPP_STATE_DELIVERED);
	ck_assert_uint_eq(m.esm_class, SMPP_ESM_RECEIPT);
	ck_assert_str_eq(m.source.text, "4915");
	ck_assert_str_eq(m.destination.text, "me");
	ask_header(receiver, SMPP_SUBMIT_SM); /* the next thing heard: there was but one receipt */
	ck_assert_uint_eq(header.status, SMPP_RINVBNDSTS);
	close(transmitter);
	close(receiver);
	ck_assert_int_eq(sms_count, 3);
}
END_TEST

START_TEST(test_strangers)
{
	static const char *const greetings[] = { "GET / HTTP/1.1\r\n\r\n", "\xff\xff\xff\xff", "\1\1\1\1" };
	for (int i = 0; i < 3; i++) {
		int fd = call();
		say(fd, greetings[i], strlen(greetings[i]));
		ck_assert_uint_eq(hear(fd, heard, &header), 0);
		close(fd);
	}
	int half = call();
	say(half, "\0\0\0\x20\0", 5);
	close(half);
	submit("still there", false);
	ck_assert_int_eq(outcome.verdict, SMS_TAKEN);
}
END_TEST

START_TEST(test_too_many_callers)
{
	int fds[SMSC_CALLERS_MAX + 1];
	for (int i = 0; i <= SMSC_CALLERS_MAX; i++) {
		fds[i] = call();
		if (i < SMSC_CALLERS_MAX)
			bind_as(fds[i], SMPP_BIND_TRANSMITTER);
	}
	ck_assert_uint_eq(hear(fds[SMSC_CALLERS_MAX], heard, &header), 0);
	for (int i = 0; i <= SMSC_CALLERS_MAX; i++)
		close(fds[i]);
}
END_TEST

START_TEST(test_port_in_use)
{
	struct sockaddr_in address;
	const char *reason = NULL;
	uv_ip4_addr("127.0.0.1", smsc_port(smsc), &address);
	ck_assert_ptr_null(smsc_open(
		loop, &(struct smsc_options){ .address = (struct sockaddr *)&address, .on_sms = on_sms }, &reason));
	ck_assert_str_eq(reason, "address already in use");
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { test_delivered, test_no_such_phone, test_order_of_things,
		test_receipts_wait_for_a_receiver, test_strangers, test_too_many_callers, test_port_in_use };
	Suite *suite = suite_create("vehicle_smsc");
	TCase *tc = tcase_create("smsc");
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_set_timeout(tc, 60);
	for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
		tcase_add_test(tc, tests[i]);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
