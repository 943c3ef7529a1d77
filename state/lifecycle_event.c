/* lifecycle_event.c - a table of who tells what where, and a reader for each form; what is not exactly one is none. */
#include "state/lifecycle_event.h"

#include <stdio.h>
#include <string.h>

#include "base/ids.h"
#include "base/json.h"
#include "base/mqtt/link.h"

#define PAYLOAD_MAX (128 * 1024) /* contract §10 */
#define REFUSALS "/presence/connect_failed/"
#define UNTOLD_MAX 1000000000
#define SECONDS_MAX 100000000000 /* a time below is in seconds, not milliseconds */
#define MS_MAX 253402300799999	 /* of the year 9999; what is later, or before 1970, is no time */

struct reading {
	const struct lifecycle_source *source;
	const char *topic;
	const json_t *body;
	int64_t now_ms;
	const char *kind;
};

static size_t read_aws(const struct reading *, struct lifecycle_event ret[LIFECYCLE_EVENTS_MAX]);
static size_t read_emqx(const struct reading *, struct lifecycle_event ret[LIFECYCLE_EVENTS_MAX]);
static size_t read_own(const struct reading *, struct lifecycle_event ret[LIFECYCLE_EVENTS_MAX]);
static size_t read_refusal(const struct reading *, struct lifecycle_event ret[LIFECYCLE_EVENTS_MAX]);

static const struct row {
	int broker;	 /* -1: whichever */
	bool has_prefix; /* lifecycle.prefix stands before the filter */
	const char *filter, *kind;
	size_t (*read)(const struct reading *, struct lifecycle_event ret[LIFECYCLE_EVENTS_MAX]);
} rows[] = {
	{ LIFECYCLE_AWS, true, "/presence/connected/+", "connected", read_aws },
	{ LIFECYCLE_AWS, true, "/presence/disconnected/+", "disconnected", read_aws },
	{ LIFECYCLE_AWS, true, "/subscriptions/subscribed/+", "subscribed", read_aws },
	{ LIFECYCLE_AWS, true, "/subscriptions/unsubscribed/+", "unsubscribed", read_aws },
	{ LIFECYCLE_AWS, true, REFUSALS "+", "connect_failed", read_refusal },
	{ LIFECYCLE_EMQX, false, "$SYS/brokers/+/clients/+/connected", "connected", read_emqx },
	{ LIFECYCLE_EMQX, false, "$SYS/brokers/+/clients/+/disconnected", "disconnected", read_emqx },
	{ LIFECYCLE_EMQX, false, "$events/client_connected", "connected", read_emqx },
	{ LIFECYCLE_EMQX, false, "$events/client_disconnected", "disconnected", read_emqx },
	{ LIFECYCLE_EMQX, false, "$events/session_subscribed", "subscribed", read_emqx },
	{ LIFECYCLE_EMQX, false, "$events/session_unsubscribed", "unsubscribed", read_emqx },
	{ -1, false, "vehicles/+/lifecycle", NULL, read_own },
};

#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

static bool is_of(const struct row *row, const struct lifecycle_source *source)
{
	return row->broker < 0 || row->broker == (int)source->broker;
}

static void write_filter(const struct row *row, const struct lifecycle_source *source, char ret[LIFECYCLE_FILTER_SIZE])
{
	snprintf(ret, LIFECYCLE_FILTER_SIZE, "%s%s", row->has_prefix ? source->prefix : "", row->filter);
}

size_t lifecycle_filters(
	const struct lifecycle_source *source, char ret_filters[LIFECYCLE_FILTERS_MAX][LIFECYCLE_FILTER_SIZE])
{
	size_t count = 0;

	for (size_t i = 0; i < ROW_COUNT; i++) {
		if (is_of(&rows[i], source))
			write_filter(&rows[i], source, ret_filters[count++]);
	}
	return count;
}

/* NULL: it is none of JSON, or none that is read. */
static json_t *read_body(const struct mqtt_message *m)
{
	return m->len <= PAYLOAD_MAX ? json_read(m->payload, m->len) : NULL;
}

size_t lifecycle_events_read(const struct lifecycle_source *source, const struct mqtt_message *m, int64_t now_ms,
	struct lifecycle_event ret[LIFECYCLE_EVENTS_MAX], bool *ret_malformed)
{
	json_auto_t *body = read_body(m);
	size_t count = 0;

	for (size_t i = 0; i < ROW_COUNT && count == 0; i++) {
		char filter[LIFECYCLE_FILTER_SIZE];
		write_filter(&rows[i], source, filter);
		if (!is_of(&rows[i], source) || !topic_filter_matches(filter, m->topic))
			continue;
		memset(ret, 0, LIFECYCLE_EVENTS_MAX * sizeof(*ret));
		count = rows[i].read(&(struct reading){ source, m->topic, body, now_ms, rows[i].kind }, ret);
	}
	*ret_malformed = count == 0;
	size_t len = strlen(source->name_space);
	bool is_gateway =
		count > 0 && strncmp(ret->vehicle_id, source->name_space, len) == 0 && ret->vehicle_id[len] == '-';
	return is_gateway ? 0 : count;
}

