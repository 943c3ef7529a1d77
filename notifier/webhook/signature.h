/* signature.h - how a delivery is signed: Standard Webhooks (github.com/standard-webhooks/standard-webhooks), symmetric, "v1". */
#ifndef KEYFOB_NOTIFIER_WEBHOOK_SIGNATURE_H
#define KEYFOB_NOTIFIER_WEBHOOK_SIGNATURE_H

#include <stdbool.h>
#include <stdint.h>

struct text;

#define WEBHOOK_SECRET_SIZE 64

/* "whsec_" and 32 random bytes in base64. */
void webhook_secret_make(char out[WEBHOOK_SECRET_SIZE]);
/* Adds "v1," and the HMAC-SHA-256 of "id.time.body" in base64. False, and nothing is added: the secret is none. */
bool webhook_sign(struct text *, const char *secret, const char *id, int64_t unix_s, const char *body);

#endif
