/* search_test.c - looking for vehicles among 100 000: what is found, by which index, and how much faster than by looking at all. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql/migrate.h"
#include "tests/servers.h"
#include "tests/suite.h"

static struct test_postgres postgres;

/* Ten fleets; one vehicle in 500 is a vip, one in three has winter tyres, one in 1000 is away, seven are restless. max manages F3, the
 * fleet of the vehicles that end in 3, and drives V000001. What they report is as long as what vehicles report: of 1000 one has its trunk
 * open, of 2000 one an oil warning, in a list; batteries are at 0 to 100 in no order. */
static const char crowd[] =
	"insert into fleets (fleet_id) select 'F' || n from generate_series(0, 9) n;"
	"insert into vehicles (vehicle_id, fleet_id, display_name, tags, reported)"
	" select 'V' || lpad(n::text, 6, '0'), 'F' || n % 10, 'Van ' || n, case when n % 500 = 3 then array['vip'] "
	"else '{}' end || case when n % 3 = 0 then array['winter'] else '{}' end, format("
	"'{\"battery\":{\"level\":%s,\"charging\":%s,\"temperature\":%s},\"doors\":{\"driver\":{\"locked\":%s,\"open\":"
	"false},"
	"\"passenger\":{\"locked\":true,\"open\":false},\"trunk\":{\"locked\":true,\"open\":%s}},\"position\":{\"lat\":"
	"48.%s,"
	"\"lon\":11.%s,\"heading\":%s,\"at\":\"2026-01-01T%sZ\"},\"odometer_km\":%s,\"speed\":%s,\"ignition\":%s,"
	"\"firmware\":{\"tcu\":\"4.%s.1\",\"ecu\":\"2024.%s\"},\"tyres\":[{\"bar\":2.4},{\"bar\":2.5},{\"bar\":%s}],"
	"\"warnings\":%s}',"
	" n * 7919 % 100000 / 1000.0, (n % 4 = 0)::text, n % 30, (n % 200 <> 0)::text, (n % 1000 = 7)::text, n * 7 % "
	"100000, n * 31 % 100000, n % 360,"
	" make_interval(secs => n % 86400), n * 13 % 200000, n % 130, (n % 3 <> 0)::text, n % 7, n % 12, 2 + n % 9 / "
	"10.0,"
	" case when n % 2000 = 5 then '[\"fuel\",\"oil\"]' else '[]' end)::jsonb from generate_series(1, 100000) n;"
	"insert into vehicle_heads (vehicle_id, reachable, unstable_until)"
	" select 'V' || lpad(n::text, 6, '0'), n % 1000 <> 13, case when n % 15000 = 3 then now() end from "
	"generate_series(1, 100000) n;"
	"insert into grants (object_kind, object_id, subject, role, granted_by)"
	" values ('fleet', 'F3', 'max', 'manager', 'test'), ('vehicle', 'V000001', 'max', 'driver', 'test');";

/* A hundred thousand rows come in much faster while their indexes are away and no foreign key is looked up for each; the indexes are made
 * again as the migrations have them. */
static const char indexes_away[] =
	"set synchronous_commit = off; set session_replication_role = replica;"
	"create temp table away as select pg_get_indexdef(indexrelid) as definition, indexrelid::regclass as name from "
	"pg_index "
	"where indrelid in ('vehicles'::regclass, 'vehicle_heads'::regclass) and not indisprimary;"
	"do $$ declare i record; begin for i in select * from away loop execute 'drop index ' || i.name; end loop; end "
	"$$;";
static const char indexes_back[] =
	"do $$ declare i record; begin for i in select * from away loop execute i.definition; end loop; end $$;"
	"analyze vehicles, vehicle_heads, grants";

/* A connection as the node's are (sql/db.c). */
#define SESSION                                                                                                        \
	"reset all; set enable_hashjoin = off; set enable_mergejoin = off; set enable_seqscan = off; set "             \
	"plan_cache_mode = "                                                                                           \
	"force_generic_plan; set jit = "                                                                               \
	"off; "

