/* seal.c - AES-256-GCM, by OpenSSL. */
#include "notifier/webhook/seal.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/memory.h"

#define SEALED "sealed:"
#define CLEAR "whsec_"
#define NONCE 12
#define TAG 16
#define KEY_TEXT 44 /* 32 bytes in base64 */

static bool key_read(const char *text, unsigned char out[SEAL_KEY_SIZE])
{
	unsigned char bytes[KEY_TEXT / 4 * 3];
	bool fits = strlen(text) == KEY_TEXT && text[KEY_TEXT - 1] == '=' && text[KEY_TEXT - 2] != '=' &&
		    EVP_DecodeBlock(bytes, (const unsigned char *)text, KEY_TEXT) == (int)sizeof(bytes);

	if (fits)
		memcpy(out, bytes, SEAL_KEY_SIZE);
	OPENSSL_cleanse(bytes, sizeof(bytes));
	return fits;
}

bool seal_key_is_text(const char *text)
{
	unsigned char bytes[SEAL_KEY_SIZE];
	bool fits = key_read(text, bytes);

	OPENSSL_cleanse(bytes, sizeof(bytes));
	return fits;
}

/* A key is called by the beginning of its hash. */
static void key_init(struct seal_key *key, const char *text)
{
	unsigned char hash[SHA256_DIGEST_LENGTH];

	memset(key, 0, sizeof(*key));
	if (!text || !key_read(text, key->bytes))
		return;
	SHA256(key->bytes, sizeof(key->bytes), hash);
	snprintf(key->prefix, sizeof(key->prefix), SEALED "%02x%02x%02x%02x:", hash[0], hash[1], hash[2], hash[3]);
}

void seals_init(struct seals *s, const char *key, const char *old_key)
{
	key_init(&s->now, key);
	key_init(&s->before, old_key);
}

void seals_stale(const struct seals *s, const char *out[3])
{
	size_t count = 0;

	if (s->now.prefix[0])
		out[count++] = CLEAR;
	if (s->before.prefix[0] && strcmp(s->before.prefix, s->now.prefix) != 0)
		out[count++] = s->before.prefix;
	out[count] = NULL;
}

/* The webhook's id as the database writes it. Returns its length. */
static int write_id(const char *webhook_id, unsigned char out[UUID_TEXT_SIZE])
{
	int len = 0;

	for (; len < UUID_TEXT_SIZE - 1 && webhook_id[len]; len++)
		out[len] = (unsigned char)tolower((unsigned char)webhook_id[len]);
	return len;
}

char *seals_close(const struct seals *s, const char *webhook_id, const char *secret)
{
	const struct seal_key *key = &s->now;
	unsigned char id[UUID_TEXT_SIZE];
	int len = (int)strlen(secret), id_len = write_id(webhook_id, id), made;

	if (!key->prefix[0])
		return memory_need(strdup(secret));
	size_t whole = (size_t)(NONCE + len + TAG), prefix = strlen(key->prefix);
	unsigned char *sealed = memory_new(whole);
	char *out = memory_new(prefix + (whole + 2) / 3 * 4 + 1);
	EVP_CIPHER_CTX *context = memory_need(EVP_CIPHER_CTX_new());
	bool done = RAND_bytes(sealed, NONCE) == 1 &&
		    EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, key->bytes, sealed) == 1 &&
		    EVP_EncryptUpdate(context, NULL, &made, id, id_len) == 1 &&
		    EVP_EncryptUpdate(context, sealed + NONCE, &made, (const unsigned char *)secret, len) == 1 &&
		    EVP_EncryptFinal_ex(context, sealed + NONCE + len, &made) == 1 &&
		    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, TAG, sealed + NONCE + len) == 1;
	if (!done)
		memory_out();
	memcpy(out, key->prefix, prefix);
	EVP_EncodeBlock((unsigned char *)out + prefix, sealed, (int)whole);
	EVP_CIPHER_CTX_free(context);
	free(sealed);
	return out;
}

/* `bytes` is nonce, ciphertext and tag. NULL: it was not sealed so. */
static char *open_bytes(const struct seal_key *key, const char *webhook_id, unsigned char *bytes, int count)
{
	unsigned char id[UUID_TEXT_SIZE];
	int len = count - NONCE - TAG, id_len = write_id(webhook_id, id), made;

	if (len < 0)
		return NULL;
	char *out = memory_new((size_t)len + 1);
	EVP_CIPHER_CTX *context = memory_need(EVP_CIPHER_CTX_new());
	bool opened = EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, key->bytes, bytes) == 1 &&
		      EVP_DecryptUpdate(context, NULL, &made, id, id_len) == 1 &&
		      EVP_DecryptUpdate(context, (unsigned char *)out, &made, bytes + NONCE, len) == 1 &&
		      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, TAG, bytes + NONCE + len) == 1 &&
		      EVP_DecryptFinal_ex(context, (unsigned char *)out + len, &made) == 1;
	EVP_CIPHER_CTX_free(context);
	if (opened)
		return out;
	free(out);
	return NULL;
}

static char *open_with(const struct seal_key *key, const char *webhook_id, const char *stored)
{
	size_t prefix = strlen(key->prefix), len = strlen(stored);

	if (!prefix || strncmp(stored, key->prefix, prefix) != 0 || len == prefix)
		return NULL;
	unsigned char *bytes = memory_new(len);
	int count = EVP_DecodeBlock(bytes, (const unsigned char *)stored + prefix, (int)(len - prefix));
	count -= (stored[len - 1] == '=') + (stored[len - 2] == '=');
	char *out = open_bytes(key, webhook_id, bytes, count);
	free(bytes);
	return out;
}

char *seals_open(const struct seals *s, const char *webhook_id, const char *stored)
{
	if (strncmp(stored, SEALED, strlen(SEALED)) != 0)
		return memory_need(strdup(stored));
	char *opened = open_with(&s->now, webhook_id, stored);
	return opened ? opened : open_with(&s->before, webhook_id, stored);
}
