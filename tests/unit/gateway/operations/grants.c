/* grants.c - grants, and what a change of one takes with it. */
#include "tests/unit/gateway/operations/ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

START_TEST(grant_is_made_changed_and_ended)
{
	assert_ok("olga", API_GRANT_PUT,
		"{\"vehicle_id\":\"CAR1\",\"subject\":\"nina\",\"role\":\"viewer\",\"expires_at\":\"2099-01-01T00:00:"
		"00Z\"}");
	ck_assert(call->created);
	ck_assert_str_eq(at("subject"), "nina");
	ck_assert_str_eq(at("role"), "viewer");
	ck_assert_str_eq(at("expires_at"), "2099-01-01T00:00:00.000000Z");
	ck_assert_str_eq(at("granted_by"), "olga");
	ck_assert_ptr_nonnull(at("created_at"));

	assert_ok("max", API_GRANT_PUT,
		"{\"vehicle_id\":\"CAR1\",\"subject\":\"nina\",\"role\":\"driver\",\"expires_at\":null}");
	ck_assert(!call->created);
	assert_ok("olga", API_GRANT_GET, "{\"vehicle_id\":\"CAR1\",\"subject\":\"nina\"}");
	ck_assert_str_eq(at("role"), "driver");
	ck_assert_str_eq(at("granted_by"), "max");
	ck_assert(json_is_null(json_object_get(reply, "expires_at")));

	assert_ok("olga", API_GRANT_DELETE, "{\"vehicle_id\":\"CAR1\",\"subject\":\"nina\"}");
	assert_refused("olga", API_GRANT_GET, "{\"vehicle_id\":\"CAR1\",\"subject\":\"nina\"}", "grant-not-found");
	assert_refused("olga", API_GRANT_DELETE, "{\"vehicle_id\":\"CAR1\",\"subject\":\"nina\"}", "grant-not-found");
	assert_refused("nina", API_VEHICLE_GET, "{\"vehicle_id\":\"CAR1\"}", "vehicle-not-found");

	ck_assert_str_eq(ask("select string_agg(seq || ' ' || (data->>'subject') || ' ' || coalesce(data->>'role', "
			     "'null') || ' ' || "
			     "coalesce(data->>'expires_at', 'null'), ', ' order by seq) from events where type = "
			     "'access.changed'"),
		"2 nina viewer 2099-01-01T00:00:00.000000Z, 3 nina driver null, 4 nina null null");
	ck_assert_str_eq(ask("select seq from vehicle_heads where vehicle_id = 'CAR1'"), "4");
}
END_TEST

START_TEST(changes_are_audited)
{
	ck_assert_str_eq(ask("select count(*) from audit where object = 'AUD1'"), "0");
	assert_ok("admin", API_VEHICLE_PUT, "{\"vehicle_id\":\"AUD1\"}");
	assert_ok("admin", API_GRANT_PUT, "{\"vehicle_id\":\"AUD1\",\"subject\":\"nina\",\"role\":\"driver\"}");
	assert_refused("nina", API_GRANT_PUT, "{\"vehicle_id\":\"AUD1\",\"subject\":\"nina\",\"role\":\"owner\"}",
		"forbidden");
	assert_ok("admin", API_GRANT_DELETE, "{\"vehicle_id\":\"AUD1\",\"subject\":\"nina\"}");
	assert_ok("admin", API_VEHICLE_DELETE, "{\"vehicle_id\":\"AUD1\"}");
	ck_assert_str_eq(ask("select string_agg(w.subject || ' ' || action || ' ' || allowed, ', ' order by a.id) from "
			     "audit a join actors w on w.id = a.who where object "
			     "= 'AUD1'"),
		"admin vehicle.put true, admin grant.put true, nina grant.put false, admin grant.end true, admin "
		"vehicle.retire true");
}
END_TEST

