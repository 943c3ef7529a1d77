/* libraries.c - functions of libraries, of which the n-th call fails as each of them says that it did not do it (torture.c). */
#include "torture.h"
#include <curl/curl.h>
#include <errno.h>
#include <libpq-fe.h>
#include <libwebsockets.h>
#include <mosquitto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdarg.h>
#include <stddef.h>
#include <uv.h>

/* PostgreSQL */

int PQsendPrepare(PGconn *db, const char *name, const char *query, int count, const Oid *types)
{
	NEXT(PQsendPrepare);
	return fails(LIBRARY, "PQsendPrepare") ? 0 : next(db, name, query, count, types);
}

int PQsendQueryPrepared(PGconn *db, const char *name, int count, const char *const *values, const int *lengths,
	const int *formats, int format)
{
	NEXT(PQsendQueryPrepared);
	return fails(LIBRARY, "PQsendQueryPrepared") ? 0 : next(db, name, count, values, lengths, formats, format);
}

int PQpipelineSync(PGconn *db)
{
	NEXT(PQpipelineSync);
	return fails(LIBRARY, "PQpipelineSync") ? 0 : next(db);
}

int PQflush(PGconn *db)
{
	NEXT(PQflush);
	return fails(LIBRARY, "PQflush") ? -1 : next(db);
}

int PQconsumeInput(PGconn *db)
{
	NEXT(PQconsumeInput);
	return fails(LIBRARY, "PQconsumeInput") ? 0 : next(db);
}

PGconn *PQconnectStartParams(const char *const *keywords, const char *const *values, int expand)
{
	NEXT(PQconnectStartParams);
	return fails(LIBRARY, "PQconnectStartParams") ? NULL : next(keywords, values, expand);
}

/* MQTT */

int mosquitto_publish_v5(struct mosquitto *handle, int *mid, const char *topic, int len, const void *payload, int qos,
	bool retain, const mosquitto_property *properties)
{
	NEXT(mosquitto_publish_v5);
	return fails(LIBRARY, "mosquitto_publish_v5") ? MOSQ_ERR_NOMEM
						      : next(handle, mid, topic, len, payload, qos, retain, properties);
}

int mosquitto_subscribe_multiple(struct mosquitto *handle, int *mid, int count, char *const *const filters, int qos,
	int options, const mosquitto_property *properties)
{
	NEXT(mosquitto_subscribe_multiple);
	return fails(LIBRARY, "mosquitto_subscribe_multiple")
		       ? MOSQ_ERR_NOMEM
		       : next(handle, mid, count, filters, qos, options, properties);
}

struct mosquitto *mosquitto_new(const char *id, bool clean, void *context)
{
	NEXT(mosquitto_new);
	if (!fails(LIBRARY, "mosquitto_new"))
		return next(id, clean, context);
	errno = ENOMEM;
	return NULL;
}

int mosquitto_connect_bind_async(
	struct mosquitto *handle, const char *host, int port, int keepalive, const char *address)
{
	NEXT(mosquitto_connect_bind_async);
	return fails(LIBRARY, "mosquitto_connect_bind_async") ? MOSQ_ERR_NOMEM
							      : next(handle, host, port, keepalive, address);
}

int mosquitto_loop_read(struct mosquitto *handle, int packets)
{
	NEXT(mosquitto_loop_read);
	return fails(LIBRARY, "mosquitto_loop_read") ? MOSQ_ERR_NOMEM : next(handle, packets);
}

int mosquitto_loop_write(struct mosquitto *handle, int packets)
{
	NEXT(mosquitto_loop_write);
	return fails(LIBRARY, "mosquitto_loop_write") ? MOSQ_ERR_NOMEM : next(handle, packets);
}

/* HTTP to others. */

#undef curl_easy_setopt

CURL *curl_easy_init(void)
{
	NEXT(curl_easy_init);
	return fails(LIBRARY, "curl_easy_init") ? NULL : next();
}

