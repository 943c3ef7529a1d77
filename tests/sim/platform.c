/* platform.c - what a platform asks for, how its server is, and what of that which comes must not be.
 *
 *   made ─┬─ paused ─ enabled ─┐        a call: begun ─ heard ─ answered ─ the answer is heard
 *         ├─ another secret ───┤                                  └─ or gets lost, or comes too late
 *         └─ sent once more ───┘ */
#include "tests/sim/platform.h"

#include <inttypes.h>
#include <jansson.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/http_client.h"
#include "base/json.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/rfc3339.h"
#include "gateway/api_internal.h"
#include "notifier/webhook/signature.h"
#include "tests/sim/access.h"
#include "tests/sim/chance.h"
#include "tests/sim/node.h"
#include "tests/sim/postgres.h"
#include "tests/sim/record.h"
#include "tests/sim/vehicle.h"
#include "tests/sim/world.h"

#define PLATFORMS_MAX 3
#define VEHICLES_MAX 32
#define LOOK_MS 500
#define PROMPT_US INT64_C(2000000)     /* S8; and how soon something is sent, or sent no more */
#define PAUSE_US INT64_C(4000000)      /* webhooks.retry_first, a fifth less */
#define STAMP_US INT64_C(5000000)      /* how old a signature may be when it comes */
#define SCHEDULE_US INT64_C(600000000) /* webhooks.retry_for */
#define REST_US INT64_C(75000000)      /* webhooks.retry_max, a fifth more */
#define HOLD_US INT64_C(20000000)      /* what a node had taken when it died another one sends by then */
#define SECRET_SIZE 80

enum weather { WELL, TROUBLED, OVERLOADED, AWAY, GONE };

/* One event, as often as it is sent. */
struct post {
	char key[40]; /* "VEHICLE SEQ" */
	struct platform *platform;
	struct line *line;
	int64_t seq, at_us, first_us; /* first_us: when it was sent first */
	char id[40];
	unsigned begun, came;
	bool is_taken;	 /* the server said so */
	bool is_wanted;	 /* once more, whatever was said */
	int64_t told_us; /* when the node heard that it is taken; 0: it has not */
	UT_hash_handle hh;
};

/* What comes of one vehicle. */
struct line {
	char vehicle_id[16];
	struct post *last;   /* the greatest that has come; NULL: none */
	int64_t answered_us; /* when a node heard the last answer */
	bool is_failing, is_open;
	UT_hash_handle hh;
};

struct wish;

struct platform {
	char name[32], url[64], id[40];
	struct caller caller;
	bool is_admin, is_steady; /* steady: it pauses nothing, and never says that it is gone */
	bool watches[VEHICLES_MAX];
	const char *type; /* the one that it wants; NULL: all */
	char secret[SECRET_SIZE], old_secret[SECRET_SIZE];
	int64_t rotated_us, old_until_us;
	enum weather weather;
	unsigned tries;
	bool is_paused, is_rested;    /* rested: enabled once more when all became calm */
	int64_t enabled_us, since_us; /* by the database; when the platform knew of it */
	int64_t paused_us, changed_us;
	int64_t held_us, held_until_us; /* it asked then to be left alone until then */
	int64_t rested_until_us;	/* and is, all of it, for as long as the one vehicle's line */
	struct line *lines;
	struct post *posts;
	const struct wish *wish; /* NULL: none */
	unsigned asks;		 /* for it */
	struct post *once_more;
	struct turn *turn;	       /* NULL: nobody is asked */
	struct loop_timer next, skies; /* the world's */
};

/* What a platform wants of its webhook, asked until it is known to be done. */
struct wish {
	const char *name;
	const struct api_operation *operation;
	json_t *(*params)(struct platform *);
	void (*on_done)(struct platform *, const json_t *answer);
};

/* One call to one node. */
struct turn {
	struct platform *platform; /* NULL: that node is gone */
	struct node *node;
	unsigned life;
	int64_t begun_us;
	struct loop_timer begin;   /* the node's */
	struct loop_timer arrival; /* the world's: the answer */
	const struct fault *fault;
	char *body;
};

