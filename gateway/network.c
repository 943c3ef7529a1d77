/* network.c - compares addresses with networks, and walks back through proxies. */
#include "gateway/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/config_lists.h"

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

bool address_is_in(const char *text, const struct texts *networks)
{
	uint8_t address[16];

	if (!address_read(text, address))
		return false;
	for (size_t i = 0; networks && i < networks->count; i++) {
		if (is_in(address, networks->items[i]))
			return true;
	}
	return false;
}

uint64_t address_network(const char *text)
{
	struct in6_addr in6;
	struct in_addr in4;
	uint64_t network = 0;

	if (inet_pton(AF_INET, text, &in4) == 1)
		network = in4.s_addr;
	else if (inet_pton(AF_INET6, text, &in6) == 1 && IN6_IS_ADDR_V4MAPPED(&in6))
		memcpy(&network, &in6.s6_addr[12], 4);
	else if (inet_pton(AF_INET6, text, &in6) == 1)
		memcpy(&network, &in6, sizeof(network));
	return network;
}

int address_try(const struct address *a)
{
	bool v6 = strchr(a->host, ':') != NULL;
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(a->port) };
	struct sockaddr_in in4 = { .sin_family = AF_INET, .sin_port = htons(a->port) };
	int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, error = 0;

	inet_pton(v6 ? AF_INET6 : AF_INET, a->host, v6 ? (void *)&in6.sin6_addr : (void *)&in4.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if ((v6 ? bind(fd, (struct sockaddr *)&in6, sizeof(in6)) : bind(fd, (struct sockaddr *)&in4, sizeof(in4))) != 0)
		error = errno;
	close(fd);
	return error;
}

/* "1.2.3.4", "1.2.3.4:80", "2001:db8::1", "[2001:db8::1]:80", with blanks around; false: none of these. */
static bool read_item(const char *from, size_t len, char ret[INET6_ADDRSTRLEN])
{
	char text[INET6_ADDRSTRLEN + 16], *at = text;
	uint8_t bytes[16];

	snprintf(text, sizeof(text), "%.*s", (int)(len < sizeof(text) ? len : sizeof(text) - 1), from);
	at += strspn(at, " \t");
	at[strcspn(at, " \t")] = '\0';
	bool bracketed = *at == '[', has_port = strchr(at, ':') && strchr(at, ':') == strrchr(at, ':');
	at += bracketed;
	at[strcspn(at, bracketed ? "]" : has_port ? ":" : "")] = '\0';
	if (strlen(at) >= INET6_ADDRSTRLEN || !address_read(at, bytes))
		return false;
	memcpy(ret, at, strlen(at) + 1);
	return true;
}

void address_of_client(const char *peer, const struct texts *trusted, const char *forwarded, char ret[INET6_ADDRSTRLEN])
{
	size_t end = forwarded ? strlen(forwarded) : 0;

	snprintf(ret, INET6_ADDRSTRLEN, "%s", peer);
	while (end > 0 && address_is_in(ret, trusted)) {
		size_t begin = end;
		while (begin > 0 && forwarded[begin - 1] != ',')
			begin--;
		if (!read_item(forwarded + begin, end - begin, ret))
			return;
		end = begin > 0 ? begin - 1 : 0;
	}
}
