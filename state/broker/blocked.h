/* blocked.h - the vehicles that the gateway has shut out: their ids, as its retained messages name them.
 *
 * {namespace}/blocked/{vehicle_id}, any payload: it is refused at the CONNECT, and thrown out at the end of the
 * broker's round; an empty payload: it may come again. A broker that starts knows nobody until the gateway says it
 * anew, which it does whenever it connects. */
#ifndef KEYFOB_STATE_BROKER_BLOCKED_H
#define KEYFOB_STATE_BROKER_BLOCKED_H

#include <stdbool.h>
#include <stddef.h>

struct blocked {
	struct blocked_id *ids;
};

/* making: zero-initialised is empty */
void blocked_done(struct blocked *);

/* asking */
bool blocked_has(const struct blocked *, const char *id);

/* changing */
/* A message that the gateway published; others are passed over. */
void blocked_read(struct blocked *, const char *name_space, const char *topic, size_t payload_len);
void blocked_meet(struct blocked *, const char *id); /* it is there all the same: to be thrown out */
void blocked_kick(struct blocked *);		     /* the end of a round: who was shut out in it */

#endif
