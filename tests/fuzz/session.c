/* session.c - the SMPP provider and its session, on a virtual clock, with an SMS centre that does what the input says: it binds or
 * not, answers, throttles, delivers, unbinds, in any order, in pieces, and goes at any time.
 *
 * The input is a play: a letter says what happens, the bytes behind it how (see `acts`). What must hold meanwhile is
 * judged by a model of what was written and what has come. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/fault.h"
#include "base/list.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/smpp/pdu.h"
#include "notifier/wake/provider.h"
#include "notifier/wake/smpp/handed.h"
#include "notifier/wake/smpp/receipt.h"
#include "notifier/wake/smpp/session.h"
#include "notifier/wake/smpp/smpp.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/network.h"

#define STREAM_MAX ((size_t)128 << 10)
#define READ_MAX ((size_t)4096)
#define PDUS_MAX (READ_MAX / SMPP_HEADER_SIZE + 1) /* that a read ends */
#define QUESTIONS_MAX 512			   /* of the centre, unanswered */
#define ASKED_MAX 256
#define BIND_MS_MAX 5000
#define PAUSE_MS_LEAST 125
#define PAUSE_MS_MOST 4000

/* What became of a submit_sm that was written last. */
enum flight {
	FLIGHT_NONE,
	FLIGHT_OPEN,
	FLIGHT_REFUSED,
	FLIGHT_TAKEN,
	FLIGHT_FORESEEN, /* answered by the read that made it go out: nobody knows what became of it */
};

/* A submission. Freed when it has ended: who uses it later is seen. */
struct asked {
	struct list node;
	struct sms_submission submission;
	struct sms sms;
	char msisdn[24];
	int64_t began_ms;
	enum flight flight;
	bool is_certain; /* what the centre said of it was read for certain */
	unsigned link;
	uint32_t sequence;
	char id[SMPP_ID_SIZE];
};

/* A request of the centre that has no answer yet. */
struct question {
	uint32_t answer, sequence;
	int64_t came_ms;
	bool is_receipt;
	struct smpp_receipt receipt;
};

struct in_hand {
	struct list node;
	struct sms_news *news;
	bool is_handed_out; /* when it was passed: what comes too early is passed as it comes, once there is much of it */
};

static struct {
	struct loop *loop;
	struct sms_provider *provider; /* NULL: closed */
	struct smpp_options options;
	uint8_t jitter;
	bool is_closing, is_submitting, asks_again, closes_at_outcome;
	int64_t closing_ms;

	/* what was submitted, and what of receipts is on its way to the record */
	struct list asked, news;
	size_t asked_count;
	unsigned next_number;
	char ids[ASKED_MAX][SMPP_ID_SIZE];
	size_t id_count;

	/* the connection */
	unsigned link;
	bool has_bind, may_be_bound, was_bound, said_unbind, lost_writes;
	int64_t opened_ms, heard_ms;
	int64_t throttled_ms;	 /* when a pause began; -1: it is not known of any */
	int64_t paused_ms;	 /* the last time that one may have begun */
	uint32_t sequence, bind; /* of our last request, and of the bind */
	struct question questions[QUESTIONS_MAX];
	size_t question_count;

	/* the centre's bytes: `given` have been read, `framed` of them were whole PDUs */
	size_t length, given, framed;
	/* sequence numbers that a read answers and nobody had sent before it */
	uint32_t foreseen[PDUS_MAX];
	size_t foreseen_count;
	bool holds_back;
} play;

static uint8_t stream[STREAM_MAX];
static struct handed recorded; /* what may be on record */

static struct input input;

/* In the place of the C library's, so that an input means the same twice. */
uint32_t arc4random_uniform(uint32_t bound)
{
	return bound ? (uint32_t)((uint64_t)bound * play.jitter / 256) : 0;
}

static int64_t now_ms(void)
{
	return loop_monotonic_ms(play.loop);
}

/* The next byte of the input; digits are small numbers, so that a play can be read. */
static uint8_t take(void)
{
	if (input.left == 0)
		return 0;
	input.left--;
	return (uint8_t)(*input.at++ - '0');
}

/* The next connection begins with nothing: what was asked, said and sent on the one before is gone with it. */
static void on_open(void)
{
	play.link++;
	play.has_bind = play.may_be_bound = play.said_unbind = false;
	play.question_count = 0;
	play.throttled_ms = -1;
	play.length = play.given = play.framed = 0;
	play.opened_ms = play.heard_ms = now_ms();
}

