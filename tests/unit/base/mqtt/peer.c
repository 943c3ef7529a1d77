/* peer.c - the owner of a link under test. */
#include "peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct loop *loop;
struct test_broker server;
struct mqtt_broker broker;

static struct loop_timer heartbeat; /* so that run_until() sees its end */

static void on_heartbeat(struct loop_timer *timer)
{
	loop_timer_start(timer, 200);
}

void set_up(void)
{
	loop = loop_new();
	loop_timer_init(loop, &heartbeat, on_heartbeat);
	loop_timer_start(&heartbeat, 200);
	test_broker_make(&server, NULL);
	test_broker_start(&server);
	broker = (struct mqtt_broker){ .host = "127.0.0.1", .port = server.port };
}

void tear_down(void)
{
	loop_stop(loop);
	loop_run(loop);
	loop_free(loop);
	test_broker_done(&server);
}

static void on_closed(void *owner)
{
	struct peer *p = owner;
	p->closed++;
	p->link = NULL;
}

void peer_close(struct peer *p)
{
	if (p->link && !p->closed)
		link_close(p->link, on_closed);
	run_until(p->closed);
	ck_assert_int_eq(p->closed, 1);
}

static bool closes_now(struct peer *p, char where)
{
	if (p->closes_in != where)
		return false;
	link_close(p->link, on_closed);
	p->closes_in = 0;
	return true;
}

static void may_connect(void *owner, struct mqtt_link *link)
{
	struct peer *p = owner;
	p->asked++;
	if (!closes_now(p, 'a'))
		link_may_connect(link, !p->refuse_once || p->asked > 1);
}

static void on_up(void *owner, struct mqtt_link *link, bool session_present)
{
	struct peer *p = owner;
	ck_assert(link_is_up(link));
	p->ups++;
	p->session_present = session_present;
	if (p->filter)
		link_subscribe(link, &p->filter, 1, 1);
	closes_now(p, 'u');
}

static void on_down(void *owner, struct mqtt_link *link, const char *reason)
{
	struct peer *p = owner;
	ck_assert(!link_is_up(link));
	p->downs++;
	snprintf(p->reason, sizeof p->reason, "%s", reason);
	closes_now(p, 'd');
}

static void on_subscribed(void *owner, struct mqtt_link *link)
{
	struct peer *p = owner;
	(void)link;
	p->subscribed++;
	closes_now(p, 's');
}

static void hear(struct peer *p, const struct mqtt_message *m)
{
	char text[16] = "";
	memcpy(text, m->payload, m->len < 15 ? m->len : 15);
	ck_assert_uint_lt(p->heard, HEARD_MAX);
	p->numbers[p->heard++] = atoi(text);
	p->last_len = m->len;
	p->last_retained = m->retained;
	p->last_expiry = m->expiry_seconds;
	snprintf(p->last_correlation, sizeof p->last_correlation, "%.*s", (int)m->correlation_len,
		m->correlation ? m->correlation : "");
}

static void on_message(void *owner, struct mqtt_link *link, const struct mqtt_message *m)
{
	struct peer *p = owner;
	(void)link;
	hear(p, m);
	closes_now(p, 'm');
}

static void on_batch(void *owner, struct mqtt_link *link, const struct mqtt_message *messages, size_t count)
{
	struct peer *p = owner;
	ck_assert_uint_gt(count, 0);
	p->batches++;
	p->last_batch = count;
	for (size_t i = 0; i < count; i++)
		hear(p, &messages[i]);
	if (!closes_now(p, 'b') && p->acknowledge)
		link_acknowledge(link);
}

static void on_puback(void *owner, struct mqtt_link *link, int mid, int reason)
{
	struct peer *p = owner;
	(void)link;
	p->pubacks++;
	p->last_mid = mid;
	p->last_reason = reason;
	closes_now(p, 'p');
}

void peer_start(struct peer *p, const char *client_id, struct mqtt_link_options options)
{
	options.client_id = client_id;
	options.owner = p;
	options.session_expiry_seconds = options.feed ? 3600 : 0;
	options.may_connect = may_connect;
	options.on_up = on_up;
	options.on_down = on_down;
	options.on_subscribed = on_subscribed;
	options.on_message = on_message;
	options.on_batch = on_batch;
	options.on_puback = on_puback;
	p->link = link_new(loop, &broker, &options);
	link_start(p->link);
	ck_assert_int_eq(p->asked, 0);
}

int peer_publish(struct peer *p, const char *topic, int number)
{
	char text[16];
	int len = snprintf(text, sizeof text, "%d", number);
	return link_publish(
		p->link, &(struct mqtt_publish){ .topic = topic, .payload = text, .len = (size_t)len, .qos = 1 });
}
