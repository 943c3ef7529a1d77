/* ports.c - whether a node runs already, and who has its ports. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/http_client.h"
#include "base/json.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/memory.h"
#include "gateway/config.h"
#include "gateway/doctor/doctor_internal.h"
#include "gateway/network.h"

#define NODE_MS 3000
/* A node that has just been started lacks for a moment what it is about to connect to. */
#define SETTLE_MS 5000
#define AGAIN_MS 200

struct question {
	struct loop *loop;
	struct http_client *client;
	struct http_call call;
	struct loop_timer again;
	int64_t until; /* when what it lacks counts */
	struct patient *patient;
	char url[128];
};

/* Listening everywhere is asked at home. */
static void write_url(const struct address *a, char *url, size_t size)
{
	bool v6 = strchr(a->host, ':') != NULL;
	const char *host = strcmp(a->host, "0.0.0.0") == 0 ? "127.0.0.1" : strcmp(a->host, "::") == 0 ? "::1" : a->host;

	snprintf(url, size, "http://%s%s%s:%u/readyz", v6 ? "[" : "", host, v6 ? "]" : "", a->port);
}

/* {"status":"not_ready","database":"ok","broker":"unavailable",…}: adds what it lacks. */
static void add_lacks(const json_t *said, struct text *lacks)
{
	const char *what;
	json_t *how;

	json_object_foreach ((json_t *)(uintptr_t)said, what, how) {
		if (strcmp(what, "status") != 0 && json_is_string(how) && strcmp(json_string_value(how), "ok") != 0)
			text_addf(lacks, "%s%s %s", lacks->len ? ", " : "", what, json_string_value(how));
	}
}

static void report_node(struct patient *p, const struct text *lacks)
{
	p->has_node = true;
	if (lacks->len == 0)
		find(p->report, "node", VERDICT_OK, "", "it runs, and is ready");
	else
		find(p->report, "node", VERDICT_FAILED, "what is below, and its log, say why", "it runs, but: %s",
			lacks->data);
}

static void on_closed(void *owner)
{
	loop_stop(((struct question *)owner)->loop);
}

static void on_answer(struct http_call *call, const struct http_answer *answer)
{
	struct question *q = container_of(call, struct question, call);
	json_auto_t *said = answer->end == HTTP_ANSWERED ? json_read(answer->body, answer->len) : NULL;
	bool is_node = json_text_at(said, "node") && json_text_at(said, "database");
	struct text lacks = { 0 };

	if (is_node)
		add_lacks(said, &lacks);
	if (lacks.len > 0 && loop_monotonic_ms(q->loop) < q->until) {
		loop_timer_start(&q->again, AGAIN_MS);
	} else {
		if (is_node)
			report_node(q->patient, &lacks);
		else
			find(q->patient->report, "node", VERDICT_OK, "", "none with this configuration runs here");
		http_client_close(q->client, on_closed, q);
	}
	text_free(&lacks);
}

static void on_again(struct loop_timer *timer)
{
	struct question *q = container_of(timer, struct question, again);

	http_client_call(q->client, &q->call);
}

void check_node(struct patient *p)
{
	const struct addresses *admin = &p->config->admin.listen;
	struct question q = { .patient = p };

	if (admin->count == 0)
		return;
	write_url(&admin->items[0], q.url, sizeof(q.url));
	q.loop = loop_new();
	q.client = http_client_new(q.loop);
	q.call = (struct http_call){
		.method = "GET", .url = q.url, .timeout_ms = NODE_MS, .answer_max = 4096, .on_done = on_answer
	};
	loop_timer_init(q.loop, &q.again, on_again);
	q.until = loop_monotonic_ms(q.loop) + SETTLE_MS;
	http_client_call(q.client, &q.call);
	loop_run(q.loop);
	loop_free(q.loop);
}

static void check_address(struct patient *p, const struct address *a, const char *setting)
{
	int error = address_try(a);

	if (error == 0 && p->has_node)
		find(p->report, "ports", VERDICT_FAILED,
			"the node that runs was started with another configuration: restart it", "nobody listens on %s",
			a->text);
	else if (error == 0)
		find(p->report, "ports", VERDICT_OK, "", "%s is free", a->text);
	else if (error == EADDRINUSE && p->has_node)
		find(p->report, "ports", VERDICT_OK, "", "%s is the node's", a->text);
	else if (error == EADDRINUSE)
		find(p->report, "ports", VERDICT_FAILED,
			"`ss -ltnp` says who; systemd itself where keyfob.socket is enabled",
			"somebody else listens on %s (%s)", a->text, setting);
	else if (error == EACCES)
		find(p->report, "ports", VERDICT_FAILED, "let systemd open it (keyfob.socket), or a load balancer",
			"a port below 1024 is not ours to open: %s (%s)", a->text, setting);
	else
		find(p->report, "ports", VERDICT_FAILED, "`ip address` says which addresses this machine has",
			"%s (%s): %s", a->text, setting, strerror(error));
}

void check_ports(struct patient *p)
{
	const struct config *c = p->config;
	const struct {
		const struct addresses *addresses;
		const char *setting;
	} listeners[] = {
		{ &c->http.listen, "http.listen" },
		{ &c->websocket.listen, "websocket.listen" },
		{ &c->admin.listen, "admin.listen" },
	};

	for (size_t i = 0; i < sizeof(listeners) / sizeof(*listeners); i++) {
		for (size_t k = 0; k < listeners[i].addresses->count; k++)
			check_address(p, &listeners[i].addresses->items[k], listeners[i].setting);
	}
}
