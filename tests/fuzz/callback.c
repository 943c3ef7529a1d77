/* callback.c - what an SMS provider calls back: the query, the content type, then the body. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "notifier/wake/http_sms.h"
#include "notifier/wake/provider.h"
#include "tests/fuzz/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const char *const delivered[] = { "delivered" }, *const failed[] = { "failed", "undelivered" };
	static const struct sms_callback_form forms[] = {
		{ "MessageSid", "MessageStatus", delivered, 1, failed, 2 },
		{ "results.0.messageId", "results.0.status.name", delivered, 1, failed, 2 },
	};
	struct input in = { (const char *)bytes, len };
	char *query = input_line(&in), *type = input_line(&in), *body = input_copy(in.at, in.left);

	for (size_t i = 0; i < 2; i++) {
		struct sms_callback_text text;
		struct sms_receipt receipt;
		if (sms_callback_read(&forms[i], query, type, body, in.left, &text, &receipt) == CALLBACK_NEWS)
			assert(receipt.message_id[0] && strlen(receipt.message_id) < sizeof(text.message_id));
	}
	free(query);
	free(type);
	free(body);
	return 0;
}
