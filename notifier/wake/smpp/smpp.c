/* smpp.c - the life of a submission:
 *
 *  submit ─┬─ queue ── window ─┬─ taken        (submit_sm_resp)
 *          │    ▲                 ├─ refused      (its command_status)
 *          │    └── throttled ────┤
 *          │                      └─ unknown      (the session was lost, or no answer came)
 *          └─ refused, failed                      and from the queue, when time or session ran out: failed
 *
 * Whatever ends goes to the list `ended`, and its owner hears of it from the loop. */
#include "notifier/wake/smpp/smpp.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/smpp/alphabet.h"
#include "base/smpp/pdu.h"
#include "notifier/wake/smpp/deliver.h"
#include "notifier/wake/smpp/session.h"
#include "notifier/wake/smpp/status.h"
#include "notifier/wake/smpp/target.h"

#define WINDOW 10
#define QUEUE_MAX 1000
#define PATIENCE_MS 9500
#define ENQUIRE_MS 15000
#define PAUSE_MS_MIN 250
#define PAUSE_MS_MAX 4000
#define VALIDITY_S_MAX (30 * 86400) /* so that no month need be written */

struct smpp {
	struct sms_provider provider;
	struct loop *loop;
	struct smpp_options options; /* the numbers; the texts are below */
	struct smpp_target target;
	char *password, *ca;
	struct smpp_address source;

	struct session *session; /* NULL once it is closed */
	bool is_refused;	 /* the last bind was */
	struct list queue, window, ended;
	int queued, unanswered;
	unsigned throttles;	 /* in a row */
	struct loop_timer pause; /* started: nothing goes out */
	struct loop_soon telling;
	struct deliver deliver;

	bool is_closing;
	void (*on_closed)(void *owner);
	void *closer;
};

struct submission {
	struct list node; /* of the queue, the window or what ended */
	struct smpp *smpp;
	struct sms_submission *asked; /* its owner's, until told */
	const struct sms *sms;
	uint8_t text[SMS_SEPTETS_MAX], coding;
	size_t text_len;
	bool is_written, was_throttled;
	uint32_t sequence;
	int64_t begun_ms;
	struct loop_timer patience;

	enum sms_verdict verdict;
	char message_id[SMPP_ID_SIZE];
	const char *reason;
};

static void submit(void *self, const struct sms *, struct sms_submission *);
static void close_provider(void *self, void (*on_closed)(void *owner), void *owner);
static struct smpp_address source_of(const char *);
static struct submission *make_submission(struct smpp *, const struct sms *, struct sms_submission *);
static const char *objection(struct submission *);
static void enqueue(struct submission *);
static void advance(struct smpp *);
static void send_submission(struct submission *);
static void on_bound(void *owner);
static void on_answer(void *owner, const struct smpp_header *, const uint8_t *pdu);
static void take_refusal(struct submission *, uint32_t status);
static void throttle(struct submission *);
static void on_pause_over(struct loop_timer *);
static void on_message(void *owner, const struct smpp_message *, struct smpp_ticket);
static void on_down(void *owner, enum session_end);
static void on_impatient(struct loop_timer *);
static void end(struct submission *, enum sms_verdict, const char *reason);
static void end_all(struct list *, enum sms_verdict, const char *reason);
static void on_telling(struct loop_soon *);
static void on_session_closed(void *owner);
static void free_provider(struct smpp *);

/* making */

static int or_default(int given, int otherwise)
{
	return given > 0 ? given : otherwise;
}

