/* connect.h - a connection to the database for programs that have no loop. */
#ifndef KEYFOB_SQL_CONNECT_H
#define KEYFOB_SQL_CONNECT_H

#include <stddef.h>

typedef struct pg_conn PGconn;

/* To whichever of the URL's hosts takes writes, within 10 s each. NULL: `ret_why` is a sentence without a password in it. The caller
 * gives it to PQfinish(). */
PGconn *connect_blocking(const char *url, const char *application, char *ret_why, size_t why_size);

#endif
