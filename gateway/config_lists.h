/* config_lists.h - the lists that a configuration holds. Owned by the configuration they are part of. */
#ifndef KEYFOB_GATEWAY_CONFIG_LISTS_H
#define KEYFOB_GATEWAY_CONFIG_LISTS_H

#include <stddef.h>
#include <stdint.h>

struct texts {
	const char *const *items;
	size_t count;
};

struct numbers {
	const int *items;
	size_t count;
};

/* Where to listen: a numeric address without brackets, and a port (0: any free one). */
struct address {
	const char *text; /* as it was written: "[::]:8443" */
	const char *host; /* "::" */
	uint16_t port;
};

struct addresses {
	const struct address *items;
	size_t count;
};

struct pair {
	const char *key, *value;
};

struct pairs {
	const struct pair *items;
	size_t count;
};

#endif
