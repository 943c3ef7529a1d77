/* deliver.c - the life of a receipt:
 *
 *   deliver_sm ─┬─ waiting ── passed ─┬─ on record                   ESME_ROK
 *               │     └───────────────┴─ not, or not in time         ESME_RX_T_APPN: it comes again
 *               └─ no receipt, no news, or on record already         ESME_ROK
 *
 * It waits while it may be ahead of the answer to its own submission, and while the same one is passed already. One that has
 * been answered as late goes on all the same: when it comes again it may be on record. */
#include "notifier/wake/smpp/deliver.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/smpp/pdu.h"
#include "notifier/wake/provider.h"
#include "notifier/wake/smpp/receipt.h"
#include "notifier/wake/smpp/session.h"

#define EARLY_MAX 64 /* of those that may be early; past them all are passed as they come */

/* A receipt in hand. */
struct news {
	struct sms_news told;
	struct list node;
	struct deliver *deliver;
	struct smpp_receipt receipt;
	struct smpp_ticket ticket;
	bool is_answered;
	int64_t came_ms;
	char id[SMPP_ID_SIZE]; /* under which it was passed */
};

static void pass(struct deliver *, struct news *, struct handed_id *);
static void on_decided(struct sms_news *, const struct fault *);
static void release(struct news *);
static void on_late(struct loop_timer *);

void deliver_init(struct deliver *d)
{
	list_init(&d->waiting);
	list_init(&d->passed);
	loop_timer_init(d->loop, &d->late, on_late);
}

void deliver_done(struct deliver *d)
{
	assert(d->count == 0);
	loop_timer_stop(&d->late);
}

bool deliver_is_quiet(const struct deliver *d)
{
	return d->count == 0;
}

void deliver_hand_out(struct deliver *d, const char *id)
{
	handed_add(&d->handed, id);
}

/* The id under which it was handed out; the parameter's is the more trustworthy of the two. */
static struct handed_id *handed_of(struct deliver *d, const struct smpp_receipt *r)
{
	struct handed_id *found = *r->ids[0] ? handed_find(&d->handed, r->ids[0]) : NULL;
	return found || !*r->ids[1] ? found : handed_find(&d->handed, r->ids[1]);
}

static void answer(struct deliver *d, struct smpp_ticket ticket, uint32_t status)
{
	if (d->session)
		smpp_session_answer(d->session, ticket, status);
}

/* taking */

bool deliver_take(struct deliver *d, const struct smpp_message *m, struct smpp_ticket ticket)
{
	struct smpp_receipt receipt;

	if (!smpp_receipt_read(m, &receipt)) {
		log_debug("smpp", "a message that is no receipt was dropped");
		answer(d, ticket, SMPP_ROK);
		return false;
	}
	if (!receipt.is_final) {
		answer(d, ticket, SMPP_ROK);
		return false;
	}
	if (d->count >= (size_t)d->max) {
		answer(d, ticket, SMPP_RX_T_APPN);
		return false;
	}
	struct news *news = memory_new(sizeof *news);
	news->deliver = d;
	news->receipt = receipt;
	news->ticket = ticket;
	news->came_ms = loop_monotonic_ms(d->loop);
	news->told.on_done = on_decided;
	list_append(&d->waiting, &news->node);
	d->count++;
	if (!loop_timer_is_started(&d->late))
		loop_timer_start(&d->late, d->answer_ms);
	return true;
}

/* passing on */

void deliver_pass(struct deliver *d, bool may_be_early)
{
	list_for_each_safe (node, &d->waiting) {
		struct news *news = container_of(node, struct news, node);
		struct handed_id *handed = handed_of(d, &news->receipt);

		if (handed ? handed->is_passed : may_be_early && d->count <= EARLY_MAX)
			continue;
		if (handed && handed->is_told) {
			answer(d, news->ticket, SMPP_ROK);
			release(news);
		} else {
			pass(d, news, handed);
		}
	}
}

static void pass(struct deliver *d, struct news *news, struct handed_id *handed)
{
	const struct smpp_receipt *r = &news->receipt;
	const char *id = *r->ids[0] ? r->ids[0] : r->ids[1];

	if (handed)
		handed->is_passed = true;
	snprintf(news->id, sizeof news->id, "%s", handed ? handed->id : id);
	news->told.receipt = (struct sms_receipt){
		.provider = d->provider, .message_id = news->id, .delivered = r->delivered, .reason = r->reason
	};
	list_remove(&news->node);
	list_append(&d->passed, &news->node);
	d->receipts->on_receipt(d->receipts->owner, &news->told);
}

/* Of a message that this session handed out somebody must know soon. One of which nobody knows otherwise may be another's;
 * asked to come again, it would for ever. */
static uint32_t status_of(const struct handed_id *handed, const struct fault *fault)
{
	return !fault || (fault == &FAULT_NOT_FOUND && !handed) ? SMPP_ROK : SMPP_RX_T_APPN;
}

static void on_decided(struct sms_news *told, const struct fault *fault)
{
	struct news *news = container_of(told, struct news, told);
	struct deliver *d = news->deliver;
	struct handed_id *handed = handed_of(d, &news->receipt);

	if (handed) {
		handed->is_passed = false;
		handed->is_told = !fault;
	}
	if (!fault)
		metric_add(METRIC_SMPP_RECEIPTS, 1);
	if (!news->is_answered)
		answer(d, news->ticket, status_of(handed, fault));
	release(news);
	loop_soon_call(d->loop, d->when_decided);
}

/* too late */

static void release(struct news *news)
{
	list_remove(&news->node);
	news->deliver->count--;
	free(news);
}

/* Those whose time is over may come again. When the next one's will be; 0: none is left. */
static int64_t answer_late(struct deliver *d, const struct list *list)
{
	int64_t now_ms = loop_monotonic_ms(d->loop), next_ms = 0;

	list_for_each_safe (node, list) {
		struct news *news = container_of(node, struct news, node);
		int64_t due_ms = news->came_ms + d->answer_ms;

		if (news->is_answered)
			continue;
		if (due_ms > now_ms) {
			next_ms = next_ms == 0 || due_ms < next_ms ? due_ms : next_ms;
			continue;
		}
		news->is_answered = true;
		answer(d, news->ticket, SMPP_RX_T_APPN);
		if (list == &d->waiting)
			release(news);
	}
	return next_ms;
}

static void on_late(struct loop_timer *timer)
{
	struct deliver *d = container_of(timer, struct deliver, late);
	int64_t waiting_ms = answer_late(d, &d->waiting), passed_ms = answer_late(d, &d->passed);
	int64_t next_ms = waiting_ms > 0 && (passed_ms == 0 || waiting_ms < passed_ms) ? waiting_ms : passed_ms;

	if (next_ms > 0)
		loop_timer_start(timer, next_ms - loop_monotonic_ms(d->loop));
	loop_soon_call(d->loop, d->when_decided);
}
