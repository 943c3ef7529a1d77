/* subscription.c - a socket's interest in a vehicle or fleet: vehicle.subscribe, fleet.subscribe, their ends, and the events
 * between.
 *
 *   subscribe ─┬─ ready: the result ─ events … ─┬─ unsubscribe
 *              └─ fault                         └─ the grant's end, told by access.changed
 * The hub may still look at a subscriber that leaves inside of its callback: so what has ended is freed a turn later. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/ids.h"
#include "base/memory.h"
#include "base/rfc3339.h"
#include "gateway/access/suspicion.h"
#include "gateway/detection.h"
#include "gateway/ws/ws_internal.h"
#include "notifier/hub.h"

#define SUBSCRIPTIONS_MAX 1000 /* of one socket */

/* What is watched. A fleet's name begins with what no vehicle's has. */
#define FLEET_MARK "fleet/"
#define ALL_VEHICLES FLEET_MARK "*"

struct subscription_key {
	const struct socket *socket;
	char name[OBJECT_SIZE];
};

struct subscription {
	UT_hash_handle hh;
	struct subscription_key key; /* zeroed up to its end: it is hashed as bytes */
	struct list node;	     /* the socket's; the ended ones' when it is over */
	struct socket *socket;
	struct hub_subscriber subscriber;
	bool pending; /* the result was not sent yet */
	bool told;    /* an access.changed said that the grant is over */
	json_t *id;   /* of the request, while pending; NULL: a notification */
	char *epoch;  /* of the request; NULL: none */
};

static void on_ready(struct hub_subscriber *hs, const struct hub_snapshot *snapshot);
static void on_event(struct hub_subscriber *hs, const struct hub_event *event);
static bool has_room(const struct hub_subscriber *hs);
static void on_end(struct hub_subscriber *hs, const struct fault *fault);
static void drop(struct subscription *sub);
static void on_bury(struct loop_soon *soon);

void subscriptions_init(struct ws *ws)
{
	list_init(&ws->ended);
	loop_soon_init(&ws->bury, on_bury);
}

void subscriptions_done(struct ws *ws)
{
	loop_soon_cancel(&ws->bury);
	on_bury(&ws->bury);
}

static struct subscription_key key_of(const struct socket *s, const char *name)
{
	struct subscription_key key;

	memset(&key, 0, sizeof(key));
	key.socket = s;
	snprintf(key.name, sizeof(key.name), "%s", name);
	return key;
}

static struct subscription *find(const struct socket *s, const char *name)
{
	struct subscription_key key = key_of(s, name);
	struct subscription *sub;

	HASH_FIND(hh, s->ws->subscriptions, &key, sizeof(key), sub);
	return sub;
}

/* What is to be watched, by the parameters. */
struct target {
	bool is_fleet;
	char name[OBJECT_SIZE]; /* "": it can be nothing's */
};

static const char *method_of(bool is_fleet)
{
	return is_fleet ? "fleet.subscribe" : "vehicle.subscribe";
}

static bool is_fleet(const struct subscription *sub)
{
	return strncmp(sub->key.name, FLEET_MARK, strlen(FLEET_MARK)) == 0;
}

static const char *id_of(const struct subscription *sub)
{
	return is_fleet(sub) ? sub->key.name + strlen(FLEET_MARK) : sub->key.name;
}

static struct target target_of(const json_t *params)
{
	const json_t *vehicle = json_object_get(params, "vehicle_id"), *fleet = json_object_get(params, "fleet_id");
	const json_t *value = vehicle ? vehicle : fleet;
	const char *id = json_string_value(value);
	struct target target = { .is_fleet = !vehicle };

	if (strlen(id) == json_string_length(value) &&
		(topic_level_is_safe(id) || (target.is_fleet && strcmp(id, "*") == 0)))
		snprintf(target.name, sizeof(target.name), "%s%s", target.is_fleet ? FLEET_MARK : "", id);
	return target;
}

/* Beginning. */

static struct subscription *subscription_new(struct socket *s, const char *name, json_t *id)
{
	struct subscription *sub = memory_new(sizeof(*sub));

	sub->key = key_of(s, name);
	sub->socket = s;
	sub->pending = true;
	sub->id = json_incref(id);
	list_append(&s->subscriptions, &sub->node);
	s->subscription_count++;
	HASH_ADD(hh, s->ws->subscriptions, key, sizeof(sub->key), sub);
	return sub;
}

