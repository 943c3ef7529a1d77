/* witness.c - finds who takes writes, and asks for a session by its process and its beginning.
 *
 *  ask ─ connect ─ question ─┬─ it is there, and at work: on_alive
 *           │          │     └─ it is not: on_gone
 *           │ no       │ no, or 5 s
 *           └──────────┴─ on_nobody                      */
#include "sql/witness.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/loop.h"
#include "base/memory.h"
#include "sql/connector.h"

#define PATIENCE_MS 5000

/* A session that has waited for us for so long has said all that it had to say, and it did not come here: libpq can lose an answer for
 * want of memory. Longer than what we sent can be on its way (tcp_user_timeout, sql/connector.c). */
#define QUESTION                                                                                                       \
	"select exists (select from pg_stat_get_activity($1::int) where backend_start = $2::timestamptz"               \
	" and not (state like 'idle%' and state_change < clock_timestamp() - interval '6 s'))"

struct witness {
	struct loop *loop;
	struct witness_listener listener;
	const char *url; /* borrowed */
	char pid[16], begun[64];
	struct connector *connector;	       /* NULL, or at work while `is_asking` and there is no `conn` */
	bool is_asking, is_answered, is_alive; /* the last two as far as the answer has come */
	PGconn *conn;
	uv_poll_t *poll;
	struct loop_timer patience;
};

static void on_connected(void *owner, PGconn *conn);
static void on_failed(void *owner);
static void on_socket(uv_poll_t *poll, int status, int events);
static void read_answer(struct witness *w);
static void conclude(struct witness *w);
static void on_impatient(struct loop_timer *timer);
static void finish(struct witness *w, void (*tell)(void *owner));
static void rest(struct witness *w);

struct witness *witness_new(struct loop *loop, const char *url, const struct witness_listener *listener)
{
	struct witness *w = memory_new(sizeof *w);
	w->loop = loop;
	w->url = url;
	w->listener = *listener;
	loop_timer_init(loop, &w->patience, on_impatient);
	return w;
}

void witness_ask(struct witness *w, int pid, const char *begun)
{
	assert(!w->is_asking);
	w->is_asking = true;
	w->is_answered = w->is_alive = false;
	snprintf(w->pid, sizeof w->pid, "%d", pid);
	snprintf(w->begun, sizeof w->begun, "%s", begun);
	if (!w->connector)
		w->connector = connector_new(w->loop, w->url,
			&(struct connector_listener){
				.owner = w, .on_connected = on_connected, .on_failed = on_failed });
	connector_start(w->connector);
}

static void on_failed(void *owner)
{
	struct witness *w = owner;
	finish(w, w->listener.on_nobody);
}

static void on_connected(void *owner, PGconn *conn)
{
	struct witness *w = owner;
	w->conn = conn;
	w->poll = memory_new(sizeof *w->poll);
	w->poll->data = w;
	if (uv_poll_init(loop_uv(w->loop), w->poll, PQsocket(conn))) {
		free(w->poll);
		w->poll = NULL;
	} else if (PQsendQueryParams(
			   conn, QUESTION, 2, NULL, (const char *const[]){ w->pid, w->begun }, NULL, NULL, 0)) {
		uv_poll_start(w->poll, UV_READABLE, on_socket);
		loop_timer_start(&w->patience, PATIENCE_MS);
		return;
	}
	finish(w, w->listener.on_nobody);
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
	struct witness *w = poll->data;
	(void)status, (void)events; /* libpq finds out for itself */
	if (!PQconsumeInput(w->conn))
		finish(w, w->listener.on_nobody);
	else
		read_answer(w);
}

/* As far as it has come: behind it the server says that it is ready for the next question, perhaps later, and PQgetResult() would wait. */
static void read_answer(struct witness *w)
{
	while (!PQisBusy(w->conn)) {
		PGresult *result = PQgetResult(w->conn);
		if (!result) {
			conclude(w);
			return;
		}
		w->is_answered = PQresultStatus(result) == PGRES_TUPLES_OK;
		w->is_alive = w->is_answered && PQgetvalue(result, 0, 0)[0] == 't';
		PQclear(result);
	}
}

static void conclude(struct witness *w)
{
	if (!w->is_answered || w->is_alive) {
		finish(w, w->is_alive ? w->listener.on_alive : w->listener.on_nobody);
		return;
	}
	PGconn *conn = w->conn;
	w->conn = NULL;
	rest(w);
	w->listener.on_gone(w->listener.owner, conn);
}

static void on_impatient(struct loop_timer *timer)
{
	struct witness *w = container_of(timer, struct witness, patience);
	finish(w, w->listener.on_nobody);
}

static void finish(struct witness *w, void (*tell)(void *owner))
{
	rest(w);
	tell(w->listener.owner);
}

static void on_poll_closed(uv_handle_t *handle)
{
	free(handle);
}

static void rest(struct witness *w)
{
	loop_timer_stop(&w->patience);
	if (w->poll)
		uv_close((uv_handle_t *)w->poll, on_poll_closed);
	PQfinish(w->conn);
	w->poll = NULL;
	w->conn = NULL;
	w->is_asking = false;
}

void witness_forget(struct witness *w)
{
	rest(w);
	connector_free(w->connector);
	w->connector = NULL;
}

void witness_free(struct witness *w)
{
	if (w)
		witness_forget(w);
	free(w);
}