struct sms_provider *smpp_new(
	struct loop *loop, const struct smpp_options *options, const struct sms_receipts *receipts)
{
	struct smpp *s = memory_new(sizeof *s);
	bool is_url = target_parse(options->url, &s->target);
	assert(is_url); /* the configuration has refused any other */
	s->provider = (struct sms_provider){ "smpp", options->registered_delivery, s, submit, close_provider };
	s->loop = loop;
	s->options.registered_delivery = options->registered_delivery;
	s->options.window = or_default(options->window, WINDOW);
	s->options.queue_max = or_default(options->queue_max, QUEUE_MAX);
	s->options.patience_ms = or_default(options->patience_ms, PATIENCE_MS);
	s->password = memory_need(strdup(options->password ? options->password : ""));
	s->ca = options->ca ? memory_need(strdup(options->ca)) : NULL;
	s->source = source_of(options->source);
	list_init(&s->queue);
	list_init(&s->window);
	list_init(&s->ended);
	loop_timer_init(loop, &s->pause, on_pause_over);
	loop_soon_init(&s->telling, on_telling);
	s->session = smpp_session_open(&(struct session_options){
		.loop = loop,
		.target = &s->target,
		.password = s->password,
		.ca = s->ca,
		.enquire_ms = or_default(options->enquire_ms, ENQUIRE_MS),
		.owner = s,
		.on_bound = on_bound,
		.on_down = on_down,
		.on_answer = on_answer,
		.on_message = on_message,
	});
	s->deliver = (struct deliver){
		.loop = loop,
		.provider = s->provider.name,
		.receipts = receipts,
		.when_decided = &s->telling,
		.answer_ms = or_default(options->answer_ms, DELIVER_ANSWER_MS),
		.max = or_default(options->receipts_max, DELIVER_MAX),
		.session = s->session,
	};
	deliver_init(&s->deliver);
	return &s->provider;
}

/* SMPP 3.4 §5.2.5, §5.2.6: a number of the world with or without its +, a short code of one network, or a name. */
static struct smpp_address source_of(const char *source)
{
	struct smpp_address a = { SMPP_TON_INTERNATIONAL, SMPP_NPI_ISDN, "" };
	const char *digits = source + (*source == '+');
	size_t len = strspn(digits, "0123456789");
	bool is_number = len > 0 && digits[len] == '\0';
	if (!is_number)
		a = (struct smpp_address){ SMPP_TON_ALPHANUMERIC, SMPP_NPI_UNKNOWN, "" };
	else if (digits == source && len <= 8)
		a = (struct smpp_address){ SMPP_TON_NETWORK, SMPP_NPI_UNKNOWN, "" };
	snprintf(a.text, sizeof a.text, "%s", is_number ? digits : source);
	return a;
}

/* submitting */

static void submit(void *self, const struct sms *sms, struct sms_submission *asked)
{
	struct smpp *s = self;
	struct submission *b = make_submission(s, sms, asked);
	const char *word = objection(b);
	if (word)
		end(b, SMS_REFUSED, word);
	else if (s->is_closing)
		end(b, SMS_FAILED, "CLOSED");
	else if (s->is_refused)
		end(b, SMS_FAILED, "NOT_BOUND");
	else if (s->queued >= s->options.queue_max)
		end(b, SMS_FAILED, "QUEUE_FULL");
	else
		enqueue(b);
}

static struct submission *make_submission(struct smpp *s, const struct sms *sms, struct sms_submission *asked)
{
	struct submission *b = memory_new(sizeof *b);
	list_init(&b->node);
	b->smpp = s;
	b->asked = asked;
	b->sms = sms;
	b->begun_ms = loop_monotonic_ms(s->loop);
	loop_timer_init(s->loop, &b->patience, on_impatient);
	asked->provider_private = b;
	return b;
}

static bool is_e164(const char *msisdn)
{
	size_t len = *msisdn == '+' ? strspn(msisdn + 1, "0123456789") : 0;
	return len >= 5 && len <= 15 && msisdn[1 + len] == '\0';
}

/* Why it can never go out, as a word; NULL: it can. A wake-up that takes two SMS is not split: it is written too long. */
static const char *objection(struct submission *b)
{
	static const char *const words[] = {
		[SMS_FITS] = NULL, [SMS_TOO_LONG] = "TEXT_TOO_LONG", [SMS_NOT_UTF8] = "INVALID_TEXT"
	};
	if (!is_e164(b->sms->msisdn))
		return "INVALID_ADDRESS";
	return words[sms_encode(b->sms->text, b->text, &b->text_len, &b->coding)];
}

static void enqueue(struct submission *b)
{
	list_append(&b->smpp->queue, &b->node);
	b->smpp->queued++;
	loop_timer_start(&b->patience, b->smpp->options.patience_ms);
	advance(b->smpp);
}

static void advance(struct smpp *s)
{
	while (smpp_session_is_bound(s->session) && !loop_timer_is_started(&s->pause) &&
		s->unanswered < s->options.window && !list_is_empty(&s->queue))
		send_submission(container_of(s->queue.next, struct submission, node));
}

