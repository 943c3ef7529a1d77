/* refusals.c - what the server or the link refuses: whose fault it is, and whom it concerns. */
#include "tests/unit/sql/db/ground.h"

#include <stdio.h>

static const struct db_statement ADD_CHILD = { "add_child", "insert into children (name) values ($1)" };
static const struct db_statement READ_ONLY = { "read_only", "set transaction read only" };

START_TEST(error_undoes_its_unit_alone)
{
	struct heard before, bad = { 0 }, after;
	connect_to(pg.url, 0);
	submit(&before, &ADD, "before");
	struct db_unit *unit = db_unit_new(db, on_heard, &bad);
	db_unit_add(unit, &ADD);
	db_param_text(unit, "undone");
	db_unit_add(unit, &DIVIDE);
	db_param_int(unit, 0);
	db_unit_add(unit, &ADD);
	db_param_text(unit, "never run");
	db_unit_submit(unit);
	submit(&after, &ADD, "after");
	await(after.times);
	ck_assert_ptr_null(before.fault);
	ck_assert_ptr_eq(bad.fault, &FAULT_STATEMENT);
	ck_assert_str_eq(bad.sqlstate, "22012");
	ck_assert_str_eq(bad.message, "division by zero");
	ck_assert_ptr_null(after.fault);
	ck_assert_str_eq(ask(&COUNT, "%").value, "2");
	ck_assert_int_eq(downs, 0);
}
END_TEST

START_TEST(error_of_the_commit_itself)
{
	struct heard orphan, after;
	connect_to(pg.url, 0);
	submit(&orphan, &ADD_CHILD, "nobody's");
	submit(&after, &COUNT, "%");
	await(after.times);
	ck_assert_ptr_eq(orphan.fault, &FAULT_STATEMENT);
	ck_assert_str_eq(orphan.sqlstate, "23503");
	ck_assert_ptr_null(after.fault);
}
END_TEST

/* Only what cannot be in the database is the unit's fault; whatever else the server says, known or not, it may do later. */
START_TEST(refusals_are_told_apart)
{
	static const struct {
		const char *sqlstate, *more;
		const struct fault *verdict;
	} rows[] = {
		{ "22P05", "", &FAULT_STATEMENT },
		{ "23505", "", &FAULT_STATEMENT },
		{ "23514", "", &FAULT_STATEMENT }, /* as our own triggers raise it */
		{ "23514", ", table = 'things', constraint = 'rule'", &FAULT_STATEMENT },
		{ "23514", ", table = 'things'", &FAULT_STORAGE_UNAVAILABLE }, /* no partition */
		{ "KF001", "", &FAULT_STATEMENT },
		{ "0A000", "", &FAULT_STORAGE_UNAVAILABLE },
		{ "40001", "", &FAULT_STORAGE_UNAVAILABLE },
		{ "40P01", "", &FAULT_STORAGE_UNAVAILABLE },
		{ "42501", "", &FAULT_STORAGE_UNAVAILABLE },
		{ "53100", "", &FAULT_STORAGE_UNAVAILABLE },
		{ "54001", "", &FAULT_STORAGE_UNAVAILABLE },
		{ "55P03", "", &FAULT_STORAGE_UNAVAILABLE },
		{ "57014", "", &FAULT_STORAGE_UNAVAILABLE },
		{ "58030", "", &FAULT_STORAGE_UNAVAILABLE },
		{ "P0001", "", &FAULT_STORAGE_UNAVAILABLE },
		{ "XX002", "", &FAULT_STORAGE_UNAVAILABLE },
	};
	char sql[512];

	connect_to(pg.url, 0);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		snprintf(sql, sizeof sql,
			"create or replace function refuse() returns trigger language plpgsql as $$ begin raise 'no' "
			"using errcode = '%s'%s; end $$; create or replace trigger refuse before insert on things for "
			"each row execute function refuse()",
			rows[i].sqlstate, rows[i].more);
		test_postgres_ask(&pg, sql);
		struct heard heard = ask(&ADD, "x");
		ck_assert_msg(heard.fault == rows[i].verdict, "%s%s: %s", rows[i].sqlstate, rows[i].more,
			heard.fault ? heard.fault->name : "done");
		ck_assert_str_eq(heard.sqlstate, rows[i].sqlstate);
	}
	test_postgres_ask(&pg, "drop trigger refuse on things; drop function refuse");
	ck_assert_ptr_null(ask(&ADD, "x").fault);
	ck_assert_int_eq(downs, 0);
}
END_TEST

