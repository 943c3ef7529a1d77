/* fleet_batch.h - one command to many vehicles: feeds the targets of batches to accept, at each batch's rate.
 *
 * A batch is held under a lease ('batch/' and its id) by one node, which makes a command for each target by the way that
 * every command goes; the target is noted as fed in the same transaction, under the lease's fence. So whoever takes over
 * feeds what is left, and nothing twice. What ends a batch raises the lease's epoch: from its commit on nothing more is fed. */
#ifndef KEYFOB_COMMANDS_FLEET_BATCH_H
#define KEYFOB_COMMANDS_FLEET_BATCH_H

#include <stdbool.h>

struct accept_flow;
struct cancel_flow;
struct db;
struct fleet_batches;
struct loop;

struct fleet_batch_options { /* borrowed for life */
	struct db *db;	     /* for looking, and for the batches' own rows */
	struct accept_flow *accept;
	struct cancel_flow *cancel;
	const char *worker, *node;
};

struct fleet_batches *fleet_batches_new(struct loop *, const struct fleet_batch_options *);
void fleet_batches_free(struct fleet_batches *); /* once it is quiet */

/* Nothing of it is under way. */
bool fleet_batches_is_quiet(const struct fleet_batches *);

void fleet_batches_start(struct fleet_batches *);
/* Gives all batches back, so that another node takes them at once. */
void fleet_batches_stop(struct fleet_batches *);

#endif
