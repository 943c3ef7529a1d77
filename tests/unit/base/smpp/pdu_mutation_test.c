/* pdu_mutation_test.c - PDUs changed at random, read under the sanitizers: nothing is read or written out of bounds, and
 * what is read is text with an end. A failed run prints its seed; KEYFOB_SEED repeats it, KEYFOB_LONG goes on for longer. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/smpp/alphabet.h"
#include "base/smpp/pdu.h"
#include "tests/suite.h"

#define SIZE_MAX_HERE 2048

static unsigned short state[3];
static unsigned long seed;

static size_t below(size_t n)
{
	return (size_t)nrand48(state) % n;
}

/* The PDUs that are changed. */
static size_t original(uint8_t out[SIZE_MAX_HERE])
{
	static const struct smpp_bind bind = { "keyfob", "secret" };
	const struct smpp_message m = {
		.source = { SMPP_TON_INTERNATIONAL, SMPP_NPI_ISDN, "4915550000001" },
		.destination = { SMPP_TON_ALPHANUMERIC, 0, "Keyfob" },
		.esm_class = SMPP_ESM_RECEIPT,
		.receipted_id = "0123456789ABCDEF",
		.state = SMPP_STATE_DELIVERED,
		.text = (const uint8_t *)"id:0123456789 sub:001 dlvrd:001 stat:DELIVRD err:000 text:",
		.text_len = 58,
	};
	switch (below(4)) {
	case 0:
		return smpp_write_bind(out, SMPP_BIND_TRANSCEIVER, 1, &bind);
	case 1:
		return smpp_write_taken(out, SMPP_SUBMIT_SM | SMPP_RESPONSE, 1, "0123456789");
	case 2:
		return smpp_write_message(out, SMPP_SUBMIT_SM, 1, &m);
	default:
		return smpp_write_message(out, SMPP_DELIVER_SM, 1, &m);
	}
}

static size_t mutate(uint8_t *pdu, size_t len)
{
	for (size_t changes = below(6); changes > 0; changes--)
		pdu[below(len)] = below(3) ? (uint8_t)below(256) : (uint8_t)(below(2) ? 0xff : 0);
	if (below(3) == 0)
		len = 1 + below(len);
	if (below(3) == 0) /* more parameters, of any length */
		for (size_t more = below(SIZE_MAX_HERE - len); more > 0; more--)
			pdu[len++] = below(2) ? (uint8_t)below(5) : (uint8_t)below(256);
	return len;
}

/* Check tells of each assertion that holds, too, and here are some millions. */
static void must(bool holds, const char *what)
{
	if (!holds)
		ck_abort_msg("%s: it is not so", what);
}

static void read_all(const uint8_t *pdu, size_t len)
{
	struct smpp_bind bind;
	struct smpp_message m;
	char id[SMPP_ID_SIZE];
	struct text text = { 0 };
	if (smpp_read_bind(pdu, len, &bind))
		must(strlen(bind.system_id) < sizeof bind.system_id && strlen(bind.password) < sizeof bind.password,
			"what a bind says is bounded");
	if (smpp_read_id(pdu, len, id))
		must(strlen(id) < sizeof id, "an id is bounded");
	if (!smpp_read_message(pdu, len, &m))
		return;
	must(strlen(m.source.text) < SMPP_ADDRESS_SIZE && strlen(m.receipted_id) < SMPP_ID_SIZE,
		"a message's address and id are bounded");
	must(m.text >= pdu && m.text + m.text_len <= pdu + len, "a message's text is within it");
	sms_decode(m.data_coding, m.text, m.text_len, &text);
	must(strlen(text.data) <= text.len, "a text is as long as it says");
	text_free(&text);
}

START_TEST(test_mutations)
{
	long rounds = getenv("KEYFOB_LONG") ? 20000000 : 200000;
	uint8_t buffer[SIZE_MAX_HERE];
	struct smpp_header header;
	long whole = 0;
	for (long i = 0; i < rounds; i++) {
		size_t len = mutate(buffer, original(buffer));
		uint8_t *exact = malloc(len); /* so that a read behind it is seen */
		memcpy(exact, buffer, len);
		if (smpp_frame(exact, len, &header) == SMPP_FRAME_WHOLE) {
			must(header.length <= len, "a whole PDU is there");
			read_all(exact, header.length);
			whole++;
		}
		if (len >= SMPP_HEADER_SIZE)
			read_all(exact, len);
		free(exact);
	}
	ck_assert_int_gt(whole, rounds / 10); /* the changes leave enough to read */
}
END_TEST

int main(void)
{
	const char *given = getenv("KEYFOB_SEED");
	seed = given ? strtoul(given, NULL, 10) : (unsigned long)time(NULL);
	memcpy(state, &seed, sizeof state);
	Suite *suite = suite_create("pdu_mutation");
	TCase *tc = tcase_create("mutation");
	tcase_add_test(tc, test_mutations);
	tcase_set_timeout(tc, getenv("KEYFOB_LONG") ? 3600 : 120);
	suite_add_tcase(suite, tc);
	int failed = suite_run(suite);
	if (failed)
		printf("KEYFOB_SEED=%lu\n", seed);
	return failed;
}
