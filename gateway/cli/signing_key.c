/* signing_key.c - a key pair between OpenSSL, which makes and keeps it, and libcjose, which signs with it. */
#include "gateway/cli/signing_key.h"

#include <cjose/cjose.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/memory.h"

#define RSA_BITS 2048
#define NUMBER_BYTES_MAX 512

/* A parameter of OpenSSL's, the member of the JWK that holds it, and its size (RFC 7518 §6; 0: as it is). */
struct number {
	const char *parameter, *member;
	int bytes;
	bool is_private;
};

struct key_kind {
	const char *alg, *kty, *crv;
	int type; /* of OpenSSL's */
	struct number numbers[8];
};

static const struct key_kind kinds[] = {
	{ "ES256", "EC", "P-256", EVP_PKEY_EC,
		{
			{ OSSL_PKEY_PARAM_EC_PUB_X, "x", 32, false },
			{ OSSL_PKEY_PARAM_EC_PUB_Y, "y", 32, false },
			{ OSSL_PKEY_PARAM_PRIV_KEY, "d", 32, true },
		} },
	{ "RS256", "RSA", NULL, EVP_PKEY_RSA,
		{
			{ OSSL_PKEY_PARAM_RSA_N, "n", 0, false },
			{ OSSL_PKEY_PARAM_RSA_E, "e", 0, false },
			{ OSSL_PKEY_PARAM_RSA_D, "d", 0, true },
			{ OSSL_PKEY_PARAM_RSA_FACTOR1, "p", 0, true },
			{ OSSL_PKEY_PARAM_RSA_FACTOR2, "q", 0, true },
			{ OSSL_PKEY_PARAM_RSA_EXPONENT1, "dp", 0, true },
			{ OSSL_PKEY_PARAM_RSA_EXPONENT2, "dq", 0, true },
			{ OSSL_PKEY_PARAM_RSA_COEFFICIENT1, "qi", 0, true },
		} },
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))
#define NUMBERS (sizeof(kinds[0].numbers) / sizeof(kinds[0].numbers[0]))

struct signing_key {
	const struct key_kind *kind;
	EVP_PKEY *pkey;
};

static struct signing_key *key_of(EVP_PKEY *pkey)
{
	for (size_t i = 0; pkey && i < KINDS; i++) {
		if (EVP_PKEY_get_base_id(pkey) != kinds[i].type)
			continue;
		struct signing_key *key = memory_new(sizeof(*key));
		key->kind = &kinds[i];
		key->pkey = pkey;
		return key;
	}
	EVP_PKEY_free(pkey);
	return NULL;
}

bool signing_alg_is_known(const char *alg)
{
	return strcmp(alg, "ES256") == 0 || strcmp(alg, "RS256") == 0;
}

struct signing_key *signing_key_make(const char *alg)
{
	return key_of(memory_need(strcmp(alg, "ES256") == 0 ? EVP_EC_gen("P-256") : EVP_RSA_gen(RSA_BITS)));
}

static bool is_p256(EVP_PKEY *pkey)
{
	char group[32] = "";
	return EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL) == 1 &&
	       strcmp(group, SN_X9_62_prime256v1) == 0;
}

struct signing_key *signing_key_read(const char *file, char *ret_why, size_t why_size)
{
	FILE *f = fopen(file, "re");
	if (!f) {
		snprintf(ret_why, why_size, "%.200s: %s", file, strerror(errno));
		return NULL;
	}
	EVP_PKEY *pkey = PEM_read_PrivateKey(f, NULL, NULL, NULL);
	fclose(f);
	struct signing_key *key = key_of(pkey);
	if (key && (key->kind->type != EVP_PKEY_EC || is_p256(key->pkey)))
		return key;
	snprintf(ret_why, why_size, "%.200s is no private key of RSA or P-256", file);
	signing_key_free(key);
	return NULL;
}

void signing_key_free(struct signing_key *key)
{
	if (!key)
		return;
	EVP_PKEY_free(key->pkey);
	free(key);
}

const char *signing_key_alg(const struct signing_key *key)
{
	return key->kind->alg;
}