/* What ends all of them at once is not to take for ever. */
START_TEST(a_vehicle_has_at_most_a_thousand_grants)
{
	ask("insert into grants (object_kind, object_id, subject, role, granted_by) select 'vehicle', 'CAR1', "
	    "'one-of-' || n, 'viewer', 'test' "
	    "from generate_series(1, 1000 - (select count(*)::int from grants where object_kind = 'vehicle' and "
	    "object_id = 'CAR1')) n");
	assert_refused("olga", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"nina\",\"role\":\"viewer\"}",
		"invalid-params");
	assert_refused("sam", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"nina\",\"role\":\"viewer\"}",
		"vehicle-not-found");
	assert_ok("olga", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"vera\",\"role\":\"driver\"}");
	assert_ok("olga", API_GRANT_DELETE, "{\"vehicle_id\":\"CAR1\",\"subject\":\"vera\"}");
	assert_ok("olga", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"nina\",\"role\":\"viewer\"}");
}
END_TEST

START_TEST(impossible_grants)
{
	static const char *const bad[] = {
		"\"subject\":\"nina\"",
		"\"subject\":\"nina\",\"role\":\"manager\"",
		"\"subject\":\"nina\",\"role\":7",
		"\"subject\":\"\",\"role\":\"viewer\"",
		"\"subject\":\"two\\nlines\",\"role\":\"viewer\"",
		"\"subject\":\"nina\",\"role\":\"viewer\",\"expires_at\":\"tomorrow\"",
		"\"subject\":\"nina\",\"role\":\"viewer\",\"expires_at\":\"2020-01-01T00:00:00Z\"",
		"\"subject\":\"nina\",\"role\":\"viewer\",\"expires_at\":4070908800",
	};
	char params[512];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(params, sizeof(params), "{\"vehicle_id\":\"CAR1\",%s}", bad[i]);
		const char *heard = try_as("olga", &API_GRANT_PUT, params);
		ck_assert_msg(strcmp(heard, "invalid-params") == 0, "%s: %s", bad[i], heard);
	}
	char *subject = calloc(1, 257);
	memset(subject, 'x', 256);
	snprintf(params, sizeof(params), "{\"vehicle_id\":\"CAR1\",\"subject\":\"%s\",\"role\":\"viewer\"}", subject);
	assert_refused("olga", API_GRANT_PUT, params, "invalid-params");
	free(subject);
}
END_TEST

/* RFC 3339 knows times that PostgreSQL does not read; one of them must not undo everybody's transaction. */
START_TEST(strange_but_valid_times)
{
	static const char *const times[][2] = {
		{ "2099-01-01T00:00:00+23:59", "2098-12-31T00:01:00.000000Z" },
		{ "2098-12-31T23:59:60Z", "2099-01-01T00:00:00.000000Z" },
		{ "2099-01-01t00:00:00.123456789z", "2099-01-01T00:00:00.123456Z" },
	};
	char params[256];

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		snprintf(params, sizeof(params),
			"{\"vehicle_id\":\"CAR1\",\"subject\":\"nina\",\"role\":\"viewer\",\"expires_at\":\"%s\"}",
			times[i][0]);
		struct api_call *beside =
			start(&API_GRANT_DELETE, "admin", SCOPE_ADMIN, "{\"vehicle_id\":\"CAR3\",\"subject\":\"x\"}");
		assert_ok("olga", API_GRANT_PUT, params);
		ck_assert_str_eq(at("expires_at"), times[i][1]);
		ck_assert_str_eq(verdict_of(beside), "grant-not-found");
		api_call_free(beside);
	}
}
END_TEST

