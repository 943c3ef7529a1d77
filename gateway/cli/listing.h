/* listing.h - reads a list of the node's page by page, up to a limit. */
#ifndef KEYFOB_GATEWAY_CLI_LISTING_H
#define KEYFOB_GATEWAY_CLI_LISTING_H

#include <jansson.h>
#include <stdint.h>

struct cli;

/* {"items":[…],"next_cursor":…} of at most `limit` items at `path`; `filter` is "status=sent" or NULL.
 * NULL: it is reported already. The caller owns it. */
json_t *listing_read(struct cli *, const char *path, const char *filter, int64_t limit);

/* Reads one, and shows it: as it is where JSON was asked for, else `print` its items, and says when there are more.
 * CLI_FINE or CLI_FAILED. */
int listing_show(struct cli *, const char *path, const char *filter, int64_t limit, void (*print)(const json_t *items));

/* "key=value", encoded, as a list's filter; NULL when there is no value. The caller frees it. */
char *listing_filter(const char *key, const char *value);

#endif
