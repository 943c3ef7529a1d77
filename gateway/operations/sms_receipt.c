/* sms_receipt.c - an SMS provider called back: what it says of a message goes to the wake-up flow. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "gateway/api_internal.h"
#include "notifier/wake/wake.h"

struct sms_receipt_call {
	struct api_call *call;
	struct wake_receipt receipt;
};

static void on_received(struct wake_receipt *receipt, const struct fault *fault)
{
	struct sms_receipt_call *r = container_of(receipt, struct sms_receipt_call, receipt);
	struct api_call *call = r->call;

	free(r);
	if (fault)
		api_call_fail(call, fault, "%s", "");
	else
		api_call_reply(call, memory_need(strdup("")), 0);
}

static void run(struct api_call *call)
{
	struct sms_receipt_call *r = memory_new(sizeof(*r));
	struct sms_receipt *receipt = &r->receipt.receipt;

	r->call = call;
	r->receipt.on_done = on_received;
	if (api_param_text(call, "provider", &receipt->provider) &&
		api_param_text(call, "message_id", &receipt->message_id) &&
		api_param_bool(call, "delivered", false, &receipt->delivered) &&
		api_param_text(call, "reason", &receipt->reason))
		wake_receive(call->api->wake, &r->receipt);
	else
		free(r);
}

static const char *const params[] = { "provider", "message_id", "delivered", "reason", NULL };
const struct api_operation API_SMS_RECEIPT = { "sms.receipt", 0, params, run };
