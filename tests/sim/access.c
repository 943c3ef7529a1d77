/* access.c - one change of a grant at a time, asked until it is known to be done.
 *
 *   given ─ asked to take ─ taken ─ asked to give ─ given
 *            └ or to end ─ runs out ┘ */
#include "tests/sim/access.h"

#include <inttypes.h>
#include <jansson.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/rfc3339.h"
#include "gateway/api_internal.h"
#include "tests/sim/chance.h"
#include "tests/sim/node.h"
#include "tests/sim/postgres.h"
#include "tests/sim/record.h"
#include "tests/sim/world.h"

#define RIGHTS_MAX 512
#define LOOK_MS 500
#define PROMPT_US INT64_C(2000000) /* S8 */

enum standing { GIVEN, TAKING, ENDING, RUNNING_OUT, TAKEN, GIVING };

struct right {
	char subject[16], vehicle_id[16];
	enum standing standing;
	int64_t given_us;	      /* since then, if it is */
	int64_t taken_us, regiven_us; /* the last time that it was not given, or INT64_MAX */
	struct turn *turn;	      /* NULL: nobody is asked */
	struct loop_timer timer;      /* the world's: the next change, or a look at who was asked */
	struct loop_timer look;	      /* the world's: at what is left */
};

/* One call to one node. */
struct turn {
	struct right *right; /* NULL: that node is gone */
	struct node *node;
	unsigned life;
	int64_t until_us;	   /* ENDING */
	struct loop_timer begin;   /* the node's */
	struct loop_timer arrival; /* the world's: the answer */
	const struct fault *fault;
};

static struct right rights[RIGHTS_MAX];
static size_t count;
static bool is_on, is_calm;
static const struct caller owner = { .subject = "owner", .scopes = SCOPES_ALL, .expires_at_us = INT64_MAX };

static void on_timer(struct loop_timer *timer);
static void on_look(struct loop_timer *timer);
static void judge_left(const struct right *r);
static void on_begin(struct loop_timer *timer);
static void on_done(struct api_call *call);
static void on_arrival(struct loop_timer *timer);

void access_begin(void)
{
	is_on = true;
}

void access_add(const char *subject, const char *vehicle_id)
{
	struct right *r = &rights[count];

	if (!is_on || count == RIGHTS_MAX)
		return;
	count++;
	snprintf(r->subject, sizeof(r->subject), "%s", subject);
	snprintf(r->vehicle_id, sizeof(r->vehicle_id), "%s", vehicle_id);
	r->taken_us = r->regiven_us = INT64_MAX;
	loop_timer_init(world_loop(), &r->timer, on_timer);
	loop_timer_init(world_loop(), &r->look, on_look);
	loop_timer_start(&r->timer, world_slow(chance_between(5000, 60000)));
}

static struct right *right_of(const char *subject, const char *vehicle_id)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(rights[i].subject, subject) == 0 && strcmp(rights[i].vehicle_id, vehicle_id) == 0)
			return &rights[i];
	return NULL;
}

/* Changing. */

static struct node *some_node(void)
{
	struct node *n = node_at((size_t)chance_below((int64_t)nodes_count()));
	return node_is_up(n) ? n : NULL;
}

static void ask(struct right *r)
{
	struct node *n = some_node();

	loop_timer_start(&r->timer, LOOK_MS);
	if (!n)
		return;
	struct turn *t = r->turn = memory_new(sizeof(*t));
	t->right = r;
	t->node = n;
	t->life = node_life(n);
	t->until_us = world_us() + chance_between(20, 40) * 1000000;
	loop_timer_init(node_loop(n), &t->begin, on_begin);
	loop_timer_init(world_loop(), &t->arrival, on_arrival);
	loop_timer_start(&t->begin, chance_delay_ms(20, 500));
}

static json_t *params_of(const struct right *r, const struct turn *t)
{
	char until[RFC3339_SIZE];
	json_t *params = json_pack("{s:s, s:s}", "vehicle_id", r->vehicle_id, "subject", r->subject);

	if (r->standing != TAKING)
		json_object_set_new(params, "role", json_string("driver"));
	if (r->standing == ENDING) {
		rfc3339_write(t->until_us, until);
		json_object_set_new(params, "expires_at", json_string(until));
	}
	return params;
}

static void on_begin(struct loop_timer *timer)
{
	struct turn *t = container_of(timer, struct turn, begin);
	struct right *r = t->right;

	if (!r || !node_is_up(t->node))
		return;
	api_call_start(api_call_new(node_api(t->node), r->standing == TAKING ? &API_GRANT_DELETE : &API_GRANT_PUT,
		&owner, memory_need(params_of(r, t)), NULL, t, on_done));
}

static void on_done(struct api_call *call)
{
	struct turn *t = call->transport;

	t->fault = call->fault;
	api_call_free(call);
	loop_timer_start(&t->arrival, chance_delay_ms(20, 500));
}

static void take(struct right *r, int64_t at_us)
{
	world_note("%s has no grant for %s", r->subject, r->vehicle_id);
	r->standing = TAKEN;
	r->taken_us = at_us;
	r->regiven_us = INT64_MAX;
	loop_timer_start(&r->look, PROMPT_US / 1000);
	loop_timer_start(&r->timer, is_calm ? 0 : world_slow(chance_between(4000, 30000)));
}

static void run_out(struct right *r, int64_t until_us)
{
	r->standing = RUNNING_OUT;
	loop_timer_start(&r->timer, until_us > world_us() ? (until_us - world_us()) / 1000 + 1 : 1);
}

