/* lifecycle.c - what brokers and vehicles say of sessions: the topic, then the payload, read as each broker's. */
#include <assert.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/mqtt/link.h"
#include "state/lifecycle_event.h"
#include "tests/fuzz/input.h"

static void judge(const struct lifecycle_event *event)
{
	static const char *const kinds[] = { "connected", "disconnected", "subscribed", "unsubscribed" };
	bool known = false;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		known = known || strcmp(kinds[i], event->kind) == 0;
	assert(known && topic_level_is_safe(event->vehicle_id) && strncmp(event->vehicle_id, "acme-", 5) != 0);
	assert(event->timestamp_ms >= 0 && event->timestamp_ms < INT64_C(253402300800000));
	json_t *reason = json_string(event->reason);
	assert(reason); /* UTF-8, wherever it was cut */
	json_decref(reason);
	assert(memchr(event->session, '\0', sizeof(event->session)) &&
		memchr(event->reason, '\0', sizeof(event->reason)));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct input in = { (const char *)bytes, len };
	char *topic = input_line(&in), *payload = input_copy(in.at, in.left);

	for (enum lifecycle_broker broker = LIFECYCLE_AWS; broker <= LIFECYCLE_VEHICLES; broker++) {
		struct lifecycle_source source = { broker, "$aws/events", "acme" };
		struct lifecycle_event events[LIFECYCLE_EVENTS_MAX];
		bool malformed;
		size_t count = lifecycle_events_read(&source,
			&(struct mqtt_message){ .topic = topic, .payload = payload, .len = in.left }, 1800000000000,
			events, &malformed);
		assert(count <= LIFECYCLE_EVENTS_MAX && !(count > 0 && malformed));
		for (size_t i = 0; i < count; i++)
			judge(&events[i]);
		struct lifecycle_refusal refusal;
		if (lifecycle_refusal_read(&source,
			    &(struct mqtt_message){ .topic = topic, .payload = payload, .len = in.left }, &refusal))
			assert(topic_level_is_safe(refusal.vehicle_id) && refusal.untold >= 0);
	}
	free(topic);
	free(payload);
	return 0;
}
