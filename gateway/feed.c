/* feed.c - a leased MQTT session that is read in batches.
 *
 *   lease read again ─ CONNECT ─ SUBSCRIBE ─ row marked ─┬─ batch ─ flows ─ commit ─ acknowledge ─ next batch
 *                                                        ├─ fault: connect again, it all comes again
 *                                                           (the lease may turn out to be another's) */
#include "gateway/feed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/mqtt/link.h"
#include "base/receipt.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "sql/statements.h"
#include "state/lifecycle_event.h"

#define SESSION_EXPIRY_S (7 * 24 * 3600)
#define FILTERS_MAX (LIFECYCLE_FILTERS_MAX + 1)
#define IDLE_MS 1000	/* what has waited comes without a pause as long as this */
#define BEHIND_MS 10000 /* and is read by then, where there is no pause */
#define UNHEARD_MS 5000 /* a connection that is lost is there again by then, mostly */

struct feed {
	struct loop *loop;
	struct feed_options options;
	char name[24], client_id[128], filters[FILTERS_MAX][LIFECYCLE_FILTER_SIZE];
	size_t filter_count;
	struct batch_fence fence;
	struct mqtt_link *link; /* NULL once it is closed */
	struct receipt receipt; /* open while a batch is with the flows */
	bool reading, closing, link_closed, session_present;
	bool behind; /* what has waited may not have been read yet: at the broker, or while this process stood still */
	int64_t behind_ms;	   /* monotonic: since when that is read */
	struct loop_timer unheard; /* since it does not read */
	bool is_unheard;	   /* for so long that people should know */
	int64_t subscribed_ms,
		read_ms; /* monotonic: when it subscribed, 0: not yet; when all that had come was acknowledged, or this process went on */
	unsigned units; /* database units whose answer is out */
	void (*on_closed)(void *owner);
};

static void may_connect(void *owner, struct mqtt_link *link);
static void on_checked(struct db_unit *unit, void *context, const struct fault *fault);
static void on_up(void *owner, struct mqtt_link *link, bool session_present);
static void on_subscribed(void *owner, struct mqtt_link *link);
static void on_marked(struct db_unit *unit, void *context, const struct fault *fault);
static void on_down(void *owner, struct mqtt_link *link, const char *reason);
static void on_batch(void *owner, struct mqtt_link *link, const struct mqtt_message *messages, size_t count);
static void on_settled(struct receipt *receipt);
static void start_anew(struct feed *f, const struct fault *fault);
static void set_reading(struct feed *f, bool is_reading);
static void set_unheard(struct feed *f, bool is_unheard);
static void on_unheard(struct loop_timer *timer);
static void on_link_closed(void *owner);
static void finish_closing(struct feed *f);

/* Which topics a feed reads. */
static void set_filters(struct feed *f, const char *which)
{
	if (strcmp(which, "lifecycle") == 0) {
		size_t n = f->filter_count = lifecycle_filters(f->options.lifecycle, f->filters);
		if (f->options.lifecycle->broker == LIFECYCLE_VEHICLES)
			return; /* nobody could answer a resync */
		snprintf(f->filters[n], sizeof(f->filters[n]), "%s/%s/resynced", f->options.lifecycle->prefix,
			f->options.namespace);
		f->filter_count = n + 1;
	} else if (strcmp(which, "state") == 0) {
		snprintf(f->filters[0], sizeof(f->filters[0]), "vehicles/+/state");
		f->filter_count = 1;
	} else if (strcmp(which, "aws-commands") == 0) {
		snprintf(f->filters[0], sizeof(f->filters[0]), "$aws/commands/things/+/executions/+/response/json");
		f->filter_count = 1;
	} else {
		snprintf(f->filters[0], sizeof(f->filters[0]), "vehicles/+/commands/response/%s", which);
		snprintf(f->filters[1], sizeof(f->filters[1]), "vehicles/+/state/%s", which);
		f->filter_count = 2;
	}
}

