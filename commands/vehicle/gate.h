/* gate.h - lets a bounded number through at a time: thousands of vehicles do not connect at once.
 *
 * Passes are embedded in their owners and wait in the order in which they asked. */
#ifndef KEYFOB_COMMANDS_VEHICLE_GATE_H
#define KEYFOB_COMMANDS_VEHICLE_GATE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/list.h"

struct gate {
	struct list waiting;
	size_t inside, inside_max;
};

struct gate_pass {
	struct list node;
	bool is_inside;
	void (*on_open)(struct gate_pass *);
};

void gate_init(struct gate *, size_t inside_max);
void gate_pass_init(struct gate_pass *, void (*on_open)(struct gate_pass *));
/* Asks for a place; `on_open` follows, perhaps before this returns. Who waits already waits on, who is inside is let
 * through again. */
void gate_enter(struct gate *, struct gate_pass *);
/* Gives back the place, or the wish for one; does nothing without either. */
void gate_leave(struct gate *, struct gate_pass *);

#endif
