/* reads.c - what they see, page by page, and what is no question. */
#include "tests/unit/gateway/operations/ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

START_TEST(malformed_ids)
{
	assert_refused("admin", API_VEHICLE_GET, "{\"vehicle_id\":\"a b\"}", "vehicle-not-found");
	assert_refused("admin", API_VEHICLE_GET, "{\"vehicle_id\":7}", "vehicle-not-found");
	assert_refused("admin", API_GRANT_LIST, "{\"vehicle_id\":\"a/b\"}", "vehicle-not-found");
	assert_refused("admin", API_VEHICLE_PUT, "{\"vehicle_id\":\"a b\"}", "invalid-vehicle");
	assert_refused("olga", API_COMMAND_GET, "{\"vehicle_id\":\"CAR1\",\"id\":\"seven\"}", "command-not-found");
	assert_refused(
		"olga", API_COMMAND_GET, "{\"vehicle_id\":\"CAR1\",\"id\":\"" FIRST_COMMAND "\"}", "command-not-found");
	assert_refused("sam", API_COMMAND_GET, "{\"vehicle_id\":\"CAR1\",\"id\":\"seven\"}", "vehicle-not-found");
	assert_refused("olga", API_VEHICLE_GET, "{\"vehicle_id\":\"CAR1\",\"colour\":1}", "unknown-field");
}
END_TEST

/* What they see. */

START_TEST(command_comes_with_its_timeline)
{
	assert_ok("dan", API_COMMAND_GET, params_of("{'vehicle_id':'CAR1','id':'@'}"));
	ck_assert_str_eq(at("status"), "accepted");
	ck_assert_str_eq(at("issued_by"), "dan");
	const json_t *timeline = json_object_get(reply, "timeline");
	ck_assert_uint_eq(json_array_size(timeline), 1);
	const json_t *first = json_array_get(timeline, 0);
	ck_assert_str_eq(json_text_at(first, "step"), "accepted");
	ck_assert_ptr_nonnull(json_text_at(first, "time"));
	ck_assert(json_is_object(json_object_get(first, "detail")));
}
END_TEST

