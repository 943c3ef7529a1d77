/* token_cache.c - a set-associative table of verified tokens: no chains, no allocation after the start. */
#include "gateway/access/token_cache.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "gateway/access/token.h"

#define SETS 1024
#define WAYS 4

struct entry {
	struct token_digest digest;
	int64_t good_until_us; /* 0: empty */
	uint64_t asked;	       /* the cache's count when it was last asked for */
	struct caller caller;
};

struct token_cache {
	EVP_MD *sha256; /* fetched once: EVP_sha256() would be looked up again by every digest */
	EVP_MD_CTX *context;
	uint64_t asked;
	struct entry sets[SETS][WAYS];
};

struct token_cache *token_cache_new(void)
{
	struct token_cache *c = memory_new(sizeof(*c));
	c->sha256 = memory_need(EVP_MD_fetch(NULL, "SHA256", NULL));
	c->context = memory_need(EVP_MD_CTX_new());
	return c;
}

void token_cache_free(struct token_cache *c)
{
	if (!c)
		return;
	EVP_MD_CTX_free(c->context);
	EVP_MD_free(c->sha256);
	free(c);
}

struct token_digest token_cache_digest(struct token_cache *c, const char *token, size_t len)
{
	struct token_digest digest;
	if (!EVP_DigestInit_ex2(c->context, c->sha256, NULL) || !EVP_DigestUpdate(c->context, token, len) ||
		!EVP_DigestFinal_ex(c->context, digest.bytes, NULL))
		memory_out(); /* a digest fails of nothing else */
	return digest;
}

static struct entry *set_of(struct token_cache *c, const struct token_digest *digest)
{
	return c->sets[(digest->bytes[0] | digest->bytes[1] << 8) % SETS];
}

const struct caller *token_cache_find(struct token_cache *c, const struct token_digest *digest, int64_t now_unix_us)
{
	struct entry *set = set_of(c, digest);
	for (size_t i = 0; i < WAYS; i++) {
		if (set[i].good_until_us <= now_unix_us || memcmp(&set[i].digest, digest, sizeof(*digest)) != 0)
			continue;
		set[i].asked = ++c->asked;
		return &set[i].caller;
	}
	return NULL;
}

/* The same token again takes its own place: twice in a set, it would push out another for nothing. */
static struct entry *place_for(struct token_cache *c, const struct token_digest *digest)
{
	struct entry *set = set_of(c, digest), *oldest = &set[0];
	for (size_t i = 0; i < WAYS; i++) {
		if (memcmp(&set[i].digest, digest, sizeof(*digest)) == 0)
			return &set[i];
		if (set[i].asked < oldest->asked)
			oldest = &set[i];
	}
	return oldest;
}

void token_cache_keep(
	struct token_cache *c, const struct token_digest *digest, const struct caller *caller, int64_t good_until_us)
{
	*place_for(c, digest) = (struct entry){
		.digest = *digest,
		.good_until_us = good_until_us,
		.asked = ++c->asked,
		.caller = *caller,
	};
}

void token_cache_clear(struct token_cache *c)
{
	memset(c->sets, 0, sizeof(c->sets));
}
