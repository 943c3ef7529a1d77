/* upgrade.c - a request line, a table of the fields that count, and what must be there in the end. */
#include "gateway/ws/upgrade.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define SUBPROTOCOL "keyfob.v1"
#define BEARER_OFFER "bearer."
#define KEY_LENGTH 24 /* 16 bytes in base64, RFC 6455 §4.1 */

typedef void taker(struct upgrade *, char *item);

static taker take_upgrade, take_connection, take_subprotocol, take_forwarded;
static const char *read_line(struct upgrade *u, char *line);
static const char *check(const struct upgrade *u);

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

static bool is_for_us(const char *line)
{
	size_t path = strcspn(line + 4, " ?");

	return strncmp(line, "GET ", 4) == 0 && path == 6 && strncmp(line + 4, "/v1/ws", 6) == 0 &&
	       strcmp(line + strlen(line) - strlen(" HTTP/1.1"), " HTTP/1.1") == 0;
}

const char *upgrade_read(char *head, size_t len, struct upgrade *ret)
{
	char *at = head, *line;
	const char *wrong = NULL;

	*ret = (struct upgrade){ 0 };
	if (strlen(head) != len)
		return "the head cannot be read";
	line = next_line(&at);
	if (!line || strlen(line) < strlen("GET /v1/ws HTTP/1.1") || !is_for_us(line))
		return "a WebSocket is opened by GET /v1/ws over HTTP/1.1";
	while (!wrong && (line = next_line(&at)) != NULL && *line)
		wrong = read_line(ret, line);
	return wrong ? wrong : line ? check(ret) : "the head does not end";
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

static bool is_key(const char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)text[i]) && !strchr("+/=", text[i]))
			return false;
	}
	return len == KEY_LENGTH;
}

static const char *check(const struct upgrade *u)
{
	if (!u->is_websocket || !u->is_connection)
		return "this is no upgrade to websocket";
	if (!u->host)
		return "there is no Host";
	if (!u->version || strcmp(u->version, "13") != 0)
		return "Sec-WebSocket-Version must be 13";
	if (!u->key || !is_key(u->key))
		return "Sec-WebSocket-Key must be 16 bytes in base64";
	return u->offers_keyfob ? NULL : "the subprotocol keyfob.v1 must be offered";
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
