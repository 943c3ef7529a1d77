/* token.c - verifies one token, step by step; the first step that objects says why.
 *
 *   size ─ seen before ─┬─ the caller, as it was
 *                       └─ parts ─ header ─ claims ─ issuer ─ times ─ subject ─ signature ─ remembered
 *
 * The signature comes last because it costs a hundred times what the rest does. Until then nothing that
 * the token says is used for more than to refuse it, or to choose whose keys it is checked with. */
#include "gateway/access/token.h"

#include <assert.h>
#include <cjose/cjose.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/fault.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "gateway/access/jwks.h"
#include "gateway/access/jwks_fetcher.h"
#include "gateway/access/token_cache.h"

#define LEEWAY_US TOKEN_LEEWAY_US
#define TIME_MAX_S 253402300799.0 /* the last second of the year 9999: RFC 3339 ends there */

/* Without memory these libraries would call a signature wrong, and whoever came with it a stranger. */

static void *take_at(size_t size, const char *file, int line)
{
	(void)file, (void)line;
	return memory_raw(size);
}

static void *resize_at(void *old, size_t size, const char *file, int line)
{
	(void)file, (void)line;
	if (size)
		return memory_resize(old, size, 1);
	free(old);
	return NULL;
}

static void release_at(void *old, const char *file, int line)
{
	(void)file, (void)line;
	free(old);
}

static void *resize(void *old, size_t size)
{
	return memory_resize(old, size, 1);
}

/* Before main(), since OpenSSL takes it only as long as it has not allocated anything. */
__attribute__((constructor)) static void give_memory(void)
{
	CRYPTO_set_mem_functions(take_at, resize_at, release_at);
	cjose_set_alloc_funcs(memory_raw, resize, free);
}

struct issuer {
	char *name, *audience, *subject_prefix;
	unsigned scopes;
	struct jwks *jwks;
	struct jwks_source *source; /* NULL: they are in a file */
};

struct token_trust {
	struct jwks_fetcher *fetcher; /* NULL: no issuer has a URL */
	size_t count;
	struct issuer issuers[];
};

/* The keys of one issuer, as this worker last took them. */
struct key_ring {
	struct jwks_keys *keys;
	unsigned generation;
};

struct verifier {
	struct token_trust *trust;
	struct token_cache *cache;
	struct key_ring rings[]; /* one for each issuer */
};

struct part {
	const char *text;
	size_t len;
};

/* One token on its way through the steps. */
struct reading {
	struct verifier *verifier;
	const char *token;
	size_t len;
	int64_t now_us;
	struct part parts[3]; /* header, claims, signature; still base64url */
	json_t *header, *claims;
	enum jws_alg alg;
	size_t issuer; /* index */
	bool awaits;   /* its key is not known, and keys are being fetched */
	struct caller caller;
};

/* No row of fault.tbl.h, since nobody hears of it. */
const struct fault FAULT_KEYS_AWAITED = { .name = "unauthenticated",
	.http = 401,
	.executed = EXECUTED_NO,
	.retry = RETRY_NEVER,
	.title = "the keys that the token may be signed with are being fetched" };

/* NULL, or what is wrong with the token. */
typedef const char *step(struct reading *);
static step split_parts, read_header, check_type, check_algorithm, check_critical, read_claims, find_issuer, read_times,
	read_subject, read_scopes, check_signature;

static step *const steps[] = {
	split_parts,
	read_header,
	check_type,
	check_algorithm,
	check_critical,
	read_claims,
	find_issuer,
	read_times,
	read_subject,
	read_scopes,
	check_signature,
};

static const struct {
	const char *name;
	unsigned scope;
} scope_names[] = {
	{ "vehicles:read", SCOPE_VEHICLES_READ },
	{ "commands:write", SCOPE_COMMANDS_WRITE },
	{ "keyfob:admin", SCOPE_ADMIN },
};
#define SCOPE_NAMES (sizeof(scope_names) / sizeof(scope_names[0]))