#define STATE(path, is, value)                                                                                         \
	"{\"key\":\"state\",\"path\":[" path "],\"not\":false,\"any\":[{\"is\":\"" is "\",\"value\":" value "}]}"
#define TERM(no, key, is, value)                                                                                       \
	"{\"key\":\"" key "\",\"not\":" no ",\"any\":[{\"is\":\"" is "\",\"value\":\"" value "\"}]}"
#define IS(key, value) TERM("false", key, "=", value)
#define BEGINS(key, value) TERM("false", key, "begins", value)
#define IS_NOT(key, value) TERM("true", key, "=", value)

static const struct search {
	const char *filter, *who; /* "admin" may see all */
	const char *found;	  /* how many of the first 100, the first and the last of them */
	const char *index;	  /* that the plan must use, and be much faster by; NULL: any */
} searches[] = {
	{ "[]", "admin", "100 V000001 V000100", "vehicles_pkey" },
	{ "[]", "max", "100 V000001 V000983", NULL },
	{ "[" IS("tag", "vip") "]", "admin", "100 V000003 V049503", "vehicles_tags" },
	{ "[" IS("tag", "vip") "," IS("tag", "winter") "]", "admin", "67 V000003 V099003", "vehicles_tags" },
	{ "[" IS("tag", "winter") "]", "admin", "100 V000003 V000300", NULL },
	{ "[" IS("tag", "none") "]", "admin", "0  ", "vehicles_tags" },
	{ "[" IS_NOT("tag", "winter") "]", "admin", "100 V000001 V000149", NULL },
	{ "[" IS("reachability", "disconnected") "]", "admin", "100 V000013 V099013", "heads_reachable" },
	{ "[" IS("reachability", "connected") "]", "admin", "100 V000001 V000101", NULL },
	{ "[" IS("reachability", "disconnected") "," IS("fleet", "F4") "]", "admin", "0  ", "heads_reachable" },
	{ "[" IS("reachability", "connected") "," IS("tag", "vip") "," IS("fleet", "F3") "]", "admin",
		"100 V000003 V049503", "vehicles_tags" },
	{ "[" IS("unstable", "true") "]", "admin", "7 V000003 V090003", "heads_unstable" },
	{ "[" IS("fleet", "F7") "]", "admin", "100 V000007 V000997", NULL },
	{ "[" BEGINS("fleet", "") "]", "admin", "100 V000001 V000100", NULL },
	{ "[" BEGINS("vehicle", "V05000") "]", "admin", "10 V050000 V050009", "vehicles_pkey" },
	{ "[" IS("vehicle", "V050001") "]", "admin", "1 V050001 V050001", "vehicles_pkey" },
	{ "[" BEGINS("name", "van 5000") "]", "admin", "11 V005000 V050009", "vehicles_name" },
	{ "[" IS("name", "VAN 77") "]", "admin", "1 V000077 V000077", "vehicles_name" },
	{ "[" IS("tag", "vip") "]", "max", "100 V000003 V049503", NULL },
	{ "[" IS("reachability", "disconnected") "]", "max", "100 V000013 V099013", NULL },
	{ "[" IS("fleet", "F0") "]", "max", "0  ", NULL },
	{ "[" IS("vehicle", "V000001") "]", "max", "1 V000001 V000001", NULL },
	{ "[" IS("vehicle", "V000002") "]", "max", "0  ", NULL },
	{ "[" STATE("\"doors\",\"trunk\",\"open\"", "=", "true") "]", "admin", "100 V000007 V099007",
		"vehicles_reported" },
	{ "[" STATE("\"doors\",\"trunk\",\"open\"", "=", "\"true\"") "]", "admin", "0  ", "vehicles_reported" },
	{ "[" STATE("\"doors\",\"driver\",\"locked\"", "=", "true") "]", "admin", "100 V000001 V000100", NULL },
	{ "[" STATE("\"warnings\"", "=", "\"oil\"") "]", "admin", "50 V000005 V098005", "vehicles_reported" },
	{ "[" STATE("\"tyres\",\"bar\"", "=", "2.8") "]", "admin", "100 V000008 V000899", NULL },
	{ "[" STATE("\"position\",\"at\"", "=", "\"2026-01-01T00:00:09Z\"") "," STATE(
		  "\"battery\",\"level\"", "<", "90") "]",
		"admin", "2 V000009 V086409", "vehicles_reported" },
	{ "[" STATE("\"battery\",\"level\"", "<", "20") "]", "admin", "100 V000001 V000494", NULL },
	{ "[" STATE("\"battery\",\"level\"", "<=", "-1") "]", "admin", "0  ", NULL },
	{ "[" STATE("\"battery\",\"level\"", ">=", "0") "]", "admin", "100 V000001 V000100", NULL },
	{ "[" STATE("\"battery\",\"level\"", "<", "5") "," IS("tag", "vip") "]", "admin", "10 V001503 V099003",
		"vehicles_tags" },
	{ "[" STATE("\"firmware\",\"tcu\"", "begins", "\"4.3\"") "]", "admin", "100 V000003 V000696", NULL },
	{ "[" STATE("\"battery\",\"temperature\"", "begins", "\"\"") "]", "admin", "100 V000001 V000100", NULL },
	{ "[" STATE("\"battery\",\"none\"", "begins", "\"\"") "," IS("vehicle", "V000001") "]", "admin", "0  ",
		"vehicles_pkey" },
	{ "[" STATE("\"doors\",\"trunk\",\"open\"", "=", "true") "]", "max", "0  ", NULL },
	{ "[" STATE("\"ignition\"", "=", "false") "]", "max", "100 V000003 V002973", NULL },
	{ "[{\"key\":\"tag\",\"not\":false,\"any\":[{\"is\":\"=\",\"value\":\"vip\"},{\"is\":\"=\",\"value\":\"none\"}]"
	  "}]",
		"admin", "100 V000003 V049503", "vehicles_tags" },
	{ "[{\"key\":\"tag\",\"not\":true,\"any\":[{\"is\":\"=\",\"value\":\"vip\"},{\"is\":\"=\",\"value\":\"winter\"}"
	  "]}]",
		"admin", "100 V000001 V000149", NULL },
	{ "[{\"key\":\"tag\",\"value\":\"vip\",\"begins\":false,\"not\":true}]", "admin", "0  ", NULL },
	{ "[" STATE("\"a\\\" ? (true) || $.\\\"b\"", "=", "\"x'') or true --\"") "]", "admin", "0  ",
		"vehicles_reported" },
	{ "[" IS("tag", "vip'']) or true --") "]", "admin", "0  ", NULL },
};

