/* batch.h - what arrives while the last commit is in flight goes out together, in one transaction.
 *
 * Every change to a vehicle is an *item* of some *stage* (accept, answer, puback, lifecycle, …). The
 * batch gathers items, and as soon as no transaction is in flight it cuts: it locks the heads of all
 * vehicles concerned, ascending, in a first statement of its own (see after you lock), then lets
 * each stage add its statements, in the order of the stages' table. Alone an item leaves at once, under
 * load hundreds share a commit: as many as the database does in half a second, by the last transactions, 512 at most. There is no timer in it.
 *
 * Within a stage a vehicle's items keep their order: they go in rounds, and a round has at most one
 * item of a vehicle. So every statement sees each vehicle at most once, and "the next seq" is head.seq + 1. The rounds of a cut are
 * few: who sends much waits, and is passed over by who sends little.
 *
 * A statement that the database refuses undoes them all. Then each half of them goes again by itself, and so on: one item that cannot be
 * done hears so in the end (FAULT_INTERNAL), and no other loses anything by it. Nor does what an item says besides.
 *
 * That may be the server's trouble. Then whoever is refused hears FAULT_STORAGE_UNAVAILABLE, and says it again later. Where the server
 * does nothing for anybody, the search ends, and the batch is *in trouble*: nothing is divided until something was done. Where
 * it is in trouble over one vehicle alone, for long, and does the same for others, that item is set aside (FAULT_SET_ASIDE).
 *
 * When the commit is known, each stage reads its rows (in the order of the stages), and then each item
 * hears its verdict. Nothing is told before. */
#ifndef KEYFOB_SQL_BATCH_H
#define KEYFOB_SQL_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "base/list.h"

struct batch;
struct batch_cut;
struct batch_stage;
struct db;
struct db_unit;
struct loop;

/* Embedded in its owner, who keeps it until `on_done`. */
struct batch_item {
	struct list node;
	struct batch_stage *stage;
	const char *vehicle_id;		 /* whose head is locked; borrowed from the owner */
	const struct batch_fence *fence; /* NULL: none. The lease that this item's right to act rests on */
	void (*on_done)(struct batch_item *, const struct fault *); /* NULL: done */
	size_t number;	  /* its place in the round, for stages that match rows to items */
	int64_t since_ms; /* monotonic: since when it waits */
	bool is_waiting;  /* in no transaction yet */
	bool retried;
	size_t company;	   /* at most so many in its transaction, since one that it was in was refused; 0: any number */
	bool is_impatient; /* one that has waited for five seconds hears FAULT_OVERLOADED in place of being taken along */
};

/* A lease as it was when it was taken. Checked in the transaction's first statement, and held until its end: if the
 * row is another's by now, no item that leans on the lease has any effect, and they hear FAULT_FENCED; the others go again. */
struct batch_fence {
	const char *lease; /* "feed/07" */
	int64_t epoch;
};
extern const struct fault FAULT_FENCED;
/* The server is in trouble over this one, again and again, and is not over others: it would hold up whoever comes with it for ever. */
extern const struct fault FAULT_SET_ASIDE;

/* A flow's part of the transaction. Owned by the flow; the batch borrows it for life. */
struct batch_stage {
	const char *name;
	void *owner;
	/* What it writes of a vehicle that is away needs no settling: commands to it begin as waiting. */
	bool leaves_settled;
	/* NULL: its vehicles have their heads, or are none. Else whether one is made for the item's where there is none, before the heads are
	 * locked; *ret_asker: who has to be a fleet's manager for that, or NULL, as it comes. */
	bool (*may_be_new)(const struct batch_item *, const char **ret_asker);
	/* NULL: each item says one thing. Else it takes the latter half of what one says off into an item of its own, as for batch_submit(), for
	 * it cannot be done as a whole; NULL: that says one thing, too. */
	struct batch_item *(*halve)(struct batch_item *);
	/* Once for the cut, when the stage has items, before the first round and after the heads are locked: all of them. May be NULL. */
	void (*begin)(
		struct batch_stage *, struct batch_cut *, struct db_unit *, struct batch_item **items, size_t count);
	/* One round: `items` are of this stage, no vehicle twice, ascending by vehicle. May be NULL for stages without items. */
	void (*write)(
		struct batch_stage *, struct batch_cut *, struct db_unit *, struct batch_item **items, size_t count);
	/* Once for the cut, after all stages wrote: what concerns all vehicles of the cut (claims, events). May be NULL. */
	void (*finish)(struct batch_stage *, struct batch_cut *, struct db_unit *);
	/* Committed: reads what its statements brought, in the order of begin, write…, finish. Each may be NULL. */
	void (*read_begin)(struct batch_stage *, struct batch_cut *, struct db_unit *, struct batch_item **items,
		size_t count, size_t first_statement);
	void (*read)(struct batch_stage *, struct batch_cut *, struct db_unit *, struct batch_item **items,
		size_t count, size_t first_statement);
	void (*read_finish)(struct batch_stage *, struct batch_cut *, struct db_unit *, size_t first_statement);
};

struct batch_options {
	size_t items_max;   /* waiting; past it batch_submit() refuses */
	size_t cut_max;	    /* items in one transaction; 0: 512 */
	const char *holder; /* the worker's id, for the fence */
	int64_t suspect_ms; /* for how long the server has to be in trouble over an item that is set aside; 0: 20 s */
	int64_t quiet_ms;   /* of trouble without a refusal, before batch_note_writable() ends it; 0: 6 s */
	void *owner;
	void (*on_trouble)(void *owner); /* batch_is_in_trouble() has changed; may be NULL */
};

/* making: stages run in the order of the array */
struct batch *batch_new(
	struct loop *, struct db *, const struct batch_options *, struct batch_stage *const *stages, size_t count);
void batch_free(struct batch *);

/* asking */
bool batch_is_idle(const struct batch *);
bool batch_has_room(const struct batch *);
/* What no transaction had room for yet has waited for two seconds: the database is slower than what comes, and whoever can be told
 * to come later should be. What is held up only by how much its own vehicle sends does not count. */
bool batch_is_late(const struct batch *);
/* The server refused the last transaction for a reason of its own, and as far as is known it would refuse any. */
bool batch_is_in_trouble(const struct batch *);
/* Whether an item with that fault must not be said again: it cannot be done, or is set aside. */
bool batch_has_given_up(const struct fault *);
/* How long the last transaction took. */
int64_t batch_pace_ms(const struct batch *);
/* The vehicles of a cut, ascending by strcmp(), each once. */
size_t batch_cut_vehicles(const struct batch_cut *, const char *const **ret_ids);
/* Whether all items of one of them, by its place, are of stages that leave it settled. */
bool batch_cut_leaves_settled(const struct batch_cut *, size_t vehicle);

/* changing: the item must have stage, vehicle_id and on_done. FAULT_OVERLOADED when there is no room, FAULT_STORAGE_UNAVAILABLE
 * while the database is away (then the item was not taken and on_done is not called); else NULL. */
const struct fault *batch_submit(struct batch *, struct batch_item *);
/* Takes an item back: on_done is not called. False: it was not submitted, or is in a transaction by now. */
bool batch_withdraw(struct batch *, struct batch_item *);
/* Somebody has tried, and what a batch writes can be written. Nothing else ends the want of room: what fits into a page that is there is
 * still done. Any other trouble ends with the first transaction that is done; by this word only once nothing was refused for a while,
 * which grows each time that it was said too early. */
void batch_note_writable(struct batch *);

#endif
