/* http.c - base/http_client.h with a scripted way: calls reach tests/sim/platform.c late or never, and so do its answers.
 *
 *   called ─ (travels) ─ heard by the platform ─ (thinks, travels) ─ answered
 *       └───────── its time is over: the connection is closed ─────────┘
 *
 * What was written reaches the platform although its node has crashed or stands still meanwhile; not when the node has closed the
 * connection. */
#include <stdlib.h>

#include "base/http_client.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/memory.h"
#include "tests/sim/chance.h"
#include "tests/sim/platform.h"
#include "tests/sim/world.h"

struct http_client {
	struct loop *loop;
	struct list trips; /* of struct trip */
	struct loop_soon closing;
	void (*on_closed)(void *owner);
	void *owner;
};

/* A call on its way there and back. */
struct trip {
	struct list node;
	struct http_client *client;
	struct http_call *call;		  /* NULL: it is over */
	struct loop_timer there;	  /* the world's */
	struct loop_timer back, patience; /* the node's */
	struct platform_reply reply;
	enum http_end end;
};

static void on_there(struct loop_timer *timer);
static void on_back(struct loop_timer *timer);
static void on_patience(struct loop_timer *timer);
static void on_closing(struct loop_soon *soon);

struct http_client *http_client_new(struct loop *loop)
{
	struct http_client *c = memory_new(sizeof(*c));

	c->loop = loop;
	list_init(&c->trips);
	loop_soon_init(&c->closing, on_closing);
	return c;
}

void http_client_call(struct http_client *client, struct http_call *call)
{
	struct trip *t = memory_new(sizeof(*t));

	t->client = client;
	t->call = call;
	t->end = HTTP_LOST;
	list_append(&client->trips, &t->node);
	loop_timer_init(world_loop(), &t->there, on_there);
	loop_timer_init(client->loop, &t->back, on_back);
	loop_timer_init(client->loop, &t->patience, on_patience);
	platforms_see_call(call, &t->reply);
	loop_timer_start(&t->there, chance_delay_ms(5, 500));
	loop_timer_start(&t->patience, call->timeout_ms);
}

static void end_call(struct trip *t, const char *why)
{
	struct http_call *call = t->call;
	struct http_answer answer = { .end = t->end, .body = "", .why = why };

	t->call = NULL;
	list_remove(&t->node);
	loop_timer_stop(&t->there);
	loop_timer_stop(&t->back);
	loop_timer_stop(&t->patience);
	if (t->end == HTTP_ANSWERED) {
		answer.status = t->reply.status;
		answer.retry_after_s = t->reply.retry_after_s;
	}
	platforms_see_end(&t->reply, t->end == HTTP_ANSWERED);
	call->on_done(call, &answer);
	free(t);
}

static void on_there(struct loop_timer *timer)
{
	struct trip *t = container_of(timer, struct trip, there);

	if (!platforms_hear(t->call, &t->reply))
		t->end = HTTP_NOT_SENT;
	else if (t->reply.status > 0 && !t->reply.is_lost)
		t->end = HTTP_ANSWERED;
	loop_timer_start(&t->back, t->reply.after_ms + chance_delay_ms(5, 500));
}

static void on_back(struct loop_timer *timer)
{
	struct trip *t = container_of(timer, struct trip, back);

	end_call(t, t->end == HTTP_ANSWERED ? NULL : "Couldn't connect to server");
}

static void on_patience(struct loop_timer *timer)
{
	struct trip *t = container_of(timer, struct trip, patience);

	t->end = HTTP_LOST;
	end_call(t, "Timeout was reached");
}

void http_client_close(struct http_client *client, void (*on_closed)(void *owner), void *owner)
{
	client->on_closed = on_closed;
	client->owner = owner;
	loop_soon_call(client->loop, &client->closing);
}

static void on_closing(struct loop_soon *soon)
{
	struct http_client *c = container_of(soon, struct http_client, closing);
	void (*on_closed)(void *) = c->on_closed;
	void *owner = c->owner;

	list_for_each_safe (node, &c->trips) {
		struct trip *t = container_of(node, struct trip, node);
		t->end = HTTP_LOST;
		end_call(t, "Operation was aborted by an application callback");
	}
	free(c);
	on_closed(owner);
}
