/* vehicle.c - a vehicle's session: comes online, subscribes, reports, hands requests to its work, leaves. */
#include "commands/vehicle/vehicle.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/json.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "commands/vehicle/car.h"
#include "commands/vehicle/gate.h"
#include "commands/vehicle/journal.h"
#include "commands/vehicle/life.h"
#include "commands/vehicle/work.h"

#define TOPIC_SIZE 128
#define KEEPALIVE_SECONDS 30
#define NOBODY_HEARS 0x10
#define BIRTH_AGAIN_MS 2000 /* where nobody heard it */
#define BIRTH_EVERY_MS (5 * 60 * 1000)

enum vehicle_state {
	VEHICLE_RESTING, /* no link */
	VEHICLE_AWAKE,	 /* a link that connects, and connects again */
	VEHICLE_LEAVING, /* the link is being closed */
	VEHICLE_TURNING, /* … and a new one follows at once */
};

struct vehicle {
	struct vehicle_options options;
	char id[VEHICLE_ID_SIZE];
	char *username;
	char own_feed[3];
	char own_feed_topic[TOPIC_SIZE];
	char topic_prefix[TOPIC_SIZE]; /* "vehicles/{id}/" */
	size_t topic_prefix_len;

	enum vehicle_state state;
	struct mqtt_link *link;
	bool is_connected; /* as the journal told it last */
	bool was_ready;
	struct gate_pass pass;
	struct loop_timer flap;
	struct loop_timer doze;

	struct life life;
	char life_topic[TOPIC_SIZE];
	int birth_mid;
	struct loop_timer birth; /* when it is said again; started from the first one to the connection's end */

	struct car car;
	struct work work;
	struct work_port port;
};

static void come(struct vehicle *);
static void may_connect(void *owner, struct mqtt_link *);
static void on_gate_open(struct gate_pass *);
static void on_up(void *owner, struct mqtt_link *, bool session_present);
static void on_subscribed(void *owner, struct mqtt_link *);
static void tell_birth(struct vehicle *);
static void on_birth_due(struct loop_timer *);
static void on_puback(void *owner, struct mqtt_link *, int mid, int reason);
static void tell_end(struct vehicle *);
static int tell(struct vehicle *, const char *type);
static void report_state(struct vehicle *);
static void on_message(void *owner, struct mqtt_link *, const struct mqtt_message *);
static void take_request(struct vehicle *, const struct mqtt_message *, const char *rest);
static void take_accepted(struct vehicle *, const struct mqtt_message *, const char *rest);
static void take_rejected(struct vehicle *, const struct mqtt_message *, const char *rest);
static void take_desired(struct vehicle *, const struct mqtt_message *, const char *rest);
static void take_notice(struct vehicle *, const struct mqtt_message *, const char *rest);
static const char *report_feed(const struct vehicle *, const json_t *desired);
static void on_down(void *owner, struct mqtt_link *, const char *reason);
static void on_flap(struct loop_timer *);
static void stay_awake(struct vehicle *);
static void on_doze(struct loop_timer *);
static void leave(struct vehicle *);
static void on_closed(void *owner);
static void note_disconnected(struct vehicle *, const char *reason);
static bool publish(void *owner, const struct mqtt_publish *);
static void publish_text(struct vehicle *, const char *topic_rest, const char *text);

/* What a vehicle subscribes to, below "vehicles/{id}/", and who takes it. */
static const struct route {
	const char *filter, *prefix;
	void (*take)(struct vehicle *, const struct mqtt_message *, const char *rest);
} routes[] = {
	{ "commands/request", "commands/request", take_request },
	{ "commands/accepted", "commands/accepted", take_accepted },
	{ "commands/rejected", "commands/rejected", take_rejected },
	{ "state/desired", "state/desired", take_desired },
	{ "notices/+", "notices/", take_notice },
};
#define ROUTE_COUNT (sizeof(routes) / sizeof(routes[0]))

