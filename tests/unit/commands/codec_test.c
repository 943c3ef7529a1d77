/* codec_test.c - both protocols, table by table: what goes out, what comes in, and what is refused by which name. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "base/mqtt/link.h"
#include "commands/codec.h"
#include "tests/suite.h"

#define ID "0192f3c8-0000-7000-8000-00000000abcd"
#define UPPER_ID "0192F3C8-0000-7000-8000-00000000ABCD"
#define FEED "vehicles/V1/commands/response/23"
#define EXECUTION(id) "$aws/commands/things/V1/executions/" id
#define RESPONSE EXECUTION(ID) "/response/json"

/* A table in one test: a test is a process, and the sanitizers make each a slow one. */
#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

static const struct codec *const codecs[] = { &CODEC_KEYFOB, &CODEC_AWS };

START_TEST(a_protocol_is_known_by_its_name)
{
	ck_assert_ptr_eq(codec_of("keyfob"), &CODEC_KEYFOB);
	ck_assert_ptr_eq(codec_of("aws-commands"), &CODEC_AWS);
	ck_assert_ptr_null(codec_of("aws"));
	ck_assert_ptr_null(codec_of(""));
}
END_TEST

/* Outwards. */

static const struct {
	const struct codec *codec;
	const char *params, *sealed, *topic, *response_topic, *payload;
} requests[] = {
	{ &CODEC_KEYFOB, "{\"door\":\"all\"}", NULL, "vehicles/V1/commands/request", FEED,
		"{\"request_id\":\"" ID "\",\"response_topic\":\"" FEED
		"\",\"name\":\"doors.unlock\",\"params\":{\"door\":\"all\"},"
		"\"issued_at\":\"I\",\"expires_at\":\"E\",\"attempt\":2}" },
	{ &CODEC_KEYFOB, NULL, "x\"y", "vehicles/V1/commands/request", FEED,
		"{\"request_id\":\"" ID "\",\"response_topic\":\"" FEED
		"\",\"name\":\"doors.unlock\",\"sealed_params\":\"x\\\"y\","
		"\"issued_at\":\"I\",\"expires_at\":\"E\",\"attempt\":2}" },
	{ &CODEC_AWS, "{\"door\":\"all\"}", NULL, EXECUTION(ID) "/request/json", RESPONSE, "{\"door\":\"all\"}" },
	{ &CODEC_AWS, NULL, NULL, EXECUTION(ID) "/request/json", RESPONSE, "{}" },
	{ &CODEC_AWS, NULL, "x\"y", EXECUTION(ID) "/request/json", RESPONSE, "{\"sealed_params\":\"x\\\"y\"}" },
};

START_TEST(a_request_goes_out)
{
	for (size_t i = 0; i < ROWS(requests); i++) {
		const struct codec_request request = { .vehicle_id = "V1",
			.id = ID,
			.name = "doors.unlock",
			.params = requests[i].params,
			.sealed_params = requests[i].sealed,
			.issued_at = "I",
			.expires_at = "E",
			.attempt = 2 };
		char topic[TOPIC_SIZE], response_topic[TOPIC_SIZE];
		struct text payload = { 0 };

		requests[i].codec->write_topics(&request, topic, response_topic);
		requests[i].codec->write_request(&request, &payload);
		ck_assert_str_eq(topic, requests[i].topic);
		ck_assert_str_eq(response_topic, requests[i].response_topic);
		ck_assert_str_eq(payload.data, requests[i].payload);
		text_free(&payload);
	}
}
END_TEST

/* Inwards: topics. */

