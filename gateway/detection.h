/* detection.h - what happens too often is noticed: counted, logged, and told to those whom it concerns, once in a window
 * (detection.* of the configuration; docs/security.md says what may be behind it). */
#ifndef KEYFOB_GATEWAY_DETECTION_H
#define KEYFOB_GATEWAY_DETECTION_H

struct api;
struct caller;
struct fault;
struct lifecycle_refusal;

/* Somebody's call failed: faults that refuse are counted. `vehicle_id`, `fleet_id` NULL: none was meant. */
void detection_fault(
	struct api *, const struct fault *, const struct caller *, const char *vehicle_id, const char *fleet_id);
/* A subscription did, to an object as the audit table has it (a vehicle's id, or "fleet/" and a fleet's; "": it can be nothing's):
 * counted likewise, and a refusal is written down. `action`: "vehicle.subscribe", "fleet.subscribe". */
void detection_subscription(
	struct api *, const struct fault *, const struct caller *, const char *action, const char *object);
/* A token was none. */
void detection_stranger(struct api *, const char *address);
/* A vehicle answered what it was not asked. */
void detection_forged(struct api *, const char *vehicle_id);
/* Somebody else wanted to connect under a vehicle's client id, and the broker refused it. */
void detection_connect(struct api *, const struct lifecycle_refusal *);
/* A vehicle was sent one more command by its subject. */
void detection_command(struct api *, const char *vehicle_id, const char *subject);

#endif
