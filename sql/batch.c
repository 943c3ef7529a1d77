/* batch.c - gathers items while a transaction is in flight, and cuts the next one when it is over.
 *
 *   submit … submit ─ (end of the turn, nothing in flight) ─ cut ─ commit ─┬─ stages read, items hear ─ cut …
 *                                                                         └─ fault: items hear it
 *
 * A fence that failed undoes the whole transaction: the items behind the leases that are lost hear FAULT_FENCED, all others go
 * into the next cut once more, since nothing of them was done. Likewise, once, after a deadlock or a serialization failure. A statement
 * that was refused for another reason is somebody's fault: by halves it is found whose.
 *
 *   refused, for what it says ─ by halves ─ alone ─┬─ it says several things: by halves
 *                                                  └─ it cannot be done
 *   refused, in the server's trouble ─┬─ by halves ─ alone ─┬─ the first: it comes again, and then goes alone
 *                                     │                     ├─ another vehicle's, too, and nothing done between: everybody hears it
 *                                     │                     └─ again and again, while the same is done for others: set aside
 *                                     └─ no room, no partition, or still in trouble: everybody hears it */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "sql/batch.h"
#include "sql/cut.h"
#include "sql/db.h"
#include "sql/statements.h"
#include "sql/suspects.h"

#define CUT_MAX 512
#define CUT_MIN 32     /* a transaction that is slow whatever is in it gets no faster by having less */
#define CUT_TELLING 16 /* of fewer items nobody can tell what one costs */
#define PACE_US 500000 /* of a transaction: below the second of silence, far below the five of patience (sql/db.c) */
#define LATE_MS 2000
#define PATIENCE_MS 5000
#define SUSPECT_MS 20000 /* somebody may have the vehicle locked, or mend it */
#define QUIET_MS 6000	 /* a feed says what was refused again within five seconds */
#define QUIET_MAX 10	 /* times as long: then it grows no more */

const struct fault FAULT_FENCED = { "fenced", 503, EXECUTED_NO, RETRY_LATER, "the lease is another worker's now",
	NULL };

/* Takes the place of FAULT_INTERNAL for a caller: it cannot be done now, and he need not try at once. */
const struct fault FAULT_SET_ASIDE = { "internal", 500, EXECUTED_NO, RETRY_NEVER,
	"the database cannot do it, and does others'", "Something went wrong." };

/* How many items of a vehicle a cut has in a stage. */
struct quota {
	uint64_t cut;		/* that it counts for; of an earlier one: the place is free */
	const char *vehicle_id; /* of one of them */
	const struct batch_stage *stage;
	unsigned used;
};

struct batch {
	struct loop *loop;
	struct db *db;
	struct batch_options options;
	struct batch_stage **stages;
	size_t stage_count;
	struct list waiting;
	size_t waiting_count;
	struct batch_item *unseen; /* the first that no cut got as far as; NULL: none. What a quota holds up was seen */
	struct quota *quotas;	   /* by hash of the vehicle; at most half full */
	size_t quota_count;	   /* a power of two */
	uint64_t cuts;		   /* so far, with the one that is being taken */
	size_t cut_most;	   /* items of the next one; of cut_max at most */
	size_t item_us;		   /* what one cost, lately, but for the commit */
	size_t commit_us;	   /* what that took, and all else that does not depend on what is in a transaction */
	struct batch_cut *in_flight;
	size_t clock; /* of its statements the one that says how long all before it took; 0: none does */
	struct suspects *suspects;
	char refused_alone
		[SUSPECT_NAME_MAX]; /* the vehicle over which the server was in trouble since it did anything; "": none */
	bool is_in_trouble;
	bool wants_room; /* likewise: what fits into a page that is there is written still, and proves nothing */
	int64_t refused_ms, quiet_ms; /* likewise: the last refusal, and for how long none is to come */
	int64_t sent_us, pace_us;     /* of the last transaction: when it was sent, and from then to the verdict */
	struct loop_soon soon;
};

