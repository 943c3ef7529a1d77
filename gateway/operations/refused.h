/* refused.h - writes into the audit table who was refused by what their token says, for which the database is not asked; what it
 * refuses by itself the statements write down (docs/access.md). */
#ifndef KEYFOB_GATEWAY_OPERATIONS_REFUSED_H
#define KEYFOB_GATEWAY_OPERATIONS_REFUSED_H

struct api_call;
struct batch;
struct batch_stage;
struct refused;

struct refused *refused_new(void);
struct batch_stage *refused_stage(struct refused *);
void refused_attach(struct refused *, struct batch *);
/* A row for the call, if it would have changed something, soon after. `why`: "scope", "step-up". Bounded by how often its caller may
 * ask, and by the room of the batch; what does not get through is logged. */
void refused_note(struct refused *, const struct api_call *, const char *why);

#endif