/* Relative, §7.1.1.2: years, months, days, hours, minutes, seconds. What it waited here is over. */
static void write_validity(const struct submission *b, char out[SMPP_TIME_SIZE])
{
	int64_t waited_s = (loop_monotonic_ms(b->smpp->loop) - b->begun_ms) / 1000;
	int64_t left_s = b->sms->validity_s - waited_s;
	unsigned n = left_s < 1 ? 1 : left_s > VALIDITY_S_MAX ? VALIDITY_S_MAX : (unsigned)left_s;
	snprintf(out, SMPP_TIME_SIZE, "0000%02u%02u%02u%02u000R", n / 86400 % 100, n / 3600 % 24, n / 60 % 60, n % 60);
}

static void send_submission(struct submission *b)
{
	struct smpp *s = b->smpp;
	uint8_t pdu[SMPP_WRITE_SIZE];
	struct smpp_message m = {
		.source = s->source,
		.destination = { SMPP_TON_INTERNATIONAL, SMPP_NPI_ISDN, "" },
		.registered_delivery = s->options.registered_delivery,
		.data_coding = b->coding,
		.text = b->text,
		.text_len = b->text_len,
	};
	snprintf(m.destination.text, sizeof m.destination.text, "%s", b->sms->msisdn + 1);
	write_validity(b, m.validity_period);
	b->sequence = smpp_session_next_sequence(s->session);
	size_t len = smpp_write_message(pdu, SMPP_SUBMIT_SM, b->sequence, &m);
	assert(len > 0); /* all of it was looked at before */
	list_remove(&b->node);
	list_append(&s->window, &b->node);
	b->is_written = true;
	s->queued--;
	s->unanswered++;
	smpp_session_write(s->session, pdu, len);
}

static void on_bound(void *owner)
{
	struct smpp *s = owner;
	s->is_refused = false;
	advance(s);
}

/* answers */

static struct submission *find_unanswered(struct smpp *s, uint32_t sequence)
{
	list_for_each (node, &s->window) {
		struct submission *b = container_of(node, struct submission, node);
		if (b->sequence == sequence)
			return b;
	}
	return NULL;
}

/* One that is not found came too late: its submission has ended as unknown. */
static void on_answer(void *owner, const struct smpp_header *h, const uint8_t *pdu)
{
	struct smpp *s = owner;
	struct submission *b = find_unanswered(s, h->sequence);
	if (!b)
		return;
	if (h->command == SMPP_GENERIC_NACK || h->status != SMPP_ROK) {
		take_refusal(b, h->status);
		return;
	}
	s->throttles = 0;
	if (smpp_read_id(pdu, h->length, b->message_id))
		deliver_hand_out(&s->deliver, b->message_id);
	else
		*b->message_id = '\0';
	end(b, SMS_TAKEN, NULL);
}

static void take_refusal(struct submission *b, uint32_t code)
{
	const struct smpp_status *status = smpp_status_of(code);
	log_info("smpp", "a submission was refused", LOG_TEXT("vehicle_id", b->sms->vehicle_id),
		LOG_INT("status", code), LOG_TEXT("word", status->word));
	if (status->follow == FOLLOW_AGAIN)
		throttle(b);
	else
		end(b, status->follow == FOLLOW_REFUSED ? SMS_REFUSED : SMS_FAILED, status->word);
}

/* The whole account is too fast, not this message: everything waits. Answers to what went out with it come in one after
 * the other, and count once. */
static void throttle(struct submission *b)
{
	struct smpp *s = b->smpp;
	int64_t pause_ms = PAUSE_MS_MIN << (s->throttles < 4 ? s->throttles : 4);
	metric_add(METRIC_SMPP_THROTTLED, 1);
	b->was_throttled = true;
	if (!loop_timer_is_started(&s->pause)) {
		s->throttles++;
		loop_timer_start(&s->pause, pause_ms / 2 + arc4random_uniform((uint32_t)(pause_ms / 2)));
	}
	if (s->is_closing || s->pause.due_ms >= b->patience.due_ms) {
		end(b, SMS_FAILED, "THROTTLED");
		return;
	}
	list_remove(&b->node);
	list_append(s->queue.next, &b->node); /* before all others */
	b->is_written = false;
	s->unanswered--;
	s->queued++;
}

