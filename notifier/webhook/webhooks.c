/* webhooks.c - from the log to the server, and what became of it:
 *
 *   tick ─ follow: deliveries of what is new ─ turn: what has ended is settled, what is due is taken ─ attempts ─ … ─ turn ─ …
 *
 * A turn goes out as soon as something has ended and the last turn is back: so many outcomes share a commit, and a line's next
 * delivery is taken in the transaction that settles the one before it. While there is no webhook a tick is all that there is. */
#include "notifier/webhook/webhooks.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "notifier/webhook/attempt.h"
#include "notifier/webhook/seal.h"
#include "sql/db.h"
#include "sql/migrate.h"
#include "sql/statements.h"

#define LOOK_MS 200
#define IDLE_MS 1000  /* while there is no webhook */
#define RETRY_MS 1000 /* after the database refused */
#define FOLLOW_MAX 5000
#define IN_HAND_MAX 128
#define EACH_MAX 16   /* of one webhook */
#define SLACK_MS 3000 /* how much longer than an attempt a delivery is held */
#define FRESH_MS 1500 /* one that was taken longer ago is not begun: its hold might end amid the attempt */
#define GRACE_MS 1000
#define SWEEP_MS 60000
#define SWEEP_ON_MS 1000 /* while there is more to remove */
#define UNTOLD_MS 5000	 /* how often it is looked whether somebody has died before he told */
#define UNTOLD_MAX 100
#define RESUME_MAX 200	/* lines in a transaction */
#define RESEAL_MAX 100	/* in a transaction */
#define QUEUE_MAX 16	/* units */
#define REFUSALS_MAX 60 /* in a row, a second apart: then what was to be recorded is left to the end of its hold */
#define ANSWER_WITHIN_MS 30000 /* a look that makes many deliveries takes its time */

enum state { RUNNING, ENDING, ABORTING, RECORDING, CLOSING, QUIET };

struct webhooks {
	struct loop *loop;
	struct webhooks_options options;
	struct db *db;
	struct http_client *client;
	struct seals seals;
	struct loop_timer tick, grace;
	struct list attempts, ended, recorded; /* under way; over; over, and with the database */
	size_t in_hand;			       /* of all three */
	bool there_are, turning, again;	       /* webhooks; a turn is with the database; another is to follow it */
	unsigned refusals;		       /* of turns, in a row, in the server's trouble */
	int64_t turned_ms, swept_ms, looked_ms;
	enum state state;
};

static void on_up(void *owner, struct db *db);
static void on_down(void *owner, struct db *db);
static void on_tick(struct loop_timer *timer);
static void reseal(struct webhooks *w);
static void on_followed(struct db_unit *unit, void *context, const struct fault *fault);
static void tell(const struct webhooks *w, const struct db_unit *unit, size_t statement);
static void turn(struct webhooks *w);
static void on_turned(struct db_unit *unit, void *context, const struct fault *fault);
static void begin(struct webhooks *w, const struct db_unit *unit, size_t statement);
static void on_attempted(struct webhook_attempt *a);
static void on_grace(struct loop_timer *timer);
static void wind_up(struct webhooks *w);

/* Making. */

struct webhooks *webhooks_new(struct loop *loop, const struct webhooks_options *options)
{
	struct webhooks *w = memory_new(sizeof(*w));

	w->loop = loop;
	w->options = *options;
	w->client = http_client_new(loop);
	seals_init(&w->seals, options->key, options->old_key);
	list_init(&w->attempts);
	list_init(&w->ended);
	list_init(&w->recorded);
	loop_timer_init(loop, &w->tick, on_tick);
	loop_timer_init(loop, &w->grace, on_grace);
	w->db = db_new(loop, &(struct db_options){ .url = options->database_url,
				     .queue_max = QUEUE_MAX,
				     .commit_timeout_ms = ANSWER_WITHIN_MS,
				     .schema = migrate_version(),
				     .owner = w,
				     .on_up = on_up,
				     .on_down = on_down });
	return w;
}

void webhooks_start(struct webhooks *w)
{
	w->swept_ms = loop_monotonic_ms(w->loop) - SWEEP_MS + SWEEP_ON_MS;
	db_start(w->db);
}

bool webhooks_is_quiet(const struct webhooks *w)
{
	return w->state == QUIET;
}

