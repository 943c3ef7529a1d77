/* token_test.c - which bearer tokens count, and which of the known ways to forge one do not. */
#include "gateway/access/token.h"

#include <check.h>
#include <cjose/base64.h>
#include <cjose/util.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/json.h"
#include "tests/suite.h"

#define NOW_S 1800000000LL
#define NOW_US (NOW_S * 1000000)

static EVP_PKEY *rsa, *ec, *stranger;
static char keys_file[] = "/tmp/keyfob-token-test-XXXXXX";
static struct token_trust *trust;
static struct verifier *verifier;

/* ---- keys, as an identity provider makes and publishes them ---- */

static char *base64url(const void *bytes, size_t len)
{
	char *out = NULL;
	size_t out_len;
	cjose_err err;
	ck_assert(cjose_base64url_encode(bytes, len, &out, &out_len, &err));
	return out;
}

static char *number_of(EVP_PKEY *key, const char *parameter, int bytes)
{
	BIGNUM *n = NULL;
	unsigned char raw[1024];
	ck_assert(EVP_PKEY_get_bn_param(key, parameter, &n));
	int len = bytes ? bytes : BN_num_bytes(n);
	ck_assert_int_eq(BN_bn2binpad(n, raw, len), len);
	BN_free(n);
	return base64url(raw, (size_t)len);
}

static json_t *jwk_of(EVP_PKEY *key, const char *kid)
{
	bool is_rsa = EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA;
	char *a = number_of(key, is_rsa ? "n" : OSSL_PKEY_PARAM_EC_PUB_X, is_rsa ? 0 : 32);
	char *b = number_of(key, is_rsa ? "e" : OSSL_PKEY_PARAM_EC_PUB_Y, is_rsa ? 0 : 32);
	json_t *jwk = is_rsa ? json_pack("{ss ss ss ss}", "kty", "RSA", "kid", kid, "n", a, "e", b)
			     : json_pack("{ss ss ss ss ss}", "kty", "EC", "crv", "P-256", "kid", kid, "x", a, "y", b);
	free(a);
	free(b);
	return jwk;
}

static void file_write(const char *text)
{
	FILE *f = fopen(keys_file, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

/* Takes the keys. */
static void keys_write(json_t *first, json_t *second)
{
	json_auto_t *set = json_pack("{s[o]}", "keys", first);
	if (second)
		json_array_append_new(json_object_get(set, "keys"), second);
	char *text = json_dumps(set, 0);
	file_write(text);
	free(text);
}

/* ---- tokens ---- */

static size_t sign_raw(EVP_PKEY *key, bool pss, const char *text, unsigned char *out, size_t size)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *options = NULL;
	ck_assert(EVP_DigestSignInit(context, &options, EVP_sha256(), NULL, key));
	if (pss) {
		EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING);
		EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST);
	}
	ck_assert(EVP_DigestSign(context, out, &size, (const unsigned char *)text, strlen(text)));
	EVP_MD_CTX_free(context);
	return size;
}

/* RFC 7518 §3.4: r and s, 32 bytes each, not DER. */
static size_t ecdsa_flatten(unsigned char *signature, size_t len)
{
	const unsigned char *at = signature;
	ECDSA_SIG *der = d2i_ECDSA_SIG(NULL, &at, (long)len);
	const BIGNUM *r, *s;
	ECDSA_SIG_get0(der, &r, &s);
	BN_bn2binpad(r, signature, 32);
	BN_bn2binpad(s, signature + 32, 32);
	ECDSA_SIG_free(der);
	return 64;
}

static char *joined(const char *a, const char *b)
{
	struct text t = { 0 };
	text_addf(&t, "%s.%s", a, b);
	return text_take(&t);
}

static char *token_begin(const char *header, const char *claims)
{
	char *h = base64url(header, strlen(header)), *c = base64url(claims, strlen(claims));
	char *text = joined(h, c);
	free(h);
	free(c);
	return text;
}