static struct platform platforms[PLATFORMS_MAX];
static size_t count;
static bool is_calm;

static void on_next(struct loop_timer *timer);
static void on_skies(struct loop_timer *timer);
static void on_begin(struct loop_timer *timer);
static void on_done(struct api_call *call);
static void on_arrival(struct loop_timer *timer);

/* The first hears all, and takes it as it comes; the second is an app's, whose grants may come and go; the third is neither. */
void platforms_begin(void)
{
	count = (size_t)chance_between(1, PLATFORMS_MAX);
	for (size_t i = 0; i < count; i++) {
		struct platform *p = &platforms[i];
		snprintf(p->name, sizeof(p->name), "platform-%zu", i);
		p->is_admin = i != 1;
		p->is_steady = i == 0;
		snprintf(p->caller.subject, sizeof(p->caller.subject), "%s", i == 1 ? "app-1" : "owner");
		p->caller.scopes = p->is_admin ? SCOPES_ALL : SCOPE_VEHICLES_READ;
		p->caller.expires_at_us = INT64_MAX;
		p->type = i == 2 ? "command.updated" : NULL;
		for (size_t v = 0; v < vehicles_count(); v++)
			p->watches[v] = i == 0 || v == 0 || chance_of(600);
		loop_timer_init(world_loop(), &p->next, on_next);
		loop_timer_init(world_loop(), &p->skies, on_skies);
		loop_timer_start(&p->next, chance_between(2000, 10000));
		loop_timer_start(&p->skies, world_slow(chance_between(10000, 40000)));
	}
}

/* How its server is. */

static void on_skies(struct loop_timer *timer)
{
	struct platform *p = container_of(timer, struct platform, skies);

	if (p->weather != WELL || is_calm)
		p->weather = WELL;
	else
		p->weather = (enum weather)chance_between(TROUBLED, p->is_steady ? AWAY : GONE);
	if (!is_calm)
		loop_timer_start(timer,
			world_slow(p->weather == WELL ? chance_between(10000, 60000) : chance_between(1000, 8000)));
}

static void answer(const struct platform *p, struct platform_reply *reply)
{
	reply->status = 204;
	reply->after_ms = chance_delay_ms(5, 1000);
	reply->is_lost = !is_calm && chance_of(20);
	if (p->weather == TROUBLED && chance_of(700)) {
		reply->status = chance_of(700) ? 500 : chance_of(500) ? 302 : 0;
		reply->after_ms = chance_of(200) ? 30000 : reply->after_ms;
	} else if (p->weather == OVERLOADED && chance_of(700)) {
		reply->status = chance_of(500) ? 503 : 429;
		reply->retry_after_s = chance_of(700) ? chance_between(1, 20) : 0;
	} else if (p->weather == GONE && chance_of(200)) {
		reply->status = 410;
	}
}

/* What it asks for. */

static json_t *targets_of(const struct platform *p)
{
	json_t *list = json_array();

	for (size_t v = 0; v < vehicles_count(); v++)
		if (p->watches[v])
			json_array_append_new(list, json_string(vehicle_id(v)));
	return list;
}

static json_t *body_of(const struct platform *p, bool enabled)
{
	return json_pack("{s:s, s:o, s:o, s:o, s:b}", "url", p->url, "vehicle_ids",
		p->is_steady ? json_array() : targets_of(p), "fleet_ids",
		p->is_steady ? json_pack("[s]", "*") : json_array(), "types",
		p->type ? json_pack("[s]", p->type) : json_array(), "enabled", enabled);
}

/* Nobody knows what became of those before: they are other webhooks, with another address. */
static json_t *params_make(struct platform *p)
{
	snprintf(p->url, sizeof(p->url), "https://%s.example/%u", p->name, ++p->tries);
	p->lines = NULL;
	p->posts = NULL;
	return body_of(p, true);
}

static json_t *params_put(struct platform *p, bool enabled)
{
	json_t *body = body_of(p, enabled);
	json_object_set_new(body, "id", json_string(p->id));
	return body;
}

