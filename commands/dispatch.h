/* dispatch.h - from the claim to the PUBACK: publishes what this worker claimed, and records what became of it.
 *
 * Its settle stage ends every transaction: of the vehicles concerned, those that are away have only waiting
 * commands, and of those that are there the oldest unsent command is claimed. Its puback and failure stages record verdicts.
 * A publish stays in hand until its verdict is recorded, whatever the database does meanwhile. */
#ifndef KEYFOB_COMMANDS_DISPATCH_H
#define KEYFOB_COMMANDS_DISPATCH_H

#include <stdbool.h>
#include <stddef.h>

struct batch;
struct batch_stage;
struct command_ports;
struct db;
struct dispatch;
struct loop;

/* making; `worker` and `ports` are borrowed for life */
struct dispatch *dispatch_new(struct loop *, struct db *, const char *worker, const struct command_ports *ports);
void dispatch_free(struct dispatch *);
/* Good PUBACKs, before the answers that may have overtaken them: then both are simple. */
struct batch_stage *dispatch_puback_stage(struct dispatch *);
/* All other verdicts, after the answers: an answer proves what a verdict doubts. */
struct batch_stage *dispatch_failure_stage(struct dispatch *);
struct batch_stage *dispatch_settle_stage(struct dispatch *);
void dispatch_attach(struct dispatch *, struct batch *);

/* asking */
size_t dispatch_in_hand(const struct dispatch *);
bool dispatch_has(const struct dispatch *, const char *command_id);

/* changing: what the send link tells */
void dispatch_on_puback(struct dispatch *, int mid, int reason);
/* The link is gone: whether what was published and not acknowledged has arrived, nobody knows. */
void dispatch_on_link_down(struct dispatch *);

#endif
