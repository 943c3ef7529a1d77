/* cancel.h - takes a command back, while it certainly was not handed over. */
#ifndef KEYFOB_COMMANDS_CANCEL_H
#define KEYFOB_COMMANDS_CANCEL_H

#include <stdbool.h>

#include "sql/batch.h"

struct cancel_flow;

/* One cancel. Owned by the caller until `on_done`; its texts are borrowed so long. */
struct cancel {
	const char *vehicle_id, *id, *subject;
	const char *address; /* for the audit table; NULL: unknown */
	bool admin;
	const struct batch_fence *fence; /* NULL: none */
	/* NULL: it is canceled, now or before. VEHICLE_NOT_FOUND, FORBIDDEN, COMMAND_NOT_FOUND, COMMAND_ALREADY_SENT,
	 * COMMAND_ALREADY_FINAL, or a storage fault. */
	void (*on_done)(struct cancel *, const struct fault *);

	char *command; /* JSON text, when there is no fault; the caller frees it */
	const struct fault *verdict;
	struct batch_item item;
};

struct cancel_flow *cancel_new(void);
void cancel_free(struct cancel_flow *);
struct batch_stage *cancel_stage(struct cancel_flow *);
void cancel_attach(struct cancel_flow *, struct batch *);
const struct fault *cancel_submit(struct cancel_flow *, struct cancel *);

#endif