/* Written beside the file and renamed over it: nobody ever sees half a key, or one that others may read. */
bool signing_key_write(const struct signing_key *key, const char *file, char *ret_why, size_t why_size)
{
	struct text beside = { 0 };
	text_addf(&beside, "%s.new", file);
	unlink(beside.data);
	int fd = open(beside.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
	bool fine = f && PEM_write_PKCS8PrivateKey(f, key->pkey, NULL, NULL, 0, NULL, NULL);
	fine = f && fclose(f) == 0 && fine && rename(beside.data, file) == 0;
	if (!fine)
		snprintf(ret_why, why_size, "%.200s: %s", file, strerror(errno));
	text_free(&beside);
	return fine;
}

static json_t *base64url(const unsigned char *bytes, size_t len)
{
	char *text = NULL;
	size_t text_len = 0;
	cjose_err err;
	if (!cjose_base64url_encode(bytes, len, &text, &text_len, &err))
		return NULL;
	json_t *value = json_stringn(text, text_len);
	cjose_get_dealloc()(text);
	return value;
}

static json_t *number_read(const struct signing_key *key, const struct number *number)
{
	unsigned char bytes[NUMBER_BYTES_MAX];
	BIGNUM *n = NULL;
	if (!EVP_PKEY_get_bn_param(key->pkey, number->parameter, &n))
		return NULL;
	int len = number->bytes ? number->bytes : BN_num_bytes(n);
	bool fits = len <= NUMBER_BYTES_MAX && BN_bn2binpad(n, bytes, len) == len;
	BN_clear_free(n);
	return fits ? base64url(bytes, (size_t)len) : NULL;
}

static json_t *jwk_of(const struct signing_key *key, bool with_private)
{
	const struct key_kind *kind = key->kind;
	json_t *jwk = json_pack("{ss}", "kty", kind->kty);
	if (kind->crv)
		json_object_set_new(jwk, "crv", json_string(kind->crv));
	for (size_t i = 0; i < NUMBERS && kind->numbers[i].member; i++) {
		const struct number *n = &kind->numbers[i];
		if (with_private || !n->is_private)
			json_object_set_new(jwk, n->member, number_read(key, n));
	}
	return jwk;
}

/* The thumbprint (RFC 7638 §3): the SHA-256 of the required members, sorted, without a space. */
static json_t *kid_of(const json_t *public_jwk)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	char *canonical = json_canonical(public_jwk);
	bool fine = EVP_Digest(canonical, strlen(canonical), digest, &len, EVP_sha256(), NULL) == 1;
	free(canonical);
	return fine ? base64url(digest, len) : NULL;
}

json_t *signing_key_set(const struct signing_key *key)
{
	json_t *jwk = jwk_of(key, false), *kid = kid_of(jwk);
	json_object_set_new(jwk, "kid", kid);
	json_object_set_new(jwk, "alg", json_string(key->kind->alg));
	json_object_set_new(jwk, "use", json_string("sig"));
	return json_pack("{s[o]}", "keys", jwk);
}

static cjose_header_t *header_of(const struct signing_key *key)
{
	json_auto_t *jwk = jwk_of(key, false);
	return (cjose_header_t *)json_pack("{ss ss so}", "alg", key->kind->alg, "typ", "JWT", "kid", kid_of(jwk));
}

static char *jws_export(cjose_jws_t *jws)
{
	const char *compact = NULL;
	cjose_err err;
	return jws && cjose_jws_export(jws, &compact, &err) ? memory_need(strdup(compact)) : NULL;
}

char *signing_key_sign(const struct signing_key *key, const json_t *claims)
{
	cjose_err err;
	json_auto_t *private_jwk = jwk_of(key, true);
	cjose_jwk_t *jwk = cjose_jwk_import_json((cjose_header_t *)private_jwk, &err);
	cjose_header_t *header = header_of(key);
	char *text = json_dumps(claims, JSON_COMPACT);
	cjose_jws_t *jws = jwk ? cjose_jws_sign(jwk, header, (const uint8_t *)text, strlen(text), &err) : NULL;
	char *token = jws_export(jws);
	cjose_jws_release(jws);
	cjose_jwk_release(jwk);
	cjose_header_release(header);
	free(text);
	return token;
}
