/* line.c - parcels, the client's end, and what a silent or broken line does with what is on it. */
#include "tests/sim/line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tests/sim/chance.h"
#include "tests/sim/letter.h"
#include "tests/sim/node.h"
#include "tests/sim/world.h"

#define BATCH_MAX 512
#define BACKOFF_MS_MIN 100
#define BACKOFF_MS_MAX 5000
#define STEADY_MS 5000
#define SILENCE_LOOK_MS 200 /* how often a line that carries nothing is looked at */
#define HELD_MS_MAX 5000 /* what a silent line holds for longer ends it (UNRECEIVED_MS_MAX in base/mqtt/connection.c) */

static struct list all = { &all, &all };

static void on_reading(struct loop_timer *timer);
static void on_hearing(struct loop_timer *timer);
static void on_again(struct loop_timer *timer);
static void on_soon(struct loop_soon *soon);

struct list *lines_all(void)
{
	return &all;
}

/* Parcels. */

static bool is_silent(const struct mqtt_link *l)
{
	return l->node && node_is_cut_from_broker(l->node);
}

static struct parcel *parcel_of(struct list *node)
{
	return container_of(node, struct parcel, node);
}

static void parcel_free(struct parcel *p)
{
	letter_unref(p->letter);
	free(p->text);
	free(p);
}

static void throw_away(struct list *parcels)
{
	while (!list_is_empty(parcels))
		parcel_free(parcel_of(list_take_first(parcels)));
}

/* It arrives after what was sent before it. */
static struct parcel *post(struct list *way, struct loop_timer *timer, enum parcel_kind kind, int64_t delay_ms)
{
	struct parcel *p = memory_new(sizeof(*p));

	p->kind = kind;
	p->due_ms = world_ms() + delay_ms;
	if (!list_is_empty(way) && parcel_of(way->prev)->due_ms > p->due_ms)
		p->due_ms = parcel_of(way->prev)->due_ms;
	list_append(way, &p->node);
	if (!loop_timer_is_started(timer))
		loop_timer_start(timer, p->due_ms - world_ms());
	return p;
}

static int64_t travel_ms(const struct mqtt_link *l)
{
	return l->node ? chance_delay_ms(1, 20) : chance_delay_ms(40, 1500);
}

static struct parcel *to_broker(struct mqtt_link *l, enum parcel_kind kind)
{
	struct parcel *p = post(&l->to_broker, &l->reading, kind, travel_ms(l));
	p->line = l->line;
	return p;
}

struct parcel *line_post(struct mqtt_link *l, enum parcel_kind kind)
{
	struct parcel *p = post(&l->to_client, &l->hearing, kind, travel_ms(l));
	p->line = kind == LOST ? l->line : l->read_line;
	return p;
}

static struct mqtt_message message_of(const struct letter *l)
{
	int64_t left_ms = l->expires_ms > 0 ? l->expires_ms - world_ms() : 0;
	return (struct mqtt_message){
		.topic = l->topic,
		.payload = l->payload,
		.len = l->len,
		.correlation = l->correlation,
		.correlation_len = l->correlation ? strlen(l->correlation) : 0,
		.expiry_seconds = left_ms > 0 ? (uint32_t)((left_ms + 999) / 1000) : 0,
	};
}

/* The ends of a line. */

void line_close(struct mqtt_link *l, const char *reason)
{
	if (!l->is_open)
		return;
	l->is_open = false;
	list_for_each_safe (node, &l->to_client) {
		if (parcel_of(node)->due_ms <= world_ms() && !is_silent(l))
			continue;
		list_remove(node);
		parcel_free(parcel_of(node));
	}
	line_post(l, LOST)->text = memory_need(strdup(reason));
}

/* What a silent line has not taken is gone with its socket (base/mqtt/connection.c). */
void line_drop(struct mqtt_link *l, const char *reason)
{
	if (!l->is_open)
		return;
	l->is_open = false;
	throw_away(&l->to_client);
	if (chance_of(500) || is_silent(l))
		throw_away(&l->to_broker);
	to_broker(l, LOST);
	if (l->state == CLOSING || l->is_dead)
		return;
	line_post(l, LOST)->text = memory_need(strdup(reason));
}

void line_empty(struct mqtt_link *l)
{
	throw_away(&l->to_broker);
}

/* The client. */

struct mqtt_link *link_new(struct loop *loop, const struct mqtt_broker *where, const struct mqtt_link_options *options)
{
	struct mqtt_link *l = memory_new(sizeof(*l));

	(void)where;
	l->loop = loop;
	l->node = node_running();
	l->options = *options;
	snprintf(l->client_id, sizeof(l->client_id), "%s", options->client_id);
	snprintf(l->will_topic, sizeof(l->will_topic), "%s", options->will_topic ? options->will_topic : "");
	snprintf(l->will_payload, sizeof(l->will_payload), "%s", options->will_payload ? options->will_payload : "");
	list_init(&l->to_broker);
	list_init(&l->to_client);
	list_init(&l->node_of_all);
	list_append(&all, &l->node_of_all);
	loop_timer_init(world_loop(), &l->reading, on_reading);
	loop_timer_init(loop, &l->hearing, on_hearing);
	loop_timer_init(loop, &l->again, on_again);
	loop_soon_init(&l->soon, on_soon);
	return l;
}

