/* jwks_fetcher.h - the key sets of issuers that publish them by URL, fetched by one thread for the whole node.
 *
 * A set is fetched at the start, for a `kid` that is not known (at most once in 10 s for each issuer, however many such
 * tokens come), when asked to, and when it has grown old: after the time that Cache-Control gives, or an hour. Whatever does
 * not come as it should changes nothing: the last good set stays. */
#ifndef KEYFOB_GATEWAY_ACCESS_JWKS_FETCHER_H
#define KEYFOB_GATEWAY_ACCESS_JWKS_FETCHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct jwks;
struct jwks_fetcher;
struct jwks_source; /* one issuer; the fetcher's */

/* making */
struct jwks_fetcher *jwks_fetcher_new(void);
/* Before the start. `url` is copied; NULL: the issuer's OpenID configuration says where the keys are. `issuer` and the set are
 * borrowed until the fetcher is freed. */
struct jwks_source *jwks_fetcher_add(struct jwks_fetcher *, const char *issuer, const char *url, struct jwks *);
void jwks_fetcher_start(struct jwks_fetcher *);
/* Ends what is under way, joins the thread. */
void jwks_fetcher_free(struct jwks_fetcher *);

/* asking */
/* Until every issuer has shown a set, at most `ms` milliseconds: false. Any thread that has no loop to turn. */
bool jwks_fetcher_wait(struct jwks_fetcher *, int64_t ms);
/* How many fetches have ended, well or badly. Any thread. */
unsigned jwks_fetcher_ended(const struct jwks_fetcher *);
/* How long a set may be used that came with this Cache-Control (RFC 9111 §5.2.2; NULL: without), milliseconds: its max-age,
 * but at least 5 minutes and at most a day. */
int64_t jwks_fetcher_age_max_ms(const char *cache_control);

/* changing; any thread, at once */
/* Fetches every set now. */
void jwks_fetcher_refresh(struct jwks_fetcher *);
/* Somebody asks for a `kid` that is not in the set. True: a fetch is under way or begins now. */
bool jwks_source_look_again(struct jwks_source *);

#endif
