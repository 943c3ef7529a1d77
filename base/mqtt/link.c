/* link.c - the life of a link: asking, connecting, up, lost, waiting, and again until it is closed.
 *
 *  idle ─ waiting ─ asking ─ resolving ─ opening ─ up
 *            │                   │          │       │
 *            └────── falling ────┴──────────┴───────┘        and from everywhere: closing
 *
 * A state has at most one thing to wait for: the timer, the deferred call, the socket, the attempt or the owner. */
#include "base/mqtt/link.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/mqtt/attempt.h"
#include "base/mqtt/connection.h"
#include "base/mqtt/handle.h"

#define BACKOFF_MS_MIN 100
#define BACKOFF_MS_MAX 5000
#define STEADY_MS 5000	    /* a connection that stood so long makes the next wait short again */
#define OPENING_MS_MAX 5000 /* TCP, TLS and CONNACK together */
#define TICK_MS 1000
#define GOODBYE_MS_MAX 1000 /* for what is not yet written when the link is closed */
#define KEEPALIVE_SECONDS 10

enum link_state {
	LINK_IDLE,	/* made, not started */
	LINK_WAITING,	/* until the timer is due */
	LINK_ASKING,	/* the owner, who answers by link_may_connect() */
	LINK_RESOLVING, /* the attempt has the handle */
	LINK_OPENING,	/* TCP, TLS, CONNECT, until CONNACK */
	LINK_UP,
	LINK_FALLING, /* lost; the owner hears it from the loop */
	LINK_CLOSING,
	LINK_STATES
};

struct mqtt_link {
	struct loop *loop;
	const struct mqtt_broker *broker;
	const struct mqtt_broker *at;	  /* which of its hosts is, or will be, connected to */
	struct mqtt_link_options options; /* with texts of its own */
	enum link_state state;
	struct loop_timer timer;
	struct loop_soon soon;
	struct loop_soon turn; /* its end, once something was published in it */
	unsigned published;    /* in this turn */
	struct attempt *attempt;
	struct connection connection;
	unsigned failures; /* in a row */
	bool is_refused; /* a feed's last batch was not acknowledged: it comes again at once, whoever refused it may not be ready */
	bool was_up;
	bool stays;	     /* with this host: it was its owner who dropped the connection */
	int64_t up_since_ms; /* 0: this connection was not up */
	bool is_telling;     /* an owner's callback is running; settle() looks after the connection when it returns */
	bool says_goodbye;
	void (*on_closed)(void *owner);
};

static void on_due(struct loop_timer *);
static void on_soon(struct loop_soon *);
static void on_turn_over(struct loop_soon *);
static void on_socket(void *link, int events);
static void ask(struct mqtt_link *);
static void begin(struct mqtt_link *);
static void on_opened(void *link, struct mosquitto *, const char *reason);
static void settle(struct mqtt_link *);
static void tell(struct mqtt_link *);
static void tell_up(struct mqtt_link *, const struct news *);
static void tell_subscribed(struct mqtt_link *, const struct news *);
static void tell_pubacks(struct mqtt_link *, const struct news *);
static void tell_messages(struct mqtt_link *, const struct news *);
static void read_on(struct mqtt_link *);
static void tick(struct mqtt_link *);
static void on_opening_late(struct mqtt_link *);
static void fall(struct mqtt_link *, const char *reason);
static void land(struct mqtt_link *);
static void wait_again(struct mqtt_link *);
static void say_goodbye(struct mqtt_link *);
static void on_goodbye_late(struct mqtt_link *);
static void free_link(struct mqtt_link *);

/* making */

static char *copy_of(const char *text)
{
	return text ? memory_need(strdup(text)) : NULL;
}

struct mqtt_link *link_new(struct loop *loop, const struct mqtt_broker *broker, const struct mqtt_link_options *options)
{
	struct mqtt_link *l = memory_new(sizeof *l);
	l->loop = loop;
	l->broker = l->at = broker;
	l->options = *options;
	l->options.client_id = copy_of(options->client_id);
	l->options.will_topic = copy_of(options->will_topic);
	l->options.will_payload = copy_of(options->will_payload);
	l->connection.feed = options->feed;
	l->connection.tls = broker->tls;
	l->connection.batch_max = options->receive_maximum ? options->receive_maximum : FEED_RECEIVE_MAXIMUM;
	l->connection.session_expiry_seconds = options->session_expiry_seconds;
	loop_timer_init(loop, &l->timer, on_due);
	loop_soon_init(&l->soon, on_soon);
	loop_soon_init(&l->turn, on_turn_over);
	return l;
}

