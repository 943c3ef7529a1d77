/* jwks.c - reads a JWK set, from its file if it has one, and keeps the set in force where every worker finds it. */
#include "gateway/access/jwks.h"

#include <cjose/cjose.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"

#define KEYS_MAX 64
#define RSA_BITS_MIN 2048  /* RFC 7518 §3.3 */
#define RSA_BITS_MAX 16384 /* past it OpenSSL verifies nothing (OPENSSL_RSA_MAX_MODULUS_BITS) */
#define LOOK_AGAIN_US (10 * 1000 * 1000)

struct jwks_key {
	char *kid;     /* NULL: the set gives none */
	unsigned algs; /* bits 1 << enum jws_alg: what this key may have signed */
	size_t signature_bytes;
	cjose_jwk_t *jwk;
};

struct jwks_keys {
	atomic_int refs;
	char *text; /* as it was read: an equal one changes nothing */
	size_t count;
	struct jwks_key keys[KEYS_MAX];
};

struct jwks {
	char *file;	      /* NULL: others bring the set */
	pthread_mutex_t lock; /* guards `current`; held to copy or swap a pointer, never while reading */
	struct jwks_keys *current;
	pthread_mutex_t reading; /* one reader at a time, or an old file could replace a newer one */
	atomic_uint generation;
	_Atomic int64_t looked_us; /* when an unknown kid last made us read */
};

static const char *const alg_names[JWS_ALG_COUNT] = {
	[JWS_RS256] = "RS256",
	[JWS_PS256] = "PS256",
	[JWS_ES256] = "ES256",
};

#define ALG_BIT(alg) (1u << (alg))

/* What of a JWK is read, by type. All else, private parts above all, is left in the file. */
static const struct key_type {
	const char *kty, *crv;
	const char *members[5];
	unsigned algs;
} key_types[] = {
	{ "RSA", NULL, { "kty", "n", "e" }, ALG_BIT(JWS_RS256) | ALG_BIT(JWS_PS256) },
	{ "EC", "P-256", { "kty", "crv", "x", "y" }, ALG_BIT(JWS_ES256) },
};

static char *file_read(const char *file, char *ret_why, size_t why_size);
static struct jwks_keys *keys_read(char **text, bool published, char *ret_why, size_t why_size);
static void keys_add(struct jwks_keys *, const json_t *jwk, bool published);
static bool key_read(const json_t *jwk, struct jwks_key *ret);

struct jwks *jwks_new_empty(void)
{
	struct jwks *j = memory_new(sizeof(*j));
	atomic_init(&j->looked_us, INT64_MIN);
	pthread_mutex_init(&j->lock, NULL);
	pthread_mutex_init(&j->reading, NULL);
	return j;
}

struct jwks *jwks_new(const char *file, char *ret_why, size_t why_size)
{
	struct jwks *j = jwks_new_empty();
	j->file = memory_need(strdup(file));
	if (!jwks_reload(j, ret_why, why_size)) {
		jwks_free(j);
		return NULL;
	}
	return j;
}

void jwks_free(struct jwks *j)
{
	if (!j)
		return;
	jwks_keys_unref(j->current);
	pthread_mutex_destroy(&j->lock);
	pthread_mutex_destroy(&j->reading);
	free(j->file);
	free(j);
}

void jwks_look_again(struct jwks *j, int64_t now_unix_us)
{
	int64_t looked = atomic_load(&j->looked_us);
	bool recently = looked != INT64_MIN && now_unix_us >= looked && now_unix_us - looked < LOOK_AGAIN_US;
	if (recently || !atomic_compare_exchange_strong(&j->looked_us, &looked, now_unix_us))
		return;
	char why[256];
	if (!jwks_reload(j, why, sizeof(why)))
		log_warn("access", "keys not read again", LOG_TEXT("file", j->file), LOG_TEXT("reason", why));
}

static struct jwks_keys *swap(struct jwks *j, struct jwks_keys *keys)
{
	pthread_mutex_lock(&j->lock);
	struct jwks_keys *old = j->current;
	j->current = keys;
	pthread_mutex_unlock(&j->lock);
	atomic_fetch_add(&j->generation, 1);
	return old;
}

/* Eats `text`. An equal one is not taken: what the workers remember of verified tokens stays good. */
static bool take(struct jwks *j, char *text, char *ret_why, size_t why_size)
{
	if (j->current && strcmp(j->current->text, text) == 0) {
		free(text);
		return true;
	}
	struct jwks_keys *keys = keys_read(&text, !j->file, ret_why, why_size);
	if (!keys)
		return false;
	jwks_keys_unref(swap(j, keys));
	return true;
}

