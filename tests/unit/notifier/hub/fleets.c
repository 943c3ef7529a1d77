/* fleets.c - who watches a fleet, or all: each vehicle of it without a hole, and those that come and go. */
#include "tests/unit/notifier/hub/ground.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "base/json.h"

START_TEST(fleet_hears_its_vehicles_from_both_workers)
{
	struct app *app = watch(0, 0, "otto", "F1");

	ck_assert(app->ready);
	ck_assert_int_eq(app->vehicles, 2);
	happen(0, "CAR1");
	happen(1, "CAR1");
	happen(1, "CAR2");
	happen(1, "CAR3");
	happen(0, "CAR1");
	assert_seen(app, "CAR1:1:state.reported CAR1:2:state.reported CAR2:1:state.reported CAR1:3:state.reported");
}
END_TEST

/* More than are looked for at once, and none of what was told before: each line is seen once, in order. */
START_TEST(all_events_of_one_transaction_are_told_with_it)
{
	static const int counts[] = { 7, 8, 9, 1, 16, 20 };
	struct app *app = watch(0, 0, "otto", "F1");
	struct text expected = { 0 };
	int seq = 0;

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		int before = seq;
		write_events(0, "CAR1", "state.reported", "{}", NULL, counts[i]);
		for (; seq < before + counts[i]; seq++)
			text_addf(&expected, "%sCAR1:%d:state.reported", seq > 0 ? " " : "", seq + 1);
		ck_assert_str_eq(app->seen, expected.data); /* at once: nothing was left for the hole to be filled */
	}
	text_free(&expected);
}
END_TEST

START_TEST(hole_of_a_fleets_vehicle_is_filled_in_order)
{
	struct app *app = watch(0, 0, "otto", "F1");

	happen(1, "CAR1");
	inbox_is_cut = true;
	happen(1, "CAR1");
	happen(1, "CAR1");
	inbox_is_cut = false;
	happen(1, "CAR1");
	until_seen(app, "CAR1:4");
	assert_seen(app, "CAR1:1:state.reported CAR1:2:state.reported CAR1:3:state.reported CAR1:4:state.reported");
}
END_TEST

START_TEST(last_event_of_a_vehicle_is_found_though_its_message_was_lost)
{
	struct app *app = watch(0, 0, "otto", "F1");

	inbox_is_cut = true;
	happen(1, "CAR2");
	until_seen(app, "CAR2:1");
}
END_TEST

static void join_unheard(const char *vehicle_id)
{
	char sql[256];

	inbox_is_cut = true;
	happen(1, vehicle_id);
	snprintf(sql, sizeof(sql), "update vehicles set fleet_id = 'F1' where vehicle_id = '%s'", vehicle_id);
	ask(sql);
	make(1, vehicle_id, "vehicle.moved", "{\"fleet_id\":\"F1\"}", "F2");
	happen(1, vehicle_id);
	inbox_is_cut = false;
}

#define JOINED "CAR3:2:vehicle.moved {\"fleet_id\":\"F1\"} CAR3:3:state.reported"

/* Nothing that it did in the fleet is left out, and nothing that it did before is told. */
START_TEST(a_vehicle_that_came_in_unheard_is_followed_from_then)
{
	struct app *app = watch(0, 0, "otto", "F1");

	join_unheard("CAR3");
	happen(1, "CAR3");
	assert_seen(app, JOINED " CAR3:4:state.reported");
}
END_TEST

/* It says nothing more, and the link was lost. */
START_TEST(a_vehicle_that_came_in_unheard_is_found_by_the_resync)
{
	struct app *app = watch(0, 0, "otto", "F1");

	join_unheard("CAR3");
	hub_resync(workers[0].hub);
	assert_seen(app, JOINED);
	happen(1, "CAR3");
	assert_seen(app, JOINED " CAR3:4:state.reported");
}
END_TEST

