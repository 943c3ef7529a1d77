/* search_test.c - looking for vehicles among 100 000: what is found, by which index, and how much faster than by looking at all. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql/migrate.h"
#include "tests/servers.h"

static struct test_postgres postgres;

/* Ten fleets; one vehicle in 500 is a vip, one in three has winter tyres, one in 1000 is away, seven are restless. max manages F3, the
 * fleet of the vehicles that end in 3, and drives V000001. */
static const char crowd[] =
	"insert into fleets (fleet_id) select 'F' || n from generate_series(0, 9) n;"
	"insert into vehicles (vehicle_id, fleet_id, display_name, tags)"
	" select 'V' || lpad(n::text, 6, '0'), 'F' || n % 10, 'Van ' || n, case when n % 500 = 3 then array['vip'] "
	"else '{}' end"
	" || case when n % 3 = 0 then array['winter'] else '{}' end from generate_series(1, 100000) n;"
	"insert into vehicle_heads (vehicle_id, reachable, unstable_until)"
	" select 'V' || lpad(n::text, 6, '0'), n % 1000 <> 13, case when n % 15000 = 3 then now() end from "
	"generate_series(1, 100000) n;"
	"insert into grants (object_kind, object_id, subject, role, granted_by)"
	" values ('fleet', 'F3', 'max', 'manager', 'test'), ('vehicle', 'V000001', 'max', 'driver', 'test');"
	"analyze vehicles, vehicle_heads, grants";

/* A connection as the node's are (sql/db.c). */
#define SESSION                                                                                                        \
	"set enable_hashjoin = off; set enable_mergejoin = off; set enable_seqscan = off; set plan_cache_mode = "      \
	"force_generic_plan; set jit = "                                                                               \
	"off; "

#define IS(key, value) "{\"key\":\"" key "\",\"value\":\"" value "\",\"begins\":false,\"not\":false}"
#define BEGINS(key, value) "{\"key\":\"" key "\",\"value\":\"" value "\",\"begins\":true,\"not\":false}"
#define IS_NOT(key, value) "{\"key\":\"" key "\",\"value\":\"" value "\",\"begins\":false,\"not\":true}"

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
	{ "[" IS("tag", "vip'']) or true --") "]", "admin", "0  ", NULL },
};

#define SEARCHES (sizeof(searches) / sizeof(searches[0]))

static const char *ask(const char *sql)
{
	return test_postgres_ask(&postgres, sql);
}

static const char *statement_of(const struct search *s)
{
	static char ask_for[1024], statement[4096];

	snprintf(ask_for, sizeof(ask_for), "select search_sql('%s', %s, '%s', '', 100)", s->who,
		strcmp(s->who, "admin") == 0 ? "true" : "false", s->filter);
	snprintf(statement, sizeof(statement), "%s", ask(ask_for));
	return statement;
}

static void assert_finds(const struct search *s)
{
	char sql[8192];

	snprintf(sql, sizeof(sql),
		SESSION "select count(*) || ' ' || coalesce(min(vehicle_id), '') || ' ' || coalesce(max(vehicle_id), "
			"'') from (%s) f",
		statement_of(s));
	ck_assert_msg(strcmp(ask(sql), s->found) == 0, "%s by %s found %s", s->filter, s->who, ask(sql));
}

START_TEST(it_finds_what_was_asked_for)
{
	for (size_t i = 0; i < SEARCHES; i++)
		assert_finds(&searches[i]);
}
END_TEST

static void assert_uses_index(const struct search *s)
{
	char sql[8192];

	if (!s->index)
		return;
	snprintf(sql, sizeof(sql), SESSION "explain (format json) %s", statement_of(s));
	const char *plan = ask(sql);
	ck_assert_msg(strstr(plan, s->index) != NULL, "%s: %s is not in the plan:\n%s", s->filter, s->index, plan);
}

START_TEST(the_plan_uses_the_index)
{
	for (size_t i = 0; i < SEARCHES; i++)
		assert_uses_index(&searches[i]);
}
END_TEST

/* The best of three, in microseconds. */
static int fastest(const char *settings, const char *statement)
{
	char sql[8192];

	snprintf(sql, sizeof(sql),
		SESSION "%s"
			"create function pg_temp.fastest(statement text) returns integer language plpgsql as $f$\n"
			"declare begun timestamptz; best interval := '1 hour';\n"
			"begin for i in 1..3 loop begun := clock_timestamp(); execute statement; best := least(best, "
			"clock_timestamp() - begun); end loop;\n"
			"return extract(epoch from best) * 1000000; end $f$;"
			"select pg_temp.fastest($s$%s$s$)",
		settings, statement);
	return atoi(ask(sql));
}

static void assert_fast(const struct search *s)
{
	static const char by_scan[] =
		"set enable_indexscan = off; set enable_indexonlyscan = off; set enable_bitmapscan = off; "
		"set enable_hashjoin = on; set enable_seqscan = on; ";
	const char *statement = statement_of(s);

	if (!s->index)
		return;
	int with = fastest("", statement), without = fastest(by_scan, statement);
	if (getenv("KEYFOB_LONG"))
		printf("%s as %s: %d us, by looking at all %d us\n", s->filter, s->who, with, without);
	ck_assert_msg(with * 3 < without, "%s: %d us, by looking at all %d us", s->filter, with, without);
}

START_TEST(it_is_much_faster_than_looking_at_all)
{
	for (size_t i = 0; i < SEARCHES; i++)
		assert_fast(&searches[i]);
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
	test_postgres_start(&postgres);
	ck_assert_int_eq(migrate_run(postgres.url), 0);
	ask(crowd);
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
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