static void on_up(void *owner, struct db *db)
{
	struct webhooks *w = owner;

	(void)db;
	if (w->state != RUNNING)
		return;
	loop_timer_start(&w->tick, 0);
	reseal(w);
}

static void on_down(void *owner, struct db *db)
{
	struct webhooks *w = owner;

	(void)db;
	loop_timer_stop(&w->tick);
}

/* A statement that failed is our mistake; what else may be is told by the link. */
static void complain(const struct db_unit *unit, const struct fault *fault)
{
	if (fault == &FAULT_STATEMENT)
		log_warn("webhook", "the database refused it", LOG_TEXT("sqlstate", db_unit_sqlstate(unit)),
			LOG_TEXT("detail", db_unit_message(unit)));
}

/* Following the log. */

/* It removes a part; a busy platform's deliveries of a minute are more. */
static void on_swept(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct webhooks *w = context;

	complain(unit, fault);
	if (!fault && db_bool(unit, 0, 0, 0))
		w->swept_ms -= SWEEP_MS - SWEEP_ON_MS;
}

static void sweep(struct webhooks *w)
{
	struct db_unit *unit = db_unit_new(w->db, on_swept, w);

	w->swept_ms = loop_monotonic_ms(w->loop);
	db_unit_add(unit, &SQL_webhooks_sweep);
	db_param_int(unit, w->options.kept_ms);
	db_unit_submit(unit);
	reseal(w);
}

/* What waits for a webhook that was changed begins anew, a part of it in each look. */

static void on_resumed(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct webhooks *w = context;

	complain(unit, fault);
	if (!fault && w->state == RUNNING && db_bool(unit, 0, 0, 0))
		turn(w);
}

static void resume(struct webhooks *w)
{
	struct db_unit *unit = db_unit_new(w->db, on_resumed, w);

	db_unit_add(unit, &SQL_webhooks_resume);
	db_param_int(unit, RESUME_MAX);
	db_unit_submit(unit);
}

static void on_tick(struct loop_timer *timer)
{
	struct webhooks *w = container_of(timer, struct webhooks, tick);
	struct db_unit *unit = db_unit_new(w->db, on_followed, w);
	int64_t now_ms = loop_monotonic_ms(w->loop);

	db_unit_add(unit, &SQL_webhooks_follow);
	db_param_int(unit, FOLLOW_MAX);
	if (now_ms - w->looked_ms >= UNTOLD_MS) {
		w->looked_ms = now_ms;
		db_unit_add(unit, &SQL_webhooks_untold);
		db_param_int(unit, UNTOLD_MAX);
	}
	db_unit_submit(unit);
	if (w->there_are)
		resume(w);
	if (now_ms - w->swept_ms >= SWEEP_MS)
		sweep(w);
}

static void on_followed(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct webhooks *w = context;

	complain(unit, fault);
	if (w->state != RUNNING || !db_is_up(w->db))
		return; /* the next connection begins anew */
	if (!fault)
		w->there_are = db_text(unit, 0, 0, 0) != NULL;
	if (!fault && db_unit_size(unit) > 1)
		tell(w, unit, 1);
	turn(w);
	bool is_behind = !fault && db_int(unit, 0, 0, 0) >= FOLLOW_MAX;
	loop_timer_start(&w->tick, fault ? RETRY_MS : is_behind ? 0 : w->there_are ? LOOK_MS : IDLE_MS);
}

/* Secrets that are stored in clear, or with the key before, are stored as new ones are: as soon as there is a key, and for a while again
 * where nodes without it still make some. */

static void on_resealed(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct webhooks *w = context;

	complain(unit, fault);
	if (!fault && db_unit_size(unit) == RESEAL_MAX && w->state == RUNNING)
		reseal(w);
}

