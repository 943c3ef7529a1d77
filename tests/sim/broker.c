/* broker.c - clients, sessions, and what travels between them.
 *
 * A line has two directions, each a list of parcels with a due time that never overtake each other. Those to the broker are read
 * by the world's loop, those to the client by the client's own: what is on its way to a frozen node waits there. */
#include "tests/sim/broker.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/mqtt/link.h"
#include "state/lifecycle_event.h"
#include "tests/sim/chance.h"
#include "tests/sim/node.h"
#include "tests/sim/record.h"
#include "tests/sim/world.h"

#define PREFIX "$aws/events"
#define NAMESPACE "keyfob"
#define NO_MATCHING_SUBSCRIBERS 0x10
#define BATCH_MAX 512
#define FILTERS_MAX 12
#define BACKOFF_MS_MIN 100
#define BACKOFF_MS_MAX 5000
#define STEADY_MS 5000
#define SILENCE_LOOK_MS 200 /* how often a line that carries nothing is looked at */
#define HELD_MS_MAX 5000 /* what a silent line holds for longer ends it (UNRECEIVED_MS_MAX in base/mqtt/connection.c) */

/* A message, shared by all who get it. */
struct letter {
	char *topic, *payload, *correlation;
	size_t len;
	int qos;
	int64_t expires_ms; /* 0: never */
	int64_t held_ms;    /* by a silent line, before the broker had it */
	unsigned refs;
};

enum parcel_kind {
	/* to the broker */
	CONNECT,
	SUBSCRIBE,
	PUBLISH,
	ACK,
	DISCONNECT,
	/* to the client */
	CONNACK,
	SUBACK,
	PUBACK,
	MESSAGE,
	LOST
};

struct parcel {
	struct list node;
	enum parcel_kind kind;
	int64_t due_ms; /* the world's */
	int number; /* PUBLISH, PUBACK: the message id; MESSAGE, ACK: the delivery's; CONNACK: whether the session was there */
	int reason, qos;
	unsigned line; /* of which connection: what is left of one that is lost says nothing to the next */
	bool retain;
	char *text; /* SUBSCRIBE: the filter; LOST: why */
	struct letter *letter;
};

struct filter {
	char *text;
	int qos;
};

/* What the broker keeps of a client. */
struct session {
	struct list node;
	char *client_id;
	bool is_kept; /* when its line is lost */
	struct filter filters[FILTERS_MAX];
	size_t filter_count;
	struct list queue;	/* of struct delivery: QoS 1, not yet acknowledged */
	struct mqtt_link *link; /* NULL: not connected */
	int next_delivery;
	/* of vehicles */
	bool is_vehicle, is_subscribed;
	bool told_connected, told_subscribed; /* of this session, by a lifecycle event that has come */
	char uuid[UUID_TEXT_SIZE];
	int64_t version, told_ms;
};

struct delivery {
	struct list node;
	int number;
	struct letter *letter;
};

enum link_state { IDLE, WAITING, ASKING, OPENING, UP, FALLING, CLOSING };

struct mqtt_link {
	struct list node_of_all;
	struct loop *loop;
	struct node *node; /* NULL: a vehicle's */
	struct mqtt_link_options options;
	char client_id[128], will_topic[256], will_payload[64];
	enum link_state state;
	bool is_open;		  /* it has a line */
	unsigned line, read_line; /* which, as the client counts; the last whose CONNECT the broker has read */
	bool is_held, is_dead;
	struct session *session;	  /* the broker's, once CONNECT has come */
	struct list to_broker, to_client; /* of struct parcel */
	struct loop_timer reading;	  /* the world's: to_broker */
	struct loop_timer hearing, again; /* the client's: to_client; the next attempt */
	struct loop_soon soon;
	unsigned failures, subscribes;
	size_t unacknowledged;
	int next_mid;
	int64_t up_since_ms;
	struct mqtt_message *batch;
	struct letter **batch_letters;
	int *batch_numbers;
	size_t batch_count;
	void (*on_closed)(void *owner);
};

struct retained {
	struct list node;
	struct letter *letter;
};

/* A lifecycle event on its way to the broker's own topics. */
struct rumour {
	struct loop_timer timer;
	struct letter *letter;
};