struct vehicle *vehicle_new(const struct vehicle_options *options)
{
	assert(vehicle_id_is_valid(options->id));
	struct vehicle *v = memory_new(sizeof(*v));
	v->options = *options;
	snprintf(v->id, sizeof(v->id), "%s", options->id);
	v->options.id = v->id;
	if (options->broker.username != NULL)
		v->options.broker.username = v->username = memory_need(strdup(options->broker.username));

	unsigned feed = crc32_of(v->id, strlen(v->id)) % VEHICLE_FEEDS;
	snprintf(v->own_feed, sizeof(v->own_feed), "%02u", feed);
	snprintf(v->own_feed_topic, TOPIC_SIZE, "vehicles/%s/commands/response/%s", v->id, v->own_feed);
	v->topic_prefix_len = (size_t)snprintf(v->topic_prefix, TOPIC_SIZE, "vehicles/%s/", v->id);

	snprintf(v->life_topic, TOPIC_SIZE, "vehicles/%s/lifecycle", v->id);

	gate_pass_init(&v->pass, on_gate_open);
	loop_timer_init(options->loop, &v->flap, on_flap);
	loop_timer_init(options->loop, &v->doze, on_doze);
	loop_timer_init(options->loop, &v->birth, on_birth_due);
	car_init(&v->car, options->factory_state, loop_unix_us(options->loop));
	v->port = (struct work_port){
		.vehicle_id = v->id,
		.own_feed_topic = v->own_feed_topic,
		.loop = options->loop,
		.car = &v->car,
		.journal = options->journal,
		.publish = publish,
		.owner = v,
	};
	work_init(&v->work, &v->port, options->manner);
	return v;
}

void vehicle_free(struct vehicle *v)
{
	if (v == NULL)
		return;
	assert(v->state == VEHICLE_RESTING);
	loop_timer_stop(&v->flap);
	loop_timer_stop(&v->doze);
	loop_timer_stop(&v->birth);
	work_done(&v->work);
	car_done(&v->car);
	free(v->username);
	free(v);
}

bool vehicle_id_is_valid(const char *id)
{
	size_t len = strlen(id);
	return len >= 1 && len < VEHICLE_ID_SIZE &&
	       strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-") == len;
}

bool vehicle_is_resting(const struct vehicle *v)
{
	return v->state == VEHICLE_RESTING;
}

const char *vehicle_id(const struct vehicle *v)
{
	return v->id;
}

void vehicle_wake(struct vehicle *v)
{
	if (v->options.flap_ms > 0 && !loop_timer_is_started(&v->flap))
		loop_timer_start(&v->flap, v->options.flap_ms + v->options.flap_phase_ms);
	come(v);
}

static void come(struct vehicle *v)
{
	if (v->state == VEHICLE_LEAVING)
		v->state = VEHICLE_TURNING;
	if (v->state != VEHICLE_RESTING)
		return;
	v->state = VEHICLE_AWAKE;
	v->link = link_new(v->options.loop, &v->options.broker,
		&(struct mqtt_link_options){
			.client_id = v->id,
			.keepalive_seconds = KEEPALIVE_SECONDS,
			.will_topic = v->options.tells_itself ? v->life_topic : NULL,
			.owner = v,
			.may_connect = may_connect,
			.on_up = on_up,
			.on_down = on_down,
			.on_subscribed = on_subscribed,
			.on_message = on_message,
			.on_puback = on_puback,
		});
	link_start(v->link);
}

static void may_connect(void *owner, struct mqtt_link *link)
{
	(void)link;
	struct vehicle *v = owner;
	gate_enter(v->options.gate, &v->pass);
}

static void on_gate_open(struct gate_pass *pass)
{
	struct vehicle *v = container_of(pass, struct vehicle, pass);
	if (v->options.tells_itself) {
		char will[LIFE_TEXT_SIZE];
		life_begin(&v->life, v->options.loop);
		life_write(&v->life, "will", will);
		link_set_will(v->link, will);
	}
	link_may_connect(v->link, true);
}

