/* certificate.c - an OpenSSL context made whole from two files, and a lock around the one in force. */
#include "gateway/certificate.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"

/* RFC 9325 §4.2: forward secrecy and authenticated encryption. TLS 1.3 has nothing else. */
#define CIPHERS_OF_1_2                                                                                                 \
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"                     \
	"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define GROUPS "X25519:P-256:P-384"

struct certificate {
	pthread_mutex_t lock; /* of the pointer; held for as long as it takes to copy it */
	SSL_CTX *context;
};

/* Mozilla's "intermediate" without the ciphers for clients older than TLS 1.2. */
static void set_rules(SSL_CTX *context);
static bool load(SSL_CTX *context, const char *chain, const char *key, char *ret_why, size_t why_size);

/* What OpenSSL says of the first thing that went wrong; the rest follows from it. */
static void explain(const char *file, char *ret_why, size_t why_size)
{
	unsigned long error = ERR_get_error();
	const char *reason = ERR_reason_error_string(error);

	snprintf(ret_why, why_size, "%s: %s", file, reason ? reason : "it cannot be read");
	ERR_clear_error();
}

static SSL_CTX *context_new(const char *chain, const char *key, char *ret_why, size_t why_size)
{
	SSL_CTX *context = memory_need(SSL_CTX_new(TLS_server_method()));

	set_rules(context);
	if (load(context, chain, key, ret_why, why_size))
		return context;
	SSL_CTX_free(context);
	return NULL;
}

/* A key under a passphrase is refused: there is nobody to type it. */
static int no_passphrase(char *out, int size, int writing, void *data)
{
	(void)out, (void)size, (void)writing, (void)data;
	return 0;
}

/* HTTP/2 is the load balancer's. Who insists on it is told so (RFC 7301 §3.2). */
static int choose_protocol(SSL *ssl, const unsigned char **ret, unsigned char *ret_len, const unsigned char *offered,
	unsigned offered_len, void *data)
{
	static const unsigned char http[] = "\x08http/1.1";
	unsigned char *chosen;

	(void)ssl, (void)data;
	if (SSL_select_next_proto(&chosen, ret_len, http, sizeof(http) - 1, offered, offered_len) !=
		OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*ret = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static void set_rules(SSL_CTX *context)
{
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_PRIORITIZE_CHACHA |
					     SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_cipher_list(context, CIPHERS_OF_1_2);
	SSL_CTX_set1_groups_list(context, GROUPS);
	/* Sessions are resumed by tickets, which cost us no memory; their keys last until the next renewal. */
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(context,
		SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	/* Else a client that sends no data, but one key update after the other, would keep the loop in one SSL_read(). */
	SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY);
	SSL_CTX_set_default_passwd_cb(context, no_passphrase);
	SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
}

/* One that has expired is used all the same: to refuse it would stop the node as well, and its clients say it better. */
static void warn_of_age(SSL_CTX *context, const char *chain)
{
	const X509 *leaf = SSL_CTX_get0_certificate(context);

	if (X509_cmp_current_time(X509_get0_notAfter(leaf)) < 0)
		log_warn("tls", "the certificate has expired", LOG_TEXT("file", chain));
	else if (X509_cmp_current_time(X509_get0_notBefore(leaf)) > 0)
		log_warn("tls", "the certificate is not valid yet", LOG_TEXT("file", chain));
}

static bool load(SSL_CTX *context, const char *chain, const char *key, char *ret_why, size_t why_size)
{
	ERR_clear_error();
	if (SSL_CTX_use_certificate_chain_file(context, chain) != 1) {
		explain(chain, ret_why, why_size);
		return false;
	}
	if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1 ||
		SSL_CTX_check_private_key(context) != 1) {
		explain(key, ret_why, why_size);
		return false;
	}
	return true;
}

struct certificate *certificate_new(const char *chain, const char *key, char *ret_why, size_t why_size)
{
	SSL_CTX *context = context_new(chain, key, ret_why, why_size);

	if (!context)
		return NULL;
	warn_of_age(context, chain);
	struct certificate *c = memory_new(sizeof(*c));
	pthread_mutex_init(&c->lock, NULL);
	c->context = context;
	return c;
}

void certificate_free(struct certificate *c)
{
	if (!c)
		return;
	SSL_CTX_free(c->context);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

SSL *certificate_start(struct certificate *c, int fd)
{
	pthread_mutex_lock(&c->lock);
	SSL *ssl = SSL_new(c->context); /* which holds on to the context from now on */
	pthread_mutex_unlock(&c->lock);
	if (!ssl || SSL_set_fd(ssl, fd) != 1) {
		SSL_free(ssl);
		return NULL;
	}
	SSL_set_accept_state(ssl);
	return ssl;
}

bool certificate_renew(struct certificate *c, const char *chain, const char *key, char *ret_why, size_t why_size)
{
	SSL_CTX *fresh = context_new(chain, key, ret_why, why_size);

	if (!fresh)
		return false;
	warn_of_age(fresh, chain);
	pthread_mutex_lock(&c->lock);
	SSL_CTX *old = c->context;
	c->context = fresh;
	pthread_mutex_unlock(&c->lock);
	SSL_CTX_free(old);
	return true;
}

const char *certificate_check(const char *chain, const char *key, char *ret_why, size_t why_size)
{
	SSL_CTX *context = context_new(chain, key, ret_why, why_size);

	SSL_CTX_free(context);
	return context ? NULL : ret_why;
}

const char *certificate_check_authorities(const char *file, char *ret_why, size_t why_size)
{
	SSL_CTX *context = memory_need(SSL_CTX_new(TLS_client_method()));
	bool fine = SSL_CTX_load_verify_file(context, file) == 1;

	if (!fine)
		explain(file, ret_why, why_size);
	SSL_CTX_free(context);
	return fine ? NULL : ret_why;
}

int64_t certificate_seconds_left(const char *chain)
{
	SSL_CTX *context = memory_need(SSL_CTX_new(TLS_server_method()));
	int days = INT16_MAX, seconds = 0;

	if (SSL_CTX_use_certificate_chain_file(context, chain) == 1)
		ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(SSL_CTX_get0_certificate(context)));
	ERR_clear_error();
	SSL_CTX_free(context);
	return (int64_t)days * 86400 + seconds;
}