bool jwks_reload(struct jwks *j, char *ret_why, size_t why_size)
{
	pthread_mutex_lock(&j->reading);
	char *text = file_read(j->file, ret_why, why_size);
	bool fine = text && take(j, text, ret_why, why_size);
	pthread_mutex_unlock(&j->reading);
	return fine;
}

bool jwks_put(struct jwks *j, const char *text, size_t len, char *ret_why, size_t why_size)
{
	if (len > JWKS_BYTES_MAX || memchr(text, '\0', len)) {
		snprintf(ret_why, why_size, "it is no JSON of at most 1 MiB");
		return false;
	}
	pthread_mutex_lock(&j->reading);
	bool fine = take(j, memory_need(strndup(text, len)), ret_why, why_size);
	pthread_mutex_unlock(&j->reading);
	return fine;
}

static char *refused(char *ret_why, size_t why_size, const char *format, ...) __attribute__((format(printf, 3, 4)));

static char *refused(char *ret_why, size_t why_size, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(ret_why, why_size, format, args);
	va_end(args);
	return NULL;
}

static char *stream_read(FILE *stream, char *ret_why, size_t why_size)
{
	char *text = memory_new(JWKS_BYTES_MAX + 1);
	size_t len = fread(text, 1, JWKS_BYTES_MAX + 1, stream);
	bool failed = ferror(stream);
	if (failed || len > JWKS_BYTES_MAX || memchr(text, '\0', len)) {
		free(text);
		return refused(
			ret_why, why_size, "%s", failed ? "it cannot be read" : "it is no JSON of at most 1 MiB");
	}
	text[len] = '\0';
	return text;
}

static char *file_read(const char *file, char *ret_why, size_t why_size)
{
	struct stat st;
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return refused(ret_why, why_size, "it cannot be opened: %s", strerror(errno));
	/* A pipe or a device would stop a worker for as long as nobody writes to it. */
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return refused(ret_why, why_size, "it is no ordinary file");
	}
	FILE *stream = memory_need(fdopen(fd, "r"));
	char *text = stream_read(stream, ret_why, why_size);
	fclose(stream);
	return text;
}

/* Takes `*text`, also when it fails. */
static struct jwks_keys *keys_read(char **text, bool published, char *ret_why, size_t why_size)
{
	struct jwks_keys *keys = memory_new(sizeof(*keys));
	atomic_init(&keys->refs, 1);
	keys->text = *text;
	*text = NULL;
	json_auto_t *set = json_read(keys->text, strlen(keys->text));
	const json_t *list = json_object_get(set, "keys");
	size_t i;
	const json_t *jwk;
	json_array_foreach (list, i, jwk)
		keys_add(keys, jwk, published);
	if (keys->count > 0)
		return keys;
	jwks_keys_unref(keys);
	refused(ret_why, why_size, "%s",
		json_is_array(list) ? "it has no key for RS256, PS256 or ES256" : "it is no JWK set: {\"keys\":[…]}");
	return NULL;
}

/* RFC 7518 §6.2.2, §6.3.2. Where everybody can read it, everybody signs by it. */
static bool has_private_part(const json_t *jwk)
{
	static const char *const members[] = { "d", "p", "q", "dp", "dq", "qi" };
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		if (json_object_get(jwk, members[i]))
			return true;
	return false;
}

/* A key that cannot be used is passed over (RFC 7517 §5): sets hold encryption keys and new curves, too. */
static void keys_add(struct jwks_keys *keys, const json_t *jwk, bool published)
{
	if (keys->count == KEYS_MAX || (published && has_private_part(jwk)))
		return;
	if (key_read(jwk, &keys->keys[keys->count]))
		keys->count++;
}

static bool is_for_signatures(const json_t *jwk)
{
	const json_t *use = json_object_get(jwk, "use"), *ops = json_object_get(jwk, "key_ops"), *op;
	size_t i;
	if (use && (!json_is_string(use) || strcmp(json_string_value(use), "sig") != 0))
		return false;
	json_array_foreach (ops, i, op)
		if (json_is_string(op) && strcmp(json_string_value(op), "verify") == 0)
			return true;
	return ops == NULL;
}

static const struct key_type *key_type_of(const json_t *jwk)
{
	const char *kty = json_text_at(jwk, "kty"), *crv = json_text_at(jwk, "crv");
	for (size_t i = 0; kty && i < sizeof(key_types) / sizeof(key_types[0]); i++) {
		const struct key_type *t = &key_types[i];
		if (strcmp(t->kty, kty) == 0 && (!t->crv || (crv && strcmp(t->crv, crv) == 0)))
			return t;
	}
	return NULL;
}

/* "alg" narrows what the type allows; an "alg" that we do not take leaves nothing. */
static unsigned key_algs(const json_t *jwk, const struct key_type *type)
{
	const json_t *named = json_object_get(jwk, "alg");
	enum jws_alg alg;
	if (!named)
		return type->algs;
	return json_is_string(named) && jws_alg_read(json_string_value(named), &alg) ? type->algs & ALG_BIT(alg) : 0;
}