static char *token_end(char *begin, const void *signature, size_t len)
{
	char *s = base64url(signature, len);
	char *token = joined(begin, s);
	free(s);
	free(begin);
	return token;
}

static char *token_signed(EVP_PKEY *key, const char *header, const char *claims)
{
	unsigned char signature[1024];
	char *begin = token_begin(header, claims);
	size_t len = sign_raw(key, strstr(header, "PS256") != NULL, begin, signature, sizeof(signature));
	if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC)
		len = ecdsa_flatten(signature, len);
	return token_end(begin, signature, len);
}

#define HEADER_RS "{\"alg\":\"RS256\",\"kid\":\"r1\"}"
#define HEADER_PS "{\"alg\":\"PS256\",\"kid\":\"r1\"}"
#define HEADER_ES "{\"alg\":\"ES256\",\"kid\":\"e1\"}"
#define ISS "\"iss\":\"https://idp.test\","
#define AUD "\"aud\":\"keyfob\","
#define EXP "\"exp\":1800000600"
#define SUB "\"sub\":\"alice\","
#define CLAIMS "{" ISS AUD SUB EXP ",\"scope\":\"vehicles:read openid commands:write\"}"

/* What the verifier says: "" for yes. */
static const char *verdict_at(const char *token, int64_t now_us, struct caller *ret)
{
	static char why[256];
	why[0] = '\0';
	const struct fault *f = token_verify(verifier, token, strlen(token), now_us, ret, why, sizeof(why));
	ck_assert(f == NULL || f == &FAULT_UNAUTHENTICATED);
	ck_assert_int_eq(f == NULL, why[0] == '\0');
	return why;
}

static const char *verdict(char *token)
{
	struct caller caller;
	const char *why = verdict_at(token, NOW_US, &caller);
	free(token);
	return why;
}

static struct caller good(char *token)
{
	struct caller caller;
	ck_assert_str_eq(verdict_at(token, NOW_US, &caller), "");
	free(token);
	return caller;
}

static const char *verdict_of_claims(const char *claims)
{
	return verdict(token_signed(ec, HEADER_ES, claims));
}

static const char *verdict_of_header(const char *header)
{
	return verdict(token_signed(ec, header, CLAIMS));
}

static unsigned scopes_of(const char *claims)
{
	return good(token_signed(ec, HEADER_ES, claims)).scopes;
}

/* ---- fixtures ---- */

static void make_keys(void)
{
	rsa = EVP_RSA_gen(2048);
	ec = EVP_EC_gen("P-256");
	stranger = EVP_EC_gen("P-256");
	close(mkstemp(keys_file));
}

static void drop_keys(void)
{
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(ec);
	EVP_PKEY_free(stranger);
	unlink(keys_file);
}

static void trust_open_all(const struct token_issuer *issuers, size_t count)
{
	char why[256] = "";
	trust = token_trust_new(issuers, count, why, sizeof(why));
	ck_assert_msg(trust != NULL, "%s", why);
	verifier = verifier_new(trust);
}

static void trust_open(const struct token_issuer *issuer)
{
	trust_open_all(issuer, 1);
}

static void trust_close(void)
{
	verifier_free(verifier);
	token_trust_free(trust);
}

static void setup(void)
{
	keys_write(jwk_of(rsa, "r1"), jwk_of(ec, "e1"));
	trust_open(&(struct token_issuer){
		.issuer = "https://idp.test",
		.audience = "keyfob",
		.jwks_file = keys_file,
		.subject_prefix = "idp:",
		.scopes = SCOPE_VEHICLES_READ | SCOPE_COMMANDS_WRITE,
	});
}

/* ---- tests ---- */

