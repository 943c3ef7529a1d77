/* changes.h - the stages of the operations that change vehicles, their grants, desired state and notices. */
#ifndef KEYFOB_GATEWAY_OPERATIONS_CHANGES_H
#define KEYFOB_GATEWAY_OPERATIONS_CHANGES_H

#include <stdbool.h>

struct batch;
struct batch_stage;
struct changes;

#define CHANGES_STAGES 10

struct changes *changes_new(bool synchronous);
void changes_free(struct changes *);
void changes_stages(struct changes *, struct batch_stage *ret[CHANGES_STAGES]);
void changes_attach(struct changes *, struct batch *);

#endif
