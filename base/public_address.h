/* public_address.h - whether an address is of the public Internet: what a stranger's URL may lead to. */
#ifndef KEYFOB_BASE_PUBLIC_ADDRESS_H
#define KEYFOB_BASE_PUBLIC_ADDRESS_H

#include <stdbool.h>

struct sockaddr;

/* False for everything that the registries of special addresses call not globally reachable (RFC 6890 and what was added since):
 * this host, private and shared networks, link-local (and with it the clouds' metadata), documentation, multicast, and for IPv6
 * whatever is outside the global unicast block. An IPv4 address inside an IPv6 one (mapped, NAT64) counts as itself. */
bool address_is_public(const struct sockaddr *);

#endif
