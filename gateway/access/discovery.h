/* discovery.h - where an issuer says that its keys are (OpenID Connect Discovery 1.0 §4). */
#ifndef KEYFOB_GATEWAY_ACCESS_DISCOVERY_H
#define KEYFOB_GATEWAY_ACCESS_DISCOVERY_H

#include <stdbool.h>
#include <stddef.h>

/* HTTPS without a user, or HTTP of this machine: whoever can change what such a URL answers with can sign in as anybody. */
bool discovery_may_ask(const char *url);
/* Of the issuer's configuration; the caller frees it. */
char *discovery_url(const char *issuer);
/* The jwks_uri of the configuration in `text`, which must name this very issuer; the caller frees it. NULL: it cannot be used,
 * and `ret_why` says why in one sentence. */
char *discovery_read(const char *issuer, const char *text, size_t len, char *ret_why, size_t why_size);

#endif