static const struct {
	const char *topic;
	const struct codec *codec; /* NULL: nobody's */
	const char *vehicle_id, *execution;
} topics[] = {
	{ FEED, &CODEC_KEYFOB, "V1", "" },
	{ "vehicles/V1/commands/response/24", NULL, NULL, NULL },
	{ "vehicles/V1/commands/response", NULL, NULL, NULL },
	{ "vehicles//commands/response/00", NULL, NULL, NULL },
	{ RESPONSE, &CODEC_AWS, "V1", ID },
	{ EXECUTION("anything.goes") "/response/json", &CODEC_AWS, "V1", "anything.goes" },
	{ EXECUTION(ID) "/response/json/", NULL, NULL, NULL },
	{ EXECUTION(ID) "/response/cbor", NULL, NULL, NULL },
	{ EXECUTION(ID) "/response", NULL, NULL, NULL },
	{ EXECUTION(ID) "/request/json", NULL, NULL, NULL },
	{ EXECUTION("") "/response/json", NULL, NULL, NULL },
	{ EXECUTION("a b") "/response/json", NULL, NULL, NULL },
	{ EXECUTION("a\"b") "/response/json", NULL, NULL, NULL },
	{ EXECUTION("0123456789012345678901234567890123456789012345678901234567890123") "/response/json", &CODEC_AWS,
		"V1", "0123456789012345678901234567890123456789012345678901234567890123" },
	{ EXECUTION("01234567890123456789012345678901234567890123456789012345678901234") "/response/json", NULL, NULL,
		NULL },
	{ "$aws/commands/things//executions/" ID "/response/json", NULL, NULL, NULL },
	{ "$aws/commands/things/V 1/executions/" ID "/response/json", NULL, NULL, NULL },
	{ "$aws/commands/clients/V1/executions/" ID "/response/json", NULL, NULL, NULL },
	{ "", NULL, NULL, NULL },
};

START_TEST(a_topic_says_whose_response_it_is)
{
	for (size_t i = 0; i < ROWS(topics); i++) {
		struct codec_response r = { 0 };

		ck_assert_int_eq(codec_read_topic(topics[i].topic, &r), topics[i].codec != NULL);
		ck_assert_ptr_eq(r.codec, topics[i].codec);
		if (topics[i].codec) {
			ck_assert_str_eq(r.vehicle_id, topics[i].vehicle_id);
			ck_assert_str_eq(r.execution, topics[i].execution);
		}
		codec_response_done(&r);
	}
}
END_TEST

/* Inwards: payloads. */

static const struct refusal *read_response(
	const char *topic, const char *payload, size_t len, const char *correlation, struct codec_response *ret)
{
	ck_assert(codec_read_topic(topic, ret));
	return ret->codec->read_body(&(struct mqtt_message){ .topic = topic,
					     .payload = payload,
					     .len = len,
					     .correlation = correlation,
					     .correlation_len = correlation ? strlen(correlation) : 0 },
		ret);
}

