/* config_syntax.c - what the texts of a configuration must look like: addresses, URLs, names. */
#include "gateway/config_syntax.h"

#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "notifier/wake/smpp/smpp.h"
#include "notifier/webhook/seal.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static bool is_of(const char *text, const char *letters, size_t len_max)
{
	size_t len = strlen(text);

	return len > 0 && len <= len_max && strspn(text, letters) == len;
}

static bool has_space(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text <= ' ' || *text == 127)
			return true;
	return false;
}

/* A port; `zero`: 0 is one too, for "any free one". */
static bool read_port(const char *text, bool zero, uint16_t *ret)
{
	if (!is_of(text, DIGITS, 5) || (*text == '0' && text[1]))
		return false;
	unsigned long port = strtoul(text, NULL, 10);
	*ret = (uint16_t)port;
	return port <= UINT16_MAX && (zero || port > 0);
}

/* addresses */

static bool is_address(const char *text)
{
	unsigned char bytes[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

/* As RFC 5952 spells it, but IPv4 that IPv6 maps (RFC 4291 §2.5.5.2) as IPv4, which it is to the kernel: one address is one text. */
static bool respell(char host[INET6_ADDRSTRLEN])
{
	struct in6_addr at;
	int family = strchr(host, ':') ? AF_INET6 : AF_INET;

	if (inet_pton(family, host, &at) != 1)
		return false;
	if (family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&at))
		return inet_ntop(AF_INET, &at.s6_addr[12], host, INET6_ADDRSTRLEN);
	return inet_ntop(family, &at, host, INET6_ADDRSTRLEN);
}

bool syntax_split_listen(const char *text, char host[INET6_ADDRSTRLEN], uint16_t *ret_port)
{
	const char *colon = strrchr(text, ':');
	bool brackets = *text == '[' && colon && colon[-1] == ']';
	const char *from = text + brackets;

	if (!colon || colon - from - brackets >= INET6_ADDRSTRLEN || colon - from - brackets < 1)
		return false;
	size_t len = (size_t)(colon - from) - brackets;
	memcpy(host, from, len);
	host[len] = '\0';
	return (strchr(host, ':') != NULL) == brackets && respell(host) && read_port(colon + 1, true, ret_port);
}

static bool is_listen(const char *text)
{
	char host[INET6_ADDRSTRLEN];
	uint16_t port;

	return syntax_split_listen(text, host, &port);
}

/* An address, or a network in CIDR notation (RFC 4632 §3.1). */
static bool is_proxy(const char *text)
{
	char address[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);

	if (len >= sizeof(address))
		return false;
	memcpy(address, text, len);
	address[len] = '\0';
	if (slash && (!is_of(slash + 1, DIGITS, 3) || atoi(slash + 1) > (strchr(address, ':') ? 128 : 32)))
		return false;
	return is_address(address);
}

/* URLs */

struct url_shape {
	const char *const *schemes; /* NULL-terminated */
	bool user;		    /* may name one before an @ */
	bool port_needed;
	bool path;    /* may go on after the host */
	bool several; /* hosts, with commas between them */
};

/* HOST, HOST:PORT or [IPV6]:PORT, between `text` and `end`. */
static bool is_host(const char *text, const char *end, bool port_needed)
{
	char host[256];
	uint16_t port;

	if (end - text >= (ptrdiff_t)sizeof(host))
		return false;
	memcpy(host, text, (size_t)(end - text));
	host[end - text] = '\0';
	char *colon = strrchr(host, ':'), *bracket = strchr(host, ']');
	bool has_port = colon && (!bracket || colon == bracket + 1);
	if (has_port && !read_port(colon + 1, false, &port))
		return false;
	if (has_port)
		*colon = '\0';
	if (*host != '[')
		return is_of(host, LETTERS DIGITS ".-_", 253) && (has_port || !port_needed);
	if (!bracket || bracket[1])
		return false;
	*bracket = '\0';
	return strchr(host, ':') && is_address(host + 1) && (has_port || !port_needed);
}

static bool are_hosts(const char *text, const char *end, const struct url_shape *shape)
{
	const char *comma = shape->several ? memchr(text, ',', (size_t)(end - text)) : NULL;

	for (; comma; text = comma + 1, comma = memchr(text, ',', (size_t)(end - text))) {
		if (!is_host(text, comma, shape->port_needed))
			return false;
	}
	return is_host(text, end, shape->port_needed);
}

static bool is_url(const char *text, const struct url_shape *shape)
{
	const char *mark = strstr(text, "://");

	if (!mark || has_space(text))
		return false;
	const char *const *scheme = shape->schemes;
	while (*scheme &&
		(strncmp(text, *scheme, (size_t)(mark - text)) != 0 || strlen(*scheme) != (size_t)(mark - text)))
		scheme++;
	const char *host = mark + 3;
	const char *end = host + strcspn(host, "/?#");
	const char *at = memchr(host, '@', (size_t)(end - host));
	if (!*scheme || (*end && !shape->path) || (at && (!shape->user || at == host)))
		return false;
	return are_hosts(at ? at + 1 : host, end, shape);
}

static bool is_mqtt_url(const char *text)
{
	static const char *const schemes[] = { "mqtt", "mqtts", NULL };

	return is_url(text, &(struct url_shape){ .schemes = schemes, .several = true });
}

static bool is_http_url(const char *text)
{
	static const char *const schemes[] = { "https", "http", NULL };

	return is_url(text, &(struct url_shape){ .schemes = schemes, .path = true });
}

/* Whoever can change what such a URL answers with can sign in as anybody. */
static bool is_keys_url(const char *text)
{
	static const char *const schemes[] = { "https", NULL };
	static const char *const here[] = { "http://127.0.0.1", "http://[::1]", "http://localhost" };

	for (size_t i = 0; i < sizeof(here) / sizeof(here[0]); i++) {
		size_t len = strlen(here[i]);
		if (strncmp(text, here[i], len) == 0 && (!text[len] || strchr(":/?#", text[len])) &&
			!memchr(text, '@', strcspn(text + len, "/?#") + len))
			return is_http_url(text);
	}
	return is_url(text, &(struct url_shape){ .schemes = schemes, .path = true });
}

static bool is_smpp_url(const char *text)
{
	static const char *const schemes[] = { "smpp", "smpps", NULL };

	return is_url(text, &(struct url_shape){ .schemes = schemes, .user = true, .port_needed = true }) &&
	       smpp_url_is_valid(text);
}

/* libpq's form (PostgreSQL 15 §34.1.1.2) has several hosts and parameters; libpq itself judges those. */
static bool is_database_url(const char *text)
{
	bool scheme = strncmp(text, "postgresql://", 13) == 0 || strncmp(text, "postgres://", 11) == 0;

	for (const char *percent = text; (percent = strchr(percent, '%')); percent++)
		if (!isxdigit((unsigned char)percent[1]) || !isxdigit((unsigned char)percent[2]))
			return false;
	return scheme && !has_space(text);
}

/* RFC 6454 §6.2, any scheme: apps on phones bring capacitor:// and the like. */
static bool is_origin(const char *text)
{
	const char *mark = strstr(text, "://");

	if (!mark || mark == text || !islower((unsigned char)*text))
		return false;
	return strspn(text, "abcdefghijklmnopqrstuvwxyz" DIGITS "+.-") == (size_t)(mark - text) &&
	       is_host(mark + 3, mark + strlen(mark), false);
}

/* names */

static bool is_namespace(const char *text)
{
	return is_of(text, LETTERS DIGITS "_-", 32) && isalnum((unsigned char)*text);
}

static bool is_node_id(const char *text)
{
	return is_of(text, LETTERS DIGITS "._-", 64);
}

/* MQTT 5 §4.7: no wildcard; no slash at either end, since levels are joined to it by one. */
static bool is_topic_prefix(const char *text)
{
	size_t len = strlen(text);

	return len <= 128 && !has_space(text) && !strpbrk(text, "+#") && *text != '/' && text[len - 1] != '/' &&
	       !strstr(text, "//");
}

/* RFC 9110 §5.6.2 */
static bool is_header(const char *text)
{
	return is_of(text, LETTERS DIGITS "!#$%&'*+-.^_`|~", 128);
}

static bool is_region(const char *text)
{
	return is_of(text, "abcdefghijklmnopqrstuvwxyz" DIGITS "-", 32);
}

/* SMPP 3.4 §5.2.2. */
static bool is_smpp_password(const char *text)
{
	return strlen(text) <= 8;
}

/* SMPP 3.4 §4.4.1: source_addr is at most 20 octets. */
static bool is_sender(const char *text)
{
	return is_of(text, LETTERS DIGITS "+ ._-", 20);
}

/* One part of a path as it is, and long enough not to be guessed. */
static bool is_hook_secret(const char *text)
{
	return is_of(text, LETTERS DIGITS "-._~", 128) && strlen(text) >= 16;
}

/* What PostgreSQL reads as a numeric, and people as money. */
static bool is_price(const char *text)
{
	size_t whole = strspn(text, DIGITS), part = text[whole] == '.' ? strspn(text + whole + 1, DIGITS) : 0;
	size_t len = whole + (part ? part + 1 : 0);

	return whole >= 1 && whole <= 6 && part <= 6 && !text[len];
}

/* ISO 4217. */
static bool is_currency(const char *text)
{
	return strlen(text) == 3 && is_of(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ", 3);
}

const struct setting_rule RULE_NAMESPACE = {
	.what = "1 to 32 letters, digits, _ or -, beginning with a letter or digit", .is = is_namespace
};
const struct setting_rule RULE_NODE_ID = { .what = "1 to 64 letters, digits, dots, _ or -", .is = is_node_id };
const struct setting_rule RULE_LISTEN = {
	.what = "\"IPV4:PORT\" or \"[IPV6]:PORT\" such as \"127.0.0.1:8080\" or \"[::]:8443\"", .is = is_listen
};
const struct setting_rule RULE_ORIGIN = { .what = "an origin such as \"https://app.example\", without a path",
	.is = is_origin };
const struct setting_rule RULE_PROXY = { .what = "an address or a network such as \"10.0.0.0/8\"", .is = is_proxy };
const struct setting_rule RULE_DATABASE_URL = { .what = "a URL that begins with postgresql://", .is = is_database_url };
const struct setting_rule RULE_MQTT_URL = { .what = "mqtt://HOST:PORT, or mqtts://HOST:PORT for TLS, without a user or "
						    "path; 1883 and 8883 may be left out; "
						    "several as mqtt://HOST:PORT,HOST:PORT",
	.is = is_mqtt_url };
const struct setting_rule RULE_HTTP_URL = { .what = "an https:// or http:// URL", .is = is_http_url };
const struct setting_rule RULE_KEYS_URL = {
	.what = "an https:// URL without a user, or http:// of 127.0.0.1, [::1] or localhost", .is = is_keys_url
};
const struct setting_rule RULE_SMPP_URL = {
	.what = "smpp://USER@HOST:PORT, or smpps:// for TLS, USER at most 15 characters and without a password",
	.is = is_smpp_url
};
const struct setting_rule RULE_SMPP_PASSWORD = { .what = "at most 8 octets long", .is = is_smpp_password };
const struct setting_rule RULE_TOPIC_PREFIX = {
	.what = "the beginning of a topic, without + and #, without a slash at either end", .is = is_topic_prefix
};
const struct setting_rule RULE_HEADER = { .what = "the name of a header and its text on one line", .is = is_header };
const struct setting_rule RULE_REGION = { .what = "a region's name such as \"eu-central-1\"", .is = is_region };
const struct setting_rule RULE_HOOK_SECRET = { .what = "16 to 128 letters, digits, -, ., _ or ~",
	.is = is_hook_secret };
const struct setting_rule RULE_SEALING_KEY = { .what = "32 bytes in base64", .is = seal_key_is_text };
const struct setting_rule RULE_SENDER = { .what = "a sender's name or number of at most 20 characters",
	.is = is_sender };
const struct setting_rule RULE_PRICE = { .what = "a price such as \"0.045\", in quotes", .is = is_price };
const struct setting_rule RULE_CURRENCY = { .what = "three capital letters such as EUR", .is = is_currency };