START_TEST(good_tokens_of_each_algorithm)
{
	struct caller c = good(token_signed(rsa, HEADER_RS, CLAIMS));
	ck_assert_str_eq(c.subject, "idp:alice");
	ck_assert_uint_eq(c.scopes, SCOPE_VEHICLES_READ | SCOPE_COMMANDS_WRITE);
	ck_assert_int_eq(c.expires_at_us, 1800000600LL * 1000000);
	ck_assert_int_eq(c.auth_time_us, 0);
	good(token_signed(rsa, HEADER_PS, CLAIMS));
	good(token_signed(ec, HEADER_ES, CLAIMS));
	good(token_signed(ec, "{\"alg\":\"ES256\"}", CLAIMS));
}
END_TEST

START_TEST(a_token_without_signature_is_refused)
{
	char *begin = token_begin("{\"alg\":\"none\"}", CLAIMS);
	char *bare = joined(begin, "");
	ck_assert_str_eq(verdict(bare), "the token is no compact JWS");
	ck_assert_str_eq(verdict(token_end(begin, "x", 1)), "the token's alg is none of RS256, PS256, ES256");
	ck_assert_str_ne(verdict_of_header("{\"alg\":\"None\",\"kid\":\"e1\"}"), "");
	ck_assert_str_ne(verdict_of_header("{\"kid\":\"e1\"}"), "");
	ck_assert_str_ne(verdict_of_header("{\"alg\":[\"ES256\"],\"kid\":\"e1\"}"), "");
	ck_assert_str_ne(verdict_of_header("{\"alg\":\"ES256\",\"alg\":\"none\",\"kid\":\"e1\"}"), "");
}
END_TEST

/* The key confusion: an HMAC whose secret is the public key that everybody has. */
START_TEST(an_hmac_with_the_public_key_is_refused)
{
	BIO *memory = BIO_new(BIO_s_mem());
	char *pem;
	unsigned char mac[32];
	unsigned len;
	PEM_write_bio_PUBKEY(memory, rsa);
	long pem_len = BIO_get_mem_data(memory, &pem);
	char *begin = token_begin("{\"alg\":\"HS256\",\"kid\":\"r1\"}", CLAIMS);
	HMAC(EVP_sha256(), pem, (int)pem_len, (unsigned char *)begin, strlen(begin), mac, &len);
	ck_assert_str_eq(verdict(token_end(begin, mac, len)), "the token's alg is none of RS256, PS256, ES256");
	BIO_free(memory);
}
END_TEST

START_TEST(the_algorithm_is_pinned_to_the_key)
{
	const char *no_key = "the token's issuer has no such key for this alg";
	ck_assert_str_eq(verdict_of_header("{\"alg\":\"RS256\",\"kid\":\"e1\"}"), no_key);
	ck_assert_str_eq(verdict(token_signed(rsa, "{\"alg\":\"ES256\",\"kid\":\"r1\"}", CLAIMS)), no_key);
	json_t *pinned = jwk_of(rsa, "r2");
	json_object_set_new(pinned, "alg", json_string("PS256"));
	keys_write(pinned, NULL);
	ck_assert(token_trust_reload(trust));
	good(token_signed(rsa, "{\"alg\":\"PS256\",\"kid\":\"r2\"}", CLAIMS));
	ck_assert_str_eq(verdict(token_signed(rsa, "{\"alg\":\"RS256\",\"kid\":\"r2\"}", CLAIMS)), no_key);
}
END_TEST

START_TEST(foreign_and_broken_signatures_are_refused)
{
	const char *wrong = "the token's signature is wrong";
	ck_assert_str_eq(verdict(token_signed(stranger, HEADER_ES, CLAIMS)), wrong);
	char *token = token_signed(ec, HEADER_ES, CLAIMS);
	token[strlen(token) - 4] = '\0';
	ck_assert_str_eq(verdict(token), wrong);
	token = token_end(token_begin(HEADER_ES, CLAIMS), (unsigned char[64]){ 0 }, 64);
	ck_assert_str_eq(verdict(token), wrong);
	token = token_signed(rsa, HEADER_RS, CLAIMS);
	char *dot = strchr(token, '.');
	dot[20] = dot[20] == 'A' ? 'B' : 'A';
	ck_assert_str_ne(verdict(token), "");
}
END_TEST

