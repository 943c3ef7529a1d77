/* rights.c - nobody sees what they may not, and nothing after their right has ended. */
#include "tests/unit/notifier/hub/ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sql/statements.h"

START_TEST(access_of_others_is_skipped)
{
	struct app *manager = watch(0, 0, "max", "F1"), *operator= watch(1, 0, "otto", "F1"),
		   *owner = watch(2, 1, "olga", "CAR1"), *driver = watch(3, 1, "dan", "CAR1");

	make(0, "CAR1", "access.changed", "{\"subject\":\"vera\",\"role\":\"viewer\",\"expires_at\":null}", NULL);
	assert_seen(manager, "CAR1:1:access.changed");
	assert_seen(operator, "CAR1:1:skipped");
	assert_seen(owner, "CAR1:1:access.changed");
	assert_seen(driver, "CAR1:1:skipped");
}
END_TEST

START_TEST(nothing_follows_the_end_of_a_grant)
{
	struct app *driver = watch(0, 1, "dan", "CAR1");

	ask("delete from grants where subject = 'dan'");
	make(0, "CAR1", "access.changed", "{\"subject\":\"dan\",\"role\":null,\"expires_at\":null}", NULL);
	happen(0, "CAR1");
	happen(1, "CAR1");
	until_seen(driver, "end:");
	assert_seen(driver, "CAR1:1:access.changed end:forbidden");
}
END_TEST

/* What came while the rights were read again is given afterwards, in order. */
START_TEST(another_grant_carries_on)
{
	ask("insert into grants (object_kind, object_id, subject, role, granted_by) values ('vehicle', 'CAR1', 'otto', "
	    "'owner', "
	    "'t')");
	struct app *app = watch(0, 1, "otto", "CAR1");

	ask("delete from grants where subject = 'otto' and object_kind = 'vehicle'");
	make(0, "CAR1", "access.changed", "{\"subject\":\"otto\",\"role\":null,\"expires_at\":null}", NULL);
	happen(0, "CAR1");
	make(0, "CAR1", "access.changed", "{\"subject\":\"vera\",\"role\":\"viewer\",\"expires_at\":null}", NULL);
	until_seen(app, "CAR1:3");
	assert_seen(app, "CAR1:1:access.changed CAR1:2:state.reported CAR1:3:skipped");
}
END_TEST

START_TEST(grant_that_runs_out_ends_the_stream_and_one_that_is_prolonged_does_not)
{
	ask("update grants set expires_at = clock_timestamp() + interval '700 milliseconds' where subject in ('dan', "
	    "'otto')");
	struct app *driver = watch(0, 1, "dan", "CAR1"), *operator= watch(1, 0, "otto", "F1");
	ask("update grants set expires_at = null where subject = 'dan'");
	until_seen(operator, "end:");
	happen(0, "CAR1");
	until_seen(driver, "CAR1:1");
	assert_seen(driver, "CAR1:1:state.reported");
	assert_seen(operator, "end:forbidden");
}
END_TEST

static void tell_access(const char *subject, const char *role, int64_t version)
{
	char data[128];
	snprintf(data, sizeof(data),
		role ? "{\"subject\":\"%s\",\"role\":\"%s\",\"expires_at\":null}"
		     : "{\"subject\":\"%s\",\"role\":null,\"expires_at\":null}",
		subject, role);
	hub_tell_access(workers[0].hub, "F1", version, data, "w0,w1");
}

START_TEST(fleets_grants_are_told_to_managers_owners_and_their_subject)
{
	struct app *manager = watch(0, 1, "max", "F1"), *operator= watch(1, 1, "otto", "F1"),
		   *owner = watch(2, 0, "olga", "CAR1"), *driver = watch(3, 1, "dan", "CAR1"),
		   *of_vehicle = watch(4, 0, "otto", "CAR2"), *admin = watch(5, 1, "admin", "*");

	tell_access("vera", "viewer", 1);
	ask("delete from grants where subject = 'otto'");
	tell_access("otto", NULL, 2);
	until_seen(operator, "end:");
	until_seen(of_vehicle, "end:");
	assert_seen(manager, "F1:0:access.changed F1:0:access.changed");
	assert_seen(operator, "F1:0:access.changed end:forbidden");
	assert_seen(owner, "F1:0:access.changed F1:0:access.changed");
	assert_seen(driver, "");
	assert_seen(of_vehicle, "F1:0:access.changed end:forbidden");
	assert_seen(admin, "F1:0:access.changed F1:0:access.changed");
}
END_TEST