/* Who writes had looked for interest before there was any, and commits after the fleet's heads were read. */
START_TEST(what_was_under_way_at_the_subscription_is_found)
{
	PGconn *conn = PQconnectdb(postgres.url);

	PQclear(PQexec(conn, "begin"));
	PQclear(PQexec(conn, "select event_add('CAR1', 'state.reported', '{}')"));
	struct app *app = watch(0, 0, "otto", "F1");
	assert_seen(app, "");
	PQclear(PQexec(conn, "commit"));
	PQfinish(conn);
	until_seen(app, "CAR1:1");
	happen(1, "CAR1");
	assert_seen(app, "CAR1:1:state.reported CAR1:2:state.reported");
}
END_TEST

START_TEST(all_vehicles_with_those_that_come_later)
{
	struct app *app = watch(0, 0, "admin", "*");

	ck_assert_int_eq(app->vehicles, 3);
	ask("insert into vehicle_heads (vehicle_id, seq) values ('CAR9', 7); insert into vehicles (vehicle_id) values "
	    "('CAR9')");
	happen(1, "CAR9");
	until_seen(app, "CAR9:8"); /* where it began is read first, and others do not wait for it */
	happen(0, "CAR3");
	happen(1, "CAR9");
	assert_seen(app, "CAR9:8:state.reported CAR3:1:state.reported CAR9:9:state.reported");
}
END_TEST

/* The heads of a large fleet are read page by page: whoever is on the last is heard, and what was under way meanwhile is found. */
START_TEST(large_fleet_is_heard_to_its_last_vehicle)
{
	ask("insert into vehicles (vehicle_id, fleet_id) select 'CAS' || lpad(n::text, 5, '0'), 'F1' from "
	    "generate_series(1, 12000) n;"
	    "insert into vehicle_heads (vehicle_id) select vehicle_id from vehicles where vehicle_id like 'CAS%';"
	    "insert into vehicles (vehicle_id, fleet_id) values ('CB', 'F1')"); /* without a head */
	struct app *app = watch(0, 0, "max", "F1");

	ck_assert_int_eq(app->vehicles, 12003);
	inbox_is_cut = true;
	happen(1, "CAS00001");
	happen(1, "CAS05001");
	happen(1, "CAS12000");
	inbox_is_cut = false;
	happen(1, "CAS00001");
	happen(1, "CAS05001");
	happen(1, "CAS12000");
	assert_seen(app, "CAS00001:1:state.reported CAS00001:2:state.reported CAS05001:1:state.reported "
			 "CAS05001:2:state.reported CAS12000:1:state.reported CAS12000:2:state.reported");
}
END_TEST

START_TEST(strangers_watch_no_fleet)
{
	assert_seen(watch(0, 0, "sam", "F1"), "end:fleet-not-found");
	assert_seen(watch(1, 1, "otto", "F2"), "end:fleet-not-found");
	assert_seen(watch(2, 1, "sam", "F9"), "end:fleet-not-found");
	assert_seen(watch(3, 1, "admin", "F9"), "end:fleet-not-found");
	assert_seen(watch(4, 1, "max", "*"), "end:fleet-not-found");
	ck_assert_str_eq(ask("select count(*) from interest where kind = 'fleet'"), "0");
}
END_TEST

START_TEST(vehicle_and_fleet_watched_on_one_worker)
{
	struct app *fleet = watch(0, 0, "otto", "F1"), *vehicle = watch(1, 0, "dan", "CAR1");

	happen(1, "CAR1");
	happen(0, "CAR2");
	assert_seen(fleet, "CAR1:1:state.reported CAR2:1:state.reported");
	assert_seen(vehicle, "CAR1:1:state.reported");
	hub_unsubscribe(workers[0].hub, &fleet->subscriber);
	happen(1, "CAR1");
	assert_seen(vehicle, "CAR1:1:state.reported CAR1:2:state.reported");
	assert_seen(fleet, "CAR1:1:state.reported CAR2:1:state.reported");
}
END_TEST

START_TEST(interest_that_was_lost_is_written_again)
{
	struct app *app = watch(0, 0, "otto", "F1");

	ask("truncate interest");
	happen(1, "CAR1");
	hub_resync(workers[0].hub);
	until_seen(app, "CAR1:1");
	happen(1, "CAR1");
	assert_seen(app, "CAR1:1:state.reported CAR1:2:state.reported");
}
END_TEST

