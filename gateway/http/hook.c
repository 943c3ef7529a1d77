/* hook.c - /v1/hooks/sms/{provider}/{secret}: what SMS providers call back. The secret is the caller's only name, so it stands
 * in no log, and a wrong one is told from a path that is not there by nobody. Who tries wrong ones spends what their address may
 * ask, and is counted (detection.h); who knows it may call as often as there is news. */
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "gateway/detection.h"
#include "gateway/http/http_internal.h"
#include "notifier/wake/http_sms.h"
#include "notifier/wake/provider.h"

#define HOOKS "/v1/hooks/"

static void take(struct http_request *r, const struct http_hook *hook);
static void on_done(struct api_call *call);

static bool is_hook_path(h2o_iovec_t path)
{
	return path.len >= strlen(HOOKS) && memcmp(path.base, HOOKS, strlen(HOOKS)) == 0;
}

h2o_iovec_t http_path_to_log(const h2o_req_t *req)
{
	h2o_iovec_t path = http_path(req);
	return is_hook_path(path) ? h2o_iovec_init(H2O_STRLIT(HOOKS "...")) : path;
}

/* Takes as long whatever is wrong with the secret. */
static bool is_ours(h2o_iovec_t path, const struct http_hook *hook)
{
	static const char prefix[] = HOOKS "sms/";
	size_t head = strlen(prefix) + strlen(hook->provider) + 1, secret_len = strlen(hook->secret);

	return path.len == head + secret_len && memcmp(path.base, prefix, strlen(prefix)) == 0 &&
	       memcmp(path.base + strlen(prefix), hook->provider, strlen(hook->provider)) == 0 &&
	       path.base[head - 1] == '/' && CRYPTO_memcmp(path.base + head, hook->secret, secret_len) == 0;
}

/* False: it was answered. The token is taken before the secret is looked at, else an empty bucket would not stop a guess. */
static bool is_let_in(struct http_request *r, const struct http_hook *hook)
{
	if (!http_client_may_ask(r))
		return false;
	if (hook && is_ours(http_path(r->req), hook)) {
		http_client_give_back(r);
		return true;
	}
	detection_stranger(r->http->options.api, r->client);
	http_problem(r, &FAULT_NOT_FOUND, "", NULL);
	return false;
}

bool hook_handle(struct http_request *r)
{
	const struct http_hook *hook = r->http->options.hook;
	h2o_iovec_t method = r->req->method;

	if (!is_hook_path(http_path(r->req)))
		return false;
	if (!is_let_in(r, hook))
		return true;
	if (!h2o_memis(method.base, method.len, H2O_STRLIT("POST")) &&
		!h2o_memis(method.base, method.len, H2O_STRLIT("GET"))) {
		http_header(r, "allow", "POST, GET"); /* GET: Kannel knows no other */
		http_problem(r, &FAULT_METHOD_NOT_ALLOWED, "", NULL);
	} else if (r->req->entity.len > BODY_MAX) {
		http_problem(r, &FAULT_TOO_LARGE, "", NULL);
	} else {
		take(r, hook);
	}
	return true;
}

static char *text_of(h2o_iovec_t text)
{
	return memory_need(strndup(text.base ? text.base : "", text.base ? text.len : 0));
}

static char *query_of(const h2o_req_t *req)
{
	size_t at = req->query_at == SIZE_MAX ? req->path.len : req->query_at + 1;
	return memory_need(strndup(req->path.base + at, req->path.len - at));
}

static void start(struct http_request *r, const struct http_hook *hook, const struct sms_receipt *receipt)
{
	json_t *params = json_pack("{s:s, s:s, s:b, s:s*}", "provider", hook->provider, "message_id",
		receipt->message_id, "delivered", receipt->delivered, "reason", receipt->reason);

	if (!params) { /* no UTF-8 */
		http_problem(r, &FAULT_MALFORMED_REQUEST, "the callback names a message that cannot be", NULL);
		return;
	}
	r->call = api_call_new(r->http->options.api, &API_SMS_RECEIPT, &r->caller, params, r->request_id, r, on_done);
	api_call_start(r->call);
}

static void take(struct http_request *r, const struct http_hook *hook)
{
	char *query = query_of(r->req), *type = text_of(http_field(r->req, "content-type"));
	struct sms_callback_text text;
	struct sms_receipt receipt;
	enum sms_callback what =
		sms_callback_read(&hook->form, query, type, r->req->entity.base, r->req->entity.len, &text, &receipt);

	free(query);
	free(type);
	if (what == CALLBACK_MALFORMED)
		http_problem(r, &FAULT_MALFORMED_REQUEST, "the callback names no message, or no status", NULL);
	else if (what == CALLBACK_NO_NEWS)
		http_reply(r, 204, "", "", 0);
	else
		start(r, hook, &receipt);
}

static void on_done(struct api_call *call)
{
	struct http_request *r = call->transport;

	if (call->fault)
		http_problem(r, call->fault, call->detail, call);
	else
		http_reply(r, 204, "", "", 0);
	r->call = NULL;
	api_call_free(call);
}
