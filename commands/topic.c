/* topic.c - builds and reads the topics of commands. */
#include "commands/topic.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/ids.h"

static void build(const char *vehicle_id, const char *rest, char out[TOPIC_SIZE])
{
	assert(topic_level_is_safe(vehicle_id)); /* so it is no longer than 64 */
	stpcpy(stpcpy(stpcpy(stpcpy(out, "vehicles/"), vehicle_id), "/commands/"), rest);
}

unsigned topic_feed(const char *vehicle_id)
{
	return crc32_of(vehicle_id, strlen(vehicle_id)) % FEED_COUNT;
}

void topic_feed_name(const char *vehicle_id, char out[FEED_NAME_SIZE])
{
	unsigned feed = topic_feed(vehicle_id);
	out[0] = (char)('0' + feed / 10);
	out[1] = (char)('0' + feed % 10);
	out[2] = '\0';
}

void topic_request(const char *vehicle_id, char out[TOPIC_SIZE])
{
	build(vehicle_id, "request", out);
}

void topic_response(const char *vehicle_id, char out[TOPIC_SIZE])
{
	char rest[] = "response/00";
	topic_feed_name(vehicle_id, rest + strlen(rest) - 2);
	build(vehicle_id, rest, out);
}

void topic_verdict(const char *vehicle_id, bool accepted, char out[TOPIC_SIZE])
{
	build(vehicle_id, accepted ? "accepted" : "rejected", out);
}

/* One level after `prefix`, which may be a level (topic_level_is_safe); what follows it, or NULL. */
static const char *read_level(const char *topic, const char *prefix, char ret[65])
{
	char level[65];

	if (strncmp(topic, prefix, strlen(prefix)) != 0)
		return NULL;
	const char *begin = topic + strlen(prefix);
	size_t len = strcspn(begin, "/");
	if (len >= sizeof(level))
		return NULL;
	memcpy(level, begin, len);
	level[len] = '\0';
	if (!topic_level_is_safe(level))
		return NULL;
	memcpy(ret, level, len + 1);
	return begin + len;
}

bool topic_response_read(const char *topic, char ret_vehicle_id[65])
{
	char expected[TOPIC_SIZE], id[65];

	if (!read_level(topic, "vehicles/", id))
		return false;
	topic_response(id, expected);
	if (strcmp(topic, expected) != 0)
		return false;
	memcpy(ret_vehicle_id, id, sizeof(id));
	return true;
}

static const char things[] = "$aws/commands/things/", executions[] = "/executions/";

void topic_execution(const char *vehicle_id, const char *execution, const char *rest, char out[TOPIC_SIZE])
{
	assert(topic_level_is_safe(vehicle_id) && topic_level_is_safe(execution));
	snprintf(out, TOPIC_SIZE, "%s%s%s%s/%s", things, vehicle_id, executions, execution, rest);
}

bool topic_execution_read(const char *topic, const char *rest, char ret_vehicle_id[65], char ret_execution[65])
{
	char id[65], execution[65];
	const char *behind = read_level(topic, things, id);

	if (behind)
		behind = read_level(behind, executions, execution);
	if (!behind || *behind != '/' || strcmp(behind + 1, rest) != 0)
		return false;
	memcpy(ret_vehicle_id, id, sizeof(id));
	memcpy(ret_execution, execution, sizeof(execution));
	return true;
}
