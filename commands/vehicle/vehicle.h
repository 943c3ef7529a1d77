/* vehicle.h - one simulated vehicle: its session at the broker, its car, and the requests that it does.
 *
 * The fleet owns it. It is made resting, comes online when woken and rests again when told so; `on_resting` is the
 * moment after which it may be freed. */
#ifndef KEYFOB_COMMANDS_VEHICLE_VEHICLE_H
#define KEYFOB_COMMANDS_VEHICLE_VEHICLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/mqtt/link.h"

struct gate;
struct journal;
struct loop;
struct vehicle;
struct work_manner;

#define VEHICLE_ID_SIZE 65
#define VEHICLE_FEEDS 32

/* All borrowed for the life of the vehicle, but the id and the broker's username are copied. */
struct vehicle_options {
	struct loop *loop;
	const char *id;
	struct mqtt_broker broker;
	struct gate *gate; /* who may connect now */
	const struct work_manner *manner;
	struct journal *journal; /* may be NULL */
	json_t *factory_state;
	int64_t flap_ms;       /* leaves and returns at this pace; 0: stays */
	int64_t flap_phase_ms; /* the first time so much later, that a fleet does not flap in step */
	int64_t awake_for_ms;  /* rests by itself when so long nothing came; 0: stays */
	bool tells_itself;     /* by birth and will, where the broker tells nobody who comes and goes */

	void *owner;
	void (*on_ready)(void *owner, struct vehicle *);		    /* subscribed for the first time */
	void (*on_lost)(void *owner, struct vehicle *, const char *reason); /* or refused: it tries again by itself */
	void (*on_resting)(void *owner, struct vehicle *);
};

/* making */
struct vehicle *vehicle_new(const struct vehicle_options *);
void vehicle_free(struct vehicle *); /* a resting one */

/* asking */
/* `[A-Za-z0-9._:-]{1,64}` */
bool vehicle_id_is_valid(const char *);
bool vehicle_is_resting(const struct vehicle *);
const char *vehicle_id(const struct vehicle *);

/* changing */
void vehicle_wake(struct vehicle *);
/* `on_resting` follows, unless it rests already. */
void vehicle_rest(struct vehicle *);

#endif
