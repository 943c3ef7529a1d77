/* permission.c - the table of a vehicle's topics, and the one thing that the gateway may not do. */
#include "state/broker/permission.h"

#include "state/broker/settings.h"

#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#define FILTER_MAX 256	     /* characters of a vehicle's topic filter; its longest topic has 160 */
#define SUBSCRIPTIONS_MAX 64 /* of one vehicle */
#define NAME_MAX_LEN 64	     /* of a notice */

static bool is_end(const char *id, const char *rest);
static bool is_own_feed(const char *id, const char *rest);
static bool is_notice_name(const char *id, const char *rest);
static bool is_execution_request(const char *id, const char *rest);
static bool is_execution_verdict(const char *id, const char *rest);
static bool is_execution_response(const char *id, const char *rest);

/* Below which a vehicle has a tree of its own, named by its id: Keyfob's topics, and those of AWS IoT Commands. */
enum root { KEYFOB, AWS };
static const char *const roots[] = { [KEYFOB] = "vehicles/", [AWS] = "$aws/commands/things/" };

/* The topics below ROOT/ID/: what they begin with, what may follow, and which way they go. */
static const struct rule {
	int access;
	enum root root;
	const char *start;
	bool (*may_follow)(const char *id, const char *rest);
} rules[] = {
	{ MOSQ_ACL_READ, KEYFOB, "commands/request", is_end },
	{ MOSQ_ACL_READ, KEYFOB, "commands/accepted", is_end },
	{ MOSQ_ACL_READ, KEYFOB, "commands/rejected", is_end },
	{ MOSQ_ACL_READ, KEYFOB, "state/desired", is_end },
	{ MOSQ_ACL_READ, KEYFOB, "notices/", is_notice_name },
	{ MOSQ_ACL_WRITE, KEYFOB, "commands/response/", is_own_feed },
	{ MOSQ_ACL_WRITE, KEYFOB, "state/", is_own_feed },
	{ MOSQ_ACL_WRITE, KEYFOB, "state", is_end },
	{ MOSQ_ACL_WRITE, KEYFOB, "lifecycle", is_end },
	{ MOSQ_ACL_READ, AWS, "executions/", is_execution_request },
	{ MOSQ_ACL_READ, AWS, "executions/", is_execution_verdict },
	{ MOSQ_ACL_WRITE, AWS, "executions/", is_execution_response },
};

static const char *below_own(enum root, const char *id, const char *topic);
static bool fits(const struct rule *, const struct mosquitto_evt_acl_check *, const char *id);
static bool may_follow_filter(const struct mosquitto_evt_acl_check *, const char *rest);
static bool is_below(const char *topic, const char *prefix);

bool vehicle_may(const struct mosquitto_evt_acl_check *event)
{
	const char *id = mosquitto_client_id(event->client);
	if (event->access & (MOSQ_ACL_SUBSCRIBE | MOSQ_ACL_UNSUBSCRIBE)) {
		const char *rest = below_own(KEYFOB, id, event->topic);
		if (!rest)
			rest = below_own(AWS, id, event->topic);
		return rest && may_follow_filter(event, rest);
	}
	/* What is retained in a vehicle's tree is the gateway's to say. */
	if (event->access == MOSQ_ACL_WRITE && event->retain)
		return false;
	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
		if (fits(&rules[i], event, id))
			return true;
	return false;
}

static bool fits(const struct rule *rule, const struct mosquitto_evt_acl_check *event, const char *id)
{
	size_t len = strlen(rule->start);
	const char *rest = rule->access == event->access ? below_own(rule->root, id, event->topic) : NULL;
	return rest && strncmp(rest, rule->start, len) == 0 && rule->may_follow(id, rest + len);
}

/* To mosquitto the prefix is an ordinary topic: only this keeps an event from being forged. */
bool gateway_may(const struct settings *settings, const struct mosquitto_evt_acl_check *event)
{
	if (event->access != MOSQ_ACL_WRITE || !is_below(event->topic, settings->prefix))
		return true;
	return topic_is_resync(settings, event->topic) && !event->retain;
}

bool topic_is_resync(const struct settings *settings, const char *topic)
{
	if (!is_below(topic, settings->prefix))
		return false;
	char resync[PREFIX_MAX + NAMESPACE_MAX + sizeof "//resync"];
	snprintf(resync, sizeof resync, "%s/%s/resync", settings->prefix, settings->name_space);
	return strcmp(topic, resync) == 0;
}

/* What follows ROOT/ID/ in a topic or filter of this vehicle; NULL when it is not its own. An id has no wildcard, so a
 * filter that begins so matches nothing of others, and $share/… does not begin so. */
static const char *below_own(enum root which, const char *id, const char *topic)
{
	const char *root = roots[which];
	size_t root_len = strlen(root), id_len = strlen(id);
	if (strncmp(topic, root, root_len) != 0 || strncmp(topic + root_len, id, id_len) != 0)
		return NULL;
	const char *slash = topic + root_len + id_len;
	return *slash == '/' ? slash + 1 : NULL;
}

/* Any filter will do, since reading is checked again for each message; only their number and length are bounded. */
static bool may_follow_filter(const struct mosquitto_evt_acl_check *event, const char *rest)
{
	if (*rest == '\0' || strlen(event->topic) > FILTER_MAX)
		return false;
	return event->access == MOSQ_ACL_UNSUBSCRIBE || mosquitto_client_sub_count(event->client) < SUBSCRIPTIONS_MAX;
}

static bool is_below(const char *topic, const char *prefix)
{
	size_t len = strlen(prefix);
	return strncmp(topic, prefix, len) == 0 && (topic[len] == '\0' || topic[len] == '/');
}

static bool is_end(const char *id, const char *rest)
{
	(void)id;
	return *rest == '\0';
}

/* Two digits: the CRC-32 of the id modulo 32. Another feed's reader would take the answer out of its order. */
static bool is_own_feed(const char *id, const char *rest)
{
	char feed[sizeof "31"];
	snprintf(feed, sizeof feed, "%02u", (unsigned)(crc32(0, (const Bytef *)id, (uInt)strlen(id)) % 32) & 31u);
	return strcmp(rest, feed) == 0;
}

static bool is_notice_name(const char *id, const char *rest)
{
	(void)id;
	return *rest != '\0' && strlen(rest) <= NAME_MAX_LEN && !strchr(rest, '/');
}

/* {execution}/…: one level, then exactly that. */
static bool follows_execution(const char *rest, const char *expected)
{
	size_t len = strcspn(rest, "/");
	return len > 0 && strcmp(rest + len, expected) == 0;
}

static bool is_execution_request(const char *id, const char *rest)
{
	(void)id;
	return follows_execution(rest, "/request/json");
}

static bool is_execution_verdict(const char *id, const char *rest)
{
	(void)id;
	return follows_execution(rest, "/response/accepted/json") || follows_execution(rest, "/response/rejected/json");
}

static bool is_execution_response(const char *id, const char *rest)
{
	(void)id;
	return follows_execution(rest, "/response/json");
}
