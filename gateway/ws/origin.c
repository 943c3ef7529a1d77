/* origin.c - compares hosts and ports, and addresses with networks. */
#include "gateway/ws/origin.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
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

bool origin_is_allowed(const char *origin, const char *host, const struct texts *listed)
{
	const char *mark = strstr(origin, "://");

	if (is_listed(origin, listed))
		return true;
	if (!mark)
		return false;
	struct authority from = authority_read(mark + 3), here = authority_read(host);
	const char *from_port = *from.port ? from.port : default_port(origin);
	const char *here_port = *here.port ? here.port : default_port(origin);
	return from.host_len > 0 && from.host_len == here.host_len &&
	       strncasecmp(from.host, here.host, here.host_len) == 0 && strcmp(from_port, here_port) == 0;
}

/* An IPv4 address is read as IPv6 maps it (RFC 4291 §2.5.5.2), so that both compare alike. */
static bool address_read(const char *text, uint8_t ret[16])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	memcpy(ret, mapped, sizeof(mapped));
	return inet_pton(AF_INET, text, ret + sizeof(mapped)) == 1 || inet_pton(AF_INET6, text, ret) == 1;
}

static bool has_prefix(const uint8_t address[16], const uint8_t network[16], unsigned bits)
{
	for (unsigned i = 0; i < bits; i++) {
		if ((address[i / 8] ^ network[i / 8]) & (0x80u >> (i % 8)))
			return false;
	}
	return true;
}

static bool is_in(const uint8_t address[16], const char *network)
{
	char text[INET6_ADDRSTRLEN];
	size_t len = strcspn(network, "/");
	uint8_t base[16];

	snprintf(text, sizeof(text), "%.*s", (int)len, network);
	if (!address_read(text, base))
		return false;
	unsigned whole = strchr(text, ':') ? 128 : 32;
	unsigned bits = network[len] == '/' ? (unsigned)strtoul(network + len + 1, NULL, 10) : whole;
	return bits <= whole && has_prefix(address, base, 128 - whole + bits);
}

bool address_is_in(const char *peer, const struct texts *networks)
{
	uint8_t address[16];

	if (!address_read(peer, address))
		return false;
	for (size_t i = 0; networks && i < networks->count; i++) {
		if (is_in(address, networks->items[i]))
			return true;
	}
	return false;
}