/* ---- the trust and its verifiers ---- */

static bool issuer_init(struct issuer *i, const struct token_issuer *from, char *ret_why, size_t why_size)
{
	char why[256];
	assert(!from->jwks_file || !from->jwks_url);
	i->jwks = from->jwks_file ? jwks_new(from->jwks_file, why, sizeof(why)) : jwks_new_empty();
	if (!i->jwks) {
		snprintf(ret_why, why_size, "issuer %s: %s: %s", from->issuer, from->jwks_file, why);
		return false;
	}
	i->name = memory_need(strdup(from->issuer));
	i->audience = memory_need(strdup(from->audience));
	i->subject_prefix = memory_need(strdup(from->subject_prefix ? from->subject_prefix : ""));
	i->scopes = from->scopes & SCOPES_ALL;
	return true;
}

/* After all files were read: a trust that cannot be used asks nobody. */
static void fetch_others(struct token_trust *t, const struct token_issuer *issuers)
{
	for (size_t i = 0; i < t->count; i++) {
		if (issuers[i].jwks_file)
			continue;
		if (!t->fetcher)
			t->fetcher = jwks_fetcher_new();
		t->issuers[i].source =
			jwks_fetcher_add(t->fetcher, t->issuers[i].name, issuers[i].jwks_url, t->issuers[i].jwks);
	}
	if (t->fetcher)
		jwks_fetcher_start(t->fetcher);
}

struct token_trust *token_trust_new(const struct token_issuer *issuers, size_t count, char *ret_why, size_t why_size)
{
	struct token_trust *t = memory_new(sizeof(*t) + count * sizeof(t->issuers[0]));
	t->count = count;
	for (size_t i = 0; i < count; i++) {
		if (issuer_init(&t->issuers[i], &issuers[i], ret_why, why_size))
			continue;
		token_trust_free(t);
		return NULL;
	}
	fetch_others(t, issuers);
	return t;
}

void token_trust_free(struct token_trust *t)
{
	if (t && t->fetcher)
		jwks_fetcher_free(t->fetcher);
	for (size_t i = 0; t && i < t->count; i++) {
		jwks_free(t->issuers[i].jwks);
		free(t->issuers[i].name);
		free(t->issuers[i].audience);
		free(t->issuers[i].subject_prefix);
	}
	free(t);
}

bool token_trust_reload(struct token_trust *t)
{
	bool fine = true;
	if (t->fetcher)
		jwks_fetcher_refresh(t->fetcher);
	for (size_t i = 0; i < t->count; i++) {
		char why[256];
		if (t->issuers[i].source || jwks_reload(t->issuers[i].jwks, why, sizeof(why)))
			continue;
		log_error("access", "keys refused, the old ones stay", LOG_TEXT("issuer", t->issuers[i].name),
			LOG_TEXT("file", jwks_file(t->issuers[i].jwks)), LOG_TEXT("reason", why));
		fine = false;
	}
	return fine;
}

bool token_trust_is_complete(const struct token_trust *t)
{
	for (size_t i = 0; i < t->count; i++)
		if (jwks_generation(t->issuers[i].jwks) == 0)
			return false;
	return true;
}

bool token_trust_wait(struct token_trust *t, int64_t ms)
{
	return !t->fetcher || jwks_fetcher_wait(t->fetcher, ms);
}

/* The generation is read before the keys: what changes in between is then noticed the next time. */
static bool ring_renew(struct verifier *v, size_t issuer)
{
	struct key_ring *ring = &v->rings[issuer];
	struct jwks *jwks = v->trust->issuers[issuer].jwks;
	unsigned generation = jwks_generation(jwks);
	if (ring->generation == generation)
		return false;
	jwks_keys_unref(ring->keys);
	ring->keys = jwks_take(jwks);
	ring->generation = generation;
	return true;
}

