/* door.c - the bytes of one connection, as they come: framing, heads, routes, WebSocket frames. */
#include <assert.h>
#include <stdlib.h>

#include "gateway/door/head.h"
#include "tests/fuzz/gateway.h"
#include "tests/fuzz/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	char *text = input_copy((const char *)bytes, len);
	const char *wrong = head_check(text, len);

	assert(wrong || head_is_whole(text, len));
	assert(!head_asks_websocket(text, len) || (!wrong && head_may_ask_websocket(text, len)));
	gateway_visit(text, len);
	free(text);
	return 0;
}