void link_start(struct mqtt_link *l)
{
	l->state = WAITING;
	loop_timer_start(&l->again, 0);
}

static void open_line(struct mqtt_link *l)
{
	l->state = OPENING;
	if (broker_is_away() || is_silent(l)) {
		l->is_open = false;
		l->state = FALLING;
		loop_timer_start(&l->again, chance_delay_ms(20, 5000));
		return;
	}
	l->is_open = true;
	l->line++;
	l->subscribes = 0;
	l->unacknowledged = 0;
	to_broker(l, CONNECT);
}

static void wait_again(struct mqtt_link *l)
{
	int64_t delay_ms = BACKOFF_MS_MIN << (l->failures < 6 ? l->failures : 6);
	if (delay_ms > BACKOFF_MS_MAX)
		delay_ms = BACKOFF_MS_MAX;
	l->failures++;
	l->state = WAITING;
	loop_timer_start(&l->again, delay_ms / 2 + chance_below(delay_ms / 2));
}

static void free_batch(struct mqtt_link *l)
{
	for (size_t i = 0; i < l->batch_count; i++)
		letter_unref(l->batch_letters[i]);
	free(l->batch);
	free(l->batch_letters);
	free(l->batch_numbers);
	l->batch = NULL;
	l->batch_letters = NULL;
	l->batch_numbers = NULL;
	l->batch_count = 0;
	l->is_held = false;
}

/* The client sees the end of its line. */
static void land(struct mqtt_link *l, const char *reason)
{
	throw_away(&l->to_client);
	free_batch(l);
	l->is_open = false;
	l->unacknowledged = 0;
	if (l->up_since_ms && world_ms() - l->up_since_ms >= STEADY_MS)
		l->failures = 0;
	l->up_since_ms = 0;
	wait_again(l);
	if (l->options.on_down)
		l->options.on_down(l->options.owner, l, reason);
}

static void on_again(struct loop_timer *timer)
{
	struct mqtt_link *l = container_of(timer, struct mqtt_link, again);

	if (l->state == FALLING) {
		land(l, "the broker cannot be reached");
		return;
	}
	l->state = ASKING;
	if (l->options.may_connect)
		l->options.may_connect(l->options.owner, l);
	else
		open_line(l);
}

void link_may_connect(struct mqtt_link *l, bool yes)
{
	if (l->state != ASKING)
		return;
	if (yes)
		open_line(l);
	else
		wait_again(l);
}

bool link_is_up(const struct mqtt_link *l)
{
	return l->state == UP;
}

unsigned link_receive_maximum(const struct mqtt_link *l)
{
	(void)l;
	return broker_receive_maximum();
}

size_t link_unacknowledged(const struct mqtt_link *l)
{
	return l->unacknowledged;
}

void link_subscribe(struct mqtt_link *l, const char *const *filters, size_t count, int qos)
{
	if (l->state != UP)
		return;
	l->subscribes++;
	for (size_t i = 0; i < count; i++) {
		struct parcel *p = to_broker(l, SUBSCRIBE);
		p->text = memory_need(strdup(filters[i]));
		p->qos = qos;
		p->number = i + 1 == count;
	}
}

int link_publish(struct mqtt_link *l, const struct mqtt_publish *m)
{
	if (l->state != UP)
		return -1;
	l->next_mid = l->next_mid % 65535 + 1;
	struct parcel *p = to_broker(l, PUBLISH);
	p->number = l->next_mid;
	p->qos = m->qos;
	p->retain = m->retain;
	p->letter = letter_new(m->topic, m->payload, m->len, m->correlation, m->qos);
	if (m->expiry_seconds > 0)
		p->letter->expires_ms = m->expiry_seconds; /* from when it arrives */
	if (m->qos > 0)
		l->unacknowledged++;
	return l->next_mid;
}

static void listen(struct mqtt_link *l)
{
	if (!list_is_empty(&l->to_client) && !loop_timer_is_started(&l->hearing))
		loop_timer_start(&l->hearing, parcel_of(l->to_client.next)->due_ms - world_ms());
}

static void acknowledge(struct mqtt_link *l, int number, struct letter *letter)
{
	if (number == 0)
		return;
	struct parcel *p = to_broker(l, ACK);
	p->number = number;
	p->letter = letter_ref(letter);
}

void link_acknowledge(struct mqtt_link *l)
{
	if (l->state != UP || !l->is_held)
		return;
	for (size_t i = 0; i < l->batch_count; i++)
		acknowledge(l, l->batch_numbers[i], l->batch_letters[i]);
	free_batch(l);
	listen(l);
}

void link_reconnect(struct mqtt_link *l)
{
	if (l->state != UP && l->state != OPENING)
		return;
	free_batch(l);
	line_drop(l, "dropped on request");
	listen(l);
}