CURLcode curl_easy_setopt(CURL *transfer, CURLoption option, ...)
{
	va_list rest;
	va_start(rest, option);
	void *value = va_arg(rest, void *); /* a long and a pointer are handed over alike where this runs */
	va_end(rest);
	NEXT(curl_easy_setopt);
	return fails(LIBRARY, "curl_easy_setopt") ? CURLE_OUT_OF_MEMORY : next(transfer, option, value);
}

char *curl_easy_escape(CURL *transfer, const char *text, int len)
{
	NEXT(curl_easy_escape);
	return fails(LIBRARY, "curl_easy_escape") ? NULL : next(transfer, text, len);
}

struct curl_slist *curl_slist_append(struct curl_slist *list, const char *text)
{
	NEXT(curl_slist_append);
	return fails(LIBRARY, "curl_slist_append") ? NULL : next(list, text);
}

CURLMcode curl_multi_add_handle(CURLM *multi, CURL *transfer)
{
	NEXT(curl_multi_add_handle);
	return fails(LIBRARY, "curl_multi_add_handle") ? CURLM_OUT_OF_MEMORY : next(multi, transfer);
}

CURLMcode curl_multi_socket_action(CURLM *multi, curl_socket_t socket, int events, int *running)
{
	NEXT(curl_multi_socket_action);
	return fails(LIBRARY, "curl_multi_socket_action") ? CURLM_OUT_OF_MEMORY : next(multi, socket, events, running);
}

/* The loop: whoever asks it, h2o and libwebsockets as well. Not uv_poll_init(): libwebsockets does not look at what it says, and goes on with
 * what was never made. */

int uv_tcp_open(uv_tcp_t *handle, uv_os_sock_t socket)
{
	NEXT(uv_tcp_open);
	return fails(LIBRARY, "uv_tcp_open") ? UV_ENOMEM : next(handle, socket);
}

int uv_tcp_nodelay(uv_tcp_t *handle, int is_on)
{
	NEXT(uv_tcp_nodelay);
	return fails(LIBRARY, "uv_tcp_nodelay") ? UV_EINVAL : next(handle, is_on);
}

int uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *request, uv_getaddrinfo_cb done, const char *node,
	const char *service, const struct addrinfo *hints)
{
	NEXT(uv_getaddrinfo);
	return fails(LIBRARY, "uv_getaddrinfo") ? UV_ENOMEM : next(loop, request, done, node, service, hints);
}

/* WebSockets */

struct lws *lws_adopt_socket_vhost_readbuf(struct lws_vhost *vhost, lws_sockfd_type fd, const char *read, size_t len)
{
	NEXT(lws_adopt_socket_vhost_readbuf);
	return fails(LIBRARY, "lws_adopt_socket_vhost_readbuf") ? NULL : next(vhost, fd, read, len);
}

int lws_write(struct lws *socket, unsigned char *frame, size_t len, enum lws_write_protocol how)
{
	NEXT(lws_write);
	return fails(LIBRARY, "lws_write") ? -1 : next(socket, frame, len, how);
}

/* digests, and what is sealed. Not libcjose: that a token is wrong and that it could not be looked at is one answer there, so the node
 * gives it memory that does not fail. */

int EVP_Digest(
	const void *data, size_t len, unsigned char *digest, unsigned int *size, const EVP_MD *type, ENGINE *engine)
{
	NEXT(EVP_Digest);
	return fails(LIBRARY, "EVP_Digest") ? 0 : next(data, len, digest, size, type, engine);
}

int EVP_DigestInit_ex2(EVP_MD_CTX *context, const EVP_MD *type, const OSSL_PARAM params[])
{
	NEXT(EVP_DigestInit_ex2);
	return fails(LIBRARY, "EVP_DigestInit_ex2") ? 0 : next(context, type, params);
}

EVP_CIPHER_CTX *EVP_CIPHER_CTX_new(void)
{
	NEXT(EVP_CIPHER_CTX_new);
	return fails(LIBRARY, "EVP_CIPHER_CTX_new") ? NULL : next();
}

int RAND_bytes(unsigned char *to, int len)
{
	NEXT(RAND_bytes);
	return fails(LIBRARY, "RAND_bytes") ? 0 : next(to, len);
}