static void on_soon(struct loop_soon *soon);
static struct batch_cut *take(struct batch *batch, struct list *refused);
static bool take_quota(struct batch *batch, const struct batch_item *item);
static void leave(struct batch *batch, struct batch_item *item);
static void send(struct batch *batch, struct batch_cut *cut);
static void on_done(struct db_unit *unit, void *context, const struct fault *fault);
static void tell_all(const struct batch_cut *cut, const struct fault *fault);
static void on_refused(struct batch *batch, const struct db_unit *unit, bool is_own);
static void note_done(struct batch *batch);
static void retry(struct batch *batch, const char *lost);
static void divide(struct batch *batch);
static bool halve(struct batch *batch);

struct batch *batch_new(struct loop *loop, struct db *db, const struct batch_options *options,
	struct batch_stage *const *stages, size_t count)
{
	struct batch *batch = memory_new(sizeof(*batch));
	batch->loop = loop;
	batch->db = db;
	batch->options = *options;
	if (batch->options.cut_max == 0)
		batch->options.cut_max = CUT_MAX;
	batch->cut_most = CUT_MIN;
	if (batch->options.suspect_ms == 0)
		batch->options.suspect_ms = SUSPECT_MS;
	if (batch->options.quiet_ms == 0)
		batch->options.quiet_ms = QUIET_MS;
	batch->quiet_ms = batch->options.quiet_ms;
	batch->suspects = suspects_new(batch->options.suspect_ms);
	batch->stages = memory_new(count * sizeof(struct batch_stage *));
	memcpy(batch->stages, stages, count * sizeof(struct batch_stage *));
	batch->stage_count = count;
	list_init(&batch->waiting);
	batch->quota_count = 2;
	while (batch->quota_count < 2 * batch->options.cut_max)
		batch->quota_count *= 2;
	batch->quotas = memory_new(batch->quota_count * sizeof(struct quota));
	loop_soon_init(&batch->soon, on_soon);
	return batch;
}

void batch_free(struct batch *batch)
{
	if (!batch)
		return;
	assert(batch_is_idle(batch));
	loop_soon_cancel(&batch->soon);
	free(batch->stages);
	free(batch->quotas);
	suspects_free(batch->suspects);
	free(batch);
}

bool batch_is_idle(const struct batch *batch)
{
	return !batch->in_flight && list_is_empty(&batch->waiting);
}

bool batch_has_room(const struct batch *batch)
{
	return batch->waiting_count < batch->options.items_max;
}

static struct batch_item *item_of(struct list *node)
{
	return container_of(node, struct batch_item, node);
}

static int64_t waited_ms(const struct batch *batch, const struct batch_item *item)
{
	return loop_monotonic_ms(batch->loop) - item->since_ms;
}

bool batch_is_late(const struct batch *batch)
{
	return batch->unseen && waited_ms(batch, batch->unseen) > LATE_MS;
}

int64_t batch_pace_ms(const struct batch *batch)
{
	return batch->pace_us / 1000;
}

const struct fault *batch_submit(struct batch *batch, struct batch_item *item)
{
	assert(item->stage && item->vehicle_id && item->on_done);
	if (!db_is_up(batch->db))
		return &FAULT_STORAGE_UNAVAILABLE;
	if (!batch_has_room(batch))
		return &FAULT_OVERLOADED;
	item->retried = false;
	item->company = suspects_have(batch->suspects, item) ? 1 : 0;
	item->since_ms = loop_monotonic_ms(batch->loop);
	item->is_waiting = true;
	list_append(&batch->waiting, &item->node);
	batch->waiting_count++;
	if (!batch->unseen)
		batch->unseen = item;
	if (!batch->in_flight)
		loop_soon_call(batch->loop, &batch->soon);
	return NULL;
}

