/* lifecycle_event_test.c - every form in which it is told that a vehicle comes or goes, and what is none of them. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/mqtt/link.h"
#include "state/lifecycle_event.h"
#include "tests/suite.h"

#define NOW_MS 1700000000999

static const struct lifecycle_source aws = { LIFECYCLE_AWS, "$aws/events", "keyfob" },
				     emqx = { LIFECYCLE_EMQX, "$aws/events", "keyfob" },
				     vehicles = { LIFECYCLE_VEHICLES, "$aws/events", "keyfob" };

#define AWS(rest) "{\"clientId\":\"V1\",\"timestamp\":1700000000000,\"sessionIdentifier\":\"s1\"," rest "}"

static const struct told {
	const struct lifecycle_source *source;
	const char *topic, *payload;
	size_t count;
	const char *kind, *session;
	int64_t version, timestamp_ms;
	const char *reason;
	const char *protocols;
} told[] = {
	{ &aws, "$aws/events/presence/connected/V1", AWS("\"versionNumber\":7"), 1, "connected", "s1", 7, 1700000000000,
		"", NULL },
	{ &aws, "$aws/events/presence/disconnected/V1",
		AWS("\"versionNumber\":7,\"disconnectReason\":\"DUPLICATE_CLIENTID\""), 1, "disconnected", "s1", 7,
		1700000000000, "DUPLICATE_CLIENTID", NULL },
	{ &aws, "$aws/events/subscriptions/subscribed/V1", AWS("\"topics\":[\"a\",\"vehicles/+/commands/#\"]"), 1,
		"subscribed", "s1", 0, 1700000000000, "", "keyfob" },
	{ &aws, "$aws/events/subscriptions/subscribed/V1",
		AWS("\"topics\":[\"$aws/commands/things/V1/executions/+/request/json\"]"), 1, "subscribed", "s1", 0,
		1700000000000, "", "aws-commands" },
	{ &aws, "$aws/events/subscriptions/subscribed/V1",
		AWS("\"topics\":[\"vehicles/V1/#\",\"$aws/commands/things/V1/#\"]"), 1, "subscribed", "s1", 0,
		1700000000000, "", "keyfob aws-commands" },
	{ &aws, "$aws/events/subscriptions/subscribed/V1",
		AWS("\"topics\":[\"$aws/commands/things/V1/executions/7/request/json\","
		    "\"$aws/commands/things/V1/executions/+/request/cbor\","
		    "\"$aws/commands/clients/V1/executions/+/request/json\","
		    "\"$aws/commands/things/V2/executions/+/request/json\"]"),
		1, "subscribed", "s1", 0, 1700000000000, "", NULL },
	/* MQTT 5 §4.7.2: no wildcard in front matches a $ */
	{ &aws, "$aws/events/subscriptions/subscribed/V1", AWS("\"topics\":[\"#\"]"), 1, "subscribed", "s1", 0,
		1700000000000, "", "keyfob" },
	{ &aws, "$aws/events/subscriptions/unsubscribed/V1",
		AWS("\"topics\":[\"+/commands/things/V1/executions/+/request/json\"]"), 1, "unsubscribed", "s1", 0,
		1700000000000, "", NULL },
	{ &aws, "$aws/events/subscriptions/unsubscribed/V1", AWS("\"topics\":[\"vehicles/V2/commands/request\"]"), 1,
		"unsubscribed", "s1", 0, 1700000000000, "", NULL },
	{ &emqx, "$SYS/brokers/emqx@10.0.0.1/clients/V1/connected",
		"{\"clientid\":\"V1\",\"connected_at\":1700000000000,\"ts\":1700000000001,\"clean_start\":true}", 1,
		"connected", "@1700000000000", 1700000000000, 1700000000000, "", NULL },
	{ &emqx, "$SYS/brokers/emqx@10.0.0.1/clients/V1/disconnected",
		"{\"clientid\":\"V1\",\"disconnected_at\":1700000000005,\"ts\":1700000000006,\"reason\":\"tcp_"
		"closed\"}",
		1, "disconnected", "", 1700000000005, 1700000000005, "tcp_closed", NULL },
	{ &emqx, "$events/client_disconnected",
		"{\"clientid\":\"V1\",\"connected_at\":1700000000,\"disconnected_at\":1700000005,\"reason\":"
		"\"takenover\"}",
		1, "disconnected", "@1700000000000", 1700000000000, 1700000005000, "DUPLICATE_CLIENTID", NULL },
	{ &emqx, "$events/client_disconnected",
		"{\"clientid\":\"V1\",\"timestamp\":1700000000005,\"reason\":\"discarded\"}", 1, "disconnected", "",
		1700000000005, 1700000000005, "DUPLICATE_CLIENTID", NULL },
	{ &emqx, "$events/session_subscribed",
		"{\"clientid\":\"V1\",\"topic\":\"vehicles/V1/commands/request\",\"timestamp\":1700000000002}", 1,
		"subscribed", "", 0, 1700000000002, "", "keyfob" },
	{ &emqx, "$events/session_unsubscribed", "{\"clientid\":\"V1\",\"topic\":\"x\",\"timestamp\":1700000000002}", 1,
		"unsubscribed", "", 0, 1700000000002, "", NULL },
	{ &aws, "vehicles/V1/lifecycle", "{\"type\":\"birth\",\"session\":\"b1\",\"version\":3}", 2, "connected", "b1",
		3, NOW_MS, "", NULL },
	{ &emqx, "vehicles/V1/lifecycle", "{\"type\":\"will\",\"session\":\"b1\",\"version\":3}", 1, "disconnected",
		"b1", 3, NOW_MS, "WILL", NULL },
};

