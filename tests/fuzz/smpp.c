/* smpp.c - what comes from an SMS centre: frames, and what is in them. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/smpp/pdu.h"
#include "notifier/wake/smpp/receipt.h"
#include "tests/fuzz/input.h"

static void read_pdu(const uint8_t *pdu, size_t len)
{
	struct smpp_message message;
	struct smpp_receipt receipt;
	struct smpp_bind bind;
	char id[SMPP_ID_SIZE];

	if (smpp_read_bind(pdu, len, &bind))
		assert(strlen(bind.system_id) < sizeof(bind.system_id) &&
			strlen(bind.password) < sizeof(bind.password));
	if (smpp_read_id(pdu, len, id))
		assert(smpp_id_is_plain(id));
	if (!smpp_read_message(pdu, len, &message))
		return;
	assert(message.text_len == 0 || (message.text >= pdu && message.text + message.text_len <= pdu + len));
	if (smpp_receipt_read(&message, &receipt) && receipt.is_final)
		assert(receipt.delivered || receipt.reason);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct smpp_header header;

	while (smpp_frame(bytes, len, &header) == SMPP_FRAME_WHOLE) {
		assert(header.length >= SMPP_HEADER_SIZE && header.length <= len);
		char *pdu = input_copy((const char *)bytes, header.length);
		read_pdu((const uint8_t *)pdu, header.length);
		free(pdu);
		bytes += header.length;
		len -= header.length;
	}
	return 0;
}
