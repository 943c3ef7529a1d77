/* http_client.c - libcurl's multi interface on the loop: its sockets are polls, its clock is one timer. */
#include "base/http_client.h"

#include <assert.h>
#include <ctype.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/curl_setup.h"
#include "base/json.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/public_address.h"

#define AUTHORITIES_S 60L    /* after which the system's authorities are read again, if need be */
#define AGAIN_MS 100	     /* after which libcurl is asked again that could not look at its sockets */
#define HEAD_MAX (64 * 1024) /* libcurl would keep all of it, and as many 1xx before it as come */

struct http_client {
	struct loop *loop;
	CURLM *multi;
	struct loop_timer timer;
	struct loop_soon end; /* closing: ends what is under way */
	struct list transfers;
	size_t sockets; /* polls that are not closed */
	bool closing, ended;
	void (*on_closed)(void *owner);
	void *owner;
};

/* One call under way. */
struct transfer {
	struct http_client *client;
	struct http_call *call;
	struct list node;
	struct curl_setup setup; /* what was refused: why libcurl was not given it */
	struct curl_slist *headers;
	struct text body;
	size_t head_len; /* with what comes of 1xx and of trailers */
	bool in_head, has_head, cut;
	bool garbled;	      /* what began a head is no status line */
	bool refused, opened; /* an address by public_only; a socket to another */
	struct loop_soon give_up;
};

/* One of libcurl's sockets. */
struct watched {
	struct http_client *client;
	curl_socket_t fd;
	uv_poll_t poll;
};

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *known);
static int on_timeout(CURLM *multi, long delay_ms, void *context);
static void on_timer(struct loop_timer *timer);
static void on_give_up(struct loop_soon *soon);
static void on_end(struct loop_soon *soon);
static size_t on_head(char *line, size_t size, size_t count, void *context);
static size_t on_body(char *data, size_t size, size_t count, void *context);
static void finish_ended(struct http_client *client);
static void finish(struct transfer *t, CURLcode code);
static void close_when_quiet(struct http_client *client);

/* Making. */

static void *resize(void *old, size_t size)
{
	return memory_resize(old, size, 1);
}

static char *copy(const char *text)
{
	return memory_need(strdup(text));
}

static void *zeroed(size_t count, size_t size)
{
	return memory_need(calloc(count, size));
}

/* Its own ways out of a want of memory are not all well trodden: 7.88 goes on with a socket whose table of transfers is gone, and divides by
 * zero. */
static void init_curl(void)
{
	curl_global_init_mem(CURL_GLOBAL_DEFAULT, memory_raw, free, resize, copy, zeroed);
}

struct http_client *http_client_new(struct loop *loop)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct http_client *client = memory_new(sizeof(*client));

	pthread_once(&once, init_curl);
	client->loop = loop;
	client->multi = memory_need(curl_multi_init());
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
	loop_timer_init(loop, &client->timer, on_timer);
	loop_soon_init(&client->end, on_end);
	list_init(&client->transfers);
	return client;
}

/* A call. */

#define SET(t, option, value) CURL_SET(&(t)->setup, option, value)

static void add_headers(struct transfer *t)
{
	for (const char *const *header = t->call->headers; header && *header; header++)
		t->headers = memory_need(curl_slist_append(t->headers, *header));
	SET(t, CURLOPT_HTTPHEADER, t->headers);
}

static void set_body(struct transfer *t)
{
	const struct http_call *call = t->call;

	if (call->body || strcmp(call->method, "GET") != 0) {
		SET(t, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(call->body ? call->body_len : 0));
		SET(t, CURLOPT_POSTFIELDS, call->body ? call->body : "");
	}
	SET(t, CURLOPT_CUSTOMREQUEST, call->method);
}

static void sign(struct transfer *t)
{
	const struct http_signature *s = t->call->signature;
	char provider[256];

	if (!s)
		return;
	snprintf(provider, sizeof(provider), "aws:amz:%s:%s", s->region, s->service);
	SET(t, CURLOPT_AWS_SIGV4, provider);
	SET(t, CURLOPT_USERNAME, s->access_key_id);
	SET(t, CURLOPT_PASSWORD, s->secret_access_key);
}