bool topic_filter_matches(const char *filter, const char *topic)
{
	if (*topic == '$' && (*filter == '+' || *filter == '#'))
		return false;
	while (*filter && *topic) {
		if (*filter == '#')
			return true;
		if (*filter == '+') {
			filter++;
			topic += strcspn(topic, "/");
			continue;
		}
		if (*filter++ != *topic++)
			return false;
	}
	return (*filter == '\0' && *topic == '\0') || strcmp(filter, "/#") == 0 ||
	       (*topic == '\0' && strcmp(filter, "#") == 0) || (*topic == '\0' && strcmp(filter, "+") == 0);
}

/* A vehicle's request topics; which of them is its own only its registration tells. The execution stands for any: a filter
 * that names a certain one does not match it. */
static const struct {
	const char *begin, *rest;
} requests[] = {
	{ "vehicles/", "/commands/request" },
	{ "$aws/commands/things/", "/executions/+/request/json" },
};
static const char *const protocols[] = { NULL, "keyfob", "aws-commands", "keyfob aws-commands" };
#define PROTOCOLS_ALL protocols[3]

static const char *protocols_of(const json_t *topics, const char *vehicle_id)
{
	char request[128];
	unsigned found = 0;
	size_t i;
	json_t *filter;

	for (size_t row = 0; row < sizeof(requests) / sizeof(requests[0]); row++) {
		snprintf(request, sizeof(request), "%s%s%s", requests[row].begin, vehicle_id, requests[row].rest);
		json_array_foreach (topics, i, filter) {
			if (json_is_string(filter) && topic_filter_matches(json_string_value(filter), request))
				found |= 1u << row;
		}
	}
	return protocols[found];
}

/* A text of the body into a field; false when it is not there or too long. */
static bool take_text(const json_t *body, const char *key, char *ret, size_t size)
{
	const char *text = json_text_at(body, key);
	size_t len = text ? strlen(text) : 0;

	if (len == 0 || len >= size)
		return false;
	memcpy(ret, text, len + 1);
	return true;
}

/* A vehicle's id is one level of the topic. */
static bool take_id(const json_t *body, const char *key, struct lifecycle_event *ret)
{
	return take_text(body, key, ret->vehicle_id, sizeof(ret->vehicle_id)) && topic_level_is_safe(ret->vehicle_id);
}

static bool take_integer(const json_t *body, const char *key, int64_t *ret)
{
	return json_whole(json_object_get(body, key), ret);
}

/* A longer one is cut. */
static void put_reason(struct lifecycle_event *ret, const char *reason)
{
	size_t len = strlen(reason), most = sizeof(ret->reason) - 1;

	len = len <= most ? len : text_whole(reason, most);
	memcpy(ret->reason, reason, len);
	ret->reason[len] = '\0';
}

static bool take_moment(const json_t *body, const char *key, int64_t *ret)
{
	return take_integer(body, key, ret) && *ret >= 0 && *ret <= MS_MAX;
}

static bool ends_with_level(const char *topic, const char *level)
{
	const char *slash = strrchr(topic, '/');
	return slash && strcmp(slash + 1, level) == 0;
}

/* AWS IoT Developer Guide, "Lifecycle events": presence events bear a version, subscribe events the topics that they are
 * about. */
static size_t read_aws(const struct reading *r, struct lifecycle_event ret[LIFECYCLE_EVENTS_MAX])
{
	const json_t *topics = json_object_get(r->body, "topics");
	const char *reason = json_text_at(r->body, "disconnectReason");

	ret->kind = r->kind;
	if (!take_id(r->body, "clientId", ret) || !ends_with_level(r->topic, ret->vehicle_id) ||
		!take_text(r->body, "sessionIdentifier", ret->session, sizeof(ret->session)) ||
		!take_moment(r->body, "timestamp", &ret->timestamp_ms))
		return 0;
	put_reason(ret, reason ? reason : "");
	bool has_version = take_integer(r->body, "versionNumber", &ret->version);
	ret->protocols = protocols_of(topics, ret->vehicle_id);
	return (strstr(r->kind, "connected") ? has_version : json_is_array(topics)) ? 1 : 0;
}

/* lifecycle_refusal_read() was asked first: this is one that cannot be read. */
static size_t read_refusal(const struct reading *r, struct lifecycle_event ret[LIFECYCLE_EVENTS_MAX])
{
	(void)r;
	(void)ret;
	return 0;
}

