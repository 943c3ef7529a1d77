/* fleet.h - one or thousands of vehicles in one process, on one loop.
 *
 * The fleet owns its vehicles. It belongs to main, which closes it and frees it once `on_closed` was called. */
#ifndef KEYFOB_COMMANDS_VEHICLE_FLEET_H
#define KEYFOB_COMMANDS_VEHICLE_FLEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mqtt/link.h"
#include "commands/vehicle/work.h"

struct fleet;
struct journal;
struct loop;
struct smsc_sms;

#define FLEET_SIZE_MAX 99999 /* as many as five digits tell apart; a process may have descriptors for fewer */
#define FLEET_CONNECTS_AT_ONCE 64

/* Borrowed for the life of the fleet. */
struct fleet_options {
	const char *id;	    /* of the one vehicle; NULL: by prefix and count */
	const char *prefix; /* ids are the prefix and five digits, from 00001 on */
	size_t count;
	struct mqtt_broker broker;
	const char *username; /* {id} in it stands for the vehicle's id; NULL: the id */
	struct work_manner manner;
	int64_t flap_ms;	 /* 0: none does */
	int64_t awake_for_ms;	 /* 0: who is awake stays so */
	bool tells_itself;	 /* by birth and will */
	struct journal *journal; /* may be NULL */
};

struct fleet *fleet_new(struct loop *, const struct fleet_options *);
void fleet_wake(struct fleet *);
void fleet_rest(struct fleet *);
/* Wakes every vehicle whose id is a word of the text. false: it names none of this fleet. */
bool fleet_take_sms(struct fleet *, const struct smsc_sms *);
/* Puts all to rest for good; `on_closed` follows, from the loop. */
void fleet_close(struct fleet *, void (*on_closed)(void *owner), void *owner);
void fleet_free(struct fleet *);

#endif