#define SEARCHES (sizeof(searches) / sizeof(searches[0]))

static const char *ask(const char *sql)
{
	return test_postgres_ask(&postgres, sql);
}

/* What of a search the caller's SQL needs, in one connection: pg_temp.statement(). */
static const char *ask_of(const struct search *s, const char *sql)
{
	char all[8192];

	snprintf(all, sizeof(all),
		SESSION "create or replace function pg_temp.statement() returns text language sql as $s$ select "
			"search_sql('%s', "
			"%s, '%s', '', 100) $s$; %s",
		s->who, strcmp(s->who, "admin") == 0 ? "true" : "false", s->filter, sql);
	return ask(all);
}

static void assert_finds(const struct search *s)
{
	const char *found = ask_of(s,
		"create or replace function pg_temp.found() returns setof text language plpgsql as $f$ begin return "
		"query execute "
		"pg_temp.statement(); end $f$;"
		"select count(*) || ' ' || coalesce(min(f), '') || ' ' || coalesce(max(f), '') from pg_temp.found() f");
	ck_assert_msg(strcmp(found, s->found) == 0, "%s by %s found %s", s->filter, s->who, found);
}

START_TEST(it_finds_what_was_asked_for)
{
	for (size_t i = 0; i < SEARCHES; i++)
		assert_finds(&searches[i]);
}
END_TEST

