/* batch.c - gathers items while a transaction is in flight, and cuts the next one when it is over.
 *
 *   submit … submit ─ (end of the turn, nothing in flight) ─ cut ─ commit ─┬─ stages read, items hear ─ cut …
 *                                                                         └─ fault: items hear it
 *
 * A fence that failed undoes the whole transaction: the items behind the leases that are lost hear FAULT_FENCED, all others go
 * into the next cut once more, since nothing of them was done. Likewise, once, after a deadlock or a serialization failure. A statement
 * that was refused for another reason is somebody's fault: by halves it is found whose.
 *
 *   refused, for what it says ─ by halves ─ alone: it cannot be done
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
#include "sql/db.h"
#include "sql/statements.h"

#define ROUNDS_MAX 8 /* of one vehicle in one stage and cut; the rest waits for the next cut */
#define CUT_MAX 512
#define CUT_MIN 32  /* a transaction that is slow whatever is in it gets no faster by having less */
#define PACE_MS 500 /* of a transaction: below the second of silence, far below the five of patience (sql/db.c) */
#define LATE_MS 2000
#define PATIENCE_MS 5000
#define SUSPECTS_MAX 256
#define SUSPECT_TRIES 4	     /* alone, each with others' items done since the one before */
#define SUSPECT_MS 20000     /* and for so long: somebody may have the vehicle locked, or mend it */
#define SUSPECT_FORGOTTEN 3  /* times as long: who was not refused for that time is none any more */
#define SUSPECT_NAME_MAX 128 /* a longer one is no vehicle's */
#define QUIET_MS 6000	     /* a feed says what was refused again within five seconds */
#define QUIET_MAX 10	     /* times as long: then it grows no more */

const struct fault FAULT_FENCED = { "fenced", 503, EXECUTED_NO, RETRY_LATER, "the lease is another worker's now",
	NULL };

/* Takes the place of FAULT_INTERNAL for a caller: it cannot be done now, and he need not try at once. */
const struct fault FAULT_SET_ASIDE = { "internal", 500, EXECUTED_NO, RETRY_NEVER,
	"the database cannot do it, and does others'", "Something went wrong." };

/* A vehicle over which the server was in trouble, in a stage, when it went alone. */
struct suspect {
	char vehicle_id[SUSPECT_NAME_MAX]; /* "": the place is free */
	const struct batch_stage *stage;
	int64_t since_ms, refused_ms; /* monotonic: the first of the tries that count, and the last */
	unsigned tries;
	bool others_done; /* items of the stage, since the last try */
};

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
	size_t item_us;		   /* what one cost, lately */
	struct batch_cut *in_flight;
	struct suspect suspects[SUSPECTS_MAX];
	size_t suspect_count;
	char refused_alone
		[SUSPECT_NAME_MAX]; /* the vehicle over which the server was in trouble since it did anything; "": none */
	bool is_in_trouble;
	bool wants_room; /* likewise: what fits into a page that is there is written still, and proves nothing */
	int64_t refused_ms, quiet_ms; /* likewise: the last refusal, and for how long none is to come */
	int64_t pace_us;	      /* from sending to the verdict, of the last transaction */
	struct loop_soon soon;
};

struct placed {
	struct batch_item *item;
	size_t stage, arrival;
	unsigned round;
};

/* The statements that a stage added in one of its calls. */
struct part {
	size_t first;
};

struct round {
	struct batch_item **items;
	size_t count;
	struct part part;
};

struct stage_cut {
	struct round rounds[ROUNDS_MAX]; /* their items lie one after the other: rounds[0].items has all */
	size_t count;
	struct part begin, finish;
};

struct batch_cut {
	struct batch *batch;
	struct placed *placed;
	size_t count;
	const char **vehicles;
	bool *unsettled; /* of each of them: an item of its needs it to be settled */
	size_t vehicle_count;
	struct stage_cut *stages;
	struct batch_item **sorted; /* backs the rounds */
	int64_t sent_us;
};

