/* head.h - the head of an HTTP/1.1 request as it came from the socket, read strictly.
 *
 * What two readers could read differently is refused here, before any other parser meets it:
 * RFC 9112 §3 (request line), §5.1 (field lines), §6.3 (body length), RFC 9110 §7.2 (Host). */
#ifndef KEYFOB_GATEWAY_HEAD_H
#define KEYFOB_GATEWAY_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#define HEAD_MAX (16 * 1024)

struct head {
	size_t len;	 /* with its empty line; 0: that has not come */
	bool is_chunked; /* the body behind it (chunks.h) */
};

/* NULL: nothing is wrong with it as far as it goes; else a sentence that says what is wrong. */
const char *head_check(const char *text, size_t len, struct head *ret);
/* Makes a well-formed head's absolute-form target the origin-form that it stands for (RFC 9112 §3.2.2), in the `len` bytes at
 * `text`, which may go on behind the head. Returns by how much they are fewer now. */
size_t head_to_origin_form(char *text, size_t len);
/* Whether `text` holds the head's empty line. */
bool head_is_whole(const char *text, size_t len);
/* Whether a request for /v1/ws begins so, as far as `text` goes. */
bool head_may_ask_websocket(const char *text, size_t len);
/* Whether a whole and well-formed head asks for an upgrade to WebSocket at /v1/ws, in whatever way (RFC 6455 §4.1 says which
 * is right). */
bool head_asks_websocket(const char *text, size_t len);

#endif
