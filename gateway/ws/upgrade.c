/* upgrade.c - a request line, a table of the fields that count, and what must be there in the end. */
#include "gateway/ws/upgrade.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/fault.h"

#define SUBPROTOCOL "keyfob.v1"
#define BEARER_OFFER "bearer."
#define KEY_LENGTH 24 /* 16 bytes in base64, RFC 6455 §4.1 */

typedef void taker(struct upgrade *, char *item);

static taker take_upgrade, take_connection, take_subprotocol, take_forwarded, take_forwarded_proto;
static const char *read_line(struct upgrade *u, char *line);
static const struct fault *check(struct upgrade *u, const char **ret_why);

static const struct fault *malformed(const char *why, const char **ret_why)
{
	*ret_why = why;
	return &FAULT_MALFORMED_REQUEST;
}

/* Fields that may stand once (their text is kept) and lists that may stand often (each item is taken). */
static const struct {
	const char *name;
	size_t text_at;
	taker *take;
} fields[] = {
	{ "host", offsetof(struct upgrade, host), NULL },
	{ "origin", offsetof(struct upgrade, origin), NULL },
	{ "authorization", offsetof(struct upgrade, authorization), NULL },
	{ "x-forwarded-host", offsetof(struct upgrade, forwarded_host), NULL },
	{ "sec-websocket-key", offsetof(struct upgrade, key), NULL },
	{ "sec-websocket-version", offsetof(struct upgrade, version), NULL },
	{ "upgrade", 0, take_upgrade },
	{ "connection", 0, take_connection },
	{ "sec-websocket-protocol", 0, take_subprotocol },
	{ "x-forwarded-for", 0, take_forwarded },
	{ "x-forwarded-proto", 0, take_forwarded_proto },
};

/* The line at `*at`, cut off its CR LF; NULL when there is none. */
static char *next_line(char **at)
{
	char *line = *at, *end = strstr(line, "\r\n");

	if (!end)
		return NULL;
	*end = '\0';
	*at = end + 2;
	return line;
}

/* The path behind an absolute-form target's host, which is kept; NULL when there is none. The host moves into the room that a
 * slash leaves, and is ended there. */
static char *cut_host(char *target, struct upgrade *u)
{
	size_t scheme = strncasecmp(target, "http://", 7) == 0 ? 7 : strncasecmp(target, "https://", 8) == 0 ? 8 : 0;
	char *host = target + scheme, *path = strchr(host, '/');

	if (scheme == 0 || !path)
		return NULL;
	memmove(host - 1, host, (size_t)(path - host));
	path[-1] = '\0';
	u->target_host = host - 1;
	return path;
}

static bool is_for_us(char *line, struct upgrade *u)
{
	char *version = line, *method = strsep(&version, " "), *target = strsep(&version, " ");

	if (!version || strcmp(method, "GET") != 0 || strcmp(version, "HTTP/1.1") != 0)
		return false;
	char *path = target[0] == '/' ? target : cut_host(target, u);
	return path && strcmp(strsep(&path, "?"), "/v1/ws") == 0;
}

const struct fault *upgrade_read(char *head, size_t len, struct upgrade *ret, const char **ret_why)
{
	char *at = head, *line;
	const char *wrong = NULL;

	*ret = (struct upgrade){ 0 };
	line = strlen(head) == len ? next_line(&at) : NULL;
	if (!line)
		return malformed("the head cannot be read", ret_why);
	if (!is_for_us(line, ret))
		return malformed("a WebSocket is opened by GET /v1/ws over HTTP/1.1", ret_why);
	while (!wrong && (line = next_line(&at)) != NULL && *line)
		wrong = read_line(ret, line);
	if (wrong || !line)
		return malformed(wrong ? wrong : "the head does not end", ret_why);
	return check(ret, ret_why);
}

static char *trimmed(char *text)
{
	text += strspn(text, " \t");
	for (size_t len = strlen(text); len > 0 && strchr(" \t", text[len - 1]); len--)
		text[len - 1] = '\0';
	return text;
}

static void take_items(struct upgrade *u, taker *take, char *value)
{
	char *item;

	while ((item = strsep(&value, ",")) != NULL)
		take(u, trimmed(item));
}

static const char *read_line(struct upgrade *u, char *line)
{
	char *value = strchr(line, ':');

	if (!value || value == line || strcspn(line, " \t") < (size_t)(value - line))
		return "a field cannot be read";
	*value++ = '\0';
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (strcasecmp(line, fields[i].name) != 0)
			continue;
		const char **text = (const char **)(void *)((char *)u + fields[i].text_at);
		if (fields[i].take)
			take_items(u, fields[i].take, value);
		else if (*text)
			return "a field that may stand once stands twice";
		else
			*text = trimmed(value);
		break;
	}
	return NULL;
}

static void take_upgrade(struct upgrade *u, char *item)
{
	u->is_websocket |= strcasecmp(item, "websocket") == 0;
}

static void take_connection(struct upgrade *u, char *item)
{
	u->is_connection |= strcasecmp(item, "upgrade") == 0;
}

static void take_subprotocol(struct upgrade *u, char *item)
{
	u->offers_keyfob |= strcmp(item, SUBPROTOCOL) == 0;
	if (!u->bearer && strncmp(item, BEARER_OFFER, strlen(BEARER_OFFER)) == 0)
		u->bearer = item + strlen(BEARER_OFFER);
}

static void take_forwarded(struct upgrade *u, char *item)
{
	if (u->forwarded_count == FORWARDED_MAX)
		memmove(u->forwarded_for, u->forwarded_for + 1, --u->forwarded_count * sizeof(*u->forwarded_for));
	u->forwarded_for[u->forwarded_count++] = item;
}

/* The last one counts; what it does not say is not known. There are proxies that name a WebSocket's own scheme. */
static void take_forwarded_proto(struct upgrade *u, char *item)
{
	static const struct {
		const char *said, *scheme;
	} schemes[] = { { "http", "http" }, { "https", "https" }, { "ws", "http" }, { "wss", "https" } };

	u->forwarded_scheme = NULL;
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		if (strcasecmp(item, schemes[i].said) == 0)
			u->forwarded_scheme = schemes[i].scheme;
	}
}

static bool is_key(const char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)text[i]) && !strchr("+/=", text[i]))
			return false;
	}
	return len == KEY_LENGTH;
}

static const struct fault *check(struct upgrade *u, const char **ret_why)
{
	if (!u->is_websocket || !u->is_connection)
		return malformed("this is no upgrade to websocket", ret_why);
	if (!u->host)
		return malformed("there is no Host", ret_why);
	if (u->target_host)
		u->host = u->target_host;
	if (!u->version)
		return malformed("Sec-WebSocket-Version is missing", ret_why);
	if (strcmp(u->version, "13") != 0) {
		*ret_why = "Sec-WebSocket-Version must be 13";
		return &FAULT_UPGRADE_REQUIRED;
	}
	if (!u->key || !is_key(u->key))
		return malformed("Sec-WebSocket-Key must be 16 bytes in base64", ret_why);
	return u->offers_keyfob ? NULL : malformed("the subprotocol keyfob.v1 must be offered", ret_why);
}

bool upgrade_token(const struct upgrade *u, const char **ret)
{
	*ret = u->bearer;
	if (!u->authorization)
		return true;
	if (strncasecmp(u->authorization, "bearer ", 7) != 0)
		return false;
	*ret = u->authorization + 7 + strspn(u->authorization + 7, " ");
	return true;
}
