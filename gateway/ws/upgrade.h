/* upgrade.h - the request that opens a WebSocket (RFC 6455 §4.1), read from its raw head. */
#ifndef KEYFOB_GATEWAY_WS_UPGRADE_H
#define KEYFOB_GATEWAY_WS_UPGRADE_H

#include <stdbool.h>
#include <stddef.h>

struct fault;

#define FORWARDED_MAX 16 /* proxies; what is further away is left out */

/* Texts are NULL when the field is absent; everything points into the head that was read. `host` is the target's own where
 * that names one (RFC 9112 §3.2.2). */
struct upgrade {
	const char *host, *target_host, *forwarded_host, *origin, *authorization;
	const char *key, *version;
	const char *forwarded_scheme;		  /* "http" or "https": what the last proxy says that it was asked by */
	const char *forwarded_for[FORWARDED_MAX]; /* the last of them, in their order */
	size_t forwarded_count;
	const char *bearer; /* of the offered subprotocol bearer.TOKEN */
	bool is_websocket, is_connection, offers_keyfob;
};

/* NULL: `*ret` is filled, and it is an upgrade to keyfob.v1; else MALFORMED_REQUEST, or UPGRADE_REQUIRED for another version
 * of the protocol (§4.4), and `*ret_why` is a sentence. `head` ends with its empty line and a NUL at head[len]; it is cut into
 * pieces. */
const struct fault *upgrade_read(char *head, size_t len, struct upgrade *ret, const char **ret_why);
/* The token that came with it. False: Authorization is there and has no bearer token (RFC 6750 §2.1). `*ret` NULL: none. */
bool upgrade_token(const struct upgrade *, const char **ret);

#endif