static const struct {
	const char *topic, *payload, *event, *reason, *result, *sealed;
	bool has_state;
	int64_t state_version;
} read[] = {
	{ FEED, "{\"request_id\":\"" UPPER_ID "\",\"status\":\"in_progress\"}", "in_progress", NULL, NULL, NULL, false,
		-1 },
	{ FEED,
		"{\"request_id\":\"" ID
		"\",\"status\":\"failed\",\"reason\":{\"description\":\"d\",\"code\":\"C\"},\"result\":null,"
		"\"state\":{\"a\":1},\"state_version\":8}",
		"failed", "{\"code\":\"C\",\"description\":\"d\"}", NULL, NULL, true, 8 },
	{ FEED, "{\"request_id\":\"" ID "\",\"status\":\"succeeded\",\"result\":[1],\"sealed_result\":\"s\"}",
		"succeeded", NULL, "[1]", "s", false, -1 },
	{ FEED, "{\"request_id\":\"" ID "\",\"status\":\"rejected\",\"reason\":null}", "rejected", NULL, NULL, NULL,
		false, -1 },
	{ FEED,
		"{\"request_id\":\"" ID "\",\"status\":\"succeeded\",\"result\":null,\"sealed_result\":null,"
		"\"state\":null,\"state_version\":null}",
		"succeeded", NULL, NULL, NULL, false, -1 },
	{ FEED, "{\"request_id\":\"" ID "\",\"status\":\"succeeded\",\"state\":{},\"state_version\":8.0}", "succeeded",
		NULL, NULL, NULL, true, 8 },

	{ RESPONSE, "{\"status\":\"IN_PROGRESS\"}", "in_progress", NULL, NULL, NULL, false, -1 },
	{ RESPONSE, "{\"status\":\"SUCCEEDED\",\"statusReason\":null,\"result\":null}", "succeeded", NULL, NULL, NULL,
		false, -1 },
	{ RESPONSE, "{\"status\":\"REJECTED\",\"executionId\":\"other\",\"deviceId\":\"V9\"}", "rejected", NULL, NULL,
		NULL, false, -1 },
	{ RESPONSE, "{\"status\":\"FAILED\",\"statusReason\":{\"reasonCode\":\"DOOR-OPEN_7\"}}", "failed",
		"{\"code\":\"DOOR-OPEN_7\"}", NULL, NULL, false, -1 },
	{ RESPONSE,
		"{\"status\":\"FAILED\",\"statusReason\":{\"reasonCode\":\"200\",\"reasonDescription\":\"a "
		"\\\"door\\\" → \"}}",
		"failed", "{\"code\":\"200\",\"description\":\"a \\\"door\\\" → \"}", NULL, NULL, false, -1 },
	{ RESPONSE, "{\"status\":\"FAILED\",\"statusReason\":{\"reasonCode\":\"A\",\"reasonDescription\":null}}",
		"failed", "{\"code\":\"A\"}", NULL, NULL, false, -1 },
	{ RESPONSE,
		"{\"status\":\"SUCCEEDED\",\"result\":{\"soc\":{\"s\":\"87\"},\"on\":{\"b\":false},\"raw\":{\"bin\":"
		"\"AAE=\"}}}",
		"succeeded", NULL, "{\"on\":false,\"raw\":\"AAE=\",\"soc\":\"87\"}", NULL, false, -1 },
	{ RESPONSE, "{\"status\":\"SUCCEEDED\",\"result\":{}}", "succeeded", NULL, "{}", NULL, false, -1 },
	{ RESPONSE, "{\"status\":\"SUCCEEDED\",\"result\":{\"a\":{\"bin\":\"\"}}}", "succeeded", NULL, "{\"a\":\"\"}",
		NULL, false, -1 },
	{ RESPONSE, "{\"status\":\"SUCCEEDED\",\"result\":{\"sealed_result\":{\"s\":\"x\"}}}", "succeeded", NULL, NULL,
		"x", false, -1 },
	{ RESPONSE, "{\"status\":\"SUCCEEDED\",\"result\":{\"sealed_result\":{\"s\":\"x\"},\"a\":{\"b\":true}}}",
		"succeeded", NULL, "{\"a\":true}", "x", false, -1 },
	/* the vehicle's own time-out is its last word */
	{ RESPONSE, "{\"status\":\"TIMED_OUT\"}", "failed", "{\"code\":\"TIMED_OUT\"}", NULL, NULL, false, -1 },
	{ RESPONSE, "{\"status\":\"TIMED_OUT\",\"statusReason\":{\"reasonCode\":\"SLOW\"}}", "failed",
		"{\"code\":\"SLOW\"}", NULL, NULL, false, -1 },
};

START_TEST(a_response_comes_in)
{
	for (size_t i = 0; i < ROWS(read); i++) {
		struct codec_response r = { 0 };

		ck_assert_ptr_null(read_response(read[i].topic, read[i].payload, strlen(read[i].payload), NULL, &r));
		ck_assert_str_eq(r.vehicle_id, "V1");
		ck_assert_str_eq(r.id, ID);
		ck_assert_str_eq(r.event, read[i].event);
		ck_assert_pstr_eq(r.reason, read[i].reason);
		ck_assert_pstr_eq(r.result, read[i].result);
		ck_assert_pstr_eq(r.sealed, read[i].sealed);
		ck_assert_int_eq(r.state != NULL, read[i].has_state);
		ck_assert_int_eq(r.state_version, read[i].state_version);
		codec_response_done(&r);
	}
}
END_TEST