START_TEST(move_is_heard_on_both_sides)
{
	ask("insert into grants (object_kind, object_id, subject, role, granted_by) values ('fleet', 'F2', 'mia', "
	    "'manager', "
	    "'t')");
	struct app *left = watch(0, 0, "otto", "F1"), *joined = watch(1, 1, "mia", "F2"),
		   *owner = watch(2, 0, "olga", "CAR1"), *gone = watch(3, 0, "otto", "CAR1");

	ask("update vehicles set fleet_id = 'F2' where vehicle_id = 'CAR1'");
	make(1, "CAR1", "vehicle.moved", "{\"fleet_id\":\"F2\"}", "F1");
	happen(0, "CAR1");
	until_seen(gone, "end:");
	until_seen(owner, "CAR1:2");
	assert_seen(left, "CAR1:1:vehicle.moved {\"fleet_id\":null}");
	assert_seen(joined, "CAR1:1:vehicle.moved {\"fleet_id\":\"F2\"} CAR1:2:state.reported");
	assert_seen(owner, "CAR1:1:vehicle.moved {\"fleet_id\":\"F2\"} CAR1:2:state.reported");
	assert_seen(gone, "end:forbidden");
}
END_TEST

/* The rights were read, and before the answer is here the vehicle has moved: the answer counts no more. (Where it was here
 * already, they are read again.) */
START_TEST(move_while_somebody_begins)
{
	static const char moved[] =
		"CAR1\t1\tF2\tF1\tvehicle.moved\t2026-01-01T00:00:00.000000Z\t{\"fleet_id\":\"F2\"}\n";
	struct app *app = &apps[1];

	watch(0, 0, "dan", "CAR1");
	begin_to_watch(1, 0, "otto", "CAR1");
	uv_run(loop_uv(loop), UV_RUN_NOWAIT); /* the question leaves; its answer waits in the socket */
	ask("update vehicles set fleet_id = 'F2' where vehicle_id = 'CAR1'; select event_add('CAR1', 'vehicle.moved', "
	    "'{\"fleet_id\":\"F2\"}', 'F1')");
	hub_receive(workers[0].hub, moved, strlen(moved));
	until_ended(app);
	assert_seen(app, app->ready ? "end:forbidden" : "end:vehicle-not-found");
	until_seen(&apps[0], "CAR1:1:vehicle.moved");
}
END_TEST

START_TEST(lines_that_cannot_be_read_are_passed_over)
{
	static const char *const lines[] = { "", "nonsense", "CAR1\t1\tF1\t\ttype", "a/b\t1\tF1\t\tt\tt\t{}",
		"\t1\t\t\taccess.changed\tt\t{}", "CAR1\t1\tF 1\t\tt\tt\t{}" };
	struct app *app = watch(0, 0, "otto", "F1");

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		hub_receive(workers[0].hub, lines[i], strlen(lines[i]));
	happen(1, "CAR1");
	assert_seen(app, "CAR1:1:state.reported");
}
END_TEST

void add_fleets(Suite *suite)
{
	TCase *tc = case_new(suite, "fleets");

	tcase_add_test(tc, fleet_hears_its_vehicles_from_both_workers);
	tcase_add_test(tc, all_events_of_one_transaction_are_told_with_it);
	tcase_add_test(tc, hole_of_a_fleets_vehicle_is_filled_in_order);
	tcase_add_test(tc, last_event_of_a_vehicle_is_found_though_its_message_was_lost);
	tcase_add_test(tc, a_vehicle_that_came_in_unheard_is_followed_from_then);
	tcase_add_test(tc, a_vehicle_that_came_in_unheard_is_found_by_the_resync);
	tcase_add_test(tc, what_was_under_way_at_the_subscription_is_found);
	tcase_add_test(tc, all_vehicles_with_those_that_come_later);
	tcase_add_test(tc, large_fleet_is_heard_to_its_last_vehicle);
	tcase_add_test(tc, strangers_watch_no_fleet);
	tcase_add_test(tc, vehicle_and_fleet_watched_on_one_worker);
	tcase_add_test(tc, interest_that_was_lost_is_written_again);
	tcase_add_test(tc, move_is_heard_on_both_sides);
	tcase_add_test(tc, move_while_somebody_begins);
	tcase_add_test(tc, lines_that_cannot_be_read_are_passed_over);
}
