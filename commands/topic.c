/* topic.c - builds and reads the topics of commands. */
#include "commands/topic.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/ids.h"

static void build(const char *vehicle_id, const char *rest, char out[TOPIC_SIZE])
{
	assert(topic_level_is_safe(vehicle_id));
	snprintf(out, TOPIC_SIZE, "vehicles/%s/commands/%s", vehicle_id, rest);
}

unsigned topic_feed(const char *vehicle_id)
{
	return crc32_of(vehicle_id, strlen(vehicle_id)) % FEED_COUNT;
}

void topic_feed_name(const char *vehicle_id, char out[FEED_NAME_SIZE])
{
	snprintf(out, FEED_NAME_SIZE, "%02u", topic_feed(vehicle_id) % 100);
}

void topic_request(const char *vehicle_id, char out[TOPIC_SIZE])
{
	build(vehicle_id, "request", out);
}

void topic_response(const char *vehicle_id, char out[TOPIC_SIZE])
{
	char rest[32], feed[FEED_NAME_SIZE];
	topic_feed_name(vehicle_id, feed);
	snprintf(rest, sizeof(rest), "response/%s", feed);
	build(vehicle_id, rest, out);
}

void topic_verdict(const char *vehicle_id, bool accepted, char out[TOPIC_SIZE])
{
	build(vehicle_id, accepted ? "accepted" : "rejected", out);
}

bool topic_response_read(const char *topic, char ret_vehicle_id[65])
{
	static const char prefix[] = "vehicles/";
	char expected[TOPIC_SIZE], id[65];

	if (strncmp(topic, prefix, strlen(prefix)) != 0)
		return false;
	const char *begin = topic + strlen(prefix);
	size_t len = strcspn(begin, "/");
	if (len == 0 || len >= sizeof(id))
		return false;
	memcpy(id, begin, len);
	id[len] = '\0';
	if (!topic_level_is_safe(id))
		return false;
	topic_response(id, expected);
	if (strcmp(topic, expected) != 0)
		return false;
	memcpy(ret_vehicle_id, id, len + 1);
	return true;
}