bool batch_withdraw(struct batch *batch, struct batch_item *item)
{
	if (!item->is_waiting)
		return false;
	if (batch->unseen == item)
		batch->unseen = item->node.next != &batch->waiting ? item_of(item->node.next) : NULL;
	leave(batch, item);
	return true;
}

static void on_soon(struct loop_soon *soon)
{
	struct batch *batch = container_of(soon, struct batch, soon);
	struct list refused;

	if (batch->in_flight || list_is_empty(&batch->waiting))
		return;
	list_init(&refused);
	struct batch_cut *cut = take(batch, &refused);
	if (cut)
		send(batch, cut);
	while (!list_is_empty(&refused)) {
		struct batch_item *item = item_of(list_take_first(&refused));
		item->on_done(item, &FAULT_OVERLOADED);
	}
}

static void leave(struct batch *batch, struct batch_item *item)
{
	list_remove(&item->node);
	item->is_waiting = false;
	batch->waiting_count--;
}

static void move(struct batch *batch, struct batch_item *item, struct list *to)
{
	leave(batch, item);
	list_append(to, &item->node);
}

/* The first for which there is room, NULL where there are none; and on the way to `refused` who has waited for too long. What is passed over
 * keeps its place. */
static struct batch_cut *take(struct batch *batch, struct list *refused)
{
	struct list taken, *node, *next;
	size_t most = batch->cut_most, count = 0;

	list_init(&taken);
	batch->cuts++;
	for (node = batch->waiting.next; node != &batch->waiting && count < most; node = next) {
		struct batch_item *item = item_of(node);
		next = node->next;
		if (item->company > 0 && item->company < most)
			most = item->company;
		if (count >= most)
			break;
		if (item->is_impatient && waited_ms(batch, item) > PATIENCE_MS) {
			move(batch, item, refused);
		} else if (take_quota(batch, item)) {
			move(batch, item, &taken);
			count++;
		}
	}
	batch->unseen = node != &batch->waiting ? item_of(node) : NULL;
	return count > 0 ? cut_new(batch->stages, batch->stage_count, &taken, count) : NULL;
}

/* FNV-1a. */
static size_t hash_of(const char *text)
{
	uint32_t hash = 2166136261u;
	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * 16777619u;
	return hash;
}

/* False: its vehicle has as many in this stage as there are rounds. */
static bool take_quota(struct batch *batch, const struct batch_item *item)
{
	size_t mask = batch->quota_count - 1, at = hash_of(item->vehicle_id) & mask;
	struct quota *q;

	for (;; at = (at + 1) & mask) {
		q = &batch->quotas[at];
		if (q->cut != batch->cuts)
			*q = (struct quota){ batch->cuts, item->vehicle_id, item->stage, 0 };
		if (q->stage == item->stage && strcmp(q->vehicle_id, item->vehicle_id) == 0)
			break;
	}
	if (q->used == CUT_ROUNDS_MAX)
		return false;
	q->used++;
	return true;
}

static void send(struct batch *batch, struct batch_cut *cut)
{
	struct db_unit *unit = db_unit_new(batch->db, on_done, batch);

	batch->in_flight = cut;
	cut_write(cut, unit, batch->options.holder);
	batch->clock = cut_count(cut) >= CUT_TELLING ? db_unit_add(unit, &SQL_spent) : 0;
	batch->sent_us = loop_monotonic_us(batch->loop);
	db_unit_submit(unit);
}

static bool may_retry(const struct db_unit *unit, const struct fault *fault)
{
	const char *state = db_unit_sqlstate(unit);
	return fault == &FAULT_STORAGE_UNAVAILABLE && (strcmp(state, "40P01") == 0 || strcmp(state, "40001") == 0);
}

static bool is_fenced(const struct db_unit *unit, const struct fault *fault)
{
	return fault == &FAULT_STATEMENT && strcmp(db_unit_sqlstate(unit), "KF001") == 0;
}

