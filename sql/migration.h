/* migration.h - the migrations that are built into the program: a row for each file of sql/migrations. */
#ifndef KEYFOB_SQL_MIGRATION_H
#define KEYFOB_SQL_MIGRATION_H

#include <stddef.h>

struct migration {
	int version;	  /* 1 for 0001_initial.sql; they rise */
	const char *name; /* "0001_initial" */
	const char *text;
};

extern const struct migration SQL_MIGRATIONS[]; /* ends with a row of zeros */
extern const size_t SQL_MIGRATION_COUNT;

#endif
