/* vehicles.c - vehicles: registered, moved, handed over, retired. */
#include "tests/unit/gateway/operations/ground.h"

#include <stdio.h>
#include <stdlib.h>

START_TEST(vehicle_is_registered_and_changed)
{
	assert_ok("admin", API_VEHICLE_PUT,
		"{\"vehicle_id\":\"NEW1\",\"display_name\":\"Van\",\"msisdn\":\"+4915559990002\",\"iccid\":"
		"\"894900000000000001\","
		"\"fleet_id\":\"F1\",\"tags\":[\"a\",\"b\"]}");
	ck_assert(call->created);
	ck_assert_str_eq(at("display_name"), "Van");
	ck_assert_str_eq(at("msisdn"), "+4915559990002");
	assert_ok("max", API_VEHICLE_GET, "{\"vehicle_id\":\"NEW1\"}");
	ck_assert_uint_eq(json_array_size(json_object_get(reply, "tags")), 2);
	ck_assert_str_eq(at("vehicle_protocol"), "keyfob");
	assert_ok("max", API_VEHICLE_PUT,
		"{\"vehicle_id\":\"NEW1\",\"fleet_id\":\"F1\",\"vehicle_protocol\":\"aws-commands\"}");
	ck_assert_str_eq(at("vehicle_protocol"), "aws-commands");
	/* a PUT replaces all */
	assert_ok("max", API_VEHICLE_PUT, "{\"vehicle_id\":\"NEW1\",\"fleet_id\":\"F1\"}");
	ck_assert(!call->created);
	ck_assert(json_is_null(json_object_get(reply, "display_name")));
	ck_assert_uint_eq(json_array_size(json_object_get(reply, "tags")), 0);
	ck_assert_str_eq(at("vehicle_protocol"), "keyfob");
}
END_TEST

START_TEST(two_register_at_once)
{
	struct api_call *other =
		start(&API_VEHICLE_PUT, "admin", SCOPE_ADMIN, "{\"vehicle_id\":\"NEW1\",\"display_name\":\"A\"}");
	assert_ok("admin", API_VEHICLE_PUT, "{\"vehicle_id\":\"NEW1\",\"display_name\":\"B\"}");
	ck_assert_str_eq(verdict_of(other), "ok");
	ck_assert_int_eq(other->created + call->created, 1);
	api_call_free(other);
}
END_TEST

START_TEST(impossible_vehicles)
{
	static const char *const bad[] = {
		"\"vehicle_id\":\"acme-1\"",
		"\"vehicle_id\":\"NEW1\",\"msisdn\":\"015559990001\"",
		"\"vehicle_id\":\"NEW1\",\"msisdn\":\"+1234\"",
		"\"vehicle_id\":\"NEW1\",\"iccid\":\"12345678901234567\"",
		"\"vehicle_id\":\"NEW1\",\"tags\":\"a\"",
		"\"vehicle_id\":\"NEW1\",\"tags\":[7]",
		"\"vehicle_id\":\"NEW1\",\"tags\":[\"a\\u0000b\"]",
		"\"vehicle_id\":\"NEW1\",\"fleet_id\":\"F9\"",
		"\"vehicle_id\":\"NEW1\",\"vehicle_protocol\":\"aws\"",
		"\"vehicle_id\":\"NEW1\",\"vehicle_protocol\":\"\"",
	};
	char params[256];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		json_error_t error;
		snprintf(params, sizeof(params), "{%s}", bad[i]);
		json_t *parsed = json_loads(params, JSON_ALLOW_NUL, &error);
		struct api_call *c = start_with(&API_VEHICLE_PUT, "admin", SCOPE_ADMIN, parsed);
		pump_until(is_answered);
		ck_assert_msg(c->fault == &FAULT_INVALID_VEHICLE, "%s: %s", bad[i], verdict_of(c));
		api_call_free(c);
	}
	assert_ok("admin", API_VEHICLE_PUT, "{\"vehicle_id\":\"keyfob-1\"}"); /* another installation's name is free */
}
END_TEST

