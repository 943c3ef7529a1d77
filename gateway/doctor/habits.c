/* habits.c - how a mosquitto treats messages: what its configuration says of it cannot be asked, so it is given some.
 *
 * sender ─ a message to itself, in rounds ─ a large one ─ FILL to the reader, which stands still ─ the end, again and again ─ it has been read: as many? */
#include <stdio.h>
#include <stdlib.h>

#include "base/ids.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/mqtt/link.h"
#include "gateway/config.h"
#include "gateway/doctor/doctor_internal.h"

#define HABITS_MS 20000	 /* for all of it */
#define REFUSED 0x80	 /* MQTT 5 §3.4.2.1: this and above */
#define ROUNDS_BEFORE 30 /* a new connection's first packets are acknowledged at once, whatever comes */
#define ROUNDS_MEASURED 11
#define NAGLE_US 20000		 /* a delayed acknowledgement is 40 ms */
#define PAYLOAD_MAX (128 * 1024) /* what a vehicle may send (docs/vehicles.md) */
#define FILL 2200 /* mosquitto's own max_queued_messages is 1000, besides what is under way to a reader */
#define END_MS 100

enum step { CONNECTING, ROUNDING, FATTENING, FILLING, DRAINING, DONE };

struct habits {
	struct loop *loop;
	struct loop_timer late, end;
	struct mqtt_link *sender, *reader;
	struct patient *patient;
	struct mqtt_broker broker;
	enum step step;
	unsigned rounds, acknowledged, came, open;
	int64_t echoed_us;
	int64_t gaps_us[ROUNDS_MEASURED]; /* from a message to the PUBACK behind it */
	bool holds;			  /* the reader has a batch that it did not acknowledge */
	char echo[128], fat[128], fill[128];
};

static void begin_round(struct habits *);
static void begin_fat(struct habits *);
static void begin_fill(struct habits *);
static void begin_drain(struct habits *);

static void on_closed(void *owner)
{
	struct habits *h = owner;

	if (--h->open == 0)
		loop_stop(h->loop);
}

static void leave(struct habits *h)
{
	h->step = DONE;
	loop_timer_stop(&h->late);
	loop_timer_stop(&h->end);
	link_close(h->sender, on_closed);
	link_close(h->reader, on_closed);
}

static void publish(struct habits *h, const char *topic, const char *payload, size_t len)
{
	link_publish(h->sender, &(struct mqtt_publish){ .topic = topic, .payload = payload, .len = len, .qos = 1 });
}

/* The sender's own. */

static void on_sender_up(void *owner, struct mqtt_link *link, bool session_present)
{
	struct habits *h = owner;
	const char *const filters[] = { h->echo };

	(void)session_present;
	h->step = ROUNDING;
	link_subscribe(link, filters, 1, 0); /* at QoS 1 our PUBACK would acknowledge at once what TCP waits with */
}

static void on_sender_subscribed(void *owner, struct mqtt_link *link)
{
	(void)link;
	begin_round(owner);
}

/* The broker writes the message, then its PUBACK: Nagle's algorithm holds that back until the message is acknowledged. */
static void begin_round(struct habits *h)
{
	h->echoed_us = 0;
	publish(h, h->echo, "", 0);
}

static void on_echo(void *owner, struct mqtt_link *link, const struct mqtt_message *message)
{
	struct habits *h = owner;

	(void)link, (void)message;
	h->echoed_us = loop_monotonic_us(h->loop);
}

