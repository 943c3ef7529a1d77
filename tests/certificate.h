/* certificate.h - a self-signed certificate for a test's TLS listener. */
#ifndef KEYFOB_TESTS_CERTIFICATE_H
#define KEYFOB_TESTS_CERTIFICATE_H

/* Writes PEM files; `name` is its subjectAltName, "IP:127.0.0.1" or "DNS:broker.example". */
void certificate_write(const char *name, const char *certificate_path, const char *key_path);

#endif