START_TEST(the_header_cannot_bring_its_own_key)
{
	json_auto_t *header = json_pack(
		"{ss so ss}", "alg", "ES256", "jwk", jwk_of(stranger, "s1"), "jku", "https://attacker.test/keys");
	char *text = json_dumps(header, 0);
	ck_assert_str_eq(verdict(token_signed(stranger, text, CLAIMS)), "the token's signature is wrong");
	free(text);
	json_object_set_new(header, "kid", json_string("s1"));
	text = json_dumps(header, 0);
	ck_assert_str_eq(
		verdict(token_signed(stranger, text, CLAIMS)), "the token's issuer has no such key for this alg");
	free(text);
	good(token_signed(
		ec, "{\"alg\":\"ES256\",\"kid\":\"e1\",\"jku\":\"https://attacker.test/\",\"x5u\":\"x\"}", CLAIMS));
}
END_TEST

START_TEST(extensions_and_other_types_are_refused)
{
	ck_assert_str_ne(verdict_of_header("{\"alg\":\"ES256\",\"kid\":\"e1\",\"crit\":[\"b64\"],\"b64\":false}"), "");
	ck_assert_str_ne(verdict_of_header("{\"alg\":\"ES256\",\"kid\":\"e1\",\"crit\":null}"), "");
	ck_assert_str_ne(verdict_of_header("{\"alg\":\"ES256\",\"kid\":\"e1\",\"typ\":\"logout+jwt\"}"), "");
	ck_assert_str_ne(verdict_of_header("{\"alg\":\"ES256\",\"kid\":\"e1\",\"typ\":7}"), "");
	ck_assert_str_ne(verdict_of_header("{\"alg\":\"ES256\",\"kid\":7}"), "");
	ck_assert_str_eq(verdict_of_header("{\"alg\":\"ES256\",\"kid\":\"e1\",\"typ\":\"jwt\"}"), "");
	ck_assert_str_eq(verdict_of_header("{\"alg\":\"ES256\",\"kid\":\"e1\",\"typ\":\"application/at+jwt\"}"), "");
}
END_TEST

START_TEST(issuer_and_audience_must_be_ours)
{
	ck_assert_str_eq(verdict_of_claims("{\"iss\":\"https://idp.test/\"," AUD SUB EXP "}"),
		"the token's issuer is not trusted here");
	ck_assert_str_ne(verdict_of_claims("{" AUD SUB EXP "}"), "");
	ck_assert_str_eq(verdict_of_claims("{" ISS SUB EXP ",\"aud\":\"other\"}"), "the token is for another audience");
	ck_assert_str_ne(verdict_of_claims("{" ISS SUB EXP "}"), "");
	ck_assert_str_ne(verdict_of_claims("{" ISS SUB EXP ",\"aud\":[\"x\",[\"keyfob\"]]}"), "");
	ck_assert_str_eq(verdict_of_claims("{" ISS SUB EXP ",\"aud\":[\"other\",\"keyfob\"]}"), "");
}
END_TEST