static void on_stale(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct webhooks *w = context;
	struct db_unit *anew = NULL;

	complain(unit, fault);
	for (size_t row = 0; !fault && w->state == RUNNING && row < db_rows(unit, 0); row++) {
		const char *id = db_text(unit, 0, row, 0), *secret = db_text(unit, 0, row, 1),
			   *old = db_text(unit, 0, row, 2);
		char *opened = seals_open(&w->seals, id, secret),
		     *old_opened = old ? seals_open(&w->seals, id, old) : NULL;
		if (opened && (!old || old_opened)) {
			char *sealed = seals_close(&w->seals, id, opened);
			char *old_sealed = old ? seals_close(&w->seals, id, old_opened) : NULL;
			anew = anew ? anew : db_unit_new(w->db, on_resealed, w);
			db_unit_add(anew, &SQL_webhook_reseal);
			db_param_text(anew, id);
			db_param_text(anew, secret);
			db_param_text(anew, old);
			db_param_text(anew, sealed);
			db_param_text(anew, old_sealed);
			free(sealed);
			free(old_sealed);
		}
		free(opened);
		free(old_opened);
	}
	if (anew)
		db_unit_submit(anew);
}

static void reseal(struct webhooks *w)
{
	const char *stale[3];
	struct db_array prefixes = { 0 };

	seals_stale(&w->seals, stale);
	if (!stale[0])
		return;
	for (size_t i = 0; stale[i]; i++)
		db_array_text(&prefixes, stale[i]);
	struct db_unit *unit = db_unit_new(w->db, on_stale, w);
	db_unit_add(unit, &SQL_webhooks_stale);
	db_param_array(unit, &prefixes);
	db_param_int(unit, RESEAL_MAX);
	db_unit_submit(unit);
}

/* A turn. */

static void add_busy(const struct list *attempts, struct db_array *busy)
{
	list_for_each (node, attempts)
		db_array_text(busy, container_of(node, struct webhook_attempt, node)->webhook_id);
}

static void add_take(struct webhooks *w, struct db_unit *unit, int64_t room)
{
	struct db_array busy = { 0 };

	add_busy(&w->attempts, &busy);
	db_unit_add(unit, &SQL_webhooks_take);
	db_param_int(unit, room);
	db_param_int(unit, EACH_MAX);
	db_param_array(unit, &busy);
	db_param_int(unit, w->options.timeout_ms + SLACK_MS);
	db_param_bool(unit, w->options.synchronous);
}

static void add_settle(struct webhooks *w, struct db_unit *unit)
{
	struct db_array webhooks = { 0 }, vehicles = { 0 }, claims = { 0 }, ids = { 0 }, whats = { 0 }, codes = { 0 },
			errors = { 0 }, waits = { 0 };

	list_for_each (node, &w->recorded) {
		const struct webhook_attempt *a = container_of(node, struct webhook_attempt, node);
		db_array_text(&webhooks, a->webhook_id);
		db_array_text(&vehicles, a->vehicle_id);
		db_array_int(&claims, a->claim);
		db_array_text(&ids, a->id);
		db_array_text(&whats, webhook_outcome_names[a->outcome]);
		if (a->status)
			db_array_int(&codes, a->status);
		else
			db_array_text(&codes, NULL);
		db_array_text(&errors, a->error[0] ? a->error : NULL);
		db_array_int(&waits, a->wait_ms);
	}
	db_unit_add(unit, &SQL_webhooks_settle);
	db_param_array(unit, &webhooks);
	db_param_array(unit, &vehicles);
	db_param_array(unit, &claims);
	db_param_array(unit, &ids);
	db_param_array(unit, &whats);
	db_param_array(unit, &codes);
	db_param_array(unit, &errors);
	db_param_array(unit, &waits);
	db_param_int(unit, w->options.retry_first_ms);
	db_param_int(unit, w->options.retry_max_ms);
	db_param_int(unit, w->options.retry_for_ms);
}

static void turn(struct webhooks *w)
{
	bool settles = !list_is_empty(&w->ended), takes = w->state == RUNNING && w->there_are;

	if (w->turning || !db_is_up(w->db)) {
		w->again = w->turning;
		return;
	}
	list_append_all(&w->recorded, &w->ended);
	size_t room = IN_HAND_MAX - w->in_hand;
	list_for_each (node, &w->recorded)
		room++; /* they are over by then */
	if (!settles && (!takes || room == 0))
		return;
	struct db_unit *unit = db_unit_new(w->db, on_turned, w);
	w->turning = true;
	w->again = false;
	w->turned_ms = loop_monotonic_ms(w->loop);
	if (settles)
		add_settle(w, unit);
	if (takes && room > 0)
		add_take(w, unit, (int64_t)room);
	db_unit_submit(unit);
}