static void on_pause_over(struct loop_timer *timer)
{
	advance(container_of(timer, struct smpp, pause));
}

/* receipts */

static void on_message(void *owner, const struct smpp_message *m, struct smpp_ticket ticket)
{
	struct smpp *s = owner;
	if (deliver_take(&s->deliver, m, ticket))
		loop_soon_call(s->loop, &s->telling);
}

/* when it does not come to an answer */

static void on_down(void *owner, enum session_end how)
{
	struct smpp *s = owner;
	s->is_refused = how == SESSION_REFUSED;
	end_all(&s->window, SMS_UNKNOWN, "CONNECTION_LOST");
	if (how == SESSION_REFUSED)
		end_all(&s->queue, SMS_FAILED, "NOT_BOUND");
	else if (how == SESSION_UNREACHABLE)
		end_all(&s->queue, SMS_FAILED, "UNREACHABLE");
}

static void on_impatient(struct loop_timer *timer)
{
	struct submission *b = container_of(timer, struct submission, patience);
	struct smpp *s = b->smpp;
	if (b->is_written)
		end(b, SMS_UNKNOWN, "NO_ANSWER");
	else if (b->was_throttled || loop_timer_is_started(&s->pause))
		end(b, SMS_FAILED, "THROTTLED");
	else
		end(b, SMS_FAILED, smpp_session_is_bound(s->session) ? "BUSY" : "UNREACHABLE");
	advance(s);
}

/* ending */

/* From wherever it is; it may come straight from submit(). */
static void end(struct submission *b, enum sms_verdict verdict, const char *reason)
{
	struct smpp *s = b->smpp;
	if (b->is_written)
		s->unanswered--;
	else if (!list_is_empty(&b->node))
		s->queued--;
	loop_timer_stop(&b->patience);
	list_remove(&b->node);
	list_append(&s->ended, &b->node);
	b->verdict = verdict;
	b->reason = reason;
	loop_soon_call(s->loop, &s->telling);
}

static void end_all(struct list *list, enum sms_verdict verdict, const char *reason)
{
	while (!list_is_empty(list))
		end(container_of(list->next, struct submission, node), verdict, reason);
}

static void tell(struct submission *b)
{
	const struct sms_outcome outcome = {
		.verdict = b->verdict,
		.message_id = *b->message_id ? b->message_id : NULL,
		.reason = b->reason,
	};
	b->asked->provider_private = NULL;
	b->asked->on_done(b->asked, &outcome);
	free(b);
}

/* One round: what is submitted and refused in an owner's callback is told in the next. Receipts follow the outcomes, so that an
 * id is never in a receipt before it was in an outcome. */
static void on_telling(struct loop_soon *soon)
{
	struct smpp *s = container_of(soon, struct smpp, telling);
	struct list round, *node;
	list_init(&round);
	list_append_all(&round, &s->ended);
	while ((node = list_take_first(&round)))
		tell(container_of(node, struct submission, node));
	deliver_pass(&s->deliver, s->unanswered > 0);
	if (s->session)
		advance(s);
	else if (list_is_empty(&s->ended) && deliver_is_quiet(&s->deliver))
		free_provider(s);
}

/* closing */

static void close_provider(void *self, void (*on_closed)(void *owner), void *owner)
{
	struct smpp *s = self;
	assert(!s->is_closing);
	s->is_closing = true;
	s->on_closed = on_closed;
	s->closer = owner;
	end_all(&s->queue, SMS_FAILED, "CLOSED");
	smpp_session_close(s->session, on_session_closed);
}

/* The centre had its time to answer. Receipts in hand may keep the provider for longer than a pause lasts. */
static void on_session_closed(void *owner)
{
	struct smpp *s = owner;
	s->session = s->deliver.session = NULL;
	loop_timer_stop(&s->pause);
	end_all(&s->window, SMS_UNKNOWN, "CONNECTION_LOST");
	loop_soon_call(s->loop, &s->telling);
}

static void free_provider(struct smpp *s)
{
	void (*on_closed)(void *) = s->on_closed;
	void *closer = s->closer;
	deliver_done(&s->deliver);
	target_done(&s->target);
	free(s->password);
	free(s->ca);
	free(s);
	if (on_closed)
		on_closed(closer);
}
