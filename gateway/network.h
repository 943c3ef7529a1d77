/* network.h - numeric addresses: which network they are in, and who stands behind a proxy. */
#ifndef KEYFOB_GATEWAY_NETWORK_H
#define KEYFOB_GATEWAY_NETWORK_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct address;
struct texts;

/* `address` is one of `networks`: "10.1.2.3", "10.0.0.0/8", "fd00::/8". */
bool address_is_in(const char *address, const struct texts *networks);
/* One number for all addresses that one customer usually has: an IPv4 address, an IPv6 /64. 0 for what is no address. */
uint64_t address_network(const char *address);
/* Whether a listener of ours could be there, beside nobody: 0, or errno of the bind. Nothing stays bound. */
int address_try(const struct address *);

/* Who asks: `peer`, or where that is a trusted proxy the last in `forwarded` (the X-Forwarded-For fields joined by commas,
 * in their order; NULL: none) that no trusted proxy stands for. What a client put there itself is before that. */
void address_of_client(
	const char *peer, const struct texts *trusted, const char *forwarded, char ret[INET6_ADDRSTRLEN]);

#endif