static void watch(struct subscription *sub, const json_t *params)
{
	const char *epoch = json_text_at(params, "epoch");
	struct socket *s = sub->socket;
	int64_t after;

	if (epoch)
		sub->epoch = memory_need(strdup(epoch));
	sub->subscriber = (struct hub_subscriber){ .subject = s->caller.subject,
		.admin = s->caller.scopes & SCOPE_ADMIN,
		.epoch = sub->epoch,
		.after = json_whole(json_object_get(params, "after"), &after) ? after : -1,
		.on_ready = on_ready,
		.on_event = on_event,
		.has_room = has_room,
		.on_end = on_end };
	if (is_fleet(sub))
		hub_subscribe_fleet(api_hub(s->ws->api), &sub->subscriber, id_of(sub));
	else
		hub_subscribe(api_hub(s->ws->api), &sub->subscriber, id_of(sub));
}

/* Another request has taken its place before it was answered. */
static void give_way(struct subscription *sub)
{
	if (sub->pending)
		rpc_fault(sub->socket, sub->id, method_of(is_fleet(sub)), &FAULT_MALFORMED_REQUEST,
			"a later request has replaced this one");
	drop(sub);
}

static const struct fault *refuse(const struct socket *s, const struct target *target, const char **ret_detail)
{
	*ret_detail = "";
	if (api_is_draining(s->ws->api))
		return &FAULT_DRAINING;
	if (!(s->caller.scopes & (SCOPE_VEHICLES_READ | SCOPE_ADMIN))) {
		*ret_detail = "the token lacks the scope vehicles:read";
		return &FAULT_FORBIDDEN;
	}
	if (!target->name[0])
		return target->is_fleet ? &FAULT_FLEET_NOT_FOUND : &FAULT_VEHICLE_NOT_FOUND;
	*ret_detail = "all vehicles are for administrators";
	if (strcmp(target->name, ALL_VEHICLES) == 0 && !(s->caller.scopes & SCOPE_ADMIN))
		return &FAULT_FORBIDDEN;
	*ret_detail = "a connection has at most 1000 subscriptions";
	return s->subscription_count < SUBSCRIPTIONS_MAX || find(s, target->name) ? NULL : &FAULT_OVERLOADED;
}

void subscription_begin(struct socket *s, const struct method *method, json_t *id, json_t *params)
{
	struct target target = target_of(params);
	const char *detail;
	const struct fault *fault = refuse(s, &target, &detail);

	(void)method;
	if (fault) {
		detection_subscription(s->ws->api, fault, &s->caller, method_of(target.is_fleet), target.name);
		rpc_fault(s, id, method_of(target.is_fleet), fault, detail);
		return;
	}
	struct subscription *before = find(s, target.name);
	if (before)
		give_way(before);
	if (s->state != SOCKET_CLOSING)
		watch(subscription_new(s, target.name, id), params);
}

/* The request is answered: nothing of it is needed any more. */
static void settle(struct subscription *sub)
{
	sub->pending = false;
	json_decref(sub->id);
	sub->id = NULL;
	free(sub->epoch);
	sub->epoch = NULL;
	sub->subscriber.epoch = NULL;
}

static void write_vehicle(struct text *result, const struct hub_snapshot *snapshot)
{
	text_add(result, "{\"vehicle\":");
	text_add(result, snapshot->vehicle);
	text_add(result, ",\"epoch\":");
	text_add_json_string(result, snapshot->epoch);
	text_addf(result, ",\"seq\":%lld,\"recovered\":%s}", (long long)snapshot->seq,
		snapshot->recovered ? "true" : "false");
}

static void write_fleet(struct text *result, const struct hub_snapshot *snapshot, const char *fleet_id)
{
	text_addf(result, "{\"fleet_id\":\"%s\",\"epoch\":", fleet_id);
	text_add_json_string(result, snapshot->epoch);
	text_addf(result, ",\"vehicles\":%lld}", (long long)snapshot->vehicles);
}

static void on_ready(struct hub_subscriber *hs, const struct hub_snapshot *snapshot)
{
	struct subscription *sub = container_of(hs, struct subscription, subscriber);
	struct text result = { 0 };

	if (is_fleet(sub))
		write_fleet(&result, snapshot, id_of(sub));
	else
		write_vehicle(&result, snapshot);
	rpc_reply(sub->socket, sub->id, result.data, result.len);
	text_free(&result);
	settle(sub);
}

/* Between. */

/* Whether an access.changed tells this subject that its grant is over. */
static bool tells_end(const struct hub_subscriber *hs, const struct hub_event *event)
{
	json_auto_t *data = json_loadb(event->data, event->data_len, 0, NULL);
	const char *subject = json_text_at(data, "subject");

	return subject && strcmp(subject, hs->subject) == 0 && !json_text_at(data, "role");
}

