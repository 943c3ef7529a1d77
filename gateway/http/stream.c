/* stream.c - server-sent events: GET …/events with Accept: text/event-stream, over the hub, resumed by Last-Event-ID; and a
 * fleet's, which is live alone.
 *
 *   snapshot ─ events … ─ a comment every 15 s ─ the grant, the token or the node ends it */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/ids.h"
#include "base/loop.h"
#include "base/memory.h"
#include "gateway/access/suspicion.h"
#include "gateway/detection.h"
#include "gateway/http/http_internal.h"
#include "gateway/position.h"

#define COMMENT_MS 15000
#define FAREWELL_MS 10000 /* how long a reader has to take the last of it */

struct stream {
	h2o_generator_t generator;
	struct list node;
	struct http_request *request;
	struct hub_subscriber subscriber;
	bool subscribed, started, sending, ending;
	char epoch[POSITION_EPOCH_SIZE];
	char fleet_id[72];   /* "": it follows a vehicle */
	char vehicle_id[72]; /* "": a fleet */
	struct text waiting, under_way;
	struct loop_timer comment, expiry;
};

static void follow_fleet(struct http_request *r, const char *fleet);
static void subscribe(struct http_request *r, const char *vehicle, const json_t *after);
static void on_ready(struct hub_subscriber *s, const struct hub_snapshot *snapshot);
static void on_event(struct hub_subscriber *s, const struct hub_event *event);
static bool has_room(const struct hub_subscriber *s);
static void on_end(struct hub_subscriber *s, const struct fault *fault);
static void on_proceed(h2o_generator_t *generator, h2o_req_t *req);
static void on_comment(struct loop_timer *timer);
static void on_expiry(struct loop_timer *timer);
static void finish(struct stream *st);
static void cut(struct stream *st);
static void flush(struct stream *st);

/* False: there is no Last-Event-ID, or none that is a position. */
static bool read_position(h2o_req_t *req, struct stream *st)
{
	h2o_iovec_t id = http_field(req, "last-event-id");

	return id.base && position_read(id.base, id.len, st->epoch, &st->subscriber.after);
}

static bool follows_fleet(const struct http_request *r)
{
	return r->route->flag == FOLLOWS;
}

/* `id` is a vehicle's or a fleet's, as the path has it. */
static void refuse(struct http_request *r, const struct fault *fault, const char *detail, const char *id)
{
	bool is_fleet = follows_fleet(r);
	bool is_meant = topic_level_is_safe(id) || (is_fleet && strcmp(id, "*") == 0);
	char object[OBJECT_SIZE] = "";

	if (is_meant)
		snprintf(object, sizeof(object), "%s%s", is_fleet ? "fleet/" : "", id);
	detection_subscription(
		r->http->options.api, fault, &r->caller, is_fleet ? "fleet.subscribe" : "vehicle.subscribe", object);
	http_problem(r, fault, detail, NULL);
}

static void refuse_scope(struct http_request *r, const char *id)
{
	http_challenge_scope(r, "vehicles:read");
	refuse(r, &FAULT_FORBIDDEN, "the token lacks the scope vehicles:read", id);
}

void stream_begin(struct http_request *r, json_t *params)
{
	bool is_fleet = follows_fleet(r);
	const char *id = json_text_at(params, is_fleet ? "fleet_id" : "vehicle_id");

	if (api_is_draining(r->http->options.api))
		http_problem(r, &FAULT_DRAINING, "the node is shutting down", NULL);
	else if (!(r->caller.scopes & (SCOPE_VEHICLES_READ | SCOPE_ADMIN)))
		refuse_scope(r, id);
	else if (is_fleet)
		follow_fleet(r, id);
	else if (!topic_level_is_safe(id))
		refuse(r, &FAULT_VEHICLE_NOT_FOUND, "", id);
	else
		subscribe(r, id, json_object_get(params, "after"));
	json_decref(params);
}

static struct stream *stream_new(struct http_request *r)
{
	struct stream *st = memory_new(sizeof(*st));
	struct loop *loop = r->http->loop;