/* It is the affair of those who manage the fleet, on whichever worker they are; of one that does not exist nobody hears. */
START_TEST(what_is_tried_at_a_fleet_is_told_to_its_managers)
{
	struct app *manager = watch(0, 1, "max", "F1"), *operator= watch(1, 0, "otto", "F1"),
		   *owner = watch(2, 0, "olga", "CAR1"), *of_vehicle = watch(3, 1, "max", "CAR2"),
		   *admin = watch(4, 0, "admin", "*"), *other = watch(5, 1, "admin", "F2");

	ask("insert into leases (name) values ('worker/w0'), ('worker/w1')");
	hub_tell_alert(workers[0].hub, "NONE", "{}");
	hub_tell_alert(workers[0].hub, "F1", "{\"kind\":\"refusals\",\"subject\":\"otto\"}");
	until_seen(manager, "F1:0:security.alert");
	until_seen(admin, "F1:0:security.alert");
	tell_access("vera", "viewer", 1);
	until_seen(manager, "access.changed");
	until_seen(owner, "access.changed");
	assert_seen(manager, "F1:0:security.alert F1:0:access.changed");
	assert_seen(admin, "F1:0:security.alert F1:0:access.changed");
	assert_seen(owner, "F1:0:access.changed");
	assert_seen(of_vehicle, "F1:0:access.changed");
	assert_seen(operator, "");
	assert_seen(other, "");
}
END_TEST

static double cpu_s_of_tellings(int count, int64_t version)
{
	struct timespec begun, over;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begun);
	for (int i = 0; i < count; i++)
		tell_access("vera", "viewer", version + i);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &over);
	return (double)(over.tv_sec - begun.tv_sec) + (double)(over.tv_nsec - begun.tv_nsec) / 1e9;
}

/* By who watches it or its vehicles one by one, not by how many vehicles have a channel; and nobody else's interest is read. */
START_TEST(a_fleets_grants_cost_as_much_as_it_is_watched)
{
	watch(0, 0, "max", "F1");
	watch(1, 0, "olga", "CAR1");
	double few = cpu_s_of_tellings(3000, 1);
	ask("insert into vehicles (vehicle_id, fleet_id) select 'CAS' || lpad(n::text, 5, '0'), 'F1' from "
	    "generate_series(1, 12000) n;"
	    "insert into vehicle_heads (vehicle_id) select vehicle_id from vehicles where vehicle_id like 'CAS%';"
	    "insert into interest select 'vehicle', vehicle_id, 'w0' from vehicles where vehicle_id like 'CAS%';"
	    "analyze vehicles; analyze interest");
	watch(2, 0, "admin", "*");
	double many = cpu_s_of_tellings(3000, 3001);
	ck_assert_msg(many < 3 * few, "%f s, then %f s", few, many);

	char sql[4096];
	snprintf(sql, sizeof(sql), "explain (analyze, buffers, format json) %s", SQL_fleet_tell.text);
	const char *hits = strstr(ask(sql), "\"Shared Hit Blocks\": ");
	ck_assert_ptr_nonnull(hits);
	ck_assert_int_lt(atoi(hits + strlen("\"Shared Hit Blocks\": ")), 100);
}
END_TEST

START_TEST(end_of_a_fleets_grant_is_found_though_its_message_was_lost)
{
	struct app *operator= watch(0, 0, "otto", "F1"), *of_vehicle = watch(1, 1, "otto", "CAR1"),
		   *driver = watch(2, 1, "dan", "CAR1");

	ask("delete from grants where subject = 'otto'; update fleets set access_version = access_version + 1");
	until_seen(operator, "end:");
	until_seen(of_vehicle, "end:");
	happen(0, "CAR1");
	until_seen(driver, "CAR1:1");
	assert_seen(driver, "CAR1:1:state.reported");
}
END_TEST

/* As a fleet of that name, whose grants are counted anew. */
START_TEST(a_fleet_that_was_made_anew_is_another)
{
	ask("update fleets set access_version = 3 where fleet_id = 'F1'");
	struct app *operator= watch(0, 0, "otto", "F1");

	ask("delete from grants where subject = 'otto'; update fleets set access_version = 0 where fleet_id = 'F1'");
	until_seen(operator, "end:");
}
END_TEST

START_TEST(retired_vehicle_ends_all)
{
	struct app *admin = watch(0, 0, "admin", "CAR1"), *manager = watch(1, 1, "max", "CAR1"),
		   *fleet = watch(2, 1, "max", "F1");

	ask("update vehicles set retired_at = now() where vehicle_id = 'CAR1'");
	make(0, "CAR1", "vehicle.retired", "{}", NULL);
	until_seen(admin, "end:");
	until_seen(manager, "end:");
	assert_seen(fleet, "CAR1:1:vehicle.retired");
	assert_seen(admin, "end:forbidden");
	assert_seen(manager, "end:forbidden");
}
END_TEST

void add_rights(Suite *suite)
{
	TCase *tc = case_new(suite, "rights");

	tcase_add_test(tc, access_of_others_is_skipped);
	tcase_add_test(tc, nothing_follows_the_end_of_a_grant);
	tcase_add_test(tc, another_grant_carries_on);
	tcase_add_test(tc, grant_that_runs_out_ends_the_stream_and_one_that_is_prolonged_does_not);
	tcase_add_test(tc, fleets_grants_are_told_to_managers_owners_and_their_subject);
	tcase_add_test(tc, what_is_tried_at_a_fleet_is_told_to_its_managers);
	tcase_add_test(tc, a_fleets_grants_cost_as_much_as_it_is_watched);
	tcase_add_test(tc, end_of_a_fleets_grant_is_found_though_its_message_was_lost);
	tcase_add_test(tc, a_fleet_that_was_made_anew_is_another);
	tcase_add_test(tc, retired_vehicle_ends_all);
}
