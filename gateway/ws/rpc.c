/* rpc.c - JSON-RPC 2.0: from a text to a method, from the operation's reply to the answer (contract §5).
 *
 *   text ─ JSON ─ request ─ method ─ parameters ─ operation ─ result or error
 * Answers come in the order in which the operations end; an app tells them apart by their id. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/memory.h"
#include "gateway/ws/ws_internal.h"

#define NONSENSE_MAX 10
#define CALLS_MAX 128 /* of one app at once */
#define PARAMS_MAX 10
#define ID_REAL_MAX 9007199254740992.0 /* 2^53 */

/* JSON-RPC 2.0 §5.1 */
enum rpc_code {
	RPC_PARSE_ERROR = -32700,
	RPC_INVALID_REQUEST = -32600,
	RPC_METHOD_NOT_FOUND = -32601,
	RPC_INVALID_PARAMS = -32602,
	RPC_FAULT = -32000, /* ours: the problem is in `data` */
};

enum param_type { TEXT, COUNT, FLAG, OBJECT };

struct param {
	const char *name;
	enum param_type type;
	bool needed;
};

struct method {
	const char *name;
	void (*run)(struct socket *, const struct method *, json_t *id, json_t *params);
	const struct api_operation *operation;
	struct param params[PARAMS_MAX + 1]; /* ends with one that has no name */
};

/* A call under way; the transport of its api_call. */
struct rpc_call {
	struct list node;
	struct socket *socket;
	struct api_call *call;
	json_t *id; /* NULL: a notification */
};

static void run_operation(struct socket *s, const struct method *method, json_t *id, json_t *params);
static void on_done(struct api_call *call);

static const struct method methods[] = {
#define NEEDS(param, type)                                                                                             \
	{                                                                                                              \
		param, type, true                                                                                      \
	}
#define TAKES(param, type)                                                                                             \
	{                                                                                                              \
		param, type, false                                                                                     \
	}
#define METHOD(name, run, operation, ...) { name, run, operation, { __VA_ARGS__ } },
#include "gateway/ws/methods.tbl.h"
#undef METHOD
#undef TAKES
#undef NEEDS
};

static bool is_text(const json_t *value)
{
	return json_is_string(value);
}

static bool is_count(const json_t *value)
{
	int64_t count;
	return json_whole(value, &count) && count >= 0;
}

static bool is_flag(const json_t *value)
{
	return json_is_boolean(value);
}

static bool is_object(const json_t *value)
{
	return json_is_object(value);
}

static const struct {
	bool (*is)(const json_t *);
	const char *what;
} types[] = {
	[TEXT] = { is_text, "a text" },
	[COUNT] = { is_count, "a whole number from 0" },
	[FLAG] = { is_flag, "true or false" },
	[OBJECT] = { is_object, "an object" },
};

/* Answering. */

/* A request without an id is a notification and gets no answer, be it an error (JSON-RPC 2.0 §4.1). */
static void answer(struct socket *s, const json_t *id, const char *member, const char *value, size_t len)
{
	struct text frame = { 0 };

	if (!id)
		return;
	char *id_text = memory_need(json_dumps(id, JSON_COMPACT | JSON_ENCODE_ANY));
	text_addf(&frame, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"%s\":", id_text, member);
	text_add_bytes(&frame, value, len);
	text_add(&frame, "}");
	free(id_text);
	socket_send(s, &frame);
}

void rpc_reply(struct socket *s, const json_t *id, const char *result, size_t len)
{
	answer(s, id, "result", result, len);
}

/* Eats `data`, which may be NULL. */
static void answer_error(struct socket *s, const json_t *id, enum rpc_code code, const char *message, json_t *data)
{
	json_auto_t *error = memory_need(json_pack("{s:i, s:s, s:o*}", "code", code, "message", message, "data", data));
	char *text = memory_need(json_dumps(error, JSON_COMPACT));

	answer(s, id, "error", text, strlen(text));
	free(text);
}

/* Eats the problem. What REST says by Retry-After stands in it. */
static void answer_problem(struct socket *s, const json_t *id, const char *method, const struct fault *fault,
	json_t *problem, int retry_after_s)
{
	if (retry_after_s > 0)
		json_object_set_new(problem, "retry_after_seconds", json_integer(retry_after_s));
	if (id)
		api_log_problem(s->ws->api, fault, json_text_at(problem, "instance"), method, WS_ROUTE);
	answer_error(s, id, RPC_FAULT, fault->title, problem);
}

static void tell_fault(struct socket *s, const json_t *id, const char *method, const struct fault *fault,
	const char *detail, int retry_after_s)
{
	char request_id[UUID_TEXT_SIZE];

	uuid7_draw(loop_unix_us(s->ws->loop), request_id);
	answer_problem(s, id, method, fault, api_problem(fault, detail, request_id, false), retry_after_s);
}

void rpc_fault(struct socket *s, const json_t *id, const char *method, const struct fault *fault, const char *detail)
{
	tell_fault(s, id, method, fault, detail, 0);
}

/* Reading. */

static void refuse_nonsense(struct socket *s, const json_t *id, enum rpc_code code, const char *message)
{
	json_auto_t *null = json_null();

	answer_error(s, id ? id : null, code, message, NULL);
	if (++s->nonsense == NONSENSE_MAX)
		socket_close(s, CLOSE_MALFORMED, "ten messages in a row were none");
}

/* It is to be repeated as it came (JSON-RPC 2.0 §5), which a number past what a double has exactly would not be. */
static bool is_id(const json_t *id)
{
	double real = json_real_value(id);
	return !id || json_is_string(id) || json_is_integer(id) || json_is_null(id) ||
	       (json_is_real(id) && real > -ID_REAL_MAX && real < ID_REAL_MAX);
}