/* the model: what we write */

static struct asked *asked_of(const char *digits)
{
	list_for_each (node, &play.asked) {
		struct asked *a = container_of(node, struct asked, node);
		if (strcmp(a->msisdn + 1, digits) == 0)
			return a;
	}
	return NULL;
}

/* Of this connection, and neither answered nor given up. */
static int flights(void)
{
	int count = 0;
	list_for_each (node, &play.asked) {
		const struct asked *a = container_of(node, struct asked, node);
		count += a->flight == FLIGHT_OPEN && a->link == play.link &&
			 now_ms() - a->began_ms < play.options.patience_ms;
	}
	return count;
}

static bool is_foreseen(uint32_t sequence)
{
	for (size_t i = 0; i < play.foreseen_count; i++)
		if (play.foreseen[i] == sequence)
			return true;
	return false;
}

/* At most once, but after a refusal; within the window; never to who has not bound us; never in a pause. */
static void on_submit_written(const struct smpp_header *h, const uint8_t *pdu, bool arrives)
{
	struct smpp_message m;
	bool is_read = smpp_read_message(pdu, h->length, &m);
	assert(is_read);
	struct asked *a = asked_of(m.destination.text);
	assert(a);
	assert(a->flight != FLIGHT_OPEN && a->flight != FLIGHT_TAKEN);
	assert(play.may_be_bound && !play.said_unbind && !play.is_closing);
	assert(flights() < play.options.window);
	assert(play.throttled_ms < 0 || now_ms() - play.throttled_ms >= PAUSE_MS_LEAST);
	a->flight = is_foreseen(h->sequence) ? FLIGHT_FORESEEN : FLIGHT_OPEN;
	a->is_certain = arrives;
	a->link = play.link;
	a->sequence = h->sequence;
}

static void on_request_written(const struct smpp_header *h, const uint8_t *pdu, bool arrives)
{
	assert(h->status == SMPP_ROK && h->sequence > play.sequence);
	play.sequence = h->sequence;
	assert(play.has_bind == (h->command != SMPP_BIND_TRANSCEIVER));
	assert(!play.said_unbind);
	if (h->command == SMPP_SUBMIT_SM) {
		on_submit_written(h, pdu, arrives);
	} else if (h->command == SMPP_BIND_TRANSCEIVER) {
		play.has_bind = true;
		play.bind = h->sequence;
	} else if (h->command == SMPP_UNBIND) {
		assert(play.is_closing && play.may_be_bound);
		play.said_unbind = true;
	} else {
		assert(h->command == SMPP_ENQUIRE_LINK && play.may_be_bound);
	}
}

/* The centre forgets a receipt that was answered so: it has to be on record. */
static bool may_be_recorded(const struct smpp_receipt *r)
{
	return (*r->ids[0] && handed_find(&recorded, r->ids[0])) || (*r->ids[1] && handed_find(&recorded, r->ids[1]));
}

/* Each of the centre's requests is answered once. */
static void on_response_written(const struct smpp_header *h)
{
	for (size_t i = 0; i < play.question_count; i++) {
		struct question *q = &play.questions[i];
		if (q->answer != h->command || q->sequence != h->sequence)
			continue;
		assert(!q->is_receipt || h->status != SMPP_ROK || may_be_recorded(&q->receipt));
		memmove(q, q + 1, (--play.question_count - i) * sizeof *q);
		return;
	}
	abort(); /* nothing was asked */
}

static void on_write(const uint8_t *bytes, size_t len, bool arrives)
{
	struct smpp_header h;
	enum smpp_frame frame = smpp_frame(bytes, len, &h);
	assert(frame == SMPP_FRAME_WHOLE && h.length == len);
	play.lost_writes = play.lost_writes || !arrives;
	if (h.command & SMPP_RESPONSE)
		on_response_written(&h);
	else
		on_request_written(&h, bytes, arrives);
}

/* the model: what the centre sends */

static struct asked *flight_of(uint32_t sequence)
{
	list_for_each (node, &play.asked) {
		struct asked *a = container_of(node, struct asked, node);
		if (a->flight == FLIGHT_OPEN && a->link == play.link && a->sequence == sequence)
			return a;
	}
	return NULL;
}