static void on_soon(struct loop_soon *soon);
static struct batch_cut *take(struct batch *batch, struct list *refused);
static bool take_quota(struct batch *batch, const struct batch_item *item);
static void leave(struct batch *batch, struct batch_item *item);
static void place(struct batch_cut *cut, struct list *taken);
static void list_vehicles(struct batch_cut *cut);
static void list_unsettled(struct batch_cut *cut);
static void send(struct batch_cut *cut);
static void on_done(struct db_unit *unit, void *context, const struct fault *fault);
static void read_all(struct batch_cut *cut, struct db_unit *unit);
static void tell_all(struct batch_cut *cut, const struct fault *fault);
static void on_refused(struct batch_cut *cut, const struct db_unit *unit, bool is_own);
static struct suspect *suspect_of(struct batch *batch, const struct batch_item *item);
static void note_done(const struct batch_cut *cut);
static void retry(struct batch_cut *cut, const char *lost);
static void divide(struct batch_cut *cut);
static void cut_free(struct batch_cut *cut);

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

size_t batch_cut_vehicles(const struct batch_cut *cut, const char *const **ret_ids)
{
	*ret_ids = cut->vehicles;
	return cut->vehicle_count;
}

bool batch_cut_leaves_settled(const struct batch_cut *cut, size_t vehicle)
{
	return !cut->unsettled[vehicle];
}

const struct fault *batch_submit(struct batch *batch, struct batch_item *item)
{
	assert(item->stage && item->vehicle_id && item->on_done);
	if (!db_is_up(batch->db))
		return &FAULT_STORAGE_UNAVAILABLE;
	if (!batch_has_room(batch))
		return &FAULT_OVERLOADED;
	item->retried = false;
	item->company = suspect_of(batch, item) ? 1 : 0;
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
	if (cut->count > 0) {
		batch->in_flight = cut;
		send(cut);
	} else {
		cut_free(cut);
	}
	while (!list_is_empty(&refused)) {
		struct batch_item *item = item_of(list_take_first(&refused));
		item->on_done(item, &FAULT_OVERLOADED);
	}
}