START_TEST(times_count_with_thirty_seconds)
{
	ck_assert_str_eq(verdict_of_claims("{" ISS AUD SUB "\"exp\":1799999970}"), "the token has expired");
	ck_assert_str_eq(verdict_of_claims("{" ISS AUD SUB "\"exp\":1799999970.5}"), "");
	ck_assert_str_eq(verdict_of_claims("{" ISS AUD "\"sub\":\"a\"}"), "the token has no exp");
	ck_assert_str_ne(verdict_of_claims("{" ISS AUD SUB "\"exp\":\"1800000600\"}"), "");
	ck_assert_str_eq(verdict_of_claims("{" ISS AUD SUB "\"exp\":1e300}"), "");
	ck_assert_str_ne(verdict_of_claims("{" ISS AUD SUB "\"exp\":-1e300}"), "");
	ck_assert_str_eq(verdict_of_claims("{" ISS AUD SUB EXP ",\"nbf\":1800000030}"), "");
	ck_assert_str_eq(verdict_of_claims("{" ISS AUD SUB EXP ",\"nbf\":1800000031}"), "the token is not valid yet");
	ck_assert_str_ne(verdict_of_claims("{" ISS AUD SUB EXP ",\"nbf\":true}"), "");
	ck_assert_str_ne(verdict_of_claims("{" ISS AUD SUB EXP ",\"auth_time\":\"now\"}"), "");
	struct caller c = good(token_signed(ec, HEADER_ES, "{" ISS AUD SUB EXP ",\"auth_time\":1799999900}"));
	ck_assert_int_eq(c.auth_time_us, 1799999900LL * 1000000);
}
END_TEST

START_TEST(a_subject_is_required_and_fits)
{
	char claims[600], sub[400];
	ck_assert_str_eq(verdict_of_claims("{" ISS AUD EXP "}"), "the token has no sub");
	ck_assert_str_ne(verdict_of_claims("{" ISS AUD EXP ",\"sub\":\"\"}"), "");
	ck_assert_str_ne(verdict_of_claims("{" ISS AUD EXP ",\"sub\":42}"), "");
	ck_assert_str_ne(verdict_of_claims("{" ISS AUD EXP ",\"sub\":\"a\\u0000b\"}"), "");
	ck_assert_str_ne(verdict_of_claims("{" ISS AUD EXP ",\"sub\":\"a\\nb\"}"), "");
	memset(sub, 's', sizeof(sub));
	snprintf(claims, sizeof(claims), "{" ISS AUD EXP ",\"sub\":\"%.251s\"}", sub);
	ck_assert_str_eq(verdict_of_claims(claims), "");
	snprintf(claims, sizeof(claims), "{" ISS AUD EXP ",\"sub\":\"%.252s\"}", sub);
	ck_assert_str_eq(verdict_of_claims(claims), "the token's sub is too long");
}
END_TEST