void link_start(struct mqtt_link *l)
{
	assert(l->state == LINK_IDLE);
	l->state = LINK_WAITING;
	loop_soon_call(l->loop, &l->soon);
}

/* What each state does when its time has come. */

static void on_due(struct loop_timer *timer)
{
	static void (*const due[LINK_STATES])(struct mqtt_link *) = {
		[LINK_WAITING] = ask,
		[LINK_OPENING] = on_opening_late,
		[LINK_UP] = tick,
		[LINK_CLOSING] = on_goodbye_late,
	};
	struct mqtt_link *l = container_of(timer, struct mqtt_link, timer);
	due[l->state](l);
}

static void on_soon(struct loop_soon *soon)
{
	static void (*const later[LINK_STATES])(struct mqtt_link *) = {
		[LINK_WAITING] = ask,
		[LINK_UP] = read_on,
		[LINK_FALLING] = land,
		[LINK_CLOSING] = say_goodbye,
	};
	struct mqtt_link *l = container_of(soon, struct mqtt_link, soon);
	later[l->state](l);
}

/* connecting */

static void ask(struct mqtt_link *l)
{
	l->state = LINK_ASKING;
	if (l->options.may_connect)
		l->options.may_connect(l->options.owner, l);
	else
		begin(l);
}

void link_may_connect(struct mqtt_link *l, bool yes)
{
	if (l->state != LINK_ASKING)
		return;
	if (yes)
		begin(l);
	else
		wait_again(l);
}

void link_set_will(struct mqtt_link *l, const char *payload)
{
	assert(l->options.will_topic);
	free((char *)l->options.will_payload);
	l->options.will_payload = copy_of(payload);
}

static void begin(struct mqtt_link *l)
{
	const char *reason;
	struct mosquitto *handle = handle_new(l->broker, &l->options, &reason);
	if (!handle) {
		fall(l, reason);
		return;
	}
	int keepalive = l->options.keepalive_seconds ? l->options.keepalive_seconds : KEEPALIVE_SECONDS;
	l->state = LINK_RESOLVING;
	l->attempt = attempt_start(loop_uv(l->loop), handle, l->at, keepalive, on_opened, l);
}

static void on_opened(void *link, struct mosquitto *handle, const char *reason)
{
	struct mqtt_link *l = link;
	l->attempt = NULL;
	if (!handle) {
		fall(l, reason);
		return;
	}
	l->state = LINK_OPENING;
	loop_timer_start(&l->timer, OPENING_MS_MAX);
	connection_open(&l->connection, l->loop, handle, on_socket, l);
	if (l->connection.is_lost)
		fall(l, l->connection.reason);
}

static void on_opening_late(struct mqtt_link *l)
{
	fall(l, "the broker did not answer in 5 s");
}

/* up */

static void on_socket(void *link, int events)
{
	struct mqtt_link *l = link;
	if (l->state == LINK_CLOSING) {
		say_goodbye(l);
		return;
	}
	if (l->connection.is_held) {
		connection_rest(&l->connection);
		return;
	}
	connection_exchange(&l->connection, events);
	settle(l);
}

static bool is_open(const struct mqtt_link *l)
{
	return l->state == LINK_OPENING || l->state == LINK_UP;
}

/* The owner may have closed or dropped the link meanwhile: then the rest is not told. */
static void settle(struct mqtt_link *l)
{
	struct connection *c = &l->connection;
	l->is_telling = true;
	tell(l);
	l->is_telling = false;
	if (!is_open(l))
		return;
	connection_forget_news(c);
	if (c->is_lost) {
		fall(l, c->reason);
		return;
	}
	if (c->has_more && !c->is_held)
		loop_soon_call(l->loop, &l->soon);
	connection_await(c);
}