/* Columns of webhooks_settle.sql and webhooks_untold.sql. */
enum { DISABLED_WEBHOOK, DISABLED_SUBJECT, DISABLED_VEHICLE, DISABLED_REASON };

static void note(const struct db_unit *unit)
{
	for (size_t row = 0; row < db_rows(unit, 0); row++) {
		metric_add(METRIC_WEBHOOKS_DISABLED, 1);
		log_warn("webhook", "it is disabled", LOG_TEXT("webhook_id", db_text(unit, 0, row, DISABLED_WEBHOOK)),
			LOG_TEXT("reason", db_text(unit, 0, row, DISABLED_REASON)));
	}
}

/* Once or more: whoever writes the event first has told it. */
static void tell(const struct webhooks *w, const struct db_unit *unit, size_t statement)
{
	for (size_t row = 0; row < db_rows(unit, statement); row++) {
		json_t *data = memory_need(
			json_pack("{s:s, s:s, s:s}", "webhook_id", db_text(unit, statement, row, DISABLED_WEBHOOK),
				"subject", db_text(unit, statement, row, DISABLED_SUBJECT), "reason",
				db_text(unit, statement, row, DISABLED_REASON)));
		char *text = memory_need(json_dumps(data, JSON_COMPACT));
		w->options.on_disabled(w->options.owner, db_text(unit, statement, row, DISABLED_VEHICLE), text);
		free(text);
		json_decref(data);
	}
}

static void count(struct webhooks *w, int by)
{
	w->in_hand += (size_t)by;
	metric_add(METRIC_WEBHOOKS_IN_HAND, by);
}

static void forget(struct webhooks *w, struct list *attempts)
{
	struct list *node;

	while ((node = list_take_first(attempts)) != NULL) {
		webhook_attempt_free(container_of(node, struct webhook_attempt, node));
		count(w, -1);
	}
}

/* Whether to record it is of no use: it cannot be, or the server has been in trouble over it for too long. */
static bool is_hopeless(struct webhooks *w, const struct db_unit *unit, const struct fault *fault)
{
	w->refusals = fault && db_unit_sqlstate(unit)[0] ? w->refusals + 1 : 0;
	return fault == &FAULT_STATEMENT || w->refusals >= REFUSALS_MAX;
}

/* An outcome that may not have been recorded is recorded again: what it concerned is another claim by then, if it was. */
static void on_turned(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct webhooks *w = context;
	bool settled = !list_is_empty(&w->recorded);

	w->turning = false;
	complain(unit, fault);
	if (!is_hopeless(w, unit, fault) && fault) {
		list_append_all(&w->recorded, &w->ended);
		list_append_all(&w->ended, &w->recorded);
	} else {
		forget(w, &w->recorded);
	}
	if (!fault && settled) {
		note(unit);
		tell(w, unit, 0);
	}
	if (!fault && db_unit_size(unit) > (size_t)settled)
		begin(w, unit, settled);
	if (!fault && (w->again || !list_is_empty(&w->ended)))
		turn(w);
	wind_up(w);
}

/* Attempts. */

static char *copy(const char *text)
{
	return text ? memory_need(strdup(text)) : NULL;
}

static void end(struct webhooks *w, struct webhook_attempt *a, enum webhook_outcome outcome, const char *why)
{
	a->outcome = outcome;
	a->status = 0;
	a->wait_ms = 0;
	snprintf(a->error, sizeof(a->error), "%s", why);
	list_append(&w->ended, &a->node);
}

static struct webhook_attempt *read_attempt(struct webhooks *w, const struct db_unit *unit, size_t s, size_t row)
{
	enum {
		WEBHOOK,
		VEHICLE,
		CLAIM,
		ID,
		ATTEMPT,
		URL,
		SECRET,
		OLD_SECRET,
		VERDICT,
		BODY
	}; /* of webhooks_take.sql */
	struct webhook_attempt *a = webhook_attempt_new(w->loop);
	const char *verdict = db_text(unit, s, row, VERDICT);

