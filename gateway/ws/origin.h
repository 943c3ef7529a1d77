/* origin.h - whether a page of that origin (RFC 6454) may open a WebSocket here. */
#ifndef KEYFOB_GATEWAY_WS_ORIGIN_H
#define KEYFOB_GATEWAY_WS_ORIGIN_H

#include <stdbool.h>

struct texts;

/* `origin` is listed, or its scheme is `scheme` ("https"; NULL: nobody knows, it may be any) and its host and port are those of
 * `host` ("app.example:8443"). Without a port in `host` it is the default one of the origin's scheme. */
bool origin_is_allowed(const char *origin, const char *scheme, const char *host, const struct texts *listed);

#endif