static void on_submit_answer(const struct smpp_header *h, const uint8_t *pdu)
{
	struct asked *a = flight_of(h->sequence);
	if (!a && play.foreseen_count < PDUS_MAX)
		play.foreseen[play.foreseen_count++] = h->sequence;
	if (!a || !play.may_be_bound)
		return;
	a->is_certain = false;
	if (h->command == SMPP_GENERIC_NACK || h->status != SMPP_ROK) {
		a->flight = FLIGHT_REFUSED;
		bool is_throttled = h->status == SMPP_RTHROTTLED || h->status == SMPP_RMSGQFUL;
		if (is_throttled)
			play.paused_ms = now_ms();
		if (is_throttled && (play.throttled_ms < 0 || now_ms() - play.throttled_ms > PAUSE_MS_MOST))
			play.throttled_ms = now_ms();
		return;
	}
	a->flight = FLIGHT_TAKEN;
	if (smpp_read_id(pdu, h->length, a->id) && play.id_count < ASKED_MAX)
		strcpy(play.ids[play.id_count++], a->id);
}

static void on_question(const struct smpp_header *h, const uint8_t *pdu)
{
	uint32_t answer = h->command == SMPP_DELIVER_SM || h->command == SMPP_ENQUIRE_LINK || h->command == SMPP_UNBIND
				  ? h->command | SMPP_RESPONSE
				  : SMPP_GENERIC_NACK;
	struct smpp_message m;
	assert(play.question_count < QUESTIONS_MAX);
	struct question *q = &play.questions[play.question_count++];
	*q = (struct question){ .answer = answer, .sequence = h->sequence, .came_ms = now_ms() };
	if (h->command == SMPP_DELIVER_SM && smpp_read_message(pdu, h->length, &m))
		q->is_receipt = smpp_receipt_read(&m, &q->receipt) && q->receipt.is_final;
	for (size_t i = 0; i + 1 < play.question_count; i++)
		if (play.questions[i].answer == answer && play.questions[i].sequence == h->sequence)
			play.questions[i].is_receipt = q->is_receipt = false; /* who knows which of them is answered */
}

/* It may be read soon. false: nothing behind it will be. */
static bool expect(const struct smpp_header *h, const uint8_t *pdu)
{
	play.heard_ms = now_ms();
	switch (h->command) {
	case SMPP_BIND_TRANSCEIVER | SMPP_RESPONSE:
		if (play.may_be_bound || !play.has_bind)
			return true;
		play.may_be_bound = h->status == SMPP_ROK;
		play.was_bound = play.was_bound || play.may_be_bound;
		return play.may_be_bound;
	case SMPP_GENERIC_NACK:
		if (!play.may_be_bound)
			return false;
		on_submit_answer(h, pdu);
		return true;
	case SMPP_SUBMIT_SM | SMPP_RESPONSE:
		on_submit_answer(h, pdu);
		return true;
	case SMPP_UNBIND | SMPP_RESPONSE:
		return !play.said_unbind;
	case SMPP_ALERT_NOTIFICATION:
	case SMPP_OUTBIND:
		return true;
	default:
		if (!(h->command & SMPP_RESPONSE))
			on_question(h, pdu);
		return h->command != SMPP_UNBIND;
	}
}

static void expect_whole(size_t upto)
{
	struct smpp_header h;
	while (smpp_frame(stream + play.framed, upto - play.framed, &h) == SMPP_FRAME_WHOLE) {
		const uint8_t *pdu = stream + play.framed;
		play.framed += h.length;
		if (!expect(&h, pdu))
			break;
	}
}

/* Who still has the connection has read all of it. */
static void on_given(void)
{
	if (!network_is_open())
		return;
	list_for_each (node, &play.asked) {
		struct asked *a = container_of(node, struct asked, node);
		a->is_certain = a->is_certain || a->link == play.link;
	}
	for (size_t i = 0; i < play.question_count; i++)
		assert(play.questions[i].answer == (SMPP_DELIVER_SM | SMPP_RESPONSE));
}

static void give(size_t len)
{
	while (network_is_open() && len > 0 && play.given < play.length &&
		play.question_count + PDUS_MAX < QUESTIONS_MAX) {
		size_t left = play.length - play.given, part = len < left ? len : left;
		part = part < READ_MAX ? part : READ_MAX;
		play.foreseen_count = 0;
		expect_whole(play.given + part);
		part = network_give(stream + play.given, part);
		play.foreseen_count = 0;
		on_given();
		play.given += part;
		len -= part;
	}
}