static size_t read_message(const struct lifecycle_source *source, const char *topic, const char *payload,
	struct lifecycle_event ret[LIFECYCLE_EVENTS_MAX], bool *ret_malformed)
{
	return lifecycle_events_read(source,
		&(struct mqtt_message){ .topic = topic, .payload = payload, .len = strlen(payload) }, NOW_MS, ret,
		ret_malformed);
}

START_TEST(an_event_says_what_it_says)
{
	const struct told *t = &told[_i];
	struct lifecycle_event e[LIFECYCLE_EVENTS_MAX];
	bool malformed;

	ck_assert_uint_eq(read_message(t->source, t->topic, t->payload, e, &malformed), t->count);
	ck_assert(!malformed);
	ck_assert_str_eq(e[0].vehicle_id, "V1");
	ck_assert_str_eq(e[0].kind, t->kind);
	ck_assert_str_eq(e[0].session, t->session);
	ck_assert_int_eq(e[0].version, t->version);
	ck_assert_int_eq(e[0].timestamp_ms, t->timestamp_ms);
	ck_assert_str_eq(e[0].reason, t->reason);
	ck_assert_pstr_eq(e[0].protocols, t->protocols);
	if (t->count == 2) {
		ck_assert_str_eq(e[1].kind, "subscribed");
		ck_assert_str_eq(e[1].session, t->session);
		ck_assert_str_eq(e[1].protocols, "keyfob aws-commands");
	}
}
END_TEST

