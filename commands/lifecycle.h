/* lifecycle.h - the states of a command and the edges between them, from lifecycle.tbl.h. */
#ifndef KEYFOB_COMMANDS_LIFECYCLE_H
#define KEYFOB_COMMANDS_LIFECYCLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum command_status {
	STATUS_ACCEPTED,
	STATUS_WAITING,
	STATUS_SENT,
	STATUS_IN_PROGRESS,
	STATUS_TIMED_OUT,
	STATUS_SUCCEEDED,
	STATUS_FAILED,
	STATUS_REJECTED,
	STATUS_EXPIRED,
	STATUS_CANCELED,
	STATUS_COUNT
};

enum command_flight { FLIGHT_NONE, FLIGHT_CLAIMED, FLIGHT_OUT, FLIGHT_CLAIMED_OUT, FLIGHT_COUNT };

struct lifecycle_edge {
	const char *event;
	enum command_status from;
	enum command_flight from_flight;
	enum command_status to;
	enum command_flight to_flight;
	bool tells; /* apps get a command.updated */
	const char *why;
};

extern const struct lifecycle_edge lifecycle_edges[];
extern const size_t lifecycle_edge_count;

const char *status_name(enum command_status); /* "in_progress" */
const char *flight_name(enum command_flight); /* "claimed_out" */
/* STATUS_COUNT when no status is called so. */
enum command_status status_of(const char *name);
bool status_is_final(enum command_status); /* timed_out is not: a late answer is kept */
/* The edge that `event` takes from here, or NULL: then nothing changes. */
const struct lifecycle_edge *lifecycle_find(const char *event, enum command_status, enum command_flight);

void lifecycle_write_manual(FILE *); /* docs/command-lifecycle.md */
void lifecycle_write_sql(FILE *);    /* the rows of the SQL table `lifecycle` */

#endif