void link_close(struct mqtt_link *l, void (*on_closed)(void *owner))
{
	bool says_goodbye = l->state == UP && !l->is_held;

	l->on_closed = on_closed;
	l->state = CLOSING;
	loop_timer_stop(&l->again);
	loop_timer_stop(&l->hearing);
	if (says_goodbye)
		to_broker(l, DISCONNECT);
	loop_soon_call(l->loop, &l->soon);
}

/* The owner is rid of it at once; the broker reads what was written, and then the end. */
static void on_soon(struct loop_soon *soon)
{
	struct mqtt_link *l = container_of(soon, struct mqtt_link, soon);
	void (*on_closed)(void *) = l->on_closed;

	free_batch(l);
	throw_away(&l->to_client);
	if (l->is_open)
		to_broker(l, LOST);
	if (on_closed)
		on_closed(l->options.owner);
}

/* Hearing. */

static void hear_batch(struct mqtt_link *l)
{
	size_t size = 0;

	while (!list_is_empty(&l->to_client) && l->batch_count < BATCH_MAX) {
		struct parcel *p = parcel_of(l->to_client.next);
		if (p->kind != MESSAGE || p->due_ms > world_ms())
			break;
		list_remove(&p->node);
		if (l->batch_count == size) {
			size = 2 * size + 8;
			l->batch = memory_resize(l->batch, size, sizeof(*l->batch));
			l->batch_letters = memory_resize(l->batch_letters, size, sizeof(struct letter *));
			l->batch_numbers = memory_resize(l->batch_numbers, size, sizeof(int));
		}
		l->batch_letters[l->batch_count] = letter_ref(p->letter);
		l->batch_numbers[l->batch_count] = p->number;
		l->batch[l->batch_count++] = message_of(p->letter);
		parcel_free(p);
	}
	l->is_held = true;
	l->options.on_batch(l->options.owner, l, l->batch, l->batch_count);
}

static void hear(struct mqtt_link *l, struct parcel *p)
{
	void *owner = l->options.owner;

	switch (p->kind) {
	case CONNACK:
		l->state = UP;
		l->up_since_ms = world_ms();
		l->options.on_up(owner, l, p->number);
		break;
	case SUBACK:
		if (--l->subscribes == 0 && l->options.on_subscribed)
			l->options.on_subscribed(owner, l);
		break;
	case PUBACK:
		l->unacknowledged--;
		if (l->options.on_puback)
			l->options.on_puback(owner, l, p->number, p->reason);
		break;
	case MESSAGE:
		acknowledge(l, p->number, p->letter);
		if (l->options.on_message) {
			struct mqtt_message m = message_of(p->letter);
			l->options.on_message(owner, l, &m);
		}
		break;
	default:
		land(l, p->text ? p->text : "lost");
	}
}

/* The first of what is on its way, once its time has come; NULL: there is none, or the timer looks again. */
static struct parcel *next_due(const struct mqtt_link *l, const struct list *queue, struct loop_timer *timer)
{
	struct parcel *p = list_is_empty(queue) ? NULL : parcel_of(queue->next);

	if (!p)
		return NULL;
	if (p->due_ms > world_ms()) {
		loop_timer_start(timer, p->due_ms - world_ms());
		return NULL;
	}
	if (is_silent(l) && p->kind != LOST) {
		loop_timer_start(timer, SILENCE_LOOK_MS);
		return NULL;
	}
	return p;
}

/* A feed link stands still from a batch to its acknowledgement, and does not see the end of its line before. */
static void on_hearing(struct loop_timer *timer)
{
	struct mqtt_link *l = container_of(timer, struct mqtt_link, hearing);

	struct parcel *p = l->is_held ? NULL : next_due(l, &l->to_client, timer);
	if (!p)
		return;
	if (p->line != l->line || (p->kind != LOST && l->state != OPENING && l->state != UP)) {
		list_remove(&p->node);
		parcel_free(p);
	} else if (l->options.feed && p->kind == MESSAGE) {
		hear_batch(l);
	} else {
		list_remove(&p->node);
		hear(l, p);
		parcel_free(p);
	}
	if (l->state != CLOSING && !l->is_held)
		listen(l);
}

/* What has come to the broker. */

static bool has_held_too_long(const struct mqtt_link *l)
{
	return is_silent(l) && l->is_open && !list_is_empty(&l->to_broker) &&
	       world_ms() - parcel_of(l->to_broker.next)->due_ms > HELD_MS_MAX;
}

static void on_reading(struct loop_timer *timer)
{
	struct mqtt_link *l = container_of(timer, struct mqtt_link, reading);

	struct parcel *p = next_due(l, &l->to_broker, timer);
	if (!p && has_held_too_long(l))
		line_drop(l, "timed out");
	if (!p)
		return;
	list_remove(&p->node);
	broker_read(l, p);
	parcel_free(p);
	if (!list_is_empty(&l->to_broker) && !loop_timer_is_started(timer))
		loop_timer_start(timer, parcel_of(l->to_broker.next)->due_ms - world_ms());
}