/* Each with what the vehicle hears. */
static const struct {
	const char *topic, *correlation, *payload, *word;
} refused[] = {
	{ FEED, NULL, "{\"status\":\"succeeded\"}", "\"code\":\"MALFORMED\"" },
	{ FEED, ID, "not JSON", "{\"request_id\":\"" ID "\",\"code\":\"MALFORMED\"" },
	{ FEED, ID, "[]", "{\"request_id\":\"" ID "\",\"code\":\"MALFORMED\"" },
	{ FEED, "7", "{\"status\":\"succeeded\"}", "{\"request_id\":\"7\",\"code\":\"UNKNOWN_REQUEST\"" },
	{ FEED, NULL, "{\"request_id\":\"\\u00e9\",\"status\":\"succeeded\"}",
		"{\"request_id\":null,\"code\":\"UNKNOWN_REQUEST\"" },
	{ FEED, ID, "{\"request_id\":\"x\",\"status\":\"succeeded\"}", "\"code\":\"MALFORMED\"" },
	{ FEED, ID, "{\"status\":\"SUCCEEDED\"}", "\"code\":\"MALFORMED\"" },
	{ FEED, ID, "{\"status\":\"failed\",\"reason\":\"x\"}", "\"code\":\"MALFORMED\"" },
	{ FEED, ID, "{\"status\":\"failed\",\"reason\":{\"code\":\"X\",\"description\":7}}", "\"code\":\"MALFORMED\"" },
	{ FEED, ID, "{\"status\":\"failed\",\"reason\":{\"code\":\"X\",\"by\":[]}}", "\"code\":\"MALFORMED\"" },
	{ FEED, ID, "{\"request_id\":7,\"status\":\"succeeded\"}",
		"{\"request_id\":\"" ID "\",\"code\":\"MALFORMED\"" },
	{ FEED, ID, "{\"status\":\"succeeded\",\"sealed_result\":{}}", "\"code\":\"MALFORMED\"" },
	{ FEED, ID, "{\"status\":\"succeeded\",\"state\":[]}", "\"code\":\"MALFORMED\"" },
	{ FEED, ID, "{\"status\":\"succeeded\",\"state\":{},\"state_version\":\"8\"}", "\"code\":\"MALFORMED\"" },
	{ FEED, ID, "{\"status\":\"succeeded\",\"state\":{},\"state_version\":8.5}", "\"code\":\"MALFORMED\"" },

	{ RESPONSE, NULL, "", "\"error\":\"InvalidJson\"" },
	{ RESPONSE, NULL, "{\"status\":\"SUCCEEDED\"", "\"error\":\"InvalidJson\"" },
	{ RESPONSE, NULL, "{\"status\":\"FAILED\",\"status\":\"SUCCEEDED\"}", "\"error\":\"InvalidJson\"" },
	{ RESPONSE, NULL, "{\"status\":\"\xff\"}", "\"error\":\"InvalidJson\"" },
	{ RESPONSE, NULL, "[]", "\"error\":\"InvalidRequest\"" },
	{ RESPONSE, NULL, "{}", "\"error\":\"InvalidRequest\"" },
	{ RESPONSE, NULL, "{\"status\":7}", "\"error\":\"InvalidRequest\"" },
	{ RESPONSE, NULL, "{\"status\":\"succeeded\"}", "\"error\":\"InvalidRequest\"" },
	{ RESPONSE, NULL, "{\"status\":\"CREATED\"}", "\"error\":\"InvalidRequest\"" },
	{ RESPONSE, NULL, "{\"status\":\"FAILED\",\"statusReason\":\"x\"}", "\"error\":\"InvalidRequest\"" },
	{ RESPONSE, NULL, "{\"status\":\"FAILED\",\"statusReason\":{}}", "\"error\":\"InvalidRequest\"" },
	{ RESPONSE, NULL, "{\"status\":\"FAILED\",\"statusReason\":{\"reasonCode\":\"\"}}",
		"\"error\":\"InvalidRequest\"" },
	{ RESPONSE, NULL, "{\"status\":\"FAILED\",\"statusReason\":{\"reasonCode\":\"door\"}}",
		"\"error\":\"InvalidRequest\"" },
	{ RESPONSE, NULL, "{\"status\":\"FAILED\",\"statusReason\":{\"reasonCode\":\"A B\"}}",
		"\"error\":\"InvalidRequest\"" },
	{ RESPONSE, NULL,
		"{\"status\":\"FAILED\",\"statusReason\":{\"reasonCode\":"
		"\"01234567890123456789012345678901234567890123456789012345678901234\"}}",
		"\"error\":\"InvalidRequest\"" },
	{ RESPONSE, NULL, "{\"status\":\"FAILED\",\"statusReason\":{\"reasonCode\":\"A\",\"reasonDescription\":7}}",
		"\"error\":\"InvalidRequest\"" },
	{ RESPONSE, NULL,
		"{\"status\":\"FAILED\",\"statusReason\":{\"reasonCode\":\"A\",\"reasonDescription\":\"a\\nb\"}}",
		"\"error\":\"InvalidRequest\"" },
	{ RESPONSE, NULL,
		"{\"status\":\"FAILED\",\"statusReason\":{\"reasonCode\":\"A\",\"reasonDescription\":\"a\\u0085b\"}}",
		"\"error\":\"InvalidRequest\"" },
	{ RESPONSE, NULL, "{\"status\":\"SUCCEEDED\",\"result\":[]}", "\"error\":\"InvalidRequest\"" },
	{ RESPONSE, NULL, "{\"status\":\"SUCCEEDED\",\"result\":{\"a\":\"x\"}}", "\"error\":\"InvalidRequest\"" },
	{ RESPONSE, NULL, "{\"status\":\"SUCCEEDED\",\"result\":{\"a\":{}}}", "\"error\":\"InvalidRequest\"" },
	{ RESPONSE, NULL, "{\"status\":\"SUCCEEDED\",\"result\":{\"a\":{\"s\":7}}}", "\"error\":\"InvalidRequest\"" },
	{ RESPONSE, NULL, "{\"status\":\"SUCCEEDED\",\"result\":{\"a\":{\"b\":\"true\"}}}",
		"\"error\":\"InvalidRequest\"" },
	{ RESPONSE, NULL, "{\"status\":\"SUCCEEDED\",\"result\":{\"a\":{\"n\":1}}}", "\"error\":\"InvalidRequest\"" },
	{ RESPONSE, NULL, "{\"status\":\"SUCCEEDED\",\"result\":{\"a\":{\"s\":\"x\",\"b\":true}}}",
		"\"error\":\"InvalidRequest\"" },
	{ RESPONSE, NULL, "{\"status\":\"SUCCEEDED\",\"result\":{\"a\":{\"bin\":\"A\"}}}",
		"\"error\":\"InvalidRequest\"" },
	{ RESPONSE, NULL, "{\"status\":\"SUCCEEDED\",\"result\":{\"a\":{\"bin\":\"A===\"}}}",
		"\"error\":\"InvalidRequest\"" },
	{ RESPONSE, NULL, "{\"status\":\"SUCCEEDED\",\"result\":{\"a\":{\"bin\":\"A=AA\"}}}",
		"\"error\":\"InvalidRequest\"" },
	{ EXECUTION("7") "/response/json", NULL, "{\"status\":\"SUCCEEDED\"}", "\"error\":\"ResourceNotFound\"" },
	{ EXECUTION("7") "/response/json", NULL, "x", "\"error\":\"InvalidJson\"" },
};

