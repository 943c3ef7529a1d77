/* request.c - reads a request from its message and judges its age. */
#include "commands/vehicle/request.h"

#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/mqtt/link.h"
#include "base/rfc3339.h"

#define REQUEST_TEXT_MAX 128
#define REQUEST_TOPIC_MAX 512

static const char *short_text_at(const json_t *, const char *key, size_t len_max);
static const char *topic_at(const json_t *);
static bool read_expiry(struct request *, const json_t *, const struct mqtt_message *, const struct loop *);
static char *copy_correlation(const struct mqtt_message *, const char *id);
static void read_trace(struct request *, const struct mqtt_message *);
static char *copy_text(const char *, size_t len);

struct request *request_read(const struct mqtt_message *message, const struct loop *loop)
{
	json_auto_t *body = json_read(message->payload, message->len);
	const char *id = short_text_at(body, "request_id", REQUEST_TEXT_MAX);
	const char *name = short_text_at(body, "name", REQUEST_TEXT_MAX);
	if (id == NULL || name == NULL)
		return NULL;

	struct request *request = memory_new(sizeof(*request));
	list_init(&request->node);
	if (!read_expiry(request, body, message, loop)) {
		free(request);
		return NULL;
	}
	const char *topic = topic_at(body);
	request->id = copy_text(id, strlen(id));
	request->name = copy_text(name, strlen(name));
	request->params = json_incref(json_object_get(body, "params"));
	request->response_topic = topic == NULL ? NULL : copy_text(topic, strlen(topic));
	request->correlation = copy_correlation(message, id);
	read_trace(request, message);
	return request;
}

void request_free(struct request *request)
{
	if (request == NULL)
		return;
	request_drop_order(request);
	if (request->resend.loop != NULL)
		loop_timer_stop(&request->resend);
	list_remove(&request->node);
	free(request->id);
	free(request->response_topic);
	free(request->correlation);
	free(request->tracestate);
	free(request->answer);
	free(request);
}

bool request_is_stale(const struct request *request, const struct loop *loop)
{
	return loop_unix_us(loop) >= request->expires_at_us || loop_monotonic_ms(loop) >= request->deadline_ms;
}

bool request_is_forgettable(const struct request *request, const struct loop *loop)
{
	return loop_unix_us(loop) >= request->expires_at_us && loop_monotonic_ms(loop) >= request->deadline_ms;
}

void request_drop_order(struct request *request)
{
	free(request->name);
	request->name = NULL;
	json_decref(request->params);
	request->params = NULL;
}

static const char *short_text_at(const json_t *body, const char *key, size_t len_max)
{
	const char *text = json_text_at(body, key);
	return text != NULL && *text != '\0' && strlen(text) <= len_max ? text : NULL;
}

/* The payload repeats the Response Topic property (it is all that an MQTT 3.1.1 vehicle sees). One that cannot be
 * published to is as good as none. */
static const char *topic_at(const json_t *body)
{
	const char *topic = short_text_at(body, "response_topic", REQUEST_TOPIC_MAX);
	return topic != NULL && strpbrk(topic, "+#") == NULL ? topic : NULL;
}

static bool read_expiry(
	struct request *request, const json_t *body, const struct mqtt_message *message, const struct loop *loop)
{
	const char *expires = json_text_at(body, "expires_at"), *issued = json_text_at(body, "issued_at");
	int64_t expires_us, issued_us;
	if (expires == NULL || !rfc3339_read(expires, &expires_us))
		return false;
	if (issued == NULL || !rfc3339_read(issued, &issued_us))
		issued_us = loop_unix_us(loop);

	int64_t left_ms = (expires_us - issued_us) / 1000;
	int64_t broker_ms = (int64_t)message->expiry_seconds * 1000;
	if (broker_ms > 0 && broker_ms < left_ms)
		left_ms = broker_ms;
	request->expires_at_us = expires_us;
	request->deadline_ms = loop_monotonic_ms(loop) + left_ms;
	return true;
}

static char *copy_correlation(const struct mqtt_message *message, const char *id)
{
	bool is_the_id = message->correlation_len == strlen(id) &&
			 memcmp(message->correlation, id, message->correlation_len) == 0;
	if (message->correlation == NULL || message->correlation_len > REQUEST_TOPIC_MAX || is_the_id)
		return NULL;
	return copy_text(message->correlation, message->correlation_len);
}

/* What this vehicle does is a span of its own in the request's trace. */
static void read_trace(struct request *request, const struct mqtt_message *message)
{
	char asked[TRACEPARENT_SIZE], own[SPAN_ID_SIZE];
	const char *given = message->traceparent;

	if (given == NULL || !traceparent_read(given, strlen(given), asked))
		return;
	random_hex((SPAN_ID_SIZE - 1) / 2, own);
	traceparent_continue(asked, own, request->traceparent);
	if (message->tracestate != NULL && tracestate_is_fine(message->tracestate))
		request->tracestate = copy_text(message->tracestate, strlen(message->tracestate));
}

static char *copy_text(const char *text, size_t len)
{
	return memory_need(strndup(text, len));
}