START_TEST(renewed_after_its_end_a_grant_is_new)
{
	assert_refused("olga", API_GRANT_GET, "{\"vehicle_id\":\"CAR1\",\"subject\":\"ed\"}", "grant-not-found");
	assert_refused("olga", API_GRANT_DELETE, "{\"vehicle_id\":\"CAR1\",\"subject\":\"ed\"}", "grant-not-found");
	assert_ok("olga", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"ed\",\"role\":\"driver\"}");
	ck_assert(call->created);
	assert_ok("ed", API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_uint_eq(items(), 0);
}
END_TEST

START_TEST(last_owner_stays)
{
	static const char end[] = "{\"vehicle_id\":\"CAR1\",\"subject\":\"olga\"}";
	static const char sink[] = "{\"vehicle_id\":\"CAR1\",\"subject\":\"olga\",\"role\":\"driver\"}";

	assert_refused("olga", API_GRANT_DELETE, end, "forbidden");
	ck_assert_str_ne(call->detail, "");
	assert_refused("olga", API_GRANT_PUT, sink, "forbidden");
	assert_refused("max", API_GRANT_DELETE, end, "forbidden");
	/* one whose time is over does not count */
	ask("insert into grants (object_kind, object_id, subject, role, expires_at, granted_by) values ('vehicle', "
	    "'CAR1', 'oscar', "
	    "'owner', now() - interval '1 minute', 't')");
	assert_refused("olga", API_GRANT_DELETE, end, "forbidden");
	assert_refused("olga", API_GRANT_PUT, sink, "forbidden");
	assert_ok("admin", API_GRANT_PUT, sink);
	assert_ok("admin", API_GRANT_DELETE, end);
}
END_TEST

START_TEST(a_vehicle_has_so_many_grants)
{
	ask("insert into grants (object_kind, object_id, subject, role, granted_by) select 'vehicle', 'CAR1', 'g' || "
	    "i, "
	    "'viewer', 't' from generate_series(1, 1000) i");
	assert_refused("olga", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"nina\",\"role\":\"viewer\"}",
		"invalid-params");
	ck_assert_str_eq(call->detail, "a vehicle has at most 1000 grants");
	assert_ok("olga", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"g1\",\"role\":\"driver\"}");
}
END_TEST

/* Else a manager would take the last owner's place and then end their grant. */
START_TEST(a_manager_owns_nothing_that_is_owned)
{
	static const char *const takes[] = {
		"\"subject\":\"max\",\"role\":\"owner\"",
		"\"subject\":\"oscar\",\"role\":\"owner\"",
		"\"subject\":\"dan\",\"role\":\"owner\",\"expires_at\":\"2099-01-01T00:00:00Z\"",
	};
	char params[256];

	for (size_t i = 0; i < sizeof(takes) / sizeof(takes[0]); i++) {
		snprintf(params, sizeof(params), "{\"vehicle_id\":\"CAR1\",%s}", takes[i]);
		assert_refused("max", API_GRANT_PUT, params, "forbidden");
		ck_assert_str_ne(call->detail, "");
	}
	assert_ok("admin", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"oscar\",\"role\":\"owner\"}");
	assert_ok("max", API_GRANT_DELETE, "{\"vehicle_id\":\"CAR1\",\"subject\":\"olga\"}");
	assert_refused("max", API_GRANT_DELETE, "{\"vehicle_id\":\"CAR1\",\"subject\":\"oscar\"}", "forbidden");
}
END_TEST

START_TEST(a_manager_gives_the_first_owner)
{
#define CAR3_OWNED(who, until)                                                                                         \
	"{\"vehicle_id\":\"CAR3\",\"subject\":\"" who "\",\"role\":\"owner\",\"expires_at\":" until "}"
	assert_ok("mia", API_GRANT_PUT, CAR3_OWNED("vera", "\"2098-01-01T00:00:00Z\""));
	assert_refused("mia", API_GRANT_PUT, CAR3_OWNED("mia", "null"), "forbidden");
	assert_refused("mia", API_GRANT_PUT, CAR3_OWNED("vera", "\"2097-01-01T00:00:00Z\""), "forbidden");
	assert_ok("mia", API_GRANT_PUT, CAR3_OWNED("vera", "\"2099-01-01T00:00:00Z\""));
	assert_ok("mia", API_GRANT_PUT, CAR3_OWNED("vera", "null"));
	assert_refused("mia", API_GRANT_DELETE, "{\"vehicle_id\":\"CAR3\",\"subject\":\"vera\"}", "forbidden");
#undef CAR3_OWNED
}
END_TEST

/* An owner until some day is none on the day after: nobody but admin brings a vehicle there by waiting. */
START_TEST(last_owner_has_no_end)
{
	static const char until[] = "{\"vehicle_id\":\"CAR1\",\"subject\":\"olga\",\"role\":\"owner\",\"expires_at\":"
				    "\"2099-01-01T00:00:00Z\"}";
	static const char end[] = "{\"vehicle_id\":\"CAR1\",\"subject\":\"olga\"}";

	assert_refused("olga", API_GRANT_PUT, until, "forbidden");
	assert_refused("max", API_GRANT_PUT, until, "forbidden");
	assert_ok("olga", API_GRANT_PUT,
		"{\"vehicle_id\":\"CAR1\",\"subject\":\"oscar\",\"role\":\"owner\",\"expires_at\":\"2099-01-01T00:00:"
		"00Z\"}");
	assert_refused("olga", API_GRANT_DELETE, end, "forbidden");
	assert_refused("max", API_GRANT_DELETE, end, "forbidden");
	assert_refused("olga", API_GRANT_PUT, until, "forbidden");
	assert_ok("max", API_GRANT_DELETE, "{\"vehicle_id\":\"CAR1\",\"subject\":\"oscar\"}");
	ck_assert_str_eq(ask("select subject || ' ' || coalesce(expires_at::text, 'for ever') from grants where "
			     "object_id = 'CAR1' and role = 'owner'"),
		"olga for ever");
	assert_ok("admin", API_GRANT_PUT, until);
}
END_TEST

START_TEST(an_owner_until_some_day_gives_no_more_than_that)
{
#define UNTIL(who, day) "{\"vehicle_id\":\"CAR1\",\"subject\":\"" who "\",\"role\":\"owner\",\"expires_at\":" day "}"
	assert_ok("olga", API_GRANT_PUT, UNTIL("oscar", "\"2098-01-01T00:00:00Z\""));
	assert_refused("oscar", API_GRANT_PUT, UNTIL("oscar", "null"), "forbidden");
	assert_refused("oscar", API_GRANT_PUT, UNTIL("oscar", "\"2099-01-01T00:00:00Z\""), "forbidden");
	assert_refused("oscar", API_GRANT_PUT, UNTIL("nina", "null"), "forbidden");
	assert_refused("oscar", API_VEHICLE_TRANSFER, "{\"vehicle_id\":\"CAR1\",\"subject\":\"oscar\"}", "forbidden");
	assert_refused("oscar", API_GRANT_DELETE, "{\"vehicle_id\":\"CAR1\",\"subject\":\"olga\"}", "forbidden");
	assert_ok("oscar", API_GRANT_PUT, UNTIL("nina", "\"2098-01-01T00:00:00Z\""));
	assert_ok("oscar", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"nick\",\"role\":\"driver\"}");
	assert_ok("olga", API_GRANT_PUT, UNTIL("oscar", "null"));
	assert_ok("oscar", API_VEHICLE_TRANSFER, "{\"vehicle_id\":\"CAR1\",\"subject\":\"oscar\"}");
#undef UNTIL
}
END_TEST

START_TEST(one_of_two_owners_may_go)
{
	assert_ok("olga", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"oscar\",\"role\":\"owner\"}");
	struct api_call *other =
		start(&API_GRANT_DELETE, "oscar", SCOPES_USER, "{\"vehicle_id\":\"CAR1\",\"subject\":\"oscar\"}");
	try_as("olga", &API_GRANT_DELETE, "{\"vehicle_id\":\"CAR1\",\"subject\":\"olga\"}");
	/* both at once: one of them stays */
	ck_assert_str_eq(verdict_of(other), "ok");
	ck_assert_str_eq(verdict_of(call), "forbidden");
	api_call_free(other);
}
END_TEST

START_TEST(ended_grant_takes_back_what_is_unsent)
{
	ask(more_commands);
	ask("insert into commands (vehicle_id, id, name, issued_by, wake, redelivery, catalog, accepted_seq, "
	    "timeout_seconds, "
	    "created_at, expires_at, updated_at, due_at) select vehicle_id, uuid7_floor(now()), 'left', issued_by, "
	    "wake, redelivery, "
	    "catalog, 9, 20, now(), expires_at, now(), due_at from commands where issued_by = 'dan';"
	    "update commands set flight = 'claimed' where name = 'left'");
	assert_ok("olga", API_GRANT_DELETE, "{\"vehicle_id\":\"CAR1\",\"subject\":\"dan\"}");
	ck_assert_str_eq(statuses_of(NULL), "c2 accepted, c3 accepted, c4 accepted, c5 accepted, doors.unlock canceled "
					    "ACCESS_REVOKED, left accepted");
	ck_assert_str_eq(ask("select string_agg(type, ' ' order by seq) from events where seq > 1"),
		"command.updated access.changed");
	ck_assert_str_eq(ask("select timeline->-1->>'step' from commands where name = 'doors.unlock'"), "canceled");
}
END_TEST

START_TEST(weaker_role_takes_back_what_it_may_not_send)
{
	ask(three_commands("oscar"));
	assert_ok("olga", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"oscar\",\"role\":\"owner\"}");
	ck_assert_str_eq(statuses_of(NULL), "driver accepted, owner accepted, viewer accepted");
	assert_ok("olga", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"oscar\",\"role\":\"driver\"}");
	ck_assert_str_eq(statuses_of(NULL), "driver accepted, owner canceled ACCESS_REVOKED, viewer accepted");
	assert_ok("olga", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"oscar\",\"role\":\"viewer\"}");
	ck_assert_str_eq(
		statuses_of(NULL), "driver canceled ACCESS_REVOKED, owner canceled ACCESS_REVOKED, viewer accepted");
	assert_ok("olga", API_GRANT_DELETE, "{\"vehicle_id\":\"CAR1\",\"subject\":\"oscar\"}");
	ck_assert_str_eq(statuses_of(NULL),
		"driver canceled ACCESS_REVOKED, owner canceled ACCESS_REVOKED, viewer canceled ACCESS_REVOKED");
}
END_TEST

START_TEST(what_the_fleet_still_allows_stays)
{
	ask(three_commands("otto"));
	assert_ok("olga", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"otto\",\"role\":\"owner\"}");
	assert_ok("olga", API_GRANT_DELETE, "{\"vehicle_id\":\"CAR1\",\"subject\":\"otto\"}");
	ck_assert_str_eq(statuses_of(NULL), "driver accepted, owner canceled ACCESS_REVOKED, viewer accepted");
}
END_TEST

void add_grants(Suite *suite)
{
	TCase *tc = case_new(suite, "grants");

	tcase_add_test(tc, grant_is_made_changed_and_ended);
	tcase_add_test(tc, changes_are_audited);
	tcase_add_test(tc, a_vehicle_has_at_most_a_thousand_grants);
	tcase_add_test(tc, impossible_grants);
	tcase_add_test(tc, strange_but_valid_times);
	tcase_add_test(tc, renewed_after_its_end_a_grant_is_new);
	tcase_add_test(tc, last_owner_stays);
	tcase_add_test(tc, a_manager_owns_nothing_that_is_owned);
	tcase_add_test(tc, a_manager_gives_the_first_owner);
	tcase_add_test(tc, last_owner_has_no_end);
	tcase_add_test(tc, a_vehicle_has_so_many_grants);
	tcase_add_test(tc, an_owner_until_some_day_gives_no_more_than_that);
	tcase_add_test(tc, one_of_two_owners_may_go);
	tcase_add_test(tc, ended_grant_takes_back_what_is_unsent);
	tcase_add_test(tc, weaker_role_takes_back_what_it_may_not_send);
	tcase_add_test(tc, what_the_fleet_still_allows_stays);
}