/* Refused registrations leave no row behind: else strangers could fill the table. */
START_TEST(strangers_leave_nothing)
{
	assert_refused("sam", API_VEHICLE_PUT, "{\"vehicle_id\":\"NEW1\"}", "forbidden");
	assert_refused("olga", API_VEHICLE_PUT, "{\"vehicle_id\":\"NEW2\",\"fleet_id\":\"F1\"}", "fleet-not-found");
	ck_assert_str_eq(ask("select count(*) from vehicle_heads where vehicle_id like 'NEW%'"), "0");
	assert_ok("max", API_VEHICLE_PUT, "{\"vehicle_id\":\"NEW2\",\"fleet_id\":\"F1\"}");
	ck_assert_str_eq(ask("select count(*) from vehicle_heads where vehicle_id like 'NEW%'"), "1");
}
END_TEST

START_TEST(manager_moves_between_own_fleets)
{
	assert_refused("max", API_VEHICLE_PUT, "{\"vehicle_id\":\"CAR1\",\"fleet_id\":\"F2\"}", "fleet-not-found");
	assert_refused("mia", API_VEHICLE_PUT, "{\"vehicle_id\":\"CAR1\",\"fleet_id\":\"F2\"}", "forbidden");
	ask("insert into grants (object_kind, object_id, subject, role, granted_by) values ('fleet', 'F2', 'max', "
	    "'manager', 't')");
	assert_ok("max", API_VEHICLE_PUT, "{\"vehicle_id\":\"CAR1\",\"fleet_id\":\"F2\"}");
	assert_ok("mia", API_VEHICLE_GET, "{\"vehicle_id\":\"CAR1\"}");
	assert_refused("otto", API_VEHICLE_GET, "{\"vehicle_id\":\"CAR1\"}", "vehicle-not-found");
}
END_TEST