static void tell(struct mqtt_link *l)
{
	const struct news *n = &l->connection.news;
	if (n->accepted)
		tell_up(l, n);
	if (n->subscribed && l->state == LINK_UP)
		tell_subscribed(l, n);
	tell_pubacks(l, n);
	tell_messages(l, n);
}

static void tell_up(struct mqtt_link *l, const struct news *n)
{
	l->state = LINK_UP;
	l->up_since_ms = loop_monotonic_ms(l->loop);
	loop_timer_start(&l->timer, TICK_MS);
	if (l->was_up)
		metric_add(METRIC_MQTT_RECONNECTS, 1);
	l->was_up = true;
	log_info("mqtt", "link is up", LOG_TEXT("client_id", l->options.client_id), LOG_TEXT("host", l->at->host),
		LOG_INT("port", l->at->port), LOG_INT("session_present", n->session_present));
	if (l->options.on_up)
		l->options.on_up(l->options.owner, l, n->session_present);
}

static void tell_subscribed(struct mqtt_link *l, const struct news *n)
{
	(void)n;
	if (l->options.on_subscribed)
		l->options.on_subscribed(l->options.owner, l);
}

static void tell_pubacks(struct mqtt_link *l, const struct news *n)
{
	for (size_t i = 0; i < n->puback_count && l->state == LINK_UP; i++)
		if (l->options.on_puback)
			l->options.on_puback(l->options.owner, l, n->pubacks[i].mid, n->pubacks[i].reason);
}

static void tell_messages(struct mqtt_link *l, const struct news *n)
{
	void *owner = l->options.owner;
	if (l->state != LINK_UP || n->batch.count == 0)
		return;
	if (l->options.feed) {
		l->options.on_batch(owner, l, n->batch.messages, n->batch.count);
		return;
	}
	for (size_t i = 0; i < n->batch.count && l->state == LINK_UP; i++)
		if (l->options.on_message)
			l->options.on_message(owner, l, &n->batch.messages[i]);
}

static void read_on(struct mqtt_link *l)
{
	struct connection *c = &l->connection;
	if (c->is_held || !c->has_more)
		return;
	connection_exchange(c, UV_READABLE);
	settle(l);
}

/* The answer to a ping may lie unread since a batch was held: first read, then judge. */
static void tick(struct mqtt_link *l)
{
	loop_timer_start(&l->timer, TICK_MS);
	if (l->connection.is_held)
		return;
	connection_exchange(&l->connection, UV_READABLE);
	connection_tick(&l->connection);
	settle(l);
}

/* Whatever the owner asked for may have found the connection gone, or left something to write. */
static void after_call(struct mqtt_link *l)
{
	if (l->is_telling)
		return;
	if (l->connection.is_lost)
		fall(l, l->connection.reason);
	else
		connection_await(&l->connection);
}

void link_subscribe(struct mqtt_link *l, const char *const *filters, size_t count, int qos)
{
	if (l->state != LINK_UP)
		return;
	connection_subscribe(&l->connection, filters, count, qos);
	after_call(l);
}

/* libmosquitto writes each message by itself, and a segment costs more than all else of it. The first of a turn leaves at once, so that
 * one alone waits for nothing; what follows leaves together, when the turn is over. */
static void gather(struct mqtt_link *l)
{
	if (l->published++ == 1)
		connection_gather(&l->connection, true);
	loop_last_call(l->loop, &l->turn);
}

static void on_turn_over(struct loop_soon *turn)
{
	struct mqtt_link *l = container_of(turn, struct mqtt_link, turn);
	if (l->published > 1)
		connection_gather(&l->connection, false);
	l->published = 0;
}

int link_publish(struct mqtt_link *l, const struct mqtt_publish *p)
{
	assert(!l->options.feed && (p->qos == 0 || p->qos == 1));
	if (l->state != LINK_UP)
		return -1;
	gather(l);
	int mid = connection_publish(&l->connection, p);
	after_call(l);
	return mid;
}

void link_acknowledge(struct mqtt_link *l)
{
	if (l->state != LINK_UP || !l->connection.is_held)
		return;
	l->is_refused = false;
	l->failures = 0;
	connection_release(&l->connection);
	if (l->connection.has_more)
		loop_soon_call(l->loop, &l->soon);
	after_call(l);
}