/* ours */

static void close_provider(void);
static void submit(uint8_t kind);

static bool fits(const struct asked *a, enum sms_verdict verdict)
{
	if (a->flight == FLIGHT_FORESEEN)
		return true;
	if (verdict == SMS_TAKEN)
		return a->flight == FLIGHT_TAKEN;
	if (verdict == SMS_UNKNOWN)
		return play.was_bound && (a->flight == FLIGHT_OPEN || !a->is_certain || play.lost_writes);
	return a->flight == FLIGHT_NONE || a->flight == FLIGHT_REFUSED; /* it may go out another way now */
}

static void on_done(struct sms_submission *submission, const struct sms_outcome *outcome)
{
	struct asked *a = container_of(submission, struct asked, submission);
	assert(play.provider && !play.is_submitting);
	assert(outcome->verdict == SMS_TAKEN ? !outcome->reason : outcome->reason && *outcome->reason);
	assert(!outcome->message_id || (outcome->verdict == SMS_TAKEN && smpp_id_is_plain(outcome->message_id)));
	assert(a->flight != FLIGHT_TAKEN || !outcome->message_id || strcmp(outcome->message_id, a->id) == 0);
	assert(fits(a, outcome->verdict));
	list_remove(&a->node);
	memset(a, 0xa5, sizeof *a);
	free(a);
	play.asked_count--;
	if (play.closes_at_outcome)
		close_provider();
	if (play.asks_again) {
		play.asks_again = false;
		submit(0);
	}
}

static void submit(uint8_t kind)
{
	static const char *const texts[] = { "KEYFOB WAKE", "Жук", "\xff", "",
		"a text that is too long for one SMS: 0123456789 0123456789 0123456789 0123456789 0123456789 "
		"0123456789 "
		"0123456789 0123456789 0123456789 0123456789 0123456789" };
	static const char *const numbers[] = { "+49155%07u", "49155%07u", "+%u" };
	if (!play.provider || play.asked_count >= ASKED_MAX)
		return;
	struct asked *a = memory_new(sizeof *a);
	snprintf(a->msisdn, sizeof a->msisdn, numbers[kind / 8 % 3], play.next_number++);
	a->sms = (struct sms){ .msisdn = a->msisdn, .vehicle_id = "v", .text = texts[kind % 5], .validity_s = 90 };
	a->submission.on_done = on_done;
	a->began_ms = now_ms();
	list_append(&play.asked, &a->node);
	play.asked_count++;
	play.is_submitting = true;
	play.provider->submit(play.provider->self, &a->sms, &a->submission);
	play.is_submitting = false;
}

static size_t times_handed_out(const char *id)
{
	size_t count = 0;
	for (size_t i = 0; i < play.id_count; i++)
		count += strcasecmp(play.ids[i], id) == 0;
	return count;
}

/* An id that is no number has no other name. */
static bool is_single(const char *id)
{
	return strncmp(id, "m-", 2) == 0 && times_handed_out(id) == 1;
}

static void on_receipt(void *owner, struct sms_news *news)
{
	const struct sms_receipt *r = &news->receipt;
	(void)owner;
	assert(play.provider && smpp_id_is_plain(r->message_id) && strcmp(r->provider, "smpp") == 0);
	assert(r->delivered == !r->reason);
	list_for_each (node, &play.asked) {
		const struct asked *a = container_of(node, struct asked, node);
		assert(a->flight != FLIGHT_TAKEN || !a->is_certain || strcmp(a->id, r->message_id) != 0);
	}
	list_for_each (node, &play.news) {
		const struct in_hand *other = container_of(node, struct in_hand, node);
		assert(!is_single(r->message_id) || !other->is_handed_out ||
			strcmp(other->news->receipt.message_id, r->message_id) != 0);
	}
	struct in_hand *h = memory_new(sizeof *h);
	h->news = news;
	h->is_handed_out = is_single(r->message_id);
	list_append(&play.news, &h->node);
}

static const struct sms_receipts receipts = { .on_receipt = on_receipt };

