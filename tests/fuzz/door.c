/* door.c - the bytes of one connection, as they come: framing, heads, routes, WebSocket frames. */
#include <assert.h>
#include <stdlib.h>

#include "gateway/door/head.h"
#include "tests/fuzz/gateway.h"
#include "tests/fuzz/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	char *text = input_copy((const char *)bytes, len);
	size_t head_len = 0;
	const char *wrong = head_check(text, len, &head_len);

	assert(head_len <= len && (wrong || head_len == 0 || head_is_whole(text, len)));
	assert(wrong || head_len == 0 || !head_asks_websocket(text, len) || head_may_ask_websocket(text, len));
	if (!wrong && head_len > 0) {
		char *copy = input_copy(text, len);
		assert(head_to_origin_form(copy, len) < head_len);
		free(copy);
	}
	gateway_visit(text, len);
	free(text);
	return 0;
}
