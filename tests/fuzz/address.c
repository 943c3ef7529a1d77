/* address.c - who asks, by what proxies say of it: the peer, then, on the next line, the X-Forwarded-For fields joined by commas. */
#include <arpa/inet.h>
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/config_lists.h"
#include "gateway/network.h"
#include "tests/fuzz/input.h"

static bool is_address(const char *text)
{
	struct in6_addr bytes;
	return inet_pton(AF_INET, text, &bytes) == 1 || inet_pton(AF_INET6, text, &bytes) == 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const char *const networks[] = { "127.0.0.0/8", "::1", "10.0.0.0/8", "fd00::/8" };
	const struct texts trusted = { networks, sizeof(networks) / sizeof(networks[0]) };
	struct input in = { (const char *)bytes, len };
	char *peer = input_line(&in), *forwarded = input_line(&in), client[INET6_ADDRSTRLEN];

	if (is_address(peer)) {
		address_of_client(peer, &trusted, forwarded, client);
		assert(is_address(client));
		assert(address_is_in(peer, &trusted) || strcmp(client, peer) == 0);
	}
	free(peer);
	free(forwarded);
	return 0;
}
