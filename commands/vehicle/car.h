/* car.h - the simulated car: what the commands do to it, and the state that it reports.
 *
 * A car owns its reported state; a new one shares the factory state until something changes. Versions rise
 * by one from the wall clock at the start, so that they also rise over restarts. */
#ifndef KEYFOB_COMMANDS_VEHICLE_CAR_H
#define KEYFOB_COMMANDS_VEHICLE_CAR_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct car {
	json_t *reported;
	int64_t version;	 /* of the last report; vehicles/{id}/state and an answer's state_version */
	int64_t desired_version; /* the newest desired state that was adopted */
};

/* making */
/* The state of a car that leaves the factory; the caller owns it. */
json_t *car_factory_state(void);
void car_init(struct car *, json_t *factory_state, int64_t unix_us);
void car_done(struct car *);

/* asking */
/* The whole state as a report, {"version":N,"state":{…}}, under the version that it has; the caller frees the text. */
char *car_report(const struct car *);

/* changing */
/* Does what the command says. Returns the merge patch (RFC 7396) that it made, under a new version, owned by the
 * caller; NULL when it changed nothing, as any command that the car does not know. `params` may be NULL. */
json_t *car_execute(struct car *, const char *name, const json_t *params);
/* Takes over the values of a desired state (`{"version","state"}`). Returns the text of the report that tells so,
 * owned by the caller; NULL when it is malformed, older than one adopted before, or would make the state larger
 * than CAR_STATE_MAX bytes. */
char *car_adopt(struct car *, const json_t *desired);
/* The next version, for a report of the same state. */
void car_raise_version(struct car *);

#define CAR_STATE_MAX (64 * 1024)

#endif
