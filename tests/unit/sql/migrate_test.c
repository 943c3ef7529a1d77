/* migrate_test.c - migrations on a real database: the second of two fails until the test lets it pass. */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sql/migrate.h"
#include "sql/migration.h"
#include "sql/statements.h"
#include "tests/servers.h"
#include "tests/suite.h"

static struct test_postgres pg;
static char url[128]; /* of a database of the test's own */

static void start_server(void)
{
	unsetenv("KEYFOB_TEST_CLUSTER"); /* none of the real migrations */
	test_postgres_start(&pg);
}

static void end_server(void)
{
	test_postgres_end(&pg);
}

static void make_database(void)
{
	char sql[64];
	snprintf(sql, sizeof sql, "create database test_%d", (int)getpid());
	test_postgres_ask(&pg, sql);
	snprintf(url, sizeof url, "postgresql://keyfob@127.0.0.1:%d/test_%d", pg.port, (int)getpid());
}

static const char *ask(const char *sql)
{
	struct test_postgres here = pg;
	snprintf(here.url, sizeof here.url, "%s", url);
	return test_postgres_ask(&here, sql);
}

static void let_second_pass(void)
{
	ask("create table second_number (number int)");
}

START_TEST(embedded_as_written)
{
	ck_assert_uint_eq(SQL_COUNT, 2);
	ck_assert_ptr_eq(SQL_ALL[0], &SQL_nasty);
	ck_assert_ptr_null(SQL_ALL[2]);
	ck_assert_str_eq(SQL_nasty.name, "nasty");
	ck_assert_str_eq(SQL_nasty.text, "select 1; -- 1 % \"x\" \\ ]] [[ ${not_a_variable} @neither@ ä\n");
	ck_assert_str_eq(SQL_plain.text, "select 2\n");
	ck_assert_uint_eq(SQL_MIGRATION_COUNT, 2);
	ck_assert_str_eq(SQL_MIGRATIONS[1].name, "0002_second");
	ck_assert_int_eq(migrate_version(), 2);
}
END_TEST

START_TEST(each_in_its_own_transaction)
{
	ck_assert_int_eq(migrate_run(url), 1);
	ck_assert_str_eq(ask("select string_agg(name, ' ') from schema_migrations"), "0001_first");
	ck_assert_str_eq(ask("select count(*) from information_schema.columns where table_name = 'first_things'"), "1");
	let_second_pass();
	ck_assert_int_eq(migrate_run(url), 0);
	ck_assert_str_eq(
		ask("select string_agg(name, ' ' order by version) from schema_migrations"), "0001_first 0002_second");
	ck_assert_str_eq(ask("select name from first_things where number is null order by name limit 1"),
		"a \"quoted\" \\back\\ ünïcode; text ?\?/ trigraph");
	ck_assert_int_eq(migrate_run(url), 0);
	ck_assert_str_eq(ask("select count(*) from first_things"), "2");
}
END_TEST

START_TEST(newer_database_is_refused)
{
	let_second_pass();
	ck_assert_int_eq(migrate_run(url), 0);
	ask("insert into schema_migrations values (3, '0003_from_the_future')");
	ck_assert_int_eq(migrate_run(url), 1);
}
END_TEST

START_TEST(several_at_once)
{
	pid_t children[4];
	let_second_pass();
	for (int i = 0; i < 4; i++)
		if (!(children[i] = fork()))
			_exit(migrate_run(url));
	for (int i = 0; i < 4; i++) {
		int status;
		waitpid(children[i], &status, 0);
		ck_assert_int_eq(status, 0);
	}
	ck_assert_str_eq(ask("select count(*) from schema_migrations"), "2");
}
END_TEST

START_TEST(new_epoch)
{
	ck_assert_int_eq(migrate_new_epoch(url), 1);
	ask("create table meta (epoch bigint not null); insert into meta values (7)");
	ck_assert_int_eq(migrate_new_epoch(url), 0);
	ck_assert_str_eq(ask("select epoch from meta"), "8");
}
END_TEST

/* What is written to standard error meanwhile. */
static void run_and_read(const char *bad_url, char *said, size_t size)
{
	FILE *file = tmpfile();
	int saved = dup(STDERR_FILENO);
	dup2(fileno(file), STDERR_FILENO);
	ck_assert_int_eq(migrate_run(bad_url), 1);
	dup2(saved, STDERR_FILENO);
	rewind(file);
	said[fread(said, 1, size - 1, file)] = 0;
	fclose(file);
}

START_TEST(password_is_not_told)
{
	char said[1024];
	run_and_read("postgresql://keyfob:hunter2@[127.0.0.1/postgres", said, sizeof said);
	ck_assert_str_eq(said, "keyfobd: the database URL cannot be read\n");
	run_and_read("postgresql://keyfob:hunter2@127.0.0.1:1/postgres", said, sizeof said);
	ck_assert_ptr_null(strstr(said, "hunter2"));
	ck_assert_ptr_nonnull(strstr(said, "cannot be reached"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sql/migrate");
	TCase *tcase = tcase_create("real database");
	tcase_add_unchecked_fixture(tcase, start_server, end_server);
	tcase_add_checked_fixture(tcase, make_database, NULL);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, embedded_as_written);
	tcase_add_test(tcase, each_in_its_own_transaction);
	tcase_add_test(tcase, newer_database_is_refused);
	tcase_add_test(tcase, several_at_once);
	tcase_add_test(tcase, new_epoch);
	tcase_add_test(tcase, password_is_not_told);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
