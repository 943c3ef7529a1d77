/* work.c - does what it is asked, once and in order, and says so until it is heard.
 *
 *  receive ─┬─ waiting ─ one at a time ─┬─ done ─ latency ─┬─ told ─ accepted ─ settled, remembered
 *           │                           └─ stale: rejected ┘   └ every 2 s again
 *           └─ known: the same answer again
 */
#include "commands/vehicle/work.h"

#include <assert.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/mqtt/link.h"
#include "commands/vehicle/car.h"
#include "commands/vehicle/journal.h"
#include "commands/vehicle/request.h"

static void meet_again(struct work *, struct request *known);
static void take_on(struct work *, struct request *);
static void advance(struct work *);
static void refuse_stale(struct work *, struct request *);
static void act(struct work *, struct request *);
static void do_it(struct work *, struct request *);
static void on_act_over(struct loop_timer *);
static void on_resend_due(struct loop_timer *);
static void tell(struct request *);
static void tell_progress(struct request *);
static bool publish_answer(struct request *, const char *text, const char *status);
static void settle(struct work *, struct request *);
static bool is_about_progress(struct request *);
static void forget_old(struct work *);
static void forget(struct work *, struct request *);
static char *answer_text(const struct request *, const char *status, const char *reason, const char *description);
static char *success_text(const struct request *, json_t *patch, int64_t version);
static struct request *find(const struct work *, const char *id);
static int compare_ids(const void *, const void *);
static void free_node(void *);

#define record(work, what, request_id, ...)                                                                            \
	journal_line((work)->port->journal, (work)->port->vehicle_id, what, request_id, __VA_ARGS__)

void work_init(struct work *work, const struct work_port *port, const struct work_manner *manner)
{
	*work = (struct work){ .port = port, .manner = manner };
	list_init(&work->waiting);
	list_init(&work->told);
	list_init(&work->settled);
	loop_timer_init(port->loop, &work->act, on_act_over);
}

void work_done(struct work *work)
{
	loop_timer_stop(&work->act);
	tdestroy(work->by_id, free_node);
	work->by_id = NULL;
	work->acting = NULL;
}

bool work_is_idle(const struct work *w)
{
	return w->acting == NULL && list_is_empty(&w->waiting) && list_is_empty(&w->told);
}

void work_receive(struct work *work, const struct mqtt_message *message)
{
	struct request *request = request_read(message, work->port->loop);
	if (request == NULL) {
		record(work, "malformed", NULL);
		return;
	}
	struct request *known = find(work, request->id);
	if (known != NULL) {
		request_free(request);
		meet_again(work, known);
		return;
	}
	take_on(work, request);
}

/* One that waits or is being done will be answered in its time. */
static void meet_again(struct work *work, struct request *known)
{
	record(work, "duplicate", known->id);
	bool is_over = known->state == REQUEST_TOLD || known->state == REQUEST_SETTLED;
	if (!is_over || work->manner->is_silent)
		return;
	list_remove(&known->node);
	list_append(&work->told, &known->node);
	known->state = REQUEST_TOLD;
	tell(known);
}

static void take_on(struct work *work, struct request *request)
{
	forget_old(work);
	if (work->count >= WORK_REQUESTS_MAX) {
		record(work, "dropped", request->id);
		request_free(request);
		return;
	}
	record(work, "received", request->id, LOG_TEXT("name", request->name));
	request->work = work;
	request->state = REQUEST_WAITING;
	loop_timer_init(work->port->loop, &request->resend, on_resend_due);
	list_append(&work->waiting, &request->node);
	memory_need(tsearch(request, &work->by_id, compare_ids));
	work->count++;
	advance(work);
}

static void advance(struct work *work)
{
	while (work->acting == NULL && !list_is_empty(&work->waiting)) {
		struct request *next = container_of(list_take_first(&work->waiting), struct request, node);
		if (request_is_stale(next, work->port->loop))
			refuse_stale(work, next);
		else
			act(work, next);
	}
}

static void refuse_stale(struct work *work, struct request *request)
{
	record(work, "expired", request->id);
	request_drop_order(request);
	request->status = "rejected";
	request->answer = answer_text(request, "rejected", "EXPIRED", "the request came too late to be done");
	if (work->manner->is_silent) {
		settle(work, request);
		return;
	}
	request->state = REQUEST_TOLD;
	list_append(&work->told, &request->node);
	tell(request);
}

/* The deed comes first and the latency after it. So nothing lies between the look at the clocks and the deed, and a
 * vehicle that freezes on the way does nothing late when it thaws. */
static void act(struct work *work, struct request *request)
{
	request->state = REQUEST_ACTING;
	work->acting = request;
	do_it(work, request);
	if (work->manner->tells_progress && !work->manner->is_silent)
		tell_progress(request);
	loop_timer_start(&work->act, work->manner->latency_ms);
}

static void do_it(struct work *work, struct request *request)
{
	bool fails = drand48() < work->manner->fail_rate;
	request->status = fails ? "failed" : "succeeded";
	record(work, "executed", request->id, LOG_TEXT("name", request->name), LOG_TEXT("status", request->status));
	if (fails) {
		request->answer =
			answer_text(request, "failed", "SIMULATED_FAILURE", "this vehicle fails now and then");
	} else {
		json_auto_t *patch = car_execute(work->port->car, request->name, request->params);
		request->answer = success_text(request, patch, work->port->car->version);
	}
	request_drop_order(request);
}