static json_t *params_enable(struct platform *p)
{
	return params_put(p, true);
}

static json_t *params_pause(struct platform *p)
{
	return params_put(p, false);
}

static json_t *params_rotate(struct platform *p)
{
	return json_pack(
		"{s:s, s:i}", "id", p->id, "overlap_seconds", (int)(chance_of(500) ? chance_between(5, 60) : 0));
}

static json_t *params_redeliver(struct platform *p)
{
	p->once_more->is_wanted = true;
	return json_pack("{s:s, s:s}", "id", p->id, "delivery_id", p->once_more->id);
}

static PGresult *ask_webhook(const struct platform *p)
{
	return postgres_ask("select (extract(epoch from enabled_at) * 1000000)::bigint, coalesce(disabled_reason, ''), "
			    "untold_vehicle from webhooks where id = $1::uuid",
		1, (const char *const[]){ p->id });
}

/* It hears what happens from when it is enabled, and that it is, it knows now. */
static void note_enabled(struct platform *p)
{
	PGresult *rows = ask_webhook(p);
	int64_t enabled_us = PQntuples(rows) ? strtoll(PQgetvalue(rows, 0, 0), NULL, 10) : 0;

	if (enabled_us != p->enabled_us)
		p->since_us = world_us();
	p->enabled_us = enabled_us;
	p->is_paused = false;
	p->held_until_us = 0;
	PQclear(rows);
}

static void on_made(struct platform *p, const json_t *made)
{
	snprintf(p->id, sizeof(p->id), "%s", json_text_at(made, "id"));
	snprintf(p->secret, sizeof(p->secret), "%s", json_text_at(made, "secret"));
	note_enabled(p);
}

static void on_enabled(struct platform *p, const json_t *now)
{
	(void)now;
	note_enabled(p);
}

static void on_paused(struct platform *p, const json_t *now)
{
	(void)now;
	p->is_paused = true;
	p->paused_us = world_us();
}

/* Where it was asked for twice, nobody knows the one before. */
static void on_rotated(struct platform *p, const json_t *now)
{
	const char *until = json_text_at(now, "old_secret_until");

	snprintf(p->old_secret, sizeof(p->old_secret), "%s", p->secret);
	snprintf(p->secret, sizeof(p->secret), "%s", json_text_at(now, "secret"));
	p->rotated_us = world_us();
	if (!until || p->asks > 1 || !rfc3339_read(until, &p->old_until_us))
		p->old_until_us = 0;
}

static void on_redelivered(struct platform *p, const json_t *delivery)
{
	(void)p;
	(void)delivery;
}

static const struct wish MAKE = { "made", &API_WEBHOOK_CREATE, params_make, on_made };
static const struct wish ENABLE = { "enabled", &API_WEBHOOK_PUT, params_enable, on_enabled };
static const struct wish PAUSE = { "paused", &API_WEBHOOK_PUT, params_pause, on_paused };
static const struct wish ROTATE = { "given another secret", &API_WEBHOOK_ROTATE, params_rotate, on_rotated };
static const struct wish REDELIVER = { "to send once more", &API_WEBHOOK_REDELIVER, params_redeliver, on_redelivered };

static struct post *some_post(const struct platform *p)
{
	int64_t n = chance_below(HASH_COUNT(p->posts));

	for (struct post *post = p->posts; post; post = post->hh.next)
		if (n-- == 0)
			return post->came > 0 ? post : NULL;
	return NULL;
}

static bool is_disabled(const struct platform *p)
{
	PGresult *rows = ask_webhook(p);
	bool yes = PQntuples(rows) > 0 && PQgetvalue(rows, 0, 1)[0];
	PQclear(rows);
	return yes;
}

static void choose(struct platform *p)
{
	p->asks = 0;
	if (!p->id[0]) {
		p->wish = &MAKE;
	} else if (p->is_paused || is_disabled(p) || (is_calm && !p->is_rested)) {
		p->is_rested = is_calm;
		p->wish = &ENABLE;
	} else if (is_calm) {
		p->wish = NULL;
	} else if (chance_of(300)) {
		p->wish = &ROTATE;
	} else if (!p->is_steady && chance_of(300)) {
		p->wish = &PAUSE;
	} else if (chance_of(300)) {
		p->wish = &ENABLE;
	} else {
		p->once_more = some_post(p);
		p->wish = p->once_more ? &REDELIVER : NULL;
	}
}