START_TEST(what_cannot_be_read_is_refused_by_name)
{
	for (size_t i = 0; i < ROWS(refused); i++) {
		struct codec_response r = { 0 };
		struct text payload = { 0 };
		char topic[TOPIC_SIZE];

		const struct refusal *refusal = read_response(
			refused[i].topic, refused[i].payload, strlen(refused[i].payload), refused[i].correlation, &r);
		ck_assert_ptr_nonnull(refusal);
		r.codec->write_verdict(&r, refusal, topic, &payload);
		ck_assert_msg(
			strstr(payload.data, refused[i].word) != NULL, "%s lacks %s", payload.data, refused[i].word);
		json_auto_t *parsed = json_read(payload.data, payload.len);
		ck_assert(json_is_object(parsed));
		ck_assert_ptr_nonnull(strstr(topic, "rejected"));
		text_free(&payload);
		codec_response_done(&r);
	}
}
END_TEST

/* Characters count, not bytes. */
START_TEST(descriptions_have_1024_characters)
{
	for (size_t length = 1024; length <= 1025; length++) {
		struct codec_response r = { 0 };
		struct text payload = { 0 };
		text_add(&payload,
			"{\"status\":\"FAILED\",\"statusReason\":{\"reasonCode\":\"A\",\"reasonDescription\":\"");
		for (size_t i = 0; i < length; i++)
			text_add(&payload, "é");
		text_add(&payload, "\"}}");
		const struct refusal *refusal = read_response(RESPONSE, payload.data, payload.len, NULL, &r);
		ck_assert_int_eq(refusal == NULL, length == 1024);
		text_free(&payload);
		codec_response_done(&r);
	}
}
END_TEST

START_TEST(what_is_too_large_is_not_even_read)
{
	static const char *const given[] = { FEED, RESPONSE };

	for (size_t i = 0; i < 2; i++) {
		struct codec_response r = { 0 };
		size_t len = CODEC_PAYLOAD_MAX + 1;
		char *payload = memory_new(len);
		memset(payload, ' ', len);
		ck_assert_ptr_eq(read_response(given[i], payload, len, ID, &r), &REFUSAL_TOO_LARGE);
		ck_assert_str_eq(r.id, ID);
		free(payload);
		codec_response_done(&r);
	}
}
END_TEST

