/* origin.c - compares schemes, hosts and ports. */
#include "gateway/ws/origin.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "gateway/config_lists.h"

/* "host" or "host:port"; an IPv6 address stands in brackets, which belong to the host. */
struct authority {
	const char *host;
	size_t host_len;
	const char *port; /* "" when it is left out */
};

static struct authority authority_read(const char *text)
{
	const char *bracket = *text == '[' ? strchr(text, ']') : NULL;
	const char *colon = strchr(bracket ? bracket : text, ':');

	return (struct authority){
		.host = text, .host_len = colon ? (size_t)(colon - text) : strlen(text), .port = colon ? colon + 1 : ""
	};
}

static const char *default_port(const char *origin)
{
	return strncasecmp(origin, "https:", 6) == 0 ? "443" : strncasecmp(origin, "http:", 5) == 0 ? "80" : "";
}

static bool is_listed(const char *origin, const struct texts *listed)
{
	for (size_t i = 0; listed && i < listed->count; i++) {
		if (strcasecmp(origin, listed->items[i]) == 0)
			return true;
	}
	return false;
}

static bool has_scheme(const char *origin, const char *scheme)
{
	size_t len = strlen(scheme);
	return strncasecmp(origin, scheme, len) == 0 && origin[len] == ':';
}

bool origin_is_allowed(const char *origin, const char *scheme, const char *host, const struct texts *listed)
{
	const char *mark = strstr(origin, "://");

	if (is_listed(origin, listed))
		return true;
	if (!mark || (scheme && !has_scheme(origin, scheme)))
		return false;
	struct authority from = authority_read(mark + 3), here = authority_read(host);
	const char *from_port = *from.port ? from.port : default_port(origin);
	const char *here_port = *here.port ? here.port : default_port(origin);
	return from.host_len > 0 && from.host_len == here.host_len &&
	       strncasecmp(from.host, here.host, here.host_len) == 0 && strcmp(from_port, here_port) == 0;
}