static struct node *some_node(void)
{
	struct node *n = node_at((size_t)chance_below((int64_t)nodes_count()));
	return node_is_up(n) ? n : NULL;
}

static void ask(struct platform *p)
{
	struct node *n = some_node();

	loop_timer_start(&p->next, LOOK_MS);
	if (!n)
		return;
	struct turn *t = p->turn = memory_new(sizeof(*t));
	t->platform = p;
	t->node = n;
	t->life = node_life(n);
	t->begun_us = p->changed_us = world_us();
	p->asks++;
	loop_timer_init(node_loop(n), &t->begin, on_begin);
	loop_timer_init(world_loop(), &t->arrival, on_arrival);
	loop_timer_start(&t->begin, chance_delay_ms(20, 500));
}

static bool is_gone(const struct turn *t)
{
	return node_life(t->node) != t->life || (!node_is_up(t->node) && !node_is_draining(t->node));
}

static void rest(struct platform *p)
{
	loop_timer_start(&p->next, world_slow(is_calm ? 5000 : chance_between(5000, 40000)));
}

static void on_next(struct loop_timer *timer)
{
	struct platform *p = container_of(timer, struct platform, next);

	if (p->turn && !is_gone(p->turn)) {
		loop_timer_start(timer, LOOK_MS);
		return;
	}
	if (p->turn) /* it was done or not */
		p->turn->platform = NULL;
	p->turn = NULL;
	if (!p->wish)
		choose(p);
	if (p->wish)
		ask(p);
	else
		rest(p);
}

static void on_begin(struct loop_timer *timer)
{
	struct turn *t = container_of(timer, struct turn, begin);
	struct platform *p = t->platform;

	if (p && node_is_up(t->node))
		api_call_start(api_call_new(node_api(t->node), p->wish->operation, &p->caller,
			memory_need(p->wish->params(p)), NULL, t, on_done));
}

static void on_done(struct api_call *call)
{
	struct turn *t = call->transport;

	t->fault = call->fault;
	t->body = call->body ? memory_need(strdup(call->body)) : NULL;
	api_call_free(call);
	loop_timer_start(&t->arrival, chance_delay_ms(20, 500));
}

static bool may_see_all(const struct platform *p, int64_t since_us)
{
	for (size_t v = 0; v < vehicles_count(); v++)
		if (p->watches[v] && !access_was_given(p->caller.subject, vehicle_id(v), since_us))
			return false;
	return true;
}

static void grant_wish(struct platform *p, const char *body)
{
	json_auto_t *answer = json_loads(body, 0, NULL);

	world_note("%s: its webhook is %s", p->name, p->wish->name);
	p->wish->on_done(p, answer);
	p->changed_us = world_us();
	p->wish = NULL;
	rest(p);
}

static void on_arrival(struct loop_timer *timer)
{
	struct turn *t = container_of(timer, struct turn, arrival);
	struct platform *p = t->platform;

	if (p) {
		p->turn = NULL;
		if (!t->fault)
			grant_wish(p, t->body);
		else if (t->fault->http < 500 && t->fault->http != 429 && (p->is_admin || may_see_all(p, t->begun_us)))
			world_fail("answer", "the webhook of %s is not %s: %s", p->name, p->wish->name, t->fault->name);
	}
	free(t->body);
	free(t);
}

/* What comes. */

static struct platform *platform_of(const char *url)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(platforms[i].url, url) == 0)
			return &platforms[i];
	return NULL;
}

static struct line *line_of(struct platform *p, const char *vehicle)
{
	struct line *l;

	HASH_FIND_STR(p->lines, vehicle, l);
	if (l)
		return l;
	l = memory_new(sizeof(*l));
	snprintf(l->vehicle_id, sizeof(l->vehicle_id), "%s", vehicle);
	HASH_ADD_STR(p->lines, vehicle_id, l);
	return l;
}