static size_t larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* How long its items took the database, of `pace_us` in all. Of a transaction that is not over nobody knows: all of it. */
static size_t spent_us(const struct batch *batch, const struct db_unit *unit, const struct fault *fault)
{
	size_t pace_us = (size_t)batch->pace_us, spent = fault ? pace_us : (size_t)db_int(unit, batch->clock, 0, 0);
	return spent < pace_us ? spent : pace_us;
}

/* As many as take PACE_US, by what an item cost. Where each costs the database so much that a full cut would take longer than anybody waits
 * for it, nothing would ever be done otherwise: all of it would be unknown, and come again. Items are not alike, so the dear ones are
 * remembered over several cheap cuts; and a few say little of many, so it is at most twice of what was done lately. What the commit takes
 * (a standby that is far away) it takes whatever is in the transaction: it leaves items less time, but half of it for certain, or
 * the slower it is the less would be done besides. */
static void fit_next_cut(struct batch *batch, size_t count, const struct db_unit *unit, const struct fault *fault)
{
	size_t most = larger(2 * larger(count, CUT_MIN), batch->cut_most - batch->cut_most / 8);

	if (batch->clock) {
		size_t spent = spent_us(batch, unit, fault);
		batch->item_us = larger(spent / count, batch->item_us - batch->item_us / 8);
		batch->commit_us = (size_t)batch->pace_us - spent;
	}
	size_t budget_us = batch->commit_us < PACE_US / 2 ? PACE_US - batch->commit_us : PACE_US / 2;
	if (most > budget_us / (batch->item_us + 1))
		most = budget_us / (batch->item_us + 1);
	if (most > batch->options.cut_max)
		most = batch->options.cut_max;
	batch->cut_most = larger(most, CUT_MIN);
}

static void on_done(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct batch *batch = context;
	struct batch_cut *cut = batch->in_flight;

	batch->pace_us = loop_monotonic_us(batch->loop) - batch->sent_us;
	if (!fault || fault == &FAULT_STORAGE_UNKNOWN) /* a refusal says nothing of how long it would have taken */
		fit_next_cut(batch, cut_count(cut), unit, fault);
	if (!fault) {
		metric_add(METRIC_BATCHES, 1);
		metric_add(METRIC_BATCH_ITEMS, (int64_t)cut_count(cut));
		metric_observe(METRIC_COMMIT_SECONDS, batch->pace_us);
		note_done(batch);
		cut_read(cut, unit);
		tell_all(cut, NULL);
	} else {
		metric_add(METRIC_BATCH_FAILED, 1);
		if (!batch->is_in_trouble) /* of it the log knows, and of its reasons (sql/db.c) */
			log_warn("batch", "a transaction failed", LOG_TEXT("fault", fault->name),
				LOG_INT("items", cut_count(cut)),
				LOG_TEXT("sqlstate", fault == &FAULT_STATEMENT ? db_unit_sqlstate(unit) : NULL),
				LOG_TEXT("detail", fault == &FAULT_STATEMENT ? db_unit_message(unit) : NULL));
		if (is_fenced(unit, fault) || may_retry(unit, fault))
			retry(batch, is_fenced(unit, fault) ? db_unit_message(unit) : NULL);
		else if (db_unit_sqlstate(unit)[0])
			on_refused(batch, unit, fault == &FAULT_STATEMENT);
		else
			tell_all(cut, fault);
	}
	batch->in_flight = NULL;
	cut_free(cut);
	if (!list_is_empty(&batch->waiting))
		loop_soon_call(batch->loop, &batch->soon);
}

/* An item may be freed by its verdict, and its vehicle's name with it: nothing of the cut is read afterwards. */
static void tell_all(const struct batch_cut *cut, const struct fault *fault)
{
	for (size_t i = 0; i < cut_count(cut); i++)
		cut_item(cut, i)->on_done(cut_item(cut, i), fault);
}