/* Each issuer says who its own subjects are, and no other's, however their prefixes begin. */
START_TEST(an_issuer_speaks_of_its_own_subjects_alone)
{
	const char *others = "the token's sub is of another issuer's";
	trust_close();
	trust_open_all(
		(const struct token_issuer[]){
			{ "https://a.test", "keyfob", keys_file, NULL, "", SCOPES_ALL },
			{ "https://b.test", "keyfob", keys_file, NULL, "b:", SCOPES_ALL },
			{ "https://c.test", "keyfob", keys_file, NULL, "b:c:", SCOPES_ALL },
		},
		3);
	static const struct {
		const char *issuer, *sub, *subject; /* NULL: refused */
	} cases[] = {
		{ "a", "alice", "alice" },
		{ "a", "b", "b" },
		{ "a", "b:alice", NULL },
		{ "a", "b:c:alice", NULL },
		{ "b", "alice", "b:alice" },
		{ "b", "c:alice", NULL },
		{ "b", "b:alice", "b:b:alice" },
		{ "c", "alice", "b:c:alice" },
		{ "c", "c:alice", "b:c:c:alice" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char claims[256];
		snprintf(claims, sizeof(claims), "{\"iss\":\"https://%s.test\",\"sub\":\"%s\"," AUD EXP "}",
			cases[i].issuer, cases[i].sub);
		if (cases[i].subject)
			ck_assert_str_eq(good(token_signed(ec, HEADER_ES, claims)).subject, cases[i].subject);
		else
			ck_assert_str_eq(verdict_of_claims(claims), others);
	}
}
END_TEST

/* The name that is written for who was erased is nobody's, however prefix and sub come to it. */
START_TEST(nobody_is_called_erased)
{
	static const struct {
		const char *prefix, *sub, *subject; /* NULL: refused */
	} cases[] = {
		{ "", "erased", NULL },
		{ "er", "ased", NULL },
		{ "erased", "2", "erased2" },
		{ "b:", "erased", "b:erased" },
		{ "", "Erased", "Erased" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char claims[256];
		trust_close();
		trust_open(&(struct token_issuer){
			"https://idp.test", "keyfob", keys_file, NULL, cases[i].prefix, SCOPES_ALL });
		snprintf(claims, sizeof(claims), "{" ISS AUD "\"sub\":\"%s\"," EXP "}", cases[i].sub);
		if (cases[i].subject)
			ck_assert_str_eq(good(token_signed(ec, HEADER_ES, claims)).subject, cases[i].subject);
		else
			ck_assert_str_eq(verdict_of_claims(claims), "the token's sub is nobody's name");
	}
}
END_TEST

/* RFC 7797 §6: b64 without crit is none of it; a token in a token is no claims; nor is what says a thing twice. */
START_TEST(two_readers_of_a_token_would_read_the_same)
{
	char *inner = token_signed(ec, HEADER_ES, CLAIMS);
	ck_assert_str_eq(verdict_of_claims(inner), "the token's claims are no JSON object");
	free(inner);
	ck_assert_str_eq(
		verdict_of_claims("{" ISS AUD SUB "\"sub\":\"bob\"," EXP "}"), "the token's claims are no JSON object");
	ck_assert_str_eq(verdict_of_claims("{" ISS AUD SUB EXP ",\"scope\":\"a\",\"sc\\u006fpe\":\"keyfob:admin\"}"),
		"the token's claims are no JSON object");
	ck_assert_str_ne(verdict_of_header("{\"alg\":\"ES256\",\"kid\":\"e1\",\"b64\":false,\"crit\":[\"b64\"]}"), "");
	char *begin = joined("eyJhbGciOiJFUzI1NiIsImtpZCI6ImUxIiwiYjY0IjpmYWxzZX0", CLAIMS); /* "b64": false */
	unsigned char signature[256];
	size_t len = ecdsa_flatten(signature, sign_raw(ec, false, begin, signature, sizeof(signature)));
	ck_assert_str_eq(verdict(token_end(begin, signature, len)), "the token is no compact JWS");
}
END_TEST

START_TEST(scopes_in_all_their_forms)
{
	const unsigned read = SCOPE_VEHICLES_READ, both = read | SCOPE_COMMANDS_WRITE;
	ck_assert_uint_eq(scopes_of("{" ISS AUD SUB EXP "}"), 0);
	ck_assert_uint_eq(scopes_of("{" ISS AUD SUB EXP ",\"scope\":\"  vehicles:read  \"}"), read);
	ck_assert_uint_eq(scopes_of("{" ISS AUD SUB EXP ",\"scope\":\"vehicles:readx vehicles:rea\"}"), 0);
	ck_assert_uint_eq(scopes_of("{" ISS AUD SUB EXP ",\"scp\":\"commands:write vehicles:read\"}"), both);
	ck_assert_uint_eq(scopes_of("{" ISS AUD SUB EXP ",\"scp\":[\"commands:write\",7,\"vehicles:read\"]}"), both);
	ck_assert_uint_eq(scopes_of("{" ISS AUD SUB EXP ",\"scp\":{\"vehicles:read\":1}}"), 0);
	/* This issuer may not make administrators. */
	ck_assert_uint_eq(scopes_of("{" ISS AUD SUB EXP ",\"scope\":\"keyfob:admin vehicles:read\"}"), read);
}
END_TEST

START_TEST(what_is_no_token_is_refused)
{
	static const char *const texts[] = { "", ".", "..", "a.b", "a.b.c", "a.b.c.d", "e30.e30.e30", "e30=.e30.e30",
		"\xff\xfe.a.b", "bm8.e30.e30", "W10.e30.e30" };
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		ck_assert_str_ne(verdict(strdup(texts[i])), "");
	char *token = token_signed(ec, HEADER_ES, CLAIMS);
	char *longer = joined(token, "AAAA");
	ck_assert_str_eq(verdict(longer), "the token is no compact JWS");
	struct text padded = { 0 };
	text_addf(&padded, "%s==", token);
	ck_assert_str_ne(verdict(text_take(&padded)), "");
	free(token);
}
END_TEST

/* Nested deeper than a reader can stand, and 64 KiB of it. */
START_TEST(huge_tokens_are_refused)
{
	char *huge = malloc(65537);
	memset(huge, 'A', 65536);
	huge[65536] = huge[1000] = '\0';
	huge[1000] = huge[2000] = '.';
	ck_assert_str_eq(verdict(huge), "the token is larger than 8 KiB");
	char nested[4096];
	memset(nested, '[', sizeof(nested) - 1);
	nested[sizeof(nested) - 1] = '\0';
	ck_assert_str_ne(verdict_of_claims(nested), "");
}
END_TEST

START_TEST(a_token_seen_before_costs_little_and_still_expires)
{
	char *token = token_signed(rsa, HEADER_RS, CLAIMS);
	size_t len = strlen(token);
	struct caller c;
	struct timespec begin, end;
	ck_assert_str_eq(verdict_at(token, NOW_US, &c), "");
	const int rounds = 20000;
	char why[64];
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
	for (int i = 0; i < rounds; i++)
		token_verify(verifier, token, len, NOW_US, &c, why, sizeof(why));
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
	double us = ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) / 1e3 / rounds;
	printf("a token of %zu bytes seen before: %.2f us\n", len, us);
	ck_assert_str_eq(c.subject, "idp:alice");
	/* A verification takes some 30 µs and more; the bound leaves room for the sanitizers. */
	ck_assert_double_lt(us, 20);
	ck_assert_str_eq(verdict_at(token, NOW_US + 629LL * 1000000, &c), "");
	ck_assert_str_eq(verdict_at(token, NOW_US + 630LL * 1000000, &c), "the token has expired");
	free(token);
}
END_TEST

START_TEST(more_tokens_than_the_cache_holds)
{
	char *tokens[64];
	struct caller c;
	for (size_t i = 0; i < 64; i++) {
		char claims[256];
		snprintf(claims, sizeof(claims), "{" ISS AUD EXP ",\"sub\":\"s%zu\"}", i);
		tokens[i] = token_signed(ec, HEADER_ES, claims);
	}
	for (size_t i = 0; i < 64 * 3; i++) {
		char subject[32];
		snprintf(subject, sizeof(subject), "idp:s%zu", i % 64);
		ck_assert_str_eq(verdict_at(tokens[i % 64], NOW_US, &c), "");
		ck_assert_str_eq(c.subject, subject);
	}
	for (size_t i = 0; i < 64; i++)
		free(tokens[i]);
}
END_TEST

START_TEST(a_reload_forgets_tokens_of_keys_that_are_gone)
{
	char *token = token_signed(ec, HEADER_ES, CLAIMS);
	struct caller c;
	ck_assert_str_eq(verdict_at(token, NOW_US, &c), "");
	keys_write(jwk_of(rsa, "r1"), NULL);
	ck_assert_str_eq(verdict_at(token, NOW_US, &c), "");
	ck_assert(token_trust_reload(trust));
	ck_assert_str_eq(verdict_at(token, NOW_US, &c), "the token's issuer has no such key for this alg");
	free(token);
}
END_TEST

START_TEST(a_bad_file_is_refused_and_the_old_keys_stay)
{
	static const char *const bad[] = {
		"", "{", "[]", "{\"keys\":{}}", "{\"keys\":[]}",
		"{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"},7,{\"kty\":\"RSA\"},{\"kty\":\"EC\",\"crv\":\"P-256\"}]}"
	};
	char *token = token_signed(ec, HEADER_ES, CLAIMS);
	struct caller c;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		file_write(bad[i]);
		ck_assert(!token_trust_reload(trust));
		ck_assert_str_eq(verdict_at(token, NOW_US, &c), "");
	}
	unlink(keys_file);
	ck_assert(!token_trust_reload(trust));
	ck_assert_str_eq(verdict_at(token, NOW_US, &c), "");
	free(token);
}
END_TEST

