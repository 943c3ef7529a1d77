/* door.c - the bytes of one connection, as they come: framing, heads, routes, WebSocket frames. */
#include <assert.h>
#include <stdlib.h>

#include "gateway/door/chunks.h"
#include "gateway/door/head.h"
#include "tests/fuzz/gateway.h"
#include "tests/fuzz/input.h"

/* A body is the same whether it comes at once or byte by byte. */
static void follow_chunks(const char *body, size_t len)
{
	struct chunks whole = { 0 }, pieces = { 0 };
	const char *wrong, *wrong_later = NULL;
	size_t passed = chunks_pass(&whole, body, len, &wrong), at = 0;

	assert(passed <= len);
	for (size_t end = 0; end <= len && !wrong_later; end++)
		at += chunks_pass(&pieces, body + at, end - at, &wrong_later);
	assert(at == passed && !wrong == !wrong_later && (wrong || whole.part == pieces.part));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	char *text = input_copy((const char *)bytes, len);
	struct head head;
	const char *wrong = head_check(text, len, &head);

	assert(head.len <= len && (wrong || head.len == 0 || head_is_whole(text, len)));
	assert(wrong || head.len == 0 || !head_asks_websocket(text, len) || head_may_ask_websocket(text, len));
	if (!wrong && head.len > 0) {
		char *copy = input_copy(text, len);
		assert(head_to_origin_form(copy, len) < head.len);
		free(copy);
	}
	if (!wrong && head.is_chunked)
		follow_chunks(text + head.len, len - head.len);
	gateway_visit(text, len);
	free(text);
	return 0;
}