struct verifier *verifier_new(struct token_trust *trust)
{
	struct verifier *v = memory_new(sizeof(*v) + trust->count * sizeof(v->rings[0]));
	v->trust = trust;
	v->cache = token_cache_new();
	for (size_t i = 0; i < trust->count; i++)
		ring_renew(v, i);
	return v;
}

void verifier_free(struct verifier *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < v->trust->count; i++)
		jwks_keys_unref(v->rings[i].keys);
	token_cache_free(v->cache);
	free(v);
}

/* A token that was good may have been signed with a key that is gone. */
static void rings_renew(struct verifier *v)
{
	bool renewed = false;
	for (size_t i = 0; i < v->trust->count; i++)
		renewed |= ring_renew(v, i);
	if (renewed)
		token_cache_clear(v->cache);
}

/* ---- one token ---- */

static const char *take_steps(struct reading *r)
{
	const char *why = NULL;
	for (size_t i = 0; !why && i < sizeof(steps) / sizeof(steps[0]); i++)
		why = steps[i](r);
	json_decref(r->header);
	json_decref(r->claims);
	return why;
}

static const struct fault *refuse(const char *why, char *ret_why, size_t why_size)
{
	metric_add(METRIC_TOKENS_REFUSED, 1);
	snprintf(ret_why, why_size, "%s", why);
	return &FAULT_UNAUTHENTICATED;
}

const struct fault *token_verify(struct verifier *v, const char *token, size_t len, int64_t now_unix_us,
	struct caller *ret, char *ret_why, size_t why_size)
{
	if (len > TOKEN_BYTES_MAX)
		return refuse("the token is larger than 8 KiB", ret_why, why_size);
	rings_renew(v);
	struct token_digest digest = token_cache_digest(v->cache, token, len);
	const struct caller *seen = token_cache_find(v->cache, &digest, now_unix_us);
	if (seen) {
		*ret = *seen;
		return NULL;
	}
	struct reading r = { .verifier = v, .token = token, .len = len, .now_us = now_unix_us };
	const char *why = take_steps(&r);
	if (r.awaits) {
		snprintf(ret_why, why_size, "%s", why);
		return &FAULT_KEYS_AWAITED;
	}
	if (why)
		return refuse(why, ret_why, why_size);
	token_cache_keep(v->cache, &digest, &r.caller, r.caller.expires_at_us + LEEWAY_US);
	*ret = r.caller;
	return NULL;
}

/* Exactly three parts, each of the alphabet alone (RFC 7515 §7.1): libcjose would stop at the first "=". */
static const char *split_parts(struct reading *r)
{
	const char *at = r->token, *end = r->token + r->len;
	for (size_t i = 0; i < 3; i++) {
		const char *dot = i < 2 ? memchr(at, '.', (size_t)(end - at)) : end;
		if (!dot || !is_base64url(at, (size_t)(dot - at)))
			return "the token is no compact JWS";
		r->parts[i] = (struct part){ at, (size_t)(dot - at) };
		at = dot + 1;
	}
	return NULL;
}

static json_t *part_read(const struct part *p)
{
	uint8_t *bytes = NULL;
	size_t len = 0;
	cjose_err err;
	if (!cjose_base64url_decode(p->text, p->len, &bytes, &len, &err))
		return NULL;
	json_t *object = json_read((const char *)bytes, len);
	cjose_get_dealloc()(bytes);
	if (json_is_object(object))
		return object;
	json_decref(object);
	return NULL;
}

static const char *read_header(struct reading *r)
{
	r->header = part_read(&r->parts[0]);
	return r->header ? NULL : "the token's header is no JSON object";
}