static void set_bounds(struct transfer *t)
{
	SET(t, CURLOPT_PROTOCOLS_STR, t->call->public_only ? "https" : "http,https");
	SET(t, CURLOPT_FOLLOWLOCATION, 0L);
	SET(t, CURLOPT_TIMEOUT_MS, (long)t->call->timeout_ms);
	SET(t, CURLOPT_CONNECTTIMEOUT_MS, (long)t->call->timeout_ms);
	SET(t, CURLOPT_NOSIGNAL, 1L);
	SET(t, CURLOPT_QUICK_EXIT, 1L); /* else a name server that hangs holds up the loop at the end */
	if (!t->call->repeatable) {
		/* libcurl repeats a request by itself when a kept connection turns out to be dead */
		SET(t, CURLOPT_FRESH_CONNECT, 1L);
		SET(t, CURLOPT_FORBID_REUSE, 1L);
	}
	SET(t, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
}

/* What is judged here is the very address that is connected to, whatever the name said before or says after. */
static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct transfer *t = context;

	(void)purpose;
	if (!address_is_public(&address->addr)) {
		t->refused = true;
		return CURL_SOCKET_BAD;
	}
	t->opened = true;
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static void keep_outside(struct transfer *t)
{
	if (!t->call->public_only)
		return;
	SET(t, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	SET(t, CURLOPT_OPENSOCKETDATA, t);
	SET(t, CURLOPT_PROXY, ""); /* it would connect in our place */
}

/* As OpenSSL has it: the library itself looks at this for its own store alone, and libcurl gives it another, which it keeps for later
 * connections where no folder belongs to it. The system's folder has what is in its file, whose 16 ms of reading are the loop's. */
static void set_authorities(struct transfer *t)
{
	const char *file = getenv("SSL_CERT_FILE"), *folder = getenv("SSL_CERT_DIR");

	if (file && *file)
		SET(t, CURLOPT_CAINFO, file);
	SET(t, CURLOPT_CAPATH, folder && *folder ? folder : NULL);
	SET(t, CURLOPT_CA_CACHE_TIMEOUT, AUTHORITIES_S);
}

void http_client_call(struct http_client *client, struct http_call *call)
{
	struct transfer *t = memory_new(sizeof(*t));

	assert(call->url && call->method && call->on_done && !client->closing);
	t->client = client;
	t->call = call;
	t->setup.easy = memory_need(curl_easy_init());
	loop_soon_init(&t->give_up, on_give_up);
	SET(t, CURLOPT_PRIVATE, t);
	SET(t, CURLOPT_URL, call->url);
	SET(t, CURLOPT_USERAGENT, "keyfob/" KEYFOB_VERSION);
	SET(t, CURLOPT_HEADERFUNCTION, on_head);
	SET(t, CURLOPT_HEADERDATA, t);
	SET(t, CURLOPT_WRITEFUNCTION, on_body);
	SET(t, CURLOPT_WRITEDATA, t);
	set_bounds(t);
	keep_outside(t);
	set_authorities(t);
	add_headers(t);
	set_body(t);
	sign(t);
	list_append(&client->transfers, &t->node);
	if (t->setup.refused == CURLE_OK && curl_multi_add_handle(client->multi, t->setup.easy) != CURLM_OK)
		t->setup.refused = CURLE_FAILED_INIT;
	if (t->setup.refused != CURLE_OK)
		loop_soon_call(client->loop, &t->give_up);
}

static void on_give_up(struct loop_soon *soon)
{
	struct transfer *t = container_of(soon, struct transfer, give_up);

	finish(t, t->setup.refused);
}

static bool is_endless(const struct transfer *t)
{
	return t->head_len > HEAD_MAX;
}

/* RFC 9112 §4, but for the space before a reason that is not there. libcurl would take a version that is none for a 200. */
static bool is_status_line(const char *line, size_t len)
{
	static const char form[] = "HTTP/1.9 999"; /* a 9 is any digit */

	if (len < sizeof(form) || !memchr(" \r\n", line[sizeof(form) - 1], 3))
		return false;
	for (size_t i = 0; i + 1 < sizeof(form); i++)
		if (form[i] == '9' ? !isdigit((unsigned char)line[i]) : line[i] != form[i])
			return false;
	return true;
}

/* The empty line after a final head (RFC 9110 §15.2: 1xx is none). What comes after the body is no head. */
static size_t on_head(char *line, size_t size, size_t count, void *context)
{
	struct transfer *t = context;
	long status = 0;

	t->head_len += size * count;
	t->garbled = !t->in_head && !t->has_head && !is_status_line(line, size * count);
	if (is_endless(t) || t->garbled)
		return 0;
	t->in_head = line[0] != '\r' && line[0] != '\n';
	curl_easy_getinfo(t->setup.easy, CURLINFO_RESPONSE_CODE, &status);
	if (size * count == 2 && line[0] == '\r' && status >= 200)
		t->has_head = true;
	return size * count;
}

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
	struct transfer *t = context;
	size_t len = size * count, room = t->call->answer_max - t->body.len;

	text_add_bytes(&t->body, data, len < room ? len : room);
	t->cut = len > room;
	return t->cut ? 0 : len;
}

/* Libcurl's wishes. */

/* Where it could not, a socket is still ready, but a time that is over comes no more by itself. */
static void act(struct http_client *client, curl_socket_t fd, int what)
{
	int running;

	if (curl_multi_socket_action(client->multi, fd, what, &running) != CURLM_OK)
		loop_timer_start(&client->timer, AGAIN_MS);
	finish_ended(client);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct watched *w = container_of(poll, struct watched, poll);
	struct http_client *client = w->client;
	int what = (events & UV_READABLE ? CURL_CSELECT_IN : 0) | (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0);

	act(client, w->fd, status < 0 ? CURL_CSELECT_ERR : what);
}

static void on_unwatched(uv_handle_t *handle)
{
	struct watched *w = container_of((uv_poll_t *)handle, struct watched, poll);
	struct http_client *client = w->client;

	free(w);
	client->sockets--;
	close_when_quiet(client);
}

static struct watched *watch(struct http_client *client, curl_socket_t fd)
{
	struct watched *w = memory_new(sizeof(*w));

	w->client = client;
	w->fd = fd;
	if (uv_poll_init_socket(loop_uv(client->loop), &w->poll, fd) != 0) {
		free(w);
		return NULL; /* libcurl's own time-out ends the transfer */
	}
	client->sockets++;
	curl_multi_assign(client->multi, fd, w);
	return w;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *known)
{
	struct http_client *client = context;
	struct watched *w = known;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (!w)
			return 0;
		uv_poll_stop(&w->poll);
		uv_close((uv_handle_t *)&w->poll, on_unwatched);
		curl_multi_assign(client->multi, fd, NULL);
		return 0;
	}
	if (!w && !(w = watch(client, fd)))
		return 0;
	uv_poll_start(
		&w->poll, (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0), on_ready);
	return 0;
}

