/* head.h - the head of an HTTP/1.1 request as it came from the socket, read strictly.
 *
 * What two readers could read differently is refused here, before any other parser meets it:
 * RFC 9112 §3 (request line), §5.1 (field lines), §6.3 (body length), RFC 9110 §7.2 (Host). */
#ifndef KEYFOB_GATEWAY_HEAD_H
#define KEYFOB_GATEWAY_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#define HEAD_MAX (16 * 1024)

/* NULL: well formed up to its empty line; else a sentence that says what is wrong with it. */
const char *head_check(const char *text, size_t len);
/* Whether `text` holds the head's empty line. */
bool head_is_whole(const char *text, size_t len);
/* Whether a request for /v1/ws begins so, as far as `text` goes. */
bool head_may_ask_websocket(const char *text, size_t len);
/* Whether a well-formed head asks for the upgrade to WebSocket at /v1/ws (RFC 6455 §4.1). */
bool head_asks_websocket(const char *text, size_t len);

#endif