/* RFC 7515 §4.1.9: "application/" may be left out, case does not count. RFC 9068 §2.1: at+jwt. */
static const char *check_type(struct reading *r)
{
	const json_t *member = json_object_get(r->header, "typ");
	const char *typ = member ? json_string_value(member) : "JWT";
	if (typ && strncasecmp(typ, "application/", 12) == 0)
		typ += 12;
	bool fits = typ && (strcasecmp(typ, "JWT") == 0 || strcasecmp(typ, "at+jwt") == 0);
	return fits ? NULL : "the token's typ is neither JWT nor at+jwt";
}

static const char *check_algorithm(struct reading *r)
{
	const char *alg = json_text_at(r->header, "alg");
	return alg && jws_alg_read(alg, &r->alg) ? NULL : "the token's alg is none of RS256, PS256, ES256";
}

/* We understand no extension, so each that must be understood refuses the token (RFC 7515 §4.1.11). */
static const char *check_critical(struct reading *r)
{
	return json_object_get(r->header, "crit") ? "the token's header demands an extension (crit)" : NULL;
}

static const char *read_claims(struct reading *r)
{
	r->claims = part_read(&r->parts[1]);
	return r->claims ? NULL : "the token's claims are no JSON object";
}

static bool is_text(const json_t *value, const char *text)
{
	return json_is_string(value) && strcmp(json_string_value(value), text) == 0;
}

/* RFC 7519 §4.1.3: a string, or an array of them. */
static bool is_audience(const json_t *aud, const char *audience)
{
	size_t i;
	const json_t *one;
	json_array_foreach (aud, i, one)
		if (is_text(one, audience))
			return true;
	return is_text(aud, audience);
}

static const char *find_issuer(struct reading *r)
{
	const struct token_trust *t = r->verifier->trust;
	const json_t *iss = json_object_get(r->claims, "iss"), *aud = json_object_get(r->claims, "aud");
	bool known = false;
	for (size_t i = 0; i < t->count; i++) {
		if (!is_text(iss, t->issuers[i].name))
			continue;
		known = true;
		if (!is_audience(aud, t->issuers[i].audience))
			continue;
		r->issuer = i;
		return NULL;
	}
	return known ? "the token is for another audience" : "the token's issuer is not trusted here";
}

/* A NumericDate (RFC 7519 §2): seconds since 1970, a fraction allowed. */
static bool time_read(const json_t *value, int64_t *ret_us)
{
	double seconds = json_number_value(value);
	if (!json_is_number(value) || !(seconds >= 0))
		return false;
	*ret_us = (int64_t)((seconds < TIME_MAX_S ? seconds : TIME_MAX_S) * 1e6);
	return true;
}

static const char *read_times(struct reading *r)
{
	const json_t *nbf = json_object_get(r->claims, "nbf"), *auth_time = json_object_get(r->claims, "auth_time");
	int64_t not_before_us = 0;
	if (!time_read(json_object_get(r->claims, "exp"), &r->caller.expires_at_us))
		return "the token has no exp";
	if (r->now_us >= r->caller.expires_at_us + LEEWAY_US)
		return "the token has expired";
	if (nbf && !time_read(nbf, &not_before_us))
		return "the token's nbf is no time";
	if (r->now_us + LEEWAY_US < not_before_us)
		return "the token is not valid yet";
	if (auth_time && !time_read(auth_time, &r->caller.auth_time_us))
		return "the token's auth_time is no time";
	return NULL;
}

static bool has_control_character(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return true;
	return false;
}

static bool begins_with(const char *text, const char *beginning)
{
	return strncmp(text, beginning, strlen(beginning)) == 0;
}

/* Prefixes differ, but one may begin with another, and "" is the beginning of all: under the shorter one nobody
 * is let in by a name of the longer one's. */
static bool is_of_another_issuer(const struct token_trust *t, size_t issuer, const char *subject)
{
	const char *own = t->issuers[issuer].subject_prefix;
	for (size_t i = 0; i < t->count; i++) {
		const char *prefix = t->issuers[i].subject_prefix;
		if (strlen(prefix) > strlen(own) && begins_with(subject, prefix))
			return true;
	}
	return false;
}

