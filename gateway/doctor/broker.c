/* broker.c - the broker, as the gateway's account finds it.
 *
 * connect ─ subscribe to lifecycle events ─ publish below the namespace ─ publish below their prefix ─┬─ denied: the plugin keeps watch
 *                                                                                                     └─ taken: nothing does
 *
 * Each host of mqtt.url is visited. The plugin lets nobody publish below the prefix, the gateway no more than others, and the gateway everywhere else (docs/broker.md):
 * that shows it without asking it anything, and nobody hears what is published here. Where it does, habits.c looks further. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/loop.h"
#include "base/mqtt/link.h"
#include "gateway/config.h"
#include "gateway/doctor/doctor_internal.h"
#include "state/lifecycle_event.h"

#define BROKER_MS 15000 /* for all of it */
#define REFUSED 0x80	/* MQTT 5 §3.4.2.1: this and above */
#define NOT_AUTHORIZED 0x87
#define INFLIGHT_MIN 512 /* docs/broker.md */

enum step { CONNECTING, SUBSCRIBING, PUBLISHING, TRYING, DONE };

struct visit {
	struct loop *loop;
	struct loop_timer late;
	struct mqtt_link *link;
	struct patient *patient;
	enum step step;
	struct mqtt_broker broker; /* one host of it */
	bool is_sound;		   /* what is asked of it besides may be looked at */
	char filter[300], own[300], denied[300];
};

/* Where the plugin is to be: AWS IoT Core and EMQX tell who comes and goes by themselves. */
static bool needs_plugin(const struct config *config)
{
	return config->lifecycle.source == LIFECYCLE_AWS && !strstr(config->mqtt.url, ".amazonaws.com");
}

static void on_closed(void *owner)
{
	loop_stop(((struct visit *)owner)->loop);
}

static void leave(struct visit *v)
{
	v->step = DONE;
	loop_timer_stop(&v->late);
	link_close(v->link, on_closed);
}

static void report_receive_maximum(struct visit *v)
{
	unsigned most = link_receive_maximum(v->link);

	if (!link_retains(v->link))
		find(v->patient->report, "broker", VERDICT_WARNING, "retain_available true, in mosquitto.conf",
			"it keeps no retained messages: desired states and notices reach only vehicles that are there");
	if (most < INFLIGHT_MIN)
		find(v->patient->report, "broker", VERDICT_WARNING, "max_inflight_messages 512 in mosquitto.conf",
			"it takes %u unacknowledged messages at a time: commands to many vehicles go slowly", most);
	else
		find(v->patient->report, "broker", VERDICT_OK, "", "%s:%d, MQTT 5, %u messages at a time",
			v->broker.host, v->broker.port, most);
}

static void on_up(void *owner, struct mqtt_link *link, bool session_present)
{
	struct visit *v = owner;
	const char *const filters[] = { v->filter };

	(void)session_present;
	report_receive_maximum(v);
	v->step = SUBSCRIBING;
	link_subscribe(link, filters, 1, 1);
}

static void on_subscribed(void *owner, struct mqtt_link *link)
{
	struct visit *v = owner;

	if (!needs_plugin(v->patient->config)) {
		find(v->patient->report, "lifecycle", VERDICT_OK, "", "may be read: %s", v->filter);
		leave(v);
		return;
	}
	v->step = PUBLISHING;
	link_publish(link, &(struct mqtt_publish){ .topic = v->own, .payload = "", .qos = 1 });
}

static void report_own(struct visit *v, struct mqtt_link *link, int reason)
{
	if (reason < REFUSED) {
		v->step = TRYING;
		link_publish(link, &(struct mqtt_publish){ .topic = v->denied, .payload = "", .qos = 1 });
		return;
	}
	find(v->patient->report, "lifecycle", VERDICT_FAILED,
		"let the gateway's account publish everywhere; the plugin does: docs/broker.md",
		"the broker does not let %s publish on %s", v->patient->config->mqtt.username, v->own);
	leave(v);
}