bool link_is_up(const struct mqtt_link *l)
{
	return l->state == LINK_UP;
}

unsigned link_receive_maximum(const struct mqtt_link *l)
{
	return l->connection.receive_maximum;
}

bool link_retains(const struct mqtt_link *l)
{
	return l->connection.retains;
}

size_t link_unacknowledged(const struct mqtt_link *l)
{
	return l->connection.awaited.count;
}

/* losing it */

static void forget_failures(struct mqtt_link *l)
{
	bool is_steady = l->up_since_ms && loop_monotonic_ms(l->loop) - l->up_since_ms >= STEADY_MS;
	if (is_steady && !l->is_refused)
		l->failures = 0;
}

void link_reconnect(struct mqtt_link *l)
{
	if (!is_open(l))
		return;
	forget_failures(l);
	l->is_refused = l->is_refused || l->connection.is_held;
	l->stays = true;
	fall(l, "the connection was dropped on request");
}

static void fall(struct mqtt_link *l, const char *reason)
{
	connection_lose(&l->connection, reason);
	l->state = LINK_FALLING;
	loop_timer_stop(&l->timer);
	loop_soon_call(l->loop, &l->soon);
}

static void land(struct mqtt_link *l)
{
	char reason[REASON_SIZE];
	snprintf(reason, sizeof reason, "%s", l->connection.reason);
	connection_drop(&l->connection);
	forget_failures(l);
	l->up_since_ms = 0;
	log_warn("mqtt", "link is down", LOG_TEXT("client_id", l->options.client_id), LOG_TEXT("host", l->at->host),
		LOG_INT("port", l->at->port), LOG_TEXT("why", reason));
	if (!l->stays)
		l->at = l->at->next ? l->at->next : l->broker;
	l->stays = false;
	wait_again(l);
	if (l->options.on_down)
		l->options.on_down(l->options.owner, l, reason);
}

/* The jitter keeps the links of all nodes from coming back to a broker in step. */
static void wait_again(struct mqtt_link *l)
{
	int64_t delay_ms = BACKOFF_MS_MIN << (l->failures < 6 ? l->failures : 6);
	if (delay_ms > BACKOFF_MS_MAX)
		delay_ms = BACKOFF_MS_MAX;
	l->failures++;
	l->state = LINK_WAITING;
	loop_timer_start(&l->timer, delay_ms / 2 + arc4random_uniform((uint32_t)(delay_ms / 2)));
}

/* closing */

/* A held batch's PUBACKs stand before the DISCONNECT in the queue: such a link goes without. */
void link_close(struct mqtt_link *l, void (*on_closed)(void *owner))
{
	assert(l->state != LINK_CLOSING);
	l->says_goodbye = l->state == LINK_UP && !l->connection.is_held;
	l->state = LINK_CLOSING;
	l->on_closed = on_closed;
	loop_timer_stop(&l->timer);
	attempt_abandon(l->attempt);
	on_turn_over(&l->turn); /* what was gathered must not stay with the kernel */
	if (l->says_goodbye)
		connection_disconnect(&l->connection);
	loop_soon_call(l->loop, &l->soon);
}

static void say_goodbye(struct mqtt_link *l)
{
	if (!l->says_goodbye || connection_has_left(&l->connection)) {
		free_link(l);
		return;
	}
	if (!loop_timer_is_started(&l->timer))
		loop_timer_start(&l->timer, GOODBYE_MS_MAX);
}

static void on_goodbye_late(struct mqtt_link *l)
{
	free_link(l);
}

static void free_link(struct mqtt_link *l)
{
	void (*on_closed)(void *) = l->on_closed;
	void *owner = l->options.owner;
	loop_soon_cancel(&l->soon);
	loop_soon_cancel(&l->turn);
	loop_timer_stop(&l->timer);
	connection_free(&l->connection);
	free((char *)l->options.client_id);
	free((char *)l->options.will_topic);
	free((char *)l->options.will_payload);
	free(l);
	if (on_closed)
		on_closed(owner);
}
