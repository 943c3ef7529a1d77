/* tls.c - TLS 1.2 and later, with the peer's name checked. */
#include "notifier/wake/smpp/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#include "base/memory.h"

struct tls {
	SSL_CTX *context;
	SSL *ssl;
	BIO *in, *out; /* the SSL's own */
	bool is_broken;
	char reason[160];
};

static bool trust(SSL_CTX *context, const char *ca)
{
	if (ca)
		return SSL_CTX_load_verify_locations(context, ca, NULL) == 1;
	return SSL_CTX_set_default_verify_paths(context) == 1;
}

/* An address is no server name (RFC 6066 §3). */
static bool expect(SSL *ssl, const char *host)
{
	unsigned char address[sizeof(struct in6_addr)];
	if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
	return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

struct tls *wire_tls_new(const char *host, const char *ca)
{
	struct tls *t = memory_new(sizeof *t);
	t->context = memory_need(SSL_CTX_new(TLS_client_method()));
	SSL_CTX_set_min_proto_version(t->context, TLS1_2_VERSION);
	SSL_CTX_set_verify(t->context, SSL_VERIFY_PEER, NULL);
	t->ssl = memory_need(SSL_new(t->context));
	t->in = memory_need(BIO_new(BIO_s_mem()));
	t->out = memory_need(BIO_new(BIO_s_mem()));
	SSL_set_bio(t->ssl, t->in, t->out);
	SSL_set_connect_state(t->ssl);
	if (trust(t->context, ca) && expect(t->ssl, host))
		return t;
	wire_tls_free(t);
	return NULL;
}

void wire_tls_free(struct tls *t)
{
	if (!t)
		return;
	SSL_free(t->ssl);
	SSL_CTX_free(t->context);
	free(t);
}

static void break_down(struct tls *t)
{
	long verdict = SSL_get_verify_result(t->ssl);
	unsigned long error = ERR_get_error();
	const char *why =
		verdict != X509_V_OK ? X509_verify_cert_error_string(verdict) : ERR_reason_error_string(error);
	t->is_broken = true;
	snprintf(t->reason, sizeof t->reason, "TLS: %s", why ? why : "the peer ended it");
	ERR_clear_error();
}

static bool goes_on(struct tls *t, int result)
{
	int error = SSL_get_error(t->ssl, result);
	return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

enum tls_state wire_tls_bring(struct tls *t, const uint8_t *bytes, size_t len)
{
	ERR_clear_error();
	if (!t->is_broken && len > 0 && BIO_write(t->in, bytes, (int)len) != (int)len)
		break_down(t);
	if (!t->is_broken && !SSL_is_init_finished(t->ssl)) {
		int result = SSL_do_handshake(t->ssl);
		if (result != 1 && !goes_on(t, result))
			break_down(t);
	}
	if (t->is_broken)
		return TLS_BROKEN;
	return SSL_is_init_finished(t->ssl) ? TLS_OPEN : TLS_SHAKING;
}

size_t wire_tls_read(struct tls *t, uint8_t *out, size_t size)
{
	ERR_clear_error();
	int len = t->is_broken ? 0 : SSL_read(t->ssl, out, (int)size);
	if (len > 0)
		return (size_t)len;
	if (!t->is_broken && !goes_on(t, len))
		break_down(t);
	return 0;
}

bool wire_tls_write(struct tls *t, const uint8_t *bytes, size_t len)
{
	ERR_clear_error();
	if (!t->is_broken && SSL_write(t->ssl, bytes, (int)len) != (int)len)
		break_down(t);
	return !t->is_broken;
}

size_t wire_tls_take(struct tls *t, uint8_t *out, size_t size)
{
	int len = BIO_read(t->out, out, (int)size);
	return len > 0 ? (size_t)len : 0;
}

const char *wire_tls_reason(const struct tls *t)
{
	return t->reason;
}
