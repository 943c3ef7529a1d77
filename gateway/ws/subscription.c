/* subscription.c - a socket's interest in a vehicle: vehicle.subscribe, vehicle.unsubscribe, and the events between.
 *
 *   subscribe ─┬─ ready: the result ─ events … ─┬─ unsubscribe
 *              └─ fault                         └─ the grant's end, told by access.changed
 * The hub may still look at a subscriber that leaves inside of its callback: so what has ended is freed a turn later. */
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "base/ids.h"
#include "base/memory.h"
#include "base/rfc3339.h"
#include "gateway/ws/ws_internal.h"
#include "notifier/hub.h"

#define SUBSCRIPTIONS_MAX 1000 /* of one socket */

struct subscription_key {
	const struct socket *socket;
	char vehicle_id[72];
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

static struct subscription_key key_of(const struct socket *s, const char *vehicle_id)
{
	struct subscription_key key;

	memset(&key, 0, sizeof(key));
	key.socket = s;
	strncpy(key.vehicle_id, vehicle_id, sizeof(key.vehicle_id) - 1);
	return key;
}

static struct subscription *find(const struct socket *s, const char *vehicle_id)
{
	struct subscription_key key = key_of(s, vehicle_id);
	struct subscription *sub;

	HASH_FIND(hh, s->ws->subscriptions, &key, sizeof(key), sub);
	return sub;
}

/* The vehicle's id of the parameters; NULL when it can be none's. */
static const char *vehicle_of(const json_t *params)
{
	const json_t *value = json_object_get(params, "vehicle_id");
	const char *id = json_string_value(value);

	return strlen(id) == json_string_length(value) && topic_level_is_safe(id) ? id : NULL;
}

/* Beginning. */

static struct subscription *subscription_new(struct socket *s, const char *vehicle_id, json_t *id)
{
	struct subscription *sub = memory_new(sizeof(*sub));

	sub->key = key_of(s, vehicle_id);
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
	const json_t *after = json_object_get(params, "after");
	struct socket *s = sub->socket;

	if (epoch)
		sub->epoch = memory_need(strdup(epoch));
	sub->subscriber = (struct hub_subscriber){ .subject = s->caller.subject,
		.admin = s->caller.scopes & SCOPE_ADMIN,
		.epoch = sub->epoch,
		.after = json_is_integer(after) ? json_integer_value(after) : -1,
		.on_ready = on_ready,
		.on_event = on_event,
		.on_end = on_end };
	hub_subscribe(api_hub(s->ws->api), &sub->subscriber, sub->key.vehicle_id);
}

/* Another request has taken its place before it was answered. */
static void give_way(struct subscription *sub)
{
	if (sub->pending)
		rpc_fault(sub->socket, sub->id, &FAULT_MALFORMED_REQUEST, "a later request has replaced this one");
	drop(sub);
}

static const struct fault *refuse(const struct socket *s, const char *vehicle_id, const char **ret_detail)
{
	*ret_detail = "";
	if (api_is_draining(s->ws->api))
		return &FAULT_DRAINING;
	if (!(s->caller.scopes & (SCOPE_VEHICLES_READ | SCOPE_ADMIN))) {
		*ret_detail = "the token lacks the scope vehicles:read";
		return &FAULT_FORBIDDEN;
	}
	if (!vehicle_id)
		return &FAULT_VEHICLE_NOT_FOUND;
	*ret_detail = "a connection has at most 1000 subscriptions";
	return s->subscription_count < SUBSCRIPTIONS_MAX || find(s, vehicle_id) ? NULL : &FAULT_OVERLOADED;
}

void subscription_begin(struct socket *s, const struct method *method, json_t *id, json_t *params)
{
	const char *vehicle_id = vehicle_of(params), *detail;
	const struct fault *fault = refuse(s, vehicle_id, &detail);

	(void)method;
	if (fault) {
		rpc_fault(s, id, fault, detail);
		return;
	}
	struct subscription *before = find(s, vehicle_id);
	if (before)
		give_way(before);
	if (s->state != SOCKET_CLOSING)
		watch(subscription_new(s, vehicle_id, id), params);
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

static void on_ready(struct hub_subscriber *hs, const struct hub_snapshot *snapshot)
{
	struct subscription *sub = container_of(hs, struct subscription, subscriber);
	struct text result = { 0 };

	text_add(&result, "{\"vehicle\":");
	text_add(&result, snapshot->vehicle);
	text_add(&result, ",\"epoch\":");
	text_add_json_string(&result, snapshot->epoch);
	text_addf(&result, ",\"seq\":%lld,\"recovered\":%s}", (long long)snapshot->seq,
		snapshot->recovered ? "true" : "false");
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

static void on_event(struct hub_subscriber *hs, const struct hub_event *event)
{
	struct subscription *sub = container_of(hs, struct subscription, subscriber);

	if (strcmp(event->type, "access.changed") == 0)
		sub->told = tells_end(hs, event);
	socket_send_event(sub->socket, event);
}

/* Ending. */

/* A grant that runs out has no event of its own: the app is told all the same, so that its silence is explained. */
static void tell_end(struct subscription *sub)
{
	struct text frame = { 0 };
	char now[RFC3339_SIZE];

	rfc3339_write(loop_unix_us(sub->socket->ws->loop), now);
	text_addf(&frame,
		"{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"vehicle_id\":\"%s\",\"type\":\"access."
		"changed\","
		"\"time\":\"%s\",\"data\":{\"subject\":",
		sub->key.vehicle_id, now);
	text_add_json_string(&frame, sub->subscriber.subject);
	text_add(&frame, ",\"role\":null,\"expires_at\":null}}}");
	socket_send(sub->socket, &frame);
}

static void on_end(struct hub_subscriber *hs, const struct fault *fault)
{
	struct subscription *sub = container_of(hs, struct subscription, subscriber);

	if (sub->pending)
		rpc_fault(sub->socket, sub->id, fault, "");
	else if (!sub->told)
		tell_end(sub);
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
	const char *vehicle_id = vehicle_of(params);
	struct subscription *sub = vehicle_id ? find(s, vehicle_id) : NULL;

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