struct feed *feed_new(struct loop *loop, const struct feed_options *options, const char *name, int64_t epoch)
{
	struct feed *f = memory_new(sizeof(*f));
	const char *which = name + strlen("feed/");

	f->loop = loop;
	f->options = *options;
	snprintf(f->name, sizeof(f->name), "%s", name);
	snprintf(f->client_id, sizeof(f->client_id), "%s-feed-%s", options->namespace, which);
	set_filters(f, which);
	f->fence = (struct batch_fence){ .lease = f->name, .epoch = epoch };
	loop_timer_init(loop, &f->unheard, on_unheard);
	f->link = link_new(loop, options->broker,
		&(struct mqtt_link_options){
			.client_id = f->client_id,
			.feed = true,
			.session_expiry_seconds = SESSION_EXPIRY_S,
			.owner = f,
			.may_connect = may_connect,
			.on_up = on_up,
			.on_down = on_down,
			.on_subscribed = on_subscribed,
			.on_batch = on_batch,
		});
	return f;
}

void feed_start(struct feed *f)
{
	loop_timer_start(&f->unheard, UNHEARD_MS);
	link_start(f->link);
}

const char *feed_name(const struct feed *f)
{
	return f->name;
}

/* Connecting. */

static struct db_unit *lease_unit(struct feed *f, const struct db_statement *statement, db_done *on_done)
{
	struct db_unit *unit = db_unit_new(f->options.reader, on_done, f);
	db_unit_add(unit, statement);
	db_param_text(unit, f->name);
	db_param_text(unit, f->options.worker);
	db_param_int(unit, f->fence.epoch);
	f->units++;
	return unit;
}

static void may_connect(void *owner, struct mqtt_link *link)
{
	struct feed *f = owner;
	(void)link;
	db_unit_submit(lease_unit(f, &SQL_lease_check, on_checked));
}

static void on_checked(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct feed *f = context;

	f->units--;
	if (f->closing) {
		finish_closing(f);
		return;
	}
	bool held = !fault && db_bool(unit, 0, 0, 0);
	link_may_connect(f->link, held);
	if (!fault && !held)
		f->options.on_fenced(f->options.owner, f);
}

static void on_up(void *owner, struct mqtt_link *link, bool session_present)
{
	struct feed *f = owner;
	const char *filters[FILTERS_MAX];

	f->session_present = f->behind = session_present;
	f->subscribed_ms = 0;
	for (size_t i = 0; i < f->filter_count; i++)
		filters[i] = f->filters[i];
	link_subscribe(link, filters, f->filter_count, 1);
}

static void on_subscribed(void *owner, struct mqtt_link *link)
{
	struct feed *f = owner;

	(void)link;
	f->subscribed_ms = f->behind_ms = f->read_ms = loop_monotonic_ms(f->loop);
	log_debug("feed", "subscribed", LOG_TEXT("feed", f->name), LOG_INT("session_present", f->session_present));
	db_unit_submit(lease_unit(f, &SQL_lease_subscribed, on_marked));
	f->options.on_subscribed(f->options.owner, &f->fence, f->session_present);
}

static void on_marked(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct feed *f = context;

	(void)unit;
	f->units--;
	if (f->closing)
		finish_closing(f);
	else if (fault)
		start_anew(f, fault);
	else if (f->subscribed_ms > 0) /* it is still connected */
		set_reading(f, true);
}

static void on_down(void *owner, struct mqtt_link *link, const char *reason)
{
	struct feed *f = owner;

	(void)link;
	f->subscribed_ms = 0;
	set_reading(f, false);
	log_debug("feed", "no connection to the broker", LOG_TEXT("feed", f->name), LOG_TEXT("reason", reason));
}

/* Reading. */