static const char *method_name(const json_t *message)
{
	return json_text_at(message, "method");
}

static bool is_request(const json_t *message)
{
	const char *version = json_text_at(message, "jsonrpc");
	const json_t *params = json_object_get(message, "params");

	return version && strcmp(version, "2.0") == 0 && method_name(message) &&
	       is_id(json_object_get(message, "id")) && (!params || json_is_object(params) || json_is_array(params));
}

static const struct method *find_method(const char *name)
{
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		if (strcmp(methods[i].name, name) == 0)
			return &methods[i];
	}
	return NULL;
}

static const struct param *find_param(const struct method *method, const char *name)
{
	for (const struct param *p = method->params; p->name; p++) {
		if (strcmp(p->name, name) == 0)
			return p;
	}
	return NULL;
}

/* Null is as good as absent. False: the app was told. */
static bool check_params(struct socket *s, const struct method *method, const json_t *id, json_t *params)
{
	char message[128];
	const char *key;
	json_t *value;

	json_object_foreach (params, key, value) {
		if (!find_param(method, key)) {
			snprintf(message, sizeof(message), "%.64s is not known here", key);
			rpc_fault(s, id, method->name, &FAULT_UNKNOWN_FIELD, message);
			return false;
		}
	}
	for (const struct param *p = method->params; p->name; p++) {
		value = json_object_get(params, p->name);
		bool absent = !value || json_is_null(value);
		if (absent ? !p->needed : types[p->type].is(value))
			continue;
		snprintf(message, sizeof(message), "Invalid params: %s must be %s", p->name, types[p->type].what);
		answer_error(s, id, RPC_INVALID_PARAMS, message, NULL);
		return false;
	}
	return true;
}

/* A stranger has no subject yet. */
static bool may_ask(struct socket *s, const struct method *method, const json_t *id)
{
	struct api *api = s->ws->api;
	struct rate_verdict verdict;

	if (api_may_ask(api, RATE_ADDRESS, s->client, &verdict) &&
		(s->state == SOCKET_STRANGER || api_may_ask(api, RATE_SUBJECT, s->caller.subject, &verdict)))
		return true;
	tell_fault(s, id, method ? method->name : "", &FAULT_RATE_LIMITED, "", verdict.retry_after_s);
	return false;
}

static void run(struct socket *s, const json_t *message)
{
	const struct method *method = find_method(method_name(message));
	json_t *id = json_object_get(message, "id");
	json_auto_t *given = json_incref(json_object_get(message, "params"));
	json_auto_t *params = given ? json_incref(given) : memory_need(json_object());

	if (!may_ask(s, method, id))
		return;
	if (!method)
		answer_error(s, id, RPC_METHOD_NOT_FOUND, "Method not found", NULL);
	else if (!json_is_object(params))
		answer_error(s, id, RPC_INVALID_PARAMS, "Invalid params: they are named, in an object", NULL);
	else if (check_params(s, method, id, params))
		method->run(s, method, id, params);
}

static bool is_authentication(const json_t *message)
{
	return is_request(message) && strcmp(method_name(message), "session.authenticate") == 0;
}

void rpc_take(struct socket *s, const char *text, size_t len)
{
	json_auto_t *message = json_read(text, len);

	if (s->state == SOCKET_STRANGER && !is_authentication(message)) {
		socket_close(s, CLOSE_UNAUTHENTICATED, "session.authenticate comes first");
	} else if (!message) {
		refuse_nonsense(s, NULL, RPC_PARSE_ERROR, "Parse error");
	} else if (!is_request(message)) {
		json_t *id = json_object_get(message, "id");
		refuse_nonsense(s, is_id(id) ? id : NULL, RPC_INVALID_REQUEST, "Invalid Request");
	} else {
		s->nonsense = 0;
		run(s, message);
	}
}

/* Operations. */

static void run_operation(struct socket *s, const struct method *method, json_t *id, json_t *params)
{
	if (s->call_count == CALLS_MAX) {
		rpc_fault(s, id, method->name, &FAULT_OVERLOADED, "too many calls of this connection are under way");
		return;
	}
	struct rpc_call *c = memory_new(sizeof(*c));
	c->socket = s;
	c->id = json_incref(id);
	list_append(&s->calls, &c->node);
	s->call_count++;
	c->call = api_call_new(s->ws->api, method->operation, &s->caller, json_incref(params), NULL, c, on_done);
	api_call_start(c->call);
}

/* It is not under way any more. */
static void rpc_call_leave(struct rpc_call *c)
{
	list_remove(&c->node);
	c->socket->call_count--;
}

static void rpc_call_free(struct rpc_call *c)
{
	json_decref(c->id);
	free(c);
}

static void on_done(struct api_call *call)
{
	struct rpc_call *c = call->transport;
	struct socket *s = c->socket;

	rpc_call_leave(c); /* before the answer: sending may close the socket, which abandons what is under way */
	if (call->fault)
		answer_problem(s, c->id, call->operation->name, call->fault,
			api_problem(call->fault, call->detail, call->request_id, call->retriable_by_key),
			call->retry_after_s);
	else
		rpc_reply(s, c->id, call->body, call->body_len);
	rpc_call_free(c);
	api_call_free(call);
	if (s->state == SOCKET_PARTING && s->call_count == 0)
		socket_close(s, CLOSE_RESTARTING, "the node restarts");
}

void rpc_abandon(struct socket *s)
{
	list_for_each_safe (node, &s->calls) {
		struct rpc_call *c = container_of(node, struct rpc_call, node);
		rpc_call_leave(c);
		api_call_cancel(c->call);
		rpc_call_free(c);
	}
}
