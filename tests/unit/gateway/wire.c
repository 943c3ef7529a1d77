/* wire.c - sockets, and beside each that speaks TLS its OpenSSL object. */
#include "wire.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_S 30
#define FDS_MAX 1024

static SSL *tls[FDS_MAX];

SSL_CTX *wire_context(const char *certificate_file)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());

	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	ck_assert_int_eq(SSL_CTX_load_verify_file(context, certificate_file), 1);
	return context;
}

int wire_dial(int port, SSL_CTX *context)
{
	struct sockaddr_in at = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)
	};
	struct timeval patience = { .tv_sec = PATIENCE_S };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert(fd >= 0 && fd < FDS_MAX);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	tls[fd] = NULL;
	if (!context)
		return fd;
	tls[fd] = SSL_new(context);
	SSL_set_fd(tls[fd], fd);
	if (SSL_connect(tls[fd]) == 1)
		return fd;
	wire_close(fd);
	return -1;
}

SSL *wire_tls(int fd)
{
	return tls[fd];
}

ssize_t wire_send(int fd, const void *data, size_t len)
{
	return tls[fd] ? SSL_write(tls[fd], data, (int)len) : send(fd, data, len, MSG_NOSIGNAL);
}

ssize_t wire_recv(int fd, void *data, size_t size)
{
	if (!tls[fd])
		return recv(fd, data, size, 0);
	ERR_clear_error();
	int len = SSL_read(tls[fd], data, (int)size);
	if (len > 0)
		return len;
	int error = SSL_get_error(tls[fd], len);
	errno = error == SSL_ERROR_SYSCALL ? errno : EPROTO;
	return error == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

void wire_end(int fd)
{
	if (tls[fd])
		SSL_shutdown(tls[fd]);
	else
		shutdown(fd, SHUT_WR);
}

void wire_close(int fd)
{
	SSL_free(tls[fd]);
	tls[fd] = NULL;
	close(fd);
}
