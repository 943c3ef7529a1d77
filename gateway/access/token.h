/* token.h - who calls: verifies bearer tokens (JWT, RFC 7519, as a compact JWS, RFC 7515).
 *
 * The trust (issuers and their keys) is made once and shared by all workers. Each worker has a verifier
 * of its own over it, which remembers the tokens that it found good until they expire or another key set
 * comes into force. A verifier belongs to one thread; the trust outlives its verifiers. */
#ifndef KEYFOB_GATEWAY_ACCESS_TOKEN_H
#define KEYFOB_GATEWAY_ACCESS_TOKEN_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fault;
struct token_trust;
struct verifier;

#define TOKEN_BYTES_MAX 8192
#define SUBJECT_SIZE 256
#define SUBJECT_ERASED "erased" /* what is written for who was erased (sql/migrations); nobody is called so */
#define TOKEN_LEEWAY_US (30LL * 1000 * 1000) /* two clocks may differ by so much: a token is good until then */

enum token_scope {
	SCOPE_VEHICLES_READ = 1 << 0,
	SCOPE_COMMANDS_WRITE = 1 << 1,
	SCOPE_ADMIN = 1 << 2,
};
#define SCOPES_ALL (SCOPE_VEHICLES_READ | SCOPE_COMMANDS_WRITE | SCOPE_ADMIN)

/* One of the configured issuers. Copied by token_trust_new(). */
struct token_issuer {
	const char *issuer, *audience;	  /* must equal "iss", must be (in) "aud" */
	const char *jwks_file, *jwks_url; /* at most one; neither: its OpenID configuration says where they are */
	const char *subject_prefix;	  /* NULL: none */
	unsigned scopes;		  /* what this issuer may grant; enum token_scope */
};

struct caller {
	char subject[SUBJECT_SIZE];	/* the issuer's prefix and the token's "sub" */
	unsigned scopes;		/* enum token_scope */
	int64_t expires_at_us;		/* microseconds since 1970, without the leeway */
	int64_t auth_time_us;		/* when the person last proved who they are; 0: the token does not say */
	char address[INET6_ADDRSTRLEN]; /* where the request comes from, as the transport knows; "": nowhere */
};

/* making */

/* Reads the keys of issuers that have them in a file; NULL when one cannot be used, `ret_why` then names it and says why.
 * For those that publish them a thread begins to fetch (jwks_fetcher.h). */
struct token_trust *token_trust_new(const struct token_issuer *, size_t count, char *ret_why, size_t why_size);
void token_trust_free(struct token_trust *);
struct verifier *verifier_new(struct token_trust *);
void verifier_free(struct verifier *);

/* asking */

/* False while there is an issuer whose keys were never read: its tokens are refused until then. Any thread. */
bool token_trust_is_complete(const struct token_trust *);
/* Waits until it is complete, at most `ms` milliseconds. Not from a loop. */
bool token_trust_wait(struct token_trust *, int64_t ms);
/* Of a token whose key is not known: its issuer's keys are being fetched, and the same token may be good when verifier_fetches() has
 * risen. To whoever does not wait it is UNAUTHENTICATED. */
extern const struct fault FAULT_KEYS_AWAITED;
/* NULL and `*ret`, or FAULT_UNAUTHENTICATED (FAULT_KEYS_AWAITED) and in `ret_why` a sentence for the developer that quotes
 * nothing of the token. `now_unix_us`: wall clock, microseconds. */
const struct fault *token_verify(struct verifier *, const char *token, size_t len, int64_t now_unix_us,
	struct caller *ret, char *ret_why, size_t why_size);
/* Rises with every fetch of keys that has ended, well or badly. Cheap. */
unsigned verifier_fetches(const struct verifier *);
/* "vehicles:read" → SCOPE_VEHICLES_READ; 0 for a name that is no scope of ours. `len` bytes of `name`. */
unsigned token_scope_read(const char *name, size_t len);
/* The other way; NULL when `scope` is not exactly one. */
const char *token_scope_name(unsigned scope);

/* changing */

/* Reads every issuer's keys again; any thread. A bad file is refused with a log line, the old keys stay,
 * the others are still read. False when any was refused. What has a URL is fetched meanwhile, the same way. */
bool token_trust_reload(struct token_trust *);

#endif