static struct post *find_post(const struct platform *p, const char *vehicle, int64_t seq)
{
	char key[40];
	struct post *post;

	snprintf(key, sizeof(key), "%.15s %" PRId64, vehicle, seq);
	HASH_FIND_STR(p->posts, key, post);
	return post;
}

static struct post *post_of(struct platform *p, const json_t *event)
{
	const char *vehicle = json_text_at(event, "subject");
	int64_t seq = json_integer_value(json_object_get(event, "seq"));
	struct post *post = find_post(p, vehicle, seq);

	if (post)
		return post;
	post = memory_new(sizeof(*post));
	snprintf(post->key, sizeof(post->key), "%.15s %" PRId64, vehicle, seq);
	post->platform = p;
	post->line = line_of(p, vehicle);
	post->seq = seq;
	rfc3339_read(json_text_at(event, "time"), &post->at_us);
	HASH_ADD_STR(p->posts, key, post);
	return post;
}

static int64_t excused_ms(int64_t from_us)
{
	return record_excused_ms((from_us - WORLD_BEGIN_US) / 1000, (world_us() - WORLD_BEGIN_US) / 1000);
}

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* It is sent as soon as it may be: where its server took the one before, and nobody has died with it in hand. */
static void judge_prompt(const struct platform *p, const struct post *post)
{
	int64_t now_us = world_us(),
		from_us = later(later(post->at_us, post->line->answered_us), later(p->changed_us, p->since_us));

	if (post->begun == 0 && !p->wish && !post->line->is_failing && !post->line->is_open && p->since_us > 0 &&
		now_us > p->rested_until_us && now_us - from_us > PROMPT_US &&
		excused_ms(later(from_us - HOLD_US, WORLD_BEGIN_US)) == 0)
		world_fail(
			"webhook", "%s is sent %s %" PRId64 " ms late", p->name, post->key, (now_us - from_us) / 1000);
}

/* It is not sent before it may be. */
static void judge_early(const struct platform *p, const struct post *post)
{
	int64_t now_us = world_us(), since_us = now_us - post->line->answered_us;

	if (p->wish)
		return; /* who knows whether it is done */
	if (p->is_paused && now_us > p->paused_us + PROMPT_US + 1000 * excused_ms(p->paused_us))
		world_fail("webhook", "%s is sent %s, and it is paused since %" PRId64 " ms", p->name, post->key,
			(now_us - p->paused_us) / 1000);
	if (now_us > p->held_us + PROMPT_US && now_us < p->held_until_us - 1000000 && excused_ms(p->held_us) == 0)
		world_fail("webhook", "%s is sent %s, and asked to be left alone for %" PRId64 " ms more", p->name,
			post->key, (p->held_until_us - now_us) / 1000);
	bool is_last = post->begun > 0 &&
		       now_us >= post->first_us + SCHEDULE_US - PROMPT_US; /* comes when the schedule ends */
	if (post->line->is_failing && !is_last && since_us < PAUSE_US &&
		p->changed_us + PROMPT_US < post->line->answered_us && excused_ms(post->line->answered_us) == 0)
		world_fail("webhook", "%s is sent %s only %" PRId64 " ms after it failed", p->name, post->key,
			since_us / 1000);
}

void platforms_see_call(const struct http_call *call, struct platform_reply *ret)
{
	struct platform *p = platform_of(call->url);
	json_auto_t *event = json_loadb(call->body, call->body_len, 0, NULL);

	ret->begun_us = world_us();
	if (!p)
		return;
	struct post *post = ret->post = post_of(p, event);
	if (!p->is_admin)
		access_saw_event(p->caller.subject, post->line->vehicle_id);
	judge_prompt(p, post);
	judge_early(p, post);
	if (post->begun++ == 0)
		post->first_us = world_us();
	post->line->is_open = true;
}

static const char *header_of(const struct http_call *call, const char *name)
{
	size_t len = strlen(name);

	for (const char *const *line = call->headers; *line; line++)
		if (strncmp(*line, name, len) == 0 && (*line)[len] == ':')
			return *line + len + 2;
	return "";
}