	r->stream = st;
	st->request = r;
	st->generator.proceed = on_proceed;
	st->subscriber = (struct hub_subscriber){ .subject = r->caller.subject,
		.admin = r->caller.scopes & SCOPE_ADMIN,
		.after = -1,
		.on_ready = on_ready,
		.on_event = on_event,
		.has_room = has_room,
		.on_end = on_end };
	loop_timer_init(loop, &st->comment, on_comment);
	loop_timer_init(loop, &st->expiry, on_expiry);
	list_append(&r->http->streams, &st->node);
	st->subscribed = true;
	return st;
}

static void follow_fleet(struct http_request *r, const char *fleet)
{
	bool is_all = strcmp(fleet, "*") == 0;

	if (is_all && !(r->caller.scopes & SCOPE_ADMIN)) {
		refuse(r, &FAULT_FORBIDDEN, "all vehicles are for administrators", fleet);
	} else if (!is_all && !topic_level_is_safe(fleet)) {
		refuse(r, &FAULT_FLEET_NOT_FOUND, "", fleet);
	} else {
		struct stream *st = stream_new(r);
		snprintf(st->fleet_id, sizeof(st->fleet_id), "%s", fleet);
		hub_subscribe_fleet(api_hub(r->http->options.api), &st->subscriber, fleet);
	}
}

static void subscribe(struct http_request *r, const char *vehicle, const json_t *after)
{
	struct stream *st = stream_new(r);

	snprintf(st->vehicle_id, sizeof(st->vehicle_id), "%s", vehicle);
	if (read_position(r->req, st))
		st->subscriber.epoch = st->epoch;
	else
		st->subscriber.after = after ? json_integer_value(after) : -1;
	hub_subscribe(api_hub(r->http->options.api), &st->subscriber, vehicle);
}

static void leave(struct stream *st)
{
	if (st->subscribed)
		hub_unsubscribe(api_hub(st->request->http->options.api), &st->subscriber);
	st->subscribed = false;
	loop_timer_stop(&st->comment);
	loop_timer_stop(&st->expiry);
}

void stream_abandon(struct http_request *r)
{
	struct stream *st = r->stream;
	if (!st)
		return;
	leave(st);
	list_remove(&st->node);
	text_free(&st->waiting);
	text_free(&st->under_way);
	free(st);
	r->stream = NULL;
}

static void write_snapshot(struct stream *st, const struct hub_snapshot *snapshot)
{
	if (st->fleet_id[0]) {
		text_addf(&st->waiting,
			"event: snapshot\ndata: {\"fleet_id\":\"%s\",\"epoch\":\"%s\",\"vehicles\":%lld}\n\n",
			st->fleet_id, snapshot->epoch, (long long)snapshot->vehicles);
		return;
	}
	text_addf(&st->waiting,
		"event: snapshot\nid: %s:%lld\ndata: "
		"{\"vehicle\":%s,\"epoch\":\"%s\",\"seq\":%lld,\"recovered\":%s}\n\n",
		snapshot->epoch, (long long)(snapshot->recovered ? st->subscriber.after : snapshot->seq),
		snapshot->vehicle, snapshot->epoch, (long long)snapshot->seq, snapshot->recovered ? "true" : "false");
}

static void on_ready(struct hub_subscriber *s, const struct hub_snapshot *snapshot)
{
	struct stream *st = container_of(s, struct stream, subscriber);
	struct http_request *r = st->request;

	snprintf(st->epoch, sizeof(st->epoch), "%s", snapshot->epoch);
	write_snapshot(st, snapshot);
	r->req->res.status = 200;
	r->req->res.reason = "OK";
	http_header(r, "content-type", "text/event-stream");
	http_header(r, "cache-control", "no-store");
	http_header(r, "x-request-id", r->request_id);
	http_add_rate(r);
	h2o_start_response(r->req, &st->generator);
	st->started = true;
	loop_timer_start(&st->comment, COMMENT_MS);
	loop_timer_start(&st->expiry, api_caller_left_ms(r->http->options.api, &r->caller));
	flush(st);
}

