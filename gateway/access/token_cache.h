/* token_cache.h - the tokens that one worker has found good, by their SHA-256, so that each is verified once.
 *
 * Bounded: 4096 tokens, in sets of four; a full set gives up the one that was asked for longest ago.
 * One thread. */
#ifndef KEYFOB_GATEWAY_ACCESS_TOKEN_CACHE_H
#define KEYFOB_GATEWAY_ACCESS_TOKEN_CACHE_H

#include <stddef.h>
#include <stdint.h>

#define TOKEN_DIGEST_SIZE 32

struct caller;
struct token_cache;

struct token_digest {
	unsigned char bytes[TOKEN_DIGEST_SIZE];
};

struct token_cache *token_cache_new(void);
void token_cache_free(struct token_cache *);

struct token_digest token_cache_digest(struct token_cache *, const char *token, size_t len);
/* NULL when it is not there or no longer good at `now_unix_us`. Borrowed until the next change. */
const struct caller *token_cache_find(struct token_cache *, const struct token_digest *, int64_t now_unix_us);
/* `good_until_us`: from then on the token is verified again. */
void token_cache_keep(struct token_cache *, const struct token_digest *, const struct caller *, int64_t good_until_us);
void token_cache_clear(struct token_cache *);

#endif
