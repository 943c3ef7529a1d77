/* fleets.c - fleets, and what their grants had allowed. */
#include "tests/unit/gateway/operations/ground.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/operations/revocation.h"
#include "sql/statements.h"

static bool no_revocation_is_open(void)
{
	return strcmp(ask("select count(*) from revocations"), "0") == 0;
}

START_TEST(fleet_is_made_changed_and_removed)
{
	assert_ok("admin", API_FLEET_PUT, "{\"fleet_id\":\"F9\",\"title\":\"Vans\"}");
	ck_assert(call->created);
	ck_assert_str_eq(at("title"), "Vans");
	assert_ok("admin", API_FLEET_PUT, "{\"fleet_id\":\"F9\"}");
	ck_assert(!call->created);
	ck_assert_str_eq(at("title"), "");
	assert_ok("admin", API_VEHICLE_PUT, "{\"vehicle_id\":\"CAR2\",\"fleet_id\":\"F9\"}");
	assert_refused("admin", API_FLEET_DELETE, "{\"fleet_id\":\"F9\"}", "fleet-not-empty");
	assert_ok("admin", API_VEHICLE_DELETE, "{\"vehicle_id\":\"CAR2\"}");
	assert_ok("admin", API_FLEET_DELETE, "{\"fleet_id\":\"F9\"}");
	assert_refused("admin", API_FLEET_GET, "{\"fleet_id\":\"F9\"}", "fleet-not-found");
}
END_TEST

START_TEST(impossible_fleets)
{
	static const char *const bad[] = { "\"fleet_id\":\"a b\"", "\"fleet_id\":\"acme-1\"", "\"fleet_id\":\"*\"",
		"\"fleet_id\":7", "\"title\":\"x\"", "\"fleet_id\":\"F9\",\"title\":7" };
	char params[128];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(params, sizeof(params), "{%s}", bad[i]);
		assert_refused("admin", API_FLEET_PUT, params, "invalid-params");
	}
	assert_ok("admin", API_FLEET_PUT, "{\"fleet_id\":\"keyfob-1\"}"); /* another installation's name is free */
	assert_refused("admin", API_FLEET_GRANT_PUT, "{\"fleet_id\":\"F1\",\"subject\":\"eve\",\"role\":\"owner\"}",
		"invalid-params");
	assert_refused("admin", API_FLEET_GET, "{\"fleet_id\":\"*\"}", "fleet-not-found");
	assert_refused("max", API_FLEET_GRANT_DELETE, "{\"fleet_id\":\"F1\",\"subject\":\"eve\"}", "grant-not-found");
}
END_TEST

/* Whoever there is may have subscribers for the fleet or for a vehicle of it. */
START_TEST(fleets_grant_is_told_to_other_workers)
{
	ask("insert into leases (name, holder, epoch, expires_at) values ('worker/w2', 'w2', 1, now() + interval '1 "
	    "hour')");
	assert_ok("max", API_FLEET_GRANT_PUT, "{\"fleet_id\":\"F1\",\"subject\":\"vic\",\"role\":\"viewer\"}");
	ck_assert(call->created);
	ck_assert_str_eq(forwarded_to, "w2");
	ck_assert_ptr_eq(strstr(forwarded, "\t1\tF1\t\taccess.changed\t"), forwarded);
	ck_assert_ptr_nonnull(strstr(forwarded, "\"vic\""));
	ck_assert_str_eq(ask("select access_version from fleets where fleet_id = 'F1'"), "1");
	assert_ok("max", API_FLEET_GRANT_DELETE, "{\"fleet_id\":\"F1\",\"subject\":\"vic\"}");
	ck_assert_ptr_eq(strstr(forwarded, "\t2\tF1\t\taccess.changed\t"), forwarded);
	ask("delete from leases where name = 'worker/w2'");
}
END_TEST

