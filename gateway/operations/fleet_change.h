/* fleet_change.h - one change of a fleet or of its grants: a transaction of its own, and the telling after its commit.
 *
 *   fleet locked ─ changed ─ who watches? ─ commit ─ access.changed to them ─ on_done
 * A fleet has no head in the batch: its changes are rare, and its row's lock orders them. */
#ifndef KEYFOB_GATEWAY_OPERATIONS_FLEET_CHANGE_H
#define KEYFOB_GATEWAY_OPERATIONS_FLEET_CHANGE_H

#include <stdbool.h>

#include "base/fault.h"

struct db;
struct db_statement;
struct db_unit;
struct hub;

/* Embedded in its owner, who keeps it until on_done. */
struct fleet_change {
	/* set by the owner */
	struct db *writer;
	struct hub *hub;
	const struct db_statement *statement;
	const char *fleet_id;	/* borrowed until on_done */
	const char *request_id; /* likewise, for the log; NULL: nobody asks */
	void (*on_done)(struct fleet_change *, const struct fault *);
	void *owner;
	/* the verdict, when there is no fault; the texts are borrowed until on_done returns */
	const char *outcome, *reply; /* reply NULL: nothing */
	bool is_new, has_ended_rights;
};

/* `subject` NULL: nobody asks (a grant's time is over). */
void fleet_change_run(struct fleet_change *, const char *subject, const char *address, bool admin, const char *body);

#endif