static struct {
	struct broker_habits habits;
	struct list links, sessions, retained;
	bool is_away;
	int64_t version;
} broker;

static void on_reading(struct loop_timer *timer);
static void on_hearing(struct loop_timer *timer);
static void on_again(struct loop_timer *timer);
static void on_soon(struct loop_soon *soon);
static void route(struct letter *letter, bool retain, int *ret_reason);
static void tell_presence(struct session *s, bool is_connected, const char *reason);
static void tell_subscription(struct session *s);
static void retell(const struct letter *question);
static void drop_line(struct mqtt_link *l, const char *reason);

void broker_begin(const struct broker_habits *habits)
{
	broker.habits = *habits;
	list_init(&broker.links);
	list_init(&broker.sessions);
	list_init(&broker.retained);
}

/* Letters. */

static struct letter *letter_new(const char *topic, const void *payload, size_t len, const char *correlation, int qos)
{
	struct letter *l = memory_new(sizeof(*l));

	l->topic = memory_need(strdup(topic));
	l->payload = memory_new(len + 1);
	if (len > 0)
		memcpy(l->payload, payload, len);
	l->len = len;
	l->correlation = correlation ? memory_need(strdup(correlation)) : NULL;
	l->qos = qos;
	l->refs = 1;
	return l;
}

static struct letter *letter_ref(struct letter *l)
{
	l->refs++;
	return l;
}

static void letter_unref(struct letter *l)
{
	if (!l || --l->refs > 0)
		return;
	free(l->topic);
	free(l->payload);
	free(l->correlation);
	free(l);
}