START_TEST(retired_vehicle_is_gone)
{
	assert_ok("max", API_VEHICLE_DELETE, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_str_eq(statuses_of(NULL), "doors.unlock canceled CANCELED");
	ck_assert_str_eq(ask("select count(*) from grants where object_kind = 'vehicle' and object_id = 'CAR1'"), "0");
	ck_assert_str_eq(ask("select count(*) from events where type = 'access.changed' and data->>'role' is null and "
			     "data->>'subject' in ('olga', 'dan', 'vera')"),
		"3");
	assert_refused("admin", API_VEHICLE_GET, "{\"vehicle_id\":\"CAR1\"}", "vehicle-not-found");
	assert_refused("admin", API_VEHICLE_DELETE, "{\"vehicle_id\":\"CAR1\"}", "vehicle-not-found");
	assert_ok("max", API_VEHICLE_LIST, "{}");
	ck_assert_uint_eq(items(), 0);
}
END_TEST

START_TEST(registered_anew_it_begins_anew)
{
	assert_ok("admin", API_VEHICLE_DELETE, "{\"vehicle_id\":\"CAR1\"}");
	long long seq = atoll(ask("select seq from vehicle_heads where vehicle_id = 'CAR1'"));
	assert_ok("admin", API_VEHICLE_PUT, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert(call->created);
	ck_assert_int_eq(json_integer_value(json_object_get(reply, "seq")), seq);
	assert_ok("admin", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"olga\",\"role\":\"owner\"}");
	assert_ok("olga", API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_uint_eq(items(), 0);
	assert_ok("olga", API_EVENT_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_str_eq(each("type"), "access.changed");
}
END_TEST

/* Whoever manages the fleet that it comes to sees what it did there, and not what it did for others. */
START_TEST(registered_anew_it_has_no_past_for_managers)
{
	ask("delete from wakeups; insert into wakeups (vehicle_id, id, status, attempt) values ('CAR1', "
	    "uuid7_floor(now()), 'refused', 1)");
	assert_ok("max", API_FLEET_WAKEUP_LIST, "{\"fleet_id\":\"F1\"}");
	ck_assert_uint_eq(items(), 1);
	assert_ok("max", API_VEHICLE_DELETE, "{\"vehicle_id\":\"CAR1\"}");
	assert_ok("mia", API_VEHICLE_PUT, "{\"vehicle_id\":\"CAR1\",\"fleet_id\":\"F2\"}");
	assert_refused("mia", API_COMMAND_GET, params_of("{'vehicle_id':'CAR1','id':'@'}"), "command-not-found");
	assert_ok("mia", API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_uint_eq(items(), 0);
	assert_ok("mia", API_EVENT_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_str_eq(each("type"), "vehicle.moved");
	assert_ok("mia", API_WAKEUP_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_uint_eq(items(), 0);
	assert_ok("mia", API_FLEET_WAKEUP_LIST, "{\"fleet_id\":\"F2\"}");
	ck_assert_uint_eq(items(), 0);
	assert_ok("admin", API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_uint_eq(items(), 1);
}
END_TEST

START_TEST(moved_vehicle_leaves_its_fleets_people)
{
	ask(three_commands("otto"));
	assert_ok("admin", API_VEHICLE_PUT, "{\"vehicle_id\":\"CAR1\",\"fleet_id\":\"F2\"}");
	ck_assert(otto_has_nothing_left());
	ck_assert_str_eq(
		ask("select fleet_id || ' ' || left_fleet || ' ' || (data->>'fleet_id') from events where type = "
		    "'vehicle.moved'"),
		"F2 F1 F2");
	assert_ok("admin", API_VEHICLE_PUT, "{\"vehicle_id\":\"CAR1\",\"fleet_id\":\"F2\",\"display_name\":\"Van\"}");
	ck_assert_str_eq(ask("select count(*) from events where type = 'vehicle.moved'"), "1");
}
END_TEST

START_TEST(transfer_begins_anew)
{
	ask("update vehicles set desired = '{\"climate\":{\"on\":true},\"lights\":1}', desired_version = 3 where "
	    "vehicle_id = "
	    "'CAR1'");
	assert_ok("olga", API_VEHICLE_TRANSFER, "{\"vehicle_id\":\"CAR1\",\"subject\":\"vera\"}");
	ck_assert_str_eq(at("role"), "owner");
	ck_assert_str_eq(
		ask("select string_agg(subject || ' ' || role, ', ' order by subject) from grants where object_id = "
		    "'CAR1'"),
		"vera owner");
	ck_assert_str_eq(statuses_of("dan"), "doors.unlock canceled ACCESS_REVOKED");
	ck_assert_str_eq(
		ask("select string_agg(type || ' ' || coalesce(data->>'subject', data->>'status', ''), ', ' order by "
		    "seq) from events where seq > 1"),
		"command.updated canceled, access.changed dan, access.changed olga, state.desired , access.changed "
		"vera");
	ck_assert_str_eq(ask("select data::jsonb from events where type = 'state.desired'"),
		"{\"patch\": {\"lights\": null, \"climate\": null}, \"version\": 4}");
	ck_assert_str_eq(ask("select desired from vehicles where vehicle_id = 'CAR1'"), "{}");
	assert_ok("vera", API_EVENT_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_str_eq(each("type"), "access.changed");
	assert_refused("olga", API_VEHICLE_GET, "{\"vehicle_id\":\"CAR1\"}", "vehicle-not-found");
}
END_TEST

void add_vehicles(Suite *suite)
{
	TCase *tc = case_new(suite, "vehicles");

	tcase_add_test(tc, vehicle_is_registered_and_changed);
	tcase_add_test(tc, two_register_at_once);
	tcase_add_test(tc, impossible_vehicles);
	tcase_add_test(tc, strangers_leave_nothing);
	tcase_add_test(tc, manager_moves_between_own_fleets);
	tcase_add_test(tc, retired_vehicle_is_gone);
	tcase_add_test(tc, registered_anew_it_begins_anew);
	tcase_add_test(tc, registered_anew_it_has_no_past_for_managers);
	tcase_add_test(tc, moved_vehicle_leaves_its_fleets_people);
	tcase_add_test(tc, transfer_begins_anew);
}