/* The verdicts, by the id as the vehicle wrote it. */
static const struct {
	const char *topic, *correlation;
	const struct refusal *refusal;
	const char *verdict_topic, *payload;
} verdicts[] = {
	{ FEED, ID, NULL, "vehicles/V1/commands/accepted", "{\"request_id\":\"" ID "\"}" },
	{ FEED, ID, &REFUSAL_TERMINAL_STATE, "vehicles/V1/commands/rejected",
		"{\"request_id\":\"" ID
		"\",\"code\":\"TERMINAL_STATE\",\"detail\":\"the request has its final answer\"}" },
	{ EXECUTION(UPPER_ID) "/response/json", NULL, NULL, EXECUTION(UPPER_ID) "/response/accepted/json",
		"{\"executionId\":\"" UPPER_ID "\"}" },
	{ RESPONSE, NULL, &REFUSAL_TERMINAL_STATE, EXECUTION(ID) "/response/rejected/json",
		"{\"error\":\"TerminalStateReached\",\"errorMessage\":\"the request has its final answer\","
		"\"executionId\":\"" ID "\"}" },
	{ RESPONSE, NULL, &REFUSAL_INVALID_TRANSITION, EXECUTION(ID) "/response/rejected/json",
		"{\"error\":\"InvalidStateTransition\",\"errorMessage\":\"the request cannot take this status now\","
		"\"executionId\":\"" ID "\"}" },
	{ RESPONSE, NULL, &REFUSAL_UNKNOWN_REQUEST, EXECUTION(ID) "/response/rejected/json",
		"{\"error\":\"ResourceNotFound\",\"errorMessage\":\"this vehicle was sent no such request\","
		"\"executionId\":\"" ID "\"}" },
	{ RESPONSE, NULL, &REFUSAL_TOO_LARGE, EXECUTION(ID) "/response/rejected/json",
		"{\"error\":\"InvalidRequest\",\"errorMessage\":\"the payload is larger than 128 KiB\","
		"\"executionId\":\"" ID "\"}" },
};

START_TEST(a_verdict_goes_back)
{
	for (size_t i = 0; i < ROWS(verdicts); i++) {
		struct codec_response r = { 0 };
		struct text payload = { 0 };
		char topic[TOPIC_SIZE];

		read_response(verdicts[i].topic, "{}", 2, verdicts[i].correlation, &r);
		r.codec->write_verdict(&r, verdicts[i].refusal, topic, &payload);
		ck_assert_str_eq(topic, verdicts[i].verdict_topic);
		ck_assert_str_eq(payload.data, verdicts[i].payload);
		text_free(&payload);
		codec_response_done(&r);
	}
}
END_TEST

/* The longest ids that there may be. */
START_TEST(topics_have_room)
{
	static const char longest[] = "0123456789012345678901234567890123456789012345678901234567890123";
	char topic[TOPIC_SIZE], vehicle_id[65], execution[65];

	topic_execution(longest, longest, "response/rejected/json", topic);
	ck_assert(topic_execution_read(topic, "response/rejected/json", vehicle_id, execution));
	ck_assert_str_eq(vehicle_id, longest);
	ck_assert_str_eq(execution, longest);
	for (size_t i = 0; i < ROWS(codecs); i++) {
		char response[TOPIC_SIZE];
		codecs[i]->write_topics(&(struct codec_request){ .vehicle_id = longest, .id = ID }, topic, response);
		ck_assert_ptr_nonnull(strstr(topic, "request"));
		struct codec_response r = { 0 };
		ck_assert(codec_read_topic(response, &r));
		ck_assert_str_eq(r.vehicle_id, longest);
		ck_assert_ptr_eq(r.codec, codecs[i]);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("codec");
	TCase *tc = tcase_create("codec");

	tcase_add_test(tc, a_protocol_is_known_by_its_name);
	tcase_add_test(tc, a_request_goes_out);
	tcase_add_test(tc, a_topic_says_whose_response_it_is);
	tcase_add_test(tc, a_response_comes_in);
	tcase_add_test(tc, what_cannot_be_read_is_refused_by_name);
	tcase_add_test(tc, descriptions_have_1024_characters);
	tcase_add_test(tc, what_is_too_large_is_not_even_read);
	tcase_add_test(tc, a_verdict_goes_back);
	tcase_add_test(tc, topics_have_room);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