/* What stands in a member as a number has to be base64url: libcjose ends the process over padding in the wrong place. */
static bool is_good_member(const char *name, const json_t *value)
{
	bool is_name = strcmp(name, "kty") == 0 || strcmp(name, "crv") == 0;

	return is_name || is_base64url(json_string_value(value), json_string_length(value));
}

/* NULL: there is none that can be used. */
static cjose_jwk_t *public_part(const json_t *jwk, const struct key_type *type)
{
	json_auto_t *part = json_object();
	for (const char *const *m = type->members; *m; m++) {
		json_t *value = json_object_get(jwk, *m);
		if (!is_good_member(*m, value))
			return NULL;
		json_object_set(part, *m, value);
	}
	cjose_err err;
	cjose_jwk_t *key = cjose_jwk_import_json((cjose_header_t *)part, &err);
	ERR_clear_error();
	return key;
}

static bool key_read(const json_t *jwk, struct jwks_key *ret)
{
	const struct key_type *type = key_type_of(jwk);
	unsigned algs = type && is_for_signatures(jwk) ? key_algs(jwk, type) : 0;
	cjose_jwk_t *key = algs ? public_part(jwk, type) : NULL;
	if (!key)
		return false;
	cjose_err err;
	size_t bits = cjose_jwk_get_keysize(key, &err);
	bool is_rsa = cjose_jwk_get_kty(key, &err) == CJOSE_JWK_KTY_RSA;
	if (is_rsa && (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)) {
		cjose_jwk_release(key);
		return false;
	}
	const char *kid = json_text_at(jwk, "kid");
	*ret = (struct jwks_key){
		.kid = kid ? memory_need(strdup(kid)) : NULL,
		.algs = algs,
		.signature_bytes = is_rsa ? (bits + 7) / 8 : 64,
		.jwk = key,
	};
	return true;
}

void jwks_keys_unref(struct jwks_keys *keys)
{
	if (!keys || atomic_fetch_sub(&keys->refs, 1) > 1)
		return;
	for (size_t i = 0; i < keys->count; i++) {
		free(keys->keys[i].kid);
		cjose_jwk_release(keys->keys[i].jwk);
	}
	free(keys->text);
	free(keys);
}

struct jwks_keys *jwks_take(struct jwks *j)
{
	pthread_mutex_lock(&j->lock);
	struct jwks_keys *keys = j->current;
	if (keys)
		atomic_fetch_add(&keys->refs, 1);
	pthread_mutex_unlock(&j->lock);
	return keys;
}

unsigned jwks_generation(const struct jwks *j)
{
	return atomic_load(&j->generation);
}

const char *jwks_file(const struct jwks *j)
{
	return j->file;
}

bool is_base64url(const char *text, size_t len)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	for (size_t i = 0; i < len; i++)
		if (!memchr(alphabet, text[i], sizeof(alphabet) - 1))
			return false;
	return len > 0;
}

bool jws_alg_read(const char *name, enum jws_alg *ret)
{
	for (enum jws_alg alg = 0; alg < JWS_ALG_COUNT; alg++) {
		if (strcmp(alg_names[alg], name) != 0)
			continue;
		*ret = alg;
		return true;
	}
	return false;
}

const struct jwks_key *jwks_find(const struct jwks_keys *keys, const char *kid, enum jws_alg alg)
{
	const struct jwks_key *found = NULL;
	for (size_t i = 0; keys && i < keys->count; i++) {
		const struct jwks_key *k = &keys->keys[i];
		if (!(k->algs & ALG_BIT(alg)) || (kid && (!k->kid || strcmp(k->kid, kid) != 0)))
			continue;
		if (kid)
			return k;
		if (found)
			return NULL;
		found = k;
	}
	return found;
}

/* base64url without padding: 4 characters for 3 bytes, and 2 or 3 for the rest. */
static size_t base64url_chars(size_t bytes)
{
	return (bytes * 4 + 2) / 3;
}

/* The signature's length is checked here: libcjose takes an ECDSA signature of any length apart in the middle. */
bool jwks_key_verifies(const struct jwks_key *key, const char *token, size_t len)
{
	const char *dot = memrchr(token, '.', len);
	if (!dot || (size_t)(token + len - dot - 1) != base64url_chars(key->signature_bytes))
		return false;
	cjose_err err;
	cjose_jws_t *jws = cjose_jws_import(token, len, &err);
	bool verifies = jws && cjose_jws_verify(jws, key->jwk, &err);
	if (jws)
		cjose_jws_release(jws);
	/* What a refused signature leaves in this thread's queue would be read as a TLS connection's error. */
	ERR_clear_error();
	return verifies;
}