static void on_act_over(struct loop_timer *timer)
{
	struct work *work = container_of(timer, struct work, act);
	struct request *request = work->acting;
	work->acting = NULL;
	loop_timer_stop(&request->resend);
	if (work->manner->is_silent) {
		settle(work, request);
	} else {
		request->state = REQUEST_TOLD;
		list_append(&work->told, &request->node);
		tell(request);
	}
	advance(work);
}

static void on_resend_due(struct loop_timer *timer)
{
	struct request *request = container_of(timer, struct request, resend);
	if (request->state == REQUEST_ACTING)
		tell_progress(request);
	else
		tell(request);
}

/* Offline nothing is sent and nothing is due: work_resume() tells it then. */
static void tell(struct request *request)
{
	assert(request->state == REQUEST_TOLD);
	if (publish_answer(request, request->answer, request->status))
		loop_timer_start(&request->resend, WORK_RESEND_MS);
}

static void tell_progress(struct request *request)
{
	assert(request->state == REQUEST_ACTING);
	char *text = answer_text(request, "in_progress", NULL, NULL);
	if (publish_answer(request, text, "in_progress")) {
		request->progress_unsettled++;
		loop_timer_start(&request->resend, WORK_RESEND_MS);
	}
	free(text);
}

static bool publish_answer(struct request *request, const char *text, const char *status)
{
	const struct work_port *port = request->work->port;
	struct mqtt_publish publish = {
		.topic = request->response_topic != NULL ? request->response_topic : port->own_feed_topic,
		.payload = text,
		.len = strlen(text),
		.qos = 1,
		.correlation = request->correlation != NULL ? request->correlation : request->id,
		.content_type = "application/json",
	};
	if (request->traceparent[0])
		publish.user[0] = (struct mqtt_user_property){ "traceparent", request->traceparent };
	if (request->tracestate != NULL)
		publish.user[1] = (struct mqtt_user_property){ "tracestate", request->tracestate };
	if (!port->publish(port->owner, &publish))
		return false;
	record(request->work, "answered", request->id, LOG_TEXT("status", status),
		LOG_INT("times", ++request->times_told));
	return true;
}

void work_settle(struct work *work, const struct mqtt_message *message, bool is_accepted)
{
	json_auto_t *body = json_read(message->payload, message->len);
	const char *id = json_text_at(body, "request_id");
	record(work, is_accepted ? "accepted" : "rejected", id, LOG_TEXT("code", json_text_at(body, "code")));

	struct request *request = id == NULL ? NULL : find(work, id);
	if (request == NULL || is_about_progress(request) || request->state != REQUEST_TOLD)
		return;
	list_remove(&request->node);
	settle(work, request);
}

/* `accepted` names the request and not which of its answers. Each is followed by one, in order, so the first belong to
 * the in_progress that went before the final one. To count one too many costs a resend, one too few an answer. */
static bool is_about_progress(struct request *request)
{
	if (request->progress_unsettled == 0)
		return false;
	request->progress_unsettled--;
	if (request->state == REQUEST_ACTING && request->progress_unsettled == 0)
		loop_timer_stop(&request->resend);
	return true;
}

void work_resume(struct work *work)
{
	if (work->acting != NULL && work->manner->tells_progress && !work->manner->is_silent)
		tell_progress(work->acting);
	list_for_each (node, &work->told) {
		tell(container_of(node, struct request, node));
	}
}

static void settle(struct work *work, struct request *request)
{
	loop_timer_stop(&request->resend);
	request->state = REQUEST_SETTLED;
	list_append(&work->settled, &request->node);
}

/* The settled ones are not in the order in which they expire, so each look takes the oldest few and puts those that
 * must stay to the end. A newcomer brings one and looks at two: the memory shrinks as fast as it grew. */
static void forget_old(struct work *work)
{
	for (int looks = 0; looks < 2 && work->count >= WORK_REMEMBERED_MIN; looks++) {
		struct list *oldest = list_take_first(&work->settled);
		if (oldest == NULL)
			return;
		struct request *request = container_of(oldest, struct request, node);
		if (request_is_forgettable(request, work->port->loop))
			forget(work, request);
		else
			list_append(&work->settled, oldest);
	}
}

static void forget(struct work *work, struct request *request)
{
	tdelete(request, &work->by_id, compare_ids);
	work->count--;
	request_free(request);
}

static char *answer_text(const struct request *request, const char *status, const char *reason, const char *description)
{
	json_auto_t *answer = json_pack("{ssss}", "request_id", request->id, "status", status);
	if (reason != NULL)
		json_object_set_new(answer, "reason", json_pack("{ssss}", "code", reason, "description", description));
	return json_canonical(answer);
}

/* The patch alone, since answers stay in order; what might overtake them is a report, and that holds the whole state. */
static char *success_text(const struct request *request, json_t *patch, int64_t version)
{
	json_auto_t *answer = json_pack("{sssss{}}", "request_id", request->id, "status", "succeeded", "result");
	if (patch != NULL) {
		json_object_set(answer, "state", patch);
		json_object_set_new(answer, "state_version", json_integer(version));
	}
	return json_canonical(answer);
}

static struct request *find(const struct work *work, const char *id)
{
	struct request key = { .id = (char *)id };
	void *node = tfind(&key, &work->by_id, compare_ids);
	return node == NULL ? NULL : *(struct request **)node;
}

static int compare_ids(const void *a, const void *b)
{
	return strcmp(((const struct request *)a)->id, ((const struct request *)b)->id);
}

static void free_node(void *node)
{
	request_free(node);
}