START_TEST(keys_not_meant_for_this_are_passed_over)
{
	EVP_PKEY *small = EVP_RSA_gen(1024);
	json_t *encryption = jwk_of(ec, "e1");
	json_object_set_new(encryption, "use", json_string("enc"));
	json_t *other = jwk_of(ec, "e2");
	json_object_set_new(other, "key_ops", json_pack("[s]", "sign"));
	keys_write(encryption, other);
	ck_assert(!token_trust_reload(trust));
	keys_write(jwk_of(small, "r0"), NULL);
	ck_assert(!token_trust_reload(trust));
	other = jwk_of(ec, "e3");
	json_object_set_new(other, "alg", json_string("ES384"));
	keys_write(other, NULL);
	ck_assert(!token_trust_reload(trust));
	EVP_PKEY_free(small);
}
END_TEST

/* The issuer rotates its key: the new one is found without a signal, but the file is read once in 10 s. */
START_TEST(an_unknown_kid_makes_us_look_once_in_ten_seconds)
{
	char *rotated = token_signed(stranger, "{\"alg\":\"ES256\",\"kid\":\"e2\"}", CLAIMS);
	const char *unknown = "the token's issuer has no such key for this alg";
	struct caller c;
	ck_assert_str_eq(verdict_at(rotated, NOW_US, &c), unknown);
	keys_write(jwk_of(ec, "e1"), jwk_of(stranger, "e2"));
	ck_assert_str_eq(verdict_at(rotated, NOW_US + 9999999, &c), unknown);
	ck_assert_str_eq(verdict_at(rotated, NOW_US + 10000000, &c), "");
	free(rotated);
}
END_TEST