static void set_reading(struct feed *f, bool is_reading)
{
	f->options.on_reading(f->options.owner, f, is_reading);
	if (is_reading) {
		loop_timer_stop(&f->unheard);
		set_unheard(f, false);
	} else if (!f->is_unheard && !loop_timer_is_started(&f->unheard)) {
		loop_timer_start(&f->unheard, UNHEARD_MS);
	}
}

static void set_unheard(struct feed *f, bool is_unheard)
{
	if (f->is_unheard != is_unheard)
		metric_add(METRIC_FEEDS_UNHEARD, is_unheard ? 1 : -1);
	f->is_unheard = is_unheard;
}

static void on_unheard(struct loop_timer *timer)
{
	struct feed *f = container_of(timer, struct feed, unheard);

	set_unheard(f, true);
	f->options.on_unheard(f->options.owner, f);
}

bool feed_is_behind(const struct batch_fence *fence)
{
	return container_of(fence, struct feed, fence)->behind;
}

/* Of what the broker kept the first is here before its word on the subscription, the rest as fast as it is acknowledged: the first pause is
 * its end. So it is with what came while this process stood still. */
static void look_behind(struct feed *f)
{
	int64_t now_ms = loop_monotonic_ms(f->loop), stood_still_ms = loop_stood_still_ms(f->loop);

	if (f->subscribed_ms == 0)
		return;
	if (stood_still_ms > f->read_ms) {
		f->behind = true;
		f->behind_ms = f->read_ms = stood_still_ms;
	}
	if (now_ms - f->read_ms >= IDLE_MS || now_ms - f->behind_ms >= BEHIND_MS)
		f->behind = false;
}

static void acknowledge(struct feed *f)
{
	f->read_ms = loop_monotonic_ms(f->loop);
	link_acknowledge(f->link);
}

/* What the broker keeps of a topic comes with each subscription (MQTT 5 §3.3.1.3): it was read when it was said, which may be long ago. */
static void read_message(struct feed *f, const struct mqtt_message *m)
{
	if (!m->retained)
		f->options.on_message(f->options.owner, &f->fence, m, &f->receipt);
}

static void on_batch(void *owner, struct mqtt_link *link, const struct mqtt_message *messages, size_t count)
{
	struct feed *f = owner;

	(void)link;
	if (f->reading) { /* of a connection that is over: it connects anew once that batch is settled, and this one comes again */
		if (!f->receipt.fault)
			f->receipt.fault = &FAULT_OVERLOADED;
		return;
	}
	look_behind(f);
	f->reading = true;
	receipt_init(&f->receipt, on_settled);
	for (size_t i = 0; i < count; i++)
		read_message(f, &messages[i]);
	receipt_close(&f->receipt, NULL);
}

static void on_settled(struct receipt *receipt)
{
	struct feed *f = container_of(receipt, struct feed, receipt);

	f->reading = false;
	if (f->closing)
		finish_closing(f);
	else if (!receipt->fault)
		acknowledge(f);
	else
		link_reconnect(f->link); /* the lease is read before it connects: a lost one is found there */
}

/* A batch that is with the flows has the receipt: not before it is settled, or the next connection's would have it, too. */
static void start_anew(struct feed *f, const struct fault *fault)
{
	if (!f->reading)
		link_reconnect(f->link);
	else if (!f->receipt.fault)
		f->receipt.fault = fault;
}

/* Closing. */

void feed_close(struct feed *f, void (*closed)(void *owner))
{
	f->closing = true;
	f->options.on_reading(f->options.owner, f, false);
	loop_timer_stop(&f->unheard);
	set_unheard(f, false);
	f->on_closed = closed;
	link_close(f->link, on_link_closed);
	f->link = NULL;
}

static void on_link_closed(void *owner)
{
	struct feed *f = owner;
	f->link_closed = true;
	finish_closing(f);
}

static void finish_closing(struct feed *f)
{
	if (!f->link_closed || f->reading || f->units > 0)
		return;
	void (*closed)(void *) = f->on_closed;
	void *whose = f->options.owner;
	free(f);
	closed(whose);
}
