/* jwks.c - what an issuer publishes: its key set, and where that is. */
#include <assert.h>
#include <stdlib.h>

#include "gateway/access/discovery.h"
#include "gateway/access/jwks.h"
#include "tests/fuzz/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct jwks *jwks = jwks_new_empty();
	char *text = input_copy((const char *)bytes, len), why[256];

	if (jwks_put(jwks, text, len, why, sizeof(why))) {
		struct jwks_keys *keys = jwks_take(jwks);
		for (enum jws_alg alg = 0; alg < JWS_ALG_COUNT; alg++) {
			const struct jwks_key *key = jwks_find(keys, NULL, alg);
			if (key)
				jwks_key_verifies(key, "e30.e30.AAAA", 12);
		}
		jwks_keys_unref(keys);
	}
	char *url = discovery_read("https://idp.example", text, len, why, sizeof(why));
	assert(!url || discovery_may_ask(url));
	free(url);
	free(text);
	jwks_free(jwks);
	return 0;
}
