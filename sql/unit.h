/* unit.h - the inside of a unit, for the link that carries it: its steps, their parameters, their results.
 *
 * A step either runs a prepared statement or prepares it; callers of db.h make only the first kind. */
#ifndef KEYFOB_SQL_UNIT_H
#define KEYFOB_SQL_UNIT_H

#include <libpq-fe.h>

#include "base/list.h"
#include "sql/db.h"

enum unit_state {
	UNIT_FILLING, /* the caller's */
	UNIT_WAITING, /* for a place in the pipeline */
	UNIT_SENT,
	UNIT_REFUSED, /* never to be sent; its caller hears it from the loop */
	UNIT_TOLD,    /* its caller has heard; if results still come, nobody reads them */
};

enum unit_step_kind { STEP_RUN, STEP_PREPARE };

struct unit_step {
	enum unit_step_kind kind;
	const struct db_statement *statement;
	size_t first_param, param_count;
	PGresult *result;
};

struct db_unit {
	struct list node;
	struct db *db;
	db_done *on_done;
	void *context;
	enum unit_state state;
	struct unit_step *steps;
	size_t step_count, step_size;
	char **params; /* of all steps, each its own allocation; NULL is SQL null */
	size_t param_count, param_size;
	int64_t deadline_ms;	     /* monotonic; an answer after it is told to nobody */
	const struct fault *refusal; /* why it is UNIT_REFUSED */
	size_t read;		     /* steps whose result has come */
	bool warned;		     /* the commit brought a warning */
	char sqlstate[6];	     /* "": no statement was refused */
	size_t refused_step;	     /* step_count: it was the commit itself */
	const struct fault *verdict; /* with a sqlstate: whose fault it is */
	bool is_outdated;	     /* likewise: what the connection prepared is no good any more */
	char *message;
};

/* What a connection is set to before it carries units. */
extern const struct db_statement UNIT_SETTINGS;

/* A step that prepares `statement` on the server instead of running it. */
void unit_add_prepare(struct db_unit *, const struct db_statement *);
/* Queues the steps and their Sync in libpq's output buffer; false when the connection takes nothing any more. */
bool unit_send(const struct db_unit *, PGconn *);
/* The result of the next step. Eats it. */
void unit_take_result(struct db_unit *, PGresult *);
/* The server refused the next step, or the commit. Borrows the result. */
void unit_take_error(struct db_unit *, const PGresult *);

#endif
