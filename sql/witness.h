/* witness.h - a server does not answer: is our session still alive there, or does somebody else take the writes by now?
 *
 * A server that is frozen or cut off keeps a connection for ever without a word; one whose commits wait for a standby does so
 * too, but there what was sent is still to be done, and leaving would only add another session that waits. A second connection,
 * made as the first was, tells them apart: it looks for the session where writes go now. */
#ifndef KEYFOB_SQL_WITNESS_H
#define KEYFOB_SQL_WITNESS_H

#include <libpq-fe.h>

struct loop;
struct witness;

/* Told at most once for each witness_ask(), from the loop. */
struct witness_listener {
	void *owner;
	void (*on_alive)(void *owner);
	/* It is not there, or waits for us; the connection that says so is the owner's. */
	void (*on_gone)(void *owner, PGconn *);
	void (*on_nobody)(void *owner); /* nobody takes writes, or says a word, now */
};

struct witness *witness_new(struct loop *, const char *url, const struct witness_listener *);
/* Whatever is under way is given up, and nobody hears of it. */
void witness_free(struct witness *);
/* `begun` is when the session of the server's process `pid` began, as WITNESS_BEGUN has it. Not while an earlier one is under way. */
void witness_ask(struct witness *, int pid, const char *begun);
/* Nobody wants to know any more. */
void witness_forget(struct witness *);

/* Of the session that asks: one row, one column. */
#define WITNESS_BEGUN "select backend_start::text from pg_stat_get_activity(pg_backend_pid())"

#endif