static const struct {
	const struct lifecycle_source *source;
	const char *topic, *payload;
} wrong[] = {
	{ &aws, "$aws/events/presence/connected/V2", AWS("\"versionNumber\":7") },
	{ &aws, "$aws/events/presence/connected/V1", AWS("\"versionNumber\":\"7\"") },
	{ &aws, "$aws/events/subscriptions/subscribed/V1", AWS("\"topics\":\"vehicles/V1/commands/request\"") },
	{ &aws, "$aws/events/presence/connected/V1", "{\"clientId\":\"V1\",\"timestamp\":1,\"versionNumber\":1}" },
	{ &aws, "$aws/events/presence/connected/V1", "" },
	{ &aws, "$aws/events/presence/connected/V1", "[]" },
	{ &aws, "$events/client_connected", "{\"clientid\":\"V1\",\"connected_at\":1700000000000}" },
	{ &emqx, "$aws/events/presence/connected/V1", AWS("\"versionNumber\":7") },
	{ &emqx, "$SYS/brokers/n/clients/V2/connected", "{\"clientid\":\"V1\",\"connected_at\":1700000000000}" },
	{ &emqx, "$events/client_connected", "{\"clientid\":\"V1\"}" },
	{ &emqx, "$events/client_connected", "{\"clientid\":\"a/b\",\"connected_at\":1700000000000}" },
	{ &emqx, "$events/session_subscribed", "{\"clientid\":\"V1\",\"timestamp\":1700000000000}" },
	/* no times */
	{ &aws, "$aws/events/presence/connected/V1",
		"{\"clientId\":\"V1\",\"timestamp\":-1,\"sessionIdentifier\":\"s1\",\"versionNumber\":7}" },
	{ &aws, "$aws/events/presence/connected/V1",
		"{\"clientId\":\"V1\",\"timestamp\":9223372036854775807,\"sessionIdentifier\":\"s1\",\"versionNumber\":"
		"7}" },
	{ &emqx, "$events/client_connected", "{\"clientid\":\"V1\",\"connected_at\":253402300800000}" },
	{ &emqx, "$events/client_disconnected", "{\"clientid\":\"V1\",\"disconnected_at\":-358000081700000001}" },
	{ &aws, "vehicles/V1/lifecycle", "{\"type\":\"death\",\"session\":\"b1\",\"version\":3}" },
	{ &aws, "vehicles/V1/lifecycle", "{\"type\":\"birth\",\"session\":\"\",\"version\":3}" },
	{ &aws, "vehicles/V1/lifecycle", "{\"type\":\"birth\",\"session\":\"b1\"}" },
};

START_TEST(what_is_not_exactly_one_is_none)
{
	struct lifecycle_event e[LIFECYCLE_EVENTS_MAX];
	bool malformed;

	ck_assert_uint_eq(read_message(wrong[_i].source, wrong[_i].topic, wrong[_i].payload, e, &malformed), 0);
	ck_assert(malformed);
}
END_TEST

START_TEST(a_long_reason_is_cut_between_characters)
{
	struct lifecycle_event e[LIFECYCLE_EVENTS_MAX];
	char payload[256], letters[63];
	bool malformed;

	memset(letters, 'x', 62);
	letters[62] = '\0';
	snprintf(payload, sizeof(payload),
		"{\"clientid\":\"V1\",\"disconnected_at\":1700000000000,\"reason\":\"%s\xc3\xa9\"}", letters);
	ck_assert_uint_eq(read_message(&emqx, "$events/client_disconnected", payload, e, &malformed), 1);
	ck_assert_str_eq(e[0].reason, letters);
}
END_TEST

START_TEST(the_gateway_is_no_vehicle)
{
	struct lifecycle_event e[LIFECYCLE_EVENTS_MAX];
	bool malformed;

	ck_assert_uint_eq(read_message(&emqx, "$events/client_connected",
				  "{\"clientid\":\"keyfob-feed-07\",\"connected_at\":1700000000000}", e, &malformed),
		0);
	ck_assert(!malformed);
}
END_TEST

/* A vehicle may write its own; JSON takes many times its text in memory. */
START_TEST(what_is_too_large_is_not_read)
{
	struct lifecycle_event e[LIFECYCLE_EVENTS_MAX];
	static const char will[] = "{\"type\":\"will\",\"session\":\"b1\",\"version\":3}";
	static char payload[128 * 1024 + 2];
	bool malformed;

	memset(payload, ' ', sizeof(payload) - 1);
	memcpy(payload, will, sizeof(will) - 1);
	ck_assert_uint_eq(read_message(&vehicles, "vehicles/V1/lifecycle", payload, e, &malformed), 0);
	ck_assert(malformed);
	payload[128 * 1024] = '\0';
	ck_assert_uint_eq(read_message(&vehicles, "vehicles/V1/lifecycle", payload, e, &malformed), 1);
}
END_TEST

