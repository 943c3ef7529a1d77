/* url.c - splits the URL of a broker, of one host or several. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/mqtt/link.h"

static const struct scheme {
	const char *prefix;
	int port;
	bool tls;
} schemes[] = {
	{ "mqtt://", 1883, false },
	{ "mqtts://", 8883, true },
};

static const struct scheme *scheme_of(const char *url);
static bool read_hosts(const char *text, const struct scheme *, struct mqtt_broker *ret);
static bool host_ends(const char *host, const char **ret_host, size_t *ret_len, const char **ret_rest);
static bool read_port(const char *text, int *ret_port, const char **ret_rest);

bool mqtt_url_parse(const char *url, struct mqtt_broker *ret)
{
	const struct scheme *scheme = scheme_of(url);
	struct mqtt_broker read = *ret;
	if (!scheme || !read_hosts(url + strlen(scheme->prefix), scheme, &read))
		return false;
	*ret = read;
	return true;
}

static bool read_hosts(const char *text, const struct scheme *scheme, struct mqtt_broker *ret)
{
	const char *host, *rest;
	size_t len;
	if (!host_ends(text, &host, &len, &rest))
		return false;
	ret->port = scheme->port;
	ret->tls = scheme->tls;
	ret->next = NULL;
	if (*rest == ':' && !read_port(rest + 1, &ret->port, &rest))
		return false;
	if (*rest == ',') {
		ret->next = memory_new(sizeof *ret->next);
		if (!read_hosts(rest + 1, scheme, ret->next)) {
			free(ret->next);
			return false;
		}
	} else if (*rest && strcmp(rest, "/") != 0)
		return false;
	ret->host = memory_need(strndup(host, len));
	return true;
}

void mqtt_broker_forget(struct mqtt_broker *broker)
{
	while (broker->next) {
		struct mqtt_broker *next = broker->next;
		broker->next = next->next;
		free((char *)next->host);
		free(next);
	}
	free((char *)broker->host);
	broker->host = NULL;
}

static const struct scheme *scheme_of(const char *url)
{
	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
		if (strncmp(url, schemes[i].prefix, strlen(schemes[i].prefix)) == 0)
			return &schemes[i];
	return NULL;
}

/* An IPv6 address stands in brackets (RFC 3986 §3.2.2), which are not part of it. */
static bool host_ends(const char *host, const char **ret_host, size_t *ret_len, const char **ret_rest)
{
	bool bracketed = *host == '[';
	host += bracketed;
	size_t len = strcspn(host, bracketed ? "]" : ",:/?#@[]");
	if (len == 0 || (bracketed && host[len] != ']'))
		return false;
	*ret_host = host;
	*ret_len = len;
	*ret_rest = host + len + bracketed;
	return true;
}

/* 1 to 65535; port 0 would make libmosquitto take the host for the path of a unix socket. */
static bool read_port(const char *text, int *ret_port, const char **ret_rest)
{
	if (*text < '1' || *text > '9')
		return false;
	char *end;
	errno = 0;
	long port = strtol(text, &end, 10);
	if (errno || port > 65535)
		return false;
	*ret_port = (int)port;
	*ret_rest = end;
	return true;
}