static void on_up(void *owner, struct mqtt_link *link, bool session_present)
{
	(void)session_present; /* it starts clean: what was missed is offered again when it subscribes */
	struct vehicle *v = owner;
	gate_leave(v->options.gate, &v->pass);
	v->is_connected = true;
	journal_line(v->options.journal, v->id, "connected", NULL);

	char filters[ROUTE_COUNT][TOPIC_SIZE * 2];
	const char *list[ROUTE_COUNT];
	for (size_t i = 0; i < ROUTE_COUNT; i++) {
		snprintf(filters[i], sizeof(filters[i]), "%s%s", v->topic_prefix, routes[i].filter);
		list[i] = filters[i];
	}
	link_subscribe(link, list, ROUTE_COUNT, 1);
}

static void on_subscribed(void *owner, struct mqtt_link *link)
{
	(void)link;
	struct vehicle *v = owner;
	if (!v->was_ready)
		v->options.on_ready(v->options.owner, v);
	v->was_ready = true;
	stay_awake(v);
	if (v->options.tells_itself)
		tell_birth(v);
	report_state(v);
	work_resume(&v->work);
}

static void tell_birth(struct vehicle *v)
{
	v->birth_mid = tell(v, "birth");
	loop_timer_start(&v->birth, BIRTH_EVERY_MS);
}

static void on_birth_due(struct loop_timer *timer)
{
	tell_birth(container_of(timer, struct vehicle, birth));
}

static void on_puback(void *owner, struct mqtt_link *link, int mid, int reason)
{
	(void)link;
	struct vehicle *v = owner;
	if (reason == NOBODY_HEARS && mid == v->birth_mid && loop_timer_is_started(&v->birth))
		loop_timer_start(&v->birth, BIRTH_AGAIN_MS);
}

/* A DISCONNECT takes the will back: it is said before. */
static void tell_end(struct vehicle *v)
{
	if (loop_timer_is_started(&v->birth))
		tell(v, "will");
	loop_timer_stop(&v->birth);
}

static int tell(struct vehicle *v, const char *type)
{
	char text[LIFE_TEXT_SIZE];
	life_write(&v->life, type, text);
	return link_publish(v->link, &(struct mqtt_publish){
					     .topic = v->life_topic,
					     .payload = text,
					     .len = strlen(text),
					     .qos = 1,
					     .content_type = "application/json",
				     });
}

static void report_state(struct vehicle *v)
{
	car_raise_version(&v->car);
	char *report = car_report(&v->car);
	publish_text(v, "state", report);
	free(report);
}

static void on_message(void *owner, struct mqtt_link *link, const struct mqtt_message *message)
{
	(void)link;
	struct vehicle *v = owner;
	if (strncmp(message->topic, v->topic_prefix, v->topic_prefix_len) != 0)
		return;
	stay_awake(v);
	const char *topic = message->topic + v->topic_prefix_len;
	for (const struct route *r = routes; r < routes + ROUTE_COUNT; r++)
		if (strncmp(topic, r->prefix, strlen(r->prefix)) == 0) {
			r->take(v, message, topic + strlen(r->prefix));
			return;
		}
}

static void take_request(struct vehicle *v, const struct mqtt_message *message, const char *rest)
{
	(void)rest;
	work_receive(&v->work, message);
}

static void take_accepted(struct vehicle *v, const struct mqtt_message *message, const char *rest)
{
	(void)rest;
	work_settle(&v->work, message, true);
}

static void take_rejected(struct vehicle *v, const struct mqtt_message *message, const char *rest)
{
	(void)rest;
	work_settle(&v->work, message, false);
}

