/* vehicle.c - a vehicle's days: connected, flapping, asleep, woken; and each of its jobs, from the request to the accepted answer. */
#include "tests/sim/vehicle.h"

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/mqtt/link.h"
#include "base/rfc3339.h"
#include "commands/topic.h"
#include "tests/sim/broker.h"
#include "tests/sim/chance.h"
#include "tests/sim/record.h"
#include "tests/sim/twin.h"
#include "tests/sim/world.h"

#define VEHICLES_MAX 32
#define RESEND_MS 2000
#define REST_MS 25000

struct vehicle {
	char id[32], feed[FEED_NAME_SIZE];
	bool is_forgetful;  /* it cannot tell a repeated request from a new one, and subscribes with QoS 0 */
	unsigned keeps_s;   /* its session, at the broker, while it is away; 0: it does not */
	bool is_trusting;   /* it does not subscribe anew in a session that was kept … */
	bool is_subscribed; /* … and had heard that it is subscribed */
	bool is_up;
	struct mqtt_link *link; /* NULL: asleep */
	struct loop_timer life; /* when it does something else */
	struct list jobs;
	int64_t state_version;
	int64_t desired_version, limit, up_since_ms;
	unsigned rests; /* so often it sleeps before it stays */
};

struct job {
	struct list node;
	struct vehicle *vehicle;
	struct loop_timer timer;
	char id[40], response_topic[TOPIC_SIZE];
	const char *verdict; /* what it answers in the end */
	int64_t latency_ms;
	unsigned progress;  /* how often it says first that it is still at it */
	unsigned part;	    /* the last that it said so of: it counts them */
	bool said_progress; /* then an `accepted` may be of that */
	bool is_done, is_accepted, is_silent;
};

static struct vehicle vehicles[VEHICLES_MAX];
static size_t count;
static bool is_calm;

static void on_life(struct loop_timer *timer);
static void on_job(struct loop_timer *timer);
static void connect_vehicle(struct vehicle *v);

/* Some keep it for longer than anything lasts, some for so short that it may be over when they are back. */
static unsigned keeping_s(size_t i, bool are_trusting)
{
	if (are_trusting)
		return i % 3 == 2   ? 0
		       : i % 3 == 1 ? 86400
				    : (unsigned)(world_slow(chance_between(20000, 300000)) / 1000);
	return i % 3 == 1 ? 86400 : 0;
}

void vehicles_begin(size_t n, bool are_trusting)
{
	count = n;
	for (size_t i = 0; i < n; i++) {
		struct vehicle *v = &vehicles[i];
		snprintf(v->id, sizeof(v->id), "V%02zu", i);
		topic_feed_name(v->id, v->feed);
		v->is_forgetful = i % 4 == 3;
		v->keeps_s = v->is_forgetful ? 0 : keeping_s(i, are_trusting);
		v->is_trusting = are_trusting && i != 1;
		list_init(&v->jobs);
		loop_timer_init(world_loop(), &v->life, on_life);
		loop_timer_start(&v->life, chance_below(5000));
	}
}

size_t vehicles_count(void)
{
	return count;
}

const char *vehicle_id(size_t index)
{
	return vehicles[index].id;
}

int64_t vehicle_limit(size_t index)
{
	return vehicles[index].limit;
}

int64_t vehicle_up_since_ms(size_t index)
{
	return vehicles[index].is_up ? vehicles[index].up_since_ms : INT64_MAX;
}

/* Its days. */

static void publish(struct vehicle *v, const char *topic, json_t *body)
{
	char *text = memory_need(json_dumps(body, JSON_COMPACT));

	link_publish(v->link, &(struct mqtt_publish){ .topic = topic, .payload = text, .len = strlen(text), .qos = 1 });
	free(text);
	json_decref(body);
}

static void report_state(struct vehicle *v)
{
	char topic[TOPIC_SIZE];

	snprintf(topic, sizeof(topic), "vehicles/%s/state/%s", v->id, v->feed);
	v->state_version++;
	record_report(v->id, v->state_version);
	json_t *state = json_pack("{s:I}", "trip", (json_int_t)v->state_version);
	if (v->limit > 0)
		json_object_set_new(state, "limit", json_integer((json_int_t)v->limit));
	publish(v, topic, json_pack("{s:I, s:o}", "version", (json_int_t)v->state_version, "state", state));
}

static void fall_asleep(struct vehicle *v)
{
	world_note("%s: falls asleep", v->id);
	link_close(v->link, NULL);
	v->link = NULL;
	v->is_up = false;
	loop_timer_start(&v->life, is_calm ? REST_MS : world_slow(chance_between(20000, 180000)));
}

