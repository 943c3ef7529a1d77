/* deadline.h - time: finds what is due, wherever it was begun, and lets the lifecycle decide.
 *
 * Every worker looks, twice a second: commands past their end or their wait for an answer, claims of workers that
 * died, and vehicles whose waiting commands are to be offered again. Looking locks nothing; the batch looks again. */
#ifndef KEYFOB_COMMANDS_DEADLINE_H
#define KEYFOB_COMMANDS_DEADLINE_H

struct batch;
struct batch_stage;
struct db;
struct deadline;
struct dispatch;
struct loop;

/* `reader` is the connection for looking; `worker` is borrowed for life. */
struct deadline *deadline_new(struct loop *, struct db *reader, const char *worker, const struct dispatch *);
void deadline_free(struct deadline *);
struct batch_stage *deadline_stage(struct deadline *); /* commands that are due */
struct batch_stage *offer_stage(struct deadline *);    /* vehicles whose commands are offered again */
void deadline_attach(struct deadline *, struct batch *);
void deadline_start(struct deadline *);
/* A worker has died: what it had claimed is looked for at once, and not when it is due. */
void deadline_on_death(struct deadline *);
/* This worker can publish again: what was put off until then is offered at once. */
void deadline_on_return(struct deadline *);
/* No new look begins; what is under way ends by itself. */
void deadline_stop(struct deadline *);

#endif