static void assert_uses_index(const struct search *s)
{
	if (!s->index)
		return;
	const char *plan = ask_of(s,
		"create or replace function pg_temp.plan() returns json language plpgsql as $f$ declare plan json; "
		"begin execute 'explain (format json) ' || pg_temp.statement() into plan; return plan; end "
		"$f$; select pg_temp.plan()");
	ck_assert_msg(strstr(plan, s->index) != NULL, "%s: %s is not in the plan:\n%s", s->filter, s->index, plan);
}

START_TEST(the_plan_uses_the_index)
{
	for (size_t i = 0; i < SEARCHES; i++)
		assert_uses_index(&searches[i]);
}
END_TEST

/* The best of three, in microseconds. */
static int fastest(const struct search *s, const char *settings)
{
	char sql[1024];

	snprintf(sql, sizeof(sql),
		"%s create or replace function pg_temp.fastest(statement text) returns integer language plpgsql as "
		"$f$\n"
		"declare begun timestamptz; best interval := '1 hour';\n"
		"begin for i in 1..3 loop begun := clock_timestamp(); execute statement; best := least(best, "
		"clock_timestamp() - begun); end loop;\n"
		"return extract(epoch from best) * 1000000; end $f$;"
		"select pg_temp.fastest(pg_temp.statement())",
		settings);
	return atoi(ask_of(s, sql));
}

/* Beside the cheapest look at all vehicles that there is. */
START_TEST(it_is_much_faster_than_looking_at_all)
{
	static const char by_scan[] =
		"set enable_indexscan = off; set enable_indexonlyscan = off; set enable_bitmapscan = off; "
		"set enable_seqscan = on;";
	static const struct search none = { "[" IS("fleet", "none") "]", "admin", NULL, NULL };
	int at_all = fastest(&none, by_scan);

	for (size_t i = 0; i < SEARCHES; i++) {
		if (!searches[i].index)
			continue;
		int took = fastest(&searches[i], "");
		if (getenv("KEYFOB_LONG"))
			printf("%s as %s: %d us, a look at all %d us\n", searches[i].filter, searches[i].who, took,
				at_all);
		ck_assert_msg(took * 3 < at_all, "%s: %d us, a look at all %d us", searches[i].filter, took, at_all);
	}
}
END_TEST

/* From page to page by the cursor, each vehicle once. */
START_TEST(pages_join_without_a_seam)
{
	ck_assert_str_eq(ask(SESSION "with recursive page as ("
				     " select array_agg(f) as ids from vehicles_found('max', false, '[" IS("tag",
					     "winter") "]', '', 50) f"
						       " union all select (select array_agg(f) from "
						       "vehicles_found('max', false, '[" IS("tag",
							       "winter") "]', page.ids[cardinality(page.ids)], 50) f) "
									 "from page where cardinality(page.ids) = 50)"
									 " select count(*) || ' ' || count(distinct "
									 "id) from page, unnest(ids) id"),
		"3334 3334");
}
END_TEST

static void start_server(void)
{
	char all[sizeof(indexes_away) + sizeof(crowd) + sizeof(indexes_back)];

	test_postgres_start(&postgres);
	ck_assert_int_eq(migrate_run(postgres.url), 0);
	snprintf(all, sizeof(all), "%s%s%s", indexes_away, crowd, indexes_back);
	ask(all);
}

static void end_server(void)
{
	test_postgres_end(&postgres);
}

int main(void)
{
	Suite *suite = suite_create("sql/search");
	TCase *tests = tcase_create("search");

	tcase_set_timeout(tests, 120);
	tcase_add_unchecked_fixture(tests, start_server, end_server);
	tcase_add_test(tests, it_finds_what_was_asked_for);
	tcase_add_test(tests, the_plan_uses_the_index);
	tcase_add_test(tests, it_is_much_faster_than_looking_at_all);
	tcase_add_test(tests, pages_join_without_a_seam);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
