/* partitions.c - partitions: whoever reads everything for hours is not waited for, and whoever comes meanwhile does not wait either. */
#include "tests/unit/sql/workers.h"

static void drop_partitions(void)
{
	ask("do $$ declare p record; begin for p in select * from partitions_wanted()"
	    " loop execute format('drop table %I', p.name); end loop; end $$");
}

/* Of what is written the index by time knows all but the last pages: 64 are two ranges. */
START_TEST(the_last_seconds_are_found_by_their_time)
{
	static const char known[] = "select string_agg(brin_summarize_range(i.indexrelid, n * 32)::text, ' ' order by "
				    "n) from generate_series(0, 1) n,"
				    " pg_index i join pg_inherits h on h.inhrelid = i.indexrelid where h.inhparent = "
				    "'events_time'::regclass"
				    " and i.indrelid = to_regclass('events_' || to_char(date_trunc('week', now() at "
				    "time zone 'UTC'), 'YYYYMMDD'))";
	ask("insert into events (vehicle_id, seq, at, type, data) select '" CAR
	    "', n, now(), 'test', to_json(repeat(md5(n::text), 100))"
	    " from generate_series(1000, 20000) n");
	ask("select events_summarize()");
	ck_assert_str_eq(ask(known), "0 0");
	ask("delete from events where type = 'test'");
}
END_TEST

START_TEST(partitions_are_made_beside_a_dump)
{
	drop_partitions();
	hold("lock table commands, events in access share mode");
	ask("set local statement_timeout = '2s'; select partitions_ensure()");
	ck_assert_str_eq(ask("select (select count(*) from pg_inherits where inhparent in ('commands'::regclass, "
			     "'events'::regclass)) = (select count(*) from partitions_wanted())"),
		"t");
	stopper_run("rollback");
}
END_TEST

/* Nor who changes a table: what is missing still is said, and the rest is made. */
START_TEST(partitions_wait_for_nobody)
{
	drop_partitions();
	hold("lock table events in share update exclusive mode");
	ck_assert_str_eq(ask("set local statement_timeout = '5s'; select partitions_make() ="
			     " array(select name from partitions_wanted() where kind = 'events')"),
		"t");
	stopper_run("rollback");
	ck_assert_str_eq(
		ask("select bool_and((to_regclass(name) is null) = (kind = 'events')) from partitions_wanted()"), "t");
	ck_assert_str_eq(ask("select partitions_make() = '{}'"), "t");
}
END_TEST

void add_partitions(Suite *suite)
{
	TCase *tc = case_new(suite, "partitions");

	tcase_add_test(tc, the_last_seconds_are_found_by_their_time);
	tcase_add_test(tc, partitions_are_made_beside_a_dump);
	tcase_add_test(tc, partitions_wait_for_nobody);
}