START_TEST(filters_are_of_the_source)
{
	char filters[LIFECYCLE_FILTERS_MAX][LIFECYCLE_FILTER_SIZE];

	ck_assert_uint_eq(lifecycle_filters(&aws, filters), 6);
	ck_assert_str_eq(filters[0], "$aws/events/presence/connected/+");
	ck_assert_str_eq(filters[4], "$aws/events/presence/connect_failed/+");
	ck_assert_str_eq(filters[5], "vehicles/+/lifecycle");
	ck_assert_uint_eq(lifecycle_filters(&emqx, filters), 7);
	ck_assert_str_eq(filters[0], "$SYS/brokers/+/clients/+/connected");
	ck_assert_uint_eq(lifecycle_filters(&vehicles, filters), 1);
	ck_assert_str_eq(filters[0], "vehicles/+/lifecycle");
}
END_TEST

static bool read_refused(
	const struct lifecycle_source *source, const char *topic, const char *payload, struct lifecycle_refusal *ret)
{
	return lifecycle_refusal_read(
		source, &(struct mqtt_message){ .topic = topic, .payload = payload, .len = strlen(payload) }, ret);
}

/* AWS's own has a certificate's id in it, and nothing untold. */
START_TEST(a_refused_connect_says_who_and_from_where)
{
	static const char topic[] = "$aws/events/presence/connect_failed/V1";
	struct lifecycle_refusal r;
	struct lifecycle_event e[LIFECYCLE_EVENTS_MAX];
	bool malformed;

	ck_assert(read_refused(&aws, topic,
		"{\"clientId\":\"V1\",\"timestamp\":1700000000000,\"eventType\":\"connect_failed\","
		"\"connectFailureReason\":\"AUTHORIZATION_FAILED\","
		"\"principalIdentifier\":\"V2\",\"ipAddress\":\"192.0.2.7\",\"untold\":4}",
		&r));
	ck_assert_str_eq(r.vehicle_id, "V1");
	ck_assert_str_eq(r.principal, "V2");
	ck_assert_str_eq(r.address, "192.0.2.7");
	ck_assert_int_eq(r.untold, 4);
	ck_assert(read_refused(&aws, topic, "{\"clientId\":\"V1\",\"principalIdentifier\":null}", &r));
	ck_assert_str_eq(r.principal, "");
	ck_assert_int_eq(r.untold, 0);
	ck_assert(read_refused(&aws, topic, "{\"clientId\":\"V1\",\"untold\":9223372036854775807}", &r));
	ck_assert_int_eq(r.untold, 0);
	ck_assert(!read_refused(&aws, topic, "{\"clientId\":\"V2\"}", &r));
	ck_assert(!read_refused(&aws, topic, "{", &r));
	ck_assert(!read_refused(&aws, "$aws/events/presence/connect_failed/a+b", "{\"clientId\":\"a+b\"}", &r));
	ck_assert(!read_refused(&aws, "$aws/events/presence/connected/V1", "{\"clientId\":\"V1\"}", &r));
	ck_assert(!read_refused(&emqx, topic, "{\"clientId\":\"V1\"}", &r));
	ck_assert_uint_eq(read_message(&aws, topic, "{", e, &malformed), 0);
	ck_assert(malformed);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("lifecycle event");
	TCase *tc = tcase_create("lifecycle event");

	tcase_add_loop_test(tc, an_event_says_what_it_says, 0, (int)(sizeof(told) / sizeof(told[0])));
	tcase_add_loop_test(tc, what_is_not_exactly_one_is_none, 0, (int)(sizeof(wrong) / sizeof(wrong[0])));
	tcase_add_test(tc, a_long_reason_is_cut_between_characters);
	tcase_add_test(tc, the_gateway_is_no_vehicle);
	tcase_add_test(tc, what_is_too_large_is_not_read);
	tcase_add_test(tc, filters_are_of_the_source);
	tcase_add_test(tc, a_refused_connect_says_who_and_from_where);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
