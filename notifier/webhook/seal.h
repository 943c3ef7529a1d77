/* seal.h - how the secrets of webhooks lie in the database: sealed with the installation's own key (webhooks.key), where it has one.
 *
 * What is stored is "sealed:", the key's name, ":" and, in base64, nonce, ciphertext and tag of AES-256-GCM (NIST SP 800-38D). The
 * webhook's id is authenticated besides, so that no secret can be put in another's place. What does not begin so is a secret in clear. */
#ifndef KEYFOB_NOTIFIER_WEBHOOK_SEAL_H
#define KEYFOB_NOTIFIER_WEBHOOK_SEAL_H

#include <stdbool.h>

#define SEAL_KEY_SIZE 32
#define SEAL_PREFIX_SIZE 24

struct seal_key {
	unsigned char bytes[SEAL_KEY_SIZE];
	char prefix[SEAL_PREFIX_SIZE]; /* of what it has sealed; "": there is no such key */
};

struct seals {
	struct seal_key now, before; /* what is new is sealed with `now` */
};

/* Keys are 32 bytes in base64, as configured; NULL: none. */
void seals_init(struct seals *, const char *key, const char *old_key);
/* As it is to be stored: with `now`, or in clear where there is none. The caller frees it. */
char *seals_close(const struct seals *, const char *webhook_id, const char *secret);
/* What was stored, in clear; NULL: neither key opens it. The caller frees it. */
char *seals_open(const struct seals *, const char *webhook_id, const char *stored);
/* How what is stored begins where it is to be stored anew: at most two texts, NULL behind the last. */
void seals_stale(const struct seals *, const char *out[3]);

/* Whether a text is such a key. */
bool seal_key_is_text(const char *text);

#endif