	snprintf(a->webhook_id, sizeof(a->webhook_id), "%s", db_text(unit, s, row, WEBHOOK));
	snprintf(a->vehicle_id, sizeof(a->vehicle_id), "%s", db_text(unit, s, row, VEHICLE));
	snprintf(a->id, sizeof(a->id), "%s", db_text(unit, s, row, ID));
	a->claim = db_int(unit, s, row, CLAIM);
	a->url = copy(db_text(unit, s, row, URL));
	a->secret = seals_open(&w->seals, a->webhook_id, db_text(unit, s, row, SECRET));
	a->old_secret = db_text(unit, s, row, OLD_SECRET)
				? seals_open(&w->seals, a->webhook_id, db_text(unit, s, row, OLD_SECRET))
				: NULL;
	a->body = copy(db_text(unit, s, row, BODY));
	a->owner = w;
	a->on_done = on_attempted;
	a->outcome = strcmp(verdict, "send") == 0 ? ATTEMPT_RELEASED : ATTEMPT_DROPPED;
	if (a->outcome == ATTEMPT_DROPPED)
		snprintf(a->error, sizeof(a->error), "%s", verdict);
	return a;
}

static void begin(struct webhooks *w, const struct db_unit *unit, size_t statement)
{
	bool is_stale = loop_monotonic_ms(w->loop) - w->turned_ms > FRESH_MS;

	for (size_t row = 0; row < db_rows(unit, statement); row++) {
		struct webhook_attempt *a = read_attempt(w, unit, statement, row);
		count(w, 1);
		if (a->outcome == ATTEMPT_DROPPED) {
			metric_add(METRIC_WEBHOOKS_DROPPED, 1);
			list_append(&w->ended, &a->node);
		} else if (is_stale || w->state != RUNNING) {
			end(w, a, ATTEMPT_RELEASED, "");
		} else if (!a->secret) {
			metric_add(METRIC_WEBHOOKS_FAILED, 1);
			log_error("webhook", "its secret is sealed with another key than webhooks.key",
				LOG_TEXT("webhook_id", a->webhook_id));
			end(w, a, ATTEMPT_FAILED, "its secret is sealed with another key");
		} else {
			list_append(&w->attempts, &a->node);
			webhook_attempt_start(
				a, w->client, db_now_us(w->db), w->options.timeout_ms, w->options.anywhere);
		}
	}
}

static void on_attempted(struct webhook_attempt *a)
{
	struct webhooks *w = a->owner;

	list_remove(&a->node);
	if (w->state == ABORTING) {
		end(w, a, ATTEMPT_RELEASED, "");
		return;
	}
	metric_add(a->outcome == ATTEMPT_DELIVERED ? METRIC_WEBHOOKS_DELIVERED : METRIC_WEBHOOKS_FAILED, 1);
	if (a->outcome != ATTEMPT_DELIVERED)
		log_debug("webhook", "an attempt failed", LOG_TEXT("webhook_id", a->webhook_id),
			LOG_TEXT("delivery_id", a->id), LOG_INT("status", a->status), LOG_TEXT("why", a->error));
	list_append(&w->ended, &a->node);
	turn(w);
	wind_up(w);
}

/* The end: attempts have a moment, then their connections are closed; what is known is recorded. */

void webhooks_stop(struct webhooks *w)
{
	w->state = ENDING;
	loop_timer_stop(&w->tick);
	loop_timer_start(&w->grace, list_is_empty(&w->attempts) ? 0 : GRACE_MS);
}

static void on_client_closed(void *owner)
{
	struct webhooks *w = owner;

	w->state = RECORDING;
	turn(w);
	wind_up(w);
}

static void abort_attempts(struct webhooks *w)
{
	loop_timer_stop(&w->grace);
	w->state = ABORTING;
	http_client_close(w->client, on_client_closed, w);
}

static void on_grace(struct loop_timer *timer)
{
	abort_attempts(container_of(timer, struct webhooks, grace));
}

static void on_closed(void *owner)
{
	struct webhooks *w = owner;
	w->state = QUIET;
}

/* What could not be recorded, since the database is away, is sent again by whoever finds it abandoned. */
static void wind_up(struct webhooks *w)
{
	if (w->state == ENDING && list_is_empty(&w->attempts))
		abort_attempts(w);
	if (w->state != RECORDING || w->turning)
		return;
	w->state = CLOSING;
	forget(w, &w->ended);
	db_close(w->db, on_closed);
}
