/* twin.c - what is desired of a vehicle, and notices to it. */
#include "tests/unit/gateway/operations/ground.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/metrics.h"
#include "base/receipt.h"
#include "gateway/operations/notices.h"
#include "state/shadow.h"

static json_t *state_at(const char *member)
{
	return json_object_get(reply, member);
}

static const char *compact(const json_t *value)
{
	static char out[4096];
	char *text = json_canonical(value);
	snprintf(out, sizeof(out), "%s", text);
	free(text);
	return out;
}

static const char *retained_of(const char *vehicle, const char *kind)
{
	char sql[256];
	snprintf(sql, sizeof(sql),
		"select string_agg(concat_ws(' ', nullif(name, ''), version, payload), ', ' order by name) from "
		"retained where "
		"vehicle_id = '%s' and kind = '%s'",
		vehicle, kind);
	return ask(sql);
}

static bool reported;

static void on_reported(struct receipt *receipt)
{
	ck_assert_ptr_null(receipt->fault);
	reported = true;
}

static bool is_reported(void)
{
	return reported;
}

/* As a vehicle does by MQTT. */
static void report(const char *vehicle, const char *patch, int64_t version)
{
	struct receipt receipt;
	json_auto_t *state = json_loads(patch, 0, NULL);

	reported = false;
	receipt_init(&receipt, on_reported);
	shadow_report(w.shadow, NULL,
		&(struct state_report){ .vehicle_id = vehicle, .patch = state, .version = version }, &receipt);
	receipt_close(&receipt, NULL);
	pump_until(is_reported);
}

#define PATCH_CAR1(patch) "{\"vehicle_id\":\"CAR1\",\"patch\":" patch "}"

