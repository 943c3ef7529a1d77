/* twin.c - one thing after the other that an owner wants to be kept for a vehicle:
 *
 *   wanted ─ asked, until it is known to be done ─ known ─┬─ wanted otherwise, or no more
 *                                                         └─ its time is over */
#include "tests/sim/twin.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/memory.h"
#include "gateway/api_internal.h"
#include "tests/sim/broker.h"
#include "tests/sim/chance.h"
#include "tests/sim/node.h"
#include "tests/sim/record.h"
#include "tests/sim/vehicle.h"
#include "tests/sim/world.h"

#define VEHICLES_MAX 32
#define LOOK_MS 500
#define GRACE_MS 3000  /* from the answer to the broker, and on to the vehicle */
#define BEGIN_MS 10000 /* until the nodes have come to work, as after a fault */

enum kind { DESIRED, NOTICE };

/* What is kept for each vehicle. */
static const struct {
	enum kind kind;
	const char *name, *topic;
} kept[] = {
	{ DESIRED, "limit", "vehicles/%s/state/desired" },
	{ NOTICE, "recall", "vehicles/%s/notices/recall" },
	{ NOTICE, "terms", "vehicles/%s/notices/terms" },
};
#define KEPT (sizeof(kept) / sizeof(*kept))

struct keep {
	size_t vehicle, what;
	char topic[64];
	/* what the owner wants */
	int64_t number;		    /* rises with each change */
	bool is_wanted, is_open;    /* open: nobody has said that it is done */
	int end_s;		    /* 0: it has no end */
	int64_t asked_ms, known_ms; /* first, of this change; when it was known */
	/* what others have seen */
	int64_t version, published; /* the greatest version, and number, that the broker was given */
	char shown[32];		    /* to the vehicle */
	struct turn *turn;	    /* NULL: nobody is asked */
	struct loop_timer timer;    /* the world's: the next change, or a look at who was asked */
};

/* One call to one node. */
struct turn {
	struct keep *keep; /* NULL: that node is gone */
	struct node *node;
	unsigned life;
	struct loop_timer begin;   /* the node's */
	struct loop_timer arrival; /* the world's: the answer */
	const struct fault *fault;
};

static struct keep keeps[VEHICLES_MAX * KEPT];
static size_t count;
static bool is_calm;
static const struct caller owner = { .subject = "owner", .scopes = SCOPES_ALL, .expires_at_us = INT64_MAX };

static void on_timer(struct loop_timer *timer);
static void on_begin(struct loop_timer *timer);
static void on_done(struct api_call *call);
static void on_arrival(struct loop_timer *timer);

void twin_begin(void)
{
	for (size_t v = 0; v < vehicles_count(); v++) {
		for (size_t w = 0; w < KEPT; w++) {
			struct keep *k = &keeps[count++];
			k->vehicle = v;
			k->what = w;
			snprintf(k->topic, sizeof(k->topic), kept[w].topic, vehicle_id(v));
			loop_timer_init(world_loop(), &k->timer, on_timer);
			loop_timer_start(&k->timer, world_slow(chance_between(2000, 20000)));
		}
	}
}

bool twin_is_on(void)
{
	return count > 0;
}

/* Wanting. */

static void want(struct keep *k)
{
	k->is_wanted = !k->is_wanted || chance_of(600);
	if (k->is_wanted)
		k->number++;
	k->end_s = k->is_wanted && kept[k->what].kind == NOTICE && chance_of(400)
			   ? (int)chance_between(3, world_slow(30))
			   : 0;
	k->is_open = true;
	k->asked_ms = world_ms();
}

static void ask(struct keep *k)
{
	struct node *n = node_at((size_t)chance_below((int64_t)nodes_count()));

	loop_timer_start(&k->timer, LOOK_MS);
	if (!node_is_up(n))
		return;
	struct turn *t = k->turn = memory_new(sizeof(*t));
	t->keep = k;
	t->node = n;
	t->life = node_life(n);
	loop_timer_init(node_loop(n), &t->begin, on_begin);
	loop_timer_init(world_loop(), &t->arrival, on_arrival);
	loop_timer_start(&t->begin, chance_delay_ms(20, 500));
}

static bool is_gone(const struct turn *t)
{
	return node_life(t->node) != t->life || (!node_is_up(t->node) && !node_is_draining(t->node));
}