static void on_life(struct loop_timer *timer)
{
	struct vehicle *v = container_of(timer, struct vehicle, life);

	if (!v->link) {
		connect_vehicle(v);
		return;
	}
	if (v->rests > 0) {
		v->rests--;
		fall_asleep(v);
		return;
	}
	loop_timer_start(&v->life, world_slow(chance_between(3000, 40000)));
	if (is_calm || chance_of(450)) {
		if (v->is_up)
			report_state(v);
	} else if (chance_of(500)) {
		broker_break(v->link);
	} else {
		fall_asleep(v);
	}
}

/* What is kept comes with each subscription. */
static void subscribe_twin(struct vehicle *v, struct mqtt_link *link)
{
	char desired[TOPIC_SIZE], notices[TOPIC_SIZE];
	const char *topics[] = { desired, notices };

	snprintf(desired, sizeof(desired), "vehicles/%s/state/desired", v->id);
	snprintf(notices, sizeof(notices), "vehicles/%s/notices/+", v->id);
	link_subscribe(link, topics, 2, 1);
}

static void subscribe(struct vehicle *v, struct mqtt_link *link)
{
	char request[TOPIC_SIZE], accepted[TOPIC_SIZE], rejected[TOPIC_SIZE];
	const char *verdicts[] = { accepted, rejected }, *requests[] = { request };

	topic_request(v->id, request);
	topic_verdict(v->id, true, accepted);
	topic_verdict(v->id, false, rejected);
	link_subscribe(link, verdicts, 2, 1);
	if (twin_is_on())
		subscribe_twin(v, link);
	link_subscribe(link, requests, 1, v->is_forgetful ? 0 : 1);
}

/* What was taken down while there was no session does not come. */
static void on_up(void *owner, struct mqtt_link *link, bool session_present)
{
	struct vehicle *v = owner;

	v->is_up = true;
	v->up_since_ms = world_ms();
	v->is_subscribed = v->is_subscribed && session_present;
	if (twin_is_on() && !session_present)
		twin_see_notice((size_t)(v - vehicles), NULL, "");
	if (!v->is_subscribed || !v->is_trusting)
		subscribe(v, link);
}

static void on_subscribed(void *owner, struct mqtt_link *link)
{
	struct vehicle *v = owner;

	(void)link;
	v->is_subscribed = true;
}

static void on_down(void *owner, struct mqtt_link *link, const char *reason)
{
	struct vehicle *v = owner;
	(void)link;
	(void)reason;
	v->is_up = false;
}

static void on_message(void *owner, struct mqtt_link *link, const struct mqtt_message *m);

static void connect_vehicle(struct vehicle *v)
{
	v->link = link_new(world_loop(), NULL,
		&(struct mqtt_link_options){
			.client_id = v->id,
			.session_expiry_seconds = v->keeps_s,
			.owner = v,
			.on_up = on_up,
			.on_down = on_down,
			.on_subscribed = on_subscribed,
			.on_message = on_message,
		});
	link_start(v->link);
	loop_timer_start(&v->life, v->rests > 0 ? REST_MS : world_slow(chance_between(5000, 60000)));
}

void vehicle_wake(const char *id)
{
	for (size_t i = 0; i < count; i++) {
		struct vehicle *v = &vehicles[i];
		if (strcmp(v->id, id) != 0 || v->link)
			continue;
		world_note("%s: its SMS has come", v->id);
		loop_timer_start(&v->life, chance_between(500, 4000));
	}
}

void vehicle_break(size_t index)
{
	if (vehicles[index].link)
		broker_break(vehicles[index].link);
}

void vehicles_calm(void)
{
	is_calm = true;
	for (size_t i = 0; i < count; i++)
		loop_timer_start(&vehicles[i].life, chance_below(5000));
}

void vehicles_rest(void)
{
	for (size_t i = 0; i < count; i++) {
		vehicles[i].rests = 2;
		vehicles[i].keeps_s = 0; /* the next one is another */
		loop_timer_start(&vehicles[i].life, chance_below(5000));
	}
}

/* Its jobs. */

static struct job *job_of(struct vehicle *v, const char *id)
{
	list_for_each (node, &v->jobs) {
		struct job *j = container_of(node, struct job, node);
		if (strcmp(j->id, id) == 0)
			return j;
	}
	return NULL;
}

static struct job *job_new(struct vehicle *v, const char *id, const json_t *request)
{
	struct job *j = memory_new(sizeof(*j));