static void decide(uint8_t which, uint8_t how)
{
	static const struct fault *const faults[] = { NULL, &FAULT_NOT_FOUND, &FAULT_STORAGE_UNKNOWN };
	const struct fault *fault = faults[how % 3];
	struct list *node = play.news.next;
	for (which %= 8; which > 0 && node != &play.news; which--)
		node = node->next;
	if (node == &play.news)
		return;
	struct in_hand *h = container_of(node, struct in_hand, node);
	struct sms_news *news = h->news;
	list_remove(node);
	free(h);
	if (fault != &FAULT_STORAGE_UNKNOWN)
		handed_add(&recorded, news->receipt.message_id);
	news->on_done(news, fault);
}

static void on_closed(void *owner)
{
	assert(owner == &play && play.provider && list_is_empty(&play.asked) && list_is_empty(&play.news));
	play.provider = NULL;
}

static void close_provider(void)
{
	if (play.is_closing)
		return;
	play.is_closing = true;
	play.closing_ms = now_ms();
	play.provider->close(play.provider->self, on_closed, &play);
}

/* the acts */

static uint8_t *room_for(size_t len)
{
	if (play.length + len > STREAM_MAX) {
		memmove(stream, stream + play.framed, play.length - play.framed);
		play.length -= play.framed;
		play.given -= play.framed;
		play.framed = 0;
	}
	return play.length + len > STREAM_MAX ? NULL : stream + play.length;
}

static void say(const uint8_t *bytes, size_t len)
{
	uint8_t *to = network_is_open() ? room_for(len) : NULL;
	if (!to)
		return;
	memcpy(to, bytes, len);
	play.length += len;
	if (!play.holds_back)
		give(SIZE_MAX);
}

static void say_header(uint32_t command, uint32_t status, uint32_t sequence)
{
	uint8_t pdu[SMPP_WRITE_SIZE];
	say(pdu, smpp_write_header(pdu, command, status, sequence));
}

static void act_resolve(void)
{
	network_resolve(take() % 3);
}

static void act_connect(void)
{
	network_connect(take() % 4 != 1);
}

static void act_bind(void)
{
	static const uint32_t statuses[] = { SMPP_ROK, SMPP_RBINDFAIL, SMPP_RALYBND, 0x4ff };
	say_header(SMPP_BIND_TRANSCEIVER | SMPP_RESPONSE, statuses[take() % 4], play.bind);
}

/* The sequence number of one that was written, or of what never was. */
static uint32_t some_flight(uint8_t which)
{
	uint32_t left = which % 8;
	list_for_each (node, &play.asked) {
		const struct asked *a = container_of(node, struct asked, node);
		if (a->flight != FLIGHT_NONE && left-- == 0)
			return a->sequence;
	}
	return which;
}

static void write_id(char out[SMPP_ID_SIZE], uint8_t kind, uint32_t sequence)
{
	static const char *const forms[] = { "m-%u", "%u", "%x", "000%u", "", "no id %u", "M-%u",
		"0123456789abcdef0123456789abcdef0123456789abcdef01234567%08x" };
	snprintf(out, SMPP_ID_SIZE, forms[kind % 8], sequence);
}

static const uint32_t statuses[] = { SMPP_ROK, SMPP_RTHROTTLED, SMPP_RMSGQFUL, 0x008, 0x00b, SMPP_RX_T_APPN, 0x4ff };

static void act_answer(void)
{
	uint8_t pdu[SMPP_WRITE_SIZE];
	char id[SMPP_ID_SIZE];
	uint32_t sequence = some_flight(take()), status = statuses[take() % 7];
	if (status != SMPP_ROK) {
		say_header(SMPP_SUBMIT_SM | SMPP_RESPONSE, status, sequence);
		return;
	}
	write_id(id, take(), sequence);
	say(pdu, smpp_write_taken(pdu, SMPP_SUBMIT_SM | SMPP_RESPONSE, sequence, id));
}

static void act_nack(void)
{
	uint32_t sequence = some_flight(take());
	say_header(SMPP_GENERIC_NACK, statuses[take() % 7], sequence);
}