/* What tells a vehicle's own subscription of this event as well. */
static bool hears_it_besides(const struct socket *s, const char *name)
{
	const struct subscription *other = name ? find(s, name) : NULL;
	return other && other->subscriber.ready && (other->subscriber.replaying || !other->subscriber.subscribing);
}

/* An app hears an event once, by however many of its subscriptions it comes: the vehicle's own tells it, then that of all
 * vehicles, then the fleet's. */
static bool is_repeated(const struct subscription *sub, const struct hub_event *event)
{
	struct socket *s = sub->socket;

	if (!event->vehicle_id) {
		bool repeated = s->last_of_fleet == event->serial;
		s->last_of_fleet = event->serial;
		return repeated;
	}
	if (!is_fleet(sub))
		return false;
	return hears_it_besides(s, event->vehicle_id) ||
	       (strcmp(sub->key.name, ALL_VEHICLES) != 0 && hears_it_besides(s, ALL_VEHICLES));
}

static void on_event(struct hub_subscriber *hs, const struct hub_event *event)
{
	struct subscription *sub = container_of(hs, struct subscription, subscriber);

	sub->told = event->is_for_some && strcmp(event->type, "access.changed") == 0 &&
		    is_fleet(sub) == !event->vehicle_id && tells_end(hs, event);
	if (!is_repeated(sub, event))
		socket_send_event(sub->socket, event);
}

/* A replay fills half of what may wait, and goes on when the socket has taken it: live events have the other half. */
static bool has_room(const struct hub_subscriber *hs)
{
	struct socket *s = container_of(hs, struct subscription, subscriber)->socket;

	s->held = s->held || s->outbox.bytes > s->ws->options.max_queue / 2;
	return s->outbox.bytes <= s->ws->options.max_queue / 2;
}

/* A socket that is closed has none left: the list must not be walked on. */
void subscriptions_carry_on(struct socket *s)
{
	s->held = false;
	list_for_each_safe (node, &s->subscriptions) {
		struct subscription *sub = container_of(node, struct subscription, node);
		hub_carry_on(api_hub(s->ws->api), &sub->subscriber);
		if (s->state == SOCKET_CLOSING)
			return;
	}
}

/* Ending. */

/* A grant that runs out has no event of its own: the app is told all the same, so that its silence is explained. */
static void tell_end(struct subscription *sub)
{
	struct text frame = { 0 };
	char now[RFC3339_SIZE];

	rfc3339_write(loop_unix_us(sub->socket->ws->loop), now);
	text_addf(&frame,
		"{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"%s\":\"%s\",\"type\":\"access.changed\","
		"\"time\":\"%s\",\"data\":{\"subject\":",
		is_fleet(sub) ? "fleet_id" : "vehicle_id", id_of(sub), now);
	text_add_json_string(&frame, sub->subscriber.subject);
	text_add(&frame, ",\"role\":null,\"expires_at\":null}}}");
	socket_send(sub->socket, &frame);
}

static void on_end(struct hub_subscriber *hs, const struct fault *fault)
{
	struct subscription *sub = container_of(hs, struct subscription, subscriber);

	if (sub->pending) {
		struct socket *s = sub->socket;
		detection_subscription(s->ws->api, fault, &s->caller, method_of(is_fleet(sub)), sub->key.name);
		rpc_fault(s, sub->id, method_of(is_fleet(sub)), fault, "");
	} else if (fault != &FAULT_FORBIDDEN) {
		socket_close(sub->socket, CLOSE_TOO_SLOW, "too much came at once");
	} else if (!sub->told) {
		tell_end(sub);
	}
	drop(sub);
}

static void drop(struct subscription *sub)
{
	struct socket *s = sub->socket;

	if (!s)
		return;
	settle(sub);
	hub_unsubscribe(api_hub(s->ws->api), &sub->subscriber);
	HASH_DEL(s->ws->subscriptions, sub);
	list_remove(&sub->node);
	s->subscription_count--;
	sub->socket = NULL;
	list_append(&s->ws->ended, &sub->node);
	loop_soon_call(s->ws->loop, &s->ws->bury);
}

void subscription_end(struct socket *s, const struct method *method, json_t *id, json_t *params)
{
	struct target target = target_of(params);
	struct subscription *sub = find(s, target.name);

	(void)method;
	if (sub)
		give_way(sub);
	rpc_reply(s, id, "{}", 2);
}

void subscription_end_all(struct socket *s)
{
	while (!list_is_empty(&s->subscriptions))
		drop(container_of(s->subscriptions.next, struct subscription, node));
}

static void on_bury(struct loop_soon *soon)
{
	struct ws *ws = container_of(soon, struct ws, bury);

	list_for_each_safe (node, &ws->ended)
		free(container_of(node, struct subscription, node));
	list_init(&ws->ended);
}