/* An empty payload says that nothing is left to be done: the car stays as it is. */
static void take_desired(struct vehicle *v, const struct mqtt_message *message, const char *rest)
{
	(void)rest;
	json_auto_t *desired = message->len == 0 ? NULL : json_read(message->payload, message->len);
	char *report = desired == NULL ? NULL : car_adopt(&v->car, desired);
	journal_line(v->options.journal, v->id, "desired", NULL,
		LOG_INT("version", json_integer_value(json_object_get(desired, "version"))),
		LOG_TEXT("outcome", report != NULL	? "adopted"
				    : message->len == 0 ? "cleared"
							: "ignored"));
	if (report == NULL)
		return;

	char topic[TOPIC_SIZE];
	snprintf(topic, sizeof(topic), "state/%s", report_feed(v, desired));
	publish_text(v, topic, report);
	free(report);
}

static void take_notice(struct vehicle *v, const struct mqtt_message *message, const char *rest)
{
	journal_line(v->options.journal, v->id, "notice", NULL, LOG_TEXT("name", rest), LOG_INT("bytes", message->len));
}

/* The feed that the desired state names, if it is one: two digits. */
static const char *report_feed(const struct vehicle *v, const json_t *desired)
{
	const char *feed = json_text_at(desired, "feed");
	return feed != NULL && strlen(feed) == 2 && strspn(feed, "0123456789") == 2 ? feed : v->own_feed;
}

static void on_down(void *owner, struct mqtt_link *link, const char *reason)
{
	(void)link;
	struct vehicle *v = owner;
	gate_leave(v->options.gate, &v->pass);
	loop_timer_stop(&v->birth);
	note_disconnected(v, reason);
	v->options.on_lost(v->options.owner, v, reason);
}

static void on_flap(struct loop_timer *timer)
{
	struct vehicle *v = container_of(timer, struct vehicle, flap);
	loop_timer_start(&v->flap, v->options.flap_ms);
	if (v->state == VEHICLE_AWAKE || v->state == VEHICLE_TURNING)
		leave(v);
	else
		come(v);
}

static void stay_awake(struct vehicle *v)
{
	if (v->options.awake_for_ms > 0)
		loop_timer_start(&v->doze, v->options.awake_for_ms);
}

/* Not over its work: what it owes an answer to it first answers. */
static void on_doze(struct loop_timer *timer)
{
	struct vehicle *v = container_of(timer, struct vehicle, doze);
	if (work_is_idle(&v->work))
		leave(v);
	else
		stay_awake(v);
}

void vehicle_rest(struct vehicle *v)
{
	loop_timer_stop(&v->flap);
	leave(v);
}

static void leave(struct vehicle *v)
{
	if (v->state == VEHICLE_TURNING)
		v->state = VEHICLE_LEAVING;
	if (v->state != VEHICLE_AWAKE)
		return;
	v->state = VEHICLE_LEAVING;
	loop_timer_stop(&v->doze);
	gate_leave(v->options.gate, &v->pass);
	tell_end(v);
	link_close(v->link, on_closed);
}

static void on_closed(void *owner)
{
	struct vehicle *v = owner;
	bool returns = v->state == VEHICLE_TURNING;
	v->state = VEHICLE_RESTING;
	v->link = NULL;
	note_disconnected(v, "it left");
	if (returns)
		come(v);
	else
		v->options.on_resting(v->options.owner, v);
}

static void note_disconnected(struct vehicle *v, const char *reason)
{
	if (!v->is_connected)
		return;
	v->is_connected = false;
	journal_line(v->options.journal, v->id, "disconnected", NULL, LOG_TEXT("reason", reason));
}

static bool publish(void *owner, const struct mqtt_publish *message)
{
	struct vehicle *v = owner;
	return v->state == VEHICLE_AWAKE && link_publish(v->link, message) >= 0;
}

/* A report that finds the vehicle offline is not missed: it reports the whole state when it is back. */
static void publish_text(struct vehicle *v, const char *topic_rest, const char *text)
{
	char topic[TOPIC_SIZE * 2];
	snprintf(topic, sizeof(topic), "%s%s", v->topic_prefix, topic_rest);
	publish(v, &(struct mqtt_publish){
			   .topic = topic,
			   .payload = text,
			   .len = strlen(text),
			   .qos = 1,
			   .content_type = "application/json",
		   });
}