/* Whether the lease is named among the lost ones, as fence() does: "fenced: feed/07@12 …". */
static bool is_lost(const struct batch_fence *fence, const char *lost)
{
	char name[128];
	int len = snprintf(name, sizeof(name), " %s@%" PRId64, fence->lease, fence->epoch);

	for (const char *at = lost; (at = strstr(at, name)) != NULL; at += len) {
		if (at[len] == ' ' || at[len] == '\0')
			return true;
	}
	return false;
}

static void go_again(struct batch *batch, struct batch_item *item, struct list *again)
{
	item->is_waiting = true;
	list_append(again, &item->node);
	batch->waiting_count++;
}

static void to_the_front(struct batch *batch, struct list *again)
{
	list_append_all(again, &batch->waiting);
	list_append_all(&batch->waiting, again);
}

/* Nothing was done. What leant on a lost lease (`lost` names them; NULL: it was no fence) hears so; the rest goes to the front
 * of the queue: without the lost ones the same cannot happen to it again, but a deadlock could, and is borne once. */
static void retry(struct batch *batch, const char *lost)
{
	const struct batch_cut *cut = batch->in_flight;
	struct list again;

	list_init(&again);
	for (size_t i = 0; i < cut_count(cut); i++) {
		struct batch_item *item = cut_item(cut, i);
		if (lost && item->fence && is_lost(item->fence, lost)) {
			item->on_done(item, &FAULT_FENCED);
		} else if (!lost && item->retried) {
			item->on_done(item, &FAULT_STORAGE_UNAVAILABLE);
		} else {
			item->retried = item->retried || !lost;
			go_again(batch, item, &again);
		}
	}
	to_the_front(batch, &again);
}

/* Whose fault it is. */

bool batch_is_in_trouble(const struct batch *batch)
{
	return batch->is_in_trouble;
}

bool batch_has_given_up(const struct fault *fault)
{
	return fault == &FAULT_INTERNAL || fault == &FAULT_SET_ASIDE;
}

static void set_trouble(struct batch *batch, bool is_in_trouble)
{
	batch->refused_alone[0] = '\0';
	if (batch->is_in_trouble == is_in_trouble)
		return;
	batch->is_in_trouble = is_in_trouble;
	if (is_in_trouble)
		log_error("batch", "the database writes nothing",
			LOG_TEXT("what", "vehicles' words come again; callers hear 503"));
	else
		log_info("batch", "the database writes again");
	if (batch->options.on_trouble)
		batch->options.on_trouble(batch->options.owner);
}

/* Where it did not begin by the want of room, that somebody has tried proves little. Once nothing was refused for long enough, nobody may be
 * left who says anything; and if it begins again then, the next time takes longer. */
void batch_note_writable(struct batch *batch)
{
	if (!batch->is_in_trouble)
		return;
	if (!batch->wants_room) {
		if (loop_monotonic_ms(batch->loop) - batch->refused_ms < batch->quiet_ms)
			return;
		if (batch->quiet_ms < QUIET_MAX * batch->options.quiet_ms)
			batch->quiet_ms *= 2;
	}
	batch->wants_room = false;
	set_trouble(batch, false);
}

static void note_done(struct batch *batch)
{
	if (!batch->wants_room) {
		batch->quiet_ms = batch->options.quiet_ms;
		set_trouble(batch, false);
	}
	suspects_note_done(batch->suspects, batch->in_flight, loop_monotonic_ms(batch->loop));
}

static void set_aside(const struct batch_cut *cut, const struct db_unit *unit)
{
	const struct batch_item *item = cut_item(cut, 0);

	metric_add(METRIC_BATCH_SET_ASIDE, 1);
	log_error("batch", "set aside: the database cannot do it, and does the same for others",
		LOG_TEXT("stage", item->stage->name), LOG_TEXT("vehicle_id", item->vehicle_id),
		LOG_TEXT("sqlstate", db_unit_sqlstate(unit)), LOG_TEXT("detail", db_unit_message(unit)));
	tell_all(cut, &FAULT_SET_ASIDE);
}