static bool is_signed(const struct http_call *call, const char *secret, int64_t stamp_s)
{
	struct text wanted = { 0 };

	webhook_sign(&wanted, secret, header_of(call, "webhook-id"), stamp_s, call->body);
	bool yes = wanted.data && strstr(header_of(call, "webhook-signature"), wanted.data);
	text_free(&wanted);
	return yes;
}

/* While it is not known which secret there is, nothing can be said. */
static void judge_signature(const struct platform *p, const struct http_call *call, const struct platform_reply *reply)
{
	int64_t stamp_s = strtoll(header_of(call, "webhook-timestamp"), NULL, 10);

	if (!p->secret[0] || p->wish == &ROTATE || reply->begun_us < p->rotated_us + PROMPT_US)
		return;
	if (!is_signed(call, p->secret, stamp_s))
		world_fail("webhook", "%s gets %s without its signature", p->name, reply->post->key);
	if (reply->begun_us < p->old_until_us - PROMPT_US && !is_signed(call, p->old_secret, stamp_s))
		world_fail("webhook", "%s gets %s without the signature of before", p->name, reply->post->key);
	if (llabs(world_us() - stamp_s * 1000000) > STAMP_US)
		world_fail("webhook", "%s gets %s with the time of %" PRId64 " ms ago", p->name, reply->post->key,
			(world_us() - stamp_s * 1000000) / 1000);
}

/* It is over, and was not taken. */
static bool was_given_up(const struct post *post)
{
	PGresult *rows = postgres_ask("select from webhook_deliveries where id = $1::uuid and status in ('failed', "
				      "'dropped')",
		1, (const char *const[]){ post->id });
	bool yes = PQntuples(rows) > 0;
	PQclear(rows);
	return yes;
}

/* A vehicle's events come in order, the next when the one before was taken; and again only when nobody knows that it was. */
static void judge_order(const struct platform *p, struct post *post)
{
	const struct post *last = post->line->last;

	if (!last || post->seq > last->seq) {
		if (last && !last->is_taken && !was_given_up(last))
			world_fail("webhook", "%s gets %s, and has not taken %s", p->name, post->key, last->key);
		post->line->last = post;
	} else if (post->is_wanted) {
		/* it was asked for */
	} else if (post->seq < last->seq) {
		world_fail("webhook", "%s gets %s after %s", p->name, post->key, last->key);
	} else if (post->told_us > 0 && excused_ms(post->told_us) == 0) {
		world_fail("webhook", "%s gets %s again, and said %" PRId64 " ms ago that it is taken", p->name,
			post->key, (world_us() - post->told_us) / 1000);
	}
}

static void judge_content(const struct platform *p, const struct http_call *call, const struct post *post)
{
	static const char mark[] = "\"data\":";
	json_auto_t *event = json_loadb(call->body, call->body_len, 0, NULL);
	const char *type = json_text_at(event, "type"), *data = strstr(call->body, mark);
	const char *subject = json_text_at(json_object_get(event, "data"), "subject");

	if (p->type && strcmp(type, p->type) != 0)
		world_fail("webhook", "%s gets %s, a %s", p->name, post->key, type);
	if (!p->is_admin && subject && strcmp(subject, p->caller.subject) != 0)
		world_fail("S7", "%s gets %s, a %s of %s", p->name, post->key, type, subject);
	record_event(p->name, post->line->vehicle_id, -1, post->seq, type, data + strlen(mark),
		strlen(data) - strlen(mark) - 1);
}

bool platforms_hear(const struct http_call *call, struct platform_reply *reply)
{
	struct post *post = reply->post;

	if (!post) {
		reply->status = 410;
		return true;
	}
	struct platform *p = post->platform;
	if (p->weather == AWAY)
		return false;
	const char *id = header_of(call, "webhook-id");
	if (post->came > 0 && strcmp(post->id, id) != 0)
		world_fail("webhook", "%s gets %s as %s, and had it as %s", p->name, post->key, id, post->id);
	snprintf(post->id, sizeof(post->id), "%s", id);
	judge_signature(p, call, reply);
	judge_order(p, post);
	judge_content(p, call, post);
	post->came++;
	answer(p, reply);
	post->is_taken = post->is_taken || reply->status == 204;
	world_note("%s: %s comes, %d%s", p->name, post->key, reply->status,
		reply->is_lost ? ", and the answer is lost" : "");
	return true;
}

