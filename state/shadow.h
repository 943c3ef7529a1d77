/* shadow.h - the vehicle's reported state: merge patches (RFC 7396) with rising versions, stored and told. */
#ifndef KEYFOB_STATE_SHADOW_H
#define KEYFOB_STATE_SHADOW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct batch;
struct batch_fence;
struct batch_stage;
struct mqtt_message;
struct receipt;
struct shadow;

struct shadow *shadow_new(void);
void shadow_free(struct shadow *);
struct batch_stage *shadow_stage(struct shadow *);
void shadow_attach(struct shadow *, struct batch *);
/* One message of vehicles/{id}/state or vehicles/{id}/state/{feed}. True and the vehicle's id when it came from a vehicle, and does
 * not go along with another one of it that proves as much. */
bool shadow_receive(struct shadow *, const struct batch_fence *, const struct mqtt_message *, struct receipt *,
	char ret_vehicle_id[65]);

/* Borrowed, but for what is static. */
struct state_report {
	const char *vehicle_id;
	const json_t *patch;
	int64_t version;	/* -1: none */
	const char *command_id; /* it came with an answer to this command; NULL: by itself */
	const char *answer;	/* the answer's status; static */
};
/* What came with an answer counts if the answer changes the command: not what a refused one says, and not once more what a repeated one
 * does (where both come in one transaction, it may: state_version tells). Opens the receipt, and closes its share when the report is durable. */
void shadow_report(struct shadow *, const struct batch_fence *, const struct state_report *, struct receipt *);

#endif