static int on_timeout(CURLM *multi, long delay_ms, void *context)
{
	struct http_client *client = context;

	(void)multi;
	if (delay_ms < 0)
		loop_timer_stop(&client->timer);
	else
		loop_timer_start(&client->timer, delay_ms);
	return 0;
}

static void on_timer(struct loop_timer *timer)
{
	act(container_of(timer, struct http_client, timer), CURL_SOCKET_TIMEOUT, 0);
}

/* The end of a call. */

static void finish_ended(struct http_client *client)
{
	const CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(client->multi, &left)) != NULL) {
		CURLcode code = message->data.result;
		char *private = NULL;
		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
		finish((struct transfer *)(void *)private, code);
	}
}

static enum http_end end_of(const struct transfer *t)
{
	long sent = 0;

	if (t->has_head)
		return HTTP_ANSWERED;
	curl_easy_getinfo(t->setup.easy, CURLINFO_REQUEST_SIZE, &sent);
	return sent == 0 ? HTTP_NOT_SENT : HTTP_LOST;
}

static const char *header_of(struct transfer *t, const char *name)
{
	struct curl_header *header;

	return curl_easy_header(t->setup.easy, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK ? header->value : NULL;
}

static void finish(struct transfer *t, CURLcode code)
{
	struct http_call *call = t->call;
	curl_off_t retry_after_s = 0;
	long status = 0;

	curl_easy_getinfo(t->setup.easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(t->setup.easy, CURLINFO_RETRY_AFTER, &retry_after_s);
	struct http_answer answer = { .end = end_of(t),
		.status = (int)status,
		.body = t->body.data ? t->body.data : "",
		.len = t->body.len,
		.cut = code != CURLE_OK,
		.why = is_endless(t)	  ? "a head of more than 64 KiB"
		       : t->garbled	  ? "it does not begin as HTTP/1.1 does"
		       : code == CURLE_OK ? NULL
					  : curl_easy_strerror(code),
		.cache_control = header_of(t, "Cache-Control"),
		.retry_after_s = retry_after_s,
		.inside = t->refused && !t->opened };
	list_remove(&t->node);
	loop_soon_cancel(&t->give_up);
	curl_multi_remove_handle(t->client->multi, t->setup.easy);
	call->on_done(call, &answer);
	curl_easy_cleanup(t->setup.easy); /* the headers that the answer showed were its own */
	curl_slist_free_all(t->headers);
	text_free(&t->body);
	free(t);
}

/* Closing. */

void http_client_close(struct http_client *client, void (*on_closed)(void *owner), void *owner)
{
	client->closing = true;
	client->on_closed = on_closed;
	client->owner = owner;
	loop_soon_call(client->loop, &client->end);
}

static void on_end(struct loop_soon *soon)
{
	struct http_client *client = container_of(soon, struct http_client, end);

	list_for_each_safe (node, &client->transfers)
		finish(container_of(node, struct transfer, node), CURLE_ABORTED_BY_CALLBACK);
	curl_multi_cleanup(client->multi);
	loop_timer_stop(&client->timer);
	client->ended = true;
	close_when_quiet(client);
}

static void close_when_quiet(struct http_client *client)
{
	if (!client->ended || client->sockets > 0)
		return;
	void (*on_closed)(void *) = client->on_closed;
	void *owner = client->owner;
	free(client);
	on_closed(owner);
}
