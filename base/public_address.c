/* public_address.c - two tables of networks, from the IANA registries of special-purpose addresses. */
#include "base/public_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static const struct {
	uint32_t network;
	int bits;
} special4[] = {
	{ 0x00000000, 8 },  /* this host */
	{ 0x0a000000, 8 },  /* private */
	{ 0x64400000, 10 }, /* shared, behind carriers' NAT */
	{ 0x7f000000, 8 },  /* loopback */
	{ 0xa9fe0000, 16 }, /* link-local */
	{ 0xac100000, 12 }, /* private */
	{ 0xc0000000, 24 }, /* protocol assignments */
	{ 0xc0000200, 24 }, /* documentation */
	{ 0xc0586300, 24 }, /* relays of 6to4 */
	{ 0xc0a80000, 16 }, /* private */
	{ 0xc6120000, 15 }, /* benchmarks */
	{ 0xc6336400, 24 }, /* documentation */
	{ 0xcb007100, 24 }, /* documentation */
	{ 0xe0000000, 4 },  /* multicast */
	{ 0xf0000000, 4 },  /* reserved, broadcast */
};

/* Within the global unicast block, 2000::/3. */
static const struct {
	uint8_t network[6];
	int bits;
} special6[] = {
	{ { 0x20, 0x01, 0x00 }, 23 },	    /* protocol assignments, Teredo */
	{ { 0x20, 0x01, 0x0d, 0xb8 }, 32 }, /* documentation */
	{ { 0x20, 0x02 }, 16 },		    /* 6to4 */
	{ { 0x3f, 0xff }, 20 },		    /* documentation */
};

static const uint8_t global6[1] = { 0x20 };
static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff }; /* ::ffff:0:0/96 */
static const uint8_t nat64[12] = { 0x00, 0x64, 0xff, 0x9b };	/* 64:ff9b::/96, RFC 6052 §2.1 */

static bool begins(const uint8_t *address, const uint8_t *network, int bits)
{
	int whole = bits / 8, rest = bits % 8;

	return memcmp(address, network, (size_t)whole) == 0 &&
	       (rest == 0 || (address[whole] ^ network[whole]) >> (8 - rest) == 0);
}

static bool is_public4(const uint8_t bytes[4])
{
	uint32_t address = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];

	for (size_t i = 0; i < COUNT(special4); i++) {
		if ((address ^ special4[i].network) >> (32 - special4[i].bits) == 0)
			return false;
	}
	return true;
}

static bool is_public6(const uint8_t bytes[16])
{
	if (begins(bytes, mapped, 96) || begins(bytes, nat64, 96))
		return is_public4(bytes + 12);
	if (!begins(bytes, global6, 3))
		return false;
	for (size_t i = 0; i < COUNT(special6); i++) {
		if (begins(bytes, special6[i].network, special6[i].bits))
			return false;
	}
	return true;
}

bool address_is_public(const struct sockaddr *address)
{
	uint8_t bytes[16];

	if (address->sa_family == AF_INET) {
		memcpy(bytes, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
		return is_public4(bytes);
	}
	if (address->sa_family == AF_INET6) {
		memcpy(bytes, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
		return is_public6(bytes);
	}
	return false;
}