static int compare_us(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

/* A busy machine makes some gaps longer, and hides others: who is late finds both packets there. */
static void judge_gaps(struct habits *h)
{
	qsort(h->gaps_us, ROUNDS_MEASURED, sizeof(h->gaps_us[0]), compare_us);
	int64_t median_us = h->gaps_us[ROUNDS_MEASURED / 2];
	if (median_us > NAGLE_US)
		find(h->patient->report, "broker", VERDICT_WARNING, "set_tcp_nodelay true, in mosquitto.conf",
			"its second packet waits %lld ms for the first to be acknowledged: answers are late by so much",
			(long long)median_us / 1000);
}

static void end_round(struct habits *h)
{
	if (h->rounds >= ROUNDS_BEFORE)
		h->gaps_us[h->rounds - ROUNDS_BEFORE] = h->echoed_us ? loop_monotonic_us(h->loop) - h->echoed_us : 0;
	if (++h->rounds < ROUNDS_BEFORE + ROUNDS_MEASURED) {
		begin_round(h);
		return;
	}
	judge_gaps(h);
	begin_fat(h);
}

static void begin_fat(struct habits *h)
{
	char *payload = memory_new(PAYLOAD_MAX);

	h->step = FATTENING;
	publish(h, h->fat, payload, PAYLOAD_MAX);
	free(payload);
}

static void report_fat(struct habits *h)
{
	find(h->patient->report, "broker", VERDICT_WARNING, "message_size_limit 262144, in mosquitto.conf",
		"it refuses a message of %d KiB: a vehicle that sends one is never told why", PAYLOAD_MAX / 1024);
}

/* More than mosquitto's own bound, to a reader that stands still until all are with the broker. */
static void begin_fill(struct habits *h)
{
	h->step = FILLING;
	link_start(h->reader);
}

static void on_reader_subscribed(void *owner, struct mqtt_link *link)
{
	struct habits *h = owner;

	(void)link;
	for (unsigned i = 0; i < FILL && h->step == FILLING; i++)
		publish(h, h->fill, "", 0);
}

static void on_fill_acknowledged(struct habits *h)
{
	if (++h->acknowledged == FILL)
		begin_drain(h);
}

/* The end may find the queue still full: it is said until it comes through. What comes before it is all that was kept. */
static void begin_drain(struct habits *h)
{
	h->step = DRAINING;
	loop_timer_start(&h->end, END_MS);
	if (!h->holds)
		return;
	h->holds = false;
	link_acknowledge(h->reader);
}

static void on_end(struct loop_timer *timer)
{
	struct habits *h = container_of(timer, struct habits, end);

	publish(h, h->fill, "end", 3);
	loop_timer_start(timer, END_MS);
}

static void finish(struct habits *h)
{
	if (h->came < FILL)
		find(h->patient->report, "broker", VERDICT_WARNING, "max_queued_messages 1000000, in mosquitto.conf",
			"of %d messages that waited for a reader %u came: answers and lifecycle events are dropped",
			FILL, h->came);
	leave(h);
}

static void on_reader_batch(void *owner, struct mqtt_link *link, const struct mqtt_message *messages, size_t count)
{
	struct habits *h = owner;
	bool ended = false;

	for (size_t i = 0; i < count; i++) {
		if (messages[i].len == 0 && !ended)
			h->came++;
		ended |= messages[i].len > 0;
	}
	if (h->step != DRAINING) {
		h->holds = true;
		return;
	}
	link_acknowledge(link);
	if (ended)
		finish(h);
}

static void on_puback(void *owner, struct mqtt_link *link, int mid, int reason)
{
	struct habits *h = owner;

	(void)link, (void)mid;
	if (h->step == ROUNDING) {
		end_round(h);
	} else if (h->step == FATTENING) {
		if (reason >= REFUSED)
			report_fat(h);
		begin_fill(h);
	} else if (h->step == FILLING) {
		on_fill_acknowledged(h);
	}
}

static void on_down(void *owner, struct mqtt_link *link, const char *reason)
{
	struct habits *h = owner;

	(void)link;
	if (h->step == DONE)
		return;
	if (h->step == FATTENING)
		report_fat(h);
	else
		find(h->patient->report, "broker", VERDICT_WARNING, "the broker's log says why",
			"%s:%d, as it was given messages: %s", h->broker.host, h->broker.port, reason);
	leave(h);
}

static void on_late(struct loop_timer *timer)
{
	struct habits *h = container_of(timer, struct habits, late);

	on_down(h, h->sender, "it does not answer");
}

static struct mqtt_link *make_link(struct habits *h, const char *what, struct mqtt_link_options options)
{
	char client_id[160], random[16];

	random_hex(6, random);
	snprintf(client_id, sizeof(client_id), "%s-doctor-%s-%s", h->patient->config->namespace, what, random);
	options.client_id = client_id;
	options.owner = h;
	options.on_down = on_down;
	h->open++;
	return link_new(h->loop, &h->broker, &options);
}

static void on_reader_up(void *owner, struct mqtt_link *link, bool session_present)
{
	const char *const filters[] = { ((struct habits *)owner)->fill };

	(void)session_present;
	link_subscribe(link, filters, 1, 1);
}

void check_habits(struct patient *p, const struct mqtt_broker *at)
{
	struct habits h = { .loop = loop_new(), .patient = p, .broker = *at };
	char random[16];

	random_hex(6, random);
	snprintf(h.echo, sizeof(h.echo), "%s/doctor/%s/echo", p->config->namespace, random);
	snprintf(h.fat, sizeof(h.fat), "%s/doctor/%s/fat", p->config->namespace, random);
	snprintf(h.fill, sizeof(h.fill), "%s/doctor/%s/fill", p->config->namespace, random);
	h.sender = make_link(&h, "sender",
		(struct mqtt_link_options){ .on_up = on_sender_up,
			.on_subscribed = on_sender_subscribed,
			.on_message = on_echo,
			.on_puback = on_puback });
	h.reader = make_link(&h, "reader",
		(struct mqtt_link_options){ .feed = true,
			.on_up = on_reader_up,
			.on_subscribed = on_reader_subscribed,
			.on_batch = on_reader_batch });
	loop_timer_init(h.loop, &h.late, on_late);
	loop_timer_init(h.loop, &h.end, on_end);
	loop_timer_start(&h.late, HABITS_MS);
	link_start(h.sender);
	loop_run(h.loop);
	loop_free(h.loop);
}