START_TEST(vehicle_has_the_shape_of_the_contract)
{
	static const char *const members[] = { "vehicle_id", "display_name", "msisdn", "iccid", "fleet_id", "tags",
		"vehicle_protocol", "connectivity", "state", "seq", "epoch", "created_at", "updated_at", NULL };

	assert_ok("max", API_VEHICLE_GET, "{\"vehicle_id\":\"CAR1\"}");
	for (size_t i = 0; members[i]; i++)
		ck_assert_msg(json_object_get(reply, members[i]) != NULL, "%s is missing", members[i]);
	ck_assert_ptr_null(json_unknown_key(reply, members));
	ck_assert_str_eq(at("msisdn"), "+4915559990001");
	ck_assert_str_ne(at("epoch"), "");
	const json_t *connectivity = json_object_get(reply, "connectivity");
	ck_assert_str_eq(json_text_at(connectivity, "state"), "disconnected");
	ck_assert(json_is_null(json_object_get(connectivity, "since")));

	assert_ok("olga", API_VEHICLE_GET, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert(json_is_null(json_object_get(reply, "msisdn")));
}
END_TEST

START_TEST(lists_hold_what_the_caller_may_see)
{
	static const struct {
		const char *subject, *vehicles;
	} rows[] = { { "admin", "CAR1 CAR2 CAR3" }, { "olga", "CAR1" }, { "max", "CAR1" }, { "mia", "CAR3" },
		{ "ed", "" }, { "sam", "" } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_ok(rows[i].subject, API_VEHICLE_LIST, "{}");
		ck_assert_str_eq(each("vehicle_id"), rows[i].vehicles);
	}
	/* by two grants, once */
	ask("insert into grants (object_kind, object_id, subject, role, granted_by) values ('vehicle', 'CAR1', 'max', "
	    "'viewer', 't'),"
	    " ('vehicle', 'CAR3', 'max', 'viewer', 't')");
	assert_ok("max", API_VEHICLE_LIST, "{}");
	ck_assert_str_eq(each("vehicle_id"), "CAR1 CAR3");
	ck_assert_str_eq(json_text_at(json_array_get(json_object_get(reply, "items"), 0), "msisdn"), "+4915559990001");
}
END_TEST

START_TEST(me_names_scopes_and_living_grants)
{
	ask("update grants set expires_at = '2099-01-01 00:00:00Z' where subject = 'max'");
	assert_ok("max", API_ME, "{}");
	json_auto_t *expected = json_loads(
		"{\"subject\":\"max\",\"scopes\":[\"vehicles:read\",\"commands:write\"],\"grants\":"
		"[{\"fleet_id\":\"F1\",\"role\":\"manager\",\"expires_at\":\"2099-01-01T00:00:00.000000Z\"}]}",
		0, NULL);
	ck_assert(json_equal(reply, expected));
	assert_ok("ed", API_ME, "{}");
	ck_assert_uint_eq(json_array_size(json_object_get(reply, "grants")), 0);
	assert_ok("admin", API_ME, "{}");
	ck_assert_str_eq(json_string_value(json_array_get(json_object_get(reply, "scopes"), 0)), "keyfob:admin");
}
END_TEST

/* A grant shows what happened since it was made; managers and admin see all. */
START_TEST(newcomers_do_not_see_the_past)
{
	assert_ok("olga", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"nina\",\"role\":\"driver\"}");
	assert_refused("nina", API_COMMAND_GET, params_of("{'vehicle_id':'CAR1','id':'@'}"), "command-not-found");
	assert_refused("nina", API_COMMAND_CANCEL, params_of("{'vehicle_id':'CAR1','id':'@'}"), "command-not-found");
	ck_assert_str_eq(statuses_of(NULL), "doors.unlock accepted");
	assert_ok("nina", API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_uint_eq(items(), 0);
	assert_ok("nina", API_EVENT_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_str_eq(each("type"), "access.changed");

	ask("update grants set created_at = now() where subject in ('max', 'vera')");
	assert_ok("max", API_EVENT_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_str_eq(each("type"), "command.updated access.changed");
	assert_ok("max", API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_uint_eq(items(), 1);
	assert_ok("vera", API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_uint_eq(items(), 0);
	assert_ok("max", API_COMMAND_CANCEL, params_of("{'vehicle_id':'CAR1','id':'@'}"));
}
END_TEST

START_TEST(access_of_others_is_skipped)
{
	assert_ok("olga", API_GRANT_PUT, "{\"vehicle_id\":\"CAR1\",\"subject\":\"vera\",\"role\":\"driver\"}");
	assert_ok("dan", API_EVENT_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_str_eq(each("type"), "command.updated skipped");
	ck_assert_ptr_null(strstr(call->body, "vera"));
	assert_ok("vera", API_EVENT_LIST, "{\"vehicle_id\":\"CAR1\"}");
	ck_assert_str_eq(each("type"), "command.updated access.changed");
	ck_assert_str_eq(each("seq"), "1 2");
}
END_TEST

/* Pages. */

/* Asks page by page until there is no more; all of `member`, and how many pages. */
static size_t read_pages_of(const char *subject, const struct api_operation *operation, size_t limit,
	const char *fields, const char *member, char *out)
{
	char cursor[512] = "null", params[1024];
	size_t pages = 0;

	out[0] = '\0';
	do {
		snprintf(params, sizeof(params), "{%s,\"limit\":%zu,\"cursor\":%s}", fields, limit, cursor);
		ck_assert_str_eq(try_as(subject, operation, params), "ok");
		ck_assert_uint_le(items(), limit);
		ck_assert_msg(items() == 1 || strlen(call->body) < 1100000, "%s: %zu bytes", operation->name,
			strlen(call->body));
		strcat(strcat(out, pages ? " " : ""), each(member));
		const char *next = at("next_cursor");
		ck_assert_str_eq(next ? next : "", call->next_cursor);
		snprintf(cursor, sizeof(cursor), "\"%s\"", next ? next : "");
		ck_assert_uint_lt(++pages, 10);
	} while (call->next_cursor[0]);
	return pages;
}

static size_t read_pages(
	const char *subject, const struct api_operation *operation, const char *fields, const char *member, char *out)
{
	return read_pages_of(subject, operation, 2, fields, member, out);
}

START_TEST(commands_newest_first_in_pages)
{
	char all[4096];

	ask(more_commands);
	ck_assert_uint_eq(read_pages("olga", &API_COMMAND_LIST, "\"vehicle_id\":\"CAR1\"", "name", all), 3);
	ck_assert_str_eq(all, "c5 c4 c3 c2 doors.unlock");
	ask("update commands set status = 'canceled', finished_at = now(), due_at = null where name in ('c2', 'c3', "
	    "'c5')");
	ck_assert_uint_eq(
		read_pages("olga", &API_COMMAND_LIST, "\"vehicle_id\":\"CAR1\",\"status\":\"canceled\"", "name", all),
		2);
	ck_assert_str_eq(all, "c5 c3 c2");
}
END_TEST

START_TEST(a_full_last_page_has_no_next)
{
	ask(more_commands);
	assert_ok("olga", API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\",\"limit\":5}");
	ck_assert_uint_eq(items(), 5);
	ck_assert(json_is_null(json_object_get(reply, "next_cursor")));
}
END_TEST

START_TEST(vehicles_grants_and_events_in_pages)
{
	char all[4096];

	ck_assert_uint_eq(read_pages("admin", &API_VEHICLE_LIST, "\"limit\":2", "vehicle_id", all), 2);
	ck_assert_str_eq(all, "CAR1 CAR2 CAR3");
	ask("update vehicles set fleet_id = 'F1'");
	ck_assert_uint_eq(read_pages("otto", &API_VEHICLE_LIST, "\"limit\":2", "vehicle_id", all), 2);
	ck_assert_str_eq(all, "CAR1 CAR2 CAR3");
	ask("select event_add('CAR1', 'state.reported', '{}') from generate_series(1, 4)");
	ck_assert_uint_eq(read_pages("olga", &API_EVENT_LIST, "\"vehicle_id\":\"CAR1\"", "seq", all), 3);
	ck_assert_str_eq(all, "1 2 3 4 5");
	/* the longest subjects, also as a cursor */
	ask("insert into grants (object_kind, object_id, subject, role, granted_by) select 'vehicle', 'CAR2', n || "
	    "repeat('x', 254), "
	    "'viewer', 't' from generate_series(1, 3) n");
	ck_assert_uint_eq(read_pages("admin", &API_GRANT_LIST, "\"vehicle_id\":\"CAR2\"", "role", all), 2);
	ck_assert_str_eq(all, "viewer viewer viewer");
}
END_TEST

#define BATCH "019a0000-0000-7000-8000-0000000000b1"

/* Five of each, of 400 000 bytes. */
static const char large_items[] =
	"create temporary table large as select to_json(repeat('x', 400000)) as j, repeat('x', 400000) as t;"
	"update commands set result = j from large; update vehicles set reported = jsonb_build_object('x', t), "
	"fleet_id = 'F1' from large;"
	"insert into vehicles (vehicle_id, fleet_id, reported) select 'CAR' || n, 'F1', jsonb_build_object('x', t) "
	"from large, generate_series(4, 5) n;"
	"insert into vehicle_heads (vehicle_id) values ('CAR4'), ('CAR5');"
	"update vehicle_heads set seq = 0; delete from events; select event_add('CAR1', 'state.reported', j) from "
	"large, generate_series(1, 5);"
	"insert into notices (object_kind, object_id, name, payload, published_by)"
	" select k, o, 'n' || n, t, 't' from large, generate_series(1, 5) n, (values ('vehicle', 'CAR1'), ('fleet', "
	"'F1')) v(k, o);"
	"delete from batches; insert into batches (id, fleet_id, name, params, ttl_seconds, timeout_seconds, wake, "
	"redelivery, supersedes, catalog, issued_by, admin, needs, rate, total)"
	" select uuid7_floor(now() - make_interval(mins => n)), 'F1', 'b' || n, j, 60, 60, false, 'never', '', '{}', "
	"'max', false, 1, 1, 5 from large, generate_series(1, 5) n;"
	"update batches set id = '" BATCH "' where name = 'b5';"
	"insert into commands select (jsonb_populate_record(c, jsonb_build_object('vehicle_id', 'CAR' || n, "
	"'issued_by', 'max'))).*"
	" from commands c, generate_series(2, 5) n where c.name = 'c5';"
	"insert into batch_targets (batch_id, vehicle_id, fed, command_id) select '" BATCH
	"', vehicle_id, true, id from commands where name = 'c5';"
	"drop table large";

/* Of large items a page has fewer than were asked for, and goes on behind the last. */
START_TEST(a_page_ends_at_a_mebibyte)
{
	static const struct {
		const struct api_operation *operation;
		const char *fields, *member, *all;
	} rows[] = {
		{ &API_COMMAND_LIST, "\"vehicle_id\":\"CAR1\"", "name", "c5 c4 c3 c2 doors.unlock" },
		{ &API_EVENT_LIST, "\"vehicle_id\":\"CAR1\"", "seq", "1 2 3 4 5" },
		{ &API_VEHICLE_LIST, "\"filter\":null", "vehicle_id", "CAR1 CAR2 CAR3 CAR4 CAR5" },
		{ &API_NOTICE_LIST, "\"vehicle_id\":\"CAR1\"", "name", "n1 n2 n3 n4 n5" },
		{ &API_FLEET_NOTICE_LIST, "\"fleet_id\":\"F1\"", "name", "n1 n2 n3 n4 n5" },
		{ &API_BATCH_LIST, "\"fleet_id\":\"F1\"", "name", "b1 b2 b3 b4 b5" },
		{ &API_BATCH_COMMANDS, "\"id\":\"" BATCH "\"", "vehicle_id", "CAR1 CAR2 CAR3 CAR4 CAR5" },
	};
	char all[4096];

	ask(more_commands);
	ask(large_items);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t pages = read_pages_of("admin", rows[i].operation, 200, rows[i].fields, rows[i].member, all);
		ck_assert_str_eq(all, rows[i].all);
		ck_assert_msg(pages == 3, "%s: %zu pages", rows[i].operation->name, pages);
	}
	read_pages_of("admin", &API_SUBJECT_GET, 200, "\"subject\":\"olga\"", "kind", all);
	ck_assert_str_eq(all, "grant command command command command");
	ask("update commands set result = to_json(repeat('x', 2000000)) where name = 'c4'"); /* one is a page in any case */
	read_pages_of("admin", &API_COMMAND_LIST, 200, "\"vehicle_id\":\"CAR1\"", "name", all);
	ck_assert_str_eq(all, "c5 c4 c3 c2 doors.unlock");
}
END_TEST

START_TEST(events_after)
{
	ask("select event_add('CAR1', 'state.reported', '{}') from generate_series(1, 4)");
	assert_ok("olga", API_EVENT_LIST, "{\"vehicle_id\":\"CAR1\",\"after\":3}");
	ck_assert_str_eq(each("seq"), "4 5");
	assert_ok("olga", API_EVENT_LIST, "{\"vehicle_id\":\"CAR1\",\"after\":99}");
	ck_assert_uint_eq(items(), 0);
}
END_TEST

START_TEST(impossible_queries)
{
	static const struct {
		const struct api_operation *operation;
		const char *params, *name;
	} rows[] = {
		{ &API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\",\"limit\":201}", "invalid-params" },
		{ &API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\",\"limit\":0}", "invalid-params" },
		{ &API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\",\"limit\":\"2\"}", "invalid-params" },
		{ &API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\",\"status\":\"lost\"}", "invalid-query" },
		{ &API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\",\"cursor\":\"x\"}", "invalid-query" },
		{ &API_EVENT_LIST, "{\"vehicle_id\":\"CAR1\",\"cursor\":\"x\"}", "invalid-query" },
		{ &API_EVENT_LIST, "{\"vehicle_id\":\"CAR1\",\"cursor\":\"99999999999999999999\"}", "invalid-query" },
		{ &API_EVENT_LIST, "{\"vehicle_id\":\"CAR1\",\"after\":-1}", "invalid-params" },
		{ &API_GRANT_GET, "{\"vehicle_id\":\"CAR1\"}", "invalid-params" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *heard = try_as("olga", rows[i].operation, rows[i].params);
		ck_assert_msg(strcmp(heard, rows[i].name) == 0, "%s: %s", rows[i].params, heard);
	}
}
END_TEST

/* What callers wrote is told to them cut, perhaps amid a character; the problem is JSON all the same. */
START_TEST(a_detail_is_text_wherever_it_was_cut)
{
	static const struct {
		const struct api_operation *operation;
		const char *params, *name;
	} rows[] = {
		{ &API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\",\"status\":\"%sé\"}", "invalid-query" },
		{ &API_COMMAND_LIST, "{\"vehicle_id\":\"CAR1\",\"%sé\":1}", "unknown-field" },
		{ &API_VEHICLE_LIST, "{\"filter\":\"%sé:1\"}", "invalid-query" },
	};
	char lead[80] = "", params[256];

	for (size_t i = 0; i < 3 * 70; i++) {
		if (i % 70 == 0)
			lead[0] = '\0';
		strcat(lead, "x");
		snprintf(params, sizeof(params), rows[i / 70].params, lead);
		ck_assert_str_eq(try_as("olga", rows[i / 70].operation, params), rows[i / 70].name);
		free(problem_text());
	}
}
END_TEST

/* The rest. */

START_TEST(catalogue_is_for_everybody)
{
	struct config_error error = { 0 };
	w.api.catalog = catalog_read(SOURCE_FOLDER "/gateway/catalog.example.yaml", &error);
	ck_assert_ptr_nonnull(w.api.catalog);
	assert_ok("sam", API_CATALOG_GET, "{}");
	ck_assert_ptr_nonnull(json_object_get(json_object_get(reply, "commands"), "doors.unlock"));
	catalog_free(w.api.catalog);
}
END_TEST

START_TEST(asker_who_left_hears_nothing)
{
	static const struct api_operation *const operations[] = { &API_VEHICLE_GET, &API_VEHICLE_DELETE };
	for (size_t i = 0; i < 2; i++) {
		struct api_call *c = start(operations[i], "admin", SCOPE_ADMIN, "{\"vehicle_id\":\"CAR1\"}");
		api_call_cancel(c);
		open_calls--;
	}
	pump_until(is_idle);
	ck_assert_str_eq(
		ask("select count(*) from vehicles where vehicle_id = 'CAR1' and retired_at is not null"), "1");
}
END_TEST

START_TEST(draining_node_takes_nothing)
{
	w.api.draining = true;
	assert_refused("admin", API_VEHICLE_LIST, "{}", "draining");
}
END_TEST

void add_reads(Suite *suite)
{
	TCase *tc = case_new(suite, "reads");

	tcase_add_test(tc, malformed_ids);
	tcase_add_test(tc, command_comes_with_its_timeline);
	tcase_add_test(tc, vehicle_has_the_shape_of_the_contract);
	tcase_add_test(tc, lists_hold_what_the_caller_may_see);
	tcase_add_test(tc, me_names_scopes_and_living_grants);
	tcase_add_test(tc, newcomers_do_not_see_the_past);
	tcase_add_test(tc, access_of_others_is_skipped);
	tcase_add_test(tc, commands_newest_first_in_pages);
	tcase_add_test(tc, a_full_last_page_has_no_next);
	tcase_add_test(tc, vehicles_grants_and_events_in_pages);
	tcase_add_test(tc, a_page_ends_at_a_mebibyte);
	tcase_add_test(tc, events_after);
	tcase_add_test(tc, impossible_queries);
	tcase_add_test(tc, a_detail_is_text_wherever_it_was_cut);
	tcase_add_test(tc, catalogue_is_for_everybody);
	tcase_add_test(tc, asker_who_left_hears_nothing);
	tcase_add_test(tc, draining_node_takes_nothing);
}
