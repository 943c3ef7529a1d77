/* rpc.c - an app's messages, a line each, over a WebSocket of somebody who may do everything. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "tests/fuzz/gateway.h"
#include "tests/fuzz/input.h"

/* A whole text frame (RFC 6455 §5.2), masked with zeros. */
static void add_frame(struct text *out, const char *message, size_t len)
{
	char head[14] = { (char)0x81 };
	size_t n = 2;

	if (len < 126) {
		head[1] = (char)(0x80 | len);
	} else if (len < 65536) {
		head[1] = (char)(0x80 | 126);
		head[n++] = (char)(len >> 8);
		head[n++] = (char)(len & 255);
	} else {
		head[1] = (char)(0x80 | 127);
		for (int shift = 56; shift >= 0; shift -= 8)
			head[n++] = (char)((uint64_t)len >> shift & 255);
	}
	text_add_bytes(out, head, n + 4);
	text_add_bytes(out, message, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	const char *at = (const char *)bytes, *end = at + len;
	struct text out = { 0 };

	text_addf(&out,
		"GET /v1/ws HTTP/1.1\r\nHost: keyfob\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
		"Sec-WebSocket-Protocol: keyfob.v1\r\nAuthorization: Bearer %s\r\n\r\n",
		gateway_token());
	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		const char *stop = newline ? newline : end;
		add_frame(&out, at, (size_t)(stop - at));
		at = newline ? newline + 1 : end;
	}
	gateway_visit(out.data, out.len);
	text_free(&out);
	return 0;
}
