/* session.c - who is at the other end, and until when: session.authenticate at the beginning and again (contract §5). */
#include <string.h>

#include "base/rfc3339.h"
#include "gateway/ws/ws_internal.h"

#define STRANGER_MS 5000
#define METHOD_NAME "session.authenticate"

static void show_token(struct socket *s);
static void on_keys(struct keys_wait *wait);
static void admit(struct socket *s, const struct caller *caller);
static void renew(struct socket *s, const struct caller *caller);
static void reply(struct socket *s, const json_t *id);

static void start_expiry(struct socket *s)
{
	socket_set_deadline(s, api_caller_left_ms(s->ws->api, &s->caller));
}

void session_begin(struct socket *s)
{
	if (s->state == SOCKET_KNOWN)
		start_expiry(s);
	else
		socket_set_deadline(s, STRANGER_MS);
}

void session_authenticate(struct socket *s, const struct method *method, json_t *id, json_t *params)
{
	(void)method;
	if (s->login.token)
		rpc_fault(
			s, s->login.id, METHOD_NAME, &FAULT_MALFORMED_REQUEST, "a later request has replaced this one");
	session_abandon(s);
	s->login = (struct login){ .keys = { .on_over = on_keys },
		.id = json_incref(id),
		.token = json_incref(json_object_get(params, "token")) };
	show_token(s);
}

void session_abandon(struct socket *s)
{
	keys_wait_cancel(&s->login.keys);
	json_decref(s->login.id);
	json_decref(s->login.token);
	s->login = (struct login){ 0 };
}

static void on_keys(struct keys_wait *wait)
{
	show_token(container_of(wait, struct socket, login.keys));
}

/* A renewal with a bad token changes nothing: the one before holds until its own end. */
static void show_token(struct socket *s)
{
	const json_t *token = s->login.token;
	struct caller caller;
	char why[256] = "";

	const struct fault *fault = api_authenticate(s->ws->api, json_string_value(token), json_string_length(token),
		s->client, &s->login.keys, &caller, why, sizeof(why));
	if (fault == &FAULT_KEYS_AWAITED) {
		if (s->state == SOCKET_STRANGER)
			socket_set_deadline(s, STRANGER_MS); /* it came in time */
		return;
	}
	json_auto_t *id = json_incref(s->login.id); /* before the answer: sending may close the socket */
	session_abandon(s);
	if (fault) {
		rpc_fault(s, id, METHOD_NAME, fault, why);
		if (s->state == SOCKET_STRANGER)
			socket_close(s, CLOSE_UNAUTHENTICATED, "the token is not valid");
		return;
	}
	if (s->state == SOCKET_STRANGER)
		admit(s, &caller);
	else
		renew(s, &caller);
	reply(s, id);
}

static void admit(struct socket *s, const struct caller *caller)
{
	s->state = SOCKET_KNOWN;
	s->caller = *caller;
	start_expiry(s);
}

/* What is watched was allowed by scopes that the new token may lack. */
static void renew(struct socket *s, const struct caller *caller)
{
	unsigned lost = s->caller.scopes & ~caller->scopes & (SCOPE_VEHICLES_READ | SCOPE_ADMIN);

	if (strcmp(s->caller.subject, caller->subject) != 0) {
		socket_close(s, CLOSE_FORBIDDEN, "the token is another subject's");
	} else if (lost && s->subscription_count > 0) {
		socket_close(s, CLOSE_FORBIDDEN, "the token lacks the scope of what is watched");
	} else {
		s->caller = *caller;
		if (s->state == SOCKET_KNOWN)
			start_expiry(s);
	}
}

static void reply(struct socket *s, const json_t *id)
{
	struct text result = { 0 };
	char expires_at[RFC3339_SIZE];

	rfc3339_write(s->caller.expires_at_us, expires_at);
	text_add(&result, "{\"subject\":");
	text_add_json_string(&result, s->caller.subject);
	text_addf(&result, ",\"expires_at\":\"%s\"}", expires_at);
	rpc_reply(s, id, result.data, result.len);
	text_free(&result);
}