/* In it there is nothing to be found by halves: what still waits to be tried hears the same, and comes again. */
static void enter_trouble(struct batch *batch)
{
	struct list doubtful, *next;

	list_init(&doubtful);
	for (struct list *node = batch->waiting.next; node != &batch->waiting; node = next) {
		struct batch_item *item = item_of(node);
		next = node->next;
		if (item->company > 0 && batch_withdraw(batch, item))
			list_append(&doubtful, &item->node);
	}
	batch->refused_ms = loop_monotonic_ms(batch->loop);
	set_trouble(batch, true);
	tell_all(batch->in_flight, &FAULT_STORAGE_UNAVAILABLE);
	while (!list_is_empty(&doubtful)) {
		struct batch_item *item = item_of(list_take_first(&doubtful));
		item->on_done(item, &FAULT_STORAGE_UNAVAILABLE);
	}
}

/* Nobody's in particular: no room on the disk, or no partition that takes the row (the verdict tells it from a broken rule). Memory may be
 * wanted by one item alone. */
static bool is_everybodys(const struct db_unit *unit)
{
	const char *state = db_unit_sqlstate(unit);
	return strcmp(state, "53100") == 0 || strncmp(state, "23", 2) == 0;
}

/* The server is in trouble over this item. Over another vehicle's as well, and it has done nothing since: then it is over all. */
static void on_refused_alone(struct batch *batch, const struct db_unit *unit)
{
	const struct batch_cut *cut = batch->in_flight;
	const struct batch_item *item = cut_item(cut, 0);

	bool is_hopeless = suspects_refused(batch->suspects, item, loop_monotonic_ms(batch->loop));
	bool is_over_all = batch->refused_alone[0] && strcmp(batch->refused_alone, item->vehicle_id) != 0;

	snprintf(batch->refused_alone, sizeof(batch->refused_alone), "%s", item->vehicle_id);
	if (is_hopeless)
		set_aside(cut, unit);
	else if (is_over_all)
		enter_trouble(batch);
	else
		tell_all(cut, &FAULT_STORAGE_UNAVAILABLE);
}

/* Nothing was done, since the database refused a statement. */
static void on_refused(struct batch *batch, const struct db_unit *unit, bool is_own)
{
	if (!is_own && is_everybodys(unit))
		batch->wants_room = true;
	if (!is_own && (batch->is_in_trouble || batch->wants_room))
		enter_trouble(batch);
	else if (cut_count(batch->in_flight) > 1)
		divide(batch);
	else if (!is_own)
		on_refused_alone(batch, unit);
	else if (!halve(batch))
		tell_all(batch->in_flight, &FAULT_INTERNAL);
}

/* One of them cannot be done. */
static void divide(struct batch *batch)
{
	const struct batch_cut *cut = batch->in_flight;
	struct list again;

	list_init(&again);
	for (size_t i = 0; i < cut_count(cut); i++) {
		struct batch_item *item = cut_item(cut, i);
		item->company = (cut_count(cut) + 1) / 2;
		go_again(batch, item, &again);
	}
	to_the_front(batch, &again);
}

/* False: the only one of them says no more than one thing. Else each half of it goes alone, before what its vehicle said later. */
static bool halve(struct batch *batch)
{
	struct batch_item *item = cut_item(batch->in_flight, 0),
			  *rest = item->stage->halve ? item->stage->halve(item) : NULL;
	struct list again;

	if (!rest)
		return false;
	list_init(&again);
	rest->since_ms = item->since_ms;
	rest->company = item->company = 1;
	go_again(batch, item, &again);
	go_again(batch, rest, &again);
	to_the_front(batch, &again);
	return true;
}