/* The newest ids that were handed out, and ids that may follow. */
static void act_deliver(void)
{
	static const char *const states[] = { "DELIVRD", "UNDELIV", "ENROUTE", "ACCEPTD", "" };
	uint8_t pdu[SMPP_WRITE_SIZE], which = take(), kind = take(), state = take();
	char id[SMPP_ID_SIZE], text[200];
	write_id(id, kind, play.sequence - which % 8);
	snprintf(text, sizeof text, "id:%s sub:001 stat:%s err:000 text:", id, states[state % 5]);
	struct smpp_message m = {
		.source = { SMPP_TON_INTERNATIONAL, SMPP_NPI_ISDN, "491555" },
		.destination = { SMPP_TON_UNKNOWN, SMPP_NPI_UNKNOWN, "Keyfob" },
		.esm_class = state < 128 ? SMPP_ESM_RECEIPT : 0,
		.state = SMPP_STATE_NONE,
		.text = (const uint8_t *)text,
		.text_len = strlen(text),
	};
	say(pdu, smpp_write_message(pdu, SMPP_DELIVER_SM, 100 + take(), &m));
}

static void act_ask(void)
{
	static const uint32_t commands[] = { SMPP_ENQUIRE_LINK, SMPP_UNBIND, SMPP_ALERT_NOTIFICATION, SMPP_OUTBIND,
		SMPP_BIND_RECEIVER, 0x103, SMPP_SUBMIT_SM };
	uint32_t command = commands[take() % 7];
	say_header(command, SMPP_ROK, take());
}

static void act_agree(void)
{
	static const uint32_t commands[] = { SMPP_ENQUIRE_LINK, SMPP_UNBIND, 0x21, SMPP_BIND_RECEIVER };
	say_header(commands[take() % 4] | SMPP_RESPONSE, SMPP_ROK, play.sequence);
}

static void act_bytes(void)
{
	size_t len = take();
	len = len < input.left ? len : input.left;
	const char *bytes = input.at;
	input.at += len;
	input.left -= len;
	say((const uint8_t *)bytes, len);
}

static void act_hold_back(void)
{
	play.holds_back = !play.holds_back;
	if (!play.holds_back)
		give(SIZE_MAX);
}

static void act_give(void)
{
	give(take());
}

static void act_cut(void)
{
	network_cut(take() % 2 ? UV_ECONNRESET : UV_EOF);
}

static void act_be_full(void)
{
	uint8_t how = take() % 3;
	network_hold(how > 0, how == 2 ? ((size_t)256 << 10) - 40 : 0);
	play.lost_writes = play.lost_writes || how == 2;
}

static int64_t some_ms(void)
{
	static const int64_t some[] = { 1, 124, 250, 999, 1000, 2500, 4999, 5000, 9500, 15000, 60000 };
	return some[take() % 11];
}

static void act_wait(void)
{
	loop_advance(play.loop, some_ms());
}

static void act_wait_for_timer(void)
{
	int64_t next_ms = loop_next_ms(play.loop);
	if (next_ms < INT64_MAX)
		loop_advance(play.loop, next_ms);
}

static void act_stall(void)
{
	loop_stall(play.loop, some_ms());
	play.heard_ms = now_ms();
}

static void act_submit(void)
{
	submit(take());
}

static void act_decide(void)
{
	uint8_t which = take();
	decide(which, take());
}

static void act_ask_again(void)
{
	play.asks_again = true;
}

static void act_close_at_outcome(void)
{
	play.closes_at_outcome = true;
}

static const struct act {
	char letter;
	void (*act)(void);
} acts[] = {
	{ 'a', act_answer },	  /* which, status, what id */
	{ 'b', act_bind },	  /* status */
	{ 'c', act_connect },	  /* 1: refused */
	{ 'd', act_deliver },	  /* which, what id, state, sequence number */
	{ 'e', act_ask },	  /* what, sequence number: enquire_link, unbind, what we do not know */
	{ 'f', act_be_full },	  /* 0: reads what we send; 1: does not; 2: has not for long */
	{ 'g', act_give },	  /* how much of what is held back */
	{ 'h', act_hold_back },	  /* what it sends from now on, or no more */
	{ 'i', act_agree },	  /* to what: our enquire_link, our unbind */
	{ 'k', act_nack },	  /* which, status */
	{ 'l', network_be_late }, /* to cancel a look-up */
	{ 'n', act_resolve },	  /* to how many addresses */
	{ 'o', act_ask_again },	  /* when one has ended */
	{ 'p', act_decide },	  /* which receipt, how */
	{ 'q', act_close_at_outcome },
	{ 'r', network_refuse_write },
	{ 's', act_submit }, /* what */
	{ 't', act_wait },   /* how long */
	{ 'u', act_wait_for_timer },
	{ 'v', act_cut },   /* 0: in order; 1: reset */
	{ 'x', act_bytes }, /* how many, and they */
	{ 'z', act_stall }, /* how long */
	{ '!', close_provider },
};
#define ACT_COUNT (sizeof acts / sizeof *acts)

