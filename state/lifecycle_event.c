/* lifecycle_event.c - reads lifecycle events; what is not exactly one is none. */
#include "state/lifecycle_event.h"

#include <stdio.h>
#include <string.h>

#include "base/ids.h"
#include "base/json.h"

static const struct {
	const char *family, *kind;
} kinds[] = {
	{ "presence", "connected" },
	{ "presence", "disconnected" },
	{ "subscriptions", "subscribed" },
	{ "subscriptions", "unsubscribed" },
};

/* The kind, and the vehicle's id behind it; NULL when the topic is another. */
static const char *read_topic(const char *prefix, const char *topic, char ret_vehicle_id[65])
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		char begin[320];
		int len = snprintf(begin, sizeof(begin), "%s/%s/%s/", prefix, kinds[i].family, kinds[i].kind);
		if (strncmp(topic, begin, (size_t)len) != 0 || !topic_level_is_safe(topic + len))
			continue;
		snprintf(ret_vehicle_id, 65, "%s", topic + len);
		return kinds[i].kind;
	}
	return NULL;
}

bool topic_filter_matches(const char *filter, const char *topic)
{
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

static bool names_requests(const json_t *topics, const char *vehicle_id)
{
	char request[128];
	size_t i;
	json_t *filter;

	snprintf(request, sizeof(request), "vehicles/%s/commands/request", vehicle_id);
	json_array_foreach (topics, i, filter) {
		if (json_is_string(filter) && topic_filter_matches(json_string_value(filter), request))
			return true;
	}
	return false;
}

bool lifecycle_event_read(
	const char *prefix, const char *topic, const char *payload, size_t len, struct lifecycle_event *ret)
{
	*ret = (struct lifecycle_event){ 0 };
	ret->kind = read_topic(prefix, topic, ret->vehicle_id);
	if (!ret->kind)
		return false;
	json_auto_t *body = json_read(payload, len);
	const char *id = json_text_at(body, "clientId"), *session = json_text_at(body, "sessionIdentifier"),
		   *reason = json_text_at(body, "disconnectReason");
	const json_t *timestamp = json_object_get(body, "timestamp"), *version = json_object_get(body, "versionNumber");

	if (!id || strcmp(id, ret->vehicle_id) != 0 || !session || !session[0] ||
		strlen(session) >= sizeof(ret->session) || !json_is_integer(timestamp))
		return false;
	snprintf(ret->session, sizeof(ret->session), "%s", session);
	snprintf(ret->reason, sizeof(ret->reason), "%s", reason ? reason : "");
	ret->timestamp_ms = json_integer_value(timestamp);
	ret->version = json_integer_value(version);
	ret->concerns_requests = names_requests(json_object_get(body, "topics"), ret->vehicle_id);
	/* Presence events bear a version, subscribe events the topics that they are about. */
	return strstr(ret->kind, "connected") ? json_is_integer(version)
					      : json_is_array(json_object_get(body, "topics"));
}