/* The server would refuse the statement for as long as it knows it by that name. */
START_TEST(what_was_prepared_and_has_changed_is_prepared_anew)
{
	static const struct db_statement all = { "all", "select * from things" };

	connect_to(pg.url, 0);
	ck_assert_ptr_null(ask(&all, NULL).fault);
	test_postgres_ask(&pg, "alter table things add column more text");
	struct heard heard = ask(&all, NULL);
	ck_assert_ptr_eq(heard.fault, &FAULT_STORAGE_UNAVAILABLE);
	ck_assert_str_eq(heard.sqlstate, "0A000");
	await(ups == 2);
	ck_assert_ptr_null(ask(&all, NULL).fault);
}
END_TEST

START_TEST(read_only_server_is_left)
{
	struct heard heard = { 0 };
	connect_to(pg.url, 0);
	struct db_unit *unit = db_unit_new(db, on_heard, &heard);
	db_unit_add(unit, &READ_ONLY);
	db_unit_add(unit, &ADD);
	db_param_text(unit, "x");
	db_unit_submit(unit);
	await(heard.times);
	ck_assert_ptr_eq(heard.fault, &FAULT_STORAGE_UNAVAILABLE);
	await(downs == 1 && ups == 2);
}
END_TEST

START_TEST(full_queue)
{
	struct heard heard[4], own[2];
	struct db *small;
	connect_to(pg.url, 0);
	struct db *large = db;
	db = small = link_to(pg.url, 0, 3);
	db_start(db);
	await(ups == 2);
	for (int i = 0; i < 4; i++)
		submit(&heard[i], &DIVIDE, "0");
	submit(&own[0], &SELF, NULL);
	await(own[0].times && heard[2].times);
	for (int i = 0; i < 3; i++)
		ck_assert_ptr_eq(heard[i].fault, &FAULT_STATEMENT);
	ck_assert_ptr_eq(heard[3].fault, &FAULT_OVERLOADED);
	ck_assert_ptr_eq(own[0].fault, &FAULT_OVERLOADED);
	ck_assert_ptr_null(ask(&SELF, NULL).fault);
	db_close(small, on_closed);
	await(closes == 1);
	closes = 0;
	db = large;
}
END_TEST

/* It is certain that nothing was done, the link stays, and the next attempt prepares anew. */
START_TEST(statement_that_cannot_be_prepared)
{
	struct heard heard[3];

	test_postgres_ask(&pg, "alter table things rename to hidden");
	connect_to(pg.url, 0);
	for (size_t i = 0; i < 3; i++)
		submit(&heard[i], i == 1 ? &SELF : &COUNT, i == 1 ? NULL : "%");
	await(heard[0].times && heard[1].times && heard[2].times);
	ck_assert_ptr_eq(heard[0].fault, &FAULT_STORAGE_UNAVAILABLE);
	ck_assert_ptr_null(heard[1].fault);
	ck_assert_ptr_eq(heard[2].fault, &FAULT_STORAGE_UNAVAILABLE);
	test_postgres_ask(&pg, "alter table hidden rename to things");
	ck_assert_str_eq(ask(&COUNT, "%").value, "0");
	ck_assert_int_eq(downs, 0);
}
END_TEST

/* Its unit fails before it would have run, and takes nothing of its preparing along. */
START_TEST(statement_first_met_after_an_error)
{
	struct heard heard = { 0 };

	connect_to(pg.url, 0);
	struct db_unit *unit = db_unit_new(db, on_heard, &heard);
	db_unit_add(unit, &DIVIDE);
	db_param_int(unit, 0);
	heard.statement = db_unit_add(unit, &COUNT);
	db_param_text(unit, "%");
	db_unit_submit(unit);
	await(heard.times);
	ck_assert_ptr_eq(heard.fault, &FAULT_STATEMENT);
	ck_assert_str_eq(ask(&COUNT, "%").value, "0");
}
END_TEST

void add_refusals(Suite *suite)
{
	TCase *tc = case_new(suite, "refusals");

	tcase_add_test(tc, error_undoes_its_unit_alone);
	tcase_add_test(tc, error_of_the_commit_itself);
	tcase_add_test(tc, refusals_are_told_apart);
	tcase_add_test(tc, what_was_prepared_and_has_changed_is_prepared_anew);
	tcase_add_test(tc, read_only_server_is_left);
	tcase_add_test(tc, full_queue);
	tcase_add_test(tc, statement_that_cannot_be_prepared);
	tcase_add_test(tc, statement_first_met_after_an_error);
}
