/* gate.c - a counter and a queue. */
#include "commands/vehicle/gate.h"

#include <assert.h>

static void let_in(struct gate *);

void gate_init(struct gate *gate, size_t inside_max)
{
	assert(inside_max > 0);
	list_init(&gate->waiting);
	gate->inside = 0;
	gate->inside_max = inside_max;
}

void gate_pass_init(struct gate_pass *pass, void (*on_open)(struct gate_pass *))
{
	list_init(&pass->node);
	pass->is_inside = false;
	pass->on_open = on_open;
}

void gate_enter(struct gate *gate, struct gate_pass *pass)
{
	if (pass->is_inside) {
		pass->on_open(pass);
		return;
	}
	if (list_is_empty(&pass->node))
		list_append(&gate->waiting, &pass->node);
	let_in(gate);
}

void gate_leave(struct gate *gate, struct gate_pass *pass)
{
	list_remove(&pass->node);
	if (!pass->is_inside)
		return;
	pass->is_inside = false;
	gate->inside--;
	let_in(gate);
}

static void let_in(struct gate *gate)
{
	while (gate->inside < gate->inside_max && !list_is_empty(&gate->waiting)) {
		struct gate_pass *pass = container_of(list_take_first(&gate->waiting), struct gate_pass, node);
		pass->is_inside = true;
		gate->inside++;
		pass->on_open(pass);
	}
}
