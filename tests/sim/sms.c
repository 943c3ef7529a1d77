/* sms.c - gateway/wake.h with one scripted SMS centre: it is slow, refuses, loses its answer, and delivers late or never. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/loop.h"
#include "base/memory.h"
#include "gateway/wake.h"
#include "notifier/wake/provider.h"
#include "tests/sim/chance.h"
#include "tests/sim/record.h"
#include "tests/sim/vehicle.h"
#include "tests/sim/world.h"

struct sms_setup {
	const char *names[1];
};

struct centre {
	struct loop *loop;
	struct sms_provider provider;
	struct sms_receipts receipts;
	struct list answers; /* of struct answer */
	bool is_closed;
	struct loop_soon closing;
	void (*on_closed)(void *owner);
	void *owner;
};

/* The answer to a submission, on its way to the node. */
struct answer {
	struct list node;
	struct loop_timer timer;
	struct sms_submission *submission;
	enum sms_verdict verdict;
	char id[24];
};

/* The receipt, likewise. */
struct receipt_trip {
	struct loop_timer timer;
	struct centre *centre;
	struct sms_news news;
	char id[24];
};

/* The message, on its way to the vehicle. */
struct delivery {
	struct loop_timer timer;
	char vehicle_id[65];
	int64_t expires_ms;
};

static unsigned next_id;

struct sms_setup *sms_setup_new(const struct config *config)
{
	struct sms_setup *s = memory_new(sizeof(*s));
	(void)config;
	s->names[0] = "smpp";
	return s;
}

size_t sms_setup_names(const struct sms_setup *s, const char *const **ret_names)
{
	*ret_names = s->names;
	return 1;
}

bool sms_setup_is_sole(const struct sms_setup *s)
{
	(void)s;
	return false;
}

static void tell(struct answer *a)
{
	const struct sms_outcome outcome = {
		.verdict = a->verdict,
		.message_id = a->verdict == SMS_TAKEN ? a->id : NULL,
		.reason = a->verdict == SMS_TAKEN ? NULL : "THROTTLED",
	};
	loop_timer_stop(&a->timer);
	list_remove(&a->node);
	a->submission->on_done(a->submission, &outcome);
	free(a);
}

static void on_answer(struct loop_timer *timer)
{
	tell(container_of(timer, struct answer, timer));
}

static void on_delivery(struct loop_timer *timer)
{
	struct delivery *d = container_of(timer, struct delivery, timer);

	if (world_ms() <= d->expires_ms)
		vehicle_wake(d->vehicle_id);
	free(d);
}

static void deliver(const struct sms *sms)
{
	struct delivery *d = memory_new(sizeof(*d));

	snprintf(d->vehicle_id, sizeof(d->vehicle_id), "%s", sms->vehicle_id);
	d->expires_ms = world_ms() + 1000 * sms->validity_s;
	loop_timer_init(world_loop(), &d->timer, on_delivery);
	loop_timer_start(&d->timer, 300 + chance_delay_ms(2000, 30000));
}

static void on_recorded(struct sms_news *news, const struct fault *fault)
{
	(void)fault;
	free(container_of(news, struct receipt_trip, news));
}

static void on_receipt(struct loop_timer *timer)
{
	struct receipt_trip *t = container_of(timer, struct receipt_trip, timer);
	if (t->centre->is_closed)
		return;
	t->centre->receipts.on_receipt(t->centre->receipts.owner, &t->news);
}

static void send_receipt(struct centre *c, const char *id)
{
	struct receipt_trip *t = memory_new(sizeof(*t));

	t->centre = c;
	snprintf(t->id, sizeof(t->id), "%s", id);
	t->news = (struct sms_news){
		.receipt = { .provider = "smpp", .message_id = t->id, .delivered = chance_of(900) },
		.on_done = on_recorded,
	};
	t->news.receipt.reason = t->news.receipt.delivered ? NULL : "EXPIRED";
	loop_timer_init(c->loop, &t->timer, on_receipt);
	loop_timer_start(&t->timer, 1000 + chance_delay_ms(3000, 30000));
}

static void submit(void *self, const struct sms *sms, struct sms_submission *submission)
{
	struct centre *c = self;
	struct answer *a = memory_new(sizeof(*a));
	bool is_taken = !chance_of(150);

	a->submission = submission;
	a->verdict = is_taken ? (chance_of(50) ? SMS_UNKNOWN : SMS_TAKEN) : SMS_FAILED;
	snprintf(a->id, sizeof(a->id), "sms-%u", ++next_id);
	record_sms(sms->vehicle_id, is_taken);
	if (is_taken && !chance_of(100))
		deliver(sms);
	if (a->verdict == SMS_TAKEN && !chance_of(200))
		send_receipt(c, a->id);
	list_append(&c->answers, &a->node);
	loop_timer_init(c->loop, &a->timer, on_answer);
	loop_timer_start(&a->timer, chance_delay_ms(100, 8000));
}

static void on_closing(struct loop_soon *soon)
{
	struct centre *c = container_of(soon, struct centre, closing);

	while (!list_is_empty(&c->answers)) {
		struct answer *a = container_of(c->answers.next, struct answer, node);
		a->verdict = SMS_UNKNOWN;
		tell(a);
	}
	c->on_closed(c->owner);
}

/* The centre itself stays: receipts may still be on their way to it. */
static void close_centre(void *self, void (*on_closed)(void *owner), void *owner)
{
	struct centre *c = self;

	c->is_closed = true;
	c->on_closed = on_closed;
	c->owner = owner;
	loop_soon_call(c->loop, &c->closing);
}

void sms_setup_make(
	const struct sms_setup *s, struct loop *loop, const struct sms_receipts *receipts, struct sms_provider **ret)
{
	struct centre *c = memory_new(sizeof(*c));

	(void)s;
	c->loop = loop;
	c->receipts = *receipts;
	c->provider = (struct sms_provider){
		.name = "smpp", .gives_receipts = true, .self = c, .submit = submit, .close = close_centre
	};
	list_init(&c->answers);
	loop_soon_init(&c->closing, on_closing);
	ret[0] = &c->provider;
}
