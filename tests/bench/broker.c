/* broker.c - ask and echo. */
#include "tests/bench/broker.h"

#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/mqtt/link.h"
#include "tests/bench/clock.h"
#include "tests/bench/samples.h"

#define REQUEST_BYTES 300
#define ANSWER_BYTES 150
#define MISC_INTERVAL_US 1000000
#define CONNECT_S 10
#define INFLIGHT 1024

struct client {
	struct mosquitto *handle;
	const char *subscription;
	bool is_subscribed;
	int64_t misc_due_us;
};

struct asker {
	struct client asks, echoes;
	struct mqtt_broker broker;
	void (*on_answer)(void *owner, struct asker *);
	void *owner;
	uint64_t answers;
	pthread_t thread;
	atomic_bool ends;
	char request_topic[64], answer_topic[64];
};

static void client_open(struct client *, struct asker *, const char *name, const char *subscription);
static void client_step(struct client *, int timeout_ms);
static void client_publish(struct client *, const char *topic, size_t len);
static void on_request(struct mosquitto *, void *, const struct mosquitto_message *, const mosquitto_property *);
static void on_answer(struct mosquitto *, void *, const struct mosquitto_message *, const mosquitto_property *);
static void *run_echo(void *arg);

struct asker *asker_new(const char *url, void (*on_answered)(void *owner, struct asker *), void *owner)
{
	struct asker *a = memory_new(sizeof(*a));

	mosquitto_lib_init();
	a->on_answer = on_answered;
	a->owner = owner;
	if (!mqtt_url_parse(url, &a->broker))
		give_up("%s is no mqtt://HOST:PORT", url);
	snprintf(a->request_topic, sizeof(a->request_topic), "bench/%d/request", (int)getpid());
	snprintf(a->answer_topic, sizeof(a->answer_topic), "bench/%d/answer", (int)getpid());
	client_open(&a->echoes, a, "echo", a->request_topic);
	client_open(&a->asks, a, "ask", a->answer_topic);
	mosquitto_message_v5_callback_set(a->echoes.handle, on_request);
	mosquitto_message_v5_callback_set(a->asks.handle, on_answer);
	if (pthread_create(&a->thread, NULL, run_echo, a) != 0)
		give_up("no thread for the echo");
	return a;
}

void asker_free(struct asker *a)
{
	atomic_store(&a->ends, true);
	pthread_join(a->thread, NULL);
	mosquitto_destroy(a->asks.handle);
	mosquitto_destroy(a->echoes.handle);
	mqtt_broker_forget(&a->broker);
	free(a);
}

/* The client that a callback's handle belongs to is found by its asker. */
static void on_suback(struct mosquitto *handle, void *context, int mid, int count, const int *granted,
	const mosquitto_property *properties)
{
	struct asker *a = context;
	(void)mid, (void)count, (void)granted, (void)properties;
	(handle == a->asks.handle ? &a->asks : &a->echoes)->is_subscribed = true;
}

static void on_connack(
	struct mosquitto *handle, void *context, int reason, int flags, const mosquitto_property *properties)
{
	const struct asker *a = context;
	(void)flags, (void)properties;
	if (reason != 0)
		give_up("the broker refused: %s", mosquitto_reason_string(reason));
	const struct client *c = handle == a->asks.handle ? &a->asks : &a->echoes;
	mosquitto_subscribe(handle, NULL, c->subscription, 1);
}

static void client_open(struct client *c, struct asker *a, const char *name, const char *subscription)
{
	char id[64];
	int64_t until_us = clock_us() + CONNECT_S * 1000000;

	snprintf(id, sizeof(id), "bench-%s-%d", name, (int)getpid());
	c->subscription = subscription;
	c->handle = memory_need(mosquitto_new(id, true, a));
	mosquitto_int_option(c->handle, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5);
	mosquitto_int_option(c->handle, MOSQ_OPT_TCP_NODELAY, 1);
	mosquitto_int_option(c->handle, MOSQ_OPT_RECEIVE_MAXIMUM, INFLIGHT);
	mosquitto_int_option(c->handle, MOSQ_OPT_SEND_MAXIMUM, INFLIGHT);
	mosquitto_connect_v5_callback_set(c->handle, on_connack);
	mosquitto_subscribe_v5_callback_set(c->handle, on_suback);
	if (mosquitto_connect(c->handle, a->broker.host, a->broker.port, 60) != MOSQ_ERR_SUCCESS)
		give_up("no broker at %s:%d", a->broker.host, a->broker.port);
	while (!c->is_subscribed && clock_us() < until_us)
		client_step(c, 100);
	if (!c->is_subscribed)
		give_up("the broker did not take %s", id);
}

static void client_write(struct client *c)
{
	while (mosquitto_want_write(c->handle))
		if (mosquitto_loop_write(c->handle, 1) != MOSQ_ERR_SUCCESS)
			give_up("the broker hung up");
}

/* One read takes one packet or a few: as long as the socket has more, it goes on. */
static void client_step(struct client *c, int timeout_ms)
{
	struct pollfd socket = { .fd = mosquitto_socket(c->handle), .events = POLLIN };

	client_write(c);
	while (poll(&socket, 1, timeout_ms) > 0) {
		if (mosquitto_loop_read(c->handle, 1) != MOSQ_ERR_SUCCESS)
			give_up("the broker hung up");
		timeout_ms = 0;
		client_write(c);
	}
	if (clock_us() > c->misc_due_us) {
		mosquitto_loop_misc(c->handle);
		c->misc_due_us = clock_us() + MISC_INTERVAL_US;
	}
}

static void client_publish(struct client *c, const char *topic, size_t len)
{
	static const char payload[REQUEST_BYTES] = "{\"request_id\":";
	if (mosquitto_publish(c->handle, NULL, topic, (int)len, payload, 1, false) != MOSQ_ERR_SUCCESS)
		give_up("a message could not be published");
}

static void *run_echo(void *arg)
{
	struct asker *a = arg;
	while (!atomic_load(&a->ends))
		client_step(&a->echoes, 100);
	return NULL;
}

static void on_request(struct mosquitto *handle, void *context, const struct mosquitto_message *m,
	const mosquitto_property *properties)
{
	struct asker *a = context;
	(void)handle, (void)m, (void)properties;
	client_publish(&a->echoes, a->answer_topic, ANSWER_BYTES);
}

static void on_answer(struct mosquitto *handle, void *context, const struct mosquitto_message *m,
	const mosquitto_property *properties)
{
	struct asker *a = context;
	(void)handle, (void)m, (void)properties;
	a->answers++;
	if (a->on_answer)
		a->on_answer(a->owner, a);
}

void asker_ask(struct asker *a)
{
	client_publish(&a->asks, a->request_topic, REQUEST_BYTES);
}

void asker_wait(struct asker *a, uint64_t answers, int64_t until_us)
{
	for (int64_t now = clock_us(); a->answers < answers && now < until_us; now = clock_us())
		client_step(&a->asks, (int)((until_us - now) / 1000 + 1));
}

uint64_t asker_answers(const struct asker *a)
{
	return a->answers;
}
