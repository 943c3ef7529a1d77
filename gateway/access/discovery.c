/* discovery.c - reads an issuer's OpenID configuration; of all that stands there the keys' place alone counts. */
#include "gateway/access/discovery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "gateway/config_syntax.h"

bool discovery_may_ask(const char *url)
{
	return RULE_KEYS_URL.is(url);
}

/* A slash at the issuer's end is left out (§4). */
char *discovery_url(const char *issuer)
{
	size_t len = strlen(issuer);
	struct text url = { 0 };

	text_add_bytes(&url, issuer, len > 0 && issuer[len - 1] == '/' ? len - 1 : len);
	text_add(&url, "/.well-known/openid-configuration");
	return text_take(&url);
}

/* What is asked for in the clear is on this machine: no issuer elsewhere sends us there. */
static bool is_plain(const char *url)
{
	return strncmp(url, "http:", 5) == 0;
}

/* Another issuer's configuration, copied here, would have its keys count as this one's (§4.3). */
char *discovery_read(const char *issuer, const char *text, size_t len, char *ret_why, size_t why_size)
{
	json_auto_t *configuration = json_read(text, len);
	const char *named = json_text_at(configuration, "issuer"), *keys = json_text_at(configuration, "jwks_uri");

	if (!named || strcmp(named, issuer) != 0)
		snprintf(ret_why, why_size, "its OpenID configuration is none, or names another issuer");
	else if (!keys || !discovery_may_ask(keys) || (is_plain(keys) && !is_plain(issuer)))
		snprintf(ret_why, why_size, "its OpenID configuration has no jwks_uri by HTTPS");
	else
		return memory_need(strdup(keys));
	return NULL;
}