static const char *read_subject(struct reading *r)
{
	const struct token_trust *t = r->verifier->trust;
	const char *prefix = t->issuers[r->issuer].subject_prefix;
	const char *sub = json_text_at(r->claims, "sub");
	if (!sub || !*sub)
		return "the token has no sub";
	if (has_control_character(sub))
		return "the token's sub has a control character";
	int len = snprintf(r->caller.subject, SUBJECT_SIZE, "%s%s", prefix, sub);
	if (len >= SUBJECT_SIZE)
		return "the token's sub is too long";
	if (strcmp(r->caller.subject, SUBJECT_ERASED) == 0)
		return "the token's sub is nobody's name";
	return is_of_another_issuer(t, r->issuer, r->caller.subject) ? "the token's sub is of another issuer's" : NULL;
}

/* RFC 8693 §4.2: names parted by spaces. */
static unsigned scopes_in_text(const char *text)
{
	unsigned scopes = 0;
	for (; text && *text; text += strspn(text, " ")) {
		size_t len = strcspn(text, " ");
		scopes |= token_scope_read(text, len);
		text += len;
	}
	return scopes;
}

static unsigned scopes_in(const json_t *value)
{
	unsigned scopes = scopes_in_text(json_string_value(value));
	size_t i;
	const json_t *one;
	json_array_foreach (value, i, one)
		scopes |= token_scope_read(json_string_value(one), json_string_length(one));
	return scopes;
}

static const char *read_scopes(struct reading *r)
{
	const json_t *scope = json_object_get(r->claims, "scope");
	unsigned said = scopes_in(scope ? scope : json_object_get(r->claims, "scp"));
	r->caller.scopes = said & r->verifier->trust->issuers[r->issuer].scopes;
	return NULL;
}

/* An unknown kid may be a new key of the issuer's: its file is read again, but not for every such token. Where there is a URL, that is
 * not known before it was fetched. */
static const struct jwks_key *find_key(struct reading *r, const char *kid)
{
	struct verifier *v = r->verifier;
	const struct jwks_key *key = jwks_find(v->rings[r->issuer].keys, kid, r->alg);
	if (key)
		return key;
	if (v->trust->issuers[r->issuer].source)
		r->awaits = jwks_source_look_again(v->trust->issuers[r->issuer].source);
	else
		jwks_look_again(v->trust->issuers[r->issuer].jwks, r->now_us);
	rings_renew(v);
	key = jwks_find(v->rings[r->issuer].keys, kid, r->alg);
	r->awaits = r->awaits && !key;
	return key;
}

/* Only keys of the issuer's own set count: jku, jwk, x5u and x5c are not looked at. */
static const char *check_signature(struct reading *r)
{
	const json_t *kid = json_object_get(r->header, "kid");
	if (kid && !json_is_string(kid))
		return "the token's kid is no string";
	const struct jwks_key *key = find_key(r, json_string_value(kid));
	if (!key)
		return "the token's issuer has no such key for this alg";
	return jwks_key_verifies(key, r->token, r->len) ? NULL : "the token's signature is wrong";
}

unsigned verifier_fetches(const struct verifier *v)
{
	return v->trust->fetcher ? jwks_fetcher_ended(v->trust->fetcher) : 0;
}

/* ---- scopes and their names ---- */

unsigned token_scope_read(const char *name, size_t len)
{
	for (size_t i = 0; name && i < SCOPE_NAMES; i++)
		if (strlen(scope_names[i].name) == len && memcmp(scope_names[i].name, name, len) == 0)
			return scope_names[i].scope;
	return 0;
}

const char *token_scope_name(unsigned scope)
{
	for (size_t i = 0; i < SCOPE_NAMES; i++)
		if (scope_names[i].scope == scope)
			return scope_names[i].name;
	return NULL;
}
