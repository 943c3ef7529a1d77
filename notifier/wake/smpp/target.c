/* target.c - splits the URL of an SMS centre. */
#include "notifier/wake/smpp/target.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/smpp/pdu.h"
#include "notifier/wake/smpp/smpp.h"

static bool decode(const char *from, const char *end, char *out, size_t size)
{
	size_t len = 0;
	for (; from < end; from++) {
		char hex[3] = { 0 };
		bool is_escape = *from == '%';
		if (is_escape &&
			(end - from < 3 || !isxdigit((unsigned char)from[1]) || !isxdigit((unsigned char)from[2])))
			return false;
		if (is_escape)
			memcpy(hex, from + 1, 2);
		char c = is_escape ? (char)strtol(hex, NULL, 16) : *from;
		if (c == '\0' || (*from == ':' && !is_escape) || len + 1 >= size)
			return false;
		out[len++] = c;
		from += is_escape ? 2 : 0;
	}
	out[len] = '\0';
	return len > 0;
}

static bool is_port(const char *port)
{
	size_t len = strspn(port, "0123456789");
	return len >= 1 && len <= 5 && port[len] == '\0' && *port != '0' && atoi(port) <= 65535;
}

/* An IPv6 address stands in brackets (RFC 3986 §3.2.2). */
static bool split_host(const char *text, const char **ret_host, size_t *ret_len, const char **ret_port)
{
	bool bracketed = *text == '[';
	const char *host = text + bracketed;
	size_t len = strcspn(host, bracketed ? "]" : ":/?#[]");
	const char *colon = host + len + (bracketed && host[len] == ']');
	*ret_host = host;
	*ret_len = len;
	*ret_port = colon + 1;
	return len > 0 && *colon == ':' && (!bracketed || colon == host + len + 1) && is_port(colon + 1);
}

bool target_parse(const char *url, struct smpp_target *ret)
{
	bool tls = strncmp(url, "smpps://", 8) == 0;
	if (!tls && strncmp(url, "smpp://", 7) != 0)
		return false;
	const char *user = url + (tls ? 8 : 7), *at = strrchr(user, '@'), *host, *port;
	char system_id[SMPP_SYSTEM_ID_SIZE];
	size_t len;
	if (!at || !decode(user, at, system_id, sizeof system_id) || !split_host(at + 1, &host, &len, &port))
		return false;
	*ret = (struct smpp_target){
		.host = memory_need(strndup(host, len)),
		.port = memory_need(strdup(port)),
		.system_id = memory_need(strdup(system_id)),
		.tls = tls,
	};
	return true;
}

void target_done(struct smpp_target *t)
{
	free(t->host);
	free(t->port);
	free(t->system_id);
	*t = (struct smpp_target){ 0 };
}

bool smpp_url_is_valid(const char *url)
{
	struct smpp_target target;
	bool is_valid = target_parse(url, &target);
	if (is_valid)
		target_done(&target);
	return is_valid;
}
