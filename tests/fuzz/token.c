/* token.c - a bearer token: as it comes; or, where a line of it is JSON, header and claims of one whose signature is as long
 * as it should be. No input may be let in: nobody signed it. */
#include <assert.h>
#include <cjose/base64.h>
#include <cjose/cjose.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "gateway/access/token.h"
#include "tests/fuzz/input.h"

#define NOW_US (1800000000LL * 1000000)
#define SIGNATURE_BYTES 64

/* The example of RFC 7515 A.3. */
static const char keys[] = "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"one\","
			   "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
			   "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}";

static struct verifier *verifier_get(void)
{
	static struct verifier *verifier;
	char why[256];

	if (verifier)
		return verifier;
	log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
	struct token_trust *trust = token_trust_new(&(struct token_issuer){ .issuer = "https://idp.example",
							    .audience = "keyfob",
							    .jwks_file = input_file(keys, sizeof(keys) - 1),
							    .subject_prefix = "idp:",
							    .scopes = SCOPES_ALL },
		1, why, sizeof(why));
	if (!trust)
		abort();
	return verifier = verifier_new(trust);
}

static void add_part(struct text *token, const char *bytes, size_t len)
{
	char *part = NULL;
	size_t part_len = 0;
	cjose_err err;

	if (len > 0 && cjose_base64url_encode((const uint8_t *)bytes, len, &part, &part_len, &err))
		text_add_bytes(token, part, part_len);
	cjose_get_dealloc()(part);
}

static void verify(const char *bytes, size_t len)
{
	char *token = input_copy(bytes, len), why[256] = "";
	struct caller caller;

	assert(token_verify(verifier_get(), token, len, NOW_US, &caller, why, sizeof(why)) != NULL);
	assert(why[0]);
	free(token);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct input in = { (const char *)bytes, len };
	char signature[SIGNATURE_BYTES] = "signed";
	struct text token = { 0 };

	if (len == 0 || bytes[0] != '{') {
		verify((const char *)bytes, len);
		return 0;
	}
	char *header = input_line(&in);
	add_part(&token, header, strlen(header));
	text_add(&token, ".");
	add_part(&token, in.at, in.left);
	text_add(&token, ".");
	add_part(&token, signature, sizeof(signature));
	verify(token.data, token.len);
	text_free(&token);
	free(header);
	return 0;
}