static void on_timer(struct loop_timer *timer)
{
	struct keep *k = container_of(timer, struct keep, timer);

	if (k->turn && !is_gone(k->turn)) {
		loop_timer_start(timer, LOOK_MS);
		return;
	}
	if (k->turn) /* it was done or not */
		k->turn->keep = NULL;
	k->turn = NULL;
	if (!k->is_open && is_calm)
		return;
	if (!k->is_open)
		want(k);
	ask(k);
}

static void write_payload(const struct keep *k, char out[32])
{
	snprintf(out, 32, "%s %" PRId64, kept[k->what].name, k->number);
}

static json_t *params_of(const struct keep *k)
{
	char payload[32];
	json_t *params = json_pack("{s:s}", "vehicle_id", vehicle_id(k->vehicle));

	if (kept[k->what].kind == DESIRED) {
		json_object_set_new(params, "patch",
			json_pack("{s:o}", "limit", k->is_wanted ? json_integer((json_int_t)k->number) : json_null()));
		return params;
	}
	json_object_set_new(params, "name", json_string(kept[k->what].name));
	write_payload(k, payload);
	if (k->is_wanted)
		json_object_set_new(params, "payload", json_string(payload));
	if (k->end_s > 0)
		json_object_set_new(params, "expires_in_seconds", json_integer(k->end_s));
	return params;
}

static void on_begin(struct loop_timer *timer)
{
	struct turn *t = container_of(timer, struct turn, begin);
	const struct keep *k = t->keep;

	if (!k || !node_is_up(t->node))
		return;
	api_call_start(api_call_new(node_api(t->node),
		kept[k->what].kind == DESIRED ? &API_STATE_PATCH
		: k->is_wanted		      ? &API_NOTICE_PUT
					      : &API_NOTICE_DELETE,
		&owner, memory_need(params_of(k)), NULL, t, on_done));
}

static void on_done(struct api_call *call)
{
	struct turn *t = call->transport;

	t->fault = call->fault;
	api_call_free(call);
	loop_timer_start(&t->arrival, chance_delay_ms(20, 500));
}

/* What is to be taken down may be so already: by who died before he said so, or since its time is over. */
static bool is_done(const struct keep *k, const struct turn *t)
{
	return !t->fault || (!k->is_wanted && t->fault->http == 404);
}

static void on_arrival(struct loop_timer *timer)
{
	struct turn *t = container_of(timer, struct turn, arrival);
	struct keep *k = t->keep;

	if (k && is_done(k, t)) {
		world_note("owner: %s %s %" PRId64, k->topic, k->is_wanted ? "has" : "is rid of", k->number);
		k->is_open = false;
		k->known_ms = world_ms();
		loop_timer_start(&k->timer, world_slow(chance_between(4000, 40000)));
	} else if (k && t->fault->http < 500 && t->fault->http != 429) {
		world_fail("answer", "%s is refused: %s", k->topic, t->fault->name);
	}
	if (k)
		k->turn = NULL;
	free(t);
}

void twin_calm(void)
{
	is_calm = true;
}

/* Seeing. */

static struct keep *keep_of(const char *topic)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(keeps[i].topic, topic) == 0)
			return &keeps[i];
	return NULL;
}

/* The number in a message; 0: it says that there is nothing. */
static int64_t number_of(const struct keep *k, const char *payload, int64_t *ret_version)
{
	if (!*payload)
		return 0;
	if (kept[k->what].kind == NOTICE)
		return strtoll(payload + strlen(kept[k->what].name), NULL, 10);
	json_auto_t *body = json_loads(payload, 0, NULL);
	*ret_version = json_integer_value(json_object_get(body, "version"));
	return json_integer_value(json_object_get(json_object_get(body, "state"), "limit"));
}

/* What was wanted before does not come after what is wanted now, and a version is told in one way. */
void twin_see_publish(const char *topic, const char *payload, size_t len)
{
	struct keep *k = count > 0 ? keep_of(topic) : NULL;
	int64_t version = 0, number = k ? number_of(k, len > 0 ? payload : "", &version) : 0;

	if (number == 0)
		return;
	world_note("broker: keeps %" PRId64 " on %s", number, topic);
	if (number < k->published)
		world_fail("twin", "%s is %" PRId64 " after %" PRId64, topic, number, k->published);
	if (version < k->version)
		world_fail("twin", "%s has version %" PRId64 " after %" PRId64, topic, version, k->version);
	if (version > 0 && version == k->version && number != k->published)
		world_fail("twin", "version %" PRId64 " on %s is %" PRId64 " and %" PRId64, version, topic,
			k->published, number);
	k->published = number;
	k->version = version;
}

