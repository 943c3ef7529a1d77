/* certificate.h - the certificate with which the node ends TLS: read, checked, and renewed while connections go on.
 *
 * One for the process; every worker starts its connections from it. A renewal changes what the next connection gets:
 * those that are open keep what they began with. TLS 1.2 and 1.3 with forward secrecy and authenticated encryption,
 * HTTP/1.1 alone in ALPN (RFC 7301). */
#ifndef KEYFOB_GATEWAY_CERTIFICATE_H
#define KEYFOB_GATEWAY_CERTIFICATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct certificate;
typedef struct ssl_st SSL;

/* making */

/* `chain` and `key` are PEM files. NULL: `ret_why` says what is wrong with them. */
struct certificate *certificate_new(const char *chain, const char *key, char *ret_why, size_t why_size);
/* After the last connection was started; those that are open live on. NULL is fine. */
void certificate_free(struct certificate *);

/* asking; any thread */

/* The server's end of a connection on `fd`, which stays the caller's; the result too. NULL: there is no memory. */
SSL *certificate_start(struct certificate *, int fd);

/* changing; any thread */

/* False: the files are refused, `ret_why` says why, and the old ones stay. */
bool certificate_renew(struct certificate *, const char *chain, const char *key, char *ret_why, size_t why_size);

/* For the configuration's check: NULL when the pair can be used, or CAs can be read from `file`; else `ret_why`. */
const char *certificate_check(const char *chain, const char *key, char *ret_why, size_t why_size);
/* How much longer a certificate is good, seconds from now; below 0: it is not any more. What cannot be read is good for ever. */
int64_t certificate_seconds_left(const char *chain);
const char *certificate_check_authorities(const char *file, char *ret_why, size_t why_size);

#endif