START_TEST(desired_state_until_it_is_reported)
{
	assert_ok("dan", API_STATE_PATCH, PATCH_CAR1("{\"climate\":{\"on\":true,\"c\":21},\"lights\":1}"));
	ck_assert_int_eq(call->desired_version, 1);
	ck_assert_str_eq(compact(state_at("desired")), "{\"climate\":{\"c\":21,\"on\":true},\"lights\":1}");
	ck_assert_str_eq(compact(state_at("delta")), "{\"climate\":{\"c\":21,\"on\":true},\"lights\":1}");
	ck_assert_str_eq(retained_of("CAR1", "desired"), "1 {\"lights\": 1, \"climate\": {\"c\": 21, \"on\": true}}");
	/* what the vehicle says makes the rest smaller, and the version higher; what somebody may have read is as it was */
	report("CAR1", "{\"climate\":{\"on\":true,\"c\":20},\"odometer\":7}", 1);
	ck_assert_str_eq(retained_of("CAR1", "desired"), "2 {\"lights\": 1, \"climate\": {\"c\": 21}}");
	assert_ok("vera", API_VEHICLE_GET, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_int_eq(call->desired_version, 1);
	ck_assert_str_eq(compact(json_object_get(json_object_get(reply, "state"), "delta")),
		"{\"climate\":{\"c\":21},\"lights\":1}");
	/* what does not concern it changes nothing */
	report("CAR1", "{\"odometer\":8}", 2);
	ck_assert_str_eq(retained_of("CAR1", "desired"), "2 {\"lights\": 1, \"climate\": {\"c\": 21}}");
	report("CAR1", "{\"climate\":{\"c\":21.0},\"lights\":1}", 3);
	ck_assert_str_eq(retained_of("CAR1", "desired"), "3 ");
	/* the next is above whatever the vehicle has seen */
	assert_ok("olga", API_STATE_PATCH, PATCH_CAR1("{\"lights\":null,\"climate\":{\"c\":18}}"));
	ck_assert_int_eq(call->desired_version, 4);
	ck_assert_str_eq(compact(state_at("desired")), "{\"climate\":{\"c\":18,\"on\":true}}");
	ck_assert_str_eq(retained_of("CAR1", "desired"), "4 {\"climate\": {\"c\": 18}}");
	/* and it may go back by itself: then it is told again */
	report("CAR1", "{\"climate\":{\"c\":18}}", 4);
	report("CAR1", "{\"climate\":{\"c\":22}}", 5);
	ck_assert_str_eq(retained_of("CAR1", "desired"), "6 {\"climate\": {\"c\": 18}}");
	ck_assert_str_eq(
		ask("select string_agg(data::jsonb::text, ' ' order by seq) from events where type = 'state.desired'"),
		"{\"patch\": {\"lights\": 1, \"climate\": {\"c\": 21, \"on\": true}}, \"version\": 1} {\"patch\": "
		"{\"lights\": "
		"null, \"climate\": {\"c\": 18}}, \"version\": 4}");
}
END_TEST

START_TEST(a_patch_that_changes_nothing_is_no_event)
{
	assert_ok("dan", API_STATE_PATCH, PATCH_CAR1("{\"lights\":1}"));
	assert_ok("dan", API_STATE_PATCH, PATCH_CAR1("{\"lights\":1}"));
	assert_ok("dan", API_STATE_PATCH, PATCH_CAR1("{\"doors\":null}"));
	assert_ok("dan", API_STATE_PATCH, PATCH_CAR1("{}"));
	ck_assert_int_eq(call->desired_version, 1);
	ck_assert_str_eq(ask("select count(*) from events where type = 'state.desired'"), "1");
	ck_assert_str_eq(retained_of("CAR1", "desired"), "1 {\"lights\": 1}");
}
END_TEST

START_TEST(patch_of_what_somebody_else_changed_is_refused)
{
	static const char two[] = "{\"vehicle_id\":\"CAR1\",\"patch\":{\"lights\":2},\"if_match\":[\"0\"]}";

	assert_ok("dan", API_STATE_PATCH, two);
	assert_refused("olga", API_STATE_PATCH, two, "precondition-failed");
	ck_assert_int_eq(call->fault->http, 412);
	assert_refused("sam", API_STATE_PATCH, two, "vehicle-not-found");
	assert_refused("vera", API_STATE_PATCH, two, "forbidden");
	assert_refused("dan", API_STATE_PATCH, "{\"vehicle_id\":\"CAR1\",\"patch\":{},\"if_match\":[]}",
		"precondition-failed");
	assert_ok("olga", API_STATE_PATCH,
		"{\"vehicle_id\":\"CAR1\",\"patch\":{\"lights\":3},\"if_match\":[\"7\",\"1\"]}");
	ck_assert_str_eq(compact(state_at("desired")), "{\"lights\":3}");
}
END_TEST

/* Two in one transaction: the second sees the first. */
START_TEST(two_patches_at_once)
{
	struct api_call *other = start(&API_STATE_PATCH, "dan", SCOPES_USER,
		"{\"vehicle_id\":\"CAR1\",\"patch\":{\"lights\":1},\"if_match\":[\"0\"]}");
	assert_refused("olga", API_STATE_PATCH,
		"{\"vehicle_id\":\"CAR1\",\"patch\":{\"lights\":2},\"if_match\":[\"0\"]}", "precondition-failed");
	ck_assert_str_eq(verdict_of(other), "ok");
	api_call_free(other);
	other = start(&API_STATE_PATCH, "dan", SCOPES_USER, PATCH_CAR1("{\"a\":1}"));
	assert_ok("olga", API_STATE_PATCH, PATCH_CAR1("{\"b\":2}"));
	ck_assert_str_eq(compact(state_at("desired")), "{\"a\":1,\"b\":2,\"lights\":1}");
	api_call_free(other);
}
END_TEST

START_TEST(impossible_patches)
{
	static char big[70000];

	assert_refused("dan", API_STATE_PATCH, "{\"vehicle_id\":\"CAR1\"}", "malformed-request");
	assert_refused("dan", API_STATE_PATCH, PATCH_CAR1("7"), "malformed-request");
	for (int i = 0; i < 2; i++) {
		int begun = snprintf(big, sizeof(big), "{\"vehicle_id\":\"CAR1\",\"patch\":{\"%d\":\"", i);
		memset(big + begun, 'x', 40000);
		strcpy(big + begun + 40000, "\"}}");
		ck_assert_str_eq(try_as("dan", &API_STATE_PATCH, big), i ? "too-large" : "ok");
	}
}
END_TEST

/* Nested as deep as may be, on both sides: each level is looked at once, not twice. */
START_TEST(deep_states_are_compared_in_no_time)
{
	static char deep[1024];
	struct text patch = { 0 };

	for (int i = 0; i < 28; i++)
		text_add(&patch, "{\"a\":");
	text_add(&patch, "1");
	for (int i = 0; i < 28; i++)
		text_add(&patch, "}");
	snprintf(deep, sizeof(deep), "{\"vehicle_id\":\"CAR1\",\"patch\":%s}", patch.data);
	report("CAR1", patch.data, 1);
	*strrchr(deep, '1') = '2';
	assert_ok("dan", API_STATE_PATCH, deep);
	assert_ok("dan", API_VEHICLE_GET, "{\"vehicle_id\":\"CAR1\"}");
	text_free(&patch);
}
END_TEST

static void report_many(char kind, int64_t version)
{
	struct text patch = { 0 };

	text_add(&patch, "{");
	for (int i = 0; i < 10000; i++)
		text_addf(&patch, "%s\"%c%d\":%d", i ? "," : "", kind, i, i);
	text_add(&patch, "}");
	report("CAR1", patch.data, version);
	text_free(&patch);
}

/* One vehicle neither holds up the others nor fills the database. */
START_TEST(wide_reports_are_merged_in_no_time_and_not_for_ever)
{
	int64_t malformed = metric_value(METRIC_STATE_MALFORMED);

	report_many('k', 1);
	ck_assert_str_eq(ask("select count(*) from vehicles, jsonb_object_keys(reported)"), "10000");
	report_many('m', 2);
	ck_assert_int_eq(metric_value(METRIC_STATE_MALFORMED), malformed + 1);
	ck_assert_str_eq(ask("select reported_version from vehicles where vehicle_id = 'CAR1'"), "1");
	report("CAR1", "{\"k7\":null}", 3);
	ck_assert_str_eq(ask("select count(*) from vehicles, jsonb_object_keys(reported)"), "9999");
	ck_assert_str_eq(ask("select count(*) from events where type = 'state.reported'"), "2");
}
END_TEST

/* Notices. */

/* As the worker that reads the lifecycle feed does it. A question is a connection of its own: between two of them the loop
 * has its time. */
static void look_until(const char *question, const char *answer)
{
	uint64_t until = uv_hrtime() + SPREAD_NS;

	notices_start(w.notices);
	while (strcmp(ask(question), answer) != 0) {
		uint64_t next = uv_hrtime() + 100000000;
		ck_assert_msg(next < until, "%s is not %s in 30 s", question, answer);
		while (uv_hrtime() < next)
			uv_run(loop_uv(w.loop), UV_RUN_ONCE);
	}
	notices_stop(w.notices);
	pump_until(is_idle);
}

static void spread(void)
{
	look_until("select count(*) from notice_spreads", "0");
}

#define NOTICE(object, name, payload) "{" object "\"name\":\"" name "\",\"payload\":\"" payload "\"}"
#define NAME(object, name) "{" object "\"name\":\"" name "\"}"
#define CAR1 "\"vehicle_id\":\"CAR1\","
#define F1 "\"fleet_id\":\"F1\","

START_TEST(notice_is_published_changed_and_withdrawn)
{
	assert_ok("olga", API_NOTICE_PUT, NOTICE(CAR1, "recall", "stop"));
	ck_assert(call->created);
	ck_assert_str_eq(at("payload"), "stop");
	ck_assert_str_eq(at("scope"), "vehicle");
	assert_ok("max", API_NOTICE_PUT, "{" CAR1 "\"name\":\"recall\",\"payload\":\"go\",\"expires_in_seconds\":60}");
	ck_assert(!call->created);
	ck_assert_str_eq(at("published_by"), "max");
	ck_assert_str_eq(retained_of("CAR1", "notice"), "recall 2 go");
	assert_ok("vera", API_NOTICE_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_str_eq(each("payload"), "go");
	assert_refused("olga", API_NOTICE_DELETE, NAME(CAR1, "other"), "notice-not-found");
	assert_ok("olga", API_NOTICE_DELETE, NAME(CAR1, "recall"));
	assert_refused("olga", API_NOTICE_DELETE, NAME(CAR1, "recall"), "notice-not-found");
	ck_assert_str_eq(retained_of("CAR1", "notice"), "recall 3 ");
	ck_assert_str_eq(ask("select string_agg(type || ' ' || (data->>'name') || ' ' || (data->>'expires_at' is "
			     "null), ', ' order "
			     "by seq) from events where seq > 1"),
		"notice.published recall true, notice.published recall false, notice.withdrawn recall true");
}
END_TEST

START_TEST(impossible_notices)
{
	assert_refused("olga", API_NOTICE_PUT, NOTICE(CAR1, "a/b", "x"), "invalid-params");
	assert_refused("olga", API_NOTICE_PUT, NOTICE(CAR1, "a:b", "x"), "invalid-params");
	assert_refused("olga", API_NOTICE_PUT, NOTICE(CAR1, "a", ""), "invalid-params");
	assert_refused("olga", API_NOTICE_PUT, NAME(CAR1, "a"), "invalid-params");
	assert_refused("olga", API_NOTICE_PUT, "{" CAR1 "\"name\":\"a\",\"payload\":\"x\",\"content_type\":\"a\\nb\"}",
		"invalid-params");
	ask("insert into notices (object_kind, object_id, name, payload, published_by) select 'vehicle', 'CAR1', 'n' "
	    "|| i, "
	    "'x', 't' from generate_series(1, 64) i");
	assert_refused("olga", API_NOTICE_PUT, NOTICE(CAR1, "n65", "x"), "invalid-params");
	ck_assert_str_eq(call->detail, "there are 64 notices already");
	assert_ok("olga", API_NOTICE_PUT, NOTICE(CAR1, "n64", "y"));
}
END_TEST

/* A vehicle is shown its own, else its fleet's, else the one for all. */
START_TEST(the_nearest_notice_is_shown)
{
	assert_ok("admin", API_ALL_NOTICE_PUT, NOTICE("", "storm", "all"));
	spread();
	ck_assert_str_eq(retained_of("CAR1", "notice"), "storm 1 all");
	ck_assert_str_eq(retained_of("CAR2", "notice"), "storm 1 all");
	assert_ok("max", API_FLEET_NOTICE_PUT, NOTICE(F1, "storm", "fleet"));
	spread();
	assert_ok("olga", API_NOTICE_PUT, NOTICE(CAR1, "storm", "own"));
	ck_assert_str_eq(retained_of("CAR1", "notice"), "storm 3 own");
	ck_assert_str_eq(retained_of("CAR3", "notice"), "storm 1 all");
	assert_ok("olga", API_NOTICE_DELETE, NAME(CAR1, "storm"));
	ck_assert_str_eq(retained_of("CAR1", "notice"), "storm 4 fleet");
	/* and loses its fleet's when it leaves */
	assert_ok("admin", API_VEHICLE_PUT, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_str_eq(retained_of("CAR1", "notice"), "storm 5 all");
	assert_ok("admin", API_VEHICLE_PUT, "{\"vehicle_id\":\"NEW1\",\"fleet_id\":\"F1\"}");
	ck_assert_str_eq(retained_of("NEW1", "notice"), "storm 1 fleet");
	assert_ok("max", API_FLEET_NOTICE_DELETE, NAME(F1, "storm"));
	assert_ok("admin", API_ALL_NOTICE_DELETE, NAME("", "storm"));
	spread();
	ck_assert_str_eq(retained_of("NEW1", "notice"), "storm 2 ");
	ck_assert_str_eq(retained_of("CAR3", "notice"), "storm 2 ");
}
END_TEST

/* More vehicles than one look takes, and one that is being registered while the notice is published. */
START_TEST(a_notice_for_all_reaches_all)
{
	PGconn *other = PQconnectdb(postgres.url);

	ask("insert into vehicle_heads (vehicle_id) select 'VAN' || i from generate_series(1000, 1149) i");
	ask("insert into vehicles (vehicle_id, fleet_id) select 'VAN' || i, 'F1' from generate_series(1000, 1148) i");
	PQclear(PQexec(other, "begin; insert into vehicles (vehicle_id, fleet_id) values ('VAN1149', 'F1')"));
	assert_ok("admin", API_ALL_NOTICE_PUT, NOTICE("", "storm", "x"));
	notices_start(w.notices);
	PQclear(PQexec(other, "commit"));
	PQfinish(other);
	spread();
	ck_assert_str_eq(ask("select count(*) from retained where kind = 'notice' and payload = 'x'"), "153");
	ck_assert_str_eq(ask("select count(*) from events where type = 'notice.published'"), "153");
}
END_TEST

START_TEST(notices_whose_time_is_over_are_withdrawn)
{
	assert_ok("admin", API_FLEET_NOTICE_PUT,
		"{" F1 "\"name\":\"storm\",\"payload\":\"x\",\"expires_in_seconds\":60}");
	spread();
	ck_assert_str_eq(retained_of("CAR1", "notice"), "storm 1 x");
	ask("update notices set expires_at = now()");
	ask("update retained set expires_at = now()");
	look_until("select count(*) from retained where payload <> ''", "0");
	ck_assert_str_eq(retained_of("CAR1", "notice"), "storm 2 ");
	ck_assert_str_eq(ask("select count(*) from notices"), "0");
	ck_assert_str_eq(ask("select type from events where seq > 1 order by seq desc limit 1"), "notice.withdrawn");
}
END_TEST

START_TEST(what_ends_with_an_owner_or_with_the_vehicle)
{
	assert_ok("dan", API_STATE_PATCH, PATCH_CAR1("{\"lights\":1}"));
	assert_ok("olga", API_NOTICE_PUT, NOTICE(CAR1, "recall", "own"));
	assert_ok("max", API_FLEET_NOTICE_PUT, NOTICE(F1, "storm", "fleet"));
	spread();
	assert_ok("olga", API_VEHICLE_TRANSFER, "{\"vehicle_id\":\"CAR1\",\"subject\":\"vera\"}");
	ck_assert_str_eq(retained_of("CAR1", "desired"), "2 ");
	ck_assert_str_eq(retained_of("CAR1", "notice"), "recall 2 , storm 1 fleet");
	assert_ok("vera", API_EVENT_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_str_eq(each("type"), "access.changed");
	assert_ok("vera", API_STATE_PATCH, PATCH_CAR1("{\"lights\":2}"));
	ck_assert_int_eq(call->desired_version, 3);
	assert_ok("max", API_VEHICLE_DELETE, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_str_eq(retained_of("CAR1", "desired"), "4 ");
	ck_assert_str_eq(retained_of("CAR1", "notice"), "recall 2 , storm 2 ");
	ck_assert_str_eq(retained_of("CAR1", "blocked"), "1 1");
	assert_ok("max", API_VEHICLE_PUT, "{\"vehicle_id\":\"CAR1\",\"fleet_id\":\"F1\"}");
	ck_assert_str_eq(retained_of("CAR1", "notice"), "recall 2 , storm 3 fleet");
	ck_assert_str_eq(retained_of("CAR1", "blocked"), "2 ");
	assert_ok("max", API_STATE_PATCH, PATCH_CAR1("{\"lights\":3}"));
	ck_assert_int_gt(call->desired_version, 4);
}
END_TEST

/* After a restore the vehicle may have seen higher versions than the database knows of. */
START_TEST(a_new_epoch_leaps_over_the_versions_that_were_seen)
{
	assert_ok("dan", API_STATE_PATCH, PATCH_CAR1("{\"lights\":1}"));
	ask("update retained set published = version");
	ask("update meta set epoch = epoch + 1");
	ck_assert_str_eq(
		ask("select version || ' ' || published from retained where vehicle_id = 'CAR1'"), "1000001 0");
	assert_ok("dan", API_STATE_PATCH, PATCH_CAR1("{\"lights\":2}"));
	ck_assert_int_eq(call->desired_version, 1000002);
}
END_TEST

void add_twin(Suite *suite)
{
	TCase *tc = case_new(suite, "twin");

	tcase_add_test(tc, desired_state_until_it_is_reported);
	tcase_add_test(tc, a_patch_that_changes_nothing_is_no_event);
	tcase_add_test(tc, patch_of_what_somebody_else_changed_is_refused);
	tcase_add_test(tc, two_patches_at_once);
	tcase_add_test(tc, impossible_patches);
	tcase_add_test(tc, deep_states_are_compared_in_no_time);
	tcase_add_test(tc, wide_reports_are_merged_in_no_time_and_not_for_ever);
	tcase_add_test(tc, notice_is_published_changed_and_withdrawn);
	tcase_add_test(tc, impossible_notices);
	tcase_add_test(tc, the_nearest_notice_is_shown);
	tcase_add_test(tc, a_notice_for_all_reaches_all);
	tcase_add_test(tc, notices_whose_time_is_over_are_withdrawn);
	tcase_add_test(tc, what_ends_with_an_owner_or_with_the_vehicle);
	tcase_add_test(tc, a_new_epoch_leaps_over_the_versions_that_were_seen);
}