START_TEST(a_trust_without_keys_says_which_file)
{
	char why[256];
	const struct token_issuer missing = { .issuer = "https://a", .audience = "k", .jwks_file = "/nonexistent" };
	ck_assert_ptr_null(token_trust_new(&missing, 1, why, sizeof(why)));
	ck_assert_str_eq(why, "issuer https://a: /nonexistent: it cannot be opened: No such file or directory");
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		good_tokens_of_each_algorithm,
		a_token_without_signature_is_refused,
		an_hmac_with_the_public_key_is_refused,
		the_algorithm_is_pinned_to_the_key,
		foreign_and_broken_signatures_are_refused,
		the_header_cannot_bring_its_own_key,
		extensions_and_other_types_are_refused,
		issuer_and_audience_must_be_ours,
		times_count_with_thirty_seconds,
		a_subject_is_required_and_fits,
		an_issuer_speaks_of_its_own_subjects_alone,
		nobody_is_called_erased,
		two_readers_of_a_token_would_read_the_same,
		scopes_in_all_their_forms,
		what_is_no_token_is_refused,
		huge_tokens_are_refused,
		a_token_seen_before_costs_little_and_still_expires,
		more_tokens_than_the_cache_holds,
		a_reload_forgets_tokens_of_keys_that_are_gone,
		a_bad_file_is_refused_and_the_old_keys_stay,
		keys_not_meant_for_this_are_passed_over,
		an_unknown_kid_makes_us_look_once_in_ten_seconds,
		a_trust_without_keys_says_which_file,
	};
	Suite *suite = suite_create("gateway/access/token");
	TCase *cases = tcase_create("token");
	tcase_add_unchecked_fixture(cases, make_keys, drop_keys);
	tcase_add_checked_fixture(cases, setup, trust_close);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(cases, tests[i]);
	suite_add_tcase(suite, cases);
	return suite_run(suite);
}