static bool is_expired(const struct letter *l)
{
	return l->expires_ms > 0 && l->expires_ms <= world_ms();
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

static struct parcel *to_client(struct mqtt_link *l, enum parcel_kind kind)
{
	struct parcel *p = post(&l->to_client, &l->hearing, kind, travel_ms(l));
	p->line = kind == LOST ? l->line : l->read_line;
	return p;
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
	list_append(&broker.links, &l->node_of_all);
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
	if (broker.is_away || is_silent(l)) {
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
	return broker.habits.receive_maximum;
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

void link_acknowledge(struct mqtt_link *l)
{
	if (l->state != UP || !l->is_held)
		return;
	for (size_t i = 0; i < l->batch_count; i++)
		if (l->batch_numbers[i] > 0)
			to_broker(l, ACK)->number = l->batch_numbers[i];
	free_batch(l);
	listen(l);
}

void link_reconnect(struct mqtt_link *l)
{
	if (l->state != UP && l->state != OPENING)
		return;
	free_batch(l);
	drop_line(l, "dropped on request");
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
		if (p->number > 0)
			to_broker(l, ACK)->number = p->number;
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

/* The broker: sessions. */

static struct session *session_of(const char *client_id)
{
	list_for_each (node, &broker.sessions) {
		struct session *s = container_of(node, struct session, node);
		if (strcmp(s->client_id, client_id) == 0)
			return s;
	}
	return NULL;
}

static void note_presence(const struct session *s, bool is_there)
{
	world_note("%s: %s", s->client_id, is_there ? "subscribed" : "gone");
	record_presence(s->client_id, is_there);
}

static void forget_state(struct session *s)
{
	for (size_t i = 0; i < s->filter_count; i++)
		free(s->filters[i].text);
	s->filter_count = 0;
	while (!list_is_empty(&s->queue)) {
		struct delivery *d = container_of(list_take_first(&s->queue), struct delivery, node);
		letter_unref(d->letter);
		free(d);
	}
	s->is_subscribed = false;
}

static void publish_will(struct mqtt_link *l)
{
	int ignored;

	if (!l->will_topic[0])
		return;
	struct letter *will = letter_new(l->will_topic, l->will_payload, strlen(l->will_payload), NULL, 0);
	route(will, false, &ignored);
	letter_unref(will);
}

/* The broker sees the end of a line. */
static void end_line(struct mqtt_link *l, const char *reason, bool in_order)
{
	struct session *s = l->session;

	l->session = NULL;
	if (l->state == CLOSING || l->is_dead) {
		l->is_open = false;
		list_remove(&l->node_of_all);
	}
	if (!s || s->link != l)
		return;
	s->link = NULL;
	if (s->is_vehicle) {
		note_presence(s, false);
		tell_presence(s, false, reason);
	}
	if (!s->is_kept)
		forget_state(s);
	if (!in_order)
		publish_will(l);
}

/* The broker ends a line in order: whoever stands still reads what has come to him, and then the end. */
static void close_line(struct mqtt_link *l, const char *reason)
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
	to_client(l, LOST)->text = memory_need(strdup(reason));
}

/* A line breaks: each end hears of it in its own time, and a feed not before it has done with what it holds. What a silent line has not
 * taken is gone with its socket (base/mqtt/connection.c). */
static void drop_line(struct mqtt_link *l, const char *reason)
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
	to_client(l, LOST)->text = memory_need(strdup(reason));
}

static void deliver(struct session *s, const struct filter *f, struct letter *letter)
{
	int number = 0;

	if (letter->qos > 0 && f->qos > 0) {
		struct delivery *d = memory_new(sizeof(*d));
		d->number = number = ++s->next_delivery;
		d->letter = letter_ref(letter);
		list_append(&s->queue, &d->node);
	}
	if (!s->link || (number == 0 && is_expired(letter)))
		return;
	struct parcel *p = to_client(s->link, MESSAGE);
	p->number = number;
	p->letter = letter_ref(letter);
}

static const struct filter *match(const struct session *s, const char *topic)
{
	for (size_t i = 0; i < s->filter_count; i++)
		if (topic_filter_matches(s->filters[i].text, topic))
			return &s->filters[i];
	return NULL;
}

static void retain_letter(struct letter *letter)
{
	list_for_each_safe (node, &broker.retained) {
		struct retained *r = container_of(node, struct retained, node);
		if (strcmp(r->letter->topic, letter->topic) != 0)
			continue;
		list_remove(&r->node);
		letter_unref(r->letter);
		free(r);
	}
	if (letter->len == 0)
		return;
	struct retained *r = memory_new(sizeof(*r));
	r->letter = letter_ref(letter);
	list_append(&broker.retained, &r->node);
}

static void route(struct letter *letter, bool retain, int *ret_reason)
{
	bool is_heard = false;

	if (retain)
		retain_letter(letter);
	list_for_each (node, &broker.sessions) {
		struct session *s = container_of(node, struct session, node);
		const struct filter *f = match(s, letter->topic);
		if (!f)
			continue;
		is_heard = true;
		deliver(s, f, letter);
	}
	*ret_reason = is_heard || !broker.habits.says_nobody ? 0 : NO_MATCHING_SUBSCRIBERS;
	record_published(letter->topic, letter->payload, letter->len, *ret_reason != 0, letter->held_ms);
	if (strcmp(letter->topic, PREFIX "/" NAMESPACE "/resync") == 0)
		retell(letter);
}

static bool is_vehicle_id(const char *client_id)
{
	return client_id[0] == 'V';
}

static struct session *session_new(const char *client_id)
{
	struct session *s = memory_new(sizeof(*s));

	s->client_id = memory_need(strdup(client_id));
	s->is_vehicle = is_vehicle_id(client_id);
	list_init(&s->queue);
	list_append(&broker.sessions, &s->node);
	return s;
}

static void on_connect(struct mqtt_link *l)
{
	struct session *s = session_of(l->client_id);
	bool was_there = s != NULL && s->is_kept;

	if (s && s->link) {
		struct mqtt_link *old = s->link;
		end_line(old, "DUPLICATE_CLIENTID", false);
		close_line(old, "taken over");
	}
	if (!s)
		s = session_new(l->client_id);
	bool keeps = l->options.session_expiry_seconds > 0;
	if (!keeps || !was_there)
		forget_state(s);
	s->is_kept = keeps;
	s->link = l;
	l->session = s;
	struct parcel *p = to_client(l, CONNACK);
	p->number = keeps && was_there;
	list_for_each_safe (node, &s->queue) {
		struct delivery *d = container_of(node, struct delivery, node);
		if (is_expired(d->letter)) {
			list_remove(&d->node);
			letter_unref(d->letter);
			free(d);
			continue;
		}
		p = to_client(l, MESSAGE);
		p->number = d->number;
		p->letter = letter_ref(d->letter);
	}
	if (!s->is_vehicle)
		return;
	uuid7_make(world_us(), s->uuid);
	s->told_connected = s->told_subscribed = false;
	s->version = broker.version = world_us() > broker.version ? world_us() : broker.version + 1;
	world_note("%s: connected", s->client_id);
	tell_presence(s, true, NULL);
	if (s->is_subscribed) {
		note_presence(s, true);
		tell_subscription(s);
	}
}

static void on_subscribe(struct session *s, const struct parcel *p)
{
	struct filter *f = NULL;
	char request[128];

	for (size_t i = 0; i < s->filter_count; i++)
		if (strcmp(s->filters[i].text, p->text) == 0)
			f = &s->filters[i];
	if (!f) {
		assert(s->filter_count < FILTERS_MAX);
		f = &s->filters[s->filter_count++];
		f->text = memory_need(strdup(p->text));
	}
	f->qos = p->qos;
	list_for_each (node, &broker.retained) {
		struct letter *letter = container_of(node, struct retained, node)->letter;
		if (topic_filter_matches(p->text, letter->topic) && !is_expired(letter))
			deliver(s, f, letter);
	}
	snprintf(request, sizeof(request), "vehicles/%s/commands/request", s->client_id);
	if (s->is_vehicle && topic_filter_matches(p->text, request)) {
		s->is_subscribed = true;
		note_presence(s, true);
		tell_subscription(s);
	}
	if (p->number)
		to_client(s->link, SUBACK);
}

static void on_ack(struct session *s, int number)
{
	list_for_each_safe (node, &s->queue) {
		struct delivery *d = container_of(node, struct delivery, node);
		if (d->number != number)
			continue;
		list_remove(&d->node);
		record_acknowledged(d->letter->topic, d->letter->payload, d->letter->len);
		letter_unref(d->letter);
		free(d);
		return;
	}
}

static void on_publish(struct mqtt_link *l, struct parcel *p)
{
	int reason;

	if (p->letter->expires_ms > 0)
		p->letter->expires_ms = world_ms() + 1000 * p->letter->expires_ms;
	p->letter->held_ms = world_ms() - p->due_ms;
	route(p->letter, p->retain, &reason);
	if (p->qos == 0 || !l->is_open)
		return;
	struct parcel *answer = to_client(l, PUBACK);
	answer->number = p->number;
	answer->reason = reason;
}

static void read_parcel(struct mqtt_link *l, struct parcel *p)
{
	if (p->kind == CONNECT) {
		l->read_line = p->line;
		on_connect(l);
	} else if (p->line != l->read_line)
		return;
	else if (p->kind == LOST)
		end_line(l, "CONNECTION_LOST", false);
	else if (!l->session)
		return; /* it was taken over */
	else if (p->kind == SUBSCRIBE)
		on_subscribe(l->session, p);
	else if (p->kind == ACK)
		on_ack(l->session, p->number);
	else if (p->kind == DISCONNECT)
		end_line(l, "CLIENT_INITIATED_DISCONNECT", true);
	else
		on_publish(l, p);
}

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
		drop_line(l, "timed out");
	if (!p)
		return;
	list_remove(&p->node);
	read_parcel(l, p);
	parcel_free(p);
	if (!list_is_empty(&l->to_broker) && !loop_timer_is_started(timer))
		loop_timer_start(timer, parcel_of(l->to_broker.next)->due_ms - world_ms());
}

/* Lifecycle events, as the plugin tells them; on their way they are late, doubled and out of order. */

/* What is told of a session that is over says nothing of the one that there is. */
static void note_told(const struct letter *letter)
{
	struct session *s = session_of(strrchr(letter->topic, '/') + 1);

	if (!s || !s->is_vehicle || !s->link || !strstr(letter->payload, s->uuid))
		return;
	bool knew = s->told_connected && s->told_subscribed;
	s->told_connected = s->told_connected || strstr(letter->topic, "/presence/connected/");
	s->told_subscribed = s->told_subscribed || strstr(letter->topic, "/subscriptions/subscribed/");
	if (!knew && s->told_connected && s->told_subscribed)
		record_return(s->client_id);
}

static void on_rumour(struct loop_timer *timer)
{
	struct rumour *r = container_of(timer, struct rumour, timer);
	int ignored;

	if (!broker.is_away) {
		route(r->letter, false, &ignored);
		note_told(r->letter);
	}
	letter_unref(r->letter);
	free(r);
}

static void spread(struct letter *letter, int64_t delay_ms)
{
	struct rumour *r = memory_new(sizeof(*r));

	r->letter = letter_ref(letter);
	loop_timer_init(world_loop(), &r->timer, on_rumour);
	loop_timer_start(&r->timer, delay_ms);
}

static void tell_event(struct session *s, const char *kind, const char *type, const char *rest)
{
	char topic[160], body[512];

	s->told_ms = world_us() / 1000 > s->told_ms ? world_us() / 1000 : s->told_ms + 1;
	snprintf(topic, sizeof(topic), PREFIX "/%s/%s/%s", kind, type, s->client_id);
	snprintf(body, sizeof(body),
		"{\"clientId\":\"%s\",\"timestamp\":%" PRId64 ",\"eventType\":\"%s\",\"sessionIdentifier\":\"%s\","
		"\"principalIdentifier\":\"%s\"%s}",
		s->client_id, s->told_ms, type, s->uuid, s->client_id, rest);
	struct letter *letter = letter_new(topic, body, strlen(body), NULL, 1);
	spread(letter, chance_delay_ms(broker.habits.late_ms / 40, broker.habits.late_ms));
	if (chance_of(broker.habits.doubled_permille))
		spread(letter, chance_delay_ms(500, broker.habits.late_ms));
	letter_unref(letter);
}

static void tell_presence(struct session *s, bool is_connected, const char *reason)
{
	char rest[160];

	snprintf(rest, sizeof(rest), ",\"versionNumber\":%" PRId64 "%s%s%s", s->version,
		reason ? ",\"clientInitiatedDisconnect\":false,\"disconnectReason\":\"" : "", reason ? reason : "",
		reason ? "\"" : "");
	tell_event(s, "presence", is_connected ? "connected" : "disconnected", rest);
}

static void tell_subscription(struct session *s)
{
	char rest[160];

	snprintf(rest, sizeof(rest), ",\"topics\":[\"vehicles/%s/commands/request\"]", s->client_id);
	tell_event(s, "subscriptions", "subscribed", rest);
}

/* Who is there, and then the end. */
static void retell(const struct letter *question)
{
	if (!broker.habits.retells)
		return;
	list_for_each (node, &broker.sessions) {
		struct session *s = container_of(node, struct session, node);
		if (!s->is_vehicle || !s->link)
			continue;
		tell_presence(s, true, NULL);
		if (s->is_subscribed)
			tell_subscription(s);
	}
	struct letter *end = letter_new(PREFIX "/" NAMESPACE "/resynced", question->payload, question->len, NULL, 1);
	spread(end, 0);
	letter_unref(end);
}

/* Faults. */

void broker_break(struct mqtt_link *l)
{
	drop_line(l, "reset");
}

void broker_lose(struct node *node, bool is_dead)
{
	list_for_each_safe (one, &broker.links) {
		struct mqtt_link *l = container_of(one, struct mqtt_link, node_of_all);
		if (l->node != node)
			continue;
		l->is_dead = l->is_dead || is_dead;
		drop_line(l, "reset");
		if (is_dead)
			list_remove(&l->node_of_all);
	}
}

void broker_leave(bool forgets)
{
	broker.is_away = true;
	list_for_each (one, &broker.links) {
		struct mqtt_link *l = container_of(one, struct mqtt_link, node_of_all);
		throw_away(&l->to_broker);
		drop_line(l, "the broker went away");
		throw_away(&l->to_broker);
		if (l->session && l->session->link == l)
			l->session->link = NULL;
		l->session = NULL;
	}
	list_for_each (node, &broker.sessions) {
		struct session *s = container_of(node, struct session, node);
		if (s->is_vehicle)
			note_presence(s, false);
		if (forgets || !s->is_kept)
			forget_state(s);
		if (forgets)
			s->is_kept = false;
	}
	world_note("the broker is gone%s", forgets ? ", with all that it knew" : "");
	while (forgets && !list_is_empty(&broker.retained)) {
		struct retained *r = container_of(list_take_first(&broker.retained), struct retained, node);
		letter_unref(r->letter);
		free(r);
	}
}

void broker_return(void)
{
	broker.is_away = false;
}