void twin_see_notice(size_t vehicle, const char *name, const char *payload)
{
	for (size_t i = 0; i < count; i++) {
		struct keep *k = &keeps[i];
		if (k->vehicle == vehicle && kept[k->what].kind == NOTICE &&
			(!name || strcmp(kept[k->what].name, name) == 0))
			snprintf(k->shown, sizeof(k->shown), "%s", payload);
	}
}

/* Judging. */

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* What the broker has lost it keeps again when the nodes have come back to it, as after a fault. */
static bool had_time(int64_t since_ms)
{
	int64_t from_ms = later(later(since_ms, broker_lost_kept_ms()), BEGIN_MS);
	return world_ms() - from_ms > GRACE_MS + record_excused_ms(from_ms, world_ms());
}

/* Its end lies between these. */
static int64_t ends_from_ms(const struct keep *k)
{
	return k->end_s > 0 ? k->asked_ms + 1000 * (int64_t)k->end_s : INT64_MAX;
}

static int64_t ends_until_ms(const struct keep *k)
{
	return k->end_s > 0 ? k->known_ms + 1000 * (int64_t)k->end_s : INT64_MAX;
}

static void judge_gone(const struct keep *k, int64_t since_ms)
{
	const char *payload = broker_keeps(k->topic);

	if (!had_time(since_ms))
		return;
	if (payload)
		world_fail("twin", "%s is kept, and is to be gone since %" PRId64 " ms: %s", k->topic,
			world_ms() - since_ms, payload);
	if (k->shown[0] && had_time(vehicle_up_since_ms(k->vehicle)))
		world_fail("twin", "%s is still shown %s", vehicle_id(k->vehicle), k->shown);
}

static void judge_notice(const struct keep *k)
{
	const char *payload = broker_keeps(k->topic);
	char wanted[32];

	if (world_ms() >= ends_until_ms(k))
		judge_gone(k, ends_until_ms(k));
	if (world_ms() >= ends_from_ms(k) - 1000 || !had_time(k->known_ms))
		return;
	write_payload(k, wanted);
	if (!payload || strcmp(payload, wanted) != 0)
		world_fail("twin", "%s is %s, and is to be %s since %" PRId64 " ms", k->topic,
			payload ? payload : "not there", wanted, world_ms() - k->known_ms);
	if (strcmp(k->shown, wanted) != 0 && had_time(vehicle_up_since_ms(k->vehicle)))
		world_fail("twin", "%s is shown %s, and not %s", vehicle_id(k->vehicle),
			k->shown[0] ? k->shown : "nothing", wanted);
}

/* It is told until it is reported; a vehicle that was told reports it with all that it reports from then on. */
static void judge_desired(const struct keep *k)
{
	const char *payload = broker_keeps(k->topic);
	int64_t version, number = payload ? number_of(k, payload, &version) : 0;
	bool is_taken = vehicle_limit(k->vehicle) == k->number;

	if (!had_time(k->known_ms))
		return;
	if (number != k->number && !(number == 0 && is_taken))
		world_fail("twin", "%s is %" PRId64 ", and is to be %" PRId64 " since %" PRId64 " ms", k->topic, number,
			k->number, world_ms() - k->known_ms);
	if (!is_taken && had_time(vehicle_up_since_ms(k->vehicle)))
		world_fail("twin", "%s knows nothing of the limit %" PRId64, vehicle_id(k->vehicle), k->number);
}

void twin_look(void)
{
	for (size_t i = 0; i < count; i++) {
		const struct keep *k = &keeps[i];
		if (k->is_open)
			continue;
		if (!k->is_wanted)
			judge_gone(k, k->known_ms);
		else if (kept[k->what].kind == NOTICE)
			judge_notice(k);
		else
			judge_desired(k);
	}
}

void twin_judge(void)
{
	twin_look();
	for (size_t i = 0; i < count; i++) {
		const struct keep *k = &keeps[i];
		if (k->is_open)
			world_fail("L4", "nobody has said what became of %s", k->topic);
		else if (kept[k->what].kind == DESIRED && broker_keeps(k->topic))
			world_fail("L4", "%s is kept, and was reported: %s", k->topic, broker_keeps(k->topic));
	}
}