void platforms_see_end(const struct platform_reply *reply, bool is_answered)
{
	struct post *post = reply->post;

	if (!post)
		return;
	post->line->is_open = false;
	post->line->answered_us = world_us();
	post->line->is_failing = !is_answered || reply->status != 204;
	if (!post->line->is_failing)
		post->told_us = world_us();
	if (is_answered && reply->retry_after_s > 0) {
		post->platform->held_us = world_us();
		post->platform->held_until_us =
			later(post->platform->held_until_us, world_us() + reply->retry_after_s * 1000000);
		post->platform->rested_until_us = world_us() + REST_US;
	}
}

/* In the end. */

void platforms_calm(void)
{
	is_calm = true;
	for (size_t i = 0; i < count; i++) {
		platforms[i].weather = WELL;
		loop_timer_stop(&platforms[i].skies);
		loop_timer_start(&platforms[i].next, 0);
	}
}

static bool hears(const struct platform *p, const char *vehicle, int64_t at_us)
{
	for (size_t v = 0; v < vehicles_count(); v++)
		if (strcmp(vehicle_id(v), vehicle) == 0)
			return p->watches[v] && (p->is_admin || access_was_given(p->caller.subject, vehicle, at_us));
	return false;
}

/* How many events it should have got and has not, each of which fails the run where `tells`. */
static size_t missing(const struct platform *p, bool tells)
{
	char since[RFC3339_SIZE], until[RFC3339_SIZE];
	size_t found = 0;

	rfc3339_write(p->since_us, since);
	rfc3339_write(world_us() - 3 * PROMPT_US, until);
	PGresult *rows =
		postgres_ask("select vehicle_id, seq, (extract(epoch from at) * 1000000)::bigint from events where "
			     "at > $1::timestamptz and at < $2::timestamptz and type = coalesce($3, type) and "
			     "($4::boolean or type not in ('access.changed', 'security.alert', "
			     "'webhook.disabled')) order by vehicle_id, seq",
			4, (const char *const[]){ since, until, p->type, p->is_admin ? "true" : "false" });
	for (int row = 0; row < PQntuples(rows); row++) {
		const char *vehicle = PQgetvalue(rows, row, 0);
		const struct post *post = find_post(p, vehicle, strtoll(PQgetvalue(rows, row, 1), NULL, 10));
		if ((post && post->is_taken) || !hears(p, vehicle, strtoll(PQgetvalue(rows, row, 2), NULL, 10)))
			continue;
		found++;
		if (tells)
			world_fail("webhook", "%s has not got %s of %s", p->name, PQgetvalue(rows, row, 1), vehicle);
	}
	PQclear(rows);
	return found;
}

size_t platforms_await(void)
{
	size_t found = 0;

	for (size_t i = 0; i < count; i++)
		found += missing(&platforms[i], false);
	return found;
}

static void judge_webhook(const struct platform *p)
{
	if (!p->id[0]) {
		world_fail("L4", "%s has not got a webhook", p->name);
		return;
	}
	PGresult *rows = ask_webhook(p);

	if (PQntuples(rows) == 0)
		world_fail("webhook", "the webhook of %s is not there", p->name);
	else if (PQgetvalue(rows, 0, 1)[0])
		world_fail("L4", "the webhook of %s is disabled in the end: %s", p->name, PQgetvalue(rows, 0, 1));
	else if (!PQgetisnull(rows, 0, 2))
		world_fail("L4", "nobody told that the webhook of %s was disabled", p->name);
	PQclear(rows);
}

void platforms_judge(void)
{
	for (size_t i = 0; i < count; i++) {
		judge_webhook(&platforms[i]);
		missing(&platforms[i], true);
	}
}