static void act(void)
{
	char letter = (char)(take() + '0');
	for (size_t i = 0; i < ACT_COUNT; i++)
		if (acts[i].letter == letter) {
			acts[i].act();
			return;
		}
	acts[(uint8_t)letter % (ACT_COUNT - 1)].act();
}

/* what must hold after each of them */

static void check_times(void)
{
	list_for_each (node, &play.asked)
		assert(now_ms() - container_of(node, struct asked, node)->began_ms < play.options.patience_ms);
	if (!network_is_open())
		return;
	for (size_t i = 0; i < play.question_count; i++)
		assert(now_ms() - play.questions[i].came_ms < play.options.answer_ms);
	if (play.is_closing)
		assert(now_ms() - play.closing_ms < SESSION_GOODBYE_MS);
	else if (!play.may_be_bound)
		assert(now_ms() - play.opened_ms < BIND_MS_MAX);
	else
		assert(now_ms() - play.heard_ms < 2 * play.options.enquire_ms);
}

/* Nobody waits for a place that is free. */
static void check_window(void)
{
	bool waits = false;
	if (!network_is_open() || !play.may_be_bound || play.is_closing || now_ms() - play.paused_ms < PAUSE_MS_MOST)
		return;
	list_for_each (node, &play.asked) {
		const struct asked *a = container_of(node, struct asked, node);
		if (a->flight == FLIGHT_FORESEEN)
			return;
		waits = waits || a->flight == FLIGHT_NONE || a->flight == FLIGHT_REFUSED;
	}
	assert(!waits || flights() == play.options.window);
}

/* Nothing is lost in waiting: there is a timer, or somebody whose turn it is. */
static void check_hope(void)
{
	bool has_timer = play.provider && loop_next_ms(play.loop) < INT64_MAX;
	if (play.provider)
		assert(has_timer || !network_is_idle() || !list_is_empty(&play.news));
	else
		assert(loop_next_ms(play.loop) == INT64_MAX && network_is_idle());
}

static void settle(void)
{
	loop_advance(play.loop, 0);
	network_turn();
	loop_advance(play.loop, 0);
	check_times();
	check_window();
	check_hope();
}

/* from the first to the last */

static void begin(void)
{
	static const int patiences[] = { 9500, 1000, 3000 }, enquires[] = { 15000, 2000, 500 };
	static const int answers[] = { 5000, 300 }, receipts_max[] = { 1000, 2 };
	static const struct network_owner owner = { on_open, on_write };
	uint8_t window = take(), queue = take(), times = take(), jitter = take();
	memset(&play, 0, sizeof play);
	if (recorded.next > 0)
		memset(&recorded, 0, sizeof recorded);
	play.loop = loop_new_virtual(0);
	play.options = (struct smpp_options){ .url = "smpp://keyfob@centre:2775",
		.password = "secret",
		.source = "Keyfob",
		.registered_delivery = window % 2,
		.window = 1 + window % 4,
		.queue_max = 1 + queue % 6,
		.patience_ms = patiences[times % 3],
		.answer_ms = answers[times / 3 % 2],
		.receipts_max = receipts_max[times / 6 % 2],
		.enquire_ms = enquires[times / 12 % 3] };
	play.jitter = jitter;
	play.throttled_ms = -1;
	play.paused_ms = -PAUSE_MS_MOST;
	list_init(&play.asked);
	list_init(&play.news);
	network_begin(&owner);
	play.provider = smpp_new(play.loop, &play.options, &receipts);
}

/* It is closed, if it is not, and everybody whose turn it is does what there is to do. */
static void end(void)
{
	close_provider();
	settle();
	for (int rounds = 0; play.provider && rounds < 64; rounds++) {
		while (!list_is_empty(&play.news))
			decide(0, 0);
		loop_advance(play.loop, SESSION_GOODBYE_MS);
		settle();
	}
	assert(!play.provider && list_is_empty(&play.asked) && list_is_empty(&play.news));
	loop_free(play.loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
	input = (struct input){ (const char *)bytes, len };
	begin();
	settle();
	while (input.left > 0 && play.provider) {
		act();
		settle();
	}
	if (play.provider)
		end();
	else
		loop_free(play.loop);
	return 0;
}
