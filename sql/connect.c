/* connect.c - libpq's blocking connect. */
#include "sql/connect.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

PGconn *connect_blocking(const char *url, const char *application, char *ret_why, size_t why_size)
{
	/* Asked first because libpq's message about a bad URL quotes it, password and all. */
	PQconninfoOption *options = PQconninfoParse(url, NULL);
	if (!options) {
		snprintf(ret_why, why_size, "the database URL cannot be read");
		return NULL;
	}
	PQconninfoFree(options);
	PGconn *conn =
		memory_need(PQconnectdbParams((const char *const[]){ "fallback_application_name", "connect_timeout",
						      "dbname", "target_session_attrs", "client_encoding", NULL },
			(const char *const[]){ application, "10", url, "read-write", "UTF8", NULL }, 1));
	if (PQstatus(conn) == CONNECTION_OK)
		return conn;
	snprintf(ret_why, why_size, "the database cannot be reached: %s", PQerrorMessage(conn));
	size_t len = strlen(ret_why);
	if (len > 0 && ret_why[len - 1] == '\n')
		ret_why[len - 1] = '\0';
	PQfinish(conn);
	return NULL;
}
