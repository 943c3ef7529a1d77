/* command_cancel.c - the operation command.cancel. */
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/list.h"
#include "base/memory.h"
#include "commands/cancel.h"
#include "gateway/api_internal.h"

static void run(struct api_call *call);
static void on_done(struct cancel *cancel, const struct fault *fault);

static const char *const params[] = { "vehicle_id", "id", NULL };
const struct api_operation API_COMMAND_CANCEL = { "command.cancel", SCOPE_COMMANDS_WRITE, params, run };

struct cancelling {
	struct api_call *call;
	struct cancel cancel;
};

static void run(struct api_call *call)
{
	struct cancelling *c = memory_new(sizeof(*c));

	c->call = call;
	call->state = c;
	call->free_state = free;
	if (!api_param_vehicle(call, &c->cancel.vehicle_id) || !api_param_text(call, "id", &c->cancel.id))
		return;
	if (!c->cancel.id || !uuid_is_text(c->cancel.id))
		c->cancel.id =
			"00000000-0000-0000-0000-000000000000"; /* none has it: the vehicle is looked for first */
	c->cancel.subject = call->caller.subject;
	c->cancel.address = call->caller.address;
	c->cancel.admin = api_caller_is_admin(call);
	c->cancel.on_done = on_done;
	const struct fault *fault = cancel_submit(call->api->cancel, &c->cancel);
	if (fault)
		api_call_fail(call, fault, "%s", "");
}

static void on_done(struct cancel *cancel, const struct fault *fault)
{
	struct cancelling *c = container_of(cancel, struct cancelling, cancel);

	if (fault)
		api_call_fail(c->call, fault, "%s", "");
	else
		api_call_reply(c->call, cancel->command, strlen(cancel->command));
}
