/* signing_key.h - a development key: makes it, keeps it in a file, signs with it. Nothing for production. */
#ifndef KEYFOB_GATEWAY_CLI_SIGNING_KEY_H
#define KEYFOB_GATEWAY_CLI_SIGNING_KEY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct signing_key;

/* making */

bool signing_alg_is_known(const char *alg); /* "ES256" or "RS256" */
struct signing_key *signing_key_make(const char *known_alg);
/* PKCS#8 PEM. NULL, and false below: `ret_why` is one line for the user. */
struct signing_key *signing_key_read(const char *file, char *ret_why, size_t why_size);
void signing_key_free(struct signing_key *);

/* asking */

const char *signing_key_alg(const struct signing_key *);
/* {"keys":[…]}: the public part, with alg, use and kid. The caller owns it. */
json_t *signing_key_set(const struct signing_key *);
/* A compact JWS of `claims`; the caller frees it. NULL when it cannot be made. */
char *signing_key_sign(const struct signing_key *, const json_t *claims);

/* changing */

/* PKCS#8 PEM, readable to its owner alone; an existing file is replaced. */
bool signing_key_write(const struct signing_key *, const char *file, char *ret_why, size_t why_size);

#endif