	j->vehicle = v;
	snprintf(j->id, sizeof(j->id), "%s", id);
	snprintf(j->response_topic, sizeof(j->response_topic), "%s", json_text_at(request, "response_topic"));
	j->verdict = chance_of(850) ? "succeeded" : chance_of(500) ? "failed" : "rejected";
	j->latency_ms = chance_delay_ms(800, 25000);
	if (chance_of(250)) /* a few words, or for longer than a feed needs to change hands */
		j->progress =
			(unsigned)(chance_of(500) ? chance_between(PARTS_MAX / 2, PARTS_MAX) : chance_between(1, 4));
	j->is_silent = chance_of(30);
	loop_timer_init(world_loop(), &j->timer, on_job);
	list_append(&v->jobs, &j->node);
	return j;
}

static void answer(struct job *j, const char *status, json_t *result)
{
	struct vehicle *v = j->vehicle;
	json_t *body = json_pack("{s:s, s:s, s:o*}", "request_id", j->id, "status", status, "result", result);

	if (v->is_up && !j->is_silent)
		publish(v, j->response_topic, body);
	else
		json_decref(body);
}

/* Done when its time has come; said until it is accepted, however long that takes. */
static void on_job(struct loop_timer *timer)
{
	struct job *j = container_of(timer, struct job, timer);

	if (j->progress > 0) {
		j->progress--;
		j->said_progress = true;
		answer(j, "in_progress", json_pack("{s:i}", "part", (int)++j->part));
		loop_timer_start(timer, chance_between(500, 4000));
		return;
	}
	j->is_done = true;
	answer(j, j->verdict, NULL);
	if (!j->is_silent)
		loop_timer_start(timer, RESEND_MS);
}

static void on_request(struct vehicle *v, const json_t *request)
{
	const char *id = json_text_at(request, "request_id"), *expires_at = json_text_at(request, "expires_at");
	int64_t expires_us = 0;

	rfc3339_read(expires_at, &expires_us);
	record_received(v->id, id, expires_us, v->is_forgetful);
	struct job *j = job_of(v, id);
	if (!j || v->is_forgetful) {
		bool is_stale = world_us() > expires_us;
		if (!j)
			j = job_new(v, id, request);
		if (is_stale)
			j->verdict = "rejected";
		else
			record_executed(v->id, id);
	}
	if (j->is_accepted)
		j->is_accepted = false; /* whoever asks again does not know */
	if (!loop_timer_is_started(&j->timer))
		loop_timer_start(&j->timer, j->is_done ? 50 : j->latency_ms);
}

static void on_verdict(struct vehicle *v, const json_t *body, bool is_accepted)
{
	const char *id = json_text_at(body, "request_id"), *code = json_text_at(body, "code");
	struct job *j = id ? job_of(v, id) : NULL;

	if (!is_accepted)
		record_rejected(v->id, id ? id : "", code ? code : "");
	if (!j || !j->is_done)
		return;
	if (is_accepted && !j->said_progress)
		record_accepted(v->id, id);
	j->is_accepted = true;
	loop_timer_stop(&j->timer);
}

/* An older one than it knows it does not take; what it has taken it reports. */
static void on_desired(struct vehicle *v, const json_t *body)
{
	int64_t version = json_integer_value(json_object_get(body, "version"));

	if (version <= v->desired_version)
		return;
	v->desired_version = version;
	v->limit = json_integer_value(json_object_get(json_object_get(body, "state"), "limit"));
	world_note("%s: is to have the limit %lld", v->id, (long long)v->limit);
	if (v->is_up)
		report_state(v);
}

static void on_message(void *owner, struct mqtt_link *link, const struct mqtt_message *m)
{
	struct vehicle *v = owner;
	json_auto_t *body = json_loadb(m->payload, m->len, 0, NULL);
	const char *notice = strstr(m->topic, "/notices/");
	char text[64];

	if (!v->link || v->link != link)
		return;
	if (notice) {
		snprintf(text, sizeof(text), "%.*s", (int)m->len, (const char *)m->payload);
		twin_see_notice((size_t)(v - vehicles), notice + strlen("/notices/"), text);
	} else if (!body) {
		/* nothing is wanted any more */
	} else if (strstr(m->topic, "/state/desired")) {
		on_desired(v, body);
	} else if (strstr(m->topic, "/commands/request")) {
		on_request(v, body);
	} else {
		on_verdict(v, body, strstr(m->topic, "/accepted") != NULL);
	}
}