bool lifecycle_refusal_read(
	const struct lifecycle_source *source, const struct mqtt_message *m, struct lifecycle_refusal *ret)
{
	size_t len = strlen(source->prefix);

	if (source->broker != LIFECYCLE_AWS || strncmp(m->topic, source->prefix, len) != 0 ||
		strncmp(m->topic + len, REFUSALS, strlen(REFUSALS)) != 0)
		return false;
	json_auto_t *body = read_body(m);
	memset(ret, 0, sizeof(*ret));
	if (!take_text(body, "clientId", ret->vehicle_id, sizeof(ret->vehicle_id)) ||
		!topic_level_is_safe(ret->vehicle_id) ||
		strcmp(m->topic + len + strlen(REFUSALS), ret->vehicle_id) != 0)
		return false;
	take_text(body, "principalIdentifier", ret->principal, sizeof(ret->principal));
	take_text(body, "ipAddress", ret->address, sizeof(ret->address));
	if (!take_integer(body, "untold", &ret->untold) || ret->untold < 0 || ret->untold > UNTOLD_MAX)
		ret->untold = 0;
	return true;
}

/* The first of several times that is there, in milliseconds; versions of EMQX differ in names and units. */
static bool take_time(const json_t *body, const char *const *keys, int64_t *ret_ms)
{
	for (; *keys; keys++) {
		if (!take_moment(body, *keys, ret_ms))
			continue;
		if (*ret_ms < SECONDS_MAX)
			*ret_ms *= 1000;
		return true;
	}
	return false;
}

static bool is_take_over(const char *reason)
{
	static const char *const names[] = { "takenover", "takeovered", "takeover", "discarded", NULL };
	for (size_t i = 0; reason && names[i]; i++) {
		if (strcmp(reason, names[i]) == 0)
			return true;
	}
	return false;
}

/* A session is known by the moment of its connect, which only connects are sure to bear. */
static size_t read_emqx(const struct reading *r, struct lifecycle_event ret[LIFECYCLE_EVENTS_MAX])
{
	static const char *const begins[] = { "connected_at", NULL };
	static const char *const ends[] = { "disconnected_at", "timestamp", "ts", NULL };
	static const char *const moments[] = { "timestamp", "ts", NULL };
	const char *topic = json_text_at(r->body, "topic"), *reason = json_text_at(r->body, "reason");
	bool is_begin = strcmp(r->kind, "connected") == 0, is_presence = strstr(r->kind, "connected") != NULL;
	char level[80];

	ret->kind = r->kind;
	if (!take_id(r->body, "clientid", ret))
		return 0;
	snprintf(level, sizeof(level), "/clients/%s/", ret->vehicle_id);
	if (strncmp(r->topic, "$SYS/", strlen("$SYS/")) == 0 && !strstr(r->topic, level))
		return 0;
	if (is_presence && take_time(r->body, begins, &ret->version))
		snprintf(ret->session, sizeof(ret->session), "@%lld", (long long)ret->version);
	else if (is_begin)
		return 0;
	if (is_begin)
		ret->timestamp_ms = ret->version;
	else if (!take_time(r->body, is_presence ? ends : moments, &ret->timestamp_ms))
		return 0;
	if (is_presence && !ret->session[0])
		ret->version = ret->timestamp_ms;
	put_reason(ret, is_take_over(reason) ? "DUPLICATE_CLIENTID" : reason ? reason : "");
	json_auto_t *topics = json_pack("[s*]", topic);
	ret->protocols = protocols_of(topics, ret->vehicle_id);
	return is_presence || topic ? 1 : 0;
}

/* vehicles/{id}/lifecycle: {"type":"birth"|"will","session":…,"version":N}. A birth comes after the subscription. */
static size_t read_own(const struct reading *r, struct lifecycle_event ret[LIFECYCLE_EVENTS_MAX])
{
	const char *type = json_text_at(r->body, "type"), *begin = r->topic + strlen("vehicles/");
	bool is_birth = type && strcmp(type, "birth") == 0;

	if (!type || (!is_birth && strcmp(type, "will") != 0) ||
		!take_text(r->body, "session", ret->session, sizeof(ret->session)) ||
		!take_integer(r->body, "version", &ret->version))
		return 0;
	size_t len = strcspn(begin, "/");
	snprintf(ret->vehicle_id, sizeof(ret->vehicle_id), "%.*s", (int)len, begin);
	if (len >= sizeof(ret->vehicle_id) || !topic_level_is_safe(ret->vehicle_id))
		return 0;
	ret->kind = is_birth ? "connected" : "disconnected";
	ret->timestamp_ms = r->now_ms;
	put_reason(ret, is_birth ? "" : "WILL");
	if (!is_birth)
		return 1;
	ret[1] = ret[0];
	ret[1].kind = "subscribed";
	ret[1].protocols = PROTOCOLS_ALL;
	return 2;
}
