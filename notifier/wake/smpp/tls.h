/* tls.h - the client's side of TLS over bytes that somebody else carries (OpenSSL on memory).
 *
 * The wire owns it: it brings what came from the peer, and takes what is to be sent. */
#ifndef KEYFOB_NOTIFIER_WAKE_SMPP_TLS_H
#define KEYFOB_NOTIFIER_WAKE_SMPP_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls;

enum tls_state { TLS_SHAKING, TLS_OPEN, TLS_BROKEN };

/* `host` is whom the certificate must name (a name or an address); `ca` a file (PEM), NULL: the system's. NULL when the
 * file cannot be used. */
struct tls *wire_tls_new(const char *host, const char *ca);
void wire_tls_free(struct tls *);

/* What came from the peer; then the handshake goes on as far as it can. */
enum tls_state wire_tls_bring(struct tls *, const uint8_t *bytes, size_t len);
/* Plain bytes for the reader; 0: none now. TLS_BROKEN is seen by wire_tls_bring(). */
size_t wire_tls_read(struct tls *, uint8_t *out, size_t size);
/* Plain bytes for the peer. false: broken. */
bool wire_tls_write(struct tls *, const uint8_t *bytes, size_t len);
/* What is to be sent as it is; 0: nothing. */
size_t wire_tls_take(struct tls *, uint8_t *out, size_t size);
/* Why it is broken: a sentence. */
const char *wire_tls_reason(const struct tls *);

#endif
