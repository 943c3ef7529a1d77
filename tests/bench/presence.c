/* presence.c - bench-presence: publishes what a broker tells of vehicles that come or go, in AWS IoT Core's words, as fast as it takes them.
 *
 * `come` is a connect and a subscription for each vehicle, one after the other, as it happens; `go` a disconnect of the same session. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/mqtt/link.h"
#include "tests/bench/samples.h"

#define OUTSTANDING 8192

static const char *const come[] = { "presence/connected", "subscriptions/subscribed" };
static const char *const go[] = { "presence/disconnected" };

static struct {
	const char *prefix, *session;
	const char *const *kinds; /* of each vehicle, in order */
	unsigned kind_count;
	uint64_t total, published, acknowledged;
	int64_t version;
} run;

/* All that any of them has; who reads it takes what is its own. */
static void publish(struct mqtt_link *link, unsigned vehicle, const char *kind)
{
	char id[72], topic[160], payload[640];

	snprintf(id, sizeof(id), "%s%05u", run.prefix, vehicle + 1);
	snprintf(topic, sizeof(topic), "$aws/events/%s/%s", kind, id);
	int len = snprintf(payload, sizeof(payload),
		"{\"clientId\":\"%s\",\"timestamp\":%lld,\"eventType\":\"%s\",\"sessionIdentifier\":\"%s-%s\","
		"\"principalIdentifier\":\"%s\",\"ipAddress\":\"127.0.0.1\",\"versionNumber\":%lld,"
		"\"clientInitiatedDisconnect\":true,\"disconnectReason\":\"CLIENT_INITIATED_DISCONNECT\","
		"\"topics\":[\"vehicles/%s/commands/request\"]}",
		id, (long long)time(NULL) * 1000, strchr(kind, '/') + 1, run.session, id, id, (long long)run.version,
		id);
	if (link_publish(link,
		    &(struct mqtt_publish){ .topic = topic, .payload = payload, .len = (size_t)len, .qos = 1 }) < 0)
		give_up("an event could not be published");
}

static void publish_more(struct mqtt_link *link)
{
	for (; run.published < run.total && run.published - run.acknowledged < OUTSTANDING; run.published++)
		publish(link, (unsigned)(run.published / run.kind_count), run.kinds[run.published % run.kind_count]);
}

static void on_up(void *owner, struct mqtt_link *link, bool session_present)
{
	(void)owner, (void)session_present;
	publish_more(link);
}

/* A broker that has nobody to tell says so: then nothing would be measured. */
static void on_puback(void *owner, struct mqtt_link *link, int mid, int reason)
{
	(void)owner, (void)mid;
	if (reason != 0)
		give_up("the broker did not take an event: 0x%02x", (unsigned)reason);
	if (++run.acknowledged == run.total)
		exit(0);
	publish_more(link);
}

static void on_down(void *owner, struct mqtt_link *link, const char *reason)
{
	(void)owner, (void)link;
	give_up("the broker: %s", reason);
}

int main(int argc, char **argv)
{
	static struct mqtt_broker broker;
	char client_id[64];

	arguments_check(argc, argv, 5, "mqtt://HOST:PORT PREFIX VEHICLES SESSION come|go");
	if (!mqtt_url_parse(argv[1], &broker))
		give_up("%s is no mqtt://HOST:PORT", argv[1]);
	bool comes = strcmp(argv[5], "come") == 0;
	run.prefix = argv[2];
	run.session = argv[4];
	run.kinds = comes ? come : go;
	run.kind_count = comes ? 2 : 1;
	run.total = (uint64_t)argument_number(argv[3]) * run.kind_count;
	run.version = strtoll(run.session, NULL, 10);
	log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
	snprintf(client_id, sizeof(client_id), "bench-presence-%d", (int)getpid());
	struct loop *loop = loop_new();
	link_start(link_new(loop, &broker,
		&(struct mqtt_link_options){
			.client_id = client_id, .on_up = on_up, .on_down = on_down, .on_puback = on_puback }));
	loop_run(loop);
	return 1;
}