static void give(struct right *r)
{
	world_note("%s has a grant for %s", r->subject, r->vehicle_id);
	r->standing = GIVEN;
	r->given_us = world_us();
	loop_timer_stop(&r->timer);
	if (!is_calm)
		loop_timer_start(&r->timer, world_slow(chance_between(20000, 120000)));
}

/* A grant that was taken by somebody who died before he said so is not there. */
static bool is_done(const struct right *r, const struct turn *t)
{
	return !t->fault || (r->standing == TAKING && t->fault->http == 404);
}

static void on_arrival(struct loop_timer *timer)
{
	struct turn *t = container_of(timer, struct turn, arrival);
	struct right *r = t->right;

	if (r && is_done(r, t)) {
		r->turn = NULL;
		if (r->standing == TAKING)
			take(r, world_us());
		else if (r->standing == GIVING)
			give(r);
		else
			run_out(r, t->until_us);
	} else if (r) {
		bool is_over =
			r->standing == ENDING && t->until_us <= world_us(); /* the node stood still for so long */
		if (!is_over && t->fault->http < 500 && t->fault->http != 429)
			world_fail("answer", "a grant of %s for %s is refused: %s", r->subject, r->vehicle_id,
				t->fault->name);
		r->turn = NULL;
		loop_timer_start(&r->timer, LOOK_MS);
		r->standing = r->standing == ENDING ? TAKING : r->standing; /* which of the ends it has, nobody knows */
	}
	free(t);
}

static bool is_gone(const struct turn *t)
{
	return node_life(t->node) != t->life || (!node_is_up(t->node) && !node_is_draining(t->node));
}

static void on_timer(struct loop_timer *timer)
{
	struct right *r = container_of(timer, struct right, timer);

	if (r->turn && !is_gone(r->turn)) {
		loop_timer_start(timer, LOOK_MS);
		return;
	}
	if (r->turn) { /* it was done or not */
		r->turn->right = NULL;
		r->turn = NULL;
		r->standing = r->standing == ENDING ? TAKING : r->standing;
	} else if (r->standing == RUNNING_OUT) {
		take(r, world_us());
		return;
	} else if (r->standing == GIVEN) {
		r->standing = chance_of(300) ? ENDING : TAKING;
	} else if (r->standing == TAKEN) {
		judge_left(r);
		r->standing = GIVING;
		r->regiven_us = world_us();
	}
	ask(r);
}

void access_calm(void)
{
	is_calm = true;
	for (size_t i = 0; i < count; i++)
		if (rights[i].standing == GIVEN)
			loop_timer_stop(&rights[i].timer);
		else if (rights[i].standing == TAKEN)
			loop_timer_start(&rights[i].timer, 0);
}

/* Judging. */

bool access_was_given(const char *subject, const char *vehicle_id, int64_t since_us)
{
	const struct right *r = right_of(subject, vehicle_id);
	return !r || (r->standing == GIVEN && r->given_us < since_us);
}

/* S7. */
void access_saw_promise(const char *subject, const char *vehicle_id, const char *command_id)
{
	const struct right *r = right_of(subject, vehicle_id);

	if (!r || r->taken_us == INT64_MAX)
		return;
	PGresult *rows = postgres_ask(
		"select (extract(epoch from created_at) * 1000000)::bigint from commands where id = $1::uuid", 1,
		(const char *const[]){ command_id });
	int64_t at_us = PQntuples(rows) ? strtoll(PQgetvalue(rows, 0, 0), NULL, 10) : 0;
	if (at_us > r->taken_us && at_us < r->regiven_us)
		world_fail("S7", "%s was promised to %s, who had no grant for %s since %" PRId64 " ms", command_id,
			subject, vehicle_id, (at_us - r->taken_us) / 1000);
	PQclear(rows);
}

static int64_t late_us(const struct right *r)
{
	return world_us() - r->taken_us -
	       1000 * record_excused_ms((r->taken_us - WORLD_BEGIN_US) / 1000, (world_us() - WORLD_BEGIN_US) / 1000);
}

/* S8. */
void access_saw_event(const char *subject, const char *vehicle_id)
{
	const struct right *r = right_of(subject, vehicle_id);

	if (r && world_us() > r->taken_us && world_us() < r->regiven_us && late_us(r) > PROMPT_US)
		world_fail("S8", "%s sees an event of %s, and has no grant since %" PRId64 " ms", subject, vehicle_id,
			late_us(r) / 1000);
}

/* S8: what it had not sent is taken back. */
static void judge_left(const struct right *r)
{
	char since[RFC3339_SIZE];

	if (r->standing != TAKEN || late_us(r) < PROMPT_US)
		return;
	rfc3339_write(r->taken_us, since);
	PGresult *rows = postgres_ask(
		"select id from commands where vehicle_id = $1 and issued_by = $2 and status in ('accepted', "
		"'waiting') and flight = 'none' and updated_at < $3::timestamptz",
		3, (const char *const[]){ r->vehicle_id, r->subject, since });
	if (PQntuples(rows) > 0)
		world_fail("S8", "%s still waits for %s, and %s has no grant", PQgetvalue(rows, 0, 0), r->vehicle_id,
			r->subject);
	PQclear(rows);
}

static void on_look(struct loop_timer *timer)
{
	judge_left(container_of(timer, struct right, look));
}

void access_judge(void)
{
	for (size_t i = 0; i < count; i++)
		if (rights[i].standing != GIVEN)
			world_fail(
				"L4", "%s has not got back its grant for %s", rights[i].subject, rights[i].vehicle_id);
}
