/* refused.h - writes into the audit table who was refused by what their token says, for which the database is not asked, and who was
 * refused a read or a subscription; where the database refuses a change by itself, the statement writes that down (docs/access.md). */
#ifndef KEYFOB_GATEWAY_OPERATIONS_REFUSED_H
#define KEYFOB_GATEWAY_OPERATIONS_REFUSED_H

struct api;
struct api_call;
struct batch;
struct batch_stage;
struct caller;
struct refused;

struct refused *refused_new(void);
struct batch_stage *refused_stage(struct refused *);
void refused_attach(struct refused *, struct batch *);
/* A row for the call, soon after. `why`: "scope", "step-up", or the name of the problem that hides what was to be read. Bounded by how
 * often its caller may ask, and by the room of the batch; what does not get through is logged. */
void refused_note(struct refused *, const struct api_call *, const char *why);
/* A row for a subscription, or another read, of an object as the table has it ("": none): once in detection.window for a subject and an
 * object, and for no more than SUSPICION_TRAIL objects of a subject in it. `action` outlives the call. */
void refused_note_read(struct api *, const struct caller *, const char *action, const char *object, const char *why);

#endif
