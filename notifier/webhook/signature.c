/* signature.c - the HMAC, by OpenSSL. */
#include "notifier/webhook/signature.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"

#define PREFIX "whsec_"
#define PREFIX_LEN (sizeof(PREFIX) - 1)
#define KEY_BYTES 32
#define KEY_MAX 64

void webhook_secret_make(char out[WEBHOOK_SECRET_SIZE])
{
	unsigned char key[KEY_BYTES], encoded[(KEY_BYTES + 2) / 3 * 4 + 1];

	if (RAND_bytes(key, sizeof(key)) != 1)
		memory_out(); /* who has no random numbers makes no secret */
	EVP_EncodeBlock(encoded, key, sizeof(key));
	snprintf(out, WEBHOOK_SECRET_SIZE, PREFIX "%s", (const char *)encoded);
	OPENSSL_cleanse(key, sizeof(key));
}

/* The length; 0: it is no secret. */
static size_t read_key(const char *secret, unsigned char out[KEY_MAX + 2])
{
	const char *encoded = secret + PREFIX_LEN;
	size_t len = strlen(secret), padding;

	if (len <= PREFIX_LEN || strncmp(secret, PREFIX, PREFIX_LEN) != 0)
		return 0;
	len -= PREFIX_LEN;
	padding = (size_t)(encoded[len - 1] == '=') + (len > 1 && encoded[len - 2] == '=');
	if (len % 4 != 0 || len / 4 * 3 > KEY_MAX + 2 ||
		EVP_DecodeBlock(out, (const unsigned char *)encoded, (int)len) < 0)
		return 0;
	return len / 4 * 3 - padding;
}

bool webhook_sign(struct text *out, const char *secret, const char *id, int64_t unix_s, const char *body)
{
	unsigned char key[KEY_MAX + 2], mac[EVP_MAX_MD_SIZE], encoded[(EVP_MAX_MD_SIZE + 2) / 3 * 4 + 1];
	struct text content = { 0 };
	unsigned mac_len = 0;
	size_t key_len = read_key(secret, key);

	if (key_len == 0)
		return false;
	text_addf(&content, "%s.%lld.", id, (long long)unix_s);
	text_add(&content, body);
	if (!HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)content.data, content.len, mac, &mac_len))
		memory_out();
	EVP_EncodeBlock(encoded, mac, (int)mac_len);
	text_addf(out, "v1,%s", (const char *)encoded);
	text_free(&content);
	OPENSSL_cleanse(key, sizeof(key));
	return true;
}
