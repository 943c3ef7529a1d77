/* cut.c - sorts a transaction's items, and takes the stages through them. */
#include "sql/cut.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/memory.h"
#include "sql/batch.h"
#include "sql/db.h"
#include "sql/statements.h"

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
	struct round rounds[CUT_ROUNDS_MAX]; /* their items lie one after the other: rounds[0].items has all */
	size_t count;
	struct part begin, finish;
};

struct batch_cut {
	struct batch_stage *const *stages;
	size_t stage_count;
	struct placed *placed;
	size_t count;
	const char **vehicles;
	bool *unsettled; /* of each of them: an item of its needs it to be settled */
	size_t vehicle_count;
	struct stage_cut *parts;    /* of each stage */
	struct batch_item **sorted; /* backs the rounds */
};

static void place(struct batch_cut *cut, struct list *taken);
static void list_vehicles(struct batch_cut *cut);

struct batch_cut *cut_new(struct batch_stage *const *stages, size_t stage_count, struct list *items, size_t count)
{
	struct batch_cut *cut = memory_new(sizeof(*cut));

	cut->stages = stages;
	cut->stage_count = stage_count;
	cut->count = count;
	place(cut, items);
	list_vehicles(cut);
	return cut;
}

void cut_free(struct batch_cut *cut)
{
	free(cut->placed);
	free(cut->vehicles);
	free(cut->unsettled);
	free(cut->parts);
	free(cut->sorted);
	free(cut);
}

size_t cut_count(const struct batch_cut *cut)
{
	return cut->count;
}

struct batch_item *cut_item(const struct batch_cut *cut, size_t number)
{
	return cut->placed[number].item;
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

/* Sorting. */

static size_t stage_index(const struct batch_cut *cut, const struct batch_stage *stage)
{
	size_t i = 0;
	while (i < cut->stage_count && cut->stages[i] != stage)
		i++;
	assert(i < cut->stage_count);
	return i;
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
		struct batch_item *item = container_of(list_take_first(taken), struct batch_item, node);
		cut->placed[n] = (struct placed){ item, stage_index(cut, item->stage), n, 0 };
		n++;
	}
	qsort(cut->placed, cut->count, sizeof(struct placed), compare_placed);
	for (size_t i = 1; i < cut->count; i++) {
		const struct placed *before = &cut->placed[i - 1];
		if (cut->placed[i].stage == before->stage &&
			strcmp(cut->placed[i].item->vehicle_id, before->item->vehicle_id) == 0)
			cut->placed[i].round = before->round + 1;
	}

	cut->parts = memory_new(cut->stage_count * sizeof(struct stage_cut));
	cut->sorted = memory_new(cut->count * sizeof(struct batch_item *));
	size_t used = 0;
	for (size_t i = 0; i < cut->count;) {
		size_t stage = cut->placed[i].stage, end = i;
		while (end < cut->count && cut->placed[end].stage == stage)
			end++;
		for (unsigned r = 0; r < CUT_ROUNDS_MAX; r++) {
			struct round *round = &cut->parts[stage].rounds[r];
			round->items = &cut->sorted[used];
			for (size_t k = i; k < end; k++) {
				if (cut->placed[k].round == r) {
					cut->placed[k].item->number = round->count++;
					cut->sorted[used++] = cut->placed[k].item;
				}
			}
		}
		cut->parts[stage].count = end - i;
		i = end;
	}
}

static int compare_ids(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
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

static bool has_items(const struct stage_cut *stage)
{
	return stage->rounds[0].count > 0;
}

bool cut_has(const struct batch_cut *cut, const struct batch_stage *stage)
{
	return has_items(&cut->parts[stage_index(cut, stage)]);
}

/* Writing. */

static bool fence_seen(const struct batch_cut *cut, size_t before, const struct batch_fence *fence)
{
	for (size_t i = 0; i < before; i++) {
		const struct batch_fence *f = cut->placed[i].item->fence;
		if (f && strcmp(f->lease, fence->lease) == 0 && f->epoch == fence->epoch)
			return true;
	}
	return false;
}

static void add_fence(const struct batch_cut *cut, struct db_unit *unit, const char *holder)
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
		db_param_text(unit, holder);
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

static void write_stage(struct batch_cut *cut, size_t s, struct db_unit *unit)
{
	struct batch_stage *stage = cut->stages[s];
	struct stage_cut *sc = &cut->parts[s];

	if (!has_items(sc))
		return;
	sc->begin.first = db_unit_size(unit);
	if (stage->begin)
		stage->begin(stage, cut, unit, sc->rounds[0].items, sc->count);
	for (size_t r = 0; r < CUT_ROUNDS_MAX && sc->rounds[r].count > 0; r++) {
		sc->rounds[r].part.first = db_unit_size(unit);
		stage->write(stage, cut, unit, sc->rounds[r].items, sc->rounds[r].count);
	}
}

void cut_write(struct batch_cut *cut, struct db_unit *unit, const char *holder)
{
	add_fence(cut, unit, holder);
	add_new_heads(cut, unit);
	add_lock(cut, unit);
	for (size_t s = 0; s < cut->stage_count; s++)
		write_stage(cut, s, unit);
	for (size_t s = 0; s < cut->stage_count; s++) {
		cut->parts[s].finish.first = db_unit_size(unit);
		if (cut->stages[s]->finish)
			cut->stages[s]->finish(cut->stages[s], cut, unit);
	}
}

/* Reading. */

void cut_read(struct batch_cut *cut, struct db_unit *unit)
{
	for (size_t s = 0; s < cut->stage_count; s++) {
		struct batch_stage *stage = cut->stages[s];
		struct stage_cut *sc = &cut->parts[s];
		if (!has_items(sc))
			continue;
		if (stage->read_begin)
			stage->read_begin(stage, cut, unit, sc->rounds[0].items, sc->count, sc->begin.first);
		for (size_t r = 0; stage->read && r < CUT_ROUNDS_MAX && sc->rounds[r].count > 0; r++)
			stage->read(
				stage, cut, unit, sc->rounds[r].items, sc->rounds[r].count, sc->rounds[r].part.first);
	}
	for (size_t s = 0; s < cut->stage_count; s++) {
		if (cut->stages[s]->read_finish)
			cut->stages[s]->read_finish(cut->stages[s], cut, unit, cut->parts[s].finish.first);
	}
}
