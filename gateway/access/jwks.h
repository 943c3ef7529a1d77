/* jwks.h - an issuer's public keys (RFC 7517), read from a file or told by who fetches them, and shared by all workers.
 *
 * A set of keys never changes: a reload makes a new one and puts it in the old one's place. A reader
 * takes a reference and keeps using the set that it took. Every function may be called from any thread. */
#ifndef KEYFOB_GATEWAY_ACCESS_JWKS_H
#define KEYFOB_GATEWAY_ACCESS_JWKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The signatures that count (RFC 7518 §3.1). What is not here is refused wherever it stands. */
enum jws_alg { JWS_RS256, JWS_PS256, JWS_ES256, JWS_ALG_COUNT };

struct jwks;	  /* the set that is in force, and the file if it has one */
struct jwks_keys; /* one immutable set, counted references */
struct jwks_key;  /* borrowed from its set */

/* making */

/* Reads `file` at once. NULL when it cannot be used; `ret_why` then says why in one sentence. */
struct jwks *jwks_new(const char *file, char *ret_why, size_t why_size);
/* Without a file and still without keys: jwks_put() brings them. */
struct jwks *jwks_new_empty(void);
void jwks_free(struct jwks *);

/* asking */

/* Of the alphabet alone, and not empty (RFC 7515 §2: without padding). What is not is never given to libcjose. */
bool is_base64url(const char *text, size_t len);
bool jws_alg_read(const char *name, enum jws_alg *ret);
const char *jwks_file(const struct jwks *); /* NULL: it has none */
/* Rises whenever another set came into force; 0: none ever has. Cheap: a reader asks before it uses what it remembered. */
unsigned jwks_generation(const struct jwks *);
/* The set in force, NULL before the first; jwks_keys_unref() when done. */
struct jwks_keys *jwks_take(struct jwks *);
void jwks_keys_unref(struct jwks_keys *); /* NULL is fine */
/* The key that a token with this header is checked with, NULL when there is none, or no set. Without `kid` there
 * must be exactly one key for `alg`. A key is found only for an algorithm that is pinned to it: its own
 * "alg", or what its type allows. */
const struct jwks_key *jwks_find(const struct jwks_keys *, const char *kid, enum jws_alg alg);
/* A compact JWS (RFC 7515 §7.1) whose signature this key made. */
bool jwks_key_verifies(const struct jwks_key *, const char *token, size_t len);

/* changing */

#define JWKS_BYTES_MAX (1024 * 1024)

/* Puts the set that `text` says in force; an equal one changes nothing. A bad one is refused: false, `ret_why` says why,
 * and the old set stays. */
bool jwks_put(struct jwks *, const char *text, size_t len, char *ret_why, size_t why_size);
/* Reads the file again. A bad file is refused: false, `ret_why` says why, and the old set stays. */
bool jwks_reload(struct jwks *, char *ret_why, size_t why_size);
/* The same for a token whose `kid` is not in the set, at most once in 10 s; logs a bad file.
 * `now_unix_us`: wall clock, microseconds. */
void jwks_look_again(struct jwks *, int64_t now_unix_us);

#endif
