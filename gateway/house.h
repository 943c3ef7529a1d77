/* house.h - what one worker of a node does once a minute for all: makes and drops partitions, and removes what is over. */
#ifndef KEYFOB_GATEWAY_HOUSE_H
#define KEYFOB_GATEWAY_HOUSE_H

#include <stdbool.h>

struct config;
struct db;
struct house;
struct loop;

/* All borrowed. */
struct house *house_new(struct loop *, struct db *, const struct config *);
void house_start(struct house *);
/* The worker ends: nothing more is asked of the database. */
void house_stop(struct house *);
bool house_is_quiet(const struct house *); /* nothing of its own is with the database */

#endif