static size_t stage_index(const struct batch *batch, const struct batch_stage *stage)
{
	size_t i = 0;
	while (i < batch->stage_count && batch->stages[i] != stage)
		i++;
	assert(i < batch->stage_count);
	return i;
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

/* The first for which there is room, and on the way to `refused` who has waited for too long. What is passed over keeps its place. */
static struct batch_cut *take(struct batch *batch, struct list *refused)
{
	struct batch_cut *cut = memory_new(sizeof(*cut));
	struct list taken, *node, *next;
	size_t most = batch->cut_most;

	cut->batch = batch;
	list_init(&taken);
	batch->cuts++;
	for (node = batch->waiting.next; node != &batch->waiting && cut->count < most; node = next) {
		struct batch_item *item = item_of(node);
		next = node->next;
		if (item->company > 0 && item->company < most)
			most = item->company;
		if (cut->count >= most)
			break;
		if (item->is_impatient && waited_ms(batch, item) > PATIENCE_MS) {
			move(batch, item, refused);
		} else if (take_quota(batch, item)) {
			move(batch, item, &taken);
			cut->count++;
		}
	}
	batch->unseen = node != &batch->waiting ? item_of(node) : NULL;
	place(cut, &taken);
	list_vehicles(cut);
	return cut;
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
	if (q->used == ROUNDS_MAX)
		return false;
	q->used++;
	return true;
}

static int compare_placed(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;
	if (x->stage != y->stage)
		return x->stage < y->stage ? -1 : 1;
	int by_vehicle = strcmp(x->item->vehicle_id, y->item->vehicle_id);
	if (by_vehicle != 0)
		return by_vehicle;
	return x->arrival < y->arrival ? -1 : 1;
}

/* Sorts by stage, vehicle and arrival; the k-th item of a vehicle in a stage goes into round k. */
static void place(struct batch_cut *cut, struct list *taken)
{
	size_t n = 0;

	cut->placed = memory_new(cut->count * sizeof(struct placed));
	while (!list_is_empty(taken)) {
		struct batch_item *item = item_of(list_take_first(taken));
		cut->placed[n] = (struct placed){ item, stage_index(cut->batch, item->stage), n, 0 };
		n++;
	}
	qsort(cut->placed, cut->count, sizeof(struct placed), compare_placed);
	for (size_t i = 1; i < cut->count; i++) {
		const struct placed *before = &cut->placed[i - 1];
		if (cut->placed[i].stage == before->stage &&
			strcmp(cut->placed[i].item->vehicle_id, before->item->vehicle_id) == 0)
			cut->placed[i].round = before->round + 1;
	}

	cut->stages = memory_new(cut->batch->stage_count * sizeof(struct stage_cut));
	cut->sorted = memory_new(cut->count * sizeof(struct batch_item *));
	size_t used = 0;
	for (size_t i = 0; i < cut->count;) {
		size_t stage = cut->placed[i].stage, end = i;
		while (end < cut->count && cut->placed[end].stage == stage)
			end++;
		for (unsigned r = 0; r < ROUNDS_MAX; r++) {
			struct round *round = &cut->stages[stage].rounds[r];
			round->items = &cut->sorted[used];
			for (size_t k = i; k < end; k++) {
				if (cut->placed[k].round == r) {
					cut->placed[k].item->number = round->count++;
					cut->sorted[used++] = cut->placed[k].item;
				}
			}
		}
		cut->stages[stage].count = end - i;
		i = end;
	}
}

static int compare_ids(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void list_vehicles(struct batch_cut *cut)
{
	size_t kept = 0;

	cut->vehicles = memory_new(cut->count * sizeof(char *));
	for (size_t i = 0; i < cut->count; i++)
		cut->vehicles[i] = cut->placed[i].item->vehicle_id;
	qsort(cut->vehicles, cut->count, sizeof(char *), compare_ids);
	for (size_t i = 0; i < cut->count; i++) {
		if (kept == 0 || strcmp(cut->vehicles[kept - 1], cut->vehicles[i]) != 0)
			cut->vehicles[kept++] = cut->vehicles[i];
	}
	cut->vehicle_count = kept;
	list_unsettled(cut);
}

static void list_unsettled(struct batch_cut *cut)
{
	cut->unsettled = memory_new(cut->vehicle_count * sizeof(bool));
	for (size_t i = 0; i < cut->count; i++) {
		const struct batch_item *item = cut->placed[i].item;
		if (item->stage->leaves_settled)
			continue;
		const char **vehicle =
			bsearch(&item->vehicle_id, cut->vehicles, cut->vehicle_count, sizeof(char *), compare_ids);
		cut->unsettled[vehicle - cut->vehicles] = true;
	}
}

static bool fence_seen(const struct batch_cut *cut, size_t before, const struct batch_fence *fence)
{
	for (size_t i = 0; i < before; i++) {
		const struct batch_fence *f = cut->placed[i].item->fence;
		if (f && strcmp(f->lease, fence->lease) == 0 && f->epoch == fence->epoch)
			return true;
	}
	return false;
}

static void add_fence(struct batch_cut *cut, struct db_unit *unit)
{
	struct db_array names = { 0 }, epochs = { 0 };

	for (size_t i = 0; i < cut->count; i++) {
		const struct batch_fence *fence = cut->placed[i].item->fence;
		if (!fence || fence_seen(cut, i, fence))
			continue;
		db_array_text(&names, fence->lease);
		db_array_int(&epochs, fence->epoch);
	}
	if (names.count > 0) {
		db_unit_add(unit, &SQL_fence);
		db_param_array(unit, &names);
		db_param_array(unit, &epochs);
		db_param_text(unit, cut->batch->options.holder);
	}
	db_array_free(&names);
	db_array_free(&epochs);
}

/* All in one statement, so that two cuts make theirs in one order, and before the lock: a head that another cut makes meanwhile is locked
 * as any other. */
static void add_new_heads(struct batch_cut *cut, struct db_unit *unit)
{
	struct db_array vehicles = { 0 }, askers = { 0 };

	for (size_t i = 0; i < cut->count; i++) {
		const struct batch_item *item = cut->placed[i].item;
		const char *asker = NULL;
		if (!item->stage->may_be_new || !item->stage->may_be_new(item, &asker))
			continue;
		db_array_text(&vehicles, item->vehicle_id);
		db_array_text(&askers, asker);
	}
	if (vehicles.count > 0) {
		db_unit_add(unit, &SQL_new_heads);
		db_param_array(unit, &vehicles);
		db_param_array(unit, &askers);
	}
	db_array_free(&vehicles);
	db_array_free(&askers);
}

static void add_lock(struct batch_cut *cut, struct db_unit *unit)
{
	struct db_array ids = { 0 };
	for (size_t i = 0; i < cut->vehicle_count; i++)
		db_array_text(&ids, cut->vehicles[i]);
	db_unit_add(unit, &SQL_lock_heads);
	db_param_array(unit, &ids);
}

static bool has_items(const struct stage_cut *stage)
{
	return stage->rounds[0].count > 0;
}

static void write_stage(struct batch_cut *cut, size_t s, struct db_unit *unit)
{
	struct batch_stage *stage = cut->batch->stages[s];
	struct stage_cut *sc = &cut->stages[s];

	if (!has_items(sc))
		return;
	sc->begin.first = db_unit_size(unit);
	if (stage->begin)
		stage->begin(stage, cut, unit, sc->rounds[0].items, sc->count);
	for (size_t r = 0; r < ROUNDS_MAX && sc->rounds[r].count > 0; r++) {
		sc->rounds[r].part.first = db_unit_size(unit);
		stage->write(stage, cut, unit, sc->rounds[r].items, sc->rounds[r].count);
	}
}

static void send(struct batch_cut *cut)
{
	struct batch *batch = cut->batch;
	struct db_unit *unit = db_unit_new(batch->db, on_done, cut);

	add_fence(cut, unit);
	add_new_heads(cut, unit);
	add_lock(cut, unit);
	for (size_t s = 0; s < batch->stage_count; s++)
		write_stage(cut, s, unit);
	for (size_t s = 0; s < batch->stage_count; s++) {
		cut->stages[s].finish.first = db_unit_size(unit);
		if (batch->stages[s]->finish)
			batch->stages[s]->finish(batch->stages[s], cut, unit);
	}
	cut->sent_us = loop_monotonic_us(batch->loop);
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

/* As many as take PACE_MS, by what an item cost. Where each costs the database so much that a full cut would take longer than anybody waits
 * for it, nothing would ever be done otherwise: all of it would be unknown, and come again. Items are not alike, so the dear ones are
 * remembered over several cheap cuts; and a few say little of many, so it is at most twice of what was done lately. What a transaction
 * costs whatever is in it does no harm: below PACE_MS the next one has more. */
static void fit_next_cut(struct batch *batch, size_t count)
{
	size_t item_us = (size_t)batch->pace_us / larger(count, CUT_MIN);
	size_t most = larger(2 * larger(count, CUT_MIN), batch->cut_most - batch->cut_most / 8);

	batch->item_us = larger(item_us, batch->item_us - batch->item_us / 8);
	if (most > PACE_MS * 1000 / (batch->item_us + 1))
		most = PACE_MS * 1000 / (batch->item_us + 1);
	if (most > batch->options.cut_max)
		most = batch->options.cut_max;
	batch->cut_most = larger(most, CUT_MIN);
}

static void on_done(struct db_unit *unit, void *context, const struct fault *fault)
{
	struct batch_cut *cut = context;
	struct batch *batch = cut->batch;

	batch->pace_us = loop_monotonic_us(batch->loop) - cut->sent_us;
	if (!fault || fault == &FAULT_STORAGE_UNKNOWN) /* a refusal says nothing of how long it would have taken */
		fit_next_cut(batch, cut->count);
	if (!fault) {
		metric_add(METRIC_BATCHES, 1);
		metric_add(METRIC_BATCH_ITEMS, (int64_t)cut->count);
		metric_observe(METRIC_COMMIT_SECONDS, batch->pace_us);
		note_done(cut);
		read_all(cut, unit);
		tell_all(cut, NULL);
	} else {
		metric_add(METRIC_BATCH_FAILED, 1);
		if (!batch->is_in_trouble) /* of it the log knows, and of its reasons (sql/db.c) */
			log_warn("batch", "a transaction failed", LOG_TEXT("fault", fault->name),
				LOG_INT("items", cut->count),
				LOG_TEXT("sqlstate", fault == &FAULT_STATEMENT ? db_unit_sqlstate(unit) : NULL),
				LOG_TEXT("detail", fault == &FAULT_STATEMENT ? db_unit_message(unit) : NULL));
		if (is_fenced(unit, fault) || may_retry(unit, fault))
			retry(cut, is_fenced(unit, fault) ? db_unit_message(unit) : NULL);
		else if (db_unit_sqlstate(unit)[0])
			on_refused(cut, unit, fault == &FAULT_STATEMENT);
		else
			tell_all(cut, fault);
	}
	batch->in_flight = NULL;
	cut_free(cut);
	if (!list_is_empty(&batch->waiting))
		loop_soon_call(batch->loop, &batch->soon);
}

static void read_all(struct batch_cut *cut, struct db_unit *unit)
{
	struct batch *batch = cut->batch;

	for (size_t s = 0; s < batch->stage_count; s++) {
		struct batch_stage *stage = batch->stages[s];
		struct stage_cut *sc = &cut->stages[s];
		if (!has_items(sc))
			continue;
		if (stage->read_begin)
			stage->read_begin(stage, cut, unit, sc->rounds[0].items, sc->count, sc->begin.first);
		for (size_t r = 0; stage->read && r < ROUNDS_MAX && sc->rounds[r].count > 0; r++)
			stage->read(
				stage, cut, unit, sc->rounds[r].items, sc->rounds[r].count, sc->rounds[r].part.first);
	}
	for (size_t s = 0; s < batch->stage_count; s++) {
		if (batch->stages[s]->read_finish)
			batch->stages[s]->read_finish(batch->stages[s], cut, unit, cut->stages[s].finish.first);
	}
}

/* An item may be freed by its verdict, and its vehicle's name with it: nothing of the cut is read afterwards. */
static void tell_all(struct batch_cut *cut, const struct fault *fault)
{
	for (size_t i = 0; i < cut->count; i++)
		cut->placed[i].item->on_done(cut->placed[i].item, fault);
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
static void retry(struct batch_cut *cut, const char *lost)
{
	struct batch *batch = cut->batch;
	struct list again;

	list_init(&again);
	for (size_t i = 0; i < cut->count; i++) {
		struct batch_item *item = cut->placed[i].item;
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

static bool is_about(const struct suspect *s, const struct batch_item *item)
{
	return s->stage == item->stage && strcmp(s->vehicle_id, item->vehicle_id) == 0;
}

static struct suspect *suspect_of(struct batch *batch, const struct batch_item *item)
{
	for (size_t i = 0; i < batch->suspect_count; i++) {
		if (is_about(&batch->suspects[i], item))
			return &batch->suspects[i];
	}
	return NULL;
}

/* In the place of the one that was refused the longest ago, if there is no room. */
static void suspect(struct batch *batch, const struct batch_item *item)
{
	struct suspect *s = &batch->suspects[0];

	if (batch->suspect_count < SUSPECTS_MAX) {
		s = &batch->suspects[batch->suspect_count++];
	} else {
		for (size_t i = 1; i < SUSPECTS_MAX; i++) {
			if (batch->suspects[i].refused_ms < s->refused_ms)
				s = &batch->suspects[i];
		}
	}
	int64_t now_ms = loop_monotonic_ms(batch->loop);
	*s = (struct suspect){ .stage = item->stage, .since_ms = now_ms, .refused_ms = now_ms, .tries = 1 };
	snprintf(s->vehicle_id, sizeof(s->vehicle_id), "%s", item->vehicle_id);
}

/* What was done speaks against the suspects of its stage, their own vehicles' too: a vehicle says more than one thing, and one of them
 * may be done each time. So a suspect is cleared by time alone. */
static void note_done(const struct batch_cut *cut)
{
	struct batch *batch = cut->batch;
	int64_t now_ms = loop_monotonic_ms(batch->loop);

	if (!batch->wants_room) {
		batch->quiet_ms = batch->options.quiet_ms;
		set_trouble(batch, false);
	}
	for (size_t i = batch->suspect_count; i-- > 0;) {
		struct suspect *s = &batch->suspects[i];
		if (now_ms - s->refused_ms > SUSPECT_FORGOTTEN * batch->options.suspect_ms)
			*s = batch->suspects[--batch->suspect_count];
		else if (has_items(&cut->stages[stage_index(batch, s->stage)]))
			s->others_done = true;
	}
}

/* Refused once more, alone: whether that is enough. Where nothing was done meanwhile, it says nothing. */
static bool is_to_be_set_aside(struct batch *batch, const struct batch_item *item)
{
	struct suspect *s = suspect_of(batch, item);
	int64_t now_ms = loop_monotonic_ms(batch->loop);

	if (!s) {
		suspect(batch, item);
		return false;
	}
	s->refused_ms = now_ms;
	if (!s->others_done)
		return false;
	s->others_done = false;
	s->tries++;
	if (s->tries < SUSPECT_TRIES || now_ms - s->since_ms < batch->options.suspect_ms)
		return false;
	s->tries = 0; /* the next thing that is said of it is tried for as long */
	s->since_ms = now_ms;
	return true;
}

static void set_aside(struct batch_cut *cut, const struct db_unit *unit)
{
	const struct batch_item *item = cut->placed[0].item;

	metric_add(METRIC_BATCH_SET_ASIDE, 1);
	log_error("batch", "set aside: the database cannot do it, and does the same for others",
		LOG_TEXT("stage", item->stage->name), LOG_TEXT("vehicle_id", item->vehicle_id),
		LOG_TEXT("sqlstate", db_unit_sqlstate(unit)), LOG_TEXT("detail", db_unit_message(unit)));
	tell_all(cut, &FAULT_SET_ASIDE);
}

/* In it there is nothing to be found by halves: what still waits to be tried hears the same, and comes again. */
static void enter_trouble(struct batch_cut *cut)
{
	struct batch *batch = cut->batch;
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
	tell_all(cut, &FAULT_STORAGE_UNAVAILABLE);
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
static void on_refused_alone(struct batch_cut *cut, const struct db_unit *unit)
{
	struct batch *batch = cut->batch;
	const struct batch_item *item = cut->placed[0].item;

	bool is_hopeless = is_to_be_set_aside(batch, item);
	bool is_over_all = batch->refused_alone[0] && strcmp(batch->refused_alone, item->vehicle_id) != 0;

	snprintf(batch->refused_alone, sizeof(batch->refused_alone), "%s", item->vehicle_id);
	if (is_hopeless)
		set_aside(cut, unit);
	else if (is_over_all)
		enter_trouble(cut);
	else
		tell_all(cut, &FAULT_STORAGE_UNAVAILABLE);
}

/* Nothing was done, since the database refused a statement. */
static void on_refused(struct batch_cut *cut, const struct db_unit *unit, bool is_own)
{
	struct batch *batch = cut->batch;

	if (!is_own && is_everybodys(unit))
		batch->wants_room = true;
	if (!is_own && (batch->is_in_trouble || batch->wants_room))
		enter_trouble(cut);
	else if (cut->count > 1)
		divide(cut);
	else if (is_own)
		tell_all(cut, &FAULT_INTERNAL);
	else
		on_refused_alone(cut, unit);
}

/* One of them cannot be done. */
static void divide(struct batch_cut *cut)
{
	struct list again;

	list_init(&again);
	for (size_t i = 0; i < cut->count; i++) {
		struct batch_item *item = cut->placed[i].item;
		item->company = (cut->count + 1) / 2;
		go_again(cut->batch, item, &again);
	}
	to_the_front(cut->batch, &again);
}

static void cut_free(struct batch_cut *cut)
{
	free(cut->placed);
	free(cut->vehicles);
	free(cut->unsettled);
	free(cut->stages);
	free(cut->sorted);
	free(cut);
}