static void on_puback(void *owner, struct mqtt_link *link, int mid, int reason)
{
	struct visit *v = owner;
	const char *prefix = v->patient->config->lifecycle.prefix;

	(void)mid;
	if (v->step == PUBLISHING) {
		report_own(v, link, reason);
		return;
	}
	v->is_sound = reason == NOT_AUTHORIZED;
	if (v->is_sound)
		find(v->patient->report, "lifecycle", VERDICT_OK, "", "the plugin keeps watch over %s", prefix);
	else
		find(v->patient->report, "lifecycle", VERDICT_FAILED,
			"load keyfob_broker.so, with plugin_opt_prefix as lifecycle.prefix: docs/broker.md",
			"nobody tells who comes and goes, and events below %s can be forged: the plugin is not there",
			prefix);
	leave(v);
}

/* Why the connection ended, by how far it had come. */
static void on_down(void *owner, struct mqtt_link *link, const char *reason)
{
	static const struct {
		const char *check, *advice;
	} by_step[] = {
		[CONNECTING] = { "broker",
			"look at mqtt.url, mqtt.username and its password; with the plugin also at "
			"plugin_opt_gateway (the username) and plugin_opt_namespace (the namespace)" },
		[SUBSCRIBING] = { "lifecycle", "let the gateway's account subscribe below lifecycle.prefix" },
		[PUBLISHING] = { "lifecycle",
			"let the gateway's account publish; the broker's log says why it does not" },
		[TRYING] = { "lifecycle",
			"the broker ended it as we published below lifecycle.prefix: its log says why" },
	};
	struct visit *v = owner;

	(void)link;
	if (v->step == DONE)
		return;
	find(v->patient->report, by_step[v->step].check, VERDICT_FAILED, by_step[v->step].advice, "%s:%d: %s",
		v->broker.host, v->broker.port, reason);
	leave(v);
}

static void on_late(struct loop_timer *timer)
{
	struct visit *v = container_of(timer, struct visit, late);

	on_down(v, v->link, "the broker does not answer");
}

static void visit(struct patient *p, const struct mqtt_broker *at)
{
	const struct config *c = p->config;
	struct visit v = { .loop = loop_new(), .patient = p };
	char random[16], client_id[160];

	v.broker = (struct mqtt_broker){
		.host = at->host,
		.port = at->port,
		.tls = at->tls,
		.username = c->mqtt.username,
		.password = c->mqtt.password,
		.ca = c->mqtt.tls.ca,
		.certificate = c->mqtt.tls.certificate,
		.key = c->mqtt.tls.key,
	};
	random_hex(6, random);
	snprintf(client_id, sizeof(client_id), "%s-doctor-%s", c->namespace, random);
	if (c->lifecycle.source == LIFECYCLE_VEHICLES)
		snprintf(v.filter, sizeof(v.filter), "vehicles/+/lifecycle");
	else
		snprintf(v.filter, sizeof(v.filter), "%s/presence/connected/#", c->lifecycle.prefix);
	snprintf(v.own, sizeof(v.own), "%s/doctor", c->namespace);
	snprintf(v.denied, sizeof(v.denied), "%s/%s/doctor", c->lifecycle.prefix, c->namespace);
	v.link = link_new(v.loop, &v.broker,
		&(struct mqtt_link_options){ .client_id = client_id,
			.owner = &v,
			.on_up = on_up,
			.on_down = on_down,
			.on_subscribed = on_subscribed,
			.on_puback = on_puback });
	loop_timer_init(v.loop, &v.late, on_late);
	loop_timer_start(&v.late, BROKER_MS);
	link_start(v.link);
	loop_run(v.loop);
	loop_free(v.loop);
	if (v.is_sound)
		check_habits(p, &v.broker);
}

void check_broker(struct patient *p)
{
	struct mqtt_broker broker = { 0 };

	if (!mqtt_url_parse(p->config->mqtt.url, &broker))
		return; /* the configuration was checked: not reached */
	for (const struct mqtt_broker *at = &broker; at; at = at->next)
		visit(p, at);
	mqtt_broker_forget(&broker);
}
