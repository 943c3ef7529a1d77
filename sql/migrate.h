/* migrate.h - brings a database to this version's schema: numbered files, each in its own transaction,
 * under an advisory lock, so that two nodes may try at once. Blocking; for --migrate alone. */
#ifndef KEYFOB_SQL_MIGRATE_H
#define KEYFOB_SQL_MIGRATE_H

/* 0 when the schema is current afterwards; else a sentence is on standard error and it returns 1. */
int migrate_run(const char *database_url);
/* Raises meta.epoch: says that the database's history was not continued. Same result. */
int migrate_new_epoch(const char *database_url);
/* The newest migration this program knows. */
int migrate_version(void);

#endif