START_TEST(ended_fleet_grant_takes_back_what_is_unsent)
{
	revocation_start(w.revocation);
	ask(three_commands("otto"));
	assert_ok("max", API_FLEET_GRANT_DELETE, "{\"fleet_id\":\"F1\",\"subject\":\"otto\"}");
	pump_until(otto_has_nothing_left);
	pump_until(no_revocation_is_open);
}
END_TEST

/* Before the look at the fleet comes to the vehicle. */
START_TEST(what_leaves_the_fleet_is_taken_back_too)
{
	ask(three_commands("otto"));
	assert_ok("max", API_FLEET_GRANT_DELETE, "{\"fleet_id\":\"F1\",\"subject\":\"otto\"}");
	assert_ok("admin", API_VEHICLE_PUT, "{\"vehicle_id\":\"CAR1\"}");
	revocation_start(w.revocation);
	pump_until(otto_has_nothing_left);
	pump_until(no_revocation_is_open);
}
END_TEST

/* A vehicle that leaves leaves one row for each who has something unsent there, however many had rights by the fleet. */
START_TEST(a_move_remembers_only_who_has_something_unsent)
{
	ask("insert into grants (object_kind, object_id, subject, role, granted_by)"
	    " select 'fleet', 'F1', 'many' || n, 'operator', 'max' from generate_series(1, 500) n");
	ask(three_commands("many7"));
	assert_ok("admin", API_VEHICLE_PUT, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_str_eq(ask("select string_agg(subject, ' ') from revocations"), "many7");
}
END_TEST

/* Whoever accepts may have read the grant before it ended, and commits after what was unsent was taken back. */
START_TEST(what_was_being_accepted_is_taken_back_too)
{
	PGconn *conn = PQconnectdb(postgres.url);

	ask("delete from commands");
	PQclear(PQexec(conn, "begin"));
	PQclear(PQexec(conn, three_commands("otto")));
	revocation_start(w.revocation);
	assert_ok("max", API_FLEET_GRANT_DELETE, "{\"fleet_id\":\"F1\",\"subject\":\"otto\"}");
	for (int looks = 0; looks < 3; looks++) {
		revocation_look(w.revocation);
		pump_until(is_idle);
	}
	ck_assert(!no_revocation_is_open());
	PQclear(PQexec(conn, "commit"));
	PQfinish(conn);
	pump_until(otto_has_nothing_left);
	pump_until(no_revocation_is_open);
}
END_TEST

/* What is claimed when the right ends may still not have left. */
START_TEST(what_comes_back_from_a_claim_is_taken_back)
{
	ask("update vehicle_heads set claim_id = (select id from commands), claim_worker = 'w1', claim_attempt = 1 "
	    "where "
	    "vehicle_id = 'CAR1'; update commands set flight = 'claimed'");
	revocation_start(w.revocation);
	assert_ok("olga", API_GRANT_DELETE, "{\"vehicle_id\":\"CAR1\",\"subject\":\"dan\"}");
	revocation_look(w.revocation);
	pump_until(is_idle);
	ck_assert_str_eq(statuses_of("dan"), "doors.unlock accepted");
	ask("update vehicle_heads set claim_id = null, claim_worker = null, claim_attempt = null; update commands set "
	    "flight = "
	    "'none'");
	pump_until(no_revocation_is_open);
	ck_assert_str_eq(statuses_of("dan"), "doors.unlock canceled ACCESS_REVOKED");
}
END_TEST

static bool nobody_is_expired(void)
{
	return strcmp(ask("select count(*) from grants where expires_at <= now()"), "0") == 0;
}

START_TEST(grants_whose_time_is_over_end)
{
	ask("update grants set expires_at = now() - interval '1 second' where subject in ('dan', 'otto')");
	revocation_start(w.revocation);
	pump_until(nobody_is_expired);
	pump_until(no_revocation_is_open);
	ck_assert_str_eq(statuses_of("dan"), "doors.unlock canceled ACCESS_REVOKED");
	ck_assert_str_eq(
		ask("select string_agg(data->>'subject', ' ' order by data->>'subject') from events where type = "
		    "'access.changed' and data->>'role' is null"),
		"dan ed");
	ck_assert_str_eq(ask("select access_version from fleets where fleet_id = 'F1'"), "1");
}
END_TEST

/* Pages that a list of the fleet's batches reads, and a look at what it says of the first. */
static int pages_of_batches(void)
{
	char sql[8192];

	snprintf(sql, sizeof(sql),
		"prepare listing(text, bool, bool, text, int, uuid) as %s;"
		"set plan_cache_mode = force_generic_plan; set enable_seqscan = off;"
		"explain (analyze, buffers, format json) execute listing('admin', true, true, 'F1', 40, null)",
		SQL_read_batches.text);
	const char *hits = strstr(ask(sql), "\"Shared Hit Blocks\": ");
	ck_assert_ptr_nonnull(hits);
	return atoi(hits + strlen("\"Shared Hit Blocks\": "));
}

#define TIMED_OUT                                                                                                      \
	"select (batch_json(b)->'counts'->>'timed_out') || ' ' || (batch_json(b, 500)->'counts'->>'timed_out') from "  \
	"batches b order by id limit 1"

/* Of a large one it says what was counted last: by who feeds it, and after its end now and then. A small one is counted. */
START_TEST(a_list_does_not_count_all_targets_of_all_batches)
{
	ask("insert into batches (id, fleet_id, state, name, params, ttl_seconds, timeout_seconds, wake, redelivery, "
	    "supersedes, catalog, issued_by, "
	    "admin, needs, rate, total, finished_at) select ('00000000-0000-7000-8000-0000000000' || n)::uuid, 'F1', "
	    "'canceled', 'horn', '{}', 60, "
	    "60, false, 'never', '{}', '{}', 'max', true, 1, 1, 2000, now() from generate_series(10, 49) n;"
	    "insert into batch_targets (batch_id, vehicle_id, fed, command_id) select b.id, 'V' || n, true, "
	    "gen_random_uuid() "
	    "from batches b, generate_series(1, 2000) n; analyze batch_targets");
	ck_assert_int_lt(pages_of_batches(), 20000);
	ck_assert_str_eq(ask(TIMED_OUT), "2000 0");
	ask("select batches_recount(500)");
	ck_assert_str_eq(
		ask("select count(*) from batches where under_way <> '{}'"), "0"); /* another node has just counted */
	ask("update batches set counted_at = now() - interval '1 minute'");
	for (int i = 0; i < 40; i++)
		ask("select batches_recount(500)");
	ck_assert_str_eq(ask("select count(*) from batches where under_way = '{\"timed_out\": 2000}'"), "40");
	ck_assert_str_eq(ask(TIMED_OUT), "2000 2000");
	ask("delete from batch_targets where vehicle_id in (select 'V' || n from generate_series(451, 2000) n); update "
	    "batches set total = 450");
	ck_assert_str_eq(ask(TIMED_OUT), "450 450");
	ask("delete from batch_targets; delete from batches");
}
END_TEST

void add_fleets(Suite *suite)
{
	TCase *tc = case_new(suite, "fleets");

	tcase_add_test(tc, fleet_is_made_changed_and_removed);
	tcase_add_test(tc, impossible_fleets);
	tcase_add_test(tc, fleets_grant_is_told_to_other_workers);
	tcase_add_test(tc, ended_fleet_grant_takes_back_what_is_unsent);
	tcase_add_test(tc, what_leaves_the_fleet_is_taken_back_too);
	tcase_add_test(tc, a_move_remembers_only_who_has_something_unsent);
	tcase_add_test(tc, what_was_being_accepted_is_taken_back_too);
	tcase_add_test(tc, what_comes_back_from_a_claim_is_taken_back);
	tcase_add_test(tc, a_list_does_not_count_all_targets_of_all_batches);
	tcase_add_test(tc, grants_whose_time_is_over_end);
}
