/* db.h - one PostgreSQL connection in pipeline mode, on the loop.
 *
 * A unit is one transaction: its statements go out together and end with one Sync, so it costs one
 * round trip; each statement has its own snapshot (READ COMMITTED). Units of one connection run in
 * the order of their submission. Statements are the files of sql/queries, each prepared once for a
 * connection, before its first use. The link reconnects by itself (100 ms to 1 s, jitter), through the URL's host list, to
 * the one that takes writes; names are resolved off the loop.
 *
 * A server that does not answer for a second is *silent*: its standby may be away, its disk, or itself. The connection is kept for as
 * long as our session is alive where writes go (witness.h); if that is elsewhere, so are we. Once a unit had to be told that it is
 * unknown, the link is down, and refuses everything, until that unit's answer has come: behind it nothing would be done in time.
 *
 * What became of a unit is one of: done (NULL); FAULT_STORAGE_UNAVAILABLE, certainly not done, and what was said of it may be
 * done later: there is no connection, or the server is in trouble of any kind (db_unit_sqlstate() says in which);
 * FAULT_STORAGE_UNKNOWN, the connection died after sending, or COMMIT brought a warning;
 * FAULT_STATEMENT, nothing of it was done, since it says what cannot be: a value or a row that the schema does not take, or what
 * our own statements raise. */
#ifndef KEYFOB_SQL_DB_H
#define KEYFOB_SQL_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"

struct loop;
struct db;
struct db_unit;

/* One for each file of sql/queries, generated: &SQL_accept is sql/queries/accept.sql. */
struct db_statement {
	const char *name;
	const char *text;
};

extern const struct fault FAULT_STATEMENT; /* db_unit_sqlstate() says why */

struct db_options {
	const char *url;       /* borrowed */
	size_t queue_max;      /* units waiting or in flight; past it db_unit_submit() answers FAULT_OVERLOADED */
	int commit_timeout_ms; /* a unit without answer for so long is STORAGE_UNKNOWN; 0: 5000 */
	int schema;	       /* a database whose newest migration is older is not connected; 0: any will do */
	/* Each may be NULL. */
	void *owner;
	void (*on_up)(void *owner, struct db *); /* connected; also after each reconnect */
	void (*on_down)(void *owner, struct db *);
	void (*on_silence)(void *owner, struct db *); /* db_is_silent() has changed */
};

/* making */
struct db *db_new(struct loop *, const struct db_options *);
void db_start(struct db *);
void db_close(struct db *, void (*on_closed)(void *owner)); /* waits for what is in flight, then frees it */

/* asking */
bool db_is_up(const struct db *);
bool db_is_silent(const struct db *);	/* connected, and without an answer for a second */
size_t db_in_flight(const struct db *); /* units sent or waiting */

/* A unit. Made, filled with statements and their parameters, submitted; then the link owns it, calls
 * `on_done` once, from the loop, and frees it with its results when that returns. */
typedef void db_done(struct db_unit *, void *context, const struct fault *);
struct db_unit *db_unit_new(struct db *, db_done *on_done, void *context);
void db_unit_free(struct db_unit *); /* one that was not submitted */
/* Starts a statement; its number (0, 1, …) asks for its rows later. Parameters follow in order. */
size_t db_unit_add(struct db_unit *, const struct db_statement *);
/* How many statements it has so far: the number of the next one. */
size_t db_unit_size(const struct db_unit *);
void db_param_text(struct db_unit *, const char *text); /* copied; NULL is SQL null */
void db_param_int(struct db_unit *, int64_t);
void db_param_bool(struct db_unit *, bool);
/* Eats the array: *a is empty afterwards. */
struct db_array;
void db_param_array(struct db_unit *, struct db_array *a);
/* Two of them: ids of eight days ago and of eight days ahead, by the database's clock. What is open is between them. */
void db_param_open_ids(struct db_unit *);
void db_unit_submit(struct db_unit *);

/* A one-dimensional array parameter, built as PostgreSQL's array text. Zero-initialise. */
struct db_array {
	char *data;
	size_t len, size, count;
};
void db_array_text(struct db_array *, const char *text); /* NULL is SQL null */
void db_array_int(struct db_array *, int64_t);
void db_array_bool(struct db_array *, bool);
void db_array_free(struct db_array *);

/* An element that is a row (a composite type), built as PostgreSQL's row text, its fields in order. Zero-initialise. */
struct db_row {
	struct db_array fields;
};
void db_row_text(struct db_row *, const char *text); /* NULL is SQL null */
void db_row_int(struct db_row *, int64_t);
void db_row_bool(struct db_row *, bool);
void db_array_row(struct db_array *, struct db_row *); /* the row is empty again, and keeps its memory */
void db_row_free(struct db_row *);

/* Results, valid inside on_done when its fault is NULL. */
size_t db_rows(const struct db_unit *, size_t statement);
size_t db_affected(const struct db_unit *, size_t statement);
const char *db_text(const struct db_unit *, size_t statement, size_t row, int column); /* NULL: SQL null */
int64_t db_int(const struct db_unit *, size_t statement, size_t row, int column);      /* 0 for null */
bool db_bool(const struct db_unit *, size_t statement, size_t row, int column);	       /* 't' */
/* Where the database refused a statement: the five characters of the error, and the server's message; else "". */
const char *db_unit_sqlstate(const struct db_unit *);
const char *db_unit_message(const struct db_unit *);
/* The database's clock, microseconds since 1970, by our monotonic one: compared at connect and each minute. */
int64_t db_now_us(const struct db *);

#endif
