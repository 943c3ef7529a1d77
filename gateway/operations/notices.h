/* notices.h - brings notices to the vehicles that they concern, and takes them away when their time is over.
 *
 * A vehicle's own notice is settled in the transaction that changes it. A fleet's is brought to its vehicles from here, a bounded
 * number at a time; how far it has come is a row (`notice_spreads`), so another worker carries on. One worker does it,
 * while it has the lease of the lifecycle feed; that two do it for a moment does no harm. */
#ifndef KEYFOB_GATEWAY_OPERATIONS_NOTICES_H
#define KEYFOB_GATEWAY_OPERATIONS_NOTICES_H

#include <stdbool.h>

struct batch;
struct batch_stage;
struct db;
struct loop;
struct notices;

/* making; all is borrowed */
struct notices *notices_new(struct loop *, struct db *reader);
void notices_free(struct notices *); /* when it is quiet */
struct batch_stage *notices_stage(struct notices *);
void notices_attach(struct notices *, struct batch *);

bool notices_is_quiet(const struct notices *);

/* changing */
void notices_start(struct notices *); /* from now on it looks five times a second */
void notices_stop(struct notices *);

#endif