/* The vehicle's own stream is resumed by its seq; a fleet's is not, and has no ids. */
static void write_head(struct stream *st, const struct hub_event *event)
{
	text_addf(&st->waiting, "event: %s\n", event->type);
	if (!st->fleet_id[0] && event->vehicle_id)
		text_addf(&st->waiting, "id: %s:%lld\n", st->epoch, (long long)event->seq);
	if (event->vehicle_id)
		text_addf(&st->waiting, "data: {\"vehicle_id\":\"%s\",\"seq\":%lld,", event->vehicle_id,
			(long long)event->seq);
	else
		text_addf(&st->waiting, "data: {\"fleet_id\":\"%s\",", event->fleet_id);
	text_addf(&st->waiting, "\"type\":\"%s\",\"time\":\"%s\",\"data\":", event->type, event->time);
}

static void on_event(struct hub_subscriber *s, const struct hub_event *event)
{
	struct stream *st = container_of(s, struct stream, subscriber);

	write_head(st, event);
	text_add_bytes(&st->waiting, event->data, event->data_len);
	text_add(&st->waiting, "}\n\n");
	if (st->sending && st->waiting.len > st->request->http->options.max_queue)
		finish(st); /* too slow */
	else
		flush(st);
}

/* A replay fills half of what may wait; on_proceed goes on with it. */
static bool has_room(const struct hub_subscriber *s)
{
	const struct stream *st = container_of(s, struct stream, subscriber);
	return !st->sending || st->waiting.len <= st->request->http->options.max_queue / 2;
}

/* Nothing more comes in; what is waiting still goes out, so that a reader who resumes has got on. */
static void finish(struct stream *st)
{
	leave(st);
	st->ending = true;
	flush(st);
	loop_timer_start(&st->expiry, FAREWELL_MS);
}

/* What is under way may never be read, so the connection is closed below h2o, which then disposes of the request. */
static void cut(struct stream *st)
{
	h2o_conn_t *conn = st->request->req->conn;

	text_free(&st->waiting);
	shutdown(h2o_socket_get_fd(conn->callbacks->get_socket(conn)), SHUT_RDWR);
}

static void on_end(struct hub_subscriber *s, const struct fault *fault)
{
	struct stream *st = container_of(s, struct stream, subscriber);
	struct http_request *r = st->request;

	st->subscribed = false;
	if (st->started) {
		finish(st);
		return;
	}
	char id[sizeof(st->vehicle_id)];
	snprintf(id, sizeof(id), "%s", st->fleet_id[0] ? st->fleet_id : st->vehicle_id);
	stream_abandon(r);
	refuse(r, fault, "", id);
}

static void flush(struct stream *st)
{
	if (st->sending || !st->started || (st->waiting.len == 0 && !st->ending))
		return;
	text_free(&st->under_way);
	st->under_way = st->waiting;
	st->waiting = (struct text){ 0 };
	st->sending = true;
	h2o_iovec_t out = h2o_iovec_init(st->under_way.data ? st->under_way.data : "", st->under_way.len);
	h2o_send(st->request->req, &out, 1, st->ending ? H2O_SEND_STATE_FINAL : H2O_SEND_STATE_IN_PROGRESS);
}

static void on_proceed(h2o_generator_t *generator, h2o_req_t *req)
{
	struct stream *st = container_of(generator, struct stream, generator);
	(void)req;
	st->sending = false;
	flush(st);
	if (st->subscribed)
		hub_carry_on(api_hub(st->request->http->options.api), &st->subscriber);
}

static void on_comment(struct loop_timer *timer)
{
	struct stream *st = container_of(timer, struct stream, comment);
	text_add(&st->waiting, ": here\n\n");
	flush(st);
	loop_timer_start(timer, COMMENT_MS);
}

static void on_expiry(struct loop_timer *timer)
{
	struct stream *st = container_of(timer, struct stream, expiry);
	if (st->ending)
		cut(st);
	else
		finish(st);
}

void stream_end_all(struct http *http)
{
	list_for_each_safe (node, &http->streams) {
		struct stream *st = container_of(node, struct stream, node);
		struct http_request *r = st->request;
		if (st->started && !st->ending) {
			finish(st);
		} else if (!st->started) {
			stream_abandon(r);
			http_problem(r, &FAULT_DRAINING, "the node is shutting down", NULL);
		}
	}
}
