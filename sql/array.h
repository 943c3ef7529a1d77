/* array.h - the end of a db_array, for the unit that eats it. */
#ifndef KEYFOB_SQL_ARRAY_H
#define KEYFOB_SQL_ARRAY_H

#include "sql/db.h"

/* The finished array text, the caller's from now on; the array is empty. */
char *db_array_take(struct db_array *);

#endif
